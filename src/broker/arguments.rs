//! Queue arguments: what they ask for, what is wrong with them, and whether two sets are equivalent.
//!
//! (RabbitMQ `rabbit_amqqueue`: check_declare_arguments, assert_args_equivalence.) An argument that RabbitMQ knows
//! and this version does not serve yet is refused, never ignored.

use super::{
    dead_letter::DeadLetter,
    queue::{
        QueueOptions,
        limits::{Limits, OverflowMode},
    },
    refusal::{Difference, Refusal, Subject},
};
use crate::data::value::{Table, Value};

/// The largest time span that RabbitMQ takes, in milliseconds (ten years).
const SPAN_MS_MAX: i64 = 315_360_000_000;

/// Which kind of queue is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueKind {
    Classic,
    Stream,
}

impl QueueKind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Stream => "stream",
        }
    }
}

/// What the arguments of a classic queue ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classic {
    pub limits: Limits,
    /// Where dropped messages go; absent, they are lost.
    pub dead_letter: Option<DeadLetter>,
    pub single_active_consumer: bool,
}

type Check = fn(&Value) -> Result<(), String>;

/// The arguments of classic queues: how each is checked, or `None` where this version does not serve it yet.
const CLASSIC: &[(&str, Option<Check>)] = &[
    ("x-queue-type", Some(is_string)),
    ("x-message-ttl", Some(is_span)),
    ("x-max-length", Some(is_natural)),
    ("x-max-length-bytes", Some(is_natural)),
    ("x-overflow", Some(is_overflow)),
    ("x-single-active-consumer", Some(is_bool)),
    ("x-queue-mode", Some(is_queue_mode)),
    ("x-queue-version", Some(is_queue_version)),
    ("x-queue-leader-locator", Some(is_string)),
    ("x-queue-master-locator", Some(is_string)),
    ("x-expires", Some(is_lifetime)),
    ("x-dead-letter-exchange", Some(is_string)),
    ("x-dead-letter-routing-key", Some(is_string)),
    ("x-max-priority", None),
];

/// The arguments of streams.
const STREAM: &[(&str, Option<Check>)] = &[
    ("x-queue-type", Some(is_string)),
    ("x-max-length-bytes", Some(is_natural)),
    ("x-max-age", Some(is_age)),
    ("x-stream-max-segment-size-bytes", Some(is_natural)),
    ("x-queue-leader-locator", Some(is_string)),
    ("x-initial-cluster-size", Some(is_natural)),
    ("x-stream-filter-size-bytes", Some(is_natural)),
];

/// The queue type that arguments name, `classic` when they name none.
///
/// # Errors
/// [`Refusal::InvalidArgument`] for an unknown type.
pub fn kind(name: &str, arguments: &Table) -> Result<QueueKind, Refusal> {
    let invalid = |reason: String| invalid("x-queue-type", name, reason);
    match arguments.field("x-queue-type") {
        None => Ok(QueueKind::Classic),
        Some(Value::LongStr(s)) => match &s[..] {
            b"classic" => Ok(QueueKind::Classic),
            b"stream" => Ok(QueueKind::Stream),
            b"quorum" => Err(invalid("quorum queues are not supported by this version".to_owned())),
            other => Err(invalid(format!("\"unsupported queue type '{}'\"", String::from_utf8_lossy(other)))),
        },
        Some(other) => Err(invalid(format!("\"expected string, got {}\"", other.type_name()))),
    }
}

/// Checks the arguments of a queue of that kind.
///
/// # Errors
/// [`Refusal::InvalidArgument`] naming the first that is wrong.
pub fn check(name: &str, kind: QueueKind, arguments: &Table) -> Result<(), Refusal> {
    let known = match kind {
        QueueKind::Classic => CLASSIC,
        QueueKind::Stream => STREAM,
    };
    if kind != QueueKind::Stream {
        check_dead_letter(name, arguments)?;
    }
    for (arg, value) in &arguments.0 {
        match known.iter().find(|(known, _)| known == arg) {
            Some((_, Some(check))) => check(value).map_err(|reason| invalid(arg, name, reason))?,
            Some((_, None)) => return Err(invalid(arg, name, "not supported by this version".to_owned())),
            None => {
                let elsewhere = CLASSIC.iter().chain(STREAM).any(|(known, _)| known == arg);
                if elsewhere || arg == "x-delivery-limit" {
                    return Err(Refusal::ArgumentOfOtherType {
                        arg: arg.clone(),
                        queue: name.to_owned(),
                        kind: kind.word(),
                    });
                }
            }
        }
    }
    Ok(())
}

/// RabbitMQ looks at these before the others, and has a text of its own for an exchange that is no string.
fn check_dead_letter(name: &str, arguments: &Table) -> Result<(), Refusal> {
    let exchange = arguments.field(DEAD_LETTER_EXCHANGE);
    if let Some(value) = exchange.filter(|value| value.octets().is_none()) {
        return Err(Refusal::ArgumentType {
            arg: DEAD_LETTER_EXCHANGE.to_owned(),
            on: Subject::queue(name),
            type_name: value.type_name(),
        });
    }
    match arguments.field(DEAD_LETTER_ROUTING_KEY) {
        Some(Value::LongStr(_)) if exchange.is_none() => {
            Err(invalid(DEAD_LETTER_ROUTING_KEY, name, "routing_key_but_no_dlx_defined".to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
const DEAD_LETTER_ROUTING_KEY: &str = "x-dead-letter-routing-key";

/// The dead-letter exchange that arguments name: whoever declares such a queue must be allowed to write to it.
#[must_use]
pub fn dead_letter_exchange(arguments: &Table) -> Option<&str> {
    std::str::from_utf8(arguments.field(DEAD_LETTER_EXCHANGE)?.octets()?).ok()
}

/// What checked arguments of a classic queue ask for.
#[must_use]
pub fn classic(arguments: &Table) -> Classic {
    let number =
        |arg: &str| arguments.field(arg).and_then(Value::integer).and_then(|n| u64::try_from(n).ok());
    let text = |arg: &str| std::str::from_utf8(arguments.field(arg)?.octets()?).ok();
    let overflow = match text("x-overflow") {
        Some("reject-publish") => OverflowMode::RejectPublish,
        Some("reject-publish-dlx") => OverflowMode::RejectPublishDlx,
        Some(_) | None => OverflowMode::DropHead,
    };
    let dead_letter = text(DEAD_LETTER_EXCHANGE).map(|exchange| DeadLetter {
        exchange: exchange.into(),
        routing_key: text(DEAD_LETTER_ROUTING_KEY).map(Into::into),
    });
    Classic {
        limits: Limits {
            max_length: number("x-max-length"),
            max_length_bytes: number("x-max-length-bytes"),
            overflow,
            message_ttl_ms: number("x-message-ttl"),
            unused_ms_max: number("x-expires"),
        },
        dead_letter,
        single_active_consumer: arguments.field("x-single-active-consumer") == Some(&Value::Bool(true)),
    }
}

/// Whether a redeclaration says the same as what exists.
///
/// # Errors
/// [`Refusal::Inequivalent`] naming the first difference, properties first.
pub fn equivalent(name: &str, received: &QueueOptions, current: &QueueOptions) -> Result<(), Refusal> {
    let property = |arg: &str, received: bool, current: bool| {
        if received == current {
            return Ok(());
        }
        let difference =
            Box::new(Difference::Property { received: received.to_string(), current: current.to_string() });
        Err(Refusal::Inequivalent { arg: arg.to_owned(), on: Subject::queue(name), difference })
    };
    property("durable", received.survives(), current.survives())?;
    property("auto_delete", received.auto_delete, current.auto_delete)?;
    for (arg, _) in CLASSIC.iter().filter(|(arg, _)| *arg != "x-queue-type") {
        argument(arg, Subject::queue(name), received.arguments.field(arg), current.arguments.field(arg))?;
    }
    Ok(())
}

/// Whether one argument is the same on both sides.
///
/// # Errors
/// [`Refusal::Inequivalent`].
pub fn argument(
    arg: &str,
    on: Subject,
    received: Option<&Value>,
    current: Option<&Value>,
) -> Result<(), Refusal> {
    let same = match (received, current) {
        (None, None) => true,
        (Some(a), Some(b)) => a.equivalent(b),
        (Some(_), None) | (None, Some(_)) => false,
    };
    if same {
        return Ok(());
    }
    let difference =
        Box::new(Difference::Argument { received: received.cloned(), current: current.cloned() });
    Err(Refusal::Inequivalent { arg: arg.to_owned(), on, difference })
}

fn invalid(arg: &str, queue: &str, reason: String) -> Refusal {
    Refusal::InvalidArgument { arg: arg.to_owned(), on: Subject::queue(queue), reason }
}

fn integer(value: &Value) -> Result<i64, String> {
    value.integer().ok_or_else(|| format!("\"expected integer, got {}\"", value.type_name()))
}

fn is_natural(value: &Value) -> Result<(), String> {
    match integer(value)? {
        n @ ..=-1 => Err(format!("{{value_negative,{n}}}")),
        0.. => Ok(()),
    }
}

fn is_span(value: &Value) -> Result<(), String> {
    is_natural(value)?;
    match integer(value)? {
        n if n > SPAN_MS_MAX => Err(format!("{{value_too_large,{n}}}")),
        _ => Ok(()),
    }
}

fn is_lifetime(value: &Value) -> Result<(), String> {
    is_span(value)?;
    match integer(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        _ => Ok(()),
    }
}

fn is_string(value: &Value) -> Result<(), String> {
    text(value).map(|_| ())
}

fn text(value: &Value) -> Result<&[u8], String> {
    value.octets().ok_or_else(|| format!("{{unacceptable_type,{}}}", value.type_name()))
}

fn is_bool(value: &Value) -> Result<(), String> {
    if matches!(value, Value::Bool(_)) {
        return Ok(());
    }
    Err(format!("{{unacceptable_type,{}}}", value.type_name()))
}

fn is_overflow(value: &Value) -> Result<(), String> {
    match text(value)? {
        b"drop-head" | b"reject-publish" | b"reject-publish-dlx" => Ok(()),
        _ => Err("invalid_overflow".to_owned()),
    }
}

fn is_queue_mode(value: &Value) -> Result<(), String> {
    match text(value)? {
        b"default" | b"lazy" => Ok(()),
        _ => Err("invalid_queue_mode".to_owned()),
    }
}

fn is_queue_version(value: &Value) -> Result<(), String> {
    match integer(value)? {
        1 | 2 => Ok(()),
        n => Err(format!("unsupported queue version '{n}'")),
    }
}

fn is_age(value: &Value) -> Result<(), String> {
    age_ms(text(value)?).map(|_| ()).ok_or_else(|| "invalid_max_age".to_owned())
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
    number.parse::<u64>().ok()?.checked_mul(seconds * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(arg: &str, value: Value) -> Table {
        Table(vec![(arg.to_owned(), value)])
    }

    #[test]
    fn wrong_arguments_are_refused_in_rabbitmqs_words() {
        let string = |s: &'static str| Value::LongStr(s.into());
        for (arg, value, reason) in [
            ("x-message-ttl", string("a"), "\"expected integer, got longstr\""),
            ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
            ("x-overflow", string("zzz"), "invalid_overflow"),
            ("x-single-active-consumer", Value::I32(1), "{unacceptable_type,signedint}"),
            ("x-expires", Value::I32(0), "{value_zero,0}"),
            ("x-expires", Value::I32(-5), "{value_negative,-5}"),
            ("x-expires", Value::I64(315_360_000_001), "{value_too_large,315360000001}"),
            ("x-expires", string("1"), "\"expected integer, got longstr\""),
            ("x-dead-letter-routing-key", string("k"), "routing_key_but_no_dlx_defined"),
            ("x-dead-letter-routing-key", Value::I32(5), "{unacceptable_type,signedint}"),
        ] {
            let refusal = check("q", QueueKind::Classic, &table(arg, value)).unwrap_err();
            assert_eq!(refusal, invalid(arg, "q", reason.to_owned()));
        }
    }

    #[test]
    fn a_dead_letter_exchange_must_be_a_string_and_comes_with_its_key() {
        let type_name = "signedint";
        let arg = DEAD_LETTER_EXCHANGE.to_owned();
        let refused = Refusal::ArgumentType { arg, on: Subject::queue("q"), type_name };
        assert_eq!(check("q", QueueKind::Classic, &table(DEAD_LETTER_EXCHANGE, Value::I32(5))), Err(refused));
        let mut both = table(DEAD_LETTER_ROUTING_KEY, Value::LongStr("k".into()));
        both.0.push((DEAD_LETTER_EXCHANGE.to_owned(), Value::LongStr("".into())));
        assert_eq!(check("q", QueueKind::Classic, &both), Ok(()));
        let expected = DeadLetter { exchange: "".into(), routing_key: Some("k".into()) };
        assert_eq!(classic(&both).dead_letter, Some(expected));
        assert_eq!(classic(&Table::default()).dead_letter, None);
    }

    #[test]
    fn ages_are_numbers_with_a_unit() {
        for (text, expected) in
            [("1h", Some(3_600_000)), ("7D", Some(604_800_000)), ("5", None), ("h", None), ("1x", None)]
        {
            assert_eq!(age_ms(text.as_bytes()), expected, "{text}");
        }
    }
}
