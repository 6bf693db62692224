//! The table of topics of all vhosts: making, finding, deleting, recovering, and the regular housekeeping.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    Offset, PartitionId, Topic, VhostName,
    config::TopicConfig,
    defaults::TopicDefaults,
    definition::Definition,
    entry::Entry,
    keys,
    partition::{Partition, SharedConfig, State},
    partitioner::Spread,
    tail::Budget,
    writes::{Outcome, Writes},
};
use crate::{
    data::value::Table,
    store::{Space, Store, StoreError, Ticket},
};

/// All topics.
pub struct Topics {
    tables: RwLock<Tables>,
    /// Makes one definition change at a time, in the order of the log. Locked before `tables`.
    pub(super) changing: Mutex<NextPartitionId>,
    pub(super) store: Store,
    pub(super) defaults: RwLock<Arc<TopicDefaults>>,
    budget: Arc<Budget>,
    cleaner: Arc<Notify>,
}

#[derive(Default)]
struct Tables {
    by_name: HashMap<VhostName, HashMap<Arc<str>, Arc<Topic>>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
    /// Rises when a topic comes or goes.
    version: u64,
}

pub(super) struct NextPartitionId(u64);

/// Why a topic cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateRefused {
    #[error("Topic '{0}' already exists.")]
    TopicAlreadyExists(String),
    #[error("Number of partitions must be between 1 and {PARTITIONS_MAX}.")]
    InvalidPartitions,
    #[error("{0}")]
    InvalidTopic(String),
}

/// Why a topic does not get more partitions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrowRefused {
    #[error("Topic already has {0} partition(s).")]
    Already(usize),
    #[error("The topic {name} currently has {now} partition(s); {asked} would not be an increase.")]
    Fewer { name: String, now: usize, asked: i64 },
    #[error("A topic has at most {PARTITIONS_MAX} partitions.")]
    TooMany,
    #[error("The topic {0} was declared over AMQP as a stream, which is one partition.")]
    Stream(String),
    #[error("This server does not host this topic-partition.")]
    Gone,
}

/// Whether a topic may have that many partitions.
///
/// # Errors
/// Why not.
pub fn check_growth(topic: &Topic, now: usize, asked: i64) -> Result<(), GrowRefused> {
    let have = i64::try_from(now).unwrap_or(i64::MAX);
    if asked == have {
        Err(GrowRefused::Already(now))
    } else if asked < have {
        Err(GrowRefused::Fewer { name: topic.name.to_string(), now, asked })
    } else if asked > i64::from(PARTITIONS_MAX) {
        Err(GrowRefused::TooMany)
    } else if topic.stream_arguments.is_some() {
        Err(GrowRefused::Stream(topic.name.to_string()))
    } else {
        Ok(())
    }
}

/// Partitions of one topic.
pub const PARTITIONS_MAX: u32 = 10_000;

/// Kafka's rules for a topic's name (AMQP streams have none).
pub fn check_kafka_name(name: &str) -> Result<(), CreateRefused> {
    let refuse = |why: String| Err(CreateRefused::InvalidTopic(format!("Topic name is invalid: {why}")));
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        refuse("the empty string is not allowed".to_owned())
    } else if matches!(name, "." | "..") {
        refuse(format!("'{name}' is not allowed"))
    } else if name.len() > 249 {
        refuse(format!("the length of '{name}' is longer than the max allowed length 249"))
    } else if !name.chars().all(legal) {
        refuse(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ))
    } else {
        Ok(())
    }
}

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct NewTopic {
    pub vhost: VhostName,
    pub name: String,
    pub partitions: u32,
    pub config: TopicConfig,
    pub stream_arguments: Option<Table>,
    /// Random, from outside.
    pub id: Uuid,
}

impl Topics {
    fn open_partition(
        &self,
        id: PartitionId,
        number: i32,
        config: SharedConfig,
        state: State,
    ) -> Arc<Partition> {
        let (store, budget, cleaner) = (self.store.clone(), self.budget.clone(), self.cleaner.clone());
        Partition::new(id, number, config, store, budget, cleaner, state)
    }

    /// Rebuilds every topic from its definition and index; reads no chunk.
    pub fn recover(store: Store, budget: Arc<Budget>) -> Result<Self, StoreError> {
        let value = store.get(Space::Meta, keys::NEXT_PARTITION_ID)?;
        let next = value.and_then(|v| v.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        let topics = Self {
            tables: RwLock::default(),
            changing: Mutex::new(NextPartitionId(next)),
            store,
            defaults: RwLock::default(),
            budget,
            cleaner: Arc::default(),
        };
        topics.recover_defaults()?;
        for (key, value) in topics.store.scan(Space::Meta, keys::TOPICS)? {
            let id = key.strip_prefix(keys::TOPICS).and_then(|id| Uuid::from_slice(id).ok());
            let (Some(id), Some(definition)) = (id, Definition::decode(&value)) else { continue };
            let topic = topics.rebuild(id, definition)?;
            topics.tables.write().insert(topic);
        }
        for (key, _) in topics.store.scan(Space::Meta, keys::DROPPED_PARTITIONS)? {
            let Some(id) = keys::parse_dropped_partition(&key) else { continue };
            topics.recover_partition(id, 0, SharedConfig::default())?.drop_entries();
        }
        Ok(topics)
    }

    fn rebuild(&self, id: Uuid, definition: Definition) -> Result<Arc<Topic>, StoreError> {
        let config = self.over_defaults(&definition.config, definition.stream_arguments.as_ref());
        let config = Arc::new(RwLock::new(Arc::new(config)));
        let mut partitions = Vec::with_capacity(definition.partitions.len());
        for (partition, number) in definition.partitions.iter().zip(0..) {
            partitions.push(self.recover_partition(*partition, number, config.clone())?);
        }
        Ok(Arc::new(Topic {
            applied: Default::default(),
            is_partition: false,
            id,
            name: definition.name.into(),
            vhost: definition.vhost,
            partitions: RwLock::new(partitions.into()),
            stream_arguments: definition.stream_arguments,
            config,
            spread: Spread::default(),
        }))
    }

    fn recover_partition(
        &self,
        id: PartitionId,
        number: i32,
        config: SharedConfig,
    ) -> Result<Arc<Partition>, StoreError> {
        let mut state = State::new(self.budget.clone());
        let value = self.store.get(Space::State, &keys::log_start(id))?;
        let log_start = value.and_then(|v| v.as_ref().try_into().ok()).map_or(0, i64::from_be_bytes);
        (state.log_start, state.next_log_start) = (Offset(log_start), Offset(log_start));
        let clean_to = self.store.get(Space::State, &keys::clean_to(id))?;
        state.cleaning.clean_to =
            Offset(clean_to.and_then(|v| v.as_ref().try_into().ok()).map_or(0, i64::from_be_bytes));
        for (key, value) in self.store.scan(Space::State, &keys::producers(id))? {
            if !keys::parse_producer_id(&key).is_some_and(|id| state.producers.recover_saved(id, &value)) {
                tracing::warn!(partition = number, "a producer cannot be read back");
            }
        }
        let segment_limits = config.read().segment_limits();
        // There may be millions of them.
        self.store.scan_each(Space::Index, &keys::batches(id), &mut |key, value| {
            let decode = |base| Entry::decode(base, &Bytes::copy_from_slice(value));
            let Some((entry, producers)) = keys::parse_batch_base(key).and_then(decode) else { return };
            self.store.retain(entry.place);
            state.index.push(entry);
            state.newest.on_appended(&entry, segment_limits);
            for produced in producers {
                state.producers.recover(produced);
                state.transactions.on_committed(&produced);
            }
        })?;
        let end = state.index.last().map_or(0, |e| e.last().0 + 1).max(log_start);
        (state.log_end, state.high_watermark) = (Offset(end), Offset(end));
        state.transactions.remove_before(Offset(log_start));
        state.find_last_stable_offset();
        let partition = self.open_partition(id, number, config, state);
        partition.finish_trim();
        Ok(partition)
    }

    /// Makes a topic. It can be used at once; it is durable with the ticket, and with it what was appended since.
    pub fn create(&self, new: NewTopic) -> Result<(Arc<Topic>, Ticket), CreateRefused> {
        if new.partitions == 0 || new.partitions > PARTITIONS_MAX {
            return Err(CreateRefused::InvalidPartitions);
        }
        let mut next = self.changing.lock();
        if self.find(&new.vhost, &new.name).is_some() {
            return Err(CreateRefused::TopicAlreadyExists(new.name));
        }
        let config = self.over_defaults(&new.config, new.stream_arguments.as_ref());
        let config = Arc::new(RwLock::new(Arc::new(config)));
        let partition = |number: u32| {
            let id = PartitionId(next.0 + u64::from(number));
            let state = State::new(self.budget.clone());
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            self.open_partition(id, number, config.clone(), state)
        };
        let topic = Arc::new(Topic {
            applied: Default::default(),
            is_partition: false,
            id: new.id,
            name: new.name.into(),
            vhost: new.vhost,
            partitions: RwLock::new((0..new.partitions).map(partition).collect()),
            stream_arguments: new.stream_arguments,
            config: config.clone(),
            spread: Spread::default(),
        });
        next.0 += u64::from(new.partitions);
        let mut writes = Writes::default();
        writes.put(Space::Meta, keys::NEXT_PARTITION_ID.to_vec(), next.0.to_be_bytes().to_vec());
        writes.put(Space::Meta, keys::topic(topic.id), topic.definition().encode());
        let ticket = writes.submit(&self.store, drop);
        self.tables.write().insert(topic.clone());
        Ok((topic, ticket))
    }

    /// Deletes a topic: nobody finds it any more; what is on its way to it is refused; its space is given back.
    pub fn delete(&self, topic: &Arc<Topic>) -> Option<Ticket> {
        let _changing = self.changing.lock();
        if !self.tables.write().remove(topic) {
            return None;
        }
        let mut writes = Writes::default();
        writes.delete(Space::Meta, keys::topic(topic.id));
        for partition in topic.partitions().iter() {
            writes.put(Space::Meta, keys::dropped_partition(partition.id), Vec::new());
            partition.close();
        }
        let partitions = topic.partitions();
        let ticket = writes.submit(&self.store, move |outcome: Outcome| {
            if outcome.is_ok() {
                partitions.iter().for_each(|p| p.drop_entries());
            }
        });
        Some(ticket)
    }

    /// Gives a topic more partitions, `count` in all. They can be used at once, and are durable with the ticket.
    ///
    /// # Errors
    /// When that would be no increase, or the topic is not there any more.
    pub fn add_partitions(&self, topic: &Arc<Topic>, count: u32) -> Result<Ticket, GrowRefused> {
        let mut next = self.changing.lock();
        if self.by_id(topic.id).is_none() {
            return Err(GrowRefused::Gone);
        }
        let mut partitions = topic.partitions().to_vec();
        check_growth(topic, partitions.len(), count.into())?;
        let first = next.0;
        for number in u32::try_from(partitions.len()).unwrap_or(u32::MAX)..count {
            let state = State::new(self.budget.clone());
            let (id, config) = (PartitionId(next.0), topic.config.clone());
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            partitions.push(self.open_partition(id, number, config, state));
            next.0 += 1;
        }
        tracing::info!(topic = %topic.name, partitions = count, added = next.0 - first, "has more partitions");
        *topic.partitions.write() = partitions.into();
        let mut writes = Writes::default();
        writes.put(Space::Meta, keys::NEXT_PARTITION_ID.to_vec(), next.0.to_be_bytes().to_vec());
        writes.put(Space::Meta, keys::topic(topic.id), topic.definition().encode());
        Ok(writes.submit(&self.store, drop))
    }

    /// Replaces a topic's configuration by what `change` makes of it; nothing in between is lost.
    ///
    /// # Errors
    /// What `change` refuses.
    pub fn alter_config<E>(
        &self,
        topic: &Arc<Topic>,
        change: impl FnOnce(&TopicConfig) -> Result<TopicConfig, E>,
    ) -> Result<Ticket, E> {
        let _changing = self.changing.lock();
        let config = change(&topic.config())?;
        let config = self.over_defaults(&config, topic.stream_arguments.as_ref());
        *topic.config.write() = Arc::new(topic.limited(&config));
        let mut writes = Writes::default();
        // A deleted topic must not come back.
        if self.by_id(topic.id).is_some() {
            writes.put(Space::Meta, keys::topic(topic.id), topic.definition().encode());
        }
        Ok(writes.submit(&self.store, drop))
    }

    /// A topic's configuration with what the broker's configs say beside it; a stream of AMQP has it all itself.
    fn over_defaults(&self, config: &TopicConfig, stream_arguments: Option<&Table>) -> TopicConfig {
        if stream_arguments.is_some() { config.clone() } else { config.over(&self.defaults()) }
    }

    #[must_use]
    pub fn find(&self, vhost: &VhostName, name: &str) -> Option<Arc<Topic>> {
        self.tables.read().by_name.get(vhost)?.get(name).cloned()
    }

    /// A topic whose name is the same but for dots and underscores, which metrics do not tell apart.
    #[must_use]
    pub fn colliding(&self, vhost: &VhostName, name: &str) -> Option<Arc<str>> {
        if !name.contains(['.', '_']) {
            return None;
        }
        let (plain, tables) = (name.replace('.', "_"), self.tables.read());
        tables.by_name.get(vhost)?.keys().find(|other| other.replace('.', "_") == plain).cloned()
    }

    #[must_use]
    pub fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.tables.read().by_id.get(&id).cloned()
    }

    /// Changes whenever a topic comes or goes.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.tables.read().version
    }

    /// All topics of a vhost, by name.
    #[must_use]
    pub fn list(&self, vhost: &VhostName) -> Vec<Arc<Topic>> {
        let mut all: Vec<Arc<Topic>> =
            self.tables.read().by_name.get(vhost).map(|t| t.values().cloned().collect()).unwrap_or_default();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Moves every batch out of a mostly dead segment ([`Store::sparse_segments`]). Blocks while it reads.
    ///
    /// # Errors
    /// When a batch cannot be read.
    pub fn move_out_of(&self, segment: u32) -> Result<usize, StoreError> {
        self.all().iter().map(|partition| partition.move_out_of(segment)).sum()
    }

    /// Partitions whose topic is compacted.
    #[must_use]
    pub fn compacted(&self) -> Vec<Arc<Partition>> {
        let tables = self.tables.read();
        let topics = tables.by_id.values().filter(|t| t.config.read().cleanup.compact);
        topics.flat_map(|t| t.partitions().to_vec()).collect()
    }

    /// Returns when there may be something to compact that was not there before.
    pub async fn compactable(&self) {
        self.cleaner.notified().await;
    }

    /// The regular run (`log.retention.check.interval.ms`): retention.
    pub fn on_housekeeping(&self, now_ms: i64) {
        for partition in self.all() {
            partition.enforce_retention(now_ms);
        }
    }

    /// Forgets producers that have written nothing after `before_ms`.
    pub fn expire_producers(&self, before_ms: i64) {
        self.all().iter().for_each(|partition| partition.expire_producers(before_ms));
    }

    pub(super) fn every_topic(&self) -> Vec<Arc<Topic>> {
        self.tables.read().by_id.values().cloned().collect()
    }

    fn all(&self) -> Vec<Arc<Partition>> {
        let tables = self.tables.read();
        tables.by_id.values().flat_map(|topic| topic.partitions().to_vec()).collect()
    }
}

impl Tables {
    fn insert(&mut self, topic: Arc<Topic>) {
        self.version += 1;
        self.by_id.insert(topic.id, topic.clone());
        self.by_name.entry(topic.vhost.clone()).or_default().insert(topic.name.clone(), topic);
    }

    fn remove(&mut self, topic: &Topic) -> bool {
        self.version += 1;
        let known = self.by_id.remove(&topic.id).is_some();
        if known && let Some(names) = self.by_name.get_mut(&topic.vhost) {
            names.remove(&topic.name);
        }
        known
    }
}

impl Partition {
    /// The topic is being deleted: nothing more goes in, nothing comes out, and whoever waits looks again.
    fn close(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.gone = true;
            state.tail.clear();
            state.waiters.take_all()
        };
        waiting.iter().for_each(|w| w.fire());
    }
}
