//! Batches of a quorum queue on their way into the log: nobody sees their messages before they are there.
//!
//! A batch has a run for each level, and messages are shown in the order in which they were published, whatever their
//! levels. So a batch waits for all of its runs, and for the batches before it, though the runs of a transaction or of
//! dead letters may come into the log behind later ones.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::{Entry, Seq};

#[derive(Debug)]
struct Awaited {
    first: Seq,
    end: Seq,
    arrived: bool,
}

/// One batch.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    runs: SmallVec<[Awaited; 1]>,
    /// In the order in which they were published.
    pub(super) entries: Vec<Entry>,
}

impl Arrival {
    /// One more of its runs.
    pub(super) fn expect(&mut self, first: Seq, end: Seq) {
        self.runs.push(Awaited { first, end, arrived: false });
    }

    /// Whether its messages are of several levels.
    pub(super) fn mixed(&self) -> bool {
        self.runs.len() > 1
    }
}

/// All of them, in their order.
#[derive(Debug, Default)]
pub(super) struct Arriving(VecDeque<Arrival>);

impl Arriving {
    pub(super) fn push(&mut self, arrival: Arrival) {
        if !arrival.runs.is_empty() {
            self.0.push_back(arrival);
        }
    }

    /// A run is in the log.
    pub(super) fn arrived(&mut self, first: Seq) {
        let mut runs = self.0.iter_mut().flat_map(|arrival| &mut arrival.runs);
        if let Some(run) = runs.find(|run| run.first == first) {
            run.arrived = true;
        }
    }

    /// A run will never be in the log: its messages are nowhere.
    pub(super) fn refused(&mut self, first: Seq) {
        for Arrival { runs, entries } in &mut self.0 {
            if let Some(at) = runs.iter().position(|run| run.first == first) {
                let Awaited { end, .. } = runs.remove(at);
                entries.retain(|entry| entry.seq < first || entry.seq >= end);
                return;
            }
        }
    }

    /// The next batch, if all of it is there.
    pub(super) fn next(&mut self) -> Option<Arrival> {
        self.0.pop_front_if(|arrival| arrival.runs.iter().all(|run| run.arrived))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
