//! What a durable queue has in the log: runs of messages, each an index entry.
//!
//! A run is what one publish batch put into this queue: consecutive sequence numbers, and where in which chunk they
//! lie. Acknowledging marks messages of a run as gone; the run's entry is deleted with its last message. Entries are
//! absolute values, so replaying them twice does no harm.

use std::collections::{BTreeSet, VecDeque};

use smallvec::SmallVec;

use super::{QueueId, Seq};
use crate::store::Place;

/// Bytes of an index entry with its key besides its ordinals and marks, as a frame holds it; rather too many.
pub const ENTRY_BYTES: usize = 96;

/// The ordinals of a run's messages in their chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordinals {
    /// `start`, `start + 1`, …
    From(u32),
    Listed(Box<[u32]>),
}

impl Ordinals {
    #[must_use]
    pub fn at(&self, n: u32) -> u32 {
        match self {
            Self::From(start) => start + n,
            Self::Listed(list) => list.get(n as usize).copied().unwrap_or(u32::MAX),
        }
    }
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    pub first: Seq,
    pub count: u32,
    pub ordinals: Ordinals,
    /// Known once the committer has staged the run's Change.
    pub place: Option<Place>,
    /// The turn that holds it is durable: its messages may be forgotten in memory.
    pub durable: bool,
    /// Its chunk is being written to another place, where it cannot be read yet.
    pub moving: bool,
    /// Bytes of its bodies, all together.
    pub body_bytes: usize,
    left: u32,
    gone: SmallVec<[u64; 1]>,
    dirty: bool,
}

impl Run {
    #[must_use]
    pub fn new(first: Seq, count: u32, ordinals: Ordinals, body_bytes: usize) -> Self {
        Self {
            first,
            count,
            ordinals,
            place: None,
            durable: false,
            moving: false,
            body_bytes,
            left: count,
            gone: SmallVec::new(),
            dirty: false,
        }
    }

    /// How many of its messages have not been acknowledged.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    #[must_use]
    pub fn has(&self, n: u32) -> bool {
        n < self.count && self.gone.get((n / 64) as usize).is_none_or(|word| word & (1 << (n % 64)) == 0)
    }

    fn mark(&mut self, n: u32) -> bool {
        if !self.has(n) {
            return false;
        }
        let word = (n / 64) as usize;
        if self.gone.len() <= word {
            self.gone.resize(word + 1, 0);
        }
        if let Some(bits) = self.gone.get_mut(word) {
            *bits |= 1 << (n % 64);
        }
        self.left -= 1;
        true
    }

    /// What writing its entry costs, at most.
    fn entry_bytes(&self) -> usize {
        let ordinals = match &self.ordinals {
            Ordinals::From(_) => 4,
            Ordinals::Listed(list) => list.len() * 4,
        };
        ENTRY_BYTES + self.gone.len() * 8 + ordinals
    }

    /// The index entry's value:
    ///
    /// ```text
    /// segment u32 | offset u32 | len u32 | count u32 | bodies u32 | words u16, gone u64 … | 0, start u32  or  1, ordinal u32 …
    /// ```
    #[must_use]
    pub fn encode(&self, place: Place) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        let body_bytes = u32::try_from(self.body_bytes).unwrap_or(u32::MAX);
        for word in [place.segment, place.offset, place.len, self.count, body_bytes] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&u16::try_from(self.gone.len()).unwrap_or(u16::MAX).to_be_bytes());
        for word in &self.gone {
            out.extend_from_slice(&word.to_be_bytes());
        }
        match &self.ordinals {
            Ordinals::From(start) => {
                out.push(0);
                out.extend_from_slice(&start.to_be_bytes());
            }
            Ordinals::Listed(list) => {
                out.push(1);
                list.iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
            }
        }
        out
    }

    /// Reads an index entry back.
    #[must_use]
    pub fn decode(first: Seq, value: &[u8]) -> Option<Self> {
        let mut at = Cursor(value);
        let place = Place { segment: at.u32()?, offset: at.u32()?, len: at.u32()? };
        let count = at.u32()?;
        let body_bytes = at.u32()? as usize;
        let words = at.u16()?;
        let gone = (0..words).map(|_| at.u64()).collect::<Option<SmallVec<_>>>()?;
        let ordinals = match at.u8()? {
            0 => Ordinals::From(at.u32()?),
            1 => Ordinals::Listed((0..count).map(|_| at.u32()).collect::<Option<Box<[_]>>>()?),
            _ => return None,
        };
        let dead: u32 = gone.iter().map(|word: &u64| word.count_ones()).sum();
        let left = count.checked_sub(dead)?;
        Some(Self {
            first,
            count,
            ordinals,
            place: Some(place),
            durable: true,
            moving: false,
            body_bytes,
            left,
            gone,
            dirty: false,
        })
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_at_checked(N)?;
        self.0 = tail;
        head.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[b]| b)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

/// What the next ack flush writes for one run.
#[derive(Debug, PartialEq, Eq)]
pub enum IndexChange {
    Delete(Seq, Place),
    Put(Seq, Vec<u8>),
}

/// All runs of one queue, oldest first.
#[derive(Debug, Default)]
pub struct Runs {
    runs: VecDeque<Run>,
    /// Runs with acknowledgements that the log does not know yet.
    dirty: Vec<Seq>,
    /// Entries to delete.
    dead: Vec<(Seq, Place)>,
}

impl Runs {
    /// Adds the newest run.
    pub fn push(&mut self, run: Run) {
        self.runs.push_back(run);
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        let after = self.runs.partition_point(|run| run.first <= seq);
        let index = after.checked_sub(1)?;
        let run = self.runs.get(index)?;
        (seq.0 - run.first.0 < u64::from(run.count)).then_some(index)
    }

    /// The run that holds a sequence number.
    #[must_use]
    pub fn of(&self, seq: Seq) -> Option<&Run> {
        self.runs.get(self.index(seq)?)
    }

    pub fn of_mut(&mut self, seq: Seq) -> Option<&mut Run> {
        let index = self.index(seq)?;
        self.runs.get_mut(index)
    }

    /// A message is gone for good. Unknown ones (transient messages) are none of our business.
    pub fn acknowledge(&mut self, seq: Seq) {
        let Some(run) = self.of_mut(seq) else { return };
        let n = u32::try_from(seq.0 - run.first.0).unwrap_or(u32::MAX);
        if !run.mark(n) {
            return;
        }
        // What the committer has not staged yet needs no second entry: it will see what is left.
        let Some(place) = run.place else { return };
        let first = run.first;
        if run.left == 0 {
            self.dead.push((first, place));
            self.trim();
        } else if !run.dirty {
            run.dirty = true;
            self.dirty.push(first);
        }
    }

    /// Messages are gone for good, and the log learns it in the turn that is being formed: what it must write.
    pub fn acknowledge_now(&mut self, seqs: impl Iterator<Item = Seq>) -> Vec<IndexChange> {
        let mut touched = BTreeSet::new();
        for seq in seqs {
            let Some(run) = self.of_mut(seq) else { continue };
            if run.mark(u32::try_from(seq.0 - run.first.0).unwrap_or(u32::MAX)) {
                touched.insert(run.first);
            }
        }
        let change = |&first: &Seq| {
            let run = self.of(first)?;
            let place = run.place?;
            Some(match run.left {
                0 => IndexChange::Delete(first, place),
                1.. => IndexChange::Put(first, run.encode(place)),
            })
        };
        let changes = touched.iter().filter_map(change).collect();
        self.trim();
        changes
    }

    /// What [`Runs::acknowledge_now`] may write for these messages, at most.
    #[must_use]
    pub fn acknowledge_bytes_max(&self, seqs: impl Iterator<Item = Seq>) -> usize {
        let touched: BTreeSet<Seq> = seqs.filter_map(|seq| self.of(seq)).map(|run| run.first).collect();
        let bytes = |run: &Run| run.entry_bytes() + run.count as usize / 8 + 8;
        touched.iter().filter_map(|&first| self.of(first)).map(bytes).sum()
    }

    fn trim(&mut self) {
        while self.runs.front().is_some_and(|run| run.left == 0 && run.place.is_some()) {
            self.runs.pop_front();
        }
    }

    /// The committer writes the run: its place, or nothing when all of it is gone already.
    pub fn stage(&mut self, first: Seq, place: impl FnOnce() -> Place) -> Option<(Place, Vec<u8>)> {
        let run = self.of_mut(first)?;
        if run.left == 0 {
            run.place = Some(Place { segment: 0, offset: 0, len: 0 });
            self.trim();
            return None;
        }
        let place = place();
        run.place = Some(place);
        let value = run.encode(place);
        Some((place, value))
    }

    /// Whether an ack flush has something to write.
    #[must_use]
    pub fn unflushed(&self) -> bool {
        !self.dirty.is_empty() || !self.dead.is_empty()
    }

    /// Bytes that a flush of everything would write, at most.
    #[must_use]
    pub fn unflushed_bytes(&self) -> usize {
        let dirty = self.dirty.iter().filter_map(|&first| self.of(first)).map(Run::entry_bytes);
        self.dead.len() * ENTRY_BYTES + dirty.sum::<usize>()
    }

    /// What the log must learn about acknowledgements since the last call, as far as it goes into `bytes_max`.
    pub fn flush(&mut self, bytes_max: usize) -> Vec<IndexChange> {
        let count = self.dead.len().min(bytes_max / ENTRY_BYTES);
        let mut changes: Vec<_> =
            self.dead.drain(..count).map(|(seq, place)| IndexChange::Delete(seq, place)).collect();
        let mut bytes = count * ENTRY_BYTES;
        while let Some(first) = self.dirty.pop() {
            let Some(run) = self.of_mut(first) else { continue };
            bytes += run.entry_bytes();
            if bytes > bytes_max {
                self.dirty.push(first);
                break;
            }
            run.dirty = false;
            if let (1.., Some(place)) = (run.left, run.place) {
                changes.push(IndexChange::Put(first, run.encode(place)));
            }
        }
        changes
    }

    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// Everything is gone: what the log knows of it is deleted by the next flushes.
    pub fn kill_all(&mut self) {
        self.dirty.clear();
        for run in &mut self.runs {
            if run.left > 0 {
                run.left = 0;
                self.dead.extend(run.place.map(|place| (run.first, place)));
            }
        }
        self.trim();
    }
}

/// `q` | queue id u64 | first sequence number u64
#[must_use]
pub fn key(queue: QueueId, first: Seq) -> [u8; 17] {
    let mut key = [b'q'; 17];
    let (id, seq) = key.split_at_mut(9);
    id.split_at_mut(1).1.copy_from_slice(&queue.0.to_be_bytes());
    seq.copy_from_slice(&first.0.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { segment: 1, offset: 2, len: 3 };

    fn staged(count: u32) -> Runs {
        let mut runs = Runs::default();
        runs.push(Run::new(Seq(10), count, Ordinals::From(0), 100));
        runs.stage(Seq(10), || PLACE).unwrap();
        runs
    }

    #[test]
    fn an_entry_reads_back_as_it_was() {
        for ordinals in [Ordinals::From(7), Ordinals::Listed(Box::from([1, 5, 9]))] {
            let mut run = Run::new(Seq(10), 3, ordinals.clone(), 100);
            run.mark(1);
            let again = Run::decode(Seq(10), &run.encode(PLACE)).unwrap();
            assert_eq!((again.left(), again.ordinals.clone(), again.place), (2, ordinals, Some(PLACE)));
            assert_eq!((again.has(0), again.has(1), again.has(2), again.has(3)), (true, false, true, false));
        }
    }

    #[test]
    fn a_run_is_deleted_with_its_last_message_and_rewritten_before() {
        let mut runs = staged(2);
        runs.acknowledge(Seq(11));
        assert!(matches!(&runs.flush(1024)[..], [IndexChange::Put(Seq(10), _)]));
        runs.acknowledge(Seq(10));
        assert_eq!(runs.flush(1024), [IndexChange::Delete(Seq(10), PLACE)]);
        assert!(!runs.unflushed());
    }

    #[test]
    fn a_run_acknowledged_before_it_is_staged_leaves_nothing_in_the_log() {
        let mut runs = Runs::default();
        runs.push(Run::new(Seq(0), 1, Ordinals::From(0), 100));
        runs.acknowledge(Seq(0));
        assert!(runs.stage(Seq(0), || unreachable!("nothing is written")).is_none());
        assert!(!runs.unflushed());
    }

    #[test]
    fn the_same_message_counts_once() {
        let mut runs = staged(2);
        runs.acknowledge(Seq(10));
        runs.acknowledge(Seq(10));
        assert_eq!(runs.of(Seq(11)).unwrap().left(), 1);
    }
}
