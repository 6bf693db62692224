//! What is wrong with an argument's value, as RabbitMQ prints the term behind `invalid arg '…' for queue '…'`.
//!
//! [`VALIDATORS`] has the order in which RabbitMQ looks, which decides what is reported of two wrong ones; whose
//! arguments they are is in `known.rs`. (rabbit_amqqueue: declare_args, consume_args, check_*_arg.)

use crate::{
    broker::profile::Profile,
    data::{
        term,
        value::{Table, Value},
    },
};

/// The largest time span that RabbitMQ takes, in milliseconds (ten years).
const SPAN_MS_MAX: i64 = 315_360_000_000;

/// The largest number of priorities.
const PRIORITY_MAX: i64 = 255;

/// An argument's value, with what else it may depend on.
pub(super) struct Given<'a> {
    pub value: &'a Value,
    pub arguments: &'a Table,
    pub profile: &'a Profile,
}

type Verdict = Result<(), String>;

pub(super) type Validator = fn(&Given<'_>) -> Verdict;

/// Arguments of queues.
pub(super) const VALIDATORS: &[(&str, Validator)] = &[
    ("x-expires", expires),
    ("x-message-ttl", message_ttl),
    ("x-dead-letter-exchange", string),
    ("x-dead-letter-routing-key", dead_letter_routing_key),
    ("x-dead-letter-strategy", dead_letter_strategy),
    ("x-max-length", natural),
    ("x-max-length-bytes", natural),
    ("x-max-in-memory-length", natural),
    ("x-max-in-memory-bytes", natural),
    ("x-max-priority", max_priority),
    ("x-overflow", overflow),
    ("x-queue-mode", queue_mode),
    ("x-queue-version", queue_version),
    ("x-single-active-consumer", boolean),
    ("x-consumer-timeout", natural),
    ("x-consumer-disconnected-timeout", natural),
    ("x-quorum-initial-group-size", positive),
    ("x-max-age", max_age),
    ("x-stream-max-segment-size-bytes", natural),
    ("x-stream-filter-size-bytes", natural),
    ("x-initial-cluster-size", positive),
    ("x-queue-leader-locator", leader_locator),
    // 4.3 does not look at `x-delayed-retry-…`: what it cannot use delays nothing.
];

/// Arguments of consumers. The offset of a stream is read where the stream is.
pub(super) const CONSUMER_VALIDATORS: &[(&str, Validator)] =
    &[("x-priority", whole_number), ("x-consumer-timeout", natural)];

/// A text, which Erlang prints with its quotes.
pub(super) fn text(text: &str) -> String {
    term::string(text.as_bytes())
}

pub(super) fn unacceptable(value: &Value) -> String {
    format!("{{unacceptable_type,{}}}", value.type_name())
}

fn integer(given: &Given<'_>) -> Result<i64, String> {
    let value = given.value;
    value.integer().ok_or_else(|| text(&format!("expected integer, got {}", value.type_name())))
}

fn octets<'a>(given: &Given<'a>) -> Result<&'a [u8], String> {
    given.value.octets().ok_or_else(|| unacceptable(given.value))
}

fn whole_number(given: &Given<'_>) -> Verdict {
    integer(given).map(drop)
}

fn natural(given: &Given<'_>) -> Verdict {
    match integer(given)? {
        n @ ..=-1 => Err(format!("{{value_negative,{n}}}")),
        0.. => Ok(()),
    }
}

fn positive(given: &Given<'_>) -> Verdict {
    natural(given)?;
    match integer(given)? {
        0 => Err("{value_zero,0}".to_owned()),
        _ => Ok(()),
    }
}

fn message_ttl(given: &Given<'_>) -> Verdict {
    natural(given)?;
    match integer(given)? {
        n if n > SPAN_MS_MAX => Err(format!("{{value_too_large,{n}}}")),
        _ => Ok(()),
    }
}

fn expires(given: &Given<'_>) -> Verdict {
    positive(given)?;
    message_ttl(given)
}

fn max_priority(given: &Given<'_>) -> Verdict {
    natural(given)?;
    match integer(given)? {
        n if n > PRIORITY_MAX => Err(format!("{{max_value_exceeded,{n}}}")),
        _ => Ok(()),
    }
}

fn string(given: &Given<'_>) -> Verdict {
    octets(given).map(drop)
}

fn boolean(given: &Given<'_>) -> Verdict {
    if matches!(given.value, Value::Bool(_)) { Ok(()) } else { Err(unacceptable(given.value)) }
}

fn one_of(given: &Given<'_>, known: &[&str], otherwise: &str) -> Verdict {
    let octets = octets(given)?;
    if known.iter().any(|word| word.as_bytes() == octets) { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn dead_letter_routing_key(given: &Given<'_>) -> Verdict {
    octets(given)?;
    match given.arguments.field("x-dead-letter-exchange") {
        Some(_) => Ok(()),
        None => Err("routing_key_but_no_dlx_defined".to_owned()),
    }
}

fn dead_letter_strategy(given: &Given<'_>) -> Verdict {
    one_of(given, &["at-most-once", "at-least-once"], "invalid_dlx_strategy")
}

fn overflow(given: &Given<'_>) -> Verdict {
    one_of(given, &["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow")
}

fn leader_locator(given: &Given<'_>) -> Verdict {
    let known = ["client-local", "balanced", "random", "least-leaders"];
    one_of(given, &known, "invalid_queue_locator_arg")
}

fn queue_mode(given: &Given<'_>) -> Verdict {
    if !given.profile.queue_version_1 {
        return Ok(()); // 4.3 has no check of it; a classic queue is still the only one that knows it
    }
    let mode = octets(given)?;
    if matches!(mode, b"default" | b"lazy") {
        return Ok(());
    }
    Err(text(&format!("unsupported queue mode '{}'", String::from_utf8_lossy(mode))))
}

fn queue_version(given: &Given<'_>) -> Verdict {
    natural(given)?;
    match integer(given)? {
        2 => Ok(()),
        1 if given.profile.queue_version_1 => Ok(()),
        n => Err(text(&format!("unsupported queue version '{n}'"))),
    }
}

fn max_age(given: &Given<'_>) -> Verdict {
    match age_ms(octets(given)?) {
        Some(1..) => Ok(()),
        Some(0) | None => Err("invalid_max_age".to_owned()),
    }
}

/// `x-max-age` in milliseconds: a number and one of `Y M D h m s`.
#[must_use]
pub fn age_ms(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "Y" => 365 * 86_400,
        "M" => 30 * 86_400,
        "D" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    if !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(seconds * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_numbers_with_a_unit() {
        for (text, expected) in [
            ("1h", Some(3_600_000)),
            ("7D", Some(604_800_000)),
            ("0s", Some(0)),
            ("5", None),
            ("h", None),
            ("1x", None),
            ("+1s", None),
        ] {
            assert_eq!(age_ms(text.as_bytes()), expected, "{text}");
        }
    }
}
