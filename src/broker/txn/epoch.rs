//! What a stream job's epoch publishes to exchanges: one Change with the epoch's own, so that it is in the log whole or not
//! at all.
//!
//! A queue that refuses what it has no room for is offered it again before that Change is submitted. Classic queues deliver
//! at once, so that their consumers make room meanwhile. For the same reason what a queue lets go for such a publish goes on
//! at once, and may be in the log though a crash undoes the epoch: holding it back, as a transaction's commit does
//! (`queue/unsubmitted.rs`), would hold back that queue's dead letters for as long as another one is full.

use std::sync::Arc;

use super::channel::{All, records};
use crate::{
    broker::{
        outlet::Outlet,
        publish::{Kept, Publisher},
    },
    store::{Change, Store, StoreError, Ticket},
};

/// Publishes that are on their way into their queues.
pub struct EpochPublishes {
    changes: Vec<Box<dyn Change>>,
    kept: Vec<Kept>,
}

impl Publisher {
    /// Hands over what was held back.
    pub fn hand_to_epoch(&mut self, now_ms: i64) -> EpochPublishes {
        let mut changes = records(now_ms, &self.take_records());
        let kept = self.flush_into(now_ms, &mut changes).keep();
        EpochPublishes { changes, kept }
    }
}

impl EpochPublishes {
    /// Offers again what was refused. True when all is taken; else `outlet` hears of room.
    #[must_use]
    pub fn offer(&mut self, now_ms: i64, outlet: &Arc<Outlet>) -> bool {
        let changes = &mut self.changes;
        self.kept.retain_mut(|kept| !kept.offer_into(now_ms, outlet, changes));
        self.kept.is_empty()
    }

    /// Makes one Change of it, and of the epoch's own, in their order.
    pub fn submit(mut self, store: &Store, own: impl IntoIterator<Item = Box<dyn Change>>) -> Ticket {
        self.changes.extend(own);
        store.submit(Box::new(All(self.changes)))
    }

    /// The epoch will not be committed: the log hears of none of it.
    pub fn give_up(self) {
        self.changes.into_iter().for_each(|change| change.refused(&StoreError::Closed));
    }
}
