//! Rebuilding the core from the store: topology first, then what the queues hold.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{
    Broker, Core, Ids,
    alarm::Alarms,
    auth::read_user,
    definition::{self, QUEUE_IDS_KEY, TargetKind},
    events::Events,
    exchange::{Binding, Target, history},
    group::{self, Groups},
    holding::{self, Holding},
    keyspace,
    meters::Meters,
    profile::Profile,
    queue::{Queue, QueueId, Seq, returns, runs},
    refusal::Refusal,
    reply::Replies,
    topic::{Topics, followers::Followers, tail::Budget, writes::Sweep},
    txn::{self, coordinator::Transactions, producer::ProducerIds},
    vhost::{Vhost, server_name},
    vhost_settings::{Metadata, VhostSettings},
};
use crate::{
    clock::Clock,
    data::value::Value,
    store::{Space, Store, StoreError},
};

/// Queue ids are reserved in blocks of this size.
const QUEUE_ID_BLOCK: u64 = 1 << 20;

/// Why the broker cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store holds a definition that cannot be read: {0}")]
    Definition(String),
    #[error("the store holds a definition that is refused: {0:?}")]
    Refused(Refusal),
}

/// What delayed exchanges hold, by its id.
type Holdings = HashMap<QueueId, Arc<Holding>>;

/// How to run the core.
#[derive(Debug)]
pub struct Settings {
    pub profile: &'static Profile,
    pub clock: Clock,
    pub memory_limit_bytes: usize,
    pub runtime: Option<tokio::runtime::Handle>,
    /// Bytes of recent record batches kept in memory, all partitions together.
    pub tail_bytes_max: usize,
    pub groups: group::Settings,
    pub producers: txn::Settings,
}

#[cfg(test)]
impl Settings {
    /// RabbitMQ 4.2's, without limits, on that clock.
    pub fn of_tests(clock: &Clock) -> Self {
        Self {
            profile: &super::profile::V4_2,
            clock: clock.clone(),
            memory_limit_bytes: usize::MAX >> 1,
            runtime: None,
            tail_bytes_max: usize::MAX,
            groups: group::Settings::default(),
            producers: txn::Settings::default(),
        }
    }
}

impl Broker {
    /// Rebuilds the broker from what the store holds; an empty store gives an empty broker with vhost `/`.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds makes no sense.
    pub fn recover(store: Store, settings: Settings) -> Result<Arc<Self>, RecoveryError> {
        let topics = Arc::new(Topics::recover(store.clone(), Budget::new(settings.tail_bytes_max))?);
        let now = settings.clock.now();
        let groups = Arc::new(Groups::recover(store.clone(), topics.clone(), settings.groups, now)?);
        let producer_ids = ProducerIds::recover(store.clone())?;
        let core = Arc::new(Core {
            profile: settings.profile,
            topics,
            store,
            clock: settings.clock,
            memory: Alarms::new(settings.memory_limit_bytes),
            meters: Meters::default(),
            ids: Ids::default(),
            deadlines: super::deadlines::Deadlines::default(),
            runtime: settings.runtime,
            replies: Replies::default(),
            events: Events::default(),
            followers: Followers::default(),
        });
        let cluster_id = cluster_id(&core.store)?;
        let transactions =
            Transactions::recover(core.clone(), groups.clone(), producer_ids.clone(), settings.producers)?;
        let broker = Self {
            core: core.clone(),
            users: Arc::default(),
            quotas: super::quotas::Quotas::default(),
            connections: super::registry::Connections::default(),
            groups,
            producer_ids,
            transactions,
            cluster_id,
            vhosts: parking_lot::RwLock::default(),
            changing_vhosts: parking_lot::Mutex::default(),
            globals: parking_lot::RwLock::default(),
        };
        broker.expire_producers(broker.core.clock.now_ms());
        broker.reserve_queue_ids()?;
        let holdings = broker.recover_vhosts()?;
        let queues = broker.recover_queues()?;
        broker.vhosts().iter().for_each(|vhost| drop(vhost.apply_policies()));
        broker.recover_messages(&queues)?;
        broker.recover_bindings()?;
        broker.recover_holdings(&holdings)?;
        keyspace::recover(&broker.core.store, &broker.vhosts())?.map_err(|key| unreadable(&key))?;
        if let Ok(vhost) = broker.vhost("/") {
            broker.core.events.open(&vhost);
        }
        broker.core.store.start_reclaiming();
        watch_heads(&broker.core, queues.into_values().collect());
        Ok(Arc::new(broker))
    }

    /// A clean end: the log learns exactly what was delivered, so that nothing else is flagged after the restart.
    pub fn note_delivered(&self) {
        for queue in self.vhosts().iter().flat_map(|vhost| vhost.queues()).filter(|queue| queue.survives()) {
            queue.note_delivered();
        }
    }

    fn reserve_queue_ids(&self) -> Result<(), RecoveryError> {
        let store = &self.core.store;
        let taken = store.get(Space::Meta, QUEUE_IDS_KEY)?;
        let taken = taken.and_then(|v| v[..].try_into().ok()).map_or(0, u64::from_be_bytes);
        self.core.ids.queues_taken(QueueId(taken));
        definition::put(store, QUEUE_IDS_KEY.to_vec(), (taken + QUEUE_ID_BLOCK).to_be_bytes().to_vec());
        Ok(())
    }

    fn recover_vhosts(&self) -> Result<Holdings, RecoveryError> {
        let mut holdings = Holdings::new();
        for (key, value) in self.core.store.scan(Space::Meta, b"V")? {
            let [name] = definition::read_names(&key).ok_or_else(|| unreadable(&key))?;
            let table = definition::read_table(&value).ok_or_else(|| unreadable(&key))?;
            let settings = VhostSettings::with(Metadata::from_table(&table));
            self.vhosts.write().push(Vhost::new(self.core.clone(), &name, settings));
        }
        if !self.is_seeded()? {
            self.add_vhost("/");
        }
        self.recover_users_and_parameters()?;
        for (key, value) in self.core.store.scan(Space::Meta, b"X")? {
            let [vhost, name] = definition::read_names(&key).ok_or_else(|| unreadable(&key))?;
            let options = definition::read_exchange(&value).ok_or_else(|| unreadable(&key))?;
            let id = match self.core.store.get(Space::Meta, &definition::holding_key(&vhost, &name))? {
                Some(id) => Some(definition::read_holding(&id).ok_or_else(|| unreadable(&key))?),
                None => None,
            };
            let vhost = self.vhost_named(&vhost);
            let holding = vhost.restore_exchange(&name, options, id).map_err(RecoveryError::Refused)?;
            holdings.extend(holding.map(|holding| (holding.id, holding)));
            self.recover_history(&vhost, &name)?;
        }
        Ok(holdings)
    }

    /// The vhost that a definition is of. One that is not there itself is made again: what was put into it may matter.
    fn vhost_named(&self, name: &str) -> Arc<Vhost> {
        self.vhost(name).unwrap_or_else(|_| {
            tracing::warn!(vhost = name, "a vhost is made again, as there are definitions of it");
            self.add_vhost(name).0
        })
    }

    /// The last messages of an exchange that keeps them.
    fn recover_history(&self, vhost: &Vhost, exchange: &str) -> Result<(), RecoveryError> {
        let exchange = vhost.find_exchange(exchange).filter(|_| self.core.profile.exchange_history_lasts);
        let Some((exchange, history)) = exchange.as_ref().and_then(|x| Some((x, x.history.as_ref()?))) else {
            return Ok(());
        };
        let prefix = definition::history_prefix(&vhost.name, &exchange.name);
        let found = self.core.store.scan(Space::Meta, &prefix)?;
        let read = |(key, value): &(Bytes, Bytes)| history::read(value).ok_or_else(|| unreadable(key));
        history.recover(&self.core.memory, found.iter().map(read).collect::<Result<_, _>>()?);
        Ok(())
    }

    /// What delayed exchanges hold; what exchanges held that are gone is dropped.
    fn recover_holdings(&self, holdings: &Holdings) -> Result<(), RecoveryError> {
        let store = &self.core.store;
        let mut orphans = Sweep::new(store);
        let mut found: Result<(), RecoveryError> = Ok(());
        // There may be millions of them.
        store.scan_each(Space::Index, b"y", &mut |key, value| match holding::read_entry(key, value) {
            None => found = Err(unreadable(key)),
            Some((id, due, place)) => match holdings.get(&id) {
                Some(holding) => {
                    store.retain(place);
                    holding.recover(due, place);
                }
                None => orphans.delete(Space::Index, key.to_vec()),
            },
        })?;
        found?;
        holdings.values().for_each(Holding::recovered);
        Ok(())
    }

    fn recover_users_and_parameters(&self) -> Result<(), RecoveryError> {
        let store = &self.core.store;
        for (key, value) in store.scan(Space::Meta, b"U")? {
            let [name] = definition::read_names(&key).ok_or_else(|| unreadable(&key))?;
            let user = definition::read_table(&value).and_then(|table| read_user(&name, &table));
            self.users.put(user.ok_or_else(|| unreadable(&key))?);
        }
        for (key, value) in store.scan(Space::Meta, b"L")? {
            if !self.quotas.recover(&key, &value) {
                return Err(unreadable(&key));
            }
        }
        for (key, value) in store.scan(Space::Meta, b"G")? {
            let [name] = definition::read_names(&key).ok_or_else(|| unreadable(&key))?;
            let table = definition::read_table(&value).ok_or_else(|| unreadable(&key))?;
            let value = table.field("value").cloned().unwrap_or(Value::Void);
            self.globals.write().insert(name, value);
        }
        for (key, value) in store.scan(Space::Meta, b"R")? {
            let [vhost, component, name] = definition::read_names(&key).ok_or_else(|| unreadable(&key))?;
            let table = definition::read_table(&value).ok_or_else(|| unreadable(&key))?;
            let value = table.field("value").cloned().unwrap_or(Value::Void);
            let vhost = self.vhost_named(&vhost);
            if !vhost.restore_parameter(&component, &name, &value) {
                tracing::warn!(
                    component,
                    name,
                    "a parameter that makes no sense to this version is left alone"
                );
            }
        }
        Ok(())
    }

    fn recover_queues(&self) -> Result<HashMap<QueueId, Arc<Queue>>, RecoveryError> {
        let mut queues = HashMap::new();
        for (key, value) in self.core.store.scan(Space::Meta, b"Q")? {
            let [vhost, name] = definition::read_names(&key).ok_or_else(|| unreadable(&key))?;
            let (id, options) = definition::read_queue(&value).ok_or_else(|| unreadable(&key))?;
            let vhost = self.vhost_named(&vhost);
            queues.insert(id, vhost.restore_queue(id, &name, options));
        }
        Ok(queues)
    }

    fn recover_messages(&self, queues: &HashMap<QueueId, Arc<Queue>>) -> Result<(), RecoveryError> {
        let store = &self.core.store;
        let mut orphans = Sweep::new(store);
        for (key, value) in store.scan(Space::State, b"d")? {
            let id = id_at(&key, 1).ok_or_else(|| unreadable(&key))?;
            let below = id_at(&value, 0).ok_or_else(|| unreadable(&key))?;
            match queues.get(&QueueId(id)) {
                Some(queue) => queue.with_state(|state| state.recover_delivered(Seq(below))),
                None => orphans.delete(Space::State, key.to_vec()),
            }
        }
        for (key, value) in store.scan(Space::State, returns::PREFIX)? {
            let (id, seq, noted) = returns::read(&key, &value).ok_or_else(|| unreadable(&key))?;
            match queues.get(&id) {
                Some(queue) => queue.with_state(|state| state.recover_noted(seq, noted)),
                None => orphans.delete(Space::State, key.to_vec()),
            }
        }
        let mut found: Result<(), RecoveryError> = Ok(());
        let mut recover = |key: &[u8], value: &[u8]| {
            let (id, first) = id_at(key, 1).zip(id_at(key, 9)).ok_or_else(|| unreadable(key))?;
            let run = runs::Run::decode(Seq(first), value).ok_or_else(|| unreadable(key))?;
            match queues.get(&QueueId(id)) {
                Some(queue) => {
                    run.place.into_iter().for_each(|place| store.retain(place));
                    queue.with_state(|state| state.recover_run(run));
                }
                None => orphans.delete(Space::Index, key.to_vec()),
            }
            Ok(())
        };
        // There may be millions of them.
        store.scan_each(Space::Index, b"q", &mut |key, value| {
            if found.is_ok() {
                found = recover(key, value);
            }
        })?;
        found?;
        Ok(())
    }

    fn recover_bindings(&self) -> Result<(), RecoveryError> {
        let mut dangling = Sweep::new(&self.core.store);
        for (key, _) in self.core.store.scan(Space::Meta, b"B")? {
            let stored = definition::read_binding(&key).ok_or_else(|| unreadable(&key))?;
            let vhost = self.vhost_named(&stored.vhost);
            let target = match stored.kind {
                TargetKind::Exchange => vhost.find_exchange(&stored.target).map(Target::Exchange),
                TargetKind::Queue => vhost.find_queue(&stored.target).map(Target::Queue),
                TargetKind::Topic => vhost.find_stream(&stored.target).map(Target::Topic),
            };
            let (Some(target), Some(_)) = (target, vhost.find_exchange(&stored.source)) else {
                // One end was deleted and this was not: nothing can come through it, and nobody should be kept from
                // starting by it.
                tracing::warn!(
                    source = stored.source,
                    target = stored.target,
                    "a binding of nothing is dropped"
                );
                dangling.delete(Space::Meta, key.to_vec());
                continue;
            };
            let routing_key = stored.routing_key.into();
            let binding = Binding { target, routing_key, arguments: stored.arguments };
            vhost.restore_binding(&stored.source, binding).map_err(RecoveryError::Refused)?;
        }
        Ok(())
    }
}

/// Lets every queue's oldest message expire in its time, though nobody asks for it. One queue after the other, beside
/// whatever else begins.
fn watch_heads(core: &Core, queues: Vec<Arc<Queue>>) {
    let look = move || queues.iter().for_each(Queue::look_at_paged_head);
    match &core.runtime {
        None => look(),
        Some(runtime) => drop(runtime.spawn_blocking(look)),
    }
}

/// The cluster's id, made once. Kafka's form: 16 random bytes as URL-safe base64.
fn cluster_id(store: &Store) -> Result<Arc<str>, StoreError> {
    if let Some(id) = store.get(Space::Meta, definition::CLUSTER_ID_KEY)? {
        return Ok(String::from_utf8_lossy(&id).into());
    }
    let id = server_name("");
    definition::put(store, definition::CLUSTER_ID_KEY.to_vec(), id.clone().into_bytes());
    Ok(id.into())
}

fn unreadable(key: &[u8]) -> RecoveryError {
    RecoveryError::Definition(String::from_utf8_lossy(key).escape_debug().to_string())
}

fn id_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
