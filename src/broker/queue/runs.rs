//! What a durable queue has in the log: all its runs, oldest first.
//!
//! A run is what one publish batch put into this queue, or several batches that went into the log together.
//! Acknowledging marks messages of a run as gone; the run's entry is deleted with its last message. Entries are
//! absolute values, so replaying them twice does no harm.
//!
//! ```text
//! blocks   [ run run run ]  [ packed ]  [ packed ]  …  [ packed ]  [ run run run ]  [ run ]
//!            around the head    the middle: nobody touches it          the tail: new runs
//! ```
//!
//! Runs lie in blocks. A block in the middle of a long queue is packed into some bytes for each run (`run.rs`), and
//! opened again when the head comes to it or its chunks must move.

use std::collections::{BTreeSet, VecDeque};

pub use super::run::{ENTRY_BYTES, Ordinals, Run};
use super::{QueueId, Seq, run::Expected};
use crate::store::Place;

/// What the next ack flush writes for one run.
#[derive(Debug, PartialEq, Eq)]
pub enum IndexChange {
    Delete(Seq, Place),
    Put(Seq, Vec<u8>),
}

/// Runs in a block. Few under test, so that simulated queues have several.
const BLOCK_RUNS: usize = if cfg!(test) { 4 } else { 512 };

#[derive(Debug)]
enum Block {
    /// Never empty, but for the moment within a change.
    Open {
        runs: VecDeque<Run>,
        dead: usize,
    },
    Packed(Packed),
}

/// Runs whose messages are all in the log only.
#[derive(Debug)]
struct Packed {
    first: Seq,
    end: Seq,
    count: usize,
    /// The least and the greatest segment.
    segments: (u32, u32),
    bytes: Box<[u8]>,
}

impl Packed {
    /// Unless one of them must stay as it is: not durable yet, under way to another place, to be rewritten.
    fn pack(runs: &VecDeque<Run>) -> Option<Self> {
        let (first, last) = (runs.front()?, runs.back()?);
        let live = || runs.iter().filter(|run| run.left() > 0);
        let mut segments = (u32::MAX, 0);
        for run in live() {
            let place = run.place.filter(|_| run.durable && !run.moving && !run.dirty)?;
            segments = (place.segment.min(segments.0), place.segment.max(segments.1));
        }
        let (mut bytes, mut expected) = (Vec::new(), Expected::first(first.first));
        live().for_each(|run| run.pack(&mut expected, &mut bytes));
        let count = live().count();
        // An open block is never empty.
        (count > 0).then_some(Self {
            first: first.first,
            end: last.end(),
            count,
            segments,
            bytes: bytes.into(),
        })
    }

    fn open(&self) -> VecDeque<Run> {
        let (mut expected, mut packed) = (Expected::first(self.first), &*self.bytes);
        std::iter::from_fn(|| Run::unpack(&mut expected, &mut packed)).collect()
    }
}

impl Block {
    /// At or before its first message, and behind the last of the block before.
    fn first(&self) -> Seq {
        match self {
            Self::Open { runs, .. } => runs.front().map_or(Seq(u64::MAX), |run| run.first),
            Self::Packed(packed) => packed.first,
        }
    }

    fn end(&self) -> Seq {
        match self {
            Self::Open { runs, .. } => runs.back().map_or(Seq(0), Run::end),
            Self::Packed(packed) => packed.end,
        }
    }

    /// Its runs, opened if they are packed.
    fn open(&mut self) -> &mut VecDeque<Run> {
        if let Self::Packed(packed) = self {
            *self = Self::Open { runs: packed.open(), dead: 0 };
        }
        match self {
            Self::Open { runs, .. } => runs,
            Self::Packed(_) => unreachable!("it has just been opened"),
        }
    }

    /// One of its runs has lost its last message.
    fn bury(&mut self) {
        let Self::Open { runs, dead } = self else { return };
        *dead += 1;
        while runs.front().is_some_and(dead_and_staged) {
            runs.pop_front();
            *dead = dead.saturating_sub(1);
        }
        // One old message must not keep all that came after it.
        if *dead * 2 > runs.len() {
            runs.retain(|run| !dead_and_staged(run));
            *dead = 0;
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Open { runs, .. } => runs.is_empty(),
            Self::Packed(packed) => packed.count == 0,
        }
    }
}

/// A run that is not staged yet is still looked for by its Change.
fn dead_and_staged(run: &Run) -> bool {
    run.left() == 0 && run.place.is_some()
}

/// Where a run's Change finds nothing to write.
const NOWHERE: Place = Place { segment: 0, offset: 0, len: 0 };

/// All runs of one queue, oldest first.
#[derive(Debug, Default)]
pub struct Runs {
    blocks: VecDeque<Block>,
    /// Runs with acknowledgements that the log does not know yet.
    dirty: Vec<Seq>,
    /// Entries to delete.
    dead: Vec<(Seq, Place)>,
    /// More of them, packed as they were when they were dropped.
    condemned: Vec<Packed>,
}

impl Runs {
    /// Adds the newest run.
    pub fn push(&mut self, run: Run) {
        match self.blocks.back_mut() {
            Some(Block::Open { runs, .. }) if runs.len() < BLOCK_RUNS => runs.push_back(run),
            Some(_) | None => self.blocks.push_back(Block::Open { runs: [run].into(), dead: 0 }),
        }
    }

    /// Adds a run that recovery found: nobody needs it before the head has come to it.
    pub fn push_stored(&mut self, run: Run) {
        if let Some(Block::Open { runs, .. }) = self.blocks.back()
            && runs.len() >= BLOCK_RUNS
        {
            self.pack(Seq(0), run.first);
        }
        self.push(run);
    }

    /// The block that holds a sequence number, if any does.
    fn block(&self, seq: Seq) -> Option<usize> {
        self.blocks.partition_point(|block| block.first() <= seq).checked_sub(1)
    }

    /// Where a run lies: its block, and its number there.
    fn find(&mut self, seq: Seq) -> Option<(usize, usize)> {
        let block = self.block(seq)?;
        if self.blocks.get(block)?.end() <= seq {
            return None;
        }
        let runs = self.blocks.get_mut(block)?.open();
        let index = runs.partition_point(|run| run.first <= seq).checked_sub(1)?;
        (seq < runs.get(index)?.end()).then_some((block, index))
    }

    /// The run that holds a sequence number, unless it is packed: one with a message in memory never is.
    #[must_use]
    pub fn of(&self, seq: Seq) -> Option<&Run> {
        let Block::Open { runs, .. } = self.blocks.get(self.block(seq)?)? else { return None };
        let run = runs.get(runs.partition_point(|run| run.first <= seq).checked_sub(1)?)?;
        (seq < run.end()).then_some(run)
    }

    /// Whether the log still has a message of this number, for all one knows: what of a packed block is gone is not
    /// looked at.
    #[must_use]
    pub fn holds(&self, seq: Seq) -> bool {
        match self.block(seq).and_then(|block| self.blocks.get(block)) {
            Some(Block::Packed(packed)) => seq < packed.end,
            Some(Block::Open { .. }) => {
                let n = |run: &Run| u32::try_from(seq.0 - run.first.0).unwrap_or(u32::MAX);
                self.of(seq).is_some_and(|run| run.has(n(run)))
            }
            None => false,
        }
    }

    /// The run that holds a sequence number. Opens its block.
    pub fn of_mut(&mut self, seq: Seq) -> Option<&mut Run> {
        let (block, index) = self.find(seq)?;
        self.blocks.get_mut(block)?.open().get_mut(index)
    }

    /// A run of that block has lost its last message.
    fn bury(&mut self, block: usize) {
        let Some(buried) = self.blocks.get_mut(block) else { return };
        buried.bury();
        if buried.is_empty() {
            self.blocks.remove(block);
        }
    }

    fn bury_of(&mut self, seq: Seq) {
        if let Some(block) = self.block(seq) {
            self.bury(block);
        }
    }

    /// A message is gone for good. Unknown ones (transient messages) are none of our business.
    pub fn acknowledge(&mut self, seq: Seq) {
        let Some((block, index)) = self.find(seq) else { return };
        let Some(run) = self.blocks.get_mut(block).and_then(|block| block.open().get_mut(index)) else {
            return;
        };
        let n = u32::try_from(seq.0 - run.first.0).unwrap_or(u32::MAX);
        if !run.mark(n) {
            return;
        }
        // What the committer has not staged yet needs no second entry: it will see what is left.
        let Some(place) = run.place else { return };
        let first = run.first;
        if run.left() == 0 {
            self.dead.push((first, place));
            self.bury(block);
        } else if !run.dirty {
            run.dirty = true;
            self.dirty.push(first);
        }
    }

    /// All messages from one sequence number to before another are gone for good; those of packed blocks unseen.
    pub fn acknowledge_all(&mut self, from: Seq, end: Seq) {
        let mut at = from;
        while at < end {
            let Some(index) = self.blocks.iter().position(|block| block.end() > at) else { return };
            let Some(block) = self.blocks.get_mut(index) else { return };
            if let Block::Packed(packed) = block
                && packed.first >= at
                && packed.end <= end
            {
                at = packed.end;
                if let Some(Block::Packed(packed)) = self.blocks.remove(index) {
                    self.condemned.push(packed);
                }
                continue;
            }
            let to = block.end().min(end);
            let runs = block.open().iter().filter(|run| run.end() > at && run.first < to);
            let seqs = runs.flat_map(|run| run.first.max(at).0..run.end().min(to).0).collect::<Vec<_>>();
            seqs.into_iter().for_each(|seq| self.acknowledge(Seq(seq)));
            at = to;
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
        let mut changes = Vec::new();
        for &first in &touched {
            let Some(run) = self.of(first) else { continue };
            let Some(place) = run.place else { continue };
            changes.push(match run.left() {
                0 => IndexChange::Delete(first, place),
                1.. => IndexChange::Put(first, run.encode(place)),
            });
        }
        let dead = changes.iter().filter_map(|change| match change {
            IndexChange::Delete(first, _) => Some(*first),
            IndexChange::Put(..) => None,
        });
        dead.for_each(|first| self.bury_of(first));
        changes
    }

    /// What [`Runs::acknowledge_now`] may write for these messages, at most.
    #[must_use]
    pub fn acknowledge_bytes_max(&self, seqs: impl Iterator<Item = Seq>) -> usize {
        let mut touched = BTreeSet::new();
        let mut bytes = 0;
        for seq in seqs {
            let Some(run) = self.of(seq) else { continue };
            if touched.insert(run.first) {
                bytes += run.entry_bytes() + run.count as usize / 8 + 8;
            }
        }
        bytes
    }

    /// The committer writes the run: its place, or nothing when all of it is gone already.
    pub fn stage(&mut self, first: Seq, place: impl FnOnce() -> Place) -> Option<(Place, Vec<u8>)> {
        let run = self.of_mut(first)?;
        if run.left() == 0 {
            run.place = Some(NOWHERE);
            self.bury_of(first);
            return None;
        }
        let place = place();
        run.place = Some(place);
        let value = run.encode(place);
        Some((place, value))
    }

    /// The committer writes runs that follow one another as one chunk: each with the number of messages before its own
    /// there, or `None` when it was left out because all of it was gone. They become one run, as far as no other
    /// message lies between them. Returns the entries to write.
    pub fn stage_joined(&mut self, parts: &[(Seq, Option<u32>)], place: Place) -> Vec<(Seq, Vec<u8>)> {
        let mut joined: Vec<Run> = Vec::new();
        for &(first, before) in parts {
            let Some(before) = before else {
                self.stage(first, || NOWHERE);
                continue;
            };
            let Some(mut run) = self.take(first) else { continue };
            run.shift(before);
            match joined.last_mut().filter(|last| last.end() == run.first) {
                Some(last) => last.absorb(&run),
                None => joined.push(run),
            }
        }
        let mut entries = Vec::new();
        for mut run in joined.into_iter().filter(|run| run.left() > 0) {
            run.place = Some(place);
            entries.push((run.first, run.encode(place)));
            self.put_back(run);
        }
        entries
    }

    fn take(&mut self, first: Seq) -> Option<Run> {
        let (block, index) = self.find(first)?;
        let runs = self.blocks.get_mut(block)?.open();
        let run = runs.remove(index);
        if runs.is_empty() {
            self.blocks.remove(block);
        }
        run
    }

    fn put_back(&mut self, run: Run) {
        let block = self.block(run.first).unwrap_or(0);
        match self.blocks.get_mut(block) {
            Some(Block::Open { runs, .. }) => {
                let at = runs.partition_point(|other| other.first < run.first);
                runs.insert(at, run);
            }
            Some(packed @ Block::Packed(_)) => {
                let at = block + usize::from(packed.first() < run.first);
                self.blocks.insert(at, Block::Open { runs: [run].into(), dead: 0 });
            }
            None => self.blocks.push_back(Block::Open { runs: [run].into(), dead: 0 }),
        }
    }

    /// Whether an ack flush has something to write.
    #[must_use]
    pub fn unflushed(&self) -> bool {
        !self.dirty.is_empty() || !self.dead.is_empty() || !self.condemned.is_empty()
    }

    /// Bytes that a flush of everything would write, at most.
    #[must_use]
    pub fn unflushed_bytes(&self) -> usize {
        let dirty = self.dirty.iter().filter_map(|&first| self.of(first)).map(Run::entry_bytes);
        let condemned = self.condemned.iter().map(|packed| packed.count).sum::<usize>();
        (self.dead.len() + condemned) * ENTRY_BYTES + dirty.sum::<usize>()
    }

    /// What the log must learn about acknowledgements since the last call, as far as it goes into `bytes_max`.
    pub fn flush(&mut self, bytes_max: usize) -> Vec<IndexChange> {
        let count_max = bytes_max / ENTRY_BYTES;
        while self.dead.len() < count_max
            && let Some(packed) = self.condemned.pop()
        {
            self.dead.extend(packed.open().iter().filter_map(|run| Some((run.first, run.place?))));
        }
        let count = self.dead.len().min(count_max);
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
            if let (1.., Some(place)) = (run.left(), run.place) {
                changes.push(IndexChange::Put(first, run.encode(place)));
            }
        }
        changes
    }

    /// The next runs with messages at or behind `from`, in order, until their bodies come to `bytes_max`; one at
    /// least, if there is any. Opens their blocks.
    pub fn next(&mut self, from: Seq, bytes_max: usize) -> Vec<Seq> {
        let mut found = Vec::new();
        let (mut at, mut bytes) = (from, 0);
        while let Some(block) = self.blocks.iter_mut().find(|block| block.end() > at) {
            at = block.end();
            for run in block.open().iter().filter(|run| run.end() > from && run.left() > 0) {
                bytes += run.body_bytes.max(1);
                if !found.is_empty() && bytes > bytes_max {
                    return found;
                }
                found.push(run.first);
            }
        }
        found
    }

    /// Packs the newest blocks that lie within these messages, all of which are in the log only.
    pub fn pack(&mut self, from: Seq, end: Seq) {
        let open = |block: &&mut Block| matches!(block, Block::Open { .. });
        for block in self.blocks.iter_mut().rev().skip_while(|block| block.end() > end).take_while(open) {
            let Block::Open { runs, .. } = block else { return };
            if runs.front().is_none_or(|run| run.first < from) {
                return;
            }
            if runs.len() >= BLOCK_RUNS / 2
                && let Some(packed) = Packed::pack(runs)
            {
                *block = Block::Packed(packed);
            }
        }
    }

    /// Durable runs that lie in that segment, and where.
    #[must_use]
    pub fn in_segment(&self, segment: u32) -> Vec<(Seq, Place)> {
        let mut found = Vec::new();
        let mut look = |run: &Run| {
            let place = run.place.filter(|place| place.segment == segment && run.durable && run.left() > 0);
            found.extend(place.map(|place| (run.first, place)));
        };
        for block in &self.blocks {
            match block {
                Block::Open { runs, .. } => runs.iter().for_each(&mut look),
                Block::Packed(packed) => {
                    if (packed.segments.0..=packed.segments.1).contains(&segment) {
                        packed.open().iter().for_each(&mut look);
                    }
                }
            }
        }
        found
    }

    /// Everything is gone: what the log knows of it is deleted by the next flushes.
    pub fn kill_all(&mut self) {
        self.dirty.clear();
        for block in std::mem::take(&mut self.blocks) {
            match block {
                Block::Packed(packed) => self.condemned.push(packed),
                Block::Open { mut runs, .. } => {
                    for run in runs.iter_mut().filter(|run| run.left() > 0) {
                        run.kill();
                        self.dead.extend(run.place.map(|place| (run.first, place)));
                    }
                    // Those that are not staged yet are still looked for.
                    runs.retain(|run| !dead_and_staged(run));
                    if !runs.is_empty() {
                        self.blocks.push_back(Block::Open { runs, dead: 0 });
                    }
                }
            }
        }
    }

    /// How many blocks are packed.
    #[cfg(test)]
    fn packed(&self) -> usize {
        self.blocks.iter().filter(|block| matches!(block, Block::Packed(_))).count()
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
mod tests;
