//! Those who wait for more records: long-polling fetches, stream consumers, jobs.
//!
//! One [`Waiter`] may wait at many partitions. It is woken once as many bytes as it wants have been committed in them
//! together, or when something happened that it must look at (the topic is gone). Whoever drops the waiter waits no
//! more; its places in the lists are swept later.

use std::{
    future::poll_fn,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use super::{Offset, fetch::Isolation, partition::Offsets};

/// Somebody who waits.
#[derive(Debug)]
pub struct Waiter {
    bytes_missing: AtomicI64,
    fired: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Waiter {
    /// Fires once `bytes_min` bytes have come (Fetch's `min_bytes` less what is there already).
    #[must_use]
    pub fn new(bytes_min: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_missing: AtomicI64::new(i64::try_from(bytes_min).unwrap_or(i64::MAX)),
            fired: AtomicBool::new(false),
            waker: Mutex::new(None),
        })
    }

    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::Acquire)
    }

    /// Ready once fired; until then `cx`'s waker is the one that is woken.
    pub fn poll_fired(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.has_fired() {
            *self.waker.lock() = Some(cx.waker().clone());
        }
        // Looked at again behind the registration, so that no firing falls between.
        if self.has_fired() { Poll::Ready(()) } else { Poll::Pending }
    }

    pub async fn fired(&self) {
        poll_fn(|cx| self.poll_fired(cx)).await;
    }

    pub(in crate::broker) fn fire(&self) {
        self.fired.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether that was enough.
    fn on_bytes(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bytes_missing.fetch_sub(bytes, Ordering::AcqRel) <= bytes
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: Vec<(Offset, Isolation, Weak<Waiter>)>,
    /// The list is swept of dropped waiters when it has grown to this.
    sweep_at: usize,
}

impl Waiters {
    /// Waits for records from `offset` on. When the list is full of others, the newcomer is fired at once: it answers
    /// with what there is and comes again.
    pub(super) fn add(&mut self, offset: Offset, isolation: Isolation, waiter: &Arc<Waiter>) {
        if self.list.len() >= self.sweep_at {
            self.list.retain(|(.., w)| w.upgrade().is_some_and(|w| !w.has_fired()));
            self.sweep_at = (self.list.len() * 2).max(SWEEP_AT_MIN);
        }
        if self.list.len() >= WAITERS_MAX {
            waiter.fire();
        } else {
            self.list.push((offset, isolation, Arc::downgrade(waiter)));
        }
    }

    /// `bytes` bytes have been committed and the log now ends at `offsets`: who has enough, to be fired without the
    /// lock. With `ended` a transaction's end is among them: whoever waits for it gets all of it.
    pub(super) fn on_committed(
        &mut self,
        offsets: Offsets,
        bytes: usize,
        ended: bool,
        fired: &mut Vec<Arc<Waiter>>,
    ) {
        if self.list.is_empty() {
            return;
        }
        self.list.retain(|(offset, isolation, waiter)| {
            let Some(waiter) = waiter.upgrade() else { return false };
            let bytes = match isolation {
                Isolation::ReadCommitted if ended => usize::MAX,
                Isolation::ReadCommitted | Isolation::ReadUncommitted => bytes,
            };
            if *offset >= offsets.end(*isolation) || !waiter.on_bytes(bytes) {
                return true;
            }
            fired.push(waiter);
            false
        });
    }

    /// Everybody, whatever they wait for.
    pub(super) fn take_all(&mut self) -> Vec<Arc<Waiter>> {
        std::mem::take(&mut self.list).into_iter().filter_map(|(.., w)| w.upgrade()).collect()
    }
}

/// Fetches waiting at one partition.
const WAITERS_MAX: usize = 10_000;
const SWEEP_AT_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(waiters: &mut Waiters, high_watermark: i64, bytes: usize) -> usize {
        committed_to(waiters, high_watermark, high_watermark, bytes, false)
    }

    fn committed_to(
        waiters: &mut Waiters,
        high_watermark: i64,
        last_stable_offset: i64,
        bytes: usize,
        ended: bool,
    ) -> usize {
        let mut fired = Vec::new();
        let (high_watermark, last_stable_offset) = (Offset(high_watermark), Offset(last_stable_offset));
        let offsets = Offsets { log_start: Offset(0), high_watermark, last_stable_offset };
        waiters.on_committed(offsets, bytes, ended, &mut fired);
        fired.iter().for_each(|w| w.fire());
        fired.len()
    }

    #[test]
    fn a_waiter_fires_when_its_bytes_have_come_from_all_partitions_together() {
        let (mut a, mut b) = (Waiters::default(), Waiters::default());
        let waiter = Waiter::new(100);
        a.add(Offset(0), Isolation::ReadUncommitted, &waiter);
        b.add(Offset(0), Isolation::ReadUncommitted, &waiter);
        assert_eq!(committed(&mut a, 1, 60), 0);
        assert!(!waiter.has_fired());
        assert_eq!(committed(&mut b, 1, 40), 1);
        assert!(waiter.has_fired());
    }

    #[test]
    fn records_before_the_offset_waited_for_do_not_count() {
        let mut waiters = Waiters::default();
        let waiter = Waiter::new(1);
        waiters.add(Offset(5), Isolation::ReadUncommitted, &waiter);
        assert_eq!(committed(&mut waiters, 5, 10), 0);
        assert_eq!(committed(&mut waiters, 6, 10), 1);
    }

    #[test]
    fn who_reads_what_is_committed_waits_for_the_transactions_end() {
        let mut waiters = Waiters::default();
        let (all, stable) = (Waiter::new(50), Waiter::new(50));
        waiters.add(Offset(0), Isolation::ReadUncommitted, &all);
        waiters.add(Offset(0), Isolation::ReadCommitted, &stable);
        assert_eq!(committed_to(&mut waiters, 3, 0, 60, false), 1);
        assert!(all.has_fired() && !stable.has_fired());
        assert_eq!(committed_to(&mut waiters, 4, 4, 10, true), 1);
    }

    #[test]
    fn dropped_waiters_are_swept_and_a_full_list_answers_the_newcomer() {
        let mut waiters = Waiters::default();
        for _ in 0..1_000 {
            waiters.add(Offset(0), Isolation::ReadUncommitted, &Waiter::new(1));
        }
        assert!(waiters.list.len() <= SWEEP_AT_MIN);
        let held: Vec<_> = (0..WAITERS_MAX).map(|_| Waiter::new(1)).collect();
        held.iter().for_each(|w| waiters.add(Offset(0), Isolation::ReadUncommitted, w));
        let late = Waiter::new(1);
        waiters.add(Offset(0), Isolation::ReadUncommitted, &late);
        assert!(late.has_fired());
    }
}
