//! A topic's configuration: THE table of Kafka's topic configs (those of Kafka 4.3), and the values a topic sets.
//!
//! A config whose behaviour exists is acted upon; one that has no meaning for a single node with one commit log is kept
//! and shown; a value that asks for behaviour that does not exist is refused, so that nobody relies on it in vain.

use std::collections::BTreeMap;

use super::retention;
use crate::data::record::{Codec, Compression};

/// The type of a config, as DescribeConfigs gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigType {
    Boolean,
    String,
    Int,
    Long,
    Double,
    List,
}

/// Where a value comes from, as DescribeConfigs gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    DynamicTopicConfig,
    DefaultConfig,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// Anything of the type.
    Any,
    AtLeast(i64),
    Between(f64, f64),
    /// A list of these.
    Several(&'static [&'static str]),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Kafka knows all of the second, this version does the first.
    Only(&'static [&'static str], &'static [&'static str]),
}

/// One topic config.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    pub name: &'static str,
    pub config_type: ConfigType,
    pub default: &'static str,
    /// The broker config that sets Kafka's default for it.
    pub synonym: &'static str,
    pub documentation: &'static str,
    rule: Rule,
}

const fn key(
    name: &'static str,
    config_type: ConfigType,
    default: &'static str,
    rule: Rule,
    synonym: &'static str,
    documentation: &'static str,
) -> ConfigKey {
    ConfigKey { name, config_type, default, synonym, documentation, rule }
}

use ConfigType::{Boolean, Double, Int, List, Long, String as Str};
use Rule::{Any, AtLeast, Between, OneOf, Only, Several};

const MAX: &str = "9223372036854775807";

/// All topic configs, by name.
#[rustfmt::skip]
pub const CONFIGS: &[ConfigKey] = &[
    key("cleanup.policy", List, "delete", Several(&["compact", "delete"]), "log.cleanup.policy", "What happens to old records: they are deleted, or only the last one of each key is kept, or both."),
    key("compression.gzip.level", Int, "-1", AtLeast(-1), "compression.gzip.level", "The level, if compression.type is gzip."),
    key("compression.lz4.level", Int, "9", AtLeast(1), "compression.lz4.level", "The level, if compression.type is lz4."),
    key("compression.type", Str, "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "compression.type", "How batches are stored: as producers compressed them, or in one way."),
    key("compression.zstd.level", Int, "3", AtLeast(-131_072), "compression.zstd.level", "The level, if compression.type is zstd."),
    key("delete.retention.ms", Long, "86400000", AtLeast(0), "log.cleaner.delete.retention.ms", "How long a compacted topic keeps the mark of a deleted key."),
    key("file.delete.delay.ms", Long, "60000", AtLeast(0), "log.segment.delete.delay.ms", "Kept and shown; there are no files of a topic's own."),
    key("flush.messages", Long, MAX, AtLeast(1), "log.flush.interval.messages", "Kept and shown; the broker's durability setting decides."),
    key("flush.ms", Long, MAX, AtLeast(0), "log.flush.interval.ms", "Kept and shown; the broker's durability setting decides."),
    key("follower.replication.throttled.replicas", List, "", Any, "follower.replication.throttled.replicas", "Kept and shown; there is one node."),
    key("index.interval.bytes", Int, "4096", AtLeast(0), "log.index.interval.bytes", "Kept and shown; every append has an index entry."),
    key("leader.replication.throttled.replicas", List, "", Any, "leader.replication.throttled.replicas", "Kept and shown; there is one node."),
    key("local.retention.bytes", Long, "-2", AtLeast(-2), "log.local.retention.bytes", "Kept and shown; there is no remote storage."),
    key("local.retention.ms", Long, "-2", AtLeast(-2), "log.local.retention.ms", "Kept and shown; there is no remote storage."),
    key("max.compaction.lag.ms", Long, MAX, AtLeast(1), "log.cleaner.max.compaction.lag.ms", "How long a record of a compacted topic may go without being compacted."),
    key("max.message.bytes", Int, "1048588", AtLeast(0), "message.max.bytes", "The largest record batch that may be produced."),
    key("message.timestamp.after.max.ms", Long, "3600000", AtLeast(0), "log.message.timestamp.after.max.ms", "How far a record's timestamp may lie in the future."),
    key("message.timestamp.before.max.ms", Long, MAX, AtLeast(0), "log.message.timestamp.before.max.ms", "How far a record's timestamp may lie in the past."),
    key("message.timestamp.type", Str, "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), "log.message.timestamp.type", "Whose clock records bear: the producer's, or the broker's."),
    key("min.cleanable.dirty.ratio", Double, "0.5", Between(0.0, 1.0), "log.cleaner.min.cleanable.ratio", "How much of a compacted topic must be new before it is compacted again."),
    key("min.compaction.lag.ms", Long, "0", AtLeast(0), "log.cleaner.min.compaction.lag.ms", "How long a record of a compacted topic is left alone."),
    key("min.insync.replicas", Int, "1", AtLeast(1), "min.insync.replicas", "With more than 1, acks=all is refused: there is one node."),
    key("preallocate", Boolean, "false", Any, "log.preallocate", "Kept and shown; the commit log is always allocated ahead."),
    key("remote.log.copy.disable", Boolean, "false", Any, "remote.log.copy.disable", "Kept and shown; there is no remote storage."),
    key("remote.log.delete.on.disable", Boolean, "false", Any, "remote.log.delete.on.disable", "Kept and shown; there is no remote storage."),
    key("remote.storage.enable", Boolean, "false", Only(&["false"], &["false", "true"]), "remote.storage.enable", "There is no remote storage."),
    key("retention.bytes", Long, "-1", Any, "log.retention.bytes", "How many bytes a partition keeps; -1 for all."),
    key("retention.ms", Long, "604800000", AtLeast(-1), "log.retention.ms", "How long records are kept; -1 for ever."),
    key("segment.bytes", Int, "1073741824", AtLeast(14), "log.segment.bytes", "The newest records, up to this size, are not compacted; a topic has no files of its own."),
    key("segment.index.bytes", Int, "10485760", AtLeast(4), "log.index.size.max.bytes", "Kept and shown; a topic has no segments of its own."),
    key("segment.jitter.ms", Long, "0", AtLeast(0), "log.roll.jitter.ms", "Kept and shown; a topic has no segments of its own."),
    key("segment.ms", Long, "604800000", AtLeast(1), "log.roll.ms", "The newest records, up to this age, are not compacted; a topic has no files of its own."),
    key("unclean.leader.election.enable", Boolean, "false", Any, "unclean.leader.election.enable", "Kept and shown; there is one node."),
];

/// Why a value is refused, in Kafka's words where it has some (INVALID_CONFIG).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("Unknown topic config name: {0}")]
    Unknown(String),
    #[error("Invalid value {value} for configuration {name}: Not a {what}")]
    Type { name: &'static str, value: String, what: &'static str },
    #[error("Invalid value {value} for configuration {name}: {must}")]
    Range { name: &'static str, value: String, must: String },
    #[error("Invalid value {value} for configuration {name}: this version of Warren does {does} only")]
    NotYet { name: &'static str, value: String, does: &'static str },
}

/// The configuration of one topic: what it sets itself, over the defaults; and the parsed form of what is acted upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    set: BTreeMap<&'static str, String>,
    pub max_message_bytes: usize,
    pub timestamp_after_max_ms: i64,
    pub timestamp_before_max_ms: i64,
    pub log_append_time: bool,
    pub min_insync_replicas: i64,
    /// How batches are stored; `None`: as they come.
    pub compression: Option<Compression>,
    pub cleanup: Cleanup,
    retention_ms: i64,
    retention_bytes: i64,
    pub(super) compaction: Compaction,
    segment_bytes: i64,
    segment_ms: i64,
    /// What a policy adds to the two above; not the topic's own, and not stored with it.
    policy_ms: Option<i64>,
    policy_bytes: Option<i64>,
}

/// What happens to old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanup {
    pub delete: bool,
    pub compact: bool,
}

/// When a compacted topic is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compaction {
    pub(super) delete_retention_ms: i64,
    pub(super) min_lag_ms: i64,
    pub(super) max_lag_ms: i64,
    pub(super) min_cleanable_millionths: u64,
}

/// When the newest records become older ones, which may be compacted: what Kafka's segments are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentLimits {
    pub(super) bytes: u64,
    pub(super) ms: i64,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::parsed(BTreeMap::new())
    }
}

impl TopicConfig {
    /// From the names and values of a request; a null value leaves the default.
    pub fn new<'a>(
        values: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, ConfigError> {
        let mut set = BTreeMap::new();
        for (name, value) in values {
            let key = config(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
            if let Some(value) = value {
                set.insert(key.name, key.check(value)?);
            }
        }
        Ok(Self::parsed(set))
    }

    /// Every config with its value and source, in the table's order.
    pub fn all(&self) -> impl Iterator<Item = (&'static ConfigKey, &str, ConfigSource)> {
        CONFIGS.iter().map(|key| match self.set.get(key.name) {
            Some(value) => (key, value.as_str(), ConfigSource::DynamicTopicConfig),
            None => (key, key.default, ConfigSource::DefaultConfig),
        })
    }

    /// What the topic sets itself.
    pub fn overrides(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.set.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The value of one config.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let key = config(name)?;
        Some(self.set.get(key.name).map_or(key.default, String::as_str))
    }

    /// How large a partition may grow before its retention by size is looked at again, as when a segment is full.
    pub(super) fn overfull_bytes(&self) -> Option<u64> {
        let limit = u64::try_from(self.retention().retention_bytes).ok()?;
        Some(limit.saturating_add(u64::try_from(self.segment_bytes).ok()?))
    }

    pub(super) fn segment_limits(&self) -> SegmentLimits {
        let bytes = u64::try_from(self.segment_bytes).unwrap_or_default();
        // What must be compacted after a time must not stay in the newest segment for longer.
        let ms = if self.cleanup.compact {
            self.segment_ms.min(self.compaction.max_lag_ms)
        } else {
            self.segment_ms
        };
        SegmentLimits { bytes, ms }
    }

    pub(super) fn retention(&self) -> retention::Limits {
        if !self.cleanup.delete {
            return retention::Limits { retention_ms: -1, retention_bytes: -1 };
        }
        let smaller = |own: i64, policy: Option<i64>| match policy {
            Some(policy) if own < 0 => policy,
            Some(policy) => own.min(policy),
            None => own,
        };
        retention::Limits {
            retention_ms: smaller(self.retention_ms, self.policy_ms),
            retention_bytes: smaller(self.retention_bytes, self.policy_bytes),
        }
    }

    /// The same with a policy's retention: the smaller limits count.
    #[must_use]
    pub fn with_policy(&self, policy_ms: Option<i64>, policy_bytes: Option<i64>) -> Self {
        Self { policy_ms, policy_bytes, ..self.clone() }
    }

    fn parsed(set: BTreeMap<&'static str, String>) -> Self {
        let value = |name: &str| {
            let default = config(name).map_or("", |key| key.default);
            set.get(name).map_or(default, String::as_str).to_owned()
        };
        let number = |name: &str| value(name).parse::<i64>().unwrap_or_default();
        Self {
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or_default(),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            log_append_time: value("message.timestamp.type") == "LogAppendTime",
            min_insync_replicas: number("min.insync.replicas"),
            compression: compression(&value("compression.type"), |level| {
                i32::try_from(number(level)).unwrap_or_default()
            }),
            cleanup: {
                let policy = value("cleanup.policy");
                let has = |one: &str| policy.split(',').any(|part| part.trim() == one);
                Cleanup { delete: has("delete"), compact: has("compact") }
            },
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
            compaction: Compaction {
                delete_retention_ms: number("delete.retention.ms"),
                min_lag_ms: number("min.compaction.lag.ms"),
                max_lag_ms: number("max.compaction.lag.ms"),
                // Compared in millionths, so that a configuration can be compared as a whole.
                min_cleanable_millionths: millionths(&value("min.cleanable.dirty.ratio")),
            },
            segment_bytes: number("segment.bytes"),
            segment_ms: number("segment.ms"),
            policy_ms: None,
            policy_bytes: None,
            set,
        }
    }
}

fn millionths(ratio: &str) -> u64 {
    let millionths = ratio.parse::<f64>().unwrap_or_default() * 1e6;
    format!("{millionths:.0}").parse().unwrap_or_default()
}

fn compression(name: &str, level: impl Fn(&str) -> i32) -> Option<Compression> {
    let (codec, level) = match name {
        "uncompressed" => (Codec::None, 0),
        "gzip" => (Codec::Gzip, level("compression.gzip.level")),
        "snappy" => (Codec::Snappy, 0),
        "lz4" => (Codec::Lz4, level("compression.lz4.level")),
        "zstd" => (Codec::Zstd, level("compression.zstd.level")),
        _ => return None,
    };
    Some(Compression { codec, level })
}

/// The config of that name.
#[must_use]
pub fn config(name: &str) -> Option<&'static ConfigKey> {
    CONFIGS.iter().find(|key| key.name == name)
}

impl ConfigKey {
    /// The value in the form in which it is kept.
    fn check(&self, value: &str) -> Result<String, ConfigError> {
        let (name, value) = (self.name, value.trim());
        let wrong = |what| ConfigError::Type { name, value: value.to_owned(), what };
        match self.config_type {
            Boolean if !matches!(value, "true" | "false") => return Err(wrong("boolean (true or false)")),
            Int if value.parse::<i32>().is_err() => return Err(wrong("number of type INT")),
            Long if value.parse::<i64>().is_err() => return Err(wrong("number of type LONG")),
            Double if value.parse::<f64>().is_err() => return Err(wrong("number of type DOUBLE")),
            Boolean | Int | Long | Double | Str | List => {}
        }
        let out_of_range = |must| ConfigError::Range { name, value: value.to_owned(), must };
        match self.rule {
            Any => {}
            AtLeast(least) => {
                if value.parse::<i64>().is_ok_and(|n| n < least) {
                    return Err(out_of_range(format!("Value must be at least {least}")));
                }
            }
            Between(low, high) => {
                if !value.parse::<f64>().is_ok_and(|n| (low..=high).contains(&n)) {
                    return Err(out_of_range(format!("Value must be between {low} and {high}")));
                }
            }
            Several(known) => {
                if !value.split(',').all(|part| known.contains(&part.trim())) {
                    return Err(out_of_range(format!("String must be one of: {}", known.join(", "))));
                }
            }
            OneOf(known) => {
                if !known.contains(&value) {
                    return Err(out_of_range(format!("String must be one of: {}", known.join(", "))));
                }
            }
            Only(done, known) => {
                let mut parts = value.split(',').map(str::trim);
                if !parts.clone().all(|part| known.contains(&part)) {
                    return Err(out_of_range(format!("String must be one of: {}", known.join(", "))));
                }
                if !parts.all(|part| done.contains(&part)) {
                    let does = done.first().copied().unwrap_or_default();
                    return Err(ConfigError::NotYet { name, value: value.to_owned(), does });
                }
            }
        }
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<TopicConfig, String> {
        TopicConfig::new([(name, Some(value))]).map_err(|e| e.to_string())
    }

    #[test]
    fn the_table_is_sorted_and_its_defaults_pass_their_own_rules() {
        assert!(CONFIGS.is_sorted_by_key(|key| key.name));
        for key in CONFIGS {
            assert_eq!(key.check(key.default), Ok(key.default.to_owned()), "{}", key.name);
        }
    }

    #[test]
    fn values_are_refused_in_kafkas_words() {
        fn check(name: &str, value: &str, expected: &str) {
            assert_eq!(set(name, value), Err(expected.to_owned()));
        }
        check("retention.mss", "1", "Unknown topic config name: retention.mss");
        check(
            "retention.ms",
            "x",
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        );
        check(
            "retention.ms",
            "-2",
            "Invalid value -2 for configuration retention.ms: Value must be at least -1",
        );
        check(
            "message.timestamp.type",
            "Now",
            "Invalid value Now for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
        );
        check(
            "cleanup.policy",
            "shred",
            "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete",
        );
        check(
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Not a boolean (true or false)",
        );
        check(
            "min.cleanable.dirty.ratio",
            "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be between 0 and 1",
        );
    }

    #[test]
    fn a_topic_shows_its_own_values_and_the_defaults_with_their_source() {
        let config = set("retention.ms", "5000").unwrap();
        let shown: Vec<_> = config.all().filter(|(key, ..)| key.name.starts_with("retention")).collect();
        assert_eq!(
            shown.iter().map(|(key, value, source)| (key.name, *value, *source)).collect::<Vec<_>>(),
            [
                ("retention.bytes", "-1", ConfigSource::DefaultConfig),
                ("retention.ms", "5000", ConfigSource::DynamicTopicConfig),
            ]
        );
        assert_eq!(config.retention(), retention::Limits { retention_ms: 5_000, retention_bytes: -1 });
        assert_eq!(TopicConfig::new([("retention.ms", None)]), Ok(TopicConfig::default()));
    }
}
