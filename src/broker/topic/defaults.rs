//! The defaults of topics that the broker's configs set: for the whole cluster or for this broker, while it runs, or in
//! its configuration file. `log.retention.ms` is `retention.ms` of every topic that has none of its own.
//!
//! A broker config that is no topic's default cannot be changed at run time: what Kafka has beside these are sizes of
//! thread pools, listeners and replication, which mean nothing here. AMQP streams keep to their own arguments.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    config::{CONFIGS, ConfigError, ConfigKey, ConfigSource, MIN_INSYNC_REPLICAS},
    keys::{self, Reader, Writer},
    table::Topics,
    writes::Writes,
};
use crate::store::{Space, StoreError, Ticket};

/// For whom a broker config is set while the broker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Cluster,
    /// This one; stronger.
    Broker,
}

/// Values by the name of the topic's config.
type Layer = BTreeMap<&'static str, String>;

/// What holds for topics that say nothing themselves; what no layer has is the table's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDefaults {
    broker: Layer,
    cluster: Layer,
    /// From the configuration file.
    fixed: Layer,
}

impl Default for TopicDefaults {
    /// Kafka sets this one itself, with eligible leader replicas.
    fn default() -> Self {
        let cluster = Layer::from([(MIN_INSYNC_REPLICAS, "1".to_owned())]);
        Self { broker: Layer::new(), cluster, fixed: Layer::new() }
    }
}

impl TopicDefaults {
    /// The values of a config, the strongest first.
    pub fn layers(&self, key: &ConfigKey) -> impl Iterator<Item = (ConfigSource, &str)> {
        let layers = [
            (ConfigSource::DynamicBrokerConfig, &self.broker),
            (ConfigSource::DynamicDefaultBrokerConfig, &self.cluster),
            (ConfigSource::StaticBrokerConfig, &self.fixed),
        ];
        layers.into_iter().filter_map(|(source, layer)| Some((source, layer.get(key.name)?.as_str())))
    }

    /// What is set for a scope, by the broker configs' names.
    pub fn set(&self, scope: Scope) -> impl Iterator<Item = (&'static str, &str)> {
        let named = |(name, value)| Some((super::config::config(name)?.synonym, String::as_str(value)));
        self.layer(scope).iter().filter_map(move |(name, value)| named((name, value)))
    }

    /// The same with these values for a scope, and no others; by the broker configs' names.
    ///
    /// # Errors
    /// A name that is none, or a value that the topic's config could not have.
    pub fn with<'a>(
        &self,
        scope: Scope,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ConfigError> {
        let mut layer = Layer::new();
        for (name, value) in values {
            let key = of_broker(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
            layer.insert(key.name, key.check_of_broker(value)?);
        }
        let mut changed = self.clone();
        match scope {
            Scope::Broker => changed.broker = layer,
            Scope::Cluster => changed.cluster = layer,
        }
        Ok(changed)
    }

    fn layer(&self, scope: Scope) -> &Layer {
        match scope {
            Scope::Broker => &self.broker,
            Scope::Cluster => &self.cluster,
        }
    }

    fn encode(&self, scope: Scope) -> Vec<u8> {
        let mut w = Writer::default();
        w.pairs(self.set(scope));
        w.finish()
    }

    /// Takes back what was written; a config that this version does not know, or does not allow any more, is left out.
    fn decode(&self, scope: Scope, value: &Bytes) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let mut pairs = r.pairs()?;
        let pair =
            |(name, value): &(String, String)| self.with(scope, [(name.as_str(), value.as_str())]).is_ok();
        pairs.retain(pair);
        self.with(scope, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))).ok()
    }
}

/// The topic config whose default is the broker config of that name.
#[must_use]
pub fn of_broker(name: &str) -> Option<&'static ConfigKey> {
    CONFIGS.iter().find(|key| key.synonym == name && !name.is_empty())
}

impl Topics {
    /// What holds for topics that say nothing themselves.
    #[must_use]
    pub fn defaults(&self) -> Arc<TopicDefaults> {
        self.defaults.read().clone()
    }

    /// A value from the configuration file, by the topic config's name; the table's default if it is that.
    pub fn fix_default(&self, key: &'static ConfigKey, value: String) {
        let _changing = self.changing.lock();
        let mut defaults = TopicDefaults::clone(&self.defaults());
        if value == key.default {
            defaults.fixed.remove(key.name);
        } else {
            defaults.fixed.insert(key.name, value);
        }
        self.take_defaults(defaults);
    }

    /// Replaces what is set for a scope by what `change` makes of it, for all topics at once. Lasts with the ticket.
    ///
    /// # Errors
    /// What `change` refuses.
    pub fn alter_defaults<E>(
        &self,
        scope: Scope,
        change: impl FnOnce(&TopicDefaults) -> Result<TopicDefaults, E>,
    ) -> Result<Ticket, E> {
        let _changing = self.changing.lock();
        let changed = change(&self.defaults())?;
        let mut writes = Writes::default();
        writes.put(Space::Meta, keys::topic_defaults(scope), changed.encode(scope));
        let ticket = writes.submit(&self.store, drop);
        self.take_defaults(changed);
        Ok(ticket)
    }

    fn take_defaults(&self, defaults: TopicDefaults) {
        let defaults = Arc::new(defaults);
        *self.defaults.write() = defaults.clone();
        self.every_topic().iter().for_each(|topic| topic.take_defaults(&defaults));
    }

    /// Takes in what lies in the store, before any topic is made of it.
    pub(super) fn recover_defaults(&self) -> Result<(), StoreError> {
        for scope in [Scope::Cluster, Scope::Broker] {
            let Some(value) = self.store.get(Space::Meta, &keys::topic_defaults(scope))? else { continue };
            match self.defaults().decode(scope, &Bytes::copy_from_slice(&value)) {
                Some(defaults) => *self.defaults.write() = Arc::new(defaults),
                None => tracing::warn!(?scope, "the configs of the broker cannot be read back"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::topic::config::{TopicConfig, config};

    #[test]
    fn the_topics_own_value_counts_then_the_brokers_then_the_clusters() {
        let none = TopicDefaults::default();
        let cluster =
            none.with(Scope::Cluster, [("log.retention.ms", "1"), ("message.max.bytes", "9")]).unwrap();
        let broker = cluster.with(Scope::Broker, [("log.retention.ms", " 2 ")]).unwrap();
        let own = TopicConfig::new([("retention.ms", Some("3"))]).unwrap();
        for (config, defaults, expected, source) in [
            (&TopicConfig::default(), &none, "604800000", ConfigSource::DefaultConfig),
            (&TopicConfig::default(), &cluster, "1", ConfigSource::DynamicDefaultBrokerConfig),
            (&TopicConfig::default(), &broker, "2", ConfigSource::DynamicBrokerConfig),
            (&own, &broker, "3", ConfigSource::DynamicTopicConfig),
        ] {
            let config = config.over(&Arc::new(defaults.clone()));
            let shown = config.all().find(|(key, ..)| key.name == "retention.ms").unwrap();
            assert_eq!((shown.1, shown.2), (expected, source));
            assert_eq!(config.retention().retention_ms.to_string(), expected);
        }
        assert_eq!(TopicConfig::default().over(&Arc::new(broker)).max_message_bytes, 9);
    }

    #[test]
    fn what_is_refused_is_named_as_it_was_asked_for() {
        let refused =
            |name, value| TopicDefaults::default().with(Scope::Broker, [(name, value)]).unwrap_err();
        for (name, value, expected) in [
            (
                "message.max.bytes",
                "x",
                "Invalid value x for configuration message.max.bytes: Not a number of type INT",
            ),
            (
                "log.retention.ms",
                "-2",
                "Invalid value -2 for configuration log.retention.ms: Value must be at least -1",
            ),
        ] {
            assert_eq!(refused(name, value).to_string(), expected);
        }
        assert!(matches!(refused("retention.ms", "1"), ConfigError::Unknown(_)));
    }

    #[test]
    fn a_layer_survives_its_encoding_and_what_is_unknown_is_left_out() {
        let set = TopicDefaults::default().with(Scope::Broker, [("log.cleanup.policy", "compact")]).unwrap();
        let encoded = Bytes::from(set.encode(Scope::Broker));
        assert_eq!(TopicDefaults::default().decode(Scope::Broker, &encoded), Some(set));
        let mut w = Writer::default();
        w.pairs([("log.roll.ms", "7"), ("log.of.tomorrow", "1")].into_iter());
        let read = TopicDefaults::default().decode(Scope::Cluster, &Bytes::from(w.finish())).unwrap();
        assert_eq!(read.set(Scope::Cluster).collect::<Vec<_>>(), [("log.roll.ms", "7")]);
        assert_eq!(read.layers(config("segment.ms").unwrap()).count(), 1);
    }
}
