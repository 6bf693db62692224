//! The ready messages of one queue: levels of priority, and before them what a quorum queue got back.
//!
//! ```text
//! returns (a quorum queue's, in the order they came back) → level n → … → level 1 → level 0
//! ```
//!
//! A queue without priorities has one level, and pays nothing for the others. What a level is, and what of it is in
//! memory, is `ready.rs`'s. Each level has a range of sequence numbers of its
//! own, which rise in it, and runs of its own.

use super::{
    Entry, Seq,
    load::Load,
    ready::{Middle, Ready, Written},
    returned::Returned,
    runs::{IndexChange, Run, Runs},
};
use crate::{broker::message::Message, store::Place};

/// Bytes of ready messages in memory at a queue's head, and again at its tail, beyond which durable ones are paged; all
/// levels together. Small under test, so that a simulated queue is paged too.
pub const WINDOW_BYTES: usize = if cfg!(test) { 1024 } else { 1024 * 1024 };

/// A level has at least this much of it: less would read a chunk for each message.
const LEVEL_WINDOW_BYTES_MIN: usize = WINDOW_BYTES / 64;

/// Two high messages go for each normal one (rabbit_fifo_q).
const HIGH_WEIGHT: u8 = 2;

/// Above this a message is high where there are two levels; in a quorum queue it is what has no priority (4.3).
const NORMAL_MAX: u8 = 4;

/// In which order messages leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Fifo,
    /// `x-max-priority`: the highest first.
    Priorities { max: u8 },
    /// A quorum queue until 4.2: high and normal.
    TwoWeighted,
    /// A quorum queue since 4.3: 32 levels, and what has no priority is in the fifth.
    Quorum32,
}

impl Order {
    /// How many levels there are.
    #[must_use]
    pub fn levels(self) -> usize {
        match self {
            Self::Fifo => 1,
            Self::Priorities { max } => usize::from(max) + 1,
            Self::TwoWeighted => 2,
            Self::Quorum32 => 32,
        }
    }

    /// Whether positions tell older messages from younger ones of another level: each batch begins, in every level, behind
    /// all that came before.
    #[must_use]
    pub fn aligned(self) -> bool {
        match self {
            Self::Fifo | Self::Priorities { .. } => false,
            Self::TwoWeighted | Self::Quorum32 => true,
        }
    }

    /// The level of a message with that priority.
    #[must_use]
    #[inline]
    pub fn level(self, priority: Option<u8>) -> usize {
        match self {
            Self::Fifo => 0,
            Self::Priorities { max } => priority.unwrap_or(0).min(max).into(),
            Self::TwoWeighted => usize::from(priority.is_some_and(|priority| priority > NORMAL_MAX)),
            Self::Quorum32 => priority.unwrap_or(NORMAL_MAX).min(31).into(),
        }
    }
}

/// The ready messages.
#[derive(Debug)]
pub struct Levels {
    order: Order,
    /// Never empty.
    levels: Vec<Ready>,
    /// The highest level that has anything; 0 when none has.
    top: usize,
    window_bytes: usize,
    returns: Returned,
    /// High messages that went since the last chance for a normal one.
    high_gone: u8,
    len: usize,
    /// Of all: what no log will have.
    transient: Load,
}

impl Default for Levels {
    fn default() -> Self {
        Self::new(Order::Fifo)
    }
}

impl Levels {
    #[must_use]
    pub fn new(order: Order) -> Self {
        let count = order.levels();
        Self {
            order,
            levels: std::iter::repeat_with(Ready::default).take(count).collect(),
            top: 0,
            window_bytes: (WINDOW_BYTES / count).max(LEVEL_WINDOW_BYTES_MIN),
            returns: Returned::default(),
            high_gone: 0,
            len: 0,
            transient: Load::default(),
        }
    }

    /// Makes sure that there is such a level.
    pub fn grow_to(&mut self, level: usize) {
        while self.levels.len() <= level {
            self.levels.push(Ready::default());
        }
    }

    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of bodies, in memory or not.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.returns.body_bytes() + self.levels.iter().map(Ready::body_bytes).sum::<usize>()
    }

    /// What no log will have.
    #[must_use]
    pub fn transient(&self) -> Load {
        self.transient
    }

    /// What is in memory with its body.
    #[must_use]
    pub fn in_memory(&self) -> Load {
        let all = Load { messages: self.len, body_bytes: self.body_bytes() };
        let middle = |middle: Middle| Load { messages: middle.count, body_bytes: middle.body_bytes };
        self.middles().map(middle).fold(all, Load::less)
    }

    /// Bytes held in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.returns.held_bytes() + self.levels.iter().map(Ready::held_bytes).sum::<usize>()
    }

    /// Adds the newest message.
    #[inline]
    pub fn push(&mut self, entry: Entry) {
        let (index, window_bytes) = (entry.seq.level(), self.window_bytes);
        if let Some(level) = self.levels.get_mut(index) {
            if !entry.message.persistent() {
                self.transient.add(&entry.message);
            }
            level.push(entry, window_bytes);
            self.len += 1;
            self.top = self.top.max(index);
        }
    }

    /// Puts a message back where it was.
    pub fn put_back(&mut self, entry: Entry) {
        let index = entry.seq.level();
        if let Some(level) = self.levels.get_mut(index) {
            if !entry.message.persistent() {
                self.transient.add(&entry.message);
            }
            level.put_back(entry);
            self.len += 1;
            self.top = self.top.max(index);
        }
    }

    /// Puts a message before all that were never delivered, behind those that came back before it.
    pub fn put_return(&mut self, entry: Entry) {
        self.len += 1;
        if !entry.message.persistent() {
            self.transient.add(&entry.message);
        }
        self.returns.push(entry);
    }

    /// The level whose turn it is.
    #[inline]
    fn turn(&self) -> usize {
        if self.order != Order::TwoWeighted || self.high_gone < HIGH_WEIGHT {
            return self.top;
        }
        let [normal, high] = self.levels.as_slice() else { return self.top };
        match (normal.front(), high.front()) {
            // An older high one is not overtaken.
            (Some(a), Some(b)) if older(a, b) => 0,
            (Some(_), None) if high.is_empty() => 0,
            // Which is older is not known before it is read.
            (None, Some(_)) if !normal.is_empty() => 0,
            (Some(_) | None, Some(_) | None) => self.top,
        }
    }

    /// The message that leaves next, if it is in memory.
    #[must_use]
    #[inline]
    pub fn front(&self) -> Option<&Entry> {
        match self.returns.front() {
            Some(entry) => Some(entry).filter(|entry| !entry.message.is_paged()),
            None => self.levels.get(self.turn())?.front(),
        }
    }

    /// Takes the message that leaves next, if it is in memory.
    #[inline]
    pub fn pop(&mut self) -> Option<Entry> {
        let entry = self.take()?;
        if !entry.message.persistent() {
            self.transient.remove(&entry.message);
        }
        Some(entry)
    }

    #[inline]
    fn take(&mut self) -> Option<Entry> {
        if self.returns.front_paged() {
            return None;
        }
        if let Some(entry) = self.returns.pop() {
            self.len -= 1;
            return Some(entry);
        }
        let turn = self.turn();
        let level = self.levels.get_mut(turn)?;
        let entry = level.pop()?;
        self.len -= 1;
        if self.order == Order::TwoWeighted {
            self.high_gone = if self.high_gone == HIGH_WEIGHT { 0 } else { self.high_gone + 1 };
        }
        if turn > 0 && level.is_empty() {
            self.descend();
        }
        Some(entry)
    }

    fn descend(&mut self) {
        let mut below = self.levels.iter().take(self.top + 1);
        self.top = below.rposition(|level| !level.is_empty()).unwrap_or(0);
    }

    /// Whether a tail is over its window.
    #[must_use]
    pub fn tail_full(&self) -> bool {
        self.levels.iter().any(|level| level.tail_full(self.window_bytes))
    }

    /// Forgets durable runs at the tails' fronts while the tails are over their windows.
    #[inline]
    pub fn page_out(&mut self, written: impl Fn(Seq) -> Written) {
        for level in &mut self.levels {
            if level.tail_full(self.window_bytes) {
                level.page_out(self.window_bytes, &written);
            }
        }
    }

    /// Messages that came back without their bodies and must be read now, until their bodies come to `bytes_max`.
    #[must_use]
    pub fn returned_wanted(&self, bytes_max: usize) -> Vec<Seq> {
        if self.returns.front_paged() {
            return self.returns.first(bytes_max);
        }
        self.levels.get(self.turn()).map(|level| level.returned_wanted(bytes_max)).unwrap_or_default()
    }

    /// Messages that came back have been read, with the time at which they expire; those for which there is no body are lost.
    pub fn restore(&mut self, from: Seq, end: Seq, message: impl Fn(Seq) -> Option<(Message, i64)>) {
        self.len -= self.returns.restore(from, end, &message);
        self.change(from.level(), |level| level.restore(from, end, message));
    }

    /// From where messages should be read back: of the highest level that runs low.
    #[must_use]
    pub fn wanted(&self) -> Option<Seq> {
        self.levels.iter().rev().find_map(|level| level.wanted(self.window_bytes))
    }

    /// What of a level is in the log only.
    #[must_use]
    pub fn middle(&self, level: usize) -> Option<Middle> {
        self.levels.get(level)?.middle()
    }

    /// What leaves next, if that is in the log only.
    #[must_use]
    pub fn front_middle(&self) -> Option<Middle> {
        self.levels.get(self.turn())?.middle().filter(|_| self.front().is_none())
    }

    /// Something of the queue is in the log only.
    #[must_use]
    pub fn paged(&self) -> bool {
        self.levels.iter().any(Ready::paged)
    }

    /// What is in the log only, of all levels.
    pub fn middles(&self) -> impl Iterator<Item = Middle> {
        self.levels.iter().filter_map(Ready::middle)
    }

    /// The first run of a level's middle, which ends at `end`, has been read back: `count` messages, or those of them
    /// that could be read.
    pub fn loaded(&mut self, end: Seq, count: usize, entries: impl Iterator<Item = Entry>) {
        self.change(end.level(), |level| level.loaded(end, count, entries));
    }

    fn change(&mut self, level: usize, change: impl FnOnce(&mut Ready)) {
        let Some(level) = self.levels.get_mut(level) else { return };
        let before = level.len();
        change(level);
        self.len = self.len - before + level.len();
        self.descend();
    }

    /// Messages that recovery found: they lie in the log only.
    pub fn push_paged(&mut self, from: Seq, end: Seq, count: usize, body_bytes: usize) {
        let index = from.level();
        // Of a run there may be left what nobody is to get, as dead letters that wait: no turn must come to it.
        if let Some(level) = self.levels.get_mut(index).filter(|_| count > 0) {
            level.push_paged(from, end, count, body_bytes);
            self.len += count;
            self.top = self.top.max(index);
        }
    }

    /// Drops everything; returns the sequence numbers that were in memory, and what was not.
    pub fn clear(&mut self) -> (Vec<Seq>, Vec<Middle>) {
        let mut seqs: Vec<_> = std::mem::take(&mut self.returns).into_seqs().collect();
        let mut middles = Vec::new();
        for level in &mut self.levels {
            let (in_memory, middle) = level.clear();
            seqs.extend(in_memory);
            middles.extend(middle);
        }
        let levels = self.levels.len();
        *self = Self::new(self.order);
        self.grow_to(levels - 1);
        (seqs, middles)
    }
}

/// Whether a message came into the queue before another, of another level: each batch begins, in every level, behind all
/// that came before ([`Positions::align`](super::positions::Positions::align)); within a batch its own order counts.
fn older(a: &Entry, b: &Entry) -> bool {
    a.message.precedes(&b.message).unwrap_or_else(|| a.seq.in_level() < b.seq.in_level())
}

/// The runs of all levels, each asked by its sequence numbers.
#[derive(Debug)]
pub struct LevelRuns(Vec<Runs>);

impl LevelRuns {
    #[must_use]
    pub fn new(order: Order) -> Self {
        Self(std::iter::repeat_with(Runs::default).take(order.levels()).collect())
    }

    /// Makes sure that there is such a level.
    pub fn grow_to(&mut self, level: usize) {
        while self.0.len() <= level {
            self.0.push(Runs::default());
        }
    }

    /// Adds the newest run of its level.
    pub fn push(&mut self, run: Run) {
        if let Some(runs) = self.0.get_mut(run.first.level()) {
            runs.push(run);
        }
    }

    /// Adds a run that recovery found.
    pub fn push_stored(&mut self, run: Run) {
        if let Some(runs) = self.0.get_mut(run.first.level()) {
            runs.push_stored(run);
        }
    }

    /// The run that holds a sequence number.
    #[must_use]
    #[inline]
    pub fn of(&self, seq: Seq) -> Option<&Run> {
        self.0.get(seq.level())?.of(seq)
    }

    /// Whether the log still has a message of this number, for all one knows.
    #[must_use]
    pub fn holds(&self, seq: Seq) -> bool {
        self.0.get(seq.level()).is_some_and(|runs| runs.holds(seq))
    }

    #[inline]
    pub fn of_mut(&mut self, seq: Seq) -> Option<&mut Run> {
        self.0.get_mut(seq.level())?.of_mut(seq)
    }

    /// A message is gone for good.
    #[inline]
    pub fn acknowledge(&mut self, seq: Seq) {
        if let Some(runs) = self.0.get_mut(seq.level()) {
            runs.acknowledge(seq);
        }
    }

    /// All messages of a level from one to another are gone for good.
    pub fn acknowledge_all(&mut self, from: Seq, end: Seq) {
        if let Some(runs) = self.0.get_mut(from.level()) {
            runs.acknowledge_all(from, end);
        }
    }

    /// The next runs of a level with messages at or behind `from`, in order, until their bodies come to `bytes_max`.
    pub fn next(&mut self, from: Seq, bytes_max: usize) -> Vec<Seq> {
        self.0.get_mut(from.level()).map(|runs| runs.next(from, bytes_max)).unwrap_or_default()
    }

    /// Packs the newest blocks that lie within these messages, all of which are in the log only.
    pub fn pack(&mut self, from: Seq, end: Seq) {
        if let Some(runs) = self.0.get_mut(from.level()) {
            runs.pack(from, end);
        }
    }

    /// The committer writes runs that follow one another as one chunk; they are joined within their levels.
    pub fn stage_joined(&mut self, parts: &[(Seq, Option<u32>)], place: Place) -> Vec<(Seq, Vec<u8>)> {
        let level = |(level, runs): (usize, &mut Runs)| {
            let own: Vec<_> = parts.iter().copied().filter(|(first, _)| first.level() == level).collect();
            if own.is_empty() { Vec::new() } else { runs.stage_joined(&own, place) }
        };
        self.0.iter_mut().enumerate().flat_map(level).collect()
    }

    /// Durable runs that lie in that segment, and where.
    #[must_use]
    pub fn in_segment(&self, segment: u32) -> Vec<(Seq, Place)> {
        self.0.iter().flat_map(|runs| runs.in_segment(segment)).collect()
    }

    /// Messages are gone for good, and the log learns it in the turn that is being formed: what it must write.
    pub fn acknowledge_now(&mut self, seqs: impl Iterator<Item = Seq>) -> Vec<IndexChange> {
        let seqs: Vec<_> = seqs.collect();
        let level = |(level, runs): (usize, &mut Runs)| {
            runs.acknowledge_now(seqs.iter().copied().filter(|seq| seq.level() == level))
        };
        self.0.iter_mut().enumerate().flat_map(level).collect()
    }

    /// What [`LevelRuns::acknowledge_now`] may write for these messages, at most.
    #[must_use]
    pub fn acknowledge_bytes_max(&self, seqs: impl Iterator<Item = Seq>) -> usize {
        let seqs: Vec<_> = seqs.collect();
        let level = |(level, runs): (usize, &Runs)| {
            runs.acknowledge_bytes_max(seqs.iter().copied().filter(|seq| seq.level() == level))
        };
        self.0.iter().enumerate().map(level).sum()
    }

    /// The committer writes the run: its place, or nothing when all of it is gone already.
    pub fn stage(&mut self, first: Seq, place: impl FnOnce() -> Place) -> Option<(Place, Vec<u8>)> {
        self.0.get_mut(first.level())?.stage(first, place)
    }

    /// Whether an ack flush has something to write.
    #[must_use]
    #[inline]
    pub fn unflushed(&self) -> bool {
        self.0.iter().any(Runs::unflushed)
    }

    /// Bytes that a flush of everything would write, at most.
    #[must_use]
    pub fn unflushed_bytes(&self) -> usize {
        self.0.iter().map(Runs::unflushed_bytes).sum()
    }

    /// What the log must learn about acknowledgements since the last call, as far as it goes into `bytes_max`.
    pub fn flush(&mut self, bytes_max: usize) -> Vec<IndexChange> {
        let (mut changes, mut left) = (Vec::new(), bytes_max);
        for runs in &mut self.0 {
            let before = runs.unflushed_bytes();
            changes.extend(runs.flush(left));
            left = left.saturating_sub(before.saturating_sub(runs.unflushed_bytes()));
        }
        changes
    }

    /// Everything is gone: what the log knows of it is deleted by the next flushes.
    pub fn kill_all(&mut self) {
        self.0.iter_mut().for_each(Runs::kill_all);
    }
}

#[cfg(test)]
mod tests;
