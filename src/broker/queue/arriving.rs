//! Batches of a quorum queue on their way into the log: nobody sees their messages before they are there.
//!
//! A batch has a run for each level, and messages are shown in the order in which they were published, whatever their
//! levels. So a batch waits for all of its runs, and for the batches before it, though the runs of a transaction or of
//! dead letters may come into the log behind later ones. Each batch is seen, and what is too much dropped, before the
//! next one comes, as RabbitMQ applies one command after the other.
//!
//! What a consumer gives back, and goes behind the others, is that consumer's until it is there.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::{ConsumerId, Entry, Seq};

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
    pub(super) holder: Holder,
}

/// Whose messages they are until they have arrived.
#[derive(Debug, Default, Clone, Copy)]
pub(super) enum Holder {
    /// They are published.
    #[default]
    Nobody,
    /// One consumer (`None`: `basic.get`) gives them back.
    Consumer(Option<ConsumerId>),
}

impl Arrival {
    /// What a consumer gives back.
    pub(super) fn back(consumer: Option<ConsumerId>) -> Self {
        Self { holder: Holder::Consumer(consumer), ..Self::default() }
    }

    /// One more of its runs.
    pub(super) fn expect(&mut self, first: Seq, end: Seq) {
        self.runs.push(Awaited { first, end, arrived: false });
    }

    fn is_there(&self) -> bool {
        self.runs.iter().all(|run| run.arrived)
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

    /// A run will never be in the log: its messages are nowhere. Gives them, and whose they were.
    pub(super) fn refused(&mut self, first: Seq) -> Option<(Holder, Vec<Entry>)> {
        let awaits = |arrival: &&mut Arrival| arrival.runs.iter().any(|run| run.first == first);
        let Arrival { runs, entries, holder } = self.0.iter_mut().find(awaits)?;
        let at = runs.iter().position(|run| run.first == first)?;
        let Awaited { end, .. } = runs.remove(at);
        let lost = entries.extract_if(.., |entry| first <= entry.seq && entry.seq < end).collect();
        Some((*holder, lost))
    }

    /// The next batch, if all of it is there.
    pub(super) fn next(&mut self) -> Option<Arrival> {
        self.0.pop_front_if(|arrival| arrival.is_there())
    }

    /// Whether another batch is there.
    pub(super) fn has_next(&self) -> bool {
        self.0.front().is_some_and(Arrival::is_there)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
