//! THE table of Kafka's topic configs (those of Kafka 4.3), and what their values may be.
//!
//! A config whose behaviour exists is acted upon; one that has no meaning for a single node with one commit log is kept
//! and shown; a value that asks for behaviour that does not exist is refused, so that nobody relies on it in vain.

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

impl ConfigType {
    /// A value in the form in which it is kept and shown.
    ///
    /// # Errors
    /// What is wrong with it, in Kafka's words.
    pub fn check(self, value: &str) -> Result<String, &'static str> {
        let value = value.trim();
        match self {
            Boolean => match value.to_ascii_lowercase() {
                word if matches!(word.as_str(), "true" | "false") => Ok(word),
                _ => Err("Expected value to be either true or false"),
            },
            Int if value.parse::<i32>().is_err() => Err("Not a number of type INT"),
            Long if value.parse::<i64>().is_err() => Err("Not a number of type LONG"),
            Double if value.parse::<f64>().is_err() => Err("Not a number of type DOUBLE"),
            Int | Long | Double | Str => Ok(value.to_owned()),
            List => Ok(items(value).join(",")),
        }
    }
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
    pub(in crate::broker::topic) fn check_of_broker(&self, value: &str) -> Result<String, ConfigError> {
        Self { name: self.synonym, ..*self }.check(value)
    }

    pub(super) fn check(&self, value: &str) -> Result<String, ConfigError> {
        let (name, value) = (self.name, value.trim());
        let wrong = |what| ConfigError::Type { name, value: value.to_owned(), what };
        let kept = self.config_type.check(value).map_err(wrong)?;
        self.rule.check(name, &kept)?;
        Ok(kept)
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

/// What a value must be that is none of those.
#[must_use]
pub fn one_of(known: &[&str]) -> String {
    format!("String must be one of: {}", known.join(", "))
}

fn is_replica(text: &str) -> bool {
    text.split_once(':').is_some_and(|(p, b)| p.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_pass_their_own_rules() {
        assert!(CONFIGS.is_sorted_by_key(|key| key.name));
        for key in CONFIGS {
            assert_eq!(key.check(key.default), Ok(key.default.to_owned()), "{}", key.name);
        }
    }
}
