//! What a quorum queue got back and keeps from its consumers for a while: RabbitMQ 4.3's delayed retries.
//!
//! ```text
//! came back ──(counted; once too often: let go)──▶ delayed ──(its time)──▶ before all that was never delivered
//! ```
//!
//! A delay is `min(min × failed deliveries, max)`, so only failed deliveries make it longer. What is delayed is not ready:
//! it does not expire and nobody can drop it, but it counts for the queue's length. When it is due is noted in the log
//! beside its count (`returns.rs`), and outlives the process. (rabbit_fifo: return_one, should_delay, expire_shallow;
//! rabbit_quorum_queue: get_delayed_retry_config.)

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    Entry, Seq,
    load::Load,
    returns::{Count, Return},
    runs::Run,
    state::State,
};
use crate::broker::message::Message;

/// Which returns are delayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryType {
    All,
    /// Those whose delivery failed.
    Failed,
    /// The others.
    Returned,
}

impl RetryType {
    /// As `x-delayed-retry-type` has it. `disabled`, and whatever else it may say, delays nothing.
    #[must_use]
    pub fn named(word: &[u8]) -> Option<Self> {
        match word {
            b"all" => Some(Self::All),
            b"failed" => Some(Self::Failed),
            b"returned" => Some(Self::Returned),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failed => "failed",
            Self::Returned => "returned",
        }
    }

    fn holds(self, how: Return) -> bool {
        match (self, how) {
            // Nobody gave it back.
            (_, Return::Undone) => false,
            (Self::All, Return::GivenBack | Return::Rejected | Return::TimedOut | Return::Lost) => true,
            (Self::Failed, how) => how.failed(),
            (Self::Returned, how) => !how.failed(),
        }
    }
}

/// `x-delayed-retry-type`, `-min` and `-max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayedRetry {
    pub of: RetryType,
    pub min_ms: u64,
    pub max_ms: u64,
}

impl DelayedRetry {
    /// When what came back at `now_ms`, so often by now, may be delivered again; `None`: at once.
    #[must_use]
    pub fn due_ms(self, now_ms: i64, how: Return, count: Count) -> Option<i64> {
        let delay_ms = self.min_ms.saturating_mul(u64::from(count.failed.max(1))).min(self.max_ms);
        let due_ms = now_ms.saturating_add(i64::try_from(delay_ms).unwrap_or(i64::MAX));
        self.of.holds(how).then_some(due_ms)
    }
}

/// As the management API shows it.
impl fmt::Display for DelayedRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (min: {}ms, max: {}ms)", self.of.word(), self.min_ms, self.max_ms)
    }
}

/// Messages that wait, the next one first; of those that are due together the older first, and of one batch those of the
/// lowest priority.
#[derive(Debug, Default)]
pub struct Delayed {
    waiting: BTreeMap<Place, Entry>,
    body_bytes: usize,
    held_bytes: usize,
    /// What recovery found here, wherever it is now: it lies among what its level has in the log only, and is none of that.
    apart: BTreeSet<Seq>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    due_ms: i64,
    in_level: u64,
    level: usize,
}

impl Delayed {
    /// How many there are, and how long their bodies are.
    #[must_use]
    pub fn load(&self) -> Load {
        Load { messages: self.waiting.len(), body_bytes: self.body_bytes }
    }

    /// Bytes held in memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// When the first is due.
    #[must_use]
    pub fn next_ms(&self) -> Option<i64> {
        self.waiting.first_key_value().map(|(place, _)| place.due_ms)
    }

    /// When the last is.
    #[must_use]
    pub fn last_ms(&self) -> Option<i64> {
        self.waiting.last_key_value().map(|(place, _)| place.due_ms)
    }

    #[must_use]
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.next_ms().is_some_and(|at_ms| at_ms <= now_ms)
    }

    fn push(&mut self, due_ms: i64, entry: Entry) {
        self.body_bytes += entry.message.body_len();
        self.held_bytes += entry.message.held_bytes();
        let (in_level, level) = (entry.seq.in_level(), entry.seq.level());
        self.waiting.insert(Place { due_ms, in_level, level }, entry);
    }

    fn pop_due(&mut self, now_ms: i64) -> Option<Entry> {
        let first = self.waiting.first_entry().filter(|first| first.key().due_ms <= now_ms)?;
        let entry = first.remove();
        self.body_bytes -= entry.message.body_len();
        self.held_bytes -= entry.message.held_bytes();
        Some(entry)
    }

    /// Drops everything; returns where it was.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Seq> + use<> {
        (self.body_bytes, self.held_bytes) = (0, 0);
        std::mem::take(&mut self.waiting).into_values().map(|entry| entry.seq)
    }

    /// Whether recovery took this message out of what its level has in the log only.
    #[must_use]
    pub(super) fn is_apart(&self, seq: Seq) -> bool {
        self.apart.contains(&seq)
    }

    /// Such messages between these positions.
    pub(super) fn apart_between(&self, from: Seq, end: Seq) -> Vec<Seq> {
        self.apart.range(from..end).copied().collect()
    }

    /// Nothing between these positions is in the log only any more.
    pub(super) fn forget_apart(&mut self, from: Seq, end: Seq) {
        self.apart.retain(|&seq| seq < from || seq >= end);
    }
}

impl State {
    /// A message that came back waits until then.
    pub(super) fn delay(&mut self, due_ms: i64, mut entry: Entry) {
        self.spare(self.delayed.held_bytes, &mut entry);
        self.delayed.push(due_ms, entry);
    }

    /// What is due goes before all that was never delivered, behind what came back before it.
    pub(super) fn promote(&mut self, now_ms: i64) {
        while let Some(entry) = self.delayed.pop_due(now_ms) {
            self.ready.put_return(entry);
        }
    }

    /// What recovery found in a run that was delayed, due by now or not; its level does not have it.
    pub(super) fn delayed_of(&mut self, run: &Run) -> usize {
        let here = |&(seq, _): &(Seq, _)| run.has(u32::try_from(seq.0 - run.first.0).unwrap_or(u32::MAX));
        let found: Vec<_> =
            self.counts.delayed_between(run.first, run.end()).into_iter().filter(here).collect();
        let body_bytes = run.body_bytes / (run.count as usize).max(1);
        for &(seq, due_ms) in &found {
            let (message, returns) = (Message::paged(body_bytes), self.counts.of(seq));
            self.delayed.apart.insert(seq);
            // When it expires is known when it is read.
            let entry = Entry { seq, message, expires_ms: i64::MAX, redelivered: true, returns };
            self.delayed.push(due_ms, entry);
        }
        found.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_in(of: RetryType, (min_ms, max_ms): (u64, u64), how: Return, failed: u16) -> Option<i64> {
        DelayedRetry { of, min_ms, max_ms }
            .due_ms(1_000, how, Count { acquired: 9, failed })
            .map(|at| at - 1_000)
    }

    #[test]
    fn each_type_delays_its_returns() {
        use RetryType::{All, Failed, Returned};
        for (how, expected) in [
            (Return::GivenBack, [Some(5), None, Some(5)]),
            (Return::Rejected, [Some(5), Some(5), None]),
            (Return::TimedOut, [Some(5), None, Some(5)]),
            (Return::Lost, [Some(5), Some(5), None]),
            (Return::Undone, [None, None, None]),
        ] {
            assert_eq!([All, Failed, Returned].map(|of| due_in(of, (5, 9), how, 0)), expected, "{how:?}");
        }
    }

    #[test]
    fn failed_deliveries_make_a_delay_longer_up_to_the_most() {
        let delays =
            |span| [0, 1, 2, 3, u16::MAX].map(|n| due_in(RetryType::All, span, Return::Rejected, n).unwrap());
        assert_eq!(delays((1_000, 2_500)), [1_000, 1_000, 2_000, 2_500, 2_500]);
        assert_eq!(delays((1_000, 1_000)), [1_000; 5]);
        assert_eq!(delays((1_000, 10)), [10; 5], "nobody checks arguments");
        assert_eq!(delays((u64::MAX, u64::MAX)), [i64::MAX - 1_000; 5]);
    }

    #[test]
    fn it_is_shown_as_rabbitmq_has_it() {
        let retry = DelayedRetry { of: RetryType::Returned, min_ms: 10, max_ms: 20 };
        assert_eq!(retry.to_string(), "returned (min: 10ms, max: 20ms)");
        assert_eq!(RetryType::named(b"disabled"), None);
        assert!(
            [RetryType::All, RetryType::Failed]
                .iter()
                .all(|&of| RetryType::named(of.word().as_bytes()) == Some(of))
        );
    }
}
