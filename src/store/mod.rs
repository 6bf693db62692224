//! Durability: a commit log of our own, with fjall behind it as a lazily written checkpoint.
//!
//! Durable work is a [`Change`], put into the committer's inbox while the lock of what it changes is held. The
//! committer alone takes Changes out, in order, forms a turn, writes it as one frame, syncs once, and then tells
//! each Change.
//!
//! ```text
//!  submit ──▶ inbox ──▶ committer ──frame──▶ log (segments)         read ◀── log
//!                          │  └─▶ dirty map ──checkpoint──▶ fjall   get, scan ◀── dirty map, fjall
//!                          └─▶ committed(), durable_to
//! ```
//!
//! What the broker owes: `retain` for every index entry that points at a chunk, first for all at recovery, then
//! [`Store::start_reclaiming`]; `release` when the Change that removed the entry is committed, never before.

mod background;
mod bell;
mod catalog;
mod checkpoint;
mod chunks;
mod committer;
mod dirty;
mod disk;
mod error;
mod frame;
mod inbox;
mod journal;
pub mod key;
mod log;
mod manual;
mod open;
mod options;
mod pool;
mod reclaim;
mod recovery;
mod shared;
mod stats;
mod turn;
mod version;

#[cfg(test)]
mod tests;

use std::{
    any::Any,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;

pub use bell::{Together, wake};
pub use error::{OpenError, StoreError};
pub use manual::Image;
pub use options::{Durability, Options};
pub use reclaim::SparseSegment;
pub use recovery::Recovered;
pub use stats::Stats;
pub use turn::Turn;

use open::Handle;
use shared::Shared;

/// The three keyspaces: definitions; where chunks lie; offsets, producers, groups and jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    Meta,
    Index,
    State,
}

impl Space {
    const ALL: [Self; 3] = [Self::Meta, Self::Index, Self::State];

    /// As frames call it.
    fn number(self) -> u8 {
        match self {
            Self::Meta => 0,
            Self::Index => 1,
            Self::State => 2,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|space| space.number() == number)
    }
}

/// Where a chunk lies in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub segment: u32,
    pub offset: u32,
    pub len: u32,
}

/// The number of a Change in the order of the inbox. All Changes up to [`Store::durable_to`] are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// One atomic piece of durable work.
pub trait Change: Any + Send {
    /// An upper bound of what `stage` adds to the turn, in bytes (chunks, keys and values).
    fn bytes_max(&self) -> usize;

    /// Whether it may wait some milliseconds for others before a turn is made for it: nobody is waiting for it. It keeps
    /// its place in the order all the same.
    fn lazy(&self) -> bool {
        false
    }

    /// Takes in the Change that comes next in the order and would go into the same turn, if they are better written as
    /// one; gives it back otherwise. Runs on the committer's thread, before `stage`. Its `bytes_max` is added to ours.
    fn join(&mut self, next: Box<dyn Change>) -> Option<Box<dyn Change>> {
        Some(next)
    }

    /// Writes itself into the turn. Runs on the committer's thread, in the order of the inbox.
    fn stage(&mut self, turn: &mut Turn);

    /// The turn is durable (as the store's durability setting means it). Runs on the committer's thread, in order;
    /// it must not wait for anything.
    fn committed(self: Box<Self>);

    /// The store is poisoned or closed: this Change will never be durable. Runs on the committer's thread.
    fn refused(self: Box<Self>, error: &StoreError);
}

/// A handle on the store; clones share it. When the last one is dropped without [`Store::close`], what was not
/// committed is refused, and the next start recovers as after a crash.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

impl Store {
    /// Opens a data directory, or makes a new one (`Durability::None`: a store in memory, and the directory is not
    /// touched), and starts the store's threads.
    ///
    /// # Errors
    /// When the directory is not ours, of a newer format, in use, or damaged.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(open::open(options)?)))
    }

    /// What recovery found when the store was opened.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.0.recovered
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Puts a Change into the committer's inbox. Never waits.
    pub fn submit(&self, change: Box<dyn Change>) -> Ticket {
        self.shared().inbox.push(change)
    }

    /// The last ticket that was given.
    #[must_use]
    pub fn submitted_to(&self) -> Ticket {
        self.shared().inbox.last()
    }

    /// The last ticket of a Change that somebody may wait for: what is lazy does not count.
    #[must_use]
    pub fn promised_to(&self) -> Ticket {
        self.shared().inbox.last_prompt()
    }

    /// The last durable Change.
    #[must_use]
    pub fn durable_to(&self) -> Ticket {
        self.shared().waiters.durable_to()
    }

    /// Waits until that Change is durable.
    ///
    /// # Errors
    /// When the store was poisoned or closed before.
    pub async fn durable(&self, ticket: Ticket) -> Result<(), StoreError> {
        if self.durable_to() < ticket {
            self.shared().inbox.urge();
        }
        self.shared().waiters.durable(ticket).await
    }

    /// Tasks that a turn wakes by [`wake`] are woken from inside this runtime.
    ///
    /// # Errors
    /// When there is no file descriptor left.
    pub fn ring_in(&self, runtime: &tokio::runtime::Handle) -> std::io::Result<()> {
        self.shared().bell.listen(runtime)
    }

    /// Whether the inbox is over its limit: publishers are not read until it is not.
    #[must_use]
    pub fn congested(&self) -> bool {
        self.shared().inbox.congested()
    }

    /// Waits until the inbox is no longer over its limit.
    pub async fn relieved(&self) {
        self.shared().inbox.relieved().await;
    }

    /// Whether the disk has no room, so that nothing is confirmed at present. Nothing is lost either.
    #[must_use]
    pub fn full(&self) -> bool {
        self.shared().is_full()
    }

    /// The failed sync after which nothing is confirmed any more.
    #[must_use]
    pub fn poisoned(&self) -> Option<&StoreError> {
        self.shared().poisoned()
    }

    /// What `durability` the store gives.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.shared().options.durability
    }

    /// Reads a chunk and checks its checksum. Blocks: call it on a reader thread ([`Store::read_async`]).
    ///
    /// # Errors
    /// When the place is not one, or its bytes are damaged.
    pub fn read(&self, place: Place) -> Result<Bytes, StoreError> {
        match &self.shared().pool {
            Some(pool) => log::read(pool, place),
            None => self.shared().chunks.read(place),
        }
    }

    /// Reads a chunk on a reader thread.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn read_async(&self, place: Place) -> Result<Bytes, StoreError> {
        self.read_all(vec![place]).await.pop().unwrap_or(Err(StoreError::Closed))
    }

    /// Reads chunks on a reader thread, as [`Store::read`] does each; in the order of `places`.
    pub async fn read_all(&self, places: Vec<Place>) -> Vec<Result<Bytes, StoreError>> {
        if places.is_empty() {
            return Vec::new();
        }
        let shared = self.shared().clone();
        let read = move |places: &[Place]| match &shared.pool {
            Some(pool) => log::read_all(pool, places),
            None => places.iter().map(|place| shared.chunks.read(*place)).collect(),
        };
        if !self.0.reads_block || tokio::runtime::Handle::try_current().is_err() {
            return read(&places);
        }
        let wanted = places.clone();
        let done = tokio::task::spawn_blocking(move || read(&wanted)).await;
        done.unwrap_or_else(|e| {
            let failed = |place| Err(StoreError::Read { place, reason: e.to_string() });
            places.into_iter().map(failed).collect()
        })
    }

    /// One more index entry points at this chunk. Called for each at recovery, and when an entry is made.
    pub fn retain(&self, place: Place) {
        reclaim::retain(self.shared(), place);
    }

    /// One index entry less points at this chunk.
    pub fn release(&self, place: Place) {
        reclaim::release(self.shared(), place);
    }

    /// Every index entry found at recovery has been counted by [`Store::retain`]: what nothing points at may be used
    /// again from now on. Until this is called no segment is recycled.
    pub fn start_reclaiming(&self) {
        self.shared().reclaiming.store(true, Ordering::Release);
        self.shared().signal.freed();
    }

    /// Segments that live to less than a fifth, the sparsest first: move their chunks by ordinary Changes.
    #[must_use]
    pub fn sparse_segments(&self) -> Vec<SparseSegment> {
        reclaim::sparse(self.shared(), self.shared().options.sparse_percent)
    }

    /// The value of a key: dirty map, then fjall.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        // Bound before the match, so that the lock is not held while fjall is asked.
        let dirty = self.shared().dirty.lock().get(space, key);
        match dirty {
            Some(value) => Ok(value),
            None => self.shared().catalog.read().get(space, key).map_err(StoreError::Catalog),
        }
    }

    /// All keys that begin with `prefix`, in order, at recovery or for administration.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn scan(&self, space: Space, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let dirty = self.shared().dirty.lock().scan(space, prefix);
        let mut found = self.shared().catalog.read().scan(space, prefix).map_err(StoreError::Catalog)?;
        for (key, value) in dirty {
            match value {
                Some(value) => found.insert(key, value),
                None => found.remove(&key),
            };
        }
        Ok(found.into_iter().collect())
    }

    /// Calls `each` with all keys that begin with `prefix`, in order, and their values; holds few of them at once.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn scan_each(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let mut dirty = self.shared().dirty.lock().scan(space, prefix).into_iter().peekable();
        let mut known = |key: &[u8], value: &[u8]| {
            while let Some((key, value)) = dirty.next_if(|(other, _)| other[..] < *key) {
                value.inspect(|value| each(&key, value));
            }
            match dirty.next_if(|(other, _)| other[..] == *key) {
                Some((_, newer)) => drop(newer.inspect(|value| each(key, value))),
                None => each(key, value),
            }
        };
        let scanned = self.shared().catalog.read().scan_each(space, prefix, &mut known);
        scanned.map_err(StoreError::Catalog)?;
        dirty.for_each(|(key, value)| drop(value.inspect(|value| each(&key, value))));
        Ok(())
    }

    /// Counts and times, for metrics and tests.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(self.shared())
    }

    /// Writes a last checkpoint. Changes that are submitted later are refused; reads go on.
    ///
    /// # Errors
    /// When the checkpoint failed; the next start then replays the log.
    pub async fn close(&self) -> Result<(), StoreError> {
        let all = self.submitted_to();
        // A poisoned store has nothing to wait for.
        let waited = self.durable(all).await;
        self.shared().close();
        let shared = self.shared().clone();
        let work = move || checkpoint::run(&shared, true).map(|_| ()).map_err(StoreError::Catalog);
        if self.shared().pool.is_none() {
            return waited;
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed))?;
        } else {
            work()?;
        }
        waited
    }
}
