//! Unacknowledged deliveries without their bodies: what the log holds need not be in memory until it is wanted again.
//!
//! A channel lets go of bodies when it holds too many. What is put back waits in the queue until its body has been read
//! (`ready.rs`); what is rejected is read before its queue lets go of it, as it may be dead-lettered.

use std::sync::Arc;

use super::{ConsumerId, Entry, Queue, Seq};
use crate::{
    broker::message::{Blob, Message},
    store::Place,
};

/// What became of the wish to let go of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    Yes,
    /// It is on its way into the log.
    NotYet,
    /// It is nowhere but in memory.
    Never,
}

/// A message that is read while its chunk moves is looked for anew, so often.
const TRIES: usize = 10;

impl Queue {
    /// Lets go of a delivery's body, if the log has it.
    #[must_use]
    pub fn forget_body(&self, entry: &mut Entry) -> Forgotten {
        if !self.survives() || entry.message.is_paged() {
            return Forgotten::Never;
        }
        let state = self.state.lock();
        match state.runs.of(entry.seq) {
            Some(run) if run.durable => {
                drop(state);
                entry.message.forget();
                Forgotten::Yes
            }
            Some(_) => Forgotten::NotYet,
            None => Forgotten::Never,
        }
    }

    /// Hands over deliveries with their bodies, which may have to be read first. What cannot be read is put back.
    pub fn with_bodies(
        self: &Arc<Self>,
        consumer: Option<ConsumerId>,
        entries: Vec<Entry>,
        then: impl FnOnce(&Arc<Self>, Vec<Entry>) + Send + 'static,
    ) {
        if entries.iter().all(|entry| !entry.message.is_paged()) {
            then(self, entries);
            return;
        }
        let queue = self.clone();
        let read = move || {
            let (unread, entries) =
                queue.read_bodies(entries).into_iter().partition(|e| e.message.is_paged());
            queue.requeue(consumer, <Vec<Entry>>::into_iter(unread), false);
            then(&queue, entries);
        };
        match &self.core.runtime {
            None => read(),
            Some(runtime) => drop(runtime.spawn_blocking(read)),
        }
    }

    /// Reads the bodies that deliveries lack. Blocks.
    #[must_use]
    pub fn read_bodies(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let mut last: Option<(Place, Arc<Blob>)> = None;
        for entry in entries.iter_mut().filter(|entry| entry.message.is_paged()) {
            match (0..TRIES).find_map(|_| self.read_body(entry.seq, &mut last)) {
                Some(message) => entry.message = message,
                None => {
                    tracing::error!(queue = %self.name, seq = entry.seq.0, "a message cannot be read back")
                }
            }
        }
        entries
    }

    fn read_body(&self, seq: Seq, last: &mut Option<(Place, Arc<Blob>)>) -> Option<Message> {
        let (place, ordinal) = {
            let state = self.state.lock();
            let run = state.runs.of(seq)?;
            (run.place?, run.ordinals.at(u32::try_from(seq.0 - run.first.0).ok()?))
        };
        if last.as_ref().is_none_or(|(read, _)| *read != place) {
            let bytes = self.core.store.read(place).ok()?;
            *last = Some((place, Blob::read(bytes, place)?));
        }
        last.as_ref()?.1.message(ordinal)
    }
}
