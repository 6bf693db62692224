//! What is lent next (KIP-932).
//!
//! Records that have been lent often are suspect: one of them may be what makes its consumer fail, and all that are
//! lent with it would be archived along with it. From half the delivery limit on a batch is lent alone, and less of it
//! each time; a record that is lent for the last time comes quite alone.

use std::time::Instant;

use super::{Acquired, Range, ReadBatch, SharePartition, ShareTerms, State, Wanted};
use crate::broker::group::member::MemberId;

impl ShareTerms {
    /// From how many deliveries on a batch is suspect.
    fn suspect_from(&self) -> i16 {
        (self.delivery_count_limit.saturating_add(1) / 2).max(2)
    }

    /// A record that may be lent once more comes alone. With a limit of two that would be every one that came back.
    fn is_last_delivery(&self, delivery_count: i16) -> bool {
        self.delivery_count_limit > 2 && delivery_count == self.delivery_count_limit - 1
    }
}

/// A suspect batch that is being lent.
#[derive(Debug)]
struct Suspect {
    batch: (i64, i64),
    count: i64,
    /// So many of its records, at most, once one of them is suspect.
    most: Option<i64>,
}

impl Suspect {
    /// How many records of a range of the batch may be lent now.
    fn allowed(&mut self, delivery_count: i16, terms: &ShareTerms) -> i64 {
        if terms.is_last_delivery(delivery_count) {
            return i64::from(self.count == 0);
        }
        let over = delivery_count - terms.suspect_from();
        if over >= 0 && self.most.is_none() {
            let (first, last) = self.batch;
            let halvings = u32::try_from(over + 1).unwrap_or(1).min(i64::BITS - 1);
            let most = ((last - first + 1) >> halvings).max(1);
            // As many innocent ones came before it: it goes with them.
            self.most = Some(if most > self.count { most } else { i64::MAX });
        }
        self.most.map_or(i64::MAX, |most| most - self.count)
    }

    /// Whether nothing more is lent behind these.
    fn is_over(&self, delivery_count: i16, terms: &ShareTerms) -> bool {
        terms.is_last_delivery(delivery_count) || self.most == Some(self.count)
    }
}

impl SharePartition {
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
        let state = State::Acquired { member: member.clone(), until: now + terms.lock };
        let (mut acquired, mut count, mut suspect) = (Vec::new(), 0, None::<Suspect>);
        'batches: for batch in batches.iter().filter(|batch| !batch.hidden) {
            let mut at = batch.base.max(from);
            while at <= batch.last && count < wanted.records_max {
                self.split(at);
                let Some((first, range)) = self.ranges.range(at..).next() else { break };
                let (first, range) = (*first, range.clone());
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
                if range.state != State::Available {
                    continue;
                }
                if !self.turns_to(&range, &mut suspect, (from, read_to), !acquired.is_empty(), terms) {
                    break 'batches;
                }
                if let Some(suspect) = &mut suspect {
                    let allowed = suspect.allowed(range.delivery_count, terms);
                    if allowed == 0 {
                        break 'batches;
                    }
                    last = last.min(first.saturating_add(allowed - 1));
                    at = last + 1;
                    suspect.count += last - first + 1;
                }
                acquired.push(self.lend(first, last, &state));
                count += last - first + 1;
                if suspect.as_ref().is_some_and(|suspect| suspect.is_over(range.delivery_count, terms)) {
                    break 'batches;
                }
            }
        }
        let acquired = joined(acquired, wanted.batch_records);
        self.mark(&acquired, batches, wanted);
        self.advance();
        acquired
    }

    /// Goes on to a range, perhaps of another batch. False: a suspect batch and any other are not lent together.
    fn turns_to(
        &self,
        range: &Range,
        suspect: &mut Option<Suspect>,
        read: (i64, i64),
        has_any: bool,
        terms: &ShareTerms,
    ) -> bool {
        if suspect.as_ref().is_some_and(|suspect| Some(suspect.batch) == range.batch) {
            return true;
        }
        if suspect.is_some() {
            return false;
        }
        let Some(batch) = range.batch.filter(|batch| self.is_suspect(*batch, read, terms)) else {
            return true;
        };
        *suspect = Some(Suspect { batch, count: 0, most: None });
        !has_any
    }

    /// Whether any record of that batch that could be lent of what was read has been lent too often for comfort.
    fn is_suspect(&self, batch: (i64, i64), read: (i64, i64), terms: &ShareTerms) -> bool {
        let (first, last) = (batch.0.max(read.0), batch.1.min(read.1));
        let mut ranges = self.ranges.range(first..=last.max(first));
        ranges.any(|(_, r)| r.state == State::Available && r.delivery_count >= terms.suspect_from())
    }

    fn lend(&mut self, first: i64, last: i64, state: &State) -> Acquired {
        self.split(last + 1);
        let mut delivery_count = 0;
        if let Some(range) = self.ranges.get_mut(&first) {
            range.delivery_count = range.delivery_count.saturating_add(1);
            range.state = state.clone();
            delivery_count = range.delivery_count;
        }
        Acquired { first, last, delivery_count }
    }

    /// What was fresh makes one batch with what it was lent with; under a strict limit, with the rest of its own.
    fn mark(&mut self, acquired: &[Acquired], batches: &[ReadBatch], wanted: Wanted) {
        for fresh in acquired.iter().filter(|acquired| acquired.delivery_count == 1) {
            let holds = |batch: &&ReadBatch| (batch.base..=batch.last).contains(&fresh.last);
            let whole = batches.iter().find(holds).map(|batch| batch.last).filter(|_| wanted.strict);
            let last = whole.unwrap_or(fresh.last);
            self.split(last + 1);
            for range in self.ranges.range_mut(fresh.first..=last).map(|(_, range)| range) {
                range.batch.get_or_insert((fresh.first, last));
            }
        }
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
        self.ranges.insert(first, Range { last, state, delivery_count: 0, batch: None });
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
