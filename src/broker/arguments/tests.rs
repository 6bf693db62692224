//! What arguments are refused for, word for word, and what good ones ask for.

use super::*;
use crate::broker::{
    profile::{V3_12, V4_2, V4_3},
    queue::ConnectionId,
};

fn text(s: &str) -> Value {
    Value::LongStr(s.to_owned().into())
}

fn options(arguments: Vec<(&str, Value)>) -> QueueOptions {
    let arguments = Table(arguments.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    QueueOptions { durable: true, auto_delete: false, exclusive: None, arguments }
}

#[test]
fn wrong_arguments_are_refused_in_rabbitmqs_words() {
    let check = |kind: QueueKind, arg: &str, value: Value, reason: &str| {
        let refused = super::check("q", kind, &options(vec![(arg, value)]), &V4_2).unwrap_err();
        assert_eq!(refused, invalid(arg, "q", reason.to_owned()));
    };
    let (classic, quorum, stream) = (QueueKind::Classic, QueueKind::Quorum, QueueKind::Stream);
    check(classic, "x-message-ttl", text("a"), "\"expected integer, got longstr\"");
    check(classic, "x-message-ttl", Value::I32(-1), "{value_negative,-1}");
    check(quorum, "x-message-ttl", Value::I64(315_360_000_001), "{value_too_large,315360000001}");
    check(classic, "x-expires", Value::I32(0), "{value_zero,0}");
    check(quorum, "x-expires", Value::Bool(true), "\"expected integer, got bool\"");
    check(classic, "x-max-priority", Value::I32(300), "{max_value_exceeded,300}");
    check(classic, "x-max-priority", Value::I32(-1), "{value_negative,-1}");
    check(classic, "x-overflow", text("zzz"), "invalid_overflow");
    check(quorum, "x-overflow", Value::I32(1), "{unacceptable_type,signedint}");
    check(classic, "x-single-active-consumer", Value::I32(1), "{unacceptable_type,signedint}");
    check(classic, "x-dead-letter-routing-key", text("k"), "routing_key_but_no_dlx_defined");
    check(quorum, "x-dead-letter-strategy", text("zzz"), "invalid_dlx_strategy");
    check(quorum, "x-quorum-initial-group-size", Value::I32(0), "{value_zero,0}");
    check(classic, "x-queue-mode", text("zzz"), "\"unsupported queue mode 'zzz'\"");
    check(classic, "x-queue-version", Value::I32(3), "\"unsupported queue version '3'\"");
    check(classic, "x-queue-leader-locator", text("zzz"), "invalid_queue_locator_arg");
    check(stream, "x-max-age", text("1x"), "invalid_max_age");
    check(stream, "x-max-age", Value::I32(1), "{unacceptable_type,signedint}");
    check(stream, "x-max-length-bytes", Value::I32(-2), "{value_negative,-2}");
}

#[test]
fn a_dead_letter_exchange_must_be_a_string() {
    let refused =
        check("q", QueueKind::Classic, &options(vec![("x-dead-letter-exchange", Value::I32(1))]), &V4_2);
    let expected = Refusal::ArgumentType {
        arg: "x-dead-letter-exchange".to_owned(),
        on: Subject::queue("q"),
        type_name: "signedint",
    };
    assert_eq!(refused, Err(expected));
}

#[test]
fn an_argument_of_another_type_is_refused_and_one_of_none_is_taken() {
    let check = |kind, arg: &str, taken: bool| {
        let result = super::check("q", kind, &options(vec![(arg, Value::I32(1))]), &V4_2);
        let expected = if taken { Ok(()) } else { Err(of_other_type(arg, "q", kind)) };
        assert_eq!(result, expected, "{kind:?} {arg}");
    };
    check(QueueKind::Classic, "x-max-age", false);
    check(QueueKind::Classic, "x-delivery-limit", false);
    check(QueueKind::Quorum, "x-max-priority", false);
    check(QueueKind::Quorum, "x-queue-mode", false);
    check(QueueKind::Stream, "x-message-ttl", false);
    for kind in QueueKind::ALL {
        check(kind, "x-nobody-knows", true);
    }
    // 4.3 takes it from quorum queues; before, nobody knew it.
    check(QueueKind::Quorum, "x-consumer-timeout", true);
    let timeout = options(vec![("x-consumer-timeout", Value::I32(1))]);
    assert!(super::check("q", QueueKind::Classic, &timeout, &V4_3).is_err());
}

#[test]
fn the_first_wrong_one_in_rabbitmqs_order_is_reported() {
    let wrong =
        options(vec![("x-max-age", text("1h")), ("x-overflow", text("zzz")), ("x-expires", Value::I32(0))]);
    let refused = check("q", QueueKind::Classic, &wrong, &V4_2).unwrap_err();
    assert_eq!(refused, invalid("x-expires", "q", "{value_zero,0}".to_owned()));
}

#[test]
fn quorum_queues_and_streams_are_durable_shared_and_lasting() {
    for kind in [QueueKind::Quorum, QueueKind::Stream] {
        for (property, options) in [
            ("non-durable", QueueOptions { durable: false, ..options(vec![]) }),
            ("auto-delete", QueueOptions { auto_delete: true, ..options(vec![]) }),
            ("exclusive-owner", QueueOptions { exclusive: Some(ConnectionId(1)), ..options(vec![]) }),
        ] {
            let refused = check("q", kind, &options, &V4_2).unwrap_err();
            assert_eq!(refused, Refusal::InvalidProperty { property, queue: "q".to_owned() });
        }
    }
}

#[test]
fn queue_types_go_by_several_names() {
    for (word, expected) in [
        ("classic", Some(QueueKind::Classic)),
        ("rabbit_quorum_queue", Some(QueueKind::Quorum)),
        ("stream", Some(QueueKind::Stream)),
        ("zzz", None),
    ] {
        let found = kind("q", &options(vec![("x-queue-type", text(word))]).arguments);
        match expected {
            Some(kind) => assert_eq!(found, Ok(kind)),
            None => assert_eq!(
                found,
                Err(invalid("x-queue-type", "q", "\"unsupported queue type 'zzz'\"".to_owned()))
            ),
        }
    }
    let number = kind("q", &options(vec![("x-queue-type", Value::I32(5))]).arguments);
    assert_eq!(number, Err(invalid("x-queue-type", "q", "{unacceptable_type,signedint}".to_owned())));
}

#[test]
fn a_type_is_stored_where_the_vhost_or_the_version_gives_one() {
    let stored = |options: &QueueOptions, default, profile| {
        let table = with_type(options, default, profile);
        table.field("x-queue-type").map(|value| String::from_utf8(value.octets().unwrap().to_vec()).unwrap())
    };
    let plain = options(vec![]);
    let exclusive = QueueOptions { exclusive: Some(ConnectionId(1)), ..options(vec![]) };
    let named = options(vec![("x-queue-type", text("stream"))]);
    let quorum = Some(QueueKind::Quorum);
    assert_eq!(stored(&plain, None, &V3_12), None);
    assert_eq!(stored(&plain, None, &V4_2).as_deref(), Some("classic"));
    assert_eq!(stored(&plain, quorum, &V3_12).as_deref(), Some("quorum"));
    assert_eq!(stored(&exclusive, quorum, &V4_2).as_deref(), Some("classic"));
    assert_eq!(stored(&named, quorum, &V4_2).as_deref(), Some("stream"));
}

#[test]
fn a_type_that_is_named_where_it_need_not_be_makes_no_difference() {
    let (plain, classic) = (options(vec![]), options(vec![("x-queue-type", text("classic"))]));
    let quorum = options(vec![("x-queue-type", text("quorum"))]);
    let same = |a, b| equivalent("q", kind_of(&options(vec![]).arguments), a, b, &V3_12).is_ok();
    assert!(same(&plain, &classic) && same(&classic, &plain));
    assert!(!same(&quorum, &plain) && !same(&quorum, &classic));
}

#[test]
fn a_quorum_queue_limits_deliveries_since_4_0() {
    let limit = |argument: Option<i32>, profile| {
        let mut asked = vec![("x-queue-type", text("quorum"))];
        asked.extend(argument.map(|n| ("x-delivery-limit", Value::I32(n))));
        settings(&options(asked).arguments, profile).delivery_limit
    };
    assert_eq!(limit(None, &V3_12), None);
    assert_eq!(limit(None, &V4_2), Some(20));
    assert_eq!(limit(Some(3), &V3_12), Some(3));
    assert_eq!(limit(Some(-1), &V4_2), None);
    assert_eq!(settings(&Table::default(), &V4_2).delivery_limit, None);
}

#[test]
fn consumers_ask_for_a_priority_that_is_a_number() {
    let asked = |kind, arg: &str, value: Value| {
        super::consumer("q", kind, &Table(vec![(arg.to_owned(), value)]), &V4_2)
    };
    let priority = |n| Ok(ConsumerSettings { priority: n, timeout_ms: None });
    assert_eq!(asked(QueueKind::Classic, "x-priority", Value::I8(-3)), priority(-3));
    assert_eq!(asked(QueueKind::Quorum, "x-priority", Value::U32(7)), priority(7));
    let reason = "\"expected integer, got longstr\"".to_owned();
    assert_eq!(asked(QueueKind::Classic, "x-priority", text("5")), Err(invalid("x-priority", "q", reason)));
    for (kind, arg) in [(QueueKind::Stream, "x-priority"), (QueueKind::Classic, "x-stream-offset")] {
        assert_eq!(asked(kind, arg, Value::I32(1)), Err(of_other_type(arg, "q", kind)));
    }
}
