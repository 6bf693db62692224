//! A group's configuration (config resource GROUP): the values it sets, over the broker's.
//!
//! A group need not exist to have a configuration; what it does not set is the broker's (KIP-848, KIP-932). Configs of
//! Kafka's streams groups are not here: there are no such groups.

mod defaults;
mod keys;
mod offset_reset;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
pub use defaults::{Defaults, Lending, Timeouts};
pub use keys::{GROUP_CONFIGS, GroupConfigError, GroupConfigKey};
pub use offset_reset::OffsetReset;

use super::{
    GroupKey, Groups,
    consumer::{ShareMembership, Terms},
    share::partition::ShareTerms,
};
use crate::{
    broker::topic::{
        keys::{Reader, Writer, group_config},
        writes::Writes,
    },
    store::{Space, Ticket},
};

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
            config.set.insert(key.name, key.check(value, defaults)?);
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
        self.value("share.renew.acknowledge.enable", defaults) == "true"
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
            writes.delete(Space::State, group_config(key));
        } else {
            writes.put(Space::State, group_config(key), config.encode());
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
