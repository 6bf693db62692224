//! Policies by table: what matches, what is refused, and whose word counts.

use super::*;
use crate::broker::{
    arguments::QueueKind,
    profile::{V4_2, V4_3},
};

fn text(s: &str) -> Value {
    Value::LongStr(Bytes::copy_from_slice(s.as_bytes()))
}

fn one(key: &str, value: Value) -> Table {
    Table(vec![(key.to_owned(), value)])
}

fn policy(name: &str, pattern: &str, apply_to: ApplyTo, priority: i64, definition: Table) -> Arc<Policy> {
    Arc::new(Policy {
        name: name.to_owned(),
        pattern: Pattern::new(pattern).unwrap(),
        apply_to,
        priority,
        definition,
    })
}

fn applied(policy_value: Option<Value>, operator_value: Option<Value>, key: &str) -> Applied {
    let of = |name, value: Value| policy(name, "", ApplyTo::All, 0, one(key, value));
    Applied { policy: policy_value.map(|v| of("p", v)), operator: operator_value.map(|v| of("o", v)) }
}

/// Argument, policy and operator policy of one key, and what counts.
fn check(key: &str, given: [Option<Value>; 3], expected: Value) {
    let [argument, policy, operator] = given;
    let arguments = argument.map_or_else(Table::default, |value| one(&format!("x-{key}"), value));
    let effective = applied(policy.clone(), operator.clone(), key).arguments(&arguments);
    let got = effective.field(&format!("x-{key}")).cloned();
    assert_eq!(got, Some(expected), "{key}: {arguments:?} {policy:?} {operator:?}");
}

#[test]
fn each_key_has_its_own_precedence() {
    let n = |n: i64| Some(Value::I64(n));
    let t = |s: &str| Some(text(s));
    for key in ["expires", "message-ttl", "max-length", "max-length-bytes"] {
        check(key, [n(5), n(7), None], Value::I64(5));
        check(key, [n(9), n(7), None], Value::I64(7));
        check(key, [None, n(7), n(6)], Value::I64(6));
        check(key, [None, n(5), n(6)], Value::I64(5));
        check(key, [n(9), n(7), n(6)], Value::I64(6));
        check(key, [n(9), None, n(6)], Value::I64(6));
        check(key, [None, n(7), None], Value::I64(7));
    }
    for key in
        ["dead-letter-exchange", "dead-letter-routing-key", "dead-letter-strategy", "overflow", "queue-mode"]
    {
        check(key, [t("a"), t("b"), None], text("a"));
        check(key, [None, t("b"), None], text("b"));
    }
    check("overflow", [None, t("drop-head"), t("reject-publish")], text("reject-publish"));
    check("overflow", [t("drop-head"), None, t("reject-publish")], text("drop-head"));
    check("delayed-retry-type", [t("all"), t("failed"), None], text("failed"));
    check("delayed-retry-type", [t("all"), t("failed"), t("disabled")], text("disabled"));
    check("delayed-retry-min", [n(5), n(7), None], Value::I64(5));
    check("delayed-retry-min", [t("5"), n(7), None], Value::I64(7));
    check("delayed-retry-min", [None, n(7), n(9)], Value::I64(9));
    check("delayed-retry-min", [n(5), n(7), n(9)], Value::I64(5));
    check("delayed-retry-max", [n(9), n(7), None], Value::I64(7));
    check("delayed-retry-max", [None, n(7), n(5)], Value::I64(5));
    check("delivery-limit", [n(5), n(3), None], Value::I64(3));
    check("delivery-limit", [n(-1), n(3), None], Value::I64(3));
    check("delivery-limit", [None, n(-1), n(3)], Value::I64(3));
    check("delivery-limit", [None, n(4), n(3)], Value::I64(3));
    check("consumer-timeout", [n(5), n(3), None], Value::I64(3));
    check("max-age", [t("1h"), t("7D"), None], text("1h"));
    check("max-age", [t("7D"), t("1h"), None], text("1h"));
    check("queue-version", [None, n(1), n(2)], Value::I64(2));
    check("stream-max-segment-size-bytes", [n(5), n(3), None], Value::I64(5));
}

#[test]
fn a_policy_says_what_a_full_quorum_queue_does_and_an_argument_what_a_classic_one() {
    let applied = applied(Some(text("reject-publish")), None, "overflow");
    for (kind, expected) in [("classic", "drop-head"), ("quorum", "reject-publish")] {
        let fields = [("x-queue-type", kind), ("x-overflow", "drop-head")];
        let fields = fields.map(|(name, value)| (name.to_owned(), text(value)));
        let effective = applied.arguments(&Table(fields.into()));
        assert_eq!(effective.field("x-overflow"), Some(&text(expected)), "{kind}");
    }
}

#[test]
fn an_alternate_exchange_comes_from_the_policy() {
    assert_eq!(
        applied(Some(text("ae")), None, "alternate-exchange").alternate_exchange().as_deref(),
        Some("ae")
    );
    assert_eq!(Applied::default().alternate_exchange(), None);
}

#[test]
fn of_those_that_match_the_highest_priority_counts() {
    let mut policies = Policies::default();
    let length = || one("max-length", Value::I64(1));
    for p in [
        policy("all", "", ApplyTo::All, 0, length()),
        policy("low", "^q", ApplyTo::Queues, 1, length()),
        policy("high", "^q1", ApplyTo::ClassicQueues, 5, length()),
        policy("twin", "^q1", ApplyTo::Queues, 5, length()),
        policy("exchanges", "^q", ApplyTo::Exchanges, 9, one("alternate-exchange", text("a"))),
        policy("streams", "^q", ApplyTo::Streams, 9, one("max-age", text("1h"))),
        policy("for-quorum", "^q1", ApplyTo::Queues, 99, one("delivery-limit", Value::I64(1))),
    ] {
        policies.user.insert(p.name.clone(), p);
    }
    for (object, expected) in [
        (Object::Queue("q1", QueueKind::Classic), "high"),
        (Object::Queue("q2", QueueKind::Classic), "low"),
        (Object::Queue("x", QueueKind::Classic), "all"),
        (Object::Exchange("q1"), "exchanges"),
        (Object::Exchange("x"), "all"),
        // Lengths in messages mean nothing to a stream, and a policy with one is not for it.
        (Object::Queue("q1", QueueKind::Stream), "streams"),
    ] {
        let applied = policies.applied(object);
        assert_eq!(applied.policy.map(|p| p.name.clone()).as_deref(), Some(expected), "{object:?}");
        assert_eq!(applied.operator, None);
    }
    assert_eq!(policies.applied(Object::Queue("x", QueueKind::Stream)).policy, None);
}

#[test]
fn a_definition_is_checked_in_rabbitmqs_words() {
    let n = |n: i64| Value::I64(n);
    for (sort, key, value, expected) in [
        (Sort::User, "zzz", n(100), "[{<<\"zzz\">>,100}] are not recognised policy settings\n"),
        (
            Sort::User,
            "ha-mode",
            text("all"),
            "[{<<\"ha-mode\">>,<<\"all\">>}] are not recognised policy settings\n",
        ),
        (Sort::User, "message-ttl", n(-1), "-1 is not a valid message TTL\n"),
        (Sort::User, "message-ttl", Value::F64(1.5), "1.5 is not a valid message TTL\n"),
        (Sort::User, "expires", n(0), "0 is not a valid queue expiry\n"),
        (Sort::User, "max-length", n(-1), "-1 is not a valid maximum length\n"),
        (Sort::User, "max-length-bytes", text("a"), "<<\"a\">> is not a valid maximum length in bytes\n"),
        (Sort::User, "overflow", text("zz"), "<<\"zz\">> is not a valid overflow value\n"),
        (Sort::User, "dead-letter-exchange", n(1), "1 is not a valid dead letter exchange name\n"),
        (Sort::User, "dead-letter-routing-key", n(1), "1 is not a valid dead letter routing key\n"),
        (Sort::User, "dead-letter-strategy", text("x"), "<<\"x\">> is not a valid dead letter strategy\n"),
        (Sort::User, "delivery-limit", text("x"), "<<\"x\">> is not a valid delivery limit\n"),
        (Sort::User, "max-age", text("5"), "<<\"5\">> is not a valid max age\n"),
        (Sort::User, "stream-max-segment-size-bytes", n(-5), "-5 is not a valid segment size\n"),
        (Sort::User, "alternate-exchange", n(5), "5 is not a valid alternate exchange name\n"),
        (Sort::User, "queue-mode", text("x"), "<<\"x\">> is not a valid queue-mode value\n"),
        (Sort::User, "queue-version", n(5), "5 is not a valid queue-version value\n"),
        (Sort::User, "queue-master-locator", text("zz"), "<<\"zz\">> invalid queue-master-locator value\n"),
        (
            Sort::Operator,
            "dead-letter-exchange",
            text("x"),
            "[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings\n",
        ),
    ] {
        assert_eq!(keys::check(sort, &one(key, value), &V4_2).unwrap_err(), expected);
    }
    let fields =
        |fields: &[(&str, Value)]| Table(fields.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect());
    for (definition, expected) in [
        (
            fields(&[("delayed-retry-type", text("none"))]),
            "<<\"none\">> is not a valid delayed retry type. Must be one of: all, failed, returned, disabled\n",
        ),
        (
            fields(&[("delayed-retry-min", n(0))]),
            "0 is not a valid delayed retry minimum delay. Must be a positive integer\n",
        ),
        (
            fields(&[("delayed-retry-max", text("5"))]),
            "<<\"5\">> is not a valid delayed retry maximum delay. Must be a positive integer\n",
        ),
        (
            fields(&[("delayed-retry-type", text("all"))]),
            "delayed-retry-min is required when delayed-retry-type is all\n",
        ),
        (
            fields(&[("delayed-retry-min", n(9)), ("delayed-retry-max", n(8))]),
            "delayed-retry-max (8) must not be smaller than delayed-retry-min (9)\n",
        ),
        (
            fields(&[("consumer-disconnected-timeout", n(-1))]),
            "-1 is not a valid consumer disconnected timeout\n",
        ),
    ] {
        assert_eq!(keys::check(Sort::User, &definition, &V4_3).unwrap_err(), expected);
        let unknown = keys::check(Sort::User, &definition, &V4_2).unwrap_err();
        assert!(unknown.ends_with("are not recognised policy settings\n"), "{unknown}");
    }
    for definition in [
        fields(&[("delayed-retry-type", text("disabled"))]),
        fields(&[("delayed-retry-min", n(9))]),
        fields(&[
            ("delayed-retry-type", text("failed")),
            ("delayed-retry-min", n(9)),
            ("delayed-retry-max", n(9)),
        ]),
    ] {
        assert_eq!(keys::check(Sort::Operator, &definition, &V4_3), Ok(()));
    }
    assert_eq!(keys::check(Sort::User, &Table::default(), &V4_2).unwrap_err(), "no policy provided\n");
}

#[test]
fn a_policy_reads_back_as_it_was() {
    let p = policy("p", "^(?!amq\\.)", ApplyTo::ClassicQueues, 3, one("max-length", Value::I64(1)));
    assert_eq!(Policy::parse(Sort::User, "p", &p.to_table(), &V4_2), Ok((*p).clone()));
    let bad = |field: &str, value: Value| {
        let mut table = p.to_table();
        table.0.retain(|(name, _)| name != field);
        table.0.push((field.to_owned(), value));
        Policy::parse(Sort::User, "p", &table, &V4_2).unwrap_err()
    };
    assert_eq!(
        bad("pattern", text("*")),
        "pattern should be regular expression but is invalid: {\"nothing to repeat\",0}\n"
    );
    assert_eq!(bad("pattern", Value::I64(5)), "pattern should be a binary but was 5\n");
    assert_eq!(bad("priority", text("zz")), "priority should be a number, actually was <<\"zz\">>\n");
    assert!(bad("apply-to", text("zz")).starts_with("apply-to 'zz' unrecognised"));
}
