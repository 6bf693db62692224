//! What the log knows of a quorum queue's messages one by one: how often each came back (what `x-delivery-count` says and
//! the delivery limit counts), which are dead letters that wait for their targets (`kept.rs`), and which are delayed
//! (`delayed.rs`).
//!
//! A count is noted in the log when it rises, so that it outlives the process; that of a message which is gone is
//! removed with a later note, in sweeps, rather than with every acknowledgement. (rabbit_fifo: return_one.)

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::{QueueId, Seq};
use crate::broker::dead_letter::Reason;

/// Keys of counts in [`Space::State`](crate::store::Space::State): `c` | queue id u64 | sequence number u64.
pub const PREFIX: &[u8] = b"c";

/// Bytes of one note in a frame; rather too many.
pub const NOTE_BYTES: usize = 64;

/// One Change notes at most so many.
const NOTES_MAX: usize = 4_096;

/// Counts kept before those of messages that are gone are looked for.
const SWEEP_MIN: usize = 1_024;

/// How a delivery that was not acknowledged came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// `basic.nack` and `basic.recover`: its consumer does not want it now.
    GivenBack,
    /// `basic.reject`.
    Rejected,
    /// Its consumer had it for too long, and lost it alone.
    TimedOut,
    /// Its consumer is gone.
    Lost,
    /// What was to become of it could not be done.
    Undone,
}

impl Return {
    /// Whether the delivery failed, as RabbitMQ counts it since 4.3.
    #[must_use]
    pub fn failed(self) -> bool {
        match self {
            Self::Rejected | Self::Lost => true,
            Self::GivenBack | Self::TimedOut | Self::Undone => false,
        }
    }

    /// Whether its consumer asked for it.
    #[must_use]
    pub fn by_client(self) -> bool {
        match self {
            Self::GivenBack | Self::Rejected => true,
            Self::TimedOut | Self::Lost | Self::Undone => false,
        }
    }
}

/// How often a message came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// However it came back.
    pub acquired: u16,
    /// Because its delivery failed: it was rejected, or its consumer was lost.
    pub failed: u16,
}

impl Count {
    #[must_use]
    pub fn more(self, failed: bool) -> Self {
        Self {
            acquired: self.acquired.saturating_add(1),
            failed: self.failed.saturating_add(u16::from(failed)),
        }
    }
}

/// What a message that came back is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    #[default]
    Ready,
    /// It was not to be delivered before that time, and may have been since.
    Delayed { due_ms: i64 },
    /// It is a dead letter.
    Dead(Reason),
}

/// What is noted of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Noted {
    pub count: Count,
    pub standing: Standing,
}

impl Noted {
    /// `acquired u16 | failed u16 | reason u8 | due i64`: the reason is 0 or absent for what is alive, the time is there
    /// for what is delayed
    fn encode(self) -> SmallVec<[u8; 13]> {
        let Count { acquired, failed } = self.count;
        let mut value: SmallVec<[u8; 13]> = SmallVec::new();
        value.extend_from_slice(&acquired.to_be_bytes());
        value.extend_from_slice(&failed.to_be_bytes());
        match self.standing {
            Standing::Ready => value.push(0),
            Standing::Delayed { due_ms } => {
                value.push(0);
                value.extend_from_slice(&due_ms.to_be_bytes());
            }
            Standing::Dead(reason) => value.push(reason.octet()),
        }
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (acquired, rest) = value.split_first_chunk()?;
        let (failed, rest) = rest.split_first_chunk()?;
        let count = Count { acquired: u16::from_be_bytes(*acquired), failed: u16::from_be_bytes(*failed) };
        let standing = match rest.split_first() {
            Some((&octet, due)) => match (Reason::of_octet(octet), due.first_chunk()) {
                (Some(reason), _) => Standing::Dead(reason),
                (None, Some(due)) => Standing::Delayed { due_ms: i64::from_be_bytes(*due) },
                (None, None) => Standing::Ready,
            },
            None => Standing::Ready,
        };
        Some(Self { count, standing })
    }
}

/// A note for the log: the key, and what it says from now on.
pub type Note = ([u8; 17], Option<SmallVec<[u8; 13]>>);

/// What is noted of one queue's messages; of most there is nothing.
#[derive(Debug, Default)]
pub struct Counts {
    known: BTreeMap<Seq, Noted>,
    /// Those that the log does not know as they are.
    dirty: BTreeSet<Seq>,
    flushing: bool,
    sweep_at: usize,
}

impl Counts {
    #[must_use]
    pub fn of(&self, seq: Seq) -> Count {
        self.known.get(&seq).map(|noted| noted.count).unwrap_or_default()
    }

    #[must_use]
    pub fn is_dead(&self, seq: Seq) -> bool {
        self.known.get(&seq).is_some_and(|noted| matches!(noted.standing, Standing::Dead(_)))
    }

    /// The dead letters between these positions.
    #[must_use]
    pub fn dead_between(&self, from: Seq, end: Seq) -> Vec<(Seq, Reason)> {
        let dead = |noted: &Noted| match noted.standing {
            Standing::Dead(reason) => Some(reason),
            Standing::Ready | Standing::Delayed { .. } => None,
        };
        self.known.range(from..end).filter_map(|(&seq, noted)| Some((seq, dead(noted)?))).collect()
    }

    /// What is or was delayed between these positions, and until when.
    #[must_use]
    pub fn delayed_between(&self, from: Seq, end: Seq) -> Vec<(Seq, i64)> {
        let due_ms = |noted: &Noted| match noted.standing {
            Standing::Delayed { due_ms } => Some(due_ms),
            Standing::Ready | Standing::Dead(_) => None,
        };
        self.known.range(from..end).filter_map(|(&seq, noted)| Some((seq, due_ms(noted)?))).collect()
    }

    /// The message came back so often now, and is delayed until then. `alive`: whether a message still is.
    pub fn note(&mut self, seq: Seq, count: Count, due_ms: Option<i64>, alive: impl Fn(Seq) -> bool) {
        let standing = due_ms.map_or(Standing::Ready, |due_ms| Standing::Delayed { due_ms });
        self.put(seq, Noted { count, standing }, alive);
    }

    /// The message is a dead letter from now on.
    pub fn died(&mut self, seq: Seq, count: Count, reason: Reason, alive: impl Fn(Seq) -> bool) {
        let noted = Noted { count, standing: Standing::Dead(reason) };
        if self.known.get(&seq) != Some(&noted) {
            self.put(seq, noted, alive);
        }
    }

    fn put(&mut self, seq: Seq, noted: Noted, alive: impl Fn(Seq) -> bool) {
        self.known.insert(seq, noted);
        self.dirty.insert(seq);
        self.sweep(alive);
    }

    /// Forgets counts of messages that are gone, once there are many.
    pub fn sweep(&mut self, alive: impl Fn(Seq) -> bool) {
        if self.known.len() > self.sweep_at.max(SWEEP_MIN) {
            let gone: Vec<_> = self.known.keys().copied().filter(|&seq| !alive(seq)).collect();
            gone.into_iter().for_each(|seq| self.gone(seq));
            self.sweep_at = self.known.len() * 2;
        }
    }

    /// The message has got another place, with one Change: gives what must be noted in the same.
    pub fn relocate(&mut self, queue: QueueId, old: Seq, new: Seq, count: Count) -> [Note; 2] {
        let noted = Noted { count, standing: Standing::Ready };
        self.known.remove(&old);
        self.dirty.remove(&old);
        self.known.insert(new, noted);
        [(key(queue, old), None), (key(queue, new), Some(noted.encode()))]
    }

    /// The message is gone for good.
    pub fn gone(&mut self, seq: Seq) {
        if self.known.remove(&seq).is_some() {
            self.dirty.insert(seq);
        }
    }

    /// The queue is deleted.
    pub fn forget(&mut self) {
        self.dirty.extend(std::mem::take(&mut self.known).into_keys());
    }

    /// What the log says.
    pub(super) fn recover(&mut self, seq: Seq, noted: Noted) {
        self.known.insert(seq, noted);
    }

    /// Whether something must be noted, and nothing is on its way: then so many bytes are.
    pub fn flush(&mut self) -> Option<usize> {
        if self.dirty.is_empty() || self.flushing {
            return None;
        }
        self.flushing = true;
        Some(self.dirty.len().min(NOTES_MAX) * NOTE_BYTES)
    }

    /// What goes into the log now, as far as it goes into `bytes_max`.
    pub fn take(&mut self, queue: QueueId, bytes_max: usize) -> Vec<Note> {
        self.flushing = false;
        let mut notes = Vec::new();
        while notes.len() < bytes_max / NOTE_BYTES
            && let Some(seq) = self.dirty.pop_first()
        {
            notes.push((key(queue, seq), self.known.get(&seq).map(|noted| noted.encode())));
        }
        notes
    }
}

fn key(queue: QueueId, seq: Seq) -> [u8; 17] {
    let mut key = [0; 17];
    let (prefix, rest) = key.split_at_mut(1);
    prefix.copy_from_slice(PREFIX);
    let (id, position) = rest.split_at_mut(8);
    id.copy_from_slice(&queue.0.to_be_bytes());
    position.copy_from_slice(&seq.0.to_be_bytes());
    key
}

/// Reads a key and its value back.
#[must_use]
pub fn read(key: &[u8], value: &[u8]) -> Option<(QueueId, Seq, Noted)> {
    let (id, position) = key.strip_prefix(PREFIX)?.split_at_checked(8)?;
    let number = |bytes: &[u8]| Some(u64::from_be_bytes(bytes.try_into().ok()?));
    Some((QueueId(number(id)?), Seq(number(position)?), Noted::decode(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: QueueId = QueueId(7);

    fn note(counts: &mut Counts, seq: u64, alive: impl Fn(Seq) -> bool) {
        let count = counts.of(Seq(seq)).more(true);
        counts.note(Seq(seq), count, None, alive);
    }

    #[test]
    fn what_is_noted_reads_back() {
        let mut counts = Counts::default();
        note(&mut counts, 3, |_| true);
        note(&mut counts, 3, |_| true);
        assert_eq!(counts.flush(), Some(NOTE_BYTES));
        assert_eq!(counts.flush(), None, "one is on its way");
        let notes = counts.take(QUEUE, NOTE_BYTES);
        let [(key, Some(value))] = notes.as_slice() else { panic!("{notes:?}") };
        let count = Count { acquired: 2, failed: 2 };
        assert_eq!(read(key, value), Some((QUEUE, Seq(3), Noted { count, standing: Standing::Ready })));
        assert_eq!(read(key, &value[..4]), Some((QUEUE, Seq(3), Noted { count, standing: Standing::Ready })));
    }

    #[test]
    fn what_is_delayed_is_noted_with_its_time() {
        let mut counts = Counts::default();
        let count = Count { acquired: 1, failed: 0 };
        counts.note(Seq(3), count, Some(1_700_000_000_000), |_| true);
        let notes = counts.take(QUEUE, NOTE_BYTES);
        let [(key, Some(value))] = notes.as_slice() else { panic!("{notes:?}") };
        let standing = Standing::Delayed { due_ms: 1_700_000_000_000 };
        assert_eq!(read(key, value), Some((QUEUE, Seq(3), Noted { count, standing })));
        assert_eq!(counts.delayed_between(Seq(0), Seq(4)), [(Seq(3), 1_700_000_000_000)]);
        counts.note(Seq(3), count, None, |_| true);
        assert_eq!(counts.delayed_between(Seq(0), Seq(4)), []);
    }

    #[test]
    fn a_dead_letter_is_noted_once_with_its_reason() {
        let mut counts = Counts::default();
        let count = Count { acquired: 1, failed: 1 };
        counts.died(Seq(3), count, Reason::Rejected, |_| true);
        let notes = counts.take(QUEUE, NOTE_BYTES);
        let [(key, Some(value))] = notes.as_slice() else { panic!("{notes:?}") };
        assert_eq!(
            read(key, value),
            Some((QUEUE, Seq(3), Noted { count, standing: Standing::Dead(Reason::Rejected) }))
        );
        assert_eq!(counts.dead_between(Seq(0), Seq(4)), [(Seq(3), Reason::Rejected)]);
        counts.died(Seq(3), count, Reason::Rejected, |_| true);
        assert_eq!(counts.flush(), None, "the log knows");
    }

    #[test]
    fn a_message_that_gets_another_place_is_noted_there_by_its_own_change() {
        let mut counts = Counts::default();
        note(&mut counts, 3, |_| true);
        let count = Count { acquired: 2, failed: 1 };
        let [(_, old), (key, new)] = counts.relocate(QUEUE, Seq(3), Seq(9), count);
        assert_eq!(old, None);
        assert_eq!(
            read(&key, &new.unwrap()),
            Some((QUEUE, Seq(9), Noted { count, standing: Standing::Ready }))
        );
        assert_eq!((counts.of(Seq(3)), counts.of(Seq(9))), (Count::default(), count));
        assert_eq!(counts.flush(), None, "no other note may come before it");
    }

    #[test]
    fn counts_at_places_behind_the_others_are_swept_too() {
        let mut counts = Counts::default();
        let many = SWEEP_MIN as u64;
        for seq in 0..=many {
            counts.relocate(QUEUE, Seq(2 * many + seq), Seq(seq), Count { acquired: 1, failed: 0 });
        }
        counts.sweep(|seq| seq.0 >= many);
        assert_eq!(counts.known.len(), 1);
        let notes = counts.take(QUEUE, usize::MAX);
        assert!(notes.len() == SWEEP_MIN && notes.iter().all(|(_, value)| value.is_none()));
    }

    #[test]
    fn counts_of_messages_that_are_gone_are_swept_out_of_the_log() {
        let mut counts = Counts::default();
        let many = SWEEP_MIN as u64;
        (0..many).for_each(|seq| note(&mut counts, seq, |_| true));
        counts.take(QUEUE, usize::MAX);
        note(&mut counts, many, |seq| seq.0 >= many - 1);
        assert_eq!(counts.known.len(), 2);
        let notes = counts.take(QUEUE, usize::MAX);
        assert_eq!(notes.iter().filter(|(_, value)| value.is_none()).count(), SWEEP_MIN - 1);
    }

    #[test]
    fn the_rest_of_a_large_flush_waits_for_the_next() {
        let mut counts = Counts::default();
        (0..10).for_each(|seq| note(&mut counts, seq, |_| true));
        assert_eq!(counts.take(QUEUE, 4 * NOTE_BYTES).len(), 4);
        assert_eq!(counts.flush(), Some(6 * NOTE_BYTES));
    }
}
