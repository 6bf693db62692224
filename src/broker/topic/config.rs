//! A topic's configuration: THE table of Kafka's topic configs (those of Kafka 4.3), and the values a topic sets.
//!
//! A config whose behaviour exists is acted upon; one that has no meaning for a single node with one commit log is kept
//! and shown; a value that asks for behaviour that does not exist is refused, so that nobody relies on it in vain.

use std::{collections::BTreeMap, sync::Arc};

use super::{defaults::TopicDefaults, retention};
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
    /// Set for this broker at run time.
    DynamicBrokerConfig,
    /// Set for the whole cluster at run time.
    DynamicDefaultBrokerConfig,
    /// From the broker's configuration file.
    StaticBrokerConfig,
    DefaultConfig,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// Anything of the type.
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// As `Between`, or this.
    BetweenOr(i64, i64, i64),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Any number of these.
    ListOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    Replicas,
    /// As Kafka without a remote storage manager.
    NoRemoteStorage,
}

/// One topic config.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    pub name: &'static str,
    pub config_type: ConfigType,
    pub default: &'static str,
    /// The broker config that is its default; empty where Kafka has none.
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
use Rule::{Any, AtLeast, Between, BetweenOr, ListOf, NoRemoteStorage, OneOf, Replicas};

/// What Kafka sets for the cluster by itself, with eligible leader replicas.
pub const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

const MAX: &str = "9223372036854775807";

/// All topic configs, by name.
#[rustfmt::skip]
pub const CONFIGS: &[ConfigKey] = &[
    key("cleanup.policy", List, "delete", ListOf(&["compact", "delete"]), "log.cleanup.policy", "What happens to old records: they are deleted, or only the last one of each key is kept, or both."),
    key("compression.gzip.level", Int, "-1", BetweenOr(1, 9, -1), "compression.gzip.level", "The level, if compression.type is gzip."),
    key("compression.lz4.level", Int, "9", Between(1, 17), "compression.lz4.level", "The level, if compression.type is lz4."),
    key("compression.type", Str, "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "compression.type", "How batches are stored: as producers compressed them, or in one way."),
    key("compression.zstd.level", Int, "3", Between(-131_072, 22), "compression.zstd.level", "The level, if compression.type is zstd."),
    key("delete.retention.ms", Long, "86400000", AtLeast(0), "log.cleaner.delete.retention.ms", "How long a compacted topic keeps the mark of a deleted key."),
    key("file.delete.delay.ms", Long, "60000", AtLeast(0), "log.segment.delete.delay.ms", "Kept and shown; there are no files of a topic's own."),
    key("flush.messages", Long, MAX, AtLeast(1), "log.flush.interval.messages", "Kept and shown; the broker's durability setting decides."),
    key("flush.ms", Long, MAX, AtLeast(0), "log.flush.interval.ms", "Kept and shown; the broker's durability setting decides."),
    key("follower.replication.throttled.replicas", List, "", Replicas, "", "Kept and shown; there is one node."),
    key("index.interval.bytes", Int, "4096", AtLeast(0), "log.index.interval.bytes", "Kept and shown; every append has an index entry."),
    key("leader.replication.throttled.replicas", List, "", Replicas, "", "Kept and shown; there is one node."),
    key("local.retention.bytes", Long, "-2", AtLeast(-2), "log.local.retention.bytes", "Kept and shown; there is no remote storage."),
    key("local.retention.ms", Long, "-2", AtLeast(-2), "log.local.retention.ms", "Kept and shown; there is no remote storage."),
    key("max.compaction.lag.ms", Long, MAX, AtLeast(1), "log.cleaner.max.compaction.lag.ms", "How long a record of a compacted topic may go without being compacted."),
    key("max.message.bytes", Int, "1048588", AtLeast(0), "message.max.bytes", "The largest record batch that may be produced."),
    key("message.timestamp.after.max.ms", Long, "3600000", AtLeast(0), "log.message.timestamp.after.max.ms", "How far a record's timestamp may lie in the future."),
    key("message.timestamp.before.max.ms", Long, MAX, AtLeast(0), "log.message.timestamp.before.max.ms", "How far a record's timestamp may lie in the past."),
    key("message.timestamp.type", Str, "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), "log.message.timestamp.type", "Whose clock records bear: the producer's, or the broker's."),
    key("min.cleanable.dirty.ratio", Double, "0.5", Between(0, 1), "log.cleaner.min.cleanable.ratio", "How much of a compacted topic must be new before it is compacted again."),
    key("min.compaction.lag.ms", Long, "0", AtLeast(0), "log.cleaner.min.compaction.lag.ms", "How long a record of a compacted topic is left alone."),
    key("min.insync.replicas", Int, "1", AtLeast(1), "min.insync.replicas", "With more than 1, acks=all is refused: there is one node."),
    key("preallocate", Boolean, "false", Any, "log.preallocate", "Kept and shown; the commit log is always allocated ahead."),
    key("remote.log.copy.disable", Boolean, "false", Any, "", "Kept and shown; there is no remote storage."),
    key("remote.log.delete.on.disable", Boolean, "false", Any, "", "Kept and shown; there is no remote storage."),
    key("remote.storage.enable", Boolean, "false", NoRemoteStorage, "", "There is no remote storage."),
    key("retention.bytes", Long, "-1", Any, "log.retention.bytes", "How many bytes a partition keeps; -1 for all."),
    key("retention.ms", Long, "604800000", AtLeast(-1), "log.retention.ms", "How long records are kept; -1 for ever."),
    key("segment.bytes", Int, "1073741824", AtLeast(1_048_576), "log.segment.bytes", "The newest records, up to this size, are not compacted; a topic has no files of its own."),
    key("segment.index.bytes", Int, "10485760", AtLeast(4), "log.index.size.max.bytes", "Kept and shown; a topic has no segments of its own."),
    key("segment.jitter.ms", Long, "0", AtLeast(0), "log.roll.jitter.ms", "Kept and shown; a topic has no segments of its own."),
    key("segment.ms", Long, "604800000", AtLeast(1), "log.roll.ms", "The newest records, up to this age, are not compacted; a topic has no files of its own."),
    key("unclean.leader.election.enable", Boolean, "false", Any, "unclean.leader.election.enable", "Kept and shown; there is one node."),
];

/// Broker configs without a default of their own, and where Kafka has it instead: name and value.
const ELSEWHERE: &[(&str, (&str, &str))] = &[
    ("log.flush.interval.ms", ("log.flush.scheduler.interval.ms", MAX)),
    ("log.retention.ms", ("log.retention.hours", "168")),
    ("log.roll.jitter.ms", ("log.roll.jitter.hours", "0")),
    ("log.roll.ms", ("log.roll.hours", "168")),
];

/// Taken and never shown, as with Kafka: segments smaller than `segment.bytes` may say, which AMQP streams can have.
pub const INTERNAL_SEGMENT_BYTES: &str = "internal.segment.bytes";
const INTERNAL: ConfigKey = key(INTERNAL_SEGMENT_BYTES, Int, "", AtLeast(14), "", "");

/// Why a value is refused, in Kafka's words where it has some (INVALID_CONFIG).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("Unknown topic config name: {0}")]
    Unknown(String),
    #[error("Null value not supported for topic configs: {0}")]
    Null(&'static str),
    #[error("Invalid value {value} for configuration {name}: {what}")]
    Type { name: &'static str, value: String, what: &'static str },
    #[error("Invalid value {value} for configuration {name}: {must}")]
    Range { name: &'static str, value: String, must: String },
    #[error(
        "conflict topic config setting min.compaction.lag.ms ({min_ms}) > max.compaction.lag.ms ({max_ms})"
    )]
    Lag { min_ms: i64, max_ms: i64 },
    #[error(
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    )]
    NoRemoteStorage,
}

/// The configuration of one topic: what it sets itself, over the defaults; and the parsed form of what is acted upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    set: BTreeMap<&'static str, String>,
    defaults: Arc<TopicDefaults>,
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
    /// What is shown in the place of the topic's own retention, because a policy keeps less.
    limited: BTreeMap<&'static str, String>,
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
        Self::parsed(BTreeMap::new(), Arc::default())
    }
}

impl TopicConfig {
    /// From the names and values of a request.
    ///
    /// # Errors
    /// What Kafka refuses, in its words.
    pub fn new<'a>(
        values: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, ConfigError> {
        let mut set = BTreeMap::new();
        for (name, value) in values {
            let key = config(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
            let value = value.ok_or(ConfigError::Null(key.name))?;
            set.insert(key.name, key.check(value)?);
        }
        let config = Self::parsed(set, Arc::default());
        let lag = |name| config.value(name).and_then(|ms| ms.parse::<i64>().ok()).unwrap_or_default();
        let (min_ms, max_ms) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"));
        if min_ms > max_ms {
            return Err(ConfigError::Lag { min_ms, max_ms });
        }
        Ok(config)
    }

    /// Every config with its value and source, in the table's order.
    pub fn all(&self) -> impl Iterator<Item = (&'static ConfigKey, &str, ConfigSource)> {
        CONFIGS.iter().map(|key| match self.limited.get(key.name).or_else(|| self.set.get(key.name)) {
            Some(value) => (key, value.as_str(), ConfigSource::DynamicTopicConfig),
            None => match self.defaults.layers(key).next() {
                Some((source, value)) => (key, value, source),
                None => (key, key.default, ConfigSource::DefaultConfig),
            },
        })
    }

    /// What holds where it sets nothing itself.
    #[must_use]
    pub fn defaults(&self) -> &TopicDefaults {
        &self.defaults
    }

    /// The same over other defaults; without a policy's part.
    #[must_use]
    pub fn over(&self, defaults: &Arc<TopicDefaults>) -> Self {
        Self::parsed(self.set.clone(), defaults.clone())
    }

    /// What the topic sets itself.
    pub fn overrides(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.set.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The value of one config.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let key = config(name)?;
        Some(value(key, &self.set, &self.defaults))
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
        let mut config = Self { policy_ms, policy_bytes, limited: BTreeMap::new(), ..self.clone() };
        let is = config.retention();
        for (name, own, is) in [
            ("retention.ms", config.retention_ms, is.retention_ms),
            ("retention.bytes", config.retention_bytes, is.retention_bytes),
        ] {
            if is != own && config.cleanup.delete {
                config.limited.insert(name, is.to_string());
            }
        }
        config
    }

    fn parsed(set: BTreeMap<&'static str, String>, defaults: Arc<TopicDefaults>) -> Self {
        let value = |name: &str| config(name).map_or("", |key| value(key, &set, &defaults)).to_owned();
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
            segment_bytes: match value(INTERNAL_SEGMENT_BYTES).parse() {
                Ok(bytes) => bytes,
                Err(_) => number("segment.bytes"),
            },
            segment_ms: number("segment.ms"),
            policy_ms: None,
            policy_bytes: None,
            limited: BTreeMap::new(),
            set,
            defaults,
        }
    }
}

fn value<'a>(
    key: &'a ConfigKey,
    set: &'a BTreeMap<&'static str, String>,
    defaults: &'a TopicDefaults,
) -> &'a str {
    let own = set.get(key.name).map(String::as_str);
    own.or_else(|| defaults.layers(key).next().map(|(_, value)| value)).unwrap_or(key.default)
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
    CONFIGS.iter().chain([&INTERNAL]).find(|key| key.name == name)
}

impl ConfigKey {
    /// The broker config that has Kafka's default, and the default.
    #[must_use]
    pub fn broker_default(&self) -> (&'static str, &'static str) {
        let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == self.synonym);
        elsewhere.map_or((self.synonym, self.default), |(_, named)| *named)
    }

    /// The value as the broker config of the same meaning would have it.
    ///
    /// # Errors
    /// What makes no sense, by the broker config's name.
    pub(super) fn check_of_broker(&self, value: &str) -> Result<String, ConfigError> {
        Self { name: self.synonym, ..*self }.check(value)
    }

    /// The value in the form in which it is kept.
    fn check(&self, value: &str) -> Result<String, ConfigError> {
        let (name, value) = (self.name, value.trim());
        let wrong = |what| ConfigError::Type { name, value: value.to_owned(), what };
        let value = match self.config_type {
            Boolean => match value.to_ascii_lowercase() {
                word if matches!(word.as_str(), "true" | "false") => word,
                _ => return Err(wrong("Expected value to be either true or false")),
            },
            Int if value.parse::<i32>().is_err() => return Err(wrong("Not a number of type INT")),
            Long if value.parse::<i64>().is_err() => return Err(wrong("Not a number of type LONG")),
            Double if value.parse::<f64>().is_err() => return Err(wrong("Not a number of type DOUBLE")),
            Int | Long | Double | Str => value.to_owned(),
            List => items(value).join(","),
        };
        self.rule.check(name, &value)?;
        Ok(value)
    }
}

impl Rule {
    fn check(self, name: &'static str, value: &str) -> Result<(), ConfigError> {
        let refuse = |value: &str, must| Err(ConfigError::Range { name, value: value.to_owned(), must });
        let number = value.parse::<f64>().unwrap_or_default();
        match self {
            Any => Ok(()),
            BetweenOr(_, _, other) if value.parse() == Ok(other) => Ok(()),
            BetweenOr(low, high, other) if number < low as f64 || number > high as f64 => {
                refuse(value, format!("Value must be between {low} and {high} or equal to {other}"))
            }
            AtLeast(low) | Between(low, _) if number < low as f64 => {
                refuse(value, format!("Value must be at least {low}"))
            }
            Between(_, high) if number > high as f64 => {
                refuse(value, format!("Value must be no more than {high}"))
            }
            AtLeast(_) | Between(..) | BetweenOr(..) => Ok(()),
            OneOf(known) if known.contains(&value) => Ok(()),
            OneOf(known) => refuse(value, one_of(known)),
            ListOf(known) => match items(value).into_iter().find(|item| !known.contains(item)) {
                Some(unknown) => refuse(unknown, one_of(known)),
                None => Ok(()),
            },
            Replicas if value == "*" || items(value).into_iter().all(is_replica) => Ok(()),
            Replicas => {
                let format = "[partitionId]:[brokerId],[partitionId]:[brokerId],...";
                let must = format!(
                    "{name} must be the literal '*' or a list of replicas in the following format: {format}"
                );
                refuse(&format!("[{}]", items(value).join(", ")), must)
            }
            NoRemoteStorage if value == "true" => Err(ConfigError::NoRemoteStorage),
            NoRemoteStorage => Ok(()),
        }
    }
}

/// The items of a list, as Kafka reads one; nothing for an empty text.
#[must_use]
pub fn items(list: &str) -> Vec<&str> {
    if list.is_empty() { Vec::new() } else { list.split(',').map(str::trim).collect() }
}

fn one_of(known: &[&str]) -> String {
    format!("String must be one of: {}", known.join(", "))
}

fn is_replica(text: &str) -> bool {
    text.split_once(':').is_some_and(|(p, b)| p.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())
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
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        );
        check(
            "min.cleanable.dirty.ratio",
            "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        );
        check(
            "compression.gzip.level",
            "10",
            "Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        );
        check(
            "segment.bytes",
            "10",
            "Invalid value 10 for configuration segment.bytes: Value must be at least 1048576",
        );
        check(
            "leader.replication.throttled.replicas",
            "x, y",
            "Invalid value [x, y] for configuration leader.replication.throttled.replicas: \
             leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following \
             format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        );
        let lags = [("min.compaction.lag.ms", Some("10")), ("max.compaction.lag.ms", Some("5"))];
        let text = "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)";
        assert_eq!(TopicConfig::new(lags).unwrap_err().to_string(), text);
        let null = TopicConfig::new([("retention.ms", None)]).unwrap_err();
        assert_eq!(null.to_string(), "Null value not supported for topic configs: retention.ms");
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
        let loose = [("preallocate", "TRUE", "true"), ("retention.ms", " 5 ", "5")];
        for (name, given, kept) in loose {
            assert_eq!(set(name, given).unwrap().value(name), Some(kept), "{name}");
        }
        // A policy that keeps less is what counts, and what is shown.
        let limited = config.with_policy(Some(4_000), None);
        let shown = limited.all().find(|(key, ..)| key.name == "retention.ms").map(|(_, value, _)| value);
        assert_eq!((shown, limited.retention().retention_ms), (Some("4000"), 4_000));
        assert_eq!(limited.overrides().collect::<Vec<_>>(), [("retention.ms", "5000")]);
    }
}
