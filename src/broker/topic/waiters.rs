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

use super::Offset;

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

    pub(super) fn fire(&self) {
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
    list: Vec<(Offset, Weak<Waiter>)>,
    /// The list is swept of dropped waiters when it has grown to this.
    sweep_at: usize,
}

impl Waiters {
    /// Waits for records from `offset` on. When the list is full of others, the newcomer is fired at once: it answers
    /// with what there is and comes again.
    pub(super) fn add(&mut self, offset: Offset, waiter: &Arc<Waiter>) {
        if self.list.len() >= self.sweep_at {
            self.list.retain(|(_, w)| w.upgrade().is_some_and(|w| !w.has_fired()));
            self.sweep_at = (self.list.len() * 2).max(SWEEP_AT_MIN);
        }
        if self.list.len() >= WAITERS_MAX {
            waiter.fire();
        } else {
            self.list.push((offset, Arc::downgrade(waiter)));
        }
    }

    /// `bytes` bytes have been committed and the log now ends at `high_watermark`: who has enough, to be fired
    /// without the lock.
    pub(super) fn on_committed(
        &mut self,
        high_watermark: Offset,
        bytes: usize,
        fired: &mut Vec<Arc<Waiter>>,
    ) {
        if self.list.is_empty() {
            return;
        }
        self.list.retain(|(offset, waiter)| {
            let Some(waiter) = waiter.upgrade() else { return false };
            if *offset >= high_watermark || !waiter.on_bytes(bytes) {
                return true;
            }
            fired.push(waiter);
            false
        });
    }

    /// Everybody, whatever they wait for.
    pub(super) fn take_all(&mut self) -> Vec<Arc<Waiter>> {
        std::mem::take(&mut self.list).into_iter().filter_map(|(_, w)| w.upgrade()).collect()
    }
}

/// Fetches waiting at one partition.
const WAITERS_MAX: usize = 10_000;
const SWEEP_AT_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(waiters: &mut Waiters, high_watermark: i64, bytes: usize) -> usize {
        let mut fired = Vec::new();
        waiters.on_committed(Offset(high_watermark), bytes, &mut fired);
        fired.iter().for_each(|w| w.fire());
        fired.len()
    }

    #[test]
    fn a_waiter_fires_when_its_bytes_have_come_from_all_partitions_together() {
        let (mut a, mut b) = (Waiters::default(), Waiters::default());
        let waiter = Waiter::new(100);
        a.add(Offset(0), &waiter);
        b.add(Offset(0), &waiter);
        assert_eq!(committed(&mut a, 1, 60), 0);
        assert!(!waiter.has_fired());
        assert_eq!(committed(&mut b, 1, 40), 1);
        assert!(waiter.has_fired());
    }

    #[test]
    fn records_before_the_offset_waited_for_do_not_count() {
        let mut waiters = Waiters::default();
        let waiter = Waiter::new(1);
        waiters.add(Offset(5), &waiter);
        assert_eq!(committed(&mut waiters, 5, 10), 0);
        assert_eq!(committed(&mut waiters, 6, 10), 1);
    }

    #[test]
    fn dropped_waiters_are_swept_and_a_full_list_answers_the_newcomer() {
        let mut waiters = Waiters::default();
        for _ in 0..1_000 {
            waiters.add(Offset(0), &Waiter::new(1));
        }
        assert!(waiters.list.len() <= SWEEP_AT_MIN);
        let held: Vec<_> = (0..WAITERS_MAX).map(|_| Waiter::new(1)).collect();
        held.iter().for_each(|w| waiters.add(Offset(0), w));
        let late = Waiter::new(1);
        waiters.add(Offset(0), &late);
        assert!(late.has_fired());
    }
}
