//! The transaction coordinator: the table of transactional ids, and the shell around the machine in `transaction.rs`.
//!
//! One lock over the table; what changes goes into the committer's inbox under it, so that the order of the log is the
//! order in which it was decided. The end of a transaction is one Change: markers in all its partitions, the offsets
//! of its groups, and its record. It is there whole after a crash, or not at all, and there is nothing to finish.
//! (KIP-98, KIP-360, KIP-890.)

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::{
    Settings,
    producer::{ProducerIdentity, ProducerIds},
    transaction::{Ending, PendingOffsets, State, Step, Transaction, TxnError},
};
use crate::{
    broker::{
        Core,
        group::{
            GroupKey, Groups,
            offsets::{Committed, TopicPartition},
        },
        topic::{
            VhostName,
            append::{Checked, append_all, append_markers},
            keys,
            partition::Partition,
            writes::DELTA_OVERHEAD_BYTES,
        },
    },
    data::record::{BatchBuilder, ControlType, Producer},
    store::{Space, StoreError, Turn},
};

/// A transactional id in its vhost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionalId {
    pub vhost: VhostName,
    pub id: Arc<str>,
}

/// All transactional ids.
pub struct Transactions {
    table: Mutex<Table>,
    core: Arc<Core>,
    groups: Arc<Groups>,
    ids: Arc<ProducerIds>,
    pub settings: Settings,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<TransactionalId, Entry>,
    /// When open transactions will have taken too long.
    deadlines: BTreeSet<(i64, TransactionalId)>,
    /// Offsets that open transactions will commit, and how many of them each.
    pending: HashMap<GroupKey, HashMap<TopicPartition, usize>>,
}

struct Entry {
    transaction: Transaction,
    /// A change that must be on disk before the next request is heard.
    under_way: bool,
}

/// DescribeTransactions and ListTransactions.
#[derive(Debug, Clone)]
pub struct Description {
    pub id: Arc<str>,
    pub transaction: Transaction,
}

type Outcome<T> = Result<T, TxnError>;
/// Offsets of one group.
type GroupOffsets = Vec<(TopicPartition, Committed)>;

impl Transactions {
    /// Rebuilds all transactional ids; open transactions go on, with the deadlines they had.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn recover(
        core: Arc<Core>,
        groups: Arc<Groups>,
        ids: Arc<ProducerIds>,
        settings: Settings,
    ) -> Result<Arc<Self>, StoreError> {
        let mut table = Table::default();
        for (key, value) in core.store.scan(Space::State, keys::TRANSACTIONS)? {
            let (Some(key), Some(transaction)) = (keys::parse_transaction(&key), Transaction::decode(&value))
            else {
                continue;
            };
            if let State::Ongoing(ongoing) = &transaction.state {
                let partitions = ongoing.partitions.iter().filter_map(|at| partition(&core, *at));
                partitions.for_each(|partition| partition.add_to_transaction(transaction.producer));
                table.add_pending(&key.vhost, &ongoing.offsets);
            }
            table.deadlines.extend(transaction.deadline_ms().map(|at| (at, key.clone())));
            table.by_id.insert(key, Entry { transaction, under_way: false });
        }
        Ok(Arc::new(Self { table: Mutex::new(table), core, groups, ids, settings }))
    }

    /// InitProducerId. Aborts what the last instance of this producer has left open.
    pub async fn init(
        self: &Arc<Self>,
        now_ms: i64,
        key: &TransactionalId,
        timeout_ms: i32,
        expected: Option<ProducerIdentity>,
    ) -> Outcome<ProducerIdentity> {
        let is_new = !self.table.lock().by_id.contains_key(key);
        let fresh = self.fresh_id(key, is_new).await?;
        let later = {
            let mut table = self.table.lock();
            let step = match table.by_id.get(key) {
                None if table.by_id.len() >= TRANSACTIONAL_IDS_MAX => Err(TxnError::CoordinatorNotAvailable),
                None => {
                    let id = fresh.ok_or(TxnError::CoordinatorNotAvailable)?;
                    let made = Transaction::new(ProducerIdentity { id, epoch: 0 }, timeout_ms, now_ms);
                    Ok(Step::Put(made))
                }
                Some(entry) => entry.idle()?.init(now_ms, timeout_ms, expected, fresh),
            }?;
            self.take(&mut table, now_ms, key, step)
        };
        later.await
    }

    /// AddPartitionsToTxn: of partitions that exist.
    pub async fn add_partitions(
        self: &Arc<Self>,
        now_ms: i64,
        key: &TransactionalId,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
    ) -> Outcome<()> {
        let later = {
            let mut table = self.table.lock();
            self.add(&mut table, now_ms, key, producer, partitions, None)?
        };
        later.await
    }

    /// As AddPartitionsToTxn, for a batch that comes along with it (KIP-890): whoever appends after this returned is
    /// behind it in the log, and need not wait.
    ///
    /// # Errors
    /// As AddPartitionsToTxn.
    pub fn add_partition_of_batch(
        self: &Arc<Self>,
        now_ms: i64,
        key: &TransactionalId,
        producer: ProducerIdentity,
        at: TopicPartition,
    ) -> Outcome<()> {
        let mut table = self.table.lock();
        let entry = table.by_id.get(key).ok_or(TxnError::InvalidProducerIdMapping)?;
        entry.transaction.check(producer)?;
        match &entry.idle()?.state {
            State::Ongoing(ongoing) if ongoing.partitions.contains(&at) => Ok(()),
            State::Ongoing(_) | State::Empty | State::CompleteCommit | State::CompleteAbort => {
                self.add(&mut table, now_ms, key, producer, &[at], None).map(drop)
            }
        }
    }

    /// AddPartitionsToTxn with `verify_only`: which of them the open transaction has.
    ///
    /// # Errors
    /// When the producer may not speak for this id.
    pub fn verify(
        &self,
        key: &TransactionalId,
        producer: ProducerIdentity,
    ) -> Outcome<BTreeSet<TopicPartition>> {
        let table = self.table.lock();
        let entry = table.by_id.get(key).ok_or(TxnError::InvalidProducerIdMapping)?;
        entry.transaction.check(producer)?;
        Ok(match &entry.idle()?.state {
            State::Ongoing(ongoing) => ongoing.partitions.clone(),
            State::Empty | State::CompleteCommit | State::CompleteAbort => BTreeSet::new(),
        })
    }

    /// AddOffsetsToTxn: the group's offsets may follow.
    pub async fn add_group(
        self: &Arc<Self>,
        now_ms: i64,
        key: &TransactionalId,
        producer: ProducerIdentity,
        group: &Arc<str>,
    ) -> Outcome<()> {
        let later = {
            let mut table = self.table.lock();
            self.add(&mut table, now_ms, key, producer, &[], Some((group, Vec::new())))?
        };
        later.await
    }

    /// TxnOffsetCommit: offsets that the group will have with the transaction's commit. `implied`: without
    /// AddOffsetsToTxn (KIP-890).
    pub async fn commit_offsets(
        self: &Arc<Self>,
        now_ms: i64,
        key: &TransactionalId,
        producer: ProducerIdentity,
        group: &Arc<str>,
        offsets: GroupOffsets,
        implied: bool,
    ) -> Outcome<()> {
        let later = {
            let mut table = self.table.lock();
            let entry = table.by_id.get(key).ok_or(TxnError::InvalidProducerIdMapping)?;
            entry.transaction.check(producer)?;
            match &entry.idle()?.state {
                State::Ongoing(ongoing) if ongoing.offsets.contains_key(group) => {}
                State::Ongoing(_) | State::Empty | State::CompleteCommit | State::CompleteAbort => {
                    if !implied {
                        return Err(TxnError::InvalidTxnState);
                    }
                }
            }
            self.add(&mut table, now_ms, key, producer, &[], Some((group, offsets)))?
        };
        later.await
    }

    /// EndTxn. `bump`: by the second protocol, which gives the producer its next epoch with the answer.
    pub async fn end(
        self: &Arc<Self>,
        now_ms: i64,
        key: &TransactionalId,
        producer: ProducerIdentity,
        committed: bool,
        bump: bool,
    ) -> Outcome<ProducerIdentity> {
        let fresh = if bump { self.fresh_id(key, false).await? } else { None };
        let later = {
            let mut table = self.table.lock();
            let entry = table.by_id.get(key).ok_or(TxnError::InvalidProducerIdMapping)?;
            let step = if bump {
                entry.idle()?.end_and_bump(now_ms, producer, committed, fresh)
            } else {
                entry.transaction.check(producer)?;
                entry.idle()?.end(now_ms, producer, committed)
            }?;
            self.take(&mut table, now_ms, key, step)
        };
        later.await
    }

    /// Whether an open transaction will commit an offset there (OffsetFetch with `require_stable`).
    #[must_use]
    pub fn has_pending(&self, group: &GroupKey, at: TopicPartition) -> bool {
        self.table.lock().pending.get(group).is_some_and(|offsets| offsets.contains_key(&at))
    }

    /// One transactional id.
    #[must_use]
    pub fn describe(&self, key: &TransactionalId) -> Option<Description> {
        let table = self.table.lock();
        let transaction = table.by_id.get(key)?.transaction.clone();
        Some(Description { id: key.id.clone(), transaction })
    }

    /// All transactional ids of a vhost, by name.
    #[must_use]
    pub fn list(&self, vhost: &VhostName) -> Vec<Description> {
        let describe = |(key, entry): (&TransactionalId, &Entry)| Description {
            id: key.id.clone(),
            transaction: entry.transaction.clone(),
        };
        let table = self.table.lock();
        let mut all: Vec<_> = table.by_id.iter().filter(|(k, _)| k.vhost == *vhost).map(describe).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// When the next open transaction will have taken too long.
    #[must_use]
    pub fn next_ms(&self) -> Option<i64> {
        self.table.lock().deadlines.first().map(|(at_ms, _)| *at_ms)
    }

    /// Aborts what has taken too long.
    pub fn on_deadlines(self: &Arc<Self>, now_ms: i64) {
        let mut table = self.table.lock();
        while table.deadlines.first().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            let Some((_, key)) = table.deadlines.pop_first() else { return };
            let Some(entry) = table.by_id.get(&key) else { continue };
            let overdue = entry.transaction.deadline_ms().filter(|at| *at <= now_ms);
            // One that is just ending needs nobody's help; if that fails, it is looked at again.
            let ending = overdue.filter(|_| !entry.under_way).and_then(|_| entry.transaction.expire(now_ms));
            if let Some(ending) = ending {
                tracing::info!(transactional_id = &*key.id, "a transaction has timed out and is aborted");
                drop(self.take(&mut table, now_ms, &key, Step::End(Box::new(ending))));
            }
        }
    }

    /// Forgets ids that nobody has used for long (`transactional.id.expiration.ms`).
    pub fn on_housekeeping(&self, now_ms: i64) {
        let before_ms = now_ms.saturating_sub(self.settings.transactional_id_expiration_ms);
        let mut table = self.table.lock();
        let is_over = |entry: &Entry| {
            let transaction = &entry.transaction;
            !entry.under_way && transaction.deadline_ms().is_none() && transaction.changed_ms <= before_ms
        };
        let over: Vec<_> = table.by_id.iter().filter(|(_, e)| is_over(e)).map(|(k, _)| k.clone()).collect();
        let mut writes = crate::broker::topic::writes::Writes::default();
        for key in over {
            table.by_id.remove(&key);
            writes.delete(Space::State, keys::transaction(&key));
        }
        writes.submit_unwatched(&self.core.store);
    }

    /// A new producer id, if this transactional id needs one for what it asks.
    async fn fresh_id(&self, key: &TransactionalId, is_new: bool) -> Outcome<Option<i64>> {
        let is_exhausted = self.table.lock().by_id.get(key).is_some_and(|e| e.transaction.is_exhausted());
        if !is_new && !is_exhausted {
            return Ok(None);
        }
        let allocated = self.ids.allocate().await.map_err(|error| {
            tracing::error!(%error, "no producer id");
            TxnError::CoordinatorNotAvailable
        })?;
        Ok(Some(allocated.id))
    }

    /// Adds to the open transaction, or opens one. In memory at once: what follows is behind it in the log.
    fn add(
        &self,
        table: &mut MutexGuard<'_, Table>,
        now_ms: i64,
        key: &TransactionalId,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
        group: Option<(&Arc<str>, GroupOffsets)>,
    ) -> Outcome<impl Future<Output = Outcome<()>> + use<>> {
        let entry = table.by_id.get_mut(key).ok_or(TxnError::InvalidProducerIdMapping)?;
        entry.transaction.check(producer)?;
        entry.idle()?;
        let ongoing = entry.transaction.open(now_ms);
        ongoing.partitions.extend(partitions);
        let mut added = PendingOffsets::new();
        if let Some((group, offsets)) = group {
            let pending = ongoing.offsets.entry(group.clone()).or_default();
            let is_new = |at: &TopicPartition| !pending.contains_key(at);
            let news = offsets.iter().filter(|(at, _)| is_new(at)).cloned().collect();
            added.insert(group.clone(), news);
            pending.extend(offsets);
        }
        let deadline_ms = entry.transaction.deadline_ms();
        let value = entry.transaction.encode();
        table.add_pending(&key.vhost, &added);
        if let Some(at_ms) = deadline_ms {
            self.arm(table, at_ms, key);
        }
        let partitions: Vec<_> = partitions.iter().filter_map(|at| partition(&self.core, *at)).collect();
        let stored = keys::transaction(key);
        let bytes_max = stored.len() + value.len() + DELTA_OVERHEAD_BYTES;
        let extra = move |turn: &mut Turn| {
            partitions.iter().for_each(|partition| partition.add_to_transaction(producer));
            turn.put(Space::State, &stored, &value);
        };
        let (sender, done) = oneshot::channel();
        append_all(&self.core.store, Vec::new(), Some((bytes_max, Box::new(extra))), |outcome| {
            _ = sender.send(outcome.map(drop).map_err(|_| TxnError::CoordinatorNotAvailable));
        });
        Ok(async { done.await.unwrap_or(Err(TxnError::CoordinatorNotAvailable)) })
    }

    fn arm(&self, table: &mut Table, at_ms: i64, key: &TransactionalId) {
        table.deadlines.insert((at_ms, key.clone()));
        if table.deadlines.first().is_some_and(|(first, _)| *first == at_ms) {
            self.core.deadlines.time_jumped();
        }
    }

    /// Brings a decided step to disk. Nothing else is heard of that id until it is there.
    fn take(
        self: &Arc<Self>,
        table: &mut Table,
        now_ms: i64,
        key: &TransactionalId,
        step: Step,
    ) -> impl Future<Output = Outcome<ProducerIdentity>> + use<> {
        let (sender, done) = oneshot::channel();
        match step {
            Step::Done(producer) => _ = sender.send(Ok(producer)),
            Step::Put(next) => self.submit(table, key, Landing::put(next), sender),
            Step::End(ending) => self.submit(table, key, self.landing(now_ms, *ending), sender),
        }
        async { done.await.unwrap_or(Err(TxnError::CoordinatorNotAvailable)) }
    }

    fn landing(&self, now_ms: i64, ending: Ending) -> Landing {
        let Ending { next, marker, committed, ongoing } = ending;
        let kind = if committed { ControlType::Commit } else { ControlType::Abort };
        let producer = Producer { id: marker.id, epoch: marker.epoch, base_sequence: -1 };
        let markers =
            ongoing.partitions.iter().filter_map(|at| partition(&self.core, *at)).map(|partition| {
                let batch = BatchBuilder::control(kind, producer, COORDINATOR_EPOCH, now_ms);
                let checked = partition.check_built(vec![batch], now_ms);
                (partition, checked)
            });
        let markers = markers.collect();
        Landing { next, markers, committed, ended: ongoing.offsets }
    }

    fn submit(
        self: &Arc<Self>,
        table: &mut Table,
        key: &TransactionalId,
        landing: Landing,
        sender: oneshot::Sender<Outcome<ProducerIdentity>>,
    ) {
        let Landing { next, markers, committed, ended } = landing;
        match table.by_id.get_mut(key) {
            Some(entry) => entry.under_way = true,
            None => {
                let entry = Entry { transaction: next.clone(), under_way: true };
                table.by_id.insert(key.clone(), entry);
            }
        }
        let mut puts = vec![(keys::transaction(key), next.encode())];
        let groups = if committed { self.living_offsets(&ended) } else { PendingOffsets::new() };
        for (group, offsets) in &groups {
            let group = group_key(&key.vhost, group);
            self.groups.on_transaction_submitted(&group, offsets.keys().copied());
            puts.extend(offsets.iter().map(|(at, c)| (keys::committed_offset(&group, *at), c.encode())));
        }
        let bytes_max = puts.iter().map(|(k, v)| k.len() + v.len() + DELTA_OVERHEAD_BYTES).sum();
        let extra = move |turn: &mut Turn| {
            puts.iter().for_each(|(key, value)| turn.put(Space::State, key, value));
        };
        let (owner, key) = (self.clone(), key.clone());
        let done = move |outcome: crate::broker::topic::append::AllAppended| {
            let result = outcome.map(|_| next.producer).map_err(|error| {
                tracing::error!(%error, transactional_id = &*key.id, "a transaction's change is not durable");
                TxnError::CoordinatorNotAvailable
            });
            if result.is_ok() {
                for (group, offsets) in groups {
                    owner
                        .groups
                        .on_transaction_committed(&group_key(&key.vhost, &group), offsets.into_iter());
                }
            }
            owner.on_landed(&key, result.is_ok().then_some((next, &ended)));
            _ = sender.send(result);
        };
        append_markers(&self.core.store, markers, committed, (bytes_max, Box::new(extra)), done);
    }

    /// A change is on disk, or (`None`) was refused: then all is as it was.
    fn on_landed(&self, key: &TransactionalId, landed: Option<(Transaction, &PendingOffsets)>) {
        let mut table = self.table.lock();
        let Some(entry) = table.by_id.get_mut(key) else { return };
        entry.under_way = false;
        let deadline_ms = entry.transaction.deadline_ms();
        match landed {
            Some((next, ended)) => {
                entry.transaction = next;
                if let Some(at_ms) = deadline_ms {
                    table.deadlines.remove(&(at_ms, key.clone()));
                }
                table.remove_pending(&key.vhost, ended);
            }
            // Its deadline may have been passed over meanwhile.
            None => {
                let later_ms = self.core.clock.now_ms().saturating_add(RETRY_MS);
                if let Some(at_ms) = deadline_ms {
                    self.arm(&mut table, at_ms.max(later_ms), key);
                }
            }
        }
    }

    /// Offsets in topics that still exist.
    fn living_offsets(&self, offsets: &PendingOffsets) -> PendingOffsets {
        let lives = |at: &TopicPartition| self.core.topics.by_id(at.topic).is_some();
        let mut living = offsets.clone();
        living.values_mut().for_each(|offsets| offsets.retain(|at, _| lives(at)));
        living
    }
}

/// What a step brings to disk.
struct Landing {
    next: Transaction,
    markers: Vec<(Arc<Partition>, Checked)>,
    committed: bool,
    /// Offsets that are pending no more.
    ended: PendingOffsets,
}

impl Landing {
    fn put(next: Transaction) -> Self {
        Self { next, markers: Vec::new(), committed: false, ended: PendingOffsets::new() }
    }
}

impl Entry {
    fn idle(&self) -> Outcome<&Transaction> {
        if self.under_way { Err(TxnError::ConcurrentTransactions) } else { Ok(&self.transaction) }
    }
}

impl Table {
    fn add_pending(&mut self, vhost: &VhostName, offsets: &PendingOffsets) {
        for (group, offsets) in offsets.iter().filter(|(_, offsets)| !offsets.is_empty()) {
            let counts = self.pending.entry(group_key(vhost, group)).or_default();
            offsets.keys().for_each(|at| *counts.entry(*at).or_default() += 1);
        }
    }

    fn remove_pending(&mut self, vhost: &VhostName, offsets: &PendingOffsets) {
        for (group, offsets) in offsets {
            let group = group_key(vhost, group);
            let Some(counts) = self.pending.get_mut(&group) else { continue };
            for at in offsets.keys() {
                if let Some(count) = counts.get_mut(at) {
                    *count = count.saturating_sub(1);
                }
            }
            counts.retain(|_, count| *count > 0);
            if counts.is_empty() {
                self.pending.remove(&group);
            }
        }
    }
}

fn group_key(vhost: &VhostName, group: &Arc<str>) -> GroupKey {
    GroupKey { vhost: vhost.clone(), id: group.clone() }
}

fn partition(core: &Core, at: TopicPartition) -> Option<Arc<Partition>> {
    core.topics.by_id(at.topic)?.partition(at.partition)
}

/// The coordinator never moves.
pub(super) const COORDINATOR_EPOCH: i32 = 0;
/// A peer makes a transactional id by naming it; here it ends.
const TRANSACTIONAL_IDS_MAX: usize = 100_000;
/// An abort that the store has refused is tried again after that.
const RETRY_MS: i64 = 1_000;
