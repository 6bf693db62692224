//! The log: topics, their partitions, and everything that appends to and reads from them.
//!
//! A Kafka topic, an AMQP stream and an AMQP super stream are all a [`Topic`]. Nothing here knows a protocol: doors
//! translate ([`mapping`] says what an AMQP message is as a record). Groups are in `broker::group`.

pub mod append;
pub mod compaction;
pub mod config;
pub mod defaults;
mod definition;
mod entry;
pub mod fetch;
pub mod followers;
mod gather;
mod index;
pub(crate) mod keys;
pub mod mapping;
pub mod partition;
pub mod partitioner;
pub mod producers;
mod retention;
mod rewrite;
pub mod table;
pub mod tail;
#[cfg(test)]
pub(crate) mod tests;
pub mod transactions;
pub mod trim;
pub mod validate;
pub mod waiters;
pub(crate) mod writes;

use std::{fmt, sync::Arc};

use parking_lot::RwLock;
use uuid::Uuid;

use self::{
    config::TopicConfig,
    defaults::TopicDefaults,
    definition::Definition,
    partition::{Partition, SharedConfig},
    partitioner::Spread,
};
use super::{arguments::age_ms, policy::Applied};
use crate::{
    data::value::{Table, Value},
    store::Ticket,
};

pub use table::{CreateRefused, NewTopic, Topics};

/// A vhost's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VhostName(pub Arc<str>);

impl From<&str> for VhostName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

/// A partition's number in this data directory: never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub u64);

/// A record's place in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset(pub i64);

/// A topic.
#[derive(Debug)]
pub struct Topic {
    /// Random: a topic that is made again under the same name is another one.
    pub id: Uuid,
    pub name: Arc<str>,
    pub vhost: VhostName,
    partitions: RwLock<Arc<[Arc<Partition>]>>,
    /// What `queue.declare` with `x-queue-type=stream` said, if that made it: then its name is taken for queues.
    pub stream_arguments: Option<Table>,
    /// It is a partition of a topic, seen as a stream.
    pub is_partition: bool,
    config: SharedConfig,
    spread: Spread,
    applied: RwLock<Arc<Applied>>,
}

impl Topic {
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.read().clone()
    }

    /// Takes on what policies say of it as a stream: its retention.
    pub fn apply(&self, applied: Applied) -> bool {
        let changed = {
            let mut known = self.applied.write();
            let changed = **known != applied;
            *known = Arc::new(applied);
            changed
        };
        let mut config = self.config.write();
        *config = Arc::new(self.limited(&config));
        changed
    }

    /// Takes on what the broker's configs are now; one that AMQP declared has them all from its arguments.
    fn take_defaults(&self, defaults: &Arc<TopicDefaults>) {
        if self.stream_arguments.is_none() {
            let mut config = self.config.write();
            *config = Arc::new(self.limited(&config.over(defaults)));
        }
    }

    /// What policies say of it.
    #[must_use]
    pub fn applied(&self) -> Arc<Applied> {
        self.applied.read().clone()
    }

    /// A configuration with what the policies say of it.
    fn limited(&self, config: &TopicConfig) -> TopicConfig {
        let definition = self.applied.read().definition();
        let age = definition.field("max-age").and_then(Value::octets).and_then(age_ms);
        let bytes = definition.field("max-length-bytes").and_then(Value::integer);
        config.with_policy(age.and_then(|ms| i64::try_from(ms).ok()), bytes)
    }

    /// Its partitions as they are now: more may come, none goes.
    #[must_use]
    pub fn partitions(&self) -> Arc<[Arc<Partition>]> {
        self.partitions.read().clone()
    }

    /// A partition as a stream of its own, by the name that RabbitMQ gives it. It lives as long as its topic.
    #[must_use]
    pub fn partition_stream(&self, number: usize) -> Option<Arc<Self>> {
        let partition = self.partitions().get(number)?.clone();
        let mut arguments = self.stream_arguments.clone();
        arguments.iter_mut().for_each(|arguments| arguments.0.retain(|(name, _)| name != "x-super-stream"));
        Some(Arc::new(Self {
            id: Uuid::from_u128(self.id.as_u128().wrapping_add(1 + u128::from(partition.id.0))),
            name: format!("{}-{number}", self.name).into(),
            vhost: self.vhost.clone(),
            partitions: RwLock::new(Arc::from([partition])),
            stream_arguments: arguments,
            is_partition: true,
            config: self.config.clone(),
            spread: Spread::default(),
            applied: RwLock::new(self.applied()),
        }))
    }

    /// The partition of that number.
    #[must_use]
    pub fn partition(&self, number: i32) -> Option<Arc<Partition>> {
        self.partitions.read().get(usize::try_from(number).ok()?).cloned()
    }

    /// Where a record with this routing key goes (an empty one: spread over all).
    #[must_use]
    pub fn partition_for(&self, routing_key: &[u8]) -> Option<Arc<Partition>> {
        let partitions = self.partitions.read();
        let number = self.spread.partition(routing_key, u32::try_from(partitions.len()).ok()?);
        partitions.get(usize::try_from(number).ok()?).cloned()
    }

    /// Appends an AMQP message; durable with the ticket. `None`: the topic has no partitions.
    pub fn publish(&self, now_ms: i64, message: &mapping::Message) -> Option<Ticket> {
        let partition = self.partition_for(&message.routing_key)?;
        let record = mapping::Record::from_message(message);
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        Some(partition.publish(now_ms, record.key.as_deref(), record.value.as_deref(), headers))
    }

    fn definition(&self) -> Definition {
        Definition {
            vhost: self.vhost.clone(),
            name: self.name.to_string(),
            stream_arguments: self.stream_arguments.clone(),
            partitions: self.partitions.read().iter().map(|p| p.id).collect(),
            config: TopicConfig::clone(&self.config.read()),
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
