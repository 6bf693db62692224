//! Streams: topics as AMQP sees them.
//!
//! `queue.declare` with `x-queue-type=stream` makes or finds the topic of that name; publishes become records. Reading
//! is the door's business: a stream is read without changing it.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Core, Pending, arguments,
    arguments::QueueKind,
    message::Publish,
    profile::Profile,
    publish::Headers,
    queue::QueueOptions,
    receipt::Receipt,
    refusal::{Difference, Kind, Refusal, Subject},
    topic::{
        CreateRefused, NewTopic, Topic, VhostName,
        config::{INTERNAL_SEGMENT_BYTES, TopicConfig},
        mapping::{Message, Properties},
    },
    vhost::Vhost,
};
use crate::{
    data::value::{Table, Value},
    store::{Change, StoreError, Turn},
};

/// A declared stream, with what `declare-ok` says of it.
#[derive(Debug)]
pub struct DeclaredStream {
    pub topic: Arc<Topic>,
    pub messages: usize,
    pub pending: Pending,
}

impl Vhost {
    /// A topic that AMQP sees as a stream: one partition of its own name, or a partition by its name (`t-3`).
    #[must_use]
    pub fn find_stream(&self, name: &str) -> Option<Arc<Topic>> {
        let topic =
            self.find_topic(name).filter(|topic| topic.partitions().len() == 1 && !topic.is_super_stream());
        topic.or_else(|| self.find_partition(name))
    }

    /// Declares a stream: makes it, or finds an equivalent one.
    ///
    /// # Errors
    /// Everything that RabbitMQ refuses; [`Refusal::Inequivalent`] when a queue of another type has the name.
    pub fn declare_stream(&self, name: &str, options: &QueueOptions) -> Result<DeclaredStream, Refusal> {
        let (arguments, profile) = (&options.arguments, self.core.profile);
        self.core.meters.queues_declared.increment();
        let _topology = self.topology.lock();
        self.check_alive()?;
        if name.is_empty() {
            return Err(Refusal::ServerNamed(QueueKind::Stream.word()));
        }
        if let Some(queue) = self.find_queue(name) {
            return Err(other_type(name, queue.kind, arguments, profile));
        }
        arguments::check(name, QueueKind::Stream, options, profile)?;
        check_sizes(arguments)?;
        if let Some(topic) = self.find_stream(name).or_else(|| self.find_topic(name)) {
            match &topic.stream_arguments {
                Some(current) => equivalent(name, arguments, current)?,
                None => as_configured(name, arguments, &topic.config())?,
            }
            let messages = topic.message_count();
            return Ok(DeclaredStream { topic, messages, pending: self.done_before() });
        }
        if name.starts_with("amq.") {
            return Err(Refusal::ReservedName { kind: Kind::Queue, name: name.to_owned() });
        }
        self.check_queues_max(name)?;
        let new = NewTopic {
            vhost: VhostName(self.name.clone()),
            name: name.to_owned(),
            partitions: 1,
            config: config(name, arguments)?,
            stream_arguments: Some(arguments.clone()),
            id: Uuid::new_v4(),
        };
        let (topic, ticket) =
            self.core.topics.create(new).map_err(|refused: CreateRefused| Refusal::InvalidArgument {
                arg: "x-queue-type".to_owned(),
                on: Subject::queue(name),
                reason: refused.to_string(),
            })?;
        self.core.meters.queues_created.increment();
        self.apply_policies_to_stream(&topic);
        Ok(DeclaredStream { topic, messages: 0, pending: Some(ticket) })
    }

    /// The same for what was found by a queue's name.
    ///
    /// # Errors
    /// A partition goes with its super stream only.
    pub fn delete_stream_queue(&self, topic: &Arc<Topic>) -> Result<Pending, Refusal> {
        if topic.is_partition {
            return Err(Refusal::Stream("a partition is deleted with its super stream"));
        }
        Ok(self.delete_stream(topic))
    }

    /// Deletes a stream with its bindings, whoever reads it and whatever is in it: RabbitMQ's streams mind neither
    /// `if-unused` nor `if-empty`, and say that no message went with them.
    pub fn delete_stream(&self, topic: &Arc<Topic>) -> Pending {
        self.delete_stream_if(topic, || Some(()))
    }

    /// As [`Vhost::delete_stream`], if `gone` gives something once the topology is locked. That is held until nobody
    /// finds the topic any more.
    pub(super) fn delete_stream_if<T>(
        &self,
        topic: &Arc<Topic>,
        gone: impl FnOnce() -> Option<T>,
    ) -> Pending {
        let mut topology = self.topology.lock();
        let held = gone()?;
        let deleted = self.core.topics.delete(topic);
        drop(held);
        let mut keys = Vec::new();
        for target in Self::targets_of(topic) {
            self.unbind_target(&mut topology, &target, &mut keys);
        }
        let Some(deleted) = deleted else {
            // Somebody else was first.
            return self.forget(keys).max(self.done_before());
        };
        self.names_changed();
        self.core.meters.queues_deleted.increment();
        self.forget(keys).max(Some(deleted))
    }
}

impl Topic {
    /// Records from the start to the high watermark, of all partitions.
    #[must_use]
    pub fn message_count(&self) -> usize {
        let count = |p: &Arc<super::topic::partition::Partition>| {
            let offsets = p.offsets();
            usize::try_from(offsets.high_watermark.0 - offsets.log_start.0).unwrap_or(0)
        };
        self.partitions().iter().map(count).sum()
    }
}

/// Whether a stream is declared again as it was.
fn equivalent(name: &str, received: &Table, current: &Table) -> Result<(), Refusal> {
    for arg in COMPARED {
        arguments::argument(arg, Subject::queue(name), received.field(arg), current.field(arg))?;
    }
    Ok(())
}

/// Whether a stream is declared as the topic is configured that Kafka made. What is not named may be as it is.
fn as_configured(name: &str, received: &Table, config: &TopicConfig) -> Result<(), Refusal> {
    let number = |config_name: &str| config.value(config_name).and_then(|value| value.parse::<i64>().ok());
    for (arg, config_name) in [
        ("x-max-age", "retention.ms"),
        ("x-max-length-bytes", "retention.bytes"),
        (SEGMENT_BYTES, "segment.bytes"),
    ] {
        let Some(value) = received.field(arg) else { continue };
        let asked = if let Value::LongStr(age) = value {
            arguments::age_ms(age).and_then(|ms| i64::try_from(ms).ok())
        } else {
            value.integer()
        };
        let is = number(config_name);
        if asked != is {
            let current = is.filter(|n| *n >= 0).map(|n| match arg {
                "x-max-age" => stream_age(n),
                _ => Value::I64(n),
            });
            arguments::argument(arg, Subject::queue(name), Some(value), current.as_ref())?;
        }
    }
    Ok(())
}

/// The arguments of a stream that keeps what the topic keeps.
pub(super) fn arguments_of(config: &TopicConfig) -> Table {
    let limit = |name| config.value(name).and_then(|value| value.parse::<i64>().ok()).filter(|n| *n >= 0);
    let age = limit("retention.ms").map(|ms| ("x-max-age", stream_age(ms)));
    let bytes = limit("retention.bytes").map(|bytes| ("x-max-length-bytes", Value::I64(bytes)));
    let kind = ("x-queue-type", Value::LongStr("stream".into()));
    let all = std::iter::once(kind).chain(age).chain(bytes);
    Table(all.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// RabbitMQ counts ages in seconds at least.
fn stream_age(ms: i64) -> Value {
    Value::LongStr(format!("{}s", ms / 1_000).into())
}

const COMPARED: [&str; 6] = [
    "x-max-length-bytes",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
];

/// The sizes that RabbitMQ bounds, in its words.
fn check_sizes(arguments: &Table) -> Result<(), Refusal> {
    let number = |arg: &str| arguments.field(arg).and_then(Value::integer);
    if number(SEGMENT_BYTES).is_some_and(|n| n > SEGMENT_BYTES_MAX) {
        return Err(Refusal::Stream("Exceeded max value for x-stream-max-segment-size-bytes"));
    }
    if number("x-stream-filter-size-bytes").is_some_and(|n| !(16..=255).contains(&n)) {
        return Err(Refusal::Stream("Invalid value for  x-stream-filter-size-bytes"));
    }
    Ok(())
}

const SEGMENT_BYTES: &str = "x-stream-max-segment-size-bytes";
const SEGMENT_BYTES_MAX: i64 = 3_000_000_000;
/// Of a stream that names none.
const SEGMENT_BYTES_DEFAULT: i64 = 500_000_000;
/// The smallest `segment.bytes`.
const KAFKA_SEGMENT_BYTES_MIN: i64 = 1 << 20;

/// Arguments of a stream as the topic's configs: retention set either way is one setting.
fn config(name: &str, arguments: &Table) -> Result<TopicConfig, Refusal> {
    let bytes = arguments.field("x-max-length-bytes").and_then(Value::integer).map(|n| n.to_string());
    let age = match arguments.field("x-max-age") {
        Some(Value::LongStr(age)) => arguments::age_ms(age).map(|ms| ms.to_string()),
        Some(_) | None => None,
    };
    let segment = arguments.field(SEGMENT_BYTES).and_then(Value::integer).unwrap_or(SEGMENT_BYTES_DEFAULT);
    let segment_key =
        if segment < KAFKA_SEGMENT_BYTES_MIN { INTERNAL_SEGMENT_BYTES } else { "segment.bytes" };
    let segment = segment.clamp(14, i32::MAX.into()).to_string();
    // A stream without limits keeps everything; a topic's default is a week.
    let values = [
        ("retention.bytes", bytes.as_deref().or(Some("-1"))),
        ("retention.ms", age.as_deref().or(Some("-1"))),
        (segment_key, Some(&segment)),
    ];
    TopicConfig::new(values).map_err(|error| Refusal::InvalidArgument {
        arg: "x-max-age".to_owned(),
        on: Subject::queue(name),
        reason: error.to_string(),
    })
}

/// The same, with the checks of `queue.declare` before it.
pub(super) fn checked_config(
    name: &str,
    arguments: &Table,
    profile: &Profile,
) -> Result<TopicConfig, Refusal> {
    let options =
        QueueOptions { durable: true, auto_delete: false, exclusive: None, arguments: arguments.clone() };
    arguments::check(name, QueueKind::Stream, &options, profile)?;
    check_sizes(arguments)?;
    config(name, arguments)
}

/// The refusal for a name that is taken by a queue of another type.
#[must_use]
pub fn other_type(name: &str, current: QueueKind, arguments: &Table, profile: &Profile) -> Refusal {
    let named = current != QueueKind::Classic || profile.queue_type_assumed;
    let current = named.then(|| Value::LongStr(Bytes::from_static(current.word().as_bytes())));
    let received = arguments.field("x-queue-type").cloned();
    let difference = Box::new(Difference::Argument { received, current });
    Refusal::Inequivalent { arg: "x-queue-type".to_owned(), on: Subject::queue(name), difference }
}

/// A publish as the mapping to records wants it.
#[must_use]
pub fn message(publish: &Publish<'_>, headers: Option<Headers>, body: &[u8]) -> Message {
    let list = Bytes::copy_from_slice(publish.properties);
    let (table, alone) = headers.map_or_else(|| (Table::default(), false), |h| (h.table, h.alone));
    Message {
        exchange: Bytes::copy_from_slice(publish.exchange.as_bytes()),
        routing_key: Bytes::copy_from_slice(publish.routing_key.as_bytes()),
        properties: if alone { Properties::HeadersOnly(list) } else { Properties::Whole(list) },
        headers: table,
        body: Bytes::copy_from_slice(body),
    }
}

/// Records that were appended before it are durable once this is: it writes nothing itself.
pub struct Appended {
    pub receipt: Arc<Receipt>,
    /// Topics that jobs with `sync=true` read: the receipt waits for them, too.
    pub followed: Vec<Arc<Topic>>,
    pub core: Arc<Core>,
}

impl Change for Appended {
    fn bytes_max(&self) -> usize {
        0
    }

    fn stage(&mut self, _: &mut Turn) {}

    fn committed(self: Box<Self>) {
        let Self { receipt, followed, core } = *self;
        if followed.is_empty() {
            return receipt.done();
        }
        let mut ends = Vec::new();
        for topic in followed {
            let partitions = topic.partitions();
            ends.extend(partitions.iter().map(|p| ((topic.id, p.number), p.offsets().high_watermark)));
        }
        core.when_read(&ends, move || receipt.done());
    }

    fn refused(self: Box<Self>, _: &StoreError) {
        self.receipt.refuse();
    }
}
