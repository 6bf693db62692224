//! What a queue does without a client asking: what has expired goes, an unused queue goes, dead letters move, policies
//! change what it keeps.

use std::sync::Arc;

use super::{Queue, Seq, drops::Moving, state::Effects};
use crate::{
    broker::{arguments, dead_letter::DeadLetter, message::Blob, vhost::Vhost},
    data::value::Table,
};

impl Queue {
    /// What the queue's arguments, with the policies applied, ask for from now on. What follows from it is the caller's to do.
    #[must_use]
    pub(in crate::broker) fn reconfigure(self: &Arc<Self>, effective: &Table) -> Effects {
        let asked = arguments::settings(effective, self.core().profile);
        let now_ms = self.core.clock.now_ms();
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if state.limits.unused_ms_max != asked.limits.unused_ms_max {
            // A new period begins, as RabbitMQ has it.
            state.used(now_ms);
        }
        state.configure(&asked);
        self.deliver_locked(&mut state, now_ms, &mut effects);
        effects.retry_dead = state.retry_due(now_ms);
        effects
    }

    /// The deadline has come: messages have expired, or the queue has.
    pub(in crate::broker) fn on_deadline(self: &Arc<Self>, now_ms: i64) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        state.disarm();
        if state.gone {
            return;
        }
        if state.unused(now_ms) {
            drop(state);
            if let Some(vhost) = self.home.upgrade() {
                vhost.delete_unused(self, now_ms);
            }
            return;
        }
        self.deliver_locked(&mut state, now_ms, &mut effects);
        effects.retry_dead = state.retry_due(now_ms);
        drop(state);
        self.follow(effects);
    }

    /// Where what the queue lets go ends up.
    pub(in crate::broker) fn dead_letter(&self) -> Option<Arc<DeadLetter>> {
        self.state.lock().dead_letter.clone()
    }

    /// What a mover takes next; with `None` it is done.
    pub(in crate::broker) fn take_dead(&self) -> Option<Moving> {
        let (moving, held_delta) = self.with_state(|state| (state.take_dead(), state.held_delta()));
        // At once: nothing else may ever happen to this queue, and the memory alarm would stay on.
        self.core().memory.add(held_delta);
        moving
    }

    /// These were let go and are nowhere now, or where no Change of ours is needed for them.
    pub(in crate::broker) fn forget_dead(self: &Arc<Self>, seqs: impl Iterator<Item = Seq>) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        state.moved(seqs, &mut effects);
        self.inbox(&mut effects);
        drop(state);
        self.follow(effects);
    }

    /// The vhost, unless it is deleted.
    #[must_use]
    pub(in crate::broker) fn home(&self) -> Option<Arc<Vhost>> {
        self.home.upgrade()
    }

    /// Drops what has expired at the head, and shows what was delayed, though its timer may not have come to it: whoever
    /// counts messages must count those that are there.
    pub(in crate::broker) fn look(self: &Arc<Self>) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let now_ms = self.core.clock.now_ms();
        if state.is_due(now_ms) {
            state.deliver(now_ms, &mut effects);
        } else {
            state.settle_effects(&mut effects);
        }
        self.inbox(&mut effects);
        drop(state);
        self.follow(effects);
    }

    /// After a restart the oldest message lies in the log: when does it expire? It is read and forgotten again, so that
    /// many queues cost no memory. Blocks while it reads.
    pub(in crate::broker) fn look_at_paged_head(self: &Arc<Self>) {
        let head = self.with_state(|state| state.paged_head());
        let read = head.and_then(|(first, place)| match self.core.store.read(place) {
            Ok(bytes) => Some((first, Blob::read(bytes, place)?)),
            Err(error) => {
                tracing::error!(%error, queue = %self.name, "the oldest messages cannot be read");
                None
            }
        });
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if let Some((first, blob)) = read {
            state.saw_paged_head(first, &blob);
        }
        state.rearm(&mut effects);
        self.inbox(&mut effects);
    }
}
