//! Who waits for a key to have something: in order of their coming, one element to one waiter.
//!
//! ```text
//!  BLPOP a b ──▶ waits at a and at b ──push to a──▶ served, and waits at neither
//! ```

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use super::value::Kind;
use crate::{
    broker::{list::End, outlet::Outlet, queue::ConsumerId},
    store::Ticket,
};

/// One of the numbered name spaces of a vhost.
pub type Db = u8;

/// A key's name; shared by everything that speaks of it.
pub type Name = Arc<[u8]>;

/// Somebody who waits. Later ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

/// What a waiter wants of the first of its keys that has something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wants {
    /// Elements from an end of the list, up to so many.
    Elements { from: End, count: usize },
    /// To hear that there is something new in a stream, or whatever it is.
    News(Kind),
    /// An element for a consumer that acknowledges.
    Loan(ConsumerId),
    /// One element, to be put into another list.
    Move { from: End, to: End, destination: Name },
}

/// What came of it.
#[derive(Debug)]
pub struct Served {
    pub waiter: WaiterId,
    pub what: ServedWith,
    /// What must be durable before the waiter's client hears of it.
    pub ticket: Option<Ticket>,
}

/// What a waiter got.
#[derive(Debug)]
pub enum ServedWith {
    Elements {
        db: Db,
        key: Name,
        from: End,
        elements: Vec<Box<[u8]>>,
    },
    Moved(Box<[u8]>),
    /// There may be something new: ask again.
    News,
    /// The destination holds something else than a list.
    WrongType,
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) db: Db,
    keys: Vec<Name>,
    pub(super) wants: Wants,
    pub(super) outlet: Arc<Outlet>,
}

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    next: u64,
    all: HashMap<WaiterId, Waiter>,
    /// By key, in order.
    at: HashMap<(Db, Name), BTreeMap<WaiterId, ()>>,
    /// Keys that may have something for those who wait at them.
    ready: VecDeque<(Db, Name)>,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn add(&mut self, db: Db, keys: Vec<Name>, wants: Wants, outlet: Arc<Outlet>) -> WaiterId {
        self.next += 1;
        let id = WaiterId(self.next);
        for key in &keys {
            self.at.entry((db, key.clone())).or_default().insert(id, ());
        }
        self.all.insert(id, Waiter { db, keys, wants, outlet });
        id
    }

    /// Takes somebody out; `None` when it has been served.
    pub(super) fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.all.remove(&id)?;
        for key in &waiter.keys {
            let place = (waiter.db, key.clone());
            if let Some(line) = self.at.get_mut(&place) {
                line.remove(&id);
                if line.is_empty() {
                    self.at.remove(&place);
                }
            }
        }
        Some(waiter)
    }

    /// The key has something, perhaps.
    pub(super) fn look_at(&mut self, db: Db, key: &Name) {
        if self.at.is_empty() {
            return;
        }
        let place = (db, key.clone());
        if self.at.contains_key(&place) && !self.ready.contains(&place) {
            self.ready.push_back(place);
        }
    }

    pub(super) fn next_ready(&mut self) -> Option<(Db, Name)> {
        self.ready.pop_front()
    }

    /// Who has waited longest at a key, behind `after`.
    pub(super) fn first_at(
        &self,
        place: &(Db, Name),
        after: Option<WaiterId>,
    ) -> Option<(WaiterId, &Waiter)> {
        let line = self.at.get(place)?;
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let (id, ()) = line.range((from, std::ops::Bound::Unbounded)).next()?;
        Some((*id, self.all.get(id)?))
    }
}
