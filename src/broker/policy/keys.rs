//! What may stand in a policy's definition: each key with its check, and RabbitMQ's words for a value that fails it.

use super::{Sort, terms};
use crate::{
    broker::{
        arguments::{QueueKind, age_ms},
        profile::Profile,
        queue::delayed::RetryType,
    },
    data::{
        term,
        value::{Table, Value},
    },
};

/// One key.
struct Key {
    name: &'static str,
    /// Whether operator policies may have it, too.
    operator: bool,
    check: fn(&Value) -> bool,
    /// What follows the value in the complaint.
    complaint: &'static str,
}

const fn key(name: &'static str, operator: bool, check: fn(&Value) -> bool, complaint: &'static str) -> Key {
    Key { name, operator, check, complaint }
}

/// What every version knows. Mirroring (`ha-…`) went with 4.0.
const KEYS: &[Key] = &[
    key("alternate-exchange", false, is_text, "is not a valid alternate exchange name"),
    key("consumer-timeout", false, is_natural, "is not a valid consumer timeout"),
    key("dead-letter-exchange", false, is_text, "is not a valid dead letter exchange name"),
    key("dead-letter-routing-key", false, is_text, "is not a valid dead letter routing key"),
    key("dead-letter-strategy", false, is_strategy, "is not a valid dead letter strategy"),
    key("delivery-limit", true, is_integer, "is not a valid delivery limit"),
    key("expires", true, is_positive, "is not a valid queue expiry"),
    key("initial-cluster-size", false, is_positive, "is not a valid cluster size"),
    key("max-age", true, is_age, "is not a valid max age"),
    key("max-in-memory-bytes", true, is_natural, "is not a valid maximum memory in bytes"),
    key("max-in-memory-length", true, is_natural, "is not a valid maximum memory in bytes"),
    key("max-length", true, is_natural, "is not a valid maximum length"),
    key("max-length-bytes", true, is_natural, "is not a valid maximum length in bytes"),
    key("message-ttl", true, is_natural, "is not a valid message TTL"),
    key("overflow", true, is_overflow, "is not a valid overflow value"),
    key("queue-leader-locator", false, is_locator, "is not a valid queue leader locator value"),
    key("queue-master-locator", false, is_master_locator, "invalid queue-master-locator value"),
    key("queue-mode", false, is_mode, "is not a valid queue-mode value"),
    key("queue-version", true, is_version, "is not a valid queue-version value"),
    key(
        "stream-filter-size-bytes",
        false,
        is_filter_size,
        "is not a valid filter size. Valid range is 16-255",
    ),
    key("stream-max-segment-size-bytes", true, is_natural, "is not a valid segment size"),
    key("target-group-size", true, is_positive, "is not a valid target count"),
];

/// What 4.3 adds. Here no consumer is ever disconnected without being gone: that key changes nothing.
const RETRY_KEYS: &[Key] = &[
    key("consumer-disconnected-timeout", false, is_natural, "is not a valid consumer disconnected timeout"),
    key(
        "delayed-retry-max",
        true,
        is_positive,
        "is not a valid delayed retry maximum delay. Must be a positive integer",
    ),
    key(
        "delayed-retry-min",
        true,
        is_positive,
        "is not a valid delayed retry minimum delay. Must be a positive integer",
    ),
    key(
        "delayed-retry-type",
        true,
        is_retry_type,
        "is not a valid delayed retry type. Must be one of: all, failed, returned, disabled",
    ),
];

/// Checks a definition; keys in alphabetical order, unknown ones first.
///
/// # Errors
/// RabbitMQ's text.
pub fn check(sort: Sort, definition: &Table, profile: &Profile) -> Result<(), String> {
    if definition.is_empty() {
        return Err("no policy provided\n".to_owned());
    }
    let more = if profile.quorum_retry_arguments { RETRY_KEYS } else { &[] };
    let keys = || KEYS.iter().chain(more);
    let of = |name: &str| keys().find(|key| key.name == name && (sort == Sort::User || key.operator));
    let unknown: Vec<_> = definition.0.iter().filter(|(name, _)| of(name).is_none()).collect();
    if !unknown.is_empty() {
        return Err(format!("{} are not recognised policy settings\n", terms(&unknown)));
    }
    let mut fields: Vec<_> = definition.0.iter().collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in fields {
        if let Some(key) = of(name)
            && !(key.check)(value)
        {
            return Err(format!("{} {}\n", term::value_term(value), key.complaint));
        }
    }
    check_delayed_retry(definition)
}

/// What the checked keys must be together.
fn check_delayed_retry(definition: &Table) -> Result<(), String> {
    let field = |name: &str| definition.field(name);
    let asked_for = field("delayed-retry-type").and_then(Value::octets).filter(|word| *word != b"disabled");
    let min = field("delayed-retry-min").and_then(Value::integer);
    let max = field("delayed-retry-max").and_then(Value::integer);
    match (asked_for, min, max) {
        (Some(word), None, _) => {
            let word = String::from_utf8_lossy(word);
            Err(format!("delayed-retry-min is required when delayed-retry-type is {word}\n"))
        }
        (_, Some(min), Some(max)) if max < min => {
            Err(format!("delayed-retry-max ({max}) must not be smaller than delayed-retry-min ({min})\n"))
        }
        (_, _, _) => Ok(()),
    }
}

/// Keys that mean nothing to queues of a type: a policy with one of them does not count for these. Not every key of another
/// type is among them. (capabilities, unsupported_policies)
#[must_use]
pub fn unsupported(kind: QueueKind) -> &'static [&'static str] {
    match kind.word() {
        "quorum" => &[
            "initial-cluster-size",
            "max-age",
            "queue-master-locator",
            "queue-mode",
            "stream-max-segment-size-bytes",
        ],
        "stream" => &[
            "dead-letter-exchange",
            "dead-letter-routing-key",
            "dead-letter-strategy",
            "delivery-limit",
            "expires",
            "max-in-memory-bytes",
            "max-in-memory-length",
            "max-length",
            "message-ttl",
            "overflow",
            "queue-master-locator",
            "queue-mode",
            "target-group-size",
        ],
        _ => &[
            "dead-letter-strategy",
            "delivery-limit",
            "initial-cluster-size",
            "max-age",
            "max-in-memory-bytes",
            "max-in-memory-length",
            "stream-max-segment-size-bytes",
            "target-group-size",
        ],
    }
}

fn is_text(value: &Value) -> bool {
    value.octets().is_some()
}

fn is_integer(value: &Value) -> bool {
    value.integer().is_some()
}

fn is_natural(value: &Value) -> bool {
    value.integer().is_some_and(|n| n >= 0)
}

fn is_positive(value: &Value) -> bool {
    value.integer().is_some_and(|n| n >= 1)
}

fn is_filter_size(value: &Value) -> bool {
    value.integer().is_some_and(|n| (16..=255).contains(&n))
}

fn is_version(value: &Value) -> bool {
    matches!(value.integer(), Some(1 | 2))
}

fn is_age(value: &Value) -> bool {
    value.octets().is_some_and(|text| age_ms(text).is_some())
}

fn is_one_of(value: &Value, words: &[&[u8]]) -> bool {
    value.octets().is_some_and(|text| words.contains(&text))
}

fn is_strategy(value: &Value) -> bool {
    is_one_of(value, &[b"at-most-once", b"at-least-once"])
}

fn is_overflow(value: &Value) -> bool {
    is_one_of(value, &[b"drop-head", b"reject-publish", b"reject-publish-dlx"])
}

fn is_retry_type(value: &Value) -> bool {
    value.octets().is_some_and(|word| word == b"disabled" || RetryType::named(word).is_some())
}

fn is_mode(value: &Value) -> bool {
    is_one_of(value, &[b"default", b"lazy"])
}

fn is_locator(value: &Value) -> bool {
    is_one_of(value, &[b"client-local", b"balanced", b"random", b"least-leaders"])
}

fn is_master_locator(value: &Value) -> bool {
    is_one_of(value, &[b"client-local", b"random", b"min-masters"])
}
