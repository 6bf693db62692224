//! The metadata columns of a Kafka record, and of a file.

use std::sync::Arc;

use crate::{
    data::record::Record,
    stream::{
        datum::{Datum, Instant},
        plan::{catalog::ColumnKind, catalog::Table, types::Type},
    },
};

/// What of a record a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metadata {
    FileModified,
    FileName,
    FilePath,
    FileSize,
    Headers,
    LeaderEpoch,
    Offset,
    Partition,
    Timestamp,
    TimestampType,
    Topic,
}

/// What a record does not say itself.
#[derive(Debug, Clone)]
pub struct Place {
    /// Or the path of a file.
    pub topic: Arc<str>,
    pub partition: i32,
    pub leader_epoch: i32,
    pub log_append_time: bool,
    /// Of a file, as it was when it was found.
    pub bytes: i64,
    pub modified_ms: i64,
}

impl Default for Place {
    fn default() -> Self {
        let (partition, leader_epoch) = (0, -1);
        Self { topic: "".into(), partition, leader_epoch, log_append_time: false, bytes: 0, modified_ms: 0 }
    }
}

impl Metadata {
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "file.modification-time" => Self::FileModified,
            "file.name" => Self::FileName,
            "file.path" => Self::FilePath,
            "file.size" => Self::FileSize,
            "headers" => Self::Headers,
            "leader-epoch" => Self::LeaderEpoch,
            "offset" => Self::Offset,
            "partition" => Self::Partition,
            "timestamp" => Self::Timestamp,
            "timestamp-type" => Self::TimestampType,
            "topic" => Self::Topic,
            _ => return None,
        })
    }

    /// The metadata columns of a table that are needed: what, and where in the stored row.
    #[must_use]
    pub fn columns(table: &Table, needed: &[bool]) -> Vec<(Self, usize, Type)> {
        let stored = table.stored().map(|(_, c)| c).enumerate();
        let stored = stored.filter(|(slot, _)| needed.get(*slot) == Some(&true));
        let found = stored.filter_map(|(slot, column)| match &column.kind {
            ColumnKind::Metadata { key, .. } => Some((Self::of(key)?, slot, column.data_type.kind.clone())),
            ColumnKind::Computed(_) | ColumnKind::Physical => None,
        });
        found.collect()
    }

    /// The value for a record.
    #[must_use]
    pub fn value(self, record: &Record<'_>, place: &Place) -> Datum {
        match self {
            Self::FileModified => Datum::Timestamp(Instant::from_ms(place.modified_ms)),
            Self::FileName => Datum::str(place.topic.rsplit('/').next().unwrap_or_default()),
            Self::FileSize => Datum::Int(place.bytes),
            Self::Headers => {
                let entries = record
                    .headers()
                    .map(|(name, value)| (Datum::str(name), value.map_or(Datum::Null, Datum::bytes)));
                // A map has each name once: the last one counts, as in Flink's MapData.
                let mut map: Vec<(Datum, Datum)> = Vec::new();
                for (name, value) in entries {
                    map.retain(|(n, _)| *n != name);
                    map.push((name, value));
                }
                Datum::Map(map.into())
            }
            Self::LeaderEpoch if place.leader_epoch < 0 => Datum::Null,
            Self::LeaderEpoch => Datum::Int(place.leader_epoch.into()),
            Self::Offset => Datum::Int(record.offset),
            Self::Partition => Datum::Int(place.partition.into()),
            Self::Timestamp => Datum::Timestamp(Instant::from_ms(record.timestamp)),
            Self::TimestampType if place.log_append_time => Datum::str("LogAppendTime"),
            Self::TimestampType if record.timestamp < 0 => Datum::str("NoTimestampType"),
            Self::TimestampType => Datum::str("CreateTime"),
            Self::FilePath | Self::Topic => Datum::Str(place.topic.clone()),
        }
    }
}
