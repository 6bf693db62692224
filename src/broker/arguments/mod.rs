//! Queue and consumer arguments: what they ask for, what is wrong with them, and whether two sets are equivalent.
//!
//! `known.rs` says which type knows which argument, `validate.rs` what a value must be, `equivalence.rs` compares; here
//! is what a queue makes of them. (RabbitMQ 3.10 to 4.3, rabbit_amqqueue.)

mod equivalence;
mod known;
mod validate;

pub use self::{
    equivalence::{argument, equivalent},
    validate::age_ms,
};
use super::{
    dead_letter::DeadLetter,
    profile::{Profile, QuorumPriorities},
    queue::{
        QueueOptions,
        delayed::{DelayedRetry, RetryType},
        levels::Order,
        limits::{Limits, OverflowMode},
    },
    refusal::{Refusal, Subject},
};
use crate::data::value::{Table, Value};

/// Which kind of queue is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QueueKind {
    #[default]
    Classic,
    Quorum,
    Stream,
}

impl QueueKind {
    pub const ALL: [Self; 3] = [Self::Classic, Self::Quorum, Self::Stream];

    /// As `x-queue-type` and the management API have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }

    /// From `x-queue-type` or a vhost's `default_queue_type`: the word, or the name of RabbitMQ's module.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"classic" | b"rabbit_classic_queue" => Some(Self::Classic),
            b"quorum" | b"rabbit_quorum_queue" => Some(Self::Quorum),
            b"stream" | b"rabbit_stream_queue" => Some(Self::Stream),
            _ => None,
        }
    }

    /// The property that does not go with the type, as the reply names it.
    fn unfit(self, options: &QueueOptions) -> Option<&'static str> {
        match self {
            Self::Classic => None,
            Self::Quorum | Self::Stream if options.auto_delete => Some("auto-delete"),
            Self::Quorum | Self::Stream if options.exclusive.is_some() => Some("exclusive-owner"),
            Self::Quorum | Self::Stream if !options.durable => Some("non-durable"),
            Self::Quorum | Self::Stream => None,
        }
    }
}

/// What the arguments of a queue ask for, with the profile's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    pub kind: QueueKind,
    pub limits: Limits,
    /// Where dropped messages go; absent, they are lost.
    pub dead_letter: Option<DeadLetter>,
    /// Its levels of priority.
    pub order: Order,
    pub single_active_consumer: bool,
    /// The single active consumer is the one with the highest priority, not the first.
    pub single_active_follows_priority: bool,
    /// How often a message of a quorum queue may come back; `None`: for ever.
    pub delivery_limit: Option<u32>,
    /// Only failed deliveries count against the limit.
    pub delivery_failures_counted: bool,
    /// What comes back to a quorum queue and is not delivered again at once.
    pub delayed_retry: Option<DelayedRetry>,
    /// How long a delivery may stay unacknowledged, if the queue says so itself.
    pub consumer_timeout_ms: Option<u64>,
}

/// The arguments as they are stored and compared: with a type where the vhost or the profile gives one. A default that
/// does not go with the queue's properties is not asked for.
#[must_use]
pub fn with_type(options: &QueueOptions, default: Option<QueueKind>, profile: &Profile) -> Table {
    let arguments = &options.arguments;
    if arguments.field("x-queue-type").is_some() || (default.is_none() && !profile.queue_type_assumed) {
        return arguments.clone();
    }
    let kind = default.filter(|kind| kind.unfit(options).is_none()).unwrap_or_default();
    let mut arguments = arguments.clone();
    arguments.0.push(("x-queue-type".to_owned(), Value::LongStr(kind.word().into())));
    // RabbitMQ keeps a table sorted once it has set something in it.
    arguments.0.sort_by(|(a, _), (b, _)| a.cmp(b));
    arguments
}

/// The type of a queue with checked arguments.
#[must_use]
pub fn kind_of(arguments: &Table) -> QueueKind {
    let named = arguments.field("x-queue-type").and_then(Value::octets).and_then(QueueKind::named);
    named.unwrap_or_default()
}

/// The queue type that arguments name, `classic` when they name none.
///
/// # Errors
/// [`Refusal::InvalidArgument`] for an unknown type.
pub fn kind(name: &str, arguments: &Table) -> Result<QueueKind, Refusal> {
    let Some(value) = arguments.field("x-queue-type") else { return Ok(QueueKind::Classic) };
    let reason = match value.octets() {
        Some(word) => match QueueKind::named(word) {
            Some(kind) => return Ok(kind),
            None => validate::text(&format!("unsupported queue type '{}'", String::from_utf8_lossy(word))),
        },
        None => validate::unacceptable(value),
    };
    Err(invalid("x-queue-type", name, reason))
}

/// Checks what a new queue is declared with.
///
/// # Errors
/// The first that is wrong, in RabbitMQ's order: values, arguments of other types, properties.
pub fn check(name: &str, kind: QueueKind, options: &QueueOptions, profile: &Profile) -> Result<(), Refusal> {
    let arguments = &options.arguments;
    if let Some(value) = arguments.field("x-dead-letter-exchange")
        && value.octets().is_none()
    {
        return Err(Refusal::ArgumentType {
            arg: "x-dead-letter-exchange".to_owned(),
            on: Subject::queue(name),
            type_name: value.type_name(),
        });
    }
    let known: Vec<_> = known::of_queues(kind, profile).collect();
    check_values(name, arguments, &known, validate::VALIDATORS, profile)?;
    if let Some((arg, _)) = arguments.0.iter().find(|(arg, _)| known::is_of_other_kind(arg, kind, profile)) {
        return Err(of_other_type(arg, name, kind));
    }
    match kind.unfit(options) {
        Some(property) => Err(Refusal::InvalidProperty { property, queue: name.to_owned() }),
        None => Ok(()),
    }
}

/// What a consumer's arguments ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumerSettings {
    /// Who is served first.
    pub priority: i64,
    pub timeout_ms: Option<u64>,
}

/// Checks a consumer's arguments, and says what they ask for.
///
/// # Errors
/// The first that is wrong.
pub fn consumer(
    name: &str,
    kind: QueueKind,
    arguments: &Table,
    profile: &Profile,
) -> Result<ConsumerSettings, Refusal> {
    let known = known::of_consumers(kind, profile);
    check_values(name, arguments, known, validate::CONSUMER_VALIDATORS, profile)?;
    let wrong = |(arg, _): &&(String, Value)| known::is_of_other_consumers(arg, kind, profile);
    if let Some((arg, _)) = arguments.0.iter().find(wrong) {
        return Err(of_other_type(arg, name, kind));
    }
    let integer = |arg: &str| known.contains(&arg).then(|| arguments.field(arg)?.integer()).flatten();
    Ok(ConsumerSettings {
        priority: integer("x-priority").unwrap_or(0),
        timeout_ms: integer("x-consumer-timeout").and_then(|ms| u64::try_from(ms).ok()),
    })
}

fn check_values(
    name: &str,
    arguments: &Table,
    known: &[&str],
    validators: &[(&str, validate::Validator)],
    profile: &Profile,
) -> Result<(), Refusal> {
    for (arg, validator) in validators.iter().filter(|(arg, _)| known.contains(arg)) {
        let Some(value) = arguments.field(arg) else { continue };
        validator(&validate::Given { value, arguments, profile })
            .map_err(|reason| invalid(arg, name, reason))?;
    }
    Ok(())
}

/// What checked arguments ask for; of an effective table (arguments and policies), what both together do.
#[must_use]
pub fn settings(arguments: &Table, profile: &Profile) -> Settings {
    let kind = kind_of(arguments);
    let integer = |arg: &str| arguments.field(arg).and_then(Value::integer);
    let number = |arg: &str| integer(arg).and_then(|n| u64::try_from(n).ok());
    let quorum = kind == QueueKind::Quorum;
    let delivery_limit = match integer("x-delivery-limit").filter(|_| quorum) {
        Some(limit) => u32::try_from(limit).ok(),
        None => profile.delivery_limit.filter(|_| quorum).and_then(|limit| u32::try_from(limit).ok()),
    };
    Settings {
        kind,
        limits: Limits {
            max_length: number("x-max-length"),
            max_length_bytes: number("x-max-length-bytes"),
            overflow: overflow(arguments),
            message_ttl_ms: number("x-message-ttl"),
            unused_ms_max: number("x-expires"),
        },
        dead_letter: dead_letter(kind, arguments),
        order: order(kind, number("x-max-priority"), profile),
        single_active_consumer: arguments.field("x-single-active-consumer") == Some(&Value::Bool(true)),
        single_active_follows_priority: quorum && profile.single_active_follows_priority,
        delivery_limit,
        delivery_failures_counted: profile.delivery_failures_counted,
        delayed_retry: delayed_retry(arguments).filter(|_| quorum && profile.quorum_retry_arguments),
        consumer_timeout_ms: number("x-consumer-timeout"),
    }
}

/// The dead-letter exchange that arguments name: whoever declares such a queue must be allowed to write to it.
#[must_use]
pub fn dead_letter_exchange(arguments: &Table) -> Option<&str> {
    text(arguments, "x-dead-letter-exchange")
}

fn text<'a>(arguments: &'a Table, arg: &str) -> Option<&'a str> {
    std::str::from_utf8(arguments.field(arg)?.octets()?).ok()
}

fn dead_letter(kind: QueueKind, arguments: &Table) -> Option<DeadLetter> {
    // A queue that drops its head cannot keep what died: RabbitMQ falls back to `at-most-once`.
    let at_least_once = kind == QueueKind::Quorum
        && text(arguments, "x-dead-letter-strategy") == Some("at-least-once")
        && overflow(arguments) == OverflowMode::RejectPublish;
    dead_letter_exchange(arguments).map(|exchange| DeadLetter {
        exchange: exchange.into(),
        routing_key: text(arguments, "x-dead-letter-routing-key").map(Into::into),
        at_least_once,
    })
}

fn overflow(arguments: &Table) -> OverflowMode {
    match arguments.field("x-overflow").and_then(Value::octets) {
        Some(b"reject-publish") => OverflowMode::RejectPublish,
        // A quorum queue falls back to dropping its head.
        Some(b"reject-publish-dlx") if kind_of(arguments) == QueueKind::Classic => {
            OverflowMode::RejectPublishDlx
        }
        _ => OverflowMode::DropHead,
    }
}

/// Without a maximum every delay is the minimum; what is no positive number is no delay.
fn delayed_retry(arguments: &Table) -> Option<DelayedRetry> {
    let of = RetryType::named(arguments.field("x-delayed-retry-type")?.octets()?)?;
    let positive = |arg: &str| {
        let ms = arguments.field(arg).and_then(Value::integer)?;
        u64::try_from(ms).ok().filter(|&ms| ms > 0)
    };
    let min_ms = positive("x-delayed-retry-min")?;
    let max_ms = positive("x-delayed-retry-max").unwrap_or(min_ms);
    Some(DelayedRetry { of, min_ms, max_ms })
}

fn order(kind: QueueKind, max_priority: Option<u64>, profile: &Profile) -> Order {
    match (kind, profile.quorum_priorities) {
        (QueueKind::Classic, _) => match max_priority.and_then(|n| u8::try_from(n).ok()) {
            Some(max @ 1..) => Order::Priorities { max },
            Some(0) | None => Order::Fifo,
        },
        (QueueKind::Quorum, QuorumPriorities::TwoWeighted) => Order::TwoWeighted,
        (QueueKind::Quorum, QuorumPriorities::Strict) => Order::Quorum32,
        (QueueKind::Quorum, QuorumPriorities::None) | (QueueKind::Stream, _) => Order::Fifo,
    }
}

fn of_other_type(arg: &str, queue: &str, kind: QueueKind) -> Refusal {
    Refusal::ArgumentOfOtherType { arg: arg.to_owned(), queue: queue.to_owned(), kind: kind.word() }
}

fn invalid(arg: &str, queue: &str, reason: String) -> Refusal {
    Refusal::InvalidArgument { arg: arg.to_owned(), on: Subject::queue(queue), reason }
}

#[cfg(test)]
mod tests;
