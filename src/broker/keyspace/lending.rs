//! Elements of lists that are lent to consumers who acknowledge: taken out, and still in the store.
//!
//! What is lent lies in a list of the same key in a name space that no client can choose, put there by the Change that
//! took it out. Settled, it goes; taken back, it goes to the right end, where it came from. Recovery takes back what
//! it finds there.
//!
//! ```text
//!  list ──lend──▶ lent ──settle──▶ gone
//!    ▲              │
//!    └──take back───┘
//! ```
//!
//! Consumers stand in one line with those who wait for an element. Who was served and can take more goes to its end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{Access, DBS, Db, Keyspace, Name, Outlet, WaiterId, Wants, state::WrongType, value::Kind};
use crate::broker::{
    list::{End, List, queue::entry},
    outlet::{Event, Server},
    queue::{
        ConsumerId, Seq,
        consumers::{Consumer, ConsumerSpec},
    },
    refusal::Refusal,
};

/// An element that is lent.
#[derive(Debug)]
pub struct Lent {
    /// What it is settled by.
    pub seq: Seq,
    pub element: Box<[u8]>,
    /// It was lent before, and came back.
    pub returned: bool,
}

/// A consumer of a list.
#[derive(Debug)]
struct Reader {
    place: (Db, Name),
    /// The list as a queue.
    name: Arc<str>,
    consumer: Consumer,
    /// It stands in the line.
    waiter: Option<WaiterId>,
}

/// What a list's queue counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListFigures {
    pub ready: usize,
    pub unacked: usize,
    pub consumers: usize,
    /// The bytes of what is ready.
    pub ready_bytes: usize,
    /// What it takes in memory, with what is lent.
    pub bytes: usize,
}

impl ListFigures {
    /// Whether there is anything to it but its name.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.ready + self.unacked + self.consumers > 0
    }
}

/// Consumers of lists, and what came back from them.
#[derive(Debug, Default)]
pub(super) struct Lending {
    readers: BTreeMap<ConsumerId, Reader>,
    /// Slots of elements that came back. Those that somebody else took out meanwhile are forgotten with the next.
    returned: HashMap<(Db, Name), BTreeSet<u64>>,
}

impl Lending {
    /// Consumers that stand in the line.
    pub(super) fn waiting(&self) -> usize {
        self.readers.values().filter(|reader| reader.waiter.is_some()).count()
    }

    /// A key is gone: its next list begins anew.
    pub(super) fn forget(&mut self, place: &(Db, Name)) {
        if !self.returned.is_empty() {
            self.returned.remove(place);
        }
    }

    /// The element of that slot, the rightmost, is taken out: whether it had come back.
    fn had_returned(&mut self, place: &(Db, Name), slot: u64) -> bool {
        let Some(slots) = self.returned.get_mut(place) else { return false };
        // Nothing lies further right.
        let had = slots.split_off(&slot).contains(&slot);
        if slots.is_empty() {
            self.returned.remove(place);
        }
        had
    }

    fn of_place(&self, place: &(Db, Name)) -> impl Iterator<Item = &Reader> {
        self.readers.values().filter(move |reader| reader.place == *place)
    }
}

/// Where a name space's lent elements lie.
fn lent_db(db: Db) -> Db {
    db + DBS
}

impl Access<'_> {
    /// Takes the element at the right end, until it is settled or taken back; for good with `no_ack`.
    pub fn lend(&mut self, db: Db, key: &Name, no_ack: bool) -> Option<Lent> {
        let slot = self.get::<List>(db, key).ok().flatten()?.end_slot(End::Right)?;
        let returned = self.inner.state.lending.had_returned(&(db, key.clone()), slot);
        let element = self.pop(db, key, End::Right, 1).ok().flatten()?.pop()?;
        if no_ack {
            return Some(Lent { seq: Seq(slot), element, returned });
        }
        let lent = lent_db(db);
        // Nothing but lists lies there.
        self.push(lent, key, End::Left, std::iter::once(&*element)).ok()?;
        let slot = self.get::<List>(lent, key).ok().flatten()?.end_slot(End::Left)?;
        Some(Lent { seq: Seq(slot), element, returned })
    }

    fn take_lent(&mut self, db: Db, key: &Name, seq: Seq) -> Option<Box<[u8]>> {
        let lent = self.change(lent_db(db), key, |list: &mut List, slots| list.take_slot(seq.0, slots));
        lent.ok().flatten().flatten()
    }

    /// What was lent is done with.
    pub fn settle(&mut self, db: Db, key: &Name, seqs: impl Iterator<Item = Seq>) {
        for seq in seqs {
            self.take_lent(db, key, seq);
        }
    }

    /// What was lent, in that order, lies again where it was taken.
    pub fn take_back(&mut self, db: Db, key: &Name, seqs: impl DoubleEndedIterator<Item = Seq>) {
        for seq in seqs.rev() {
            if let Some(element) = self.take_lent(db, key, seq) {
                self.put_back(db, key, &element);
            }
        }
    }

    fn put_back(&mut self, db: Db, key: &Name, element: &[u8]) {
        if let Err(WrongType) = self.push(db, key, End::Right, std::iter::once(element)) {
            tracing::warn!(
                "an element that was not acknowledged is dropped: its key holds something else now"
            );
            return;
        }
        let slot = self.get::<List>(db, key).ok().flatten().and_then(|list| list.end_slot(End::Right));
        if let Some(slot) = slot {
            let lending = &mut self.inner.state.lending;
            lending.returned.entry((db, key.clone())).or_default().insert(slot);
        }
    }

    /// Nobody has anything any more: everything that was lent lies where it was.
    pub(super) fn take_back_all(&mut self) {
        for db in 0..DBS {
            let keys: Vec<Name> = self.walk(lent_db(db), 0).map(|(_, key, _)| key.clone()).collect();
            for key in keys {
                // The last one lent is leftmost, and went out last.
                while let Some(element) =
                    self.pop(lent_db(db), &key, End::Left, 1).ok().flatten().and_then(|mut one| one.pop())
                {
                    self.put_back(db, &key, &element);
                }
            }
        }
    }

    /// A consumer of a list. It is served from its first [`Access::go_on`].
    ///
    /// # Errors
    /// [`Refusal::ExclusiveUse`].
    pub(in crate::broker) fn add_reader(
        &mut self,
        id: ConsumerId,
        place: (Db, Name),
        name: Arc<str>,
        spec: ConsumerSpec,
    ) -> Result<(), Refusal> {
        let lending = &mut self.inner.state.lending;
        let taken = |other: &Reader| spec.exclusive || other.consumer.spec.exclusive;
        if lending.of_place(&place).any(taken) {
            return Err(Refusal::ExclusiveUse(name.to_string()));
        }
        let reader = Reader { place, name, consumer: Consumer::new(id, spec), waiter: None };
        lending.readers.insert(id, reader);
        Ok(())
    }

    /// Nothing more is lent to it; what it has it keeps.
    pub fn remove_reader(&mut self, id: ConsumerId) {
        let state = &mut self.inner.state;
        if let Some(reader) = state.lending.readers.remove(&id)
            && let Some(waiter) = reader.waiter
        {
            state.waiters.remove(waiter);
        }
    }

    /// Puts a consumer at the end of the line, unless it stands there.
    pub fn go_on(&mut self, id: ConsumerId) {
        let state = &mut self.inner.state;
        let Some(reader) = state.lending.readers.get_mut(&id).filter(|reader| reader.waiter.is_none()) else {
            return;
        };
        let ((db, key), outlet) = (reader.place.clone(), reader.consumer.spec.outlet.clone());
        reader.waiter = Some(state.waiters.add(db, vec![key.clone()], Wants::Loan(id), outlet));
        state.waiters.look_at(db, &key);
    }

    /// A consumer has settled so many, and may take as many again.
    pub fn give_credit(&mut self, id: ConsumerId, settled: usize) {
        if let Some(reader) = self.inner.state.lending.readers.get_mut(&id) {
            let settled = u32::try_from(settled).unwrap_or(u32::MAX);
            reader.consumer.unacked = reader.consumer.unacked.saturating_sub(settled);
        }
        self.go_on(id);
    }

    /// It is a consumer's turn, and the key has a list: lends it an element, if it can take one.
    pub(super) fn serve_reader(&mut self, id: ConsumerId, waiter: WaiterId) {
        let state = &mut self.inner.state;
        state.waiters.remove(waiter);
        let Some(reader) = state.lending.readers.get_mut(&id) else { return };
        reader.waiter = None;
        let outlet = reader.consumer.spec.outlet.clone();
        if outlet.full()
            && let Some(keyspace) = self.keyspace.me.upgrade()
            && outlet.stall(&Server::Keys(keyspace))
        {
            return;
        }
        if !reader.consumer.take_credit() {
            return;
        }
        let ((db, key), name) = (reader.place.clone(), reader.name.clone());
        let (channel, no_ack) = (reader.consumer.spec.channel, reader.consumer.spec.no_ack);
        let Some(lent) = self.lend(db, &key, no_ack) else { return self.give_credit(id, 1) };
        let (seq, bytes) = (lent.seq, lent.element.len());
        if let Some(entry) = entry(&name, &lent, self.now_ms)
            && outlet.deliver(&mut vec![Event::Deliver { channel, consumer: id, entry }], bytes)
        {
            self.go_on(id);
        } else if no_ack {
            self.put_back(db, &key, &lent.element);
        } else {
            // Its connection is gone, and it soon, too.
            self.take_back(db, &key, std::iter::once(seq));
        }
    }

    /// What a list's queue counts.
    #[must_use]
    pub fn list_figures(&self, db: Db, key: &Name) -> ListFigures {
        let of = |db| self.get::<List>(db, key).ok().flatten();
        let len = |list: Option<&List>| list.map_or(0, List::len);
        let bytes = |list: Option<&List>| list.map_or(0, List::bytes);
        let (ready, lent) = (of(db), of(lent_db(db)));
        ListFigures {
            ready: len(ready),
            unacked: len(lent),
            consumers: self.inner.state.lending.of_place(&(db, key.clone())).count(),
            ready_bytes: ready.map_or(0, List::body_bytes),
            bytes: bytes(ready) + bytes(lent),
        }
    }

    /// The consumers of a list.
    #[must_use]
    pub fn readers(&self, db: Db, key: &Name) -> Vec<ConsumerSpec> {
        let place = (db, key.clone());
        let readers = self.inner.state.lending.of_place(&place);
        readers.map(|reader| reader.consumer.spec.clone()).collect()
    }

    /// Every list that has an element, one that is lent, or a consumer.
    #[must_use]
    pub fn lists(&self) -> BTreeSet<(Db, Name)> {
        let state = &self.inner.state;
        let own = state.lists().map(|(db, key)| (*db % DBS, key.clone()));
        own.chain(state.lending.readers.values().map(|reader| reader.place.clone())).collect()
    }

    /// Whether a key is a list, or might become one.
    #[must_use]
    pub fn may_be_list(&self, db: Db, key: &[u8]) -> bool {
        self.kind(db, key).is_none_or(|kind| kind == Kind::List)
    }
}

impl Keyspace {
    /// Consumers of that connection go on: its outlet has room again.
    pub fn resume(&self, outlet: &Arc<Outlet>) {
        let mut keys = self.enter(self.core.clock.now_ms());
        let readers = keys.inner.state.lending.readers.values();
        let mine = readers.filter(|reader| Arc::ptr_eq(&reader.consumer.spec.outlet, outlet));
        let mine: Vec<ConsumerId> = mine.map(|reader| reader.consumer.id).collect();
        mine.into_iter().for_each(|id| keys.go_on(id));
        keys.leave_lazily();
    }
}
