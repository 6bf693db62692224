//! What lies in the log only is read back when the head of its queue runs low, and moved when most of its segment is dead.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use super::{
    Entry, Queue, Seq,
    change::{MoveRun, MovedChunk},
    state::{Effects, State},
};
use crate::{
    broker::{ReadBack, message::Blob, outlet::Event},
    store::Place,
};

/// How much of the middle is read back at once.
const LOAD_BYTES_MAX: usize = if cfg!(test) { 1024 } else { 1024 * 1024 };

impl State {
    /// Runs to be read back: of what was put back without its body first.
    pub(in crate::broker) fn wanted(&mut self) -> Vec<Seq> {
        let mut firsts: Vec<Seq> = Vec::new();
        for seq in self.ready.returned_wanted(LOAD_BYTES_MAX) {
            match self.runs.of_mut(seq).map(|run| run.first) {
                Some(first) if firsts.last() == Some(&first) => {}
                Some(first) => firsts.push(first),
                None => self.ready.restore(seq, Seq(seq.0 + 1), |_| None),
            }
        }
        if firsts.is_empty()
            && let Some(from) = self.ready.wanted()
        {
            // What lies behind the middle is in memory, and perhaps not in the log yet. By the time that such a read has
            // failed it may have become the middle's, and its messages would be lost.
            let end = self.ready.middle(from.level()).map_or(from, |middle| middle.end);
            firsts = self.runs.next(from, LOAD_BYTES_MAX);
            firsts.retain(|first| *first < end);
        }
        firsts
    }

    /// What was asked for has been read, or not: more may be asked for.
    pub fn load_ended(&mut self) {
        self.loading = false;
    }

    /// One run has been read back from the log (or could not be: `None`, and its messages are lost to this process).
    pub fn loaded(&mut self, first: Seq, blob: Option<&Arc<Blob>>) {
        let limits = &self.limits;
        // With the time at which it expires.
        let read = |ordinal: u32| {
            let message = blob?.message(ordinal)?;
            let expires_ms = limits.expires_ms(message.published_ms(), message.expiration_ms());
            Some((message, expires_ms))
        };
        if let Some(run) = self.runs.of_mut(first) {
            let n = |seq: Seq| u32::try_from(seq.0 - run.first.0).unwrap_or(u32::MAX);
            self.ready.restore(run.first, run.end(), |seq| read(run.ordinals.at(n(seq))));
        }
        let Some(from) = self.ready.middle(first.level()).map(|middle| middle.from) else { return };
        if self.runs.next(from, 0).first() != Some(&first) {
            return; // purged meanwhile
        }
        let Some(run) = self.runs.of(first) else { return };
        let (positions, counts, delayed) = (&self.positions, &self.counts, &self.delayed);
        let wanted = |n: &u32| {
            let seq = Seq(run.first.0 + u64::from(*n));
            run.has(*n) && seq >= from && !counts.is_dead(seq) && !delayed.is_apart(seq)
        };
        let count = (0..run.count).filter(wanted).count();
        let entries = (0..run.count).filter(wanted).filter_map(|n| {
            let (message, expires_ms) = read(run.ordinals.at(n))?;
            let seq = Seq(run.first.0 + u64::from(n));
            let returns = counts.of(seq);
            let redelivered = returns.acquired > 0 || positions.may_be_redelivered(seq);
            Some(Entry { seq, message, expires_ms, redelivered, returns })
        });
        self.ready.loaded(run.end(), count, entries);
        self.delayed.forget_apart(from, run.end());
    }
}

impl Queue {
    pub(in crate::broker) fn load(self: &Arc<Self>, runs: Vec<Seq>) {
        let places: Vec<_> = {
            // They may have been packed again since they were asked for: opened, lest they seem to be gone.
            let mut state = self.state.lock();
            runs.into_iter()
                .map(|first| (first, state.runs.of_mut(first).and_then(|run| run.place)))
                .collect()
        };
        let queue = self.clone();
        self.core.read(places, move |read| queue.loaded(&read));
    }

    fn loaded(self: &Arc<Self>, read: &[ReadBack]) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let mut moving = false;
        for ReadBack { first, place, blob } in read {
            let run = if blob.is_none() { state.runs.of_mut(*first) } else { None };
            let (moves, elsewhere) = run.map_or((false, false), |run| (run.moving, run.place != *place));
            moving = moves;
            if moves || elsewhere {
                break; // moved while it was read: it is asked for again
            }
            state.loaded(*first, blob.as_ref());
        }
        // While it moves, asking again at once would be asking in circles: the end of the move asks.
        if !moving {
            state.load_ended();
        }
        self.deliver_locked(&mut state, self.core.clock.now_ms(), &mut effects);
        let getters = state.take_getters();
        drop(state);
        self.follow(effects);
        getters.into_iter().for_each(|outlet| outlet.push(Event::Loaded));
    }

    /// A run's chunk lies where `place` says, and can be read there.
    pub(in crate::broker) fn moved(self: &Arc<Self>, first: Seq, place: Place) {
        self.with_state(|state| {
            if let Some(run) = state.runs.of_mut(first) {
                (run.place, run.moving) = (Some(place), false);
            }
            state.load_ended();
        });
        self.pump();
    }

    /// Moves every run that lies in a mostly dead segment to the end of the log. Blocks while it reads. `moved`: what
    /// other queues' runs have moved already.
    pub fn move_out_of(self: &Arc<Self>, segment: u32, moved: &mut HashMap<Place, Arc<MovedChunk>>) {
        let store = &self.core.store;
        for (first, from) in self.with_state(|state| state.runs.in_segment(segment)) {
            let chunk = match moved.entry(from) {
                hash_map::Entry::Occupied(entry) => entry.get().clone(),
                hash_map::Entry::Vacant(entry) => match store.read(from) {
                    Ok(bytes) => entry.insert(MovedChunk::new(bytes, store.clone())).clone(),
                    Err(error) => {
                        tracing::error!(%error, queue = %self.name, "messages cannot be moved");
                        continue;
                    }
                },
            };
            store.submit(Box::new(MoveRun { queue: self.clone(), first, from, chunk, to: None }));
        }
    }
}
