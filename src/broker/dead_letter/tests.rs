//! What becomes of headers: tables of cases, and merging against a slow obvious model.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{
    Reason,
    deaths::{Death, Letter},
};
use crate::{
    broker::{
        message::{Draft, Message, Publish, Traits},
        profile::{Profile, V3_12, V3_13, V4_2},
    },
    data::{
        field::{Properties, table},
        value::{Table, Value},
    },
};

fn text(s: &str) -> Value {
    Value::LongStr(s.to_owned().into())
}

fn list(keys: &[&str]) -> Value {
    Value::Array(keys.iter().map(|key| text(key)).collect())
}

fn fields(fields: Vec<(&str, Value)>) -> Table {
    Table(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

struct Sent<'a> {
    exchange: &'a str,
    routing_key: &'a str,
    expiration: Option<&'a str>,
    /// As a broker of ours left it: by an own key of the queue's, or not.
    died: Option<bool>,
}

const SENT: Sent<'_> = Sent { exchange: "ex", routing_key: "key", expiration: None, died: None };

fn message(sent: &Sent<'_>, headers: &Table) -> Message {
    let (mut encoded, mut properties) = (BytesMut::new(), BytesMut::new());
    table::encode(headers, &mut encoded);
    Properties {
        headers: (!headers.is_empty()).then_some(&encoded[4..]),
        delivery_mode: Some(2),
        expiration: sent.expiration.map(str::as_bytes),
        ..Properties::default()
    }
    .encode(&mut properties);
    let traits = Traits {
        persistent: true,
        priority: None,
        expiration_ms: sent.expiration.map(|s| s.parse().unwrap()),
    };
    let (exchange, routing_key) = (sent.exchange, sent.routing_key);
    let mut draft = Draft::default();
    draft.open(&Publish { exchange, routing_key, properties: &properties, traits }, 0, 0);
    if let Some(own_key_only) = sent.died {
        draft.died(own_key_only);
    }
    draft.seal().message(0).unwrap()
}

fn death(queue: &str, reason: Reason, now_ms: i64) -> Death<'_> {
    Death { queue, reason, now_ms, key_replaced: false }
}

/// The headers after one death, as the next receiver decodes them.
fn headers_after(sent: &Sent<'_>, headers: &Table, death: &Death<'_>, profile: &Profile) -> Table {
    let letter = Letter::new(&message(sent, headers), death, profile);
    let properties = Properties::decode(&letter.properties).unwrap();
    assert_eq!(properties.expiration, None, "it must not expire again");
    assert_eq!(properties.delivery_mode, Some(2));
    assert_eq!(properties.header_table().unwrap(), letter.headers);
    letter.headers
}

fn names(table: &Table) -> Vec<&str> {
    table.0.iter().map(|(name, _)| name.as_str()).collect()
}

fn deaths(headers: &Table) -> Vec<Table> {
    let Some(Value::Array(deaths)) = headers.field("x-death") else { panic!("no x-death: {headers:?}") };
    let table = |death: &Value| {
        let Value::Table(table) = death else { panic!("{death:?}") };
        table.clone()
    };
    deaths.iter().map(table).collect()
}

#[test]
fn the_first_death_is_told_in_rabbitmqs_order() {
    let headers = fields(vec![("z", Value::I32(1)), ("CC", list(&["copy"])), ("a", Value::Void)]);
    let sent = Sent { expiration: Some("60000"), ..SENT };
    let after = headers_after(&sent, &headers, &death("q", Reason::Expired, 1_700_000_000_999), &V3_13);
    assert_eq!(
        names(&after),
        [
            "CC",
            "a",
            "x-death",
            "x-first-death-exchange",
            "x-first-death-queue",
            "x-first-death-reason",
            "x-last-death-exchange",
            "x-last-death-queue",
            "x-last-death-reason",
            "z"
        ]
    );
    let expected = fields(vec![
        ("original-expiration", text("60000")),
        ("count", Value::I64(1)),
        ("reason", text("expired")),
        ("queue", text("q")),
        ("time", Value::Timestamp(1_700_000_000)),
        ("exchange", text("ex")),
        ("routing-keys", list(&["key", "copy"])),
    ]);
    assert_eq!(deaths(&after), [expected]);
    assert_eq!(after.field("x-first-death-exchange"), Some(&text("ex")));
    assert_eq!(after.field("x-last-death-reason"), Some(&text("expired")));
}

#[test]
fn before_3_13_the_expiration_comes_last_and_nothing_is_said_of_the_last_death() {
    let sent = Sent { expiration: Some("050"), ..SENT };
    let after = headers_after(&sent, &Table::default(), &death("q", Reason::Maxlen, 0), &V3_12);
    assert_eq!(
        names(&after),
        ["x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"]
    );
    let [death] = &deaths(&after)[..] else { panic!("one death") };
    assert_eq!(
        names(death),
        ["count", "reason", "queue", "time", "exchange", "routing-keys", "original-expiration"]
    );
    assert_eq!(death.field("original-expiration"), Some(&text("050")));
}

#[test]
fn a_death_of_the_same_queue_and_reason_counts_one_more_and_keeps_the_rest() {
    let first = headers_after(
        &Sent { expiration: Some("5"), ..SENT },
        &Table::default(),
        &death("q", Reason::Expired, 1_000),
        &V3_13,
    );
    let back = Sent { exchange: "dlx", routing_key: "other", expiration: None, died: Some(false) };
    let second = headers_after(&back, &first, &death("q2", Reason::Rejected, 2_000), &V3_13);
    let third = headers_after(&back, &second, &death("q", Reason::Expired, 3_000), &V3_13);
    let third_deaths = deaths(&third);
    let queues: Vec<_> = third_deaths.iter().map(|d| d.field("queue").cloned().unwrap()).collect();
    assert_eq!(queues, [text("q"), text("q2")]);
    let again = &third_deaths[0];
    assert_eq!(again.field("count"), Some(&Value::I64(2)));
    assert_eq!(again.field("time"), Some(&Value::Timestamp(1)));
    assert_eq!(again.field("exchange"), Some(&text("ex")));
    assert_eq!(again.field("original-expiration"), Some(&text("5")));
    assert_eq!(third.field("x-first-death-exchange"), Some(&text("ex")));
    assert_eq!(third.field("x-last-death-exchange"), Some(&text("dlx")));
}

#[test]
fn before_3_13_a_second_death_is_sorted_and_a_key_of_the_queues_takes_cc_away() {
    let sent = Sent { expiration: Some("5"), ..SENT };
    let mut headers = fields(vec![("CC", list(&["copy"]))]);
    for _ in 0..2 {
        headers = headers_after(&sent, &headers, &death("q", Reason::Rejected, 0), &V3_12);
    }
    assert_eq!(
        names(&deaths(&headers)[0]),
        ["count", "exchange", "original-expiration", "queue", "reason", "routing-keys", "time"]
    );
    let check = |profile, kept| {
        let replaced = Death { key_replaced: true, ..death("q", Reason::Rejected, 0) };
        let after = headers_after(&SENT, &headers, &replaced, profile);
        assert_eq!(after.field("CC").is_some(), kept);
    };
    check(&V3_12, false);
    check(&V4_2, true);
}

#[test]
fn what_a_client_says_of_deaths_counts_only_for_older_versions() {
    let claimed = fields(vec![("count", Value::I64(7)), ("reason", text("rejected")), ("queue", text("q"))]);
    let headers = fields(vec![
        ("x-death", Value::Array(vec![Value::Table(claimed)])),
        ("x-first-death-queue", text("elsewhere")),
    ]);
    let check = |profile, died, count: i64, first: &str| {
        let sent = Sent { died, ..SENT };
        let after = headers_after(&sent, &headers, &death("q", Reason::Rejected, 0), profile);
        let deaths = deaths(&after);
        assert_eq!((deaths.len(), deaths[0].field("count")), (1, Some(&Value::I64(count))));
        assert_eq!(after.field("x-first-death-queue"), Some(&text(first)));
    };
    check(&V4_2, None, 1, "q");
    check(&V4_2, Some(false), 8, "elsewhere");
    check(&V3_13, None, 8, "elsewhere");
    check(&V3_12, None, 8, "elsewhere");
}

#[test]
fn keys_in_cc_are_copies_until_the_queue_has_put_its_own_key() {
    let headers = fields(vec![("CC", Value::Array(vec![text("a"), Value::I32(1), text("b")]))]);
    let check = |died, copies: &[&str], keys: &[&str]| {
        let sent = Sent { died, ..SENT };
        let letter = Letter::new(&message(&sent, &headers), &death("q", Reason::Maxlen, 0), &V4_2);
        assert_eq!(letter.copies, copies);
        assert_eq!(deaths(&letter.headers)[0].field("routing-keys"), Some(&list(keys)));
        assert_eq!(letter.headers.field("CC"), headers.field("CC"));
    };
    check(None, &["a", "b"], &["key", "a", "b"]);
    check(Some(false), &["a", "b"], &["key", "a", "b"]);
    check(Some(true), &[], &["key"]);
}

#[test]
fn a_cycle_is_one_that_nobody_has_broken_by_rejecting() {
    let check = |history: &[(&str, Reason)], target: &str, expected: bool| {
        let mut headers = Table::default();
        let mut cycles = false;
        for (at, &(queue, reason)) in history.iter().enumerate() {
            let sent = Sent { died: (at > 0).then_some(false), ..SENT };
            let letter = Letter::new(&message(&sent, &headers), &death(queue, reason, 0), &V4_2);
            cycles = letter.cycles_to(target);
            headers = letter.headers;
        }
        assert_eq!(cycles, expected, "{history:?} to {target}");
    };
    use Reason::{DeliveryLimit, Expired, Maxlen, Rejected};
    check(&[("a", Expired)], "b", false);
    check(&[("a", Expired)], "a", true);
    check(&[("a", Rejected)], "a", false);
    check(&[("a", Expired), ("b", Maxlen)], "a", true);
    check(&[("a", Expired), ("b", Rejected)], "a", false);
    check(&[("a", Rejected), ("b", Expired)], "a", false);
    check(&[("a", Expired), ("b", DeliveryLimit)], "a", true);
    // The rejection lies behind the death in the target: it has been in a circle since.
    check(&[("b", Rejected), ("a", Expired), ("c", Expired)], "a", true);
}

#[test]
fn headers_that_are_no_table_and_an_x_death_that_is_no_array_do_no_harm() {
    let headers = fields(vec![("x-death", text("nonsense")), ("x-death", Value::I32(1))]);
    for profile in [&V4_2, &V3_12] {
        let after = headers_after(&SENT, &headers, &death("q", Reason::Expired, -1), profile);
        assert_eq!(deaths(&after).len(), 1);
        assert_eq!(names(&after).iter().filter(|name| **name == "x-death").count(), 1);
    }
    let mut draft = Draft::default();
    let broken = &[0x20, 0, 0, 0, 0, 2, 5, b'a'];
    draft.open(
        &Publish { exchange: "", routing_key: "k", properties: broken, traits: Traits::default() },
        0,
        0,
    );
    let message = draft.seal().message(0).unwrap();
    let letter = Letter::new(&message, &death("q", Reason::Expired, 0), &V4_2);
    assert_eq!(deaths(&letter.headers).len(), 1);
}

fn any_reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::Expired),
        Just(Reason::Maxlen),
        Just(Reason::Rejected),
        Just(Reason::DeliveryLimit)
    ]
}

proptest! {
    #[test]
    fn deaths_are_a_list_by_recency_that_counts(
        history in proptest::collection::vec(("[abc]", any_reason()), 1..12),
        more in proptest::collection::vec("[a-y]{1,3}", 0..4),
    ) {
        let mut headers = Table(more.into_iter().map(|name| (name, Value::Void)).collect());
        let mut model: Vec<(String, Reason, i64, i64)> = Vec::new();
        for (at, (queue, reason)) in history.iter().enumerate() {
            let now_ms = i64::try_from(at).unwrap() * 1_000;
            let sent = Sent { died: (at > 0).then_some(false), ..SENT };
            let letter = Letter::new(&message(&sent, &headers), &death(queue, *reason, now_ms), &V4_2);
            headers = letter.headers.clone();
            let known = model.iter().position(|(q, r, ..)| q == queue && r == reason);
            let (count, first) = known.map_or((0, now_ms), |at| { let d = model.remove(at); (d.2, d.3) });
            model.insert(0, (queue.clone(), *reason, count + 1, first));
            let told: Vec<_> = deaths(&headers).iter().map(|death| {
                (death.field("queue").cloned(), death.field("reason").cloned(), death.field("count").cloned(), death.field("time").cloned())
            }).collect();
            let expected: Vec<_> = model.iter().map(|(q, r, count, first)| {
                let seconds = u64::try_from(first / 1_000).unwrap();
                (Some(text(q)), Some(text(r.word())), Some(Value::I64(*count)), Some(Value::Timestamp(seconds)))
            }).collect();
            prop_assert_eq!(told, expected);
            prop_assert!(headers.0.is_sorted_by(|(a, _), (b, _)| a < b));
            for target in ["a", "b", "c"] {
                let since = model.iter().take_while(|(q, ..)| q != target).count();
                let there = since < model.len();
                let rejected = model.iter().take(since + 1).any(|(_, r, ..)| *r == Reason::Rejected);
                prop_assert_eq!(letter.cycles_to(target), there && !rejected);
            }
        }
        prop_assert_eq!(headers.field("x-first-death-queue"), Some(&text(&history[0].0)));
        prop_assert_eq!(headers.field("x-last-death-queue"), Some(&text(&history.last().unwrap().0)));
    }
}
