//! A topic's configuration: the values that it sets, over the defaults, and what they mean. What may be set is in
//! `config/keys.rs`.

mod keys;

use std::{collections::BTreeMap, sync::Arc};

pub use keys::{
    CONFIGS, ConfigError, ConfigKey, ConfigType, INTERNAL_SEGMENT_BYTES, MIN_INSYNC_REPLICAS, config, items,
    one_of,
};

use super::{defaults::TopicDefaults, retention};
use crate::data::record::{Codec, Compression};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<TopicConfig, String> {
        TopicConfig::new([(name, Some(value))]).map_err(|e| e.to_string())
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
