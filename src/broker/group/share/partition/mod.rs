//! One partition as a share group sees it (KIP-932): which records are available, which are lent to whom until when,
//! and which are done with. Pure: time and what was read come in.
//!
//! Records are kept as ranges of offsets in the same state. Everything before `start` is done with; everything from `end`
//! on has never been lent.
//!
//! ```text
//!                    acquire                        accept
//!   ┌───────────┐ ────────────►  ┌──────────┐ ────────────────────► Acknowledged
//!   │ Available │                │ Acquired │   reject, or released
//!   └───────────┘ ◄────────────  └──────────┘ ────────────────────► Archived
//!                  release, or the           too often, or a gap
//!                  lock's time is over
//! ```

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

    /// Lends records of what was read from `from` on.
    pub fn acquire(
        &mut self,
        now: Instant,
        member: &MemberId,
        from: i64,
        batches: &[ReadBatch],
        wanted: Wanted,
        terms: &ShareTerms,
    ) -> Vec<Acquired> {
        let Some(read_to) = batches.last().map(|batch| batch.last).filter(|last| *last >= from) else {
            return Vec::new();
        };
        self.take_in(from, read_to, batches, terms);
        let (mut acquired, mut count) = (Vec::new(), 0);
        let until = now + terms.lock;
        for batch in batches.iter().filter(|batch| !batch.hidden) {
            let mut at = batch.base.max(from);
            while at <= batch.last && count < wanted.records_max {
                self.split(at);
                let Some((first, range)) = self.ranges.range(at..).next() else { break };
                let (first, available) = (*first, range.state == State::Available);
                if first > batch.last {
                    break;
                }
                let mut last = range.last.min(batch.last).min(first + wanted.batch_records.max(1) - 1);
                if wanted.strict {
                    last = last.min(first + (wanted.records_max - count) - 1);
                } else if range.delivery_count == 0 {
                    // Fresh batches are lent whole, in chunks of whole batches at least.
                    last = range.last.min(batch.last);
                }
                at = last + 1;
                if !available {
                    continue;
                }
                self.split(last + 1);
                if let Some(range) = self.ranges.get_mut(&first) {
                    range.delivery_count = range.delivery_count.saturating_add(1);
                    range.state = State::Acquired { member: member.clone(), until };
                    count += last - first + 1;
                    acquired.push(Acquired { first, last, delivery_count: range.delivery_count });
                }
            }
        }
        self.advance();
        joined(acquired, wanted.batch_records)
    }

    /// Puts what was read and has never been lent among the available, as far as there is room; what is not there to
    /// be read, or not to be seen, is done with.
    fn take_in(&mut self, from: i64, read_to: i64, batches: &[ReadBatch], terms: &ShareTerms) {
        let room_to = self.start + terms.records_max - 1;
        let mut at = self.end.max(from);
        if self.end <= read_to && from <= self.end {
            let begin = at;
            for batch in batches.iter().filter(|batch| batch.last >= begin) {
                if batch.base > room_to && !self.ranges.is_empty() {
                    break;
                }
                if batch.base > at {
                    self.insert(at, batch.base - 1, State::Archived);
                }
                let first = batch.base.max(at);
                self.insert(first, batch.last, if batch.hidden { State::Archived } else { State::Available });
                at = batch.last + 1;
            }
            self.end = self.end.max(at);
        }
        // What was available once and is not there any more.
        let gone = |first: i64, last: i64| !batches.iter().any(|b| b.base <= last && first <= b.last);
        let lost: Vec<i64> = self
            .ranges
            .range(from..=read_to)
            .filter(|(first, range)| range.state == State::Available && gone(**first, range.last))
            .map(|(first, _)| *first)
            .collect();
        for first in lost {
            self.ranges.get_mut(&first).into_iter().for_each(|range| range.state = State::Archived);
        }
    }

    fn insert(&mut self, first: i64, last: i64, state: State) {
        self.ranges.insert(first, Range { last, state, delivery_count: 0 });
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
                Some(mut last)
                    if !range.state.is_acquired()
                        && last.get().state == range.state
                        && last.get().delivery_count == range.delivery_count =>
                {
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
            partition.ranges.insert(first, Range { last, state, delivery_count });
        }
        r.is_done().then_some(partition)
    }
}

impl Range {
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

/// Neighbours that were lent as often are one range in the answer, up to about `batch_records`.
fn joined(acquired: Vec<Acquired>, batch_records: i64) -> Vec<Acquired> {
    let mut all: Vec<Acquired> = Vec::with_capacity(acquired.len());
    for next in acquired {
        match all.last_mut() {
            Some(last)
                if last.last + 1 == next.first
                    && last.delivery_count == next.delivery_count
                    && last.last - last.first + 1 < batch_records =>
            {
                last.last = next.last;
            }
            Some(_) | None => all.push(next),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::clock;

    const LOCK: Duration = Duration::from_secs(30);

    fn terms() -> ShareTerms {
        ShareTerms { lock: LOCK, delivery_count_limit: 3, records_max: 100 }
    }

    const WANTED: Wanted = Wanted { records_max: 500, batch_records: 500, strict: false };

    fn batches(of: &[(i64, i64)]) -> Vec<ReadBatch> {
        of.iter().map(|(base, last)| ReadBatch { base: *base, last: *last, hidden: false }).collect()
    }

    struct Bench {
        partition: SharePartition,
        now: Instant,
        log: Vec<ReadBatch>,
    }

    impl Bench {
        fn new(log: &[(i64, i64)]) -> Self {
            Self { partition: SharePartition::new(0), now: clock::epoch(), log: batches(log) }
        }

        fn acquire_as(&mut self, member: &str, wanted: Wanted) -> Vec<(i64, i64, i16)> {
            let from = self.partition.next_offset();
            let read: Vec<ReadBatch> = self.log.iter().filter(|b| b.last >= from).copied().collect();
            let acquired = self.partition.acquire(self.now, &member.into(), from, &read, wanted, &terms());
            acquired.iter().map(|a| (a.first, a.last, a.delivery_count)).collect()
        }

        fn acquire(&mut self, member: &str) -> Vec<(i64, i64, i16)> {
            self.acquire_as(member, WANTED)
        }

        fn acknowledge(
            &mut self,
            member: &str,
            first: i64,
            last: i64,
            types: &[Acknowledge],
        ) -> Result<(), NotAcknowledged> {
            let each = Acknowledgement { first, last, types: types.to_vec() };
            self.partition.acknowledge(self.now, &member.into(), &[each], &terms())
        }

        fn expire(&mut self) {
            self.now += LOCK;
            self.partition.expire(self.now, &terms());
        }
    }

    use Acknowledge::*;

    #[test]
    fn what_one_member_has_another_has_not_until_it_is_given_back() {
        let mut bench = Bench::new(&[(0, 4), (5, 9)]);
        let five = Wanted { records_max: 5, ..WANTED };
        assert_eq!(bench.acquire_as("a", five), [(0, 4, 1)]);
        assert_eq!(bench.acquire_as("b", five), [(5, 9, 1)]);
        assert_eq!(bench.acquire("c"), []);
        bench.acknowledge("a", 0, 4, &[Accept, Release, Accept, Reject, Gap]).unwrap();
        assert_eq!((bench.partition.start(), bench.partition.done_ahead()), (1, 3));
        assert_eq!(bench.acquire("c"), [(1, 1, 2)]);
        bench.acknowledge("c", 1, 1, &[Accept]).unwrap();
        assert_eq!(bench.partition.start(), 5);
        bench.acknowledge("b", 5, 9, &[Accept]).unwrap();
        assert_eq!((bench.partition.start(), bench.partition.next_offset()), (10, 10));
    }

    #[test]
    fn a_lock_ends_and_a_record_lent_too_often_is_archived() {
        let mut bench = Bench::new(&[(0, 0)]);
        for count in 1..=3 {
            assert_eq!(bench.acquire("a"), [(0, 0, count)]);
            assert_eq!(bench.partition.next_expiry(), Some(bench.now + LOCK));
            bench.expire();
        }
        assert_eq!((bench.acquire("a"), bench.partition.start()), (vec![], 1));
    }

    #[test]
    fn a_renewed_lock_lasts_longer() {
        let mut bench = Bench::new(&[(0, 0)]);
        bench.acquire("a");
        bench.now += LOCK / 2;
        bench.acknowledge("a", 0, 0, &[Renew]).unwrap();
        bench.now += LOCK / 2;
        assert!(!bench.partition.expire(bench.now, &terms()));
        bench.acknowledge("a", 0, 0, &[Accept]).unwrap();
        assert_eq!(bench.partition.start(), 1);
    }

    #[test]
    fn an_acknowledgement_of_what_one_has_not_is_refused_whole() {
        let mut bench = Bench::new(&[(0, 9)]);
        bench.acquire_as("a", Wanted { records_max: 5, strict: true, ..WANTED });
        bench.acquire("b");
        assert_eq!(bench.acknowledge("a", 3, 6, &[Accept]), Err(NotAcknowledged::NotTheOwner));
        assert_eq!(bench.acknowledge("a", 0, 10, &[Accept]), Err(NotAcknowledged::PastTheEnd));
        bench.acknowledge("a", 1, 2, &[Accept]).unwrap();
        assert_eq!(bench.acknowledge("a", 0, 4, &[Accept]), Err(NotAcknowledged::NotAcquired));
        assert_eq!(bench.partition.start(), 0);
        bench.acknowledge("a", 0, 0, &[Accept]).unwrap();
        assert_eq!(bench.acknowledge("a", 0, 2, &[Accept]), Ok(()), "it is done with already");
    }

    #[test]
    fn a_member_that_goes_away_gives_all_back_as_if_it_had_never_had_it() {
        let mut bench = Bench::new(&[(0, 9)]);
        bench.acquire("a");
        assert!(bench.partition.release(&"a".into()) && !bench.partition.release(&"a".into()));
        assert_eq!(bench.acquire("b"), [(0, 9, 1)]);
    }

    #[test]
    fn a_strict_limit_cuts_batches_and_a_full_partition_lends_nothing_fresh() {
        let mut bench = Bench::new(&[(0, 59), (60, 119), (120, 179)]);
        assert_eq!(bench.acquire_as("a", Wanted { records_max: 7, strict: true, ..WANTED }), [(0, 6, 1)]);
        assert_eq!(bench.acquire("b"), [(7, 119, 1)]);
        assert!(!bench.partition.has_room(&terms()));
        assert_eq!(bench.acquire("c"), []);
        let ranges =
            Bench::new(&[(0, 4), (5, 9), (10, 14)]).acquire_as("a", Wanted { batch_records: 6, ..WANTED });
        assert_eq!(ranges, [(0, 9, 1), (10, 14, 1)]);
    }

    #[test]
    fn gaps_and_aborted_records_are_done_with_and_a_log_that_begins_later_takes_its_part() {
        let mut bench = Bench::new(&[(2, 4), (8, 9)]);
        bench.log.insert(1, ReadBatch { base: 5, last: 6, hidden: true });
        assert_eq!(bench.acquire("a"), [(2, 4, 1), (8, 9, 1)]);
        bench.acknowledge("a", 2, 4, &[Accept]).unwrap();
        assert_eq!(bench.partition.start(), 8);
        assert!(bench.partition.trim(9) && !bench.partition.trim(9));
        bench.acknowledge("a", 8, 9, &[Release]).unwrap();
        assert_eq!((bench.partition.start(), bench.partition.next_offset()), (9, 9));
    }

    #[test]
    fn a_restart_ends_the_locks_and_remembers_how_often() {
        let mut bench = Bench::new(&[(0, 5)]);
        bench.acquire("a");
        bench.acknowledge("a", 1, 2, &[Accept]).unwrap();
        bench.partition = SharePartition::decode(&bench.partition.encode().into()).unwrap();
        assert_eq!(bench.acquire("b"), [(0, 0, 2), (3, 5, 2)]);
        assert_eq!(SharePartition::decode(&Bytes::from_static(b"x")), None);
    }

    proptest! {
        /// Members acquire, acknowledge, leave; locks end; the broker restarts. Every record is accepted once, at most
        /// one member has it at a time, and the start never falls.
        #[test]
        fn every_record_is_accepted_once(ops in vec((0..6u8, 0..3usize, 1..20i64), 1..120)) {
            let mut bench = Bench::new(&[(0, 4), (5, 5), (6, 19), (20, 39)]);
            let limit = i16::MAX;
            let terms = ShareTerms { delivery_count_limit: limit, ..terms() };
            let mut held: [Vec<(i64, i64)>; 3] = Default::default();
            let mut accepted = std::collections::BTreeSet::new();
            let mut start = 0;
            for (op, who, n) in ops {
                let member = MemberId::from(["a", "b", "c"][who]);
                match op {
                    0 | 1 => {
                        let from = bench.partition.next_offset();
                        let read: Vec<ReadBatch> = bench.log.iter().filter(|b| b.last >= from).copied().collect();
                        let wanted = Wanted { records_max: n, batch_records: n, strict: op == 1 };
                        for a in bench.partition.acquire(bench.now, &member, from, &read, wanted, &terms) {
                            prop_assert!(!held.iter().flatten().any(|(f, l)| *f <= a.last && a.first <= *l));
                            prop_assert!((a.first..=a.last).all(|offset| !accepted.contains(&offset)));
                            held[who].push((a.first, a.last));
                        }
                    }
                    2 | 3 => if let Some((first, last)) = held[who].pop() {
                        let how = if op == 2 { Acknowledge::Accept } else { Acknowledge::Release };
                        let each = Acknowledgement { first, last, types: vec![how] };
                        bench.partition.acknowledge(bench.now, &member, &[each], &terms).unwrap();
                        if op == 2 { accepted.extend(first..=last); }
                    }
                    4 => {
                        bench.partition.release(&member);
                        held[who].clear();
                    }
                    _ => {
                        if n % 2 == 0 {
                            bench.now += LOCK;
                            bench.partition.expire(bench.now, &terms);
                        } else {
                            bench.partition = SharePartition::decode(&bench.partition.encode().into()).unwrap();
                        }
                        held.iter_mut().for_each(Vec::clear);
                    }
                }
                prop_assert!(bench.partition.start() >= start);
                start = bench.partition.start();
                prop_assert!((0..start).all(|offset| accepted.contains(&offset)));
            }
        }
    }
}
