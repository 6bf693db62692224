//! What a produced batch must be, and what it becomes: Kafka's LogValidator.
//!
//! The order of the checks and what each answers are those of Kafka 4.3, seen on the wire
//! (`compat-tests/python/test_kafka_records.py`). A batch is stored as it was received, unless it says something of its
//! timestamps that is not so, or the topic has a `compression.type` of its own.

use std::fmt;

use bytes::Bytes;

use super::{append::Refused, config::TopicConfig};
use crate::data::record::{
    Batch, BatchError, Batches, Codec, Compression, DECOMPRESSED_BYTES_MAX, Payload, Record,
};

/// Kafka's mark of a record without a time, which no limit concerns.
const NO_TIMESTAMP: i64 = -1;

/// Single records of a batch, because of which it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsRefused {
    /// By their place in the batch.
    pub errors: Vec<(i32, RecordFault)>,
}

/// What is wrong with one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordFault {
    /// A compacted topic asks for keys.
    NoKey,
    Timestamp {
        timestamp: i64,
        offset: i64,
        earliest: i64,
        latest: i64,
    },
    /// The record as Java shows it: it bears the broker's time, and only the broker may say so.
    TimestampType(String),
}

impl RecordsRefused {
    /// INVALID_TIMESTAMP if any record has that fault, else INVALID_RECORD.
    #[must_use]
    pub fn is_of_timestamps(&self) -> bool {
        self.errors.iter().any(|(_, fault)| match fault {
            RecordFault::NoKey => false,
            RecordFault::Timestamp { .. } | RecordFault::TimestampType(_) => true,
        })
    }

    /// Kafka's words for the whole, in that partition of the topic.
    #[must_use]
    pub fn message(&self, topic: &str, partition: i32) -> String {
        if self.is_of_timestamps() {
            return "One or more records have been rejected due to invalid timestamp".to_owned();
        }
        let shown: Vec<String> = self
            .errors
            .iter()
            .take(3)
            .map(|(index, fault)| {
                format!("RecordError(batchIndex={index}, message='{}')", fault.message(topic, partition))
            })
            .collect();
        format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first three errors at most: [{}]",
            self.errors.len(),
            shown.join(", ")
        )
    }
}

impl fmt::Display for RecordsRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records have been rejected", self.errors.len())
    }
}

impl RecordFault {
    /// Kafka's words.
    #[must_use]
    pub fn message(&self, topic: &str, partition: i32) -> String {
        match self {
            Self::NoKey => format!(
                "Compacted topic cannot accept message without key in topic partition {topic}-{partition}"
            ),
            Self::Timestamp { timestamp, offset, earliest, latest } => format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within [{earliest}, {latest}]"
            ),
            Self::TimestampType(record) => format!(
                "Invalid timestamp type in message {record}. Producer should not set timestamp type to LogAppendTime."
            ),
        }
    }
}

/// The one batch of a producer's record set. What follows it and is too short to be a batch is no matter to Kafka.
pub(super) fn only_batch(record_set: Bytes, bytes_max: usize) -> Result<Batch, Refused> {
    let mut batches = Batches::new(record_set);
    let batch = batches.next().unwrap_or(Err(BatchError::Short)).map_err(malformed)?;
    match batches.next() {
        None | Some(Err(BatchError::Short)) => {}
        Some(_) => {
            return Err(Refused::InvalidRecord(
                "a record set must contain exactly one record batch".to_owned(),
            ));
        }
    }
    if batch.header().base_offset != 0 {
        return Err(malformed(BatchError::BaseOffset(batch.header().base_offset)));
    }
    check_size(&batch, bytes_max)?;
    Ok(batch)
}

fn check_size(batch: &Batch, bytes_max: usize) -> Result<(), Refused> {
    let bytes = batch.bytes().len();
    if bytes > bytes_max { Err(Refused::MessageTooLarge { bytes, bytes_max }) } else { Ok(()) }
}

/// Checks envelope and records, and gives the batch as the topic keeps it.
pub(super) fn validated(batch: Batch, config: &TopicConfig, now_ms: i64) -> Result<Batch, Refused> {
    batch.check_produced().map_err(malformed)?;
    let codec = batch.header().attributes.codec().map_err(malformed)?;
    let payload = batch.payload(DECOMPRESSED_BYTES_MAX).map_err(malformed)?;
    let max_timestamp = check_records(&payload, codec, batch.header().base_offset, config, now_ms)?;
    let recompressed = recompressed(&batch, codec, &payload, config)?;
    // Lets go of the batch's bytes, which can then be changed in place.
    drop(payload);
    let batch = match recompressed {
        Some(recompressed) => {
            check_size(&recompressed, config.max_message_bytes)?;
            recompressed
        }
        None => batch,
    };
    Ok(batch.with_times(config.log_append_time, if config.log_append_time { now_ms } else { max_timestamp }))
}

/// A batch of the broker's own making, as the topic keeps it.
pub(super) fn own(batch: Batch, config: &TopicConfig, now_ms: i64) -> Batch {
    let wanted = config.compression.filter(|_| !batch.header().attributes.is_control());
    let compressed = wanted.and_then(|_| {
        let payload = batch.payload(DECOMPRESSED_BYTES_MAX).ok()?;
        recompressed(&batch, Codec::None, &payload, config).ok()?
    });
    let batch = compressed.unwrap_or(batch);
    if config.log_append_time { batch.with_log_append_time(now_ms) } else { batch }
}

/// The largest timestamp.
fn check_records(
    payload: &Payload,
    codec: Codec,
    base_offset: i64,
    config: &TopicConfig,
    now_ms: i64,
) -> Result<i64, Refused> {
    let (mut errors, mut max_timestamp) = (Vec::new(), NO_TIMESTAMP);
    for (record, index) in payload.iter().zip(0_i32..) {
        let record = record.map_err(malformed)?;
        // Only of compressed records does Kafka ask that their offsets follow each other.
        if codec != Codec::None && record.offset - base_offset != i64::from(index) {
            return Err(Refused::Unexpected(format!(
                "record {index} of a compressed batch has offset {} in it",
                record.offset - base_offset
            )));
        }
        max_timestamp = max_timestamp.max(record.timestamp);
        if let Some(fault) = fault_of(&record, payload, config, now_ms) {
            errors.push((index, fault));
        }
    }
    if errors.is_empty() { Ok(max_timestamp) } else { Err(Refused::Records(RecordsRefused { errors })) }
}

fn fault_of(
    record: &Record<'_>,
    payload: &Payload,
    config: &TopicConfig,
    now_ms: i64,
) -> Option<RecordFault> {
    let &Record { timestamp, offset, .. } = record;
    if config.cleanup.compact && record.key.is_none() {
        return Some(RecordFault::NoKey);
    }
    if config.log_append_time {
        return payload.is_log_append_time().then(|| RecordFault::TimestampType(shown(record)));
    }
    // Kafka shows these two as they are computed, and does not mind if they overflow.
    let earliest = now_ms.wrapping_sub(config.timestamp_before_max_ms);
    let latest = now_ms.saturating_add(config.timestamp_after_max_ms);
    let outside = timestamp != NO_TIMESTAMP && !(earliest..=latest).contains(&timestamp);
    outside.then_some(RecordFault::Timestamp { timestamp, offset, earliest, latest })
}

fn shown(record: &Record<'_>) -> String {
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let (key, value) = (length(record.key), length(record.value));
    format!(
        "DefaultRecord(offset={}, timestamp={}, key={key} bytes, value={value} bytes)",
        record.offset, record.timestamp
    )
}

/// The batch in the topic's own compression, if it comes in another.
fn recompressed(
    batch: &Batch,
    codec: Codec,
    payload: &Payload,
    config: &TopicConfig,
) -> Result<Option<Batch>, Refused> {
    let Some(to) = config.compression.filter(|to| to.codec != codec) else { return Ok(None) };
    compressed(batch, to, payload.bytes().clone(), batch.header().record_count).map(Some)
}

/// A batch like that one, with these records.
pub(super) fn compressed(
    batch: &Batch,
    compression: Compression,
    records: Bytes,
    record_count: i32,
) -> Result<Batch, Refused> {
    let packed = compression.compress(records).map_err(|e| Refused::Unexpected(e.to_string()))?;
    Ok(batch.with_records(compression.codec, record_count, &packed))
}

/// As Kafka answers: CORRUPT_MESSAGE, which clients send again, where the bytes may have been damaged on the way;
/// INVALID_RECORD, which they do not, where the client wrote them so; and an unexpected error for what only its
/// decompressors complain of.
fn malformed(error: BatchError) -> Refused {
    match error {
        BatchError::Length(_) | BatchError::Checksum { .. } => Refused::CorruptMessage(error),
        BatchError::Magic(magic) if !(0..=1).contains(&magic) => Refused::CorruptMessage(error),
        BatchError::Codec(_) | BatchError::Compressed => Refused::Unexpected(error.to_string()),
        BatchError::TooLarge(bytes_max) => Refused::MessageTooLarge { bytes: bytes_max + 1, bytes_max },
        BatchError::BaseOffset(_)
        | BatchError::Control
        | BatchError::Count { .. }
        | BatchError::Magic(_)
        | BatchError::Record(_)
        | BatchError::Sequence(_)
        | BatchError::Short => Refused::InvalidRecord(error.to_string()),
    }
}
