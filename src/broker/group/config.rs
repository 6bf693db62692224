//! A group's configuration (config resource GROUP): THE table of group configs, and the values a group sets.
//!
//! A group need not exist to have a configuration; what it does not set is the broker's (KIP-848, KIP-932). Configs of
//! Kafka's streams groups are not here: there are no such groups.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    GroupKey, Groups,
    consumer::{Migration, ShareMembership, Terms},
    share::partition::ShareTerms,
};
use crate::{
    broker::topic::{
        config::ConfigType,
        keys::{self, Reader, Writer},
        writes::Writes,
    },
    store::{Space, Ticket},
};

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

/// Where a share group begins in a partition that it has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
    /// The records of so long ago, in milliseconds.
    ByDuration(i64),
}

impl OffsetReset {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            other => duration_ms(other.strip_prefix("by_duration:")?).map(Self::ByDuration),
        }
    }
}

/// `PnDTnHnMn.nS` in milliseconds; never negative.
fn duration_ms(text: &str) -> Option<i64> {
    let text = text.strip_prefix('P')?;
    let (days, time) = text.split_once('T').map_or((text, ""), |(days, time)| (days, time));
    let mut total = 0.0;
    let mut any = false;
    for (part, units) in
        [(days, &[('D', 86_400_000.0)][..]), (time, &[('H', 3_600_000.0), ('M', 60_000.0), ('S', 1_000.0)])]
    {
        let mut rest = part;
        for (unit, ms) in units {
            if let Some((number, after)) = rest.split_once(*unit) {
                let number: f64 =
                    number.parse().ok().filter(|n: &f64| n.is_finite() && !n.is_sign_negative())?;
                total += number * ms;
                (rest, any) = (after, true);
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    let fits = any && total < 9.0e15;
    #[expect(clippy::cast_possible_truncation, reason = "within 53 bits, as was just checked")]
    fits.then_some(total as i64)
}

/// The broker's defaults and bounds (`group.consumer.*` of Kafka).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    pub consumer: Timeouts,
    pub consumer_members_max: usize,
    pub share: Timeouts,
    pub share_members_max: usize,
    pub lending: Lending,
    pub migration: Migration,
}

/// A newer group's timeouts, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub session_ms: i64,
    pub session_ms_min: i64,
    pub session_ms_max: i64,
    pub heartbeat_ms: i64,
    pub heartbeat_ms_min: i64,
    pub heartbeat_ms_max: i64,
    /// Kafka's default is 1 s, ours 0, as with `group.initial.rebalance.delay.ms`: nobody waits for his partitions.
    pub assignment_ms: i64,
    pub assignment_ms_max: i64,
}

/// What share groups may lend, and how long (`group.share.*` of Kafka).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lending {
    pub lock_ms: i64,
    pub lock_ms_min: i64,
    pub lock_ms_max: i64,
    pub delivery_count_limit: i64,
    pub delivery_count_limit_min: i64,
    pub delivery_count_limit_max: i64,
    pub records_max: i64,
    pub records_max_min: i64,
    pub records_max_max: i64,
}

impl Default for Lending {
    fn default() -> Self {
        Self {
            lock_ms: 30_000,
            lock_ms_min: 15_000,
            lock_ms_max: 60_000,
            delivery_count_limit: 5,
            delivery_count_limit_min: 2,
            delivery_count_limit_max: 10,
            records_max: 2_000,
            records_max_min: 100,
            records_max_max: 4_000,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            session_ms: 45_000,
            session_ms_min: 45_000,
            session_ms_max: 60_000,
            heartbeat_ms: 5_000,
            heartbeat_ms_min: 5_000,
            heartbeat_ms_max: 15_000,
            assignment_ms: 0,
            assignment_ms_max: 15_000,
        }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            consumer: Timeouts::default(),
            consumer_members_max: 10_000,
            share: Timeouts::default(),
            share_members_max: 200,
            lending: Lending::default(),
            migration: Migration::Bidirectional,
        }
    }
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
    #[error("Invalid value {value} for configuration {name}: Not a number of type INT")]
    Type { name: &'static str, value: String },
    #[error("Invalid value {value} for configuration {name}: {must}")]
    Value { name: &'static str, value: String, must: String },
    #[error("{name} must be {than} or equal to {bound}")]
    Bound { name: &'static str, than: &'static str, bound: &'static str },
    #[error("{0} must be greater than {1}")]
    Session(&'static str, &'static str),
}

/// A session must outlast a heartbeat.
const SESSIONS: [(&str, &str); 2] = [
    ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"),
    ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
];

/// What a group sets itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupConfig {
    set: BTreeMap<&'static str, String>,
}

impl GroupConfig {
    /// Makes a configuration of values that all make sense, and make sense together.
    ///
    /// # Errors
    /// As Kafka refuses them.
    pub fn new<'a>(
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
        defaults: &Defaults,
    ) -> Result<Self, GroupConfigError> {
        let mut config = Self::default();
        for (name, value) in values {
            let key =
                GroupConfigKey::named(name).ok_or_else(|| GroupConfigError::Unknown(name.to_owned()))?;
            key.check(value, defaults)?;
            config.set.insert(key.name, value.trim().to_owned());
        }
        for (session, heartbeat) in SESSIONS {
            if config.ms(session, defaults) <= config.ms(heartbeat, defaults) {
                return Err(GroupConfigError::Session(session, heartbeat));
            }
        }
        Ok(config)
    }

    /// Every config with its value, and whether the group sets it itself.
    pub fn all<'a>(
        &'a self,
        defaults: &'a Defaults,
    ) -> impl Iterator<Item = (&'static GroupConfigKey, String, bool)> + 'a {
        GROUP_CONFIGS.iter().map(|key| match self.set.get(key.name) {
            Some(value) => (key, value.clone(), true),
            None => (key, key.default(defaults), false),
        })
    }

    /// What the group sets itself.
    pub fn set(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.set.iter().map(|(name, value)| (*name, value.as_str()))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    fn value(&self, name: &str, defaults: &Defaults) -> String {
        let default = || GroupConfigKey::named(name).map(|key| key.default(defaults));
        self.set.get(name).cloned().or_else(default).unwrap_or_default()
    }

    fn number(&self, name: &str, defaults: &Defaults) -> i64 {
        self.value(name, defaults).parse().unwrap_or_default()
    }

    fn ms(&self, name: &str, defaults: &Defaults) -> Duration {
        Duration::from_millis(u64::try_from(self.number(name, defaults)).unwrap_or_default())
    }

    /// What a share group's lendings are held to.
    #[must_use]
    pub fn share_terms(&self, defaults: &Defaults) -> ShareTerms {
        let limit = self.number("share.delivery.count.limit", defaults);
        ShareTerms {
            lock: self.ms("share.record.lock.duration.ms", defaults),
            delivery_count_limit: i16::try_from(limit).unwrap_or(i16::MAX),
            records_max: self.number("share.partition.max.record.locks", defaults),
        }
    }

    #[must_use]
    pub fn share_offset_reset(&self, defaults: &Defaults) -> OffsetReset {
        OffsetReset::parse(&self.value("share.auto.offset.reset", defaults)).unwrap_or(OffsetReset::Latest)
    }

    #[must_use]
    pub fn shares_committed_only(&self, defaults: &Defaults) -> bool {
        self.value("share.isolation.level", defaults) == "read_committed"
    }

    #[must_use]
    pub fn may_renew(&self, defaults: &Defaults) -> bool {
        self.value("share.renew.acknowledge.enable", defaults).eq_ignore_ascii_case("true")
    }

    /// What a consumer group is held to.
    #[must_use]
    pub fn terms(&self, defaults: &Defaults) -> Terms {
        Terms {
            session_timeout: self.ms("consumer.session.timeout.ms", defaults),
            heartbeat_interval: self.ms("consumer.heartbeat.interval.ms", defaults),
            assignment_interval: self.ms("consumer.assignment.interval.ms", defaults),
            members_max: defaults.consumer_members_max,
            migration: defaults.migration,
            share: ShareMembership {
                session_timeout: self.ms("share.session.timeout.ms", defaults),
                heartbeat_interval: self.ms("share.heartbeat.interval.ms", defaults),
                members_max: defaults.share_members_max,
            },
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.pairs(self.set());
        w.finish()
    }

    /// What is no longer known is left out.
    fn decode(value: &Bytes) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let mut config = Self::default();
        for (name, value) in r.pairs()? {
            if let Some(key) = GroupConfigKey::named(&name) {
                config.set.insert(key.name, value);
            }
        }
        r.is_done().then_some(config)
    }
}

impl GroupConfigKey {
    fn named(name: &str) -> Option<&'static Self> {
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

    fn check(&self, value: &str, defaults: &Defaults) -> Result<(), GroupConfigError> {
        let name = self.name;
        match (self.rule)(defaults) {
            Rule::Between { min, max, .. } => {
                let refuse = || GroupConfigError::Type { name, value: value.to_owned() };
                let number = i64::from(value.trim().parse::<i32>().map_err(|_| refuse())?);
                if number < min.0 {
                    return Err(GroupConfigError::Bound { name, than: "greater than", bound: min.1 });
                }
                if number > max.0 {
                    return Err(GroupConfigError::Bound { name, than: "less than", bound: max.1 });
                }
                Ok(())
            }
            Rule::OneOf { values, .. } if values.contains(&value.trim()) => Ok(()),
            Rule::Boolean { .. } if ["true", "false"].contains(&value.trim().to_lowercase().as_str()) => {
                Ok(())
            }
            Rule::Boolean { .. } => {
                let must = "Expected value to be either true or false".to_owned();
                Err(GroupConfigError::Value { name, value: value.to_owned(), must })
            }
            Rule::OneOf { values, .. } => {
                let must = format!("String must be one of: {}", values.join(", "));
                Err(GroupConfigError::Value { name, value: value.to_owned(), must })
            }
            Rule::OffsetReset if OffsetReset::parse(value.trim()).is_some() => Ok(()),
            Rule::OffsetReset => {
                // Kafka says it twice.
                let must = format!(
                    "Invalid value `{value}` for configuration {name}. The value must be either 'earliest', 'latest' or of \
                     the format 'by_duration:<PnDTnHnMn.nS>'."
                );
                Err(GroupConfigError::Value { name, value: value.to_owned(), must })
            }
        }
    }
}

impl Groups {
    /// What a group sets itself (nothing, for one that nobody has configured).
    #[must_use]
    pub fn config(&self, key: &GroupKey) -> Arc<GroupConfig> {
        self.configs.read().get(key).cloned().unwrap_or_default()
    }

    /// The groups of a vhost that set something themselves, by name.
    #[must_use]
    pub fn configured(&self, vhost: &super::VhostName) -> Vec<Arc<str>> {
        let configs = self.configs.read();
        let mut ids: Vec<_> = configs.keys().filter(|k| k.vhost == *vhost).map(|k| k.id.clone()).collect();
        ids.sort();
        ids
    }

    /// Replaces a group's configuration by what `change` makes of it; its members feel it with their next heartbeat.
    ///
    /// # Errors
    /// What `change` refuses.
    pub fn alter_config<E>(
        &self,
        key: &GroupKey,
        change: impl FnOnce(&GroupConfig) -> Result<GroupConfig, E>,
    ) -> Result<Ticket, E> {
        let mut writes = Writes::default();
        let mut configs = self.configs.write();
        let config = change(&configs.get(key).cloned().unwrap_or_default())?;
        if config.is_empty() {
            configs.remove(key);
            writes.delete(Space::State, keys::group_config(key));
        } else {
            writes.put(Space::State, keys::group_config(key), config.encode());
            configs.insert(key.clone(), Arc::new(config));
        }
        // Under the lock, so that two alterations reach the log in the order in which they were made.
        Ok(writes.submit(&self.store, drop))
    }

    pub(super) fn recover_config(&self, key: GroupKey, value: &Bytes) {
        if let Some(config) = GroupConfig::decode(value) {
            self.configs.write().insert(key, Arc::new(config));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_refused_in_kafkas_words() {
        fn check(name: &str, value: &str, expected: &str) {
            let refused = GroupConfig::new([(name, value)], &Defaults::default());
            assert_eq!(refused.map(drop).map_err(|e| e.to_string()), Err(expected.to_owned()));
        }
        check("consumer.colour", "red", "Unknown group config name: consumer.colour");
        check(
            "consumer.session.timeout.ms",
            "soon",
            "Invalid value soon for configuration consumer.session.timeout.ms: Not a number of type INT",
        );
        check(
            "consumer.session.timeout.ms",
            "44999",
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        );
        check(
            "consumer.heartbeat.interval.ms",
            "15001",
            "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
        );
        let defaults = Defaults {
            consumer: Timeouts { session_ms_min: 1, ..Timeouts::default() },
            ..Defaults::default()
        };
        let refused = GroupConfig::new([("consumer.session.timeout.ms", "5000")], &defaults);
        assert_eq!(
            refused.map_err(|e| e.to_string()),
            Err("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms".to_owned())
        );
    }

    #[test]
    fn a_share_group_begins_where_it_is_told() {
        fn check(value: &str, expected: Option<OffsetReset>) {
            let config = GroupConfig::new([("share.auto.offset.reset", value)], &Defaults::default());
            assert_eq!(config.ok().map(|c| c.share_offset_reset(&Defaults::default())), expected, "{value}");
        }
        check("earliest", Some(OffsetReset::Earliest));
        check("latest", Some(OffsetReset::Latest));
        check("by_duration:P1DT2H3M4.5S", Some(OffsetReset::ByDuration(93_784_500)));
        check("by_duration:PT0S", Some(OffsetReset::ByDuration(0)));
        for wrong in ["by_duration:P", "by_duration:PT-1S", "by_duration:1D", "none", "by_duration:PT1S2"] {
            check(wrong, None);
        }
        assert_eq!(GroupConfig::default().share_offset_reset(&Defaults::default()), OffsetReset::Latest);
    }

    #[test]
    fn what_a_group_sets_comes_back_and_the_rest_is_the_brokers() {
        let defaults = Defaults::default();
        let config = GroupConfig::new([("consumer.session.timeout.ms", " 50000")], &defaults).unwrap();
        let again = GroupConfig::decode(&config.encode().into()).unwrap();
        assert_eq!(again, config);
        let terms = again.terms(&defaults);
        assert_eq!(terms.session_timeout, Duration::from_secs(50));
        assert_eq!(terms.heartbeat_interval, Duration::from_secs(5));
        let own: Vec<_> = again.all(&defaults).filter(|(.., own)| *own).map(|(key, ..)| key.name).collect();
        assert_eq!(own, ["consumer.session.timeout.ms"]);
        assert!(GROUP_CONFIGS.is_sorted_by_key(|key| key.name));
    }
}
