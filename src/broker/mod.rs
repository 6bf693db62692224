//! The core: exchanges, queues, topics, groups, keys. It knows no protocol, no socket and no clock of its own.
//!
//! Doors call it and give it an [`outlet::Outlet`] per connection; what must last goes to the store as Changes.

pub mod administration;
pub mod alarm;
pub mod arguments;
pub mod auth;
pub mod channels;
pub mod dead_letter;
pub mod deadlines;
pub mod definition;
pub mod events;
pub mod exchange;
pub mod group;
pub mod holding;
pub mod housekeeping;
pub mod keyspace;
pub mod list;
pub mod login;
pub mod message;
pub mod meters;
pub mod outlet;
pub mod parameters;
pub mod pattern;
pub mod policy;
pub mod profile;
pub mod publish;
pub mod queue;
pub mod quotas;
pub mod receipt;
pub mod recovery;
pub mod refusal;
pub mod registry;
pub mod reply;
pub mod routing;
pub mod stream;
mod super_stream;
pub mod topic;
pub mod topology;
pub mod trace;
pub mod txn;
pub mod vhost;
pub mod vhost_settings;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, RwLock};

use self::{
    alarm::Alarms,
    auth::Users,
    deadlines::Deadlines,
    events::Events,
    group::Groups,
    message::Blob,
    meters::Meters,
    profile::Profile,
    queue::{ConnectionId, ConsumerId, QueueId, Seq},
    quotas::Quotas,
    refusal::Refusal,
    registry::Connections,
    reply::Replies,
    topic::{Topics, followers::Followers},
    txn::{coordinator::Transactions, producer::ProducerIds},
    vhost::Vhost,
};
use crate::{
    clock::Clock,
    store::{Place, Store, Ticket},
};

/// What every part of the core needs.
pub struct Core {
    /// The RabbitMQ that we behave as.
    pub profile: &'static Profile,
    pub store: Store,
    pub clock: Clock,
    pub memory: Alarms,
    pub meters: Meters,
    pub ids: Ids,
    pub topics: Arc<Topics>,
    /// When queues, and what delayed exchanges hold, must be looked at.
    pub deadlines: Deadlines,
    /// Where reads of the log and other slow work run; without one (in simulation) they run at once.
    pub runtime: Option<tokio::runtime::Handle>,
    /// Channels that wait for direct replies.
    pub replies: Replies,
    /// What happens, told to whoever listens.
    pub events: Events,
    /// Jobs that producers wait for.
    pub followers: Followers,
}

impl Core {
    /// Reads batches back from the log and hands them over, in order.
    pub(crate) fn read(
        &self,
        places: Vec<(Seq, Option<Place>)>,
        then: impl FnOnce(Vec<ReadBack>) + Send + 'static,
    ) {
        let store = self.store.clone();
        let read = move || {
            let blob = |place: Place| match store.read(place) {
                Ok(bytes) => Blob::read(bytes, place),
                Err(error) => {
                    tracing::error!(%error, "a batch of messages cannot be read back");
                    None
                }
            };
            places
                .into_iter()
                .map(|(first, place)| ReadBack { first, place, blob: place.and_then(blob) })
                .collect()
        };
        match &self.runtime {
            None => then(read()),
            Some(runtime) => drop(runtime.spawn_blocking(move || then(read()))),
        }
    }
}

/// A run of messages read back from the log: `blob` is absent when it could not be.
pub(crate) struct ReadBack {
    pub first: Seq,
    pub place: Option<Place>,
    pub blob: Option<Arc<Blob>>,
}

/// Names that are given once. Queue ids are reserved in the store in blocks, and never given twice, even by a later
/// process; the others live as long as the process.
#[derive(Debug, Default)]
pub struct Ids {
    connection: AtomicU64,
    consumer: AtomicU64,
    queue: AtomicU64,
}

impl Ids {
    pub fn connection(&self) -> ConnectionId {
        ConnectionId(self.connection.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub fn consumer(&self) -> ConsumerId {
        ConsumerId(self.consumer.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub fn queue(&self) -> QueueId {
        QueueId(self.queue.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Queue ids up to and including `id` are taken.
    pub(crate) fn queues_taken(&self, id: QueueId) {
        self.queue.fetch_max(id.0, Ordering::Relaxed);
    }
}

/// The broker.
pub struct Broker {
    pub core: Arc<Core>,
    pub users: Arc<Users>,
    pub quotas: Quotas,
    pub connections: Connections,
    pub groups: Arc<Groups>,
    pub producer_ids: Arc<ProducerIds>,
    pub transactions: Arc<Transactions>,
    /// Random, made with the data directory.
    pub cluster_id: Arc<str>,
    vhosts: RwLock<Vec<Arc<Vhost>>>,
    /// They come and go one at a time.
    changing_vhosts: Mutex<()>,
    globals: RwLock<parameters::Globals>,
}

/// What must be durable before a request is answered; `None`: nothing.
pub type Pending = Option<Ticket>;

impl Broker {
    /// The vhost of that name.
    ///
    /// # Errors
    /// [`Refusal::NoVhost`].
    pub fn vhost(&self, name: &str) -> Result<Arc<Vhost>, Refusal> {
        let vhosts = self.vhosts.read();
        vhosts.iter().find(|v| *v.name == *name).cloned().ok_or_else(|| Refusal::NoVhost(name.to_owned()))
    }

    #[must_use]
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        self.vhosts.read().clone()
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
