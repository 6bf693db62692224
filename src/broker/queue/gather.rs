//! What of one publish batch must go into the log: a run for each level, as the batch goes by.

use smallvec::SmallVec;

use super::{
    Seq,
    runs::{Ordinals, Run},
};

/// One run of a batch.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) first: Seq,
    ordinals: Vec<u32>,
    body_bytes: usize,
}

/// A run has no more: its index entry is rewritten when one of its messages is acknowledged, and must go into a flush.
const MESSAGES_MAX: usize = 32 * 1024;

impl Gathered {
    /// The run, once.
    #[must_use]
    pub(super) fn run(&mut self) -> Run {
        let list = std::mem::take(&mut self.ordinals);
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let start = list.first().copied().unwrap_or_default();
        let contiguous = list.iter().zip(start..).all(|(&a, b)| a == b);
        let ordinals = if contiguous { Ordinals::From(start) } else { Ordinals::Listed(list.into()) };
        Run::new(self.first, count, ordinals, self.body_bytes)
    }
}

/// The runs that are open, one for a level.
#[derive(Debug, Default)]
pub(super) struct Gathering(SmallVec<[Gathered; 1]>);

impl Gathering {
    fn open(&mut self, level: usize) -> Option<&mut Gathered> {
        self.0.iter_mut().find(|gathered| gathered.first.level() == level)
    }

    /// Adds the next message of a level. A run that is full is ended by it.
    #[inline]
    pub(super) fn add(&mut self, seq: Seq, ordinal: u32, body_len: usize) -> Option<Gathered> {
        let full = match self.open(seq.level()) {
            Some(gathered) if gathered.ordinals.len() < MESSAGES_MAX => {
                gathered.ordinals.push(ordinal);
                gathered.body_bytes += body_len;
                return None;
            }
            Some(_) => self.end(seq.level()),
            None => None,
        };
        self.0.push(Gathered { first: seq, ordinals: vec![ordinal], body_bytes: body_len });
        full
    }

    /// A message that is not in the log ends its level's run.
    #[inline]
    pub(super) fn end(&mut self, level: usize) -> Option<Gathered> {
        let index = self.0.iter().position(|gathered| gathered.first.level() == level)?;
        Some(self.0.remove(index))
    }

    /// The runs that are still open.
    pub(super) fn into_runs(self) -> impl Iterator<Item = Gathered> {
        self.0.into_iter()
    }
}
