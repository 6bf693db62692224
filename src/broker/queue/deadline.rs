//! When a queue must be looked at without anybody asking: its oldest message expires, one that was delayed is due, or
//! nobody has used it for the time of `x-expires`.
//!
//! A queue has one deadline, and tells [`crate::broker::deadlines`] of it only when it comes earlier: a later one is
//! found when the earlier has come. (RabbitMQ drops, and dead-letters, at the moment a message expires at the head.)

use std::sync::Arc;

use super::{
    Seq,
    state::{Effects, State},
};
use crate::{broker::message::Blob, store::Place};

/// What [`State`] remembers for this.
#[derive(Debug, Default)]
pub struct Lifetime {
    /// When somebody last declared the queue, asked for a message, or cancelled a consumer.
    used_ms: i64,
    /// The deadline that was told.
    armed_ms: Option<i64>,
    /// When the oldest message expires, as long as it is in the log only.
    paged_head_ms: Option<i64>,
}

/// A deadline that comes before the one that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    pub told_ms: Option<i64>,
    pub at_ms: i64,
}

impl State {
    /// Somebody uses the queue.
    pub fn used(&mut self, now_ms: i64) {
        self.lifetime.used_ms = now_ms;
    }

    /// When an unused queue goes.
    fn unused_ms(&self) -> Option<i64> {
        let span = self.limits.unused_ms_max.filter(|_| self.consumers.is_empty())?;
        Some(self.lifetime.used_ms.saturating_add(i64::try_from(span).unwrap_or(i64::MAX)))
    }

    /// Whether nobody has used the queue for so long that it goes.
    #[must_use]
    pub fn unused(&self, now_ms: i64) -> bool {
        self.unused_ms().is_some_and(|at| at <= now_ms)
    }

    /// Whether a message must leave its place without anybody asking.
    #[must_use]
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        self.expires(now_ms) || self.delayed.is_due(now_ms)
    }

    fn deadline_ms(&self) -> Option<i64> {
        // While it stands still, the log is what the queue waits for.
        let waits = self.reserving.is_full();
        let head = match self.ready.front() {
            Some(entry) => Some(entry.expires_ms).filter(|&at| at != i64::MAX && !waits),
            None => self.lifetime.paged_head_ms.filter(|_| self.ready.paged()),
        };
        let others = [self.unused_ms(), self.drops.kept.retry_ms(), self.delayed.next_ms()];
        others.into_iter().chain([head]).flatten().min()
    }

    /// Reports a deadline that comes earlier than what was told.
    pub(super) fn rearm(&mut self, effects: &mut Effects) {
        let Some(at_ms) = self.deadline_ms() else { return };
        let told_ms = self.lifetime.armed_ms;
        if told_ms.is_none_or(|told| at_ms < told) {
            self.lifetime.armed_ms = Some(at_ms);
            // What the caller has not told yet was told by nobody.
            let told_ms = effects.deadline.map_or(told_ms, |earlier| earlier.told_ms);
            effects.deadline = Some(Earlier { told_ms, at_ms });
        }
    }

    /// The run in which the oldest message lies, if it is in the log only, and where.
    #[must_use]
    pub fn paged_head(&mut self) -> Option<(Seq, Place)> {
        let middle = self.ready.front_middle()?;
        let first = *self.runs.next(middle.from, 1).first()?;
        Some((first, self.runs.of(first)?.place?))
    }

    /// That run has been looked at.
    pub fn saw_paged_head(&mut self, first: Seq, blob: &Arc<Blob>) {
        let Some(run) = self.runs.of_mut(first) else { return };
        let alive = |n: &u32| {
            let seq = Seq(run.first.0 + u64::from(*n));
            run.has(*n) && !self.counts.is_dead(seq) && !self.delayed.is_apart(seq)
        };
        let oldest = (0..run.count).find(alive).and_then(|n| blob.message(run.ordinals.at(n)));
        let expires_ms =
            oldest.map(|message| self.limits.expires_ms(message.published_ms(), message.expiration_ms()));
        self.lifetime.paged_head_ms = expires_ms.filter(|&at| at != i64::MAX);
    }

    /// The deadline that was told has come, or need not come any more; returns it.
    pub fn disarm(&mut self) -> Option<i64> {
        // The queue is looked at now: its head is read, and says for itself when it expires.
        self.lifetime.paged_head_ms = None;
        self.lifetime.armed_ms.take()
    }
}
