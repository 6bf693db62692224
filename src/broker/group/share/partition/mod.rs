//! One partition as a share group sees it (KIP-932): which records are available, which are lent to whom until when,
//! and which are done with. Pure: time and what was read come in.
//!
//! Records are kept as ranges of offsets in the same state. Everything before `start` is done with; everything from `end`
//! on has never been lent. What is lent next is in `acquire.rs`.
//!
//! ```text
//!                    acquire                        accept
//!   ┌───────────┐ ────────────►  ┌──────────┐ ────────────────────► Acknowledged
//!   │ Available │                │ Acquired │   reject, or released
//!   └───────────┘ ◄────────────  └──────────┘ ────────────────────► Archived
//!                  release, or the           too often, or a gap
//!                  lock's time is over
//! ```

mod acquire;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::broker::{
    group::member::MemberId,
    topic::keys::{Reader, Writer},
};

/// What becomes of records that a member has been lent (`AcknowledgeType` of Kafka; 0 is a gap in the log).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    Gap,
    Accept,
    Release,
    Reject,
    /// The lock begins anew (KIP-1222).
    Renew,
}

impl Acknowledge {
    #[must_use]
    pub fn of(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Gap),
            1 => Some(Self::Accept),
            2 => Some(Self::Release),
            3 => Some(Self::Reject),
            4 => Some(Self::Renew),
            _ => None,
        }
    }
}

/// An acknowledgement of a range of offsets: one type for all, or one for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub first: i64,
    pub last: i64,
    pub types: Vec<Acknowledge>,
}

impl Acknowledgement {
    fn of(&self, offset: i64) -> Acknowledge {
        let at = usize::try_from(offset - self.first).unwrap_or_default();
        let each = if self.types.len() > 1 { self.types.get(at) } else { self.types.first() };
        each.copied().unwrap_or(Acknowledge::Gap)
    }
}

/// Why an acknowledgement is refused; nothing of it has happened then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAcknowledged {
    #[error("Batch record not found. The last offset in request is past acquired records.")]
    PastTheEnd,
    #[error("Member is not the owner of batch record")]
    NotTheOwner,
    #[error("The batch cannot be acknowledged. The batch is not in the acquired state.")]
    NotAcquired,
}

/// Records lent to a member, and how often they have been lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    pub first: i64,
    pub last: i64,
    pub delivery_count: i16,
}

/// What a lending is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareTerms {
    /// `share.record.lock.duration.ms`
    pub lock: Duration,
    /// `share.delivery.count.limit`
    pub delivery_count_limit: i16,
    /// `share.partition.max.record.locks`
    pub records_max: i64,
}

/// What a member wants to be lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub records_max: i64,
    /// Fresh records are lent in ranges of about as many.
    pub batch_records: i64,
    /// `records_max` is a limit; else the batch in which it is reached is still lent whole.
    pub strict: bool,
}

/// A batch that has been read: its offsets, and whether its records must not be seen (an aborted transaction).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBatch {
    pub base: i64,
    pub last: i64,
    pub hidden: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Available,
    Acquired { member: MemberId, until: Instant },
    Acknowledged,
    Archived,
}

impl State {
    fn is_done(&self) -> bool {
        match self {
            Self::Available | Self::Acquired { .. } => false,
            Self::Acknowledged | Self::Archived => true,
        }
    }

    fn is_acquired(&self) -> bool {
        matches!(self, Self::Acquired { .. })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    last: i64,
    state: State,
    delivery_count: i16,
    /// The batch in which it was lent first, by its first and last offset; after a restart, as it was found then.
    batch: Option<(i64, i64)>,
}

/// The state of one share partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharePartition {
    start: i64,
    end: i64,
    /// By their first offsets, without holes from `start` to `end`.
    ranges: BTreeMap<i64, Range>,
}

impl SharePartition {
    #[must_use]
    pub fn new(start: i64) -> Self {
        Self { start, end: start, ranges: BTreeMap::new() }
    }

    /// Everything before this is done with.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Records done with behind the start.
    #[must_use]
    pub fn done_ahead(&self) -> i64 {
        let done = self.ranges.iter().filter(|(_, range)| range.state.is_done());
        done.map(|(first, range)| range.last - first + 1).sum()
    }

    #[must_use]
    pub fn has_available(&self) -> bool {
        self.ranges.values().any(|range| range.state == State::Available)
    }

    /// Where reading goes on: at what has been given back, else behind everything.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        let available = self.ranges.iter().find(|(_, range)| range.state == State::Available);
        available.map_or(self.end, |(first, _)| *first)
    }

    /// Whether records that nobody has had may be lent, too.
    #[must_use]
    pub fn has_room(&self, terms: &ShareTerms) -> bool {
        self.end - self.start < terms.records_max
    }

    /// When the first lock's time is over.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let until = |range: &Range| match range.state {
            State::Acquired { until, .. } => Some(until),
            State::Available | State::Acknowledged | State::Archived => None,
        };
        self.ranges.values().filter_map(until).min()
    }

    /// Acknowledges all of it, or nothing.
    pub fn acknowledge(
        &mut self,
        now: Instant,
        member: &MemberId,
        acknowledgements: &[Acknowledgement],
        terms: &ShareTerms,
    ) -> Result<(), NotAcknowledged> {
        for each in acknowledgements {
            self.check(member, each)?;
        }
        // What is before the start is done with already.
        let start = self.start;
        for each in acknowledgements.iter().filter(|each| each.last >= start) {
            let first = each.first.max(start);
            self.split(first);
            self.split(each.last + 1);
            if each.types.len() > 1 {
                (first..=each.last).for_each(|offset| self.split(offset));
            }
            for (offset, range) in self.ranges.range_mut(first..=each.last) {
                range.acknowledge(now, each.of(*offset), terms);
            }
        }
        self.advance();
        Ok(())
    }

    fn check(&self, member: &MemberId, each: &Acknowledgement) -> Result<(), NotAcknowledged> {
        if each.last >= self.end {
            return Err(NotAcknowledged::PastTheEnd);
        }
        let before = self.ranges.range(..each.first).next_back();
        let ranges = before.into_iter().chain(self.ranges.range(each.first..=each.last));
        for (_, range) in ranges.filter(|(_, range)| range.last >= each.first) {
            match &range.state {
                State::Acquired { member: owner, .. } if owner == member => {}
                State::Acquired { .. } => return Err(NotAcknowledged::NotTheOwner),
                State::Available | State::Acknowledged | State::Archived => {
                    return Err(NotAcknowledged::NotAcquired);
                }
            }
        }
        Ok(())
    }

    /// A member is gone: what it was lent is available again, and that lending does not count. Whether there was any.
    pub fn release(&mut self, member: &MemberId) -> bool {
        let mut any = false;
        for range in self.ranges.values_mut() {
            if matches!(&range.state, State::Acquired { member: owner, .. } if owner == member) {
                range.state = State::Available;
                range.delivery_count = (range.delivery_count - 1).max(0);
                any = true;
            }
        }
        any
    }

    /// Ends the locks whose time is over. Whether there were any.
    pub fn expire(&mut self, now: Instant, terms: &ShareTerms) -> bool {
        let mut any = false;
        for range in self.ranges.values_mut() {
            if matches!(range.state, State::Acquired { until, .. } if until <= now) {
                range.give_back(terms);
                any = true;
            }
        }
        self.advance();
        any
    }

    /// The log begins later now: what is before that is done with. Whether that changed anything.
    pub fn trim(&mut self, log_start: i64) -> bool {
        if log_start <= self.start {
            return false;
        }
        self.split(log_start);
        self.ranges = self.ranges.split_off(&log_start);
        self.start = log_start;
        self.end = self.end.max(log_start);
        self.advance();
        true
    }

    /// Cuts the range in which `at` lies, so that one begins there.
    fn split(&mut self, at: i64) {
        let Some((first, range)) = self.ranges.range_mut(..at).next_back() else { return };
        if range.last >= at && *first < at {
            let rest = range.clone();
            range.last = at - 1;
            self.ranges.insert(at, rest);
        }
    }

    /// Moves the start past what is done with, and joins neighbours in the same state.
    fn advance(&mut self) {
        while let Some(first) = self.ranges.first_entry() {
            if !first.get().state.is_done() {
                break;
            }
            self.start = first.remove().last + 1;
        }
        match self.ranges.first_key_value() {
            Some((first, _)) => self.start = *first,
            None => self.start = self.end,
        }
        let mut joined = BTreeMap::<i64, Range>::new();
        for (first, range) in std::mem::take(&mut self.ranges) {
            match joined.last_entry() {
                Some(mut last) if range.continues(last.get()) => {
                    last.get_mut().last = range.last;
                }
                Some(_) | None => _ = joined.insert(first, range),
            }
        }
        self.ranges = joined;
    }

    /// What survives a restart: locks do not, but how often records have been lent does.
    ///
    /// ```text
    /// start i64 | end i64 | ranges u32, (first i64 | last i64 | delivery count i16 | state u8)…
    /// ```
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.i64(self.start);
        w.i64(self.end);
        w.count(self.ranges.len());
        for (first, range) in &self.ranges {
            w.i64(*first);
            w.i64(range.last);
            w.i16(range.delivery_count);
            w.u8(match range.state {
                State::Available | State::Acquired { .. } => 0,
                State::Acknowledged => 2,
                State::Archived => 4,
            });
        }
        w.finish()
    }

    #[must_use]
    pub fn decode(value: &Bytes) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let mut partition = Self { start: r.i64()?, end: r.i64()?, ranges: BTreeMap::new() };
        for _ in 0..r.u32()? {
            let (first, last, delivery_count) = (r.i64()?, r.i64()?, r.i16()?);
            let state = match r.u8()? {
                0 => State::Available,
                2 => State::Acknowledged,
                4 => State::Archived,
                _ => return None,
            };
            let batch = (delivery_count > 0).then_some((first, last));
            partition.ranges.insert(first, Range { last, state, delivery_count, batch });
        }
        r.is_done().then_some(partition)
    }
}

impl Range {
    /// Whether it and the one before it are as one.
    fn continues(&self, before: &Self) -> bool {
        let same = before.state == self.state && before.delivery_count == self.delivery_count;
        same && !self.state.is_acquired() && (self.state.is_done() || before.batch == self.batch)
    }

    fn acknowledge(&mut self, now: Instant, how: Acknowledge, terms: &ShareTerms) {
        match how {
            Acknowledge::Accept => self.state = State::Acknowledged,
            Acknowledge::Gap | Acknowledge::Reject => self.state = State::Archived,
            Acknowledge::Release => self.give_back(terms),
            Acknowledge::Renew => {
                if let State::Acquired { until, .. } = &mut self.state {
                    *until = now + terms.lock;
                }
            }
        }
    }

    /// Available again, unless it has been lent too often.
    fn give_back(&mut self, terms: &ShareTerms) {
        let too_often = self.delivery_count >= terms.delivery_count_limit;
        self.state = if too_often { State::Archived } else { State::Available };
    }
}

#[cfg(test)]
mod tests;
