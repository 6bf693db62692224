//! Every sample against its row in `fixtures/amqp/faults.tsv`, both ways round.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::{
    amqp::{
        publish,
        wire::{MethodId, Snippet},
    },
    broker::profile::{V3_12, V3_13, V4_2},
};

const ROWS: &str = include_str!("../../../fixtures/amqp/faults.tsv");

fn samples() -> Vec<(&'static str, Fault)> {
    let queue = || Resource::queue("Q", "/");
    let exchange = || Resource::exchange("X", "/");
    let s = str::to_owned;
    let expired = |value: &str| publish::to_live_ms(value.as_bytes()).unwrap_err();
    let (five, six) = (Value::I32(5), Value::I32(6));
    let differs = |received: Option<&Value>, current: Option<&Value>| Fault::Inequivalent {
        arg: s("x-message-ttl"),
        on: Box::new(queue()),
        difference: Difference::argument(received, current),
    };
    let text = |s: &'static str| Value::LongStr(Bytes::from_static(s.as_bytes()));
    let frame_end =
        |octets: &[u8]| Malformed::FrameEnd { frame_type: 1, octets: Snippet::of(octets), end: 0 };
    let too_large = Malformed::FrameTooLarge { frame_type: 3, payload_bytes: 20000, payload_bytes_max: 8184 };
    let method = MethodId { class: 60, method: 80 };
    let invalid =
        |reason: &str| Fault::InvalidArg { arg: s("x-message-ttl"), on: queue(), reason: s(reason) };
    vec![
        ("no-queue", Fault::NotFound(queue())),
        ("no-exchange", Fault::NotFound(exchange())),
        ("no-previous-queue", Fault::NoPreviousQueue),
        (
            "inequivalent-property",
            Fault::Inequivalent {
                arg: s("durable"),
                on: Box::new(queue()),
                difference: Difference::property("false", "true"),
            },
        ),
        ("argument-new", differs(Some(&five), None)),
        ("argument-dropped", differs(None, Some(&five))),
        ("argument-differs", differs(Some(&six), Some(&five))),
        (
            "queue-type-differs",
            Fault::Inequivalent {
                arg: s("x-queue-type"),
                on: Box::new(queue()),
                difference: Difference::argument(Some(&text("quorum")), Some(&text("classic"))),
            },
        ),
        ("locked", Fault::Locked(queue())),
        ("locked-long-name", Fault::Locked(Resource::queue(&"q".repeat(100), "/"))),
        ("reserved-name", Fault::ReservedName { kind: "queue", name: s("amq.foo") }),
        ("default-exchange", Fault::DefaultExchange),
        ("system-exchange", Fault::SystemExchange(Resource::exchange("amq.direct", "/"))),
        ("unknown-exchange-type", Fault::UnknownExchangeType(s("foobar"))),
        ("exchange-in-use", Fault::InUse(exchange())),
        ("queue-in-use", Fault::InUse(queue())),
        ("queue-not-empty", Fault::NotEmpty(queue())),
        ("internal-exchange", Fault::InternalExchange(exchange())),
        (
            "access",
            Fault::AccessRefused { access: "configure", on: Resource::queue("xx", "/"), user: s("u1") },
        ),
        (
            "access-default-exchange",
            Fault::AccessRefused { access: "write", on: Resource::exchange("", "/"), user: s("u1") },
        ),
        (
            "topic-access",
            Fault::TopicAccessRefused {
                access: "write",
                routing_key: s("rk"),
                on: Box::new(exchange()),
                user: s("u"),
            },
        ),
        ("unknown-delivery-tag", Fault::UnknownDeliveryTag(99)),
        ("consumer-tag-reuse", Fault::ConsumerTagReuse(s("t"))),
        ("exclusive-use", Fault::ExclusiveUse(queue())),
        ("immediate", Fault::Immediate),
        ("prefetch-size", Fault::PrefetchSize(10)),
        ("recover-without-requeue", Fault::RecoverWithoutRequeue),
        ("flow-inactive", Fault::FlowInactive),
        ("expiration-text", expired("abc")),
        ("expiration-negative", expired("-1")),
        ("expiration-leftover", expired("10x")),
        ("expiration-large", expired("315360000001")),
        ("user-id", Fault::UserId { claimed: s("other"), user: s("guest") }),
        ("header-type", Fault::HeaderType { header: "CC", type_name: text("").type_name() }),
        ("message-size", Fault::MessageSize { bytes: 20_000_000, bytes_max: 16_777_216 }),
        ("content-size", Fault::ContentSize { bytes: 536_870_913, bytes_max: 536_870_912 }),
        ("body-beyond-content-size", Fault::BodyBeyondContentSize),
        ("header-expected", Fault::HeaderExpected { class: 60 }),
        ("header-of-other-class", Fault::HeaderOfOtherClass { expected: 60, got: 50 }),
        ("method-expected", Fault::MethodExpected),
        ("frame-end", frame_end(&[0, 20, 0, 10]).into()),
        ("frame-end-long", frame_end(b"abcdefghijklmnopq").into()),
        ("unknown-frame", Malformed::UnknownFrame { frame_type: 9, octets: Snippet::of(&[]) }.into()),
        ("frame-too-large", too_large.into()),
        ("arguments", Malformed::Arguments { method, octets: [0].into() }.into()),
        (
            "heartbeat-on-channel",
            Malformed::UnexpectedFrame { frame_type: 8, octets: Snippet::of(&[]) }.into(),
        ),
        ("channel-not-open", Fault::ChannelNotOpen),
        ("second-channel-open", Fault::SecondChannelOpen),
        ("connection-state", Fault::ConnectionState("running")),
        ("unimplemented-method", Fault::UnimplementedMethod),
        ("too-many-channels", Fault::TooManyChannels { open: 2, channel_max: 2 }),
        (
            "negotiation-low",
            Fault::Negotiation { field: "frame_max", value: 4000, bound: Bound::Minimum(8192) },
        ),
        (
            "negotiation-high",
            Fault::Negotiation { field: "channel_max", value: 5000, bound: Bound::Maximum(2047) },
        ),
        ("no-vhost", Fault::NoVhost(s("nope"))),
        ("vhost-refused", Fault::VhostRefused { vhost: s("/"), user: s("u") }),
        ("login-refused", Fault::LoginRefused { mechanism: s("PLAIN") }),
        ("vhost-connection-limit", Fault::VhostConnectionLimit { vhost: s("/"), user: s("u"), limit: 3 }),
        ("user-connection-limit", Fault::UserConnectionLimit { user: s("u"), limit: 3 }),
        ("node-connection-limit", Fault::NodeConnectionLimit(3)),
        ("user-channel-limit", Fault::UserChannelLimit { user: s("u"), limit: 3 }),
        ("vhost-queue-limit", Fault::VhostQueueLimit { queue: s("q"), vhost: s("/"), limit: 3 }),
        ("confirm-to-tx", Fault::ConfirmToTx),
        ("tx-to-confirm", Fault::TxToConfirm),
        ("not-transactional", Fault::NotTransactional),
        ("partial-tx", Fault::PartialTx),
        ("no-fast-reply-consumer", Fault::NoFastReplyConsumer),
        ("reply-consumer-acknowledges", Fault::ReplyConsumerAcknowledges),
        ("reply-consumer-twice", Fault::ReplyConsumerTwice),
        ("volatile-queue-binding", Fault::VolatileQueueBinding),
        (
            "x-match-value",
            Fault::Binding(format!(
                "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
                term::binary(b"zz")
            )),
        ),
        ("invalid-arg-type", invalid("\"expected integer, got longstr\"")),
        ("invalid-arg-negative", invalid("{value_negative,-1}")),
        (
            "arg-not-a-string",
            Fault::InvalidArgType {
                type_name: five.type_name(),
                arg: s("x-dead-letter-exchange"),
                on: queue(),
            },
        ),
        (
            "arg-not-for-type",
            Fault::ArgNotForType { arg: s("x-max-age"), on: queue(), queue_type: s("rabbit_classic_queue") },
        ),
        ("invalid-property", Fault::InvalidProperty { property: "non-durable", on: queue() }),
        ("server-named", Fault::ServerNamed { queue_type: s("rabbit_quorum_queue") }),
        ("no-prefetch", Fault::NoPrefetch(queue())),
        ("stream-auto-ack", Fault::AutoAckOfStream(queue())),
        ("stream-get", Fault::UnsupportedByStream { what: "basic.get", on: queue() }),
        ("list-binding", Fault::UnsupportedByList { what: "binding", on: queue() }),
        ("no-global-qos", Fault::NoGlobalQos(queue())),
        ("quorum-delete-flag", Fault::QuorumDeleteFlag { flag: "if-unused", on: queue() }),
        ("quorum-sac-get", Fault::QuorumSacGet(queue())),
        ("consumer-timeout", Fault::ConsumerTimeout { channel: 1, timeout_ms: 1_800_000 }),
        ("delayed-type", Fault::BadDelayedType),
        ("topic-wildcards", Fault::TopicWildcards { key: s("k"), count: 3, count_max: 2 }),
        ("forced", Fault::Forced(s("Closed via management plugin"))),
        ("shutdown", Fault::Shutdown),
        ("max-consumers", Fault::MaxConsumers(3)),
        ("during-commit", Fault::DuringCommit),
        ("shortstr-utf8", Malformed::ShortStrUtf8 { method }.into()),
        ("deprecated-feature", Fault::DeprecatedFeature("transient_nonexcl_queues")),
        ("internal", Fault::Internal),
    ]
}

#[test]
fn every_reply_is_rabbitmqs_word_for_word() {
    let samples = samples();
    let mut used = BTreeSet::new();
    for line in ROWS.lines().filter(|l| !l.starts_with('#')) {
        let [row, name, code, level, text] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not five columns: {line}");
        };
        let (_, fault) =
            samples.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no sample {name}"));
        let level = if level == "C" { Level::Channel } else { Level::Connection };
        let expected = Reply { code: code.parse().unwrap(), level, text: text.replace("\\n", "\n") };
        assert_eq!(fault.reply(&V4_2), expected, "row {row}");
        used.insert(name);
    }
    for (name, _) in &samples {
        assert!(used.contains(name), "{name} has no row");
    }
}

#[test]
fn a_text_is_cut_where_a_character_starts() {
    let check = |name_bytes: usize, fill: &str| {
        let reply = Fault::NoVhost(fill.repeat(name_bytes)).reply(&V4_2);
        assert!(reply.text.len() <= 255 && reply.text.ends_with("..."), "{}", reply.text);
    };
    check(300, "a");
    check(120, "ä");
    check(100, "語");
    assert_eq!(Fault::Forced("x".repeat(235)).reply(&V4_2).text.len(), 255);
    assert!(Fault::Forced("x".repeat(235)).reply(&V4_2).text.ends_with('x'));
}

#[test]
fn no_limit_is_said_of_channels_only() {
    let text = |field| Fault::Negotiation { field, value: 0, bound: Bound::Maximum(2047) }.reply(&V4_2).text;
    assert!(text("channel_max").contains("channel_max = 0 (no limit) is higher"));
    assert!(text("frame_max").contains("frame_max = 0 is higher"));
}

#[test]
fn older_versions_have_other_words() {
    let queue = || Resource::queue("Q", "/");
    let access = || Fault::AccessRefused { access: "configure", on: queue(), user: "u".to_owned() };
    let kind = || Fault::UnknownExchangeType("t".to_owned());
    for (fault, profile, code, text) in [
        (kind(), &V3_12, 503, "COMMAND_INVALID - unknown exchange type 't'"),
        (kind(), &V3_13, 406, "PRECONDITION_FAILED - unknown exchange type 't'"),
        (access(), &V3_12, 403, "ACCESS_REFUSED - access to queue 'Q' in vhost '/' refused for user 'u'"),
        (
            access(),
            &V3_13,
            403,
            "ACCESS_REFUSED - configure access to queue 'Q' in vhost '/' refused for user 'u'",
        ),
        (
            Fault::NoPrefetch(queue()),
            &V3_13,
            406,
            "PRECONDITION_FAILED - consumer prefetch count is not set for 'queue 'Q' in vhost '/''",
        ),
        (
            Fault::AutoAckOfStream(queue()),
            &V3_13,
            540,
            "NOT_IMPLEMENTED - automatic acknowledgement not supported by stream queues queue 'Q' in vhost '/'",
        ),
    ] {
        let reply = fault.reply(profile);
        assert_eq!((reply.code, &*reply.text), (code, text));
    }
}
