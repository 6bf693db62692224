//! Consumers of streams (RabbitMQ's `x-stream-offset`): the log is read from an offset on and never changed.
//!
//! Each consumer is a task that reads ahead as far as its credit goes: the prefetch count, given back by every
//! acknowledgement. Deliveries carry their offset in the header `x-stream-offset`. With `x-stream-filter` only the
//! messages with one of its values come; RabbitMQ filters whole chunks, and leaves the rest to the client.

use std::sync::{Arc, atomic::Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use crate::{
    amqp::{
        channel::{Channel, Consumer, Feed, StreamFeed},
        fault::{Fault, Resource},
        session::Context,
        wire::{
            Properties,
            basic::{Consume, ConsumeOk},
        },
    },
    broker::{
        message::{Draft, Publish, Traits},
        outlet::{Event, Outlet},
        queue::{ConsumerId, Entry, Seq, returns::Count},
        refusal::Refusal,
        topic::{
            Offset, Topic,
            fetch::{FetchError, Isolation},
            mapping::{self, Message, Record},
            partition::Partition,
            waiters::Waiter,
        },
    },
    data::{
        record::{self, Batch, DECOMPRESSED_BYTES_MAX},
        term,
        value::{Table, Value},
    },
};

/// Bytes read from the log at once.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    First,
    Last,
    Next,
    At(i64),
    /// Milliseconds since the epoch.
    Time(i64),
}

/// `basic.consume` of a stream.
///
/// # Errors
/// Without a prefetch count, with automatic acknowledgement, or with an offset that is none.
pub fn consume(
    cx: &mut Context<'_>,
    channel: &mut Channel,
    method: &Consume<'_>,
    topic: &Arc<Topic>,
    consumer_tag: Arc<str>,
) -> Result<(), Fault> {
    let on = Resource::queue(&topic.name, &cx.session.vhost.name);
    if method.no_ack {
        return Err(Fault::AutoAckOfStream(on));
    }
    if channel.credit.limited() {
        return Err(Fault::NoGlobalQos(on));
    }
    if channel.prefetch_count == 0 {
        return Err(cx.fault(Refusal::NoPrefetch(topic.name.to_string())));
    }
    let start = start(&method.arguments, cx.now_ms).map_err(|value| Fault::InvalidArg {
        arg: "x-stream-offset".to_owned(),
        on: on.clone(),
        reason: format!(
            "{{invalid_stream_offset_arg,{{{},{}}}}}",
            value.type_name(),
            term::value_term(value)
        ),
    })?;
    let (Some(partition), Some(runtime)) = (topic.partition(0), cx.session.door.broker.core.runtime.clone())
    else {
        return Err(Fault::Internal);
    };
    let id = cx.session.door.broker.core.ids.consumer();
    let credit = Arc::new(Semaphore::new(channel.prefetch_count.into()));
    if !method.nowait {
        cx.send(channel.number, &ConsumeOk { consumer_tag: &consumer_tag });
    }
    let reader = Reader {
        partition,
        outlet: cx.session.outlet.clone(),
        channel: channel.number,
        id,
        credit: credit.clone(),
        filter: Filter::of(&method.arguments),
    };
    let task = runtime.spawn(reader.run(start)).abort_handle();
    let feed = Feed::Stream(StreamFeed { topic: topic.clone(), credit, task });
    channel.consumers.put(Consumer { id, consumer_tag, no_ack: false, timeout_ms: None, feed });
    channel.info.consumers.store(channel.consumers.len(), Ordering::Relaxed);
    Ok(())
}

fn start(arguments: &Table, now_ms: i64) -> Result<Start, &Value> {
    let Some(value) = arguments.field("x-stream-offset") else { return Ok(Start::Next) };
    if let Some(offset) = value.integer() {
        return Ok(Start::At(offset));
    }
    match value {
        Value::Timestamp(seconds) => {
            Ok(Start::Time(i64::try_from(*seconds).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000)))
        }
        Value::LongStr(text) => match &text[..] {
            b"first" => Ok(Start::First),
            b"last" => Ok(Start::Last),
            b"next" => Ok(Start::Next),
            interval => {
                let ago = crate::broker::arguments::age_ms(interval).ok_or(value)?;
                Ok(Start::Time(now_ms.saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX))))
            }
        },
        Value::Array(_)
        | Value::Binary(_)
        | Value::Bool(_)
        | Value::Decimal { .. }
        | Value::F32(_)
        | Value::F64(_) => Err(value),
        Value::I8(_)
        | Value::I16(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::U8(_)
        | Value::U16(_)
        | Value::U32(_) => Err(value),
        Value::Table(_) | Value::Void => Err(value),
    }
}

/// Which messages a consumer wants, by their header `x-stream-filter-value` (RabbitMQ since 3.13).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Filter {
    values: Vec<Bytes>,
    /// Messages without a value come, too.
    match_unfiltered: bool,
}

impl Filter {
    /// As RabbitMQ reads it: a string, or an array whose strings count; anything else is no filter.
    fn of(arguments: &Table) -> Option<Self> {
        let text = |value: &Value| if let Value::LongStr(text) = value { Some(text.clone()) } else { None };
        let filter = arguments.field("x-stream-filter")?;
        let values: Vec<Bytes> = if let Value::Array(values) = filter {
            values.iter().filter_map(text).collect()
        } else {
            vec![text(filter)?]
        };
        let match_unfiltered = arguments.field("x-stream-match-unfiltered") == Some(&Value::Bool(true));
        Some(Self { values, match_unfiltered })
    }

    fn passes(&self, record: &record::Record<'_>) -> bool {
        match record.headers().find(|(name, _)| *name == FILTER_HEADER) {
            Some((_, value)) => value.is_some_and(|value| self.values.iter().any(|wanted| wanted == value)),
            None => self.match_unfiltered,
        }
    }
}

/// The task of one consumer.
struct Reader {
    partition: Arc<Partition>,
    outlet: Arc<Outlet>,
    channel: u16,
    id: ConsumerId,
    credit: Arc<Semaphore>,
    filter: Option<Filter>,
}

impl Reader {
    async fn run(self, start: Start) {
        if let Err(error) = self.read(start).await {
            match error {
                FetchError::UnknownTopicOrPartition => {}
                FetchError::OutOfRange(_) | FetchError::Storage(_) | FetchError::Damaged(_) => {
                    tracing::error!(%error, "a stream consumer cannot go on");
                }
            }
            self.outlet.push(Event::Cancelled { channel: self.channel, consumer: self.id });
        }
    }

    async fn read(&self, start: Start) -> Result<(), FetchError> {
        let mut next = self.first(start).await?;
        loop {
            let waiter = Waiter::new(1);
            self.partition.wait(next, Isolation::ReadCommitted, &waiter);
            let fetched = match self.partition.fetch(next, READ_BYTES_MAX, Isolation::ReadCommitted).await {
                // What was to be read has been deleted by retention: RabbitMQ goes on at the first there is.
                Err(FetchError::OutOfRange(offsets)) if offsets.log_start > next => {
                    next = offsets.log_start;
                    continue;
                }
                // Beyond the end: it waits for that offset to come.
                Err(FetchError::OutOfRange(_)) => {
                    waiter.fired().await;
                    continue;
                }
                fetched => fetched?,
            };
            if fetched.batches.is_empty() {
                waiter.fired().await;
                continue;
            }
            for bytes in fetched.without_aborted()?.batches {
                let batch = Batch::decode(bytes).map_err(|error| FetchError::Damaged(error.to_string()))?;
                self.deliver(&batch, next).await?;
                next = Offset(batch.header().last_offset() + 1).max(next);
            }
        }
    }

    async fn first(&self, start: Start) -> Result<Offset, FetchError> {
        let offsets = self.partition.offsets();
        let end = offsets.end(Isolation::ReadCommitted);
        Ok(match start {
            Start::First => offsets.log_start,
            Start::Next => end,
            Start::At(offset) => Offset(offset).max(offsets.log_start),
            // RabbitMQ's "last" is the start of the last chunk; ours are batches.
            Start::Last => self.last_batch(offsets.log_start, end).await?,
            Start::Time(ms) => self
                .partition
                .offset_for_time(ms, Isolation::ReadCommitted)
                .await?
                .map_or(end, |timed| timed.offset),
        })
    }

    async fn last_batch(&self, log_start: Offset, end: Offset) -> Result<Offset, FetchError> {
        if end <= log_start {
            return Ok(end);
        }
        let fetched = self.partition.fetch(Offset(end.0 - 1), 1, Isolation::ReadCommitted).await?;
        let base = fetched.batches.into_iter().next_back().and_then(|bytes| Batch::decode(bytes).ok());
        Ok(base.map_or(end, |batch| Offset(batch.header().base_offset).max(log_start)))
    }

    /// Delivers the records of a batch from `from` on, each once there is credit for it.
    async fn deliver(&self, batch: &Batch, from: Offset) -> Result<(), FetchError> {
        if batch.header().attributes.is_control() {
            return Ok(());
        }
        let damaged = |error: &dyn std::fmt::Display| FetchError::Damaged(error.to_string());
        let payload = batch.payload(DECOMPRESSED_BYTES_MAX).map_err(|error| damaged(&error))?;
        for record in &payload {
            let record = record.map_err(|error| damaged(&error))?;
            if record.offset < from.0 || self.filter.as_ref().is_some_and(|filter| !filter.passes(&record)) {
                continue;
            }
            let headers =
                record.headers().map(|(name, value)| (name.to_owned(), value.map(Bytes::copy_from_slice)));
            let owned = Record {
                key: record.key.map(Bytes::copy_from_slice),
                value: record.value.map(Bytes::copy_from_slice),
                headers: headers.collect(),
            };
            let message =
                Message::from_record(&owned, |list| Properties::decode(list).ok()?.header_table().ok());
            self.send(&message, record.offset, record.timestamp).await;
        }
        Ok(())
    }

    async fn send(&self, message: &Message, offset: i64, timestamp_ms: i64) {
        let Ok(permit) = self.credit.acquire().await else { return };
        permit.forget();
        self.outlet.room().await;
        let properties = properties(message, offset);
        let mut draft = Draft::default();
        let exchange = std::str::from_utf8(&message.exchange).unwrap_or_default();
        let routing_key = std::str::from_utf8(&message.routing_key).unwrap_or_default();
        let publish = Publish { exchange, routing_key, properties: &properties, traits: Traits::default() };
        draft.open(&publish, timestamp_ms, message.body.len());
        draft.body(&message.body);
        let Some(message) = draft.seal().message(0) else { return };
        let bytes = message.held_bytes();
        let seq = Seq(u64::try_from(offset).unwrap_or(0));
        let entry =
            Entry { seq, message, expires_ms: i64::MAX, redelivered: false, returns: Count::default() };
        self.outlet
            .deliver(&mut vec![Event::Deliver { channel: self.channel, consumer: self.id, entry }], bytes);
    }
}

/// The property list of a delivery: the message's own, with its offset among the headers.
fn properties(message: &Message, offset: i64) -> BytesMut {
    let (mapping::Properties::HeadersOnly(list)
    | mapping::Properties::Whole(list)
    | mapping::Properties::Stale(list)) = &message.properties;
    let mut headers = message.headers.clone();
    headers.0.retain(|(name, _)| name != OFFSET_HEADER);
    headers.0.push((OFFSET_HEADER.to_owned(), Value::I64(offset)));
    Properties::decode(list).unwrap_or_default().with_headers(&headers)
}

const OFFSET_HEADER: &str = "x-stream-offset";
const FILTER_HEADER: &str = "x-stream-filter-value";
