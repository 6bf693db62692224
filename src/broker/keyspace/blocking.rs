//! Elements come to lists, go, and move; who waits for a key to have something is served behind that.

use std::sync::Arc;

use super::{Access, Db, Name, Outlet, ServedWith, WaiterId, Wants, state::WrongType, value::Kind};
use crate::broker::{
    keyspace::waiters::Served,
    list::{End, List},
};

impl Access<'_> {
    /// Up to `count` elements from an end of a list; `None` when there is no such list.
    ///
    /// # Errors
    /// [`WrongType`].
    pub fn pop(
        &mut self,
        db: Db,
        key: &[u8],
        from: End,
        count: usize,
    ) -> Result<Option<Vec<Box<[u8]>>>, WrongType> {
        self.change(db, key, |list: &mut List, slots| {
            std::iter::from_fn(|| list.pop(from, slots)).take(count).collect()
        })
    }

    /// Puts elements into a list, one after the other at that end, and wakes who waits for it. Returns its length.
    ///
    /// # Errors
    /// [`WrongType`].
    pub fn push<'a>(
        &mut self,
        db: Db,
        key: &[u8],
        to: End,
        elements: impl Iterator<Item = &'a [u8]>,
    ) -> Result<usize, WrongType> {
        self.change_or_make(db, key, |list: &mut List, slots| {
            elements.for_each(|element| list.push(to, element, slots));
            list.len()
        })
    }

    /// Takes an element from one list to another; `None` when the first has none.
    ///
    /// # Errors
    /// [`WrongType`] of either; then nothing has happened.
    pub fn move_element(
        &mut self,
        db: Db,
        (source, from): (&[u8], End),
        (destination, to): (&[u8], End),
    ) -> Result<Option<Box<[u8]>>, WrongType> {
        if self.get::<List>(db, source)?.is_none() {
            return Ok(None);
        }
        self.get::<List>(db, destination)?;
        let popped = self.pop(db, source, from, 1)?.and_then(|mut elements| elements.pop());
        if let Some(element) = &popped {
            self.push(db, destination, to, std::iter::once(&**element))?;
        }
        Ok(popped)
    }

    /// Waits at these keys, behind those who wait there already.
    pub fn wait(&mut self, db: Db, keys: Vec<Name>, wants: Wants, outlet: Arc<Outlet>) -> WaiterId {
        self.inner.state.waiters.add(db, keys, wants, outlet)
    }

    /// A stream has something new for those who wait for it.
    pub fn look_at(&mut self, db: Db, key: &[u8]) {
        self.inner.state.waiters.look_at(db, &key.into());
    }

    /// Waits no more; false when it has been served already.
    pub fn wait_no_more(&mut self, waiter: WaiterId) -> bool {
        self.inner.state.waiters.remove(waiter).is_some()
    }

    /// What a waiter was served with never reached it: elements go back where they came from.
    pub fn give_back(&mut self, what: &ServedWith) {
        match what {
            ServedWith::Elements { db, key, from, elements } => {
                let elements = elements.iter().rev().map(|element| &**element);
                if self.push(*db, key, *from, elements).is_err() {
                    tracing::warn!(
                        "elements that nobody took are dropped: their key holds something else now"
                    );
                }
            }
            // Where it was to go it has gone.
            ServedWith::Moved(_) | ServedWith::News | ServedWith::WrongType => {}
        }
    }

    /// Serves everybody who waits for what has come. Serving one may bring something for another.
    pub fn serve(&mut self) {
        while let Some(place) = self.inner.state.waiters.next_ready() {
            let mut after = None;
            while let Some((waiter, served)) = self.serve_next(&place, after) {
                after = Some(waiter);
                let Some(what) = served else { continue };
                if let Some(waiting) = self.inner.state.waiters.remove(waiter) {
                    let served = Served { waiter, what, ticket: None };
                    self.inner.state.served.push((waiting.outlet, served));
                }
            }
        }
    }

    /// Tries to serve the next in line; `None` when there is nobody, or nothing to serve.
    fn serve_next(
        &mut self,
        place: &(Db, Name),
        after: Option<WaiterId>,
    ) -> Option<(WaiterId, Option<ServedWith>)> {
        let (db, key) = place;
        let kind = self.kind(*db, key)?;
        let (id, waiter) = self.inner.state.waiters.first_at(place, after)?;
        if let (Wants::Loan(consumer), Kind::List) = (&waiter.wants, kind) {
            self.serve_reader(*consumer, id);
            return Some((id, None));
        }
        let served = match (waiter.wants.clone(), kind) {
            (Wants::Elements { from, count }, Kind::List) => {
                let elements = self.pop(*db, key, from, count).ok().flatten();
                elements.map(|elements| ServedWith::Elements { db: *db, key: key.clone(), from, elements })
            }
            (Wants::Move { from, to, destination }, Kind::List) => {
                match self.move_element(*db, (key, from), (&destination, to)) {
                    Ok(moved) => moved.map(ServedWith::Moved),
                    Err(WrongType) => Some(ServedWith::WrongType),
                }
            }
            (Wants::News(of), kind) if of == kind => Some(ServedWith::News),
            // It goes on waiting for what it can use.
            (Wants::Elements { .. } | Wants::Loan(_) | Wants::Move { .. } | Wants::News(_), _) => None,
        };
        Some((id, served))
    }
}
