//! THE table of group configs: their names and types, the broker's value of each, and what a group may set instead.

use super::{Defaults, OffsetReset};
use crate::broker::topic::config::{ConfigType, one_of};

/// One group config.
#[derive(Debug, Clone, Copy)]
pub struct GroupConfigKey {
    pub name: &'static str,
    pub config_type: ConfigType,
    /// The broker config that sets its default, if there is one.
    pub synonym: Option<&'static str>,
    pub documentation: &'static str,
    /// The broker's value, and the least and the largest it allows (Kafka's texts name those bounds).
    rule: fn(&Defaults) -> Rule,
}

/// What the broker says of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// In milliseconds.
    Between {
        default: i64,
        min: (i64, &'static str),
        max: (i64, &'static str),
    },
    /// As Kafka lists them.
    OneOf {
        default: &'static str,
        values: &'static [&'static str],
    },
    Boolean {
        default: bool,
    },
    /// `latest` (the default), `earliest`, or `by_duration:` and a duration in ISO 8601.
    OffsetReset,
}

use ConfigType::{Boolean, Int, String as Str};

/// All group configs, by name.
#[rustfmt::skip]
pub const GROUP_CONFIGS: &[GroupConfigKey] = &[
    GroupConfigKey {
        name: "consumer.assignment.interval.ms", config_type: Int, synonym: Some("group.consumer.assignment.interval.ms"),
        documentation: "How long a target assignment stands at least before the next is computed.",
        rule: |d| Rule::Between {
            default: d.consumer.assignment_ms,
            min: (0, "group.consumer.min.assignment.interval.ms"),
            max: (d.consumer.assignment_ms_max, "group.consumer.max.assignment.interval.ms"),
        },
    },
    GroupConfigKey {
        name: "consumer.heartbeat.interval.ms", config_type: Int, synonym: Some("group.consumer.heartbeat.interval.ms"),
        documentation: "How often the members of a consumer group heartbeat.",
        rule: |d| Rule::Between {
            default: d.consumer.heartbeat_ms,
            min: (d.consumer.heartbeat_ms_min, "group.consumer.min.heartbeat.interval.ms"),
            max: (d.consumer.heartbeat_ms_max, "group.consumer.max.heartbeat.interval.ms"),
        },
    },
    GroupConfigKey {
        name: "consumer.session.timeout.ms", config_type: Int, synonym: Some("group.consumer.session.timeout.ms"),
        documentation: "How long a member of a consumer group may be silent before it is fenced.",
        rule: |d| Rule::Between {
            default: d.consumer.session_ms,
            min: (d.consumer.session_ms_min, "group.consumer.min.session.timeout.ms"),
            max: (d.consumer.session_ms_max, "group.consumer.max.session.timeout.ms"),
        },
    },
    GroupConfigKey {
        name: "share.auto.offset.reset", config_type: Str, synonym: None,
        documentation: "Where a share group begins in a partition: earliest, latest, or by_duration:<ISO 8601>.",
        rule: |_| Rule::OffsetReset,
    },
    GroupConfigKey {
        name: "share.delivery.count.limit", config_type: Int, synonym: Some("group.share.delivery.count.limit"),
        documentation: "How often a record is delivered to a share group at most.",
        rule: |d| Rule::Between {
            default: d.lending.delivery_count_limit,
            min: (d.lending.delivery_count_limit_min, "group.share.min.delivery.count.limit"),
            max: (d.lending.delivery_count_limit_max, "group.share.max.delivery.count.limit"),
        },
    },
    GroupConfigKey {
        name: "share.heartbeat.interval.ms", config_type: Int, synonym: Some("group.share.heartbeat.interval.ms"),
        documentation: "How often the members of a share group heartbeat.",
        rule: |d| Rule::Between {
            default: d.share.heartbeat_ms,
            min: (d.share.heartbeat_ms_min, "group.share.min.heartbeat.interval.ms"),
            max: (d.share.heartbeat_ms_max, "group.share.max.heartbeat.interval.ms"),
        },
    },
    GroupConfigKey {
        name: "share.isolation.level", config_type: Str, synonym: None,
        documentation: "Whether records of open and aborted transactions are delivered.",
        rule: |_| Rule::OneOf { default: "read_uncommitted", values: &["read_committed", "read_uncommitted"] },
    },
    GroupConfigKey {
        name: "share.partition.max.record.locks", config_type: Int, synonym: Some("group.share.partition.max.record.locks"),
        documentation: "How many records of a partition may be on their way at once.",
        rule: |d| Rule::Between {
            default: d.lending.records_max,
            min: (d.lending.records_max_min, "group.share.min.partition.max.record.locks"),
            max: (d.lending.records_max_max, "group.share.max.partition.max.record.locks"),
        },
    },
    GroupConfigKey {
        name: "share.record.lock.duration.ms", config_type: Int, synonym: Some("group.share.record.lock.duration.ms"),
        documentation: "How long a record is lent before it is available again.",
        rule: |d| Rule::Between {
            default: d.lending.lock_ms,
            min: (d.lending.lock_ms_min, "group.share.min.record.lock.duration.ms"),
            max: (d.lending.lock_ms_max, "group.share.max.record.lock.duration.ms"),
        },
    },
    GroupConfigKey {
        name: "share.renew.acknowledge.enable", config_type: Boolean, synonym: None,
        documentation: "Whether a member may renew the lock of what it has been lent.",
        rule: |_| Rule::Boolean { default: true },
    },
    GroupConfigKey {
        name: "share.session.timeout.ms", config_type: Int, synonym: Some("group.share.session.timeout.ms"),
        documentation: "How long a member of a share group may be silent before it is fenced.",
        rule: |d| Rule::Between {
            default: d.share.session_ms,
            min: (d.share.session_ms_min, "group.share.min.session.timeout.ms"),
            max: (d.share.session_ms_max, "group.share.max.session.timeout.ms"),
        },
    },
];

/// Why a value is refused, in Kafka's words (INVALID_CONFIG).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupConfigError {
    #[error("Unknown group config name: {0}")]
    Unknown(String),
    #[error("Invalid value {value} for configuration {name}: {must}")]
    Value { name: &'static str, value: String, must: String },
    #[error("{name} must be {than} or equal to {bound}")]
    Bound { name: &'static str, than: &'static str, bound: &'static str },
    #[error("{0} must be greater than {1}")]
    Session(&'static str, &'static str),
}

impl GroupConfigKey {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        GROUP_CONFIGS.iter().find(|key| key.name == name)
    }

    /// The broker's value.
    #[must_use]
    pub fn default(&self, defaults: &Defaults) -> String {
        match (self.rule)(defaults) {
            Rule::Between { default, .. } => default.to_string(),
            Rule::OneOf { default, .. } => default.to_owned(),
            Rule::Boolean { default } => default.to_string(),
            Rule::OffsetReset => "latest".to_owned(),
        }
    }

    /// The value in the form in which it is kept.
    pub(super) fn check(&self, value: &str, defaults: &Defaults) -> Result<String, GroupConfigError> {
        let name = self.name;
        let refuse = |must| GroupConfigError::Value { name, value: value.to_owned(), must };
        let kept = self.config_type.check(value).map_err(|what| refuse(what.to_owned()))?;
        match (self.rule)(defaults) {
            Rule::Between { min, max, .. } => {
                let number = kept.parse::<i64>().unwrap_or_default();
                if number < min.0 {
                    return Err(GroupConfigError::Bound { name, than: "greater than", bound: min.1 });
                }
                if number > max.0 {
                    return Err(GroupConfigError::Bound { name, than: "less than", bound: max.1 });
                }
            }
            Rule::OneOf { values, .. } if !values.contains(&&*kept) => return Err(refuse(one_of(values))),
            Rule::OffsetReset if OffsetReset::parse(&kept).is_none() => {
                // Kafka says it twice.
                return Err(refuse(format!(
                    "Invalid value `{value}` for configuration {name}. The value must be either 'earliest', 'latest' or of \
                     the format 'by_duration:<PnDTnHnMn.nS>'."
                )));
            }
            Rule::OneOf { .. } | Rule::Boolean { .. } | Rule::OffsetReset => {}
        }
        Ok(kept)
    }
}
