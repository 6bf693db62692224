//! Unacknowledged deliveries without their bodies: what the log holds need not be in memory until it is wanted again.
//!
//! A channel lets go of bodies when it holds too many. What is put back waits in the queue until its body has been read
//! (`ready.rs`); what is rejected is read before its queue lets go of it, as it may be dead-lettered.

use std::sync::Arc;

use super::{ConsumerId, Entry, Queue, Seq, levels::WINDOW_BYTES, returns::Return, state::State};
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

/// Bodies that are read at once.
const PART_BYTES_MAX: usize = if cfg!(test) { 512 } else { 1024 * 1024 };

/// The next deliveries, until their bodies come to [`PART_BYTES_MAX`]; one at least.
fn part(entries: &mut impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut bytes = 0;
    let mut part = Vec::new();
    while bytes < PART_BYTES_MAX
        && let Some(entry) = entries.next()
    {
        bytes += entry.message.body_len().max(1);
        part.push(entry);
    }
    part
}

impl State {
    /// Lets go of the body of a message that is put aside, if more than a window of bodies is held beside it and the log
    /// has it.
    pub(super) fn spare(&self, held_bytes: usize, entry: &mut Entry) {
        if held_bytes > WINDOW_BYTES && self.runs.of(entry.seq).is_some_and(|run| run.durable) {
            entry.message.forget();
        }
    }
}

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

    /// Hands over deliveries with their bodies, which may have to be read first: then part by part, as memory need not
    /// hold them all. What cannot be read is put back.
    pub fn with_bodies(
        self: &Arc<Self>,
        consumer: Option<ConsumerId>,
        entries: Vec<Entry>,
        then: impl Fn(&Arc<Self>, Vec<Entry>) + Send + 'static,
    ) {
        if entries.iter().all(|entry| !entry.message.is_paged()) {
            then(self, entries);
            return;
        }
        let (queue, core) = (self.clone(), self.core.clone());
        let read = move || {
            let mut entries = entries.into_iter().peekable();
            while entries.peek().is_some() {
                let part = queue.read_bodies(part(&mut entries));
                let (unread, read) = <Vec<Entry>>::into_iter(part).partition(|e| e.message.is_paged());
                queue.put_back(consumer, <Vec<Entry>>::into_iter(unread), Return::Undone);
                then(&queue, read);
                if let Some(runtime) = &queue.core.runtime {
                    // What is let go may go on to other queues, and must not be read faster than it can be written.
                    runtime.block_on(queue.core.store.relieved());
                }
            }
        };
        match &core.runtime {
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
            let mut state = self.state.lock();
            // It may be packed: a restart packs runs with dead letters that are kept as any other.
            let run = state.runs.of_mut(seq)?;
            (run.place?, run.ordinals.at(u32::try_from(seq.0 - run.first.0).ok()?))
        };
        if last.as_ref().is_none_or(|(read, _)| *read != place) {
            let bytes = self.core.store.read(place).ok()?;
            *last = Some((place, Blob::read(bytes, place)?));
        }
        last.as_ref()?.1.message(ordinal)
    }
}
