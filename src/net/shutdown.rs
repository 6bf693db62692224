//! Going down: one flag that every pump and listener watches, and the signals that raise it.
//!
//! The order is: signal → draining (listeners close, each connection says goodbye in its protocol) → a grace
//! period → whoever is left is dropped.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether the server is draining; clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    draining: AtomicBool,
    next_id: AtomicU64,
    watchers: Mutex<BTreeMap<u64, Waker>>,
}

/// One task's place among those to wake; it leaves when dropped.
#[derive(Debug)]
pub struct Watch {
    flag: Arc<Flag>,
    id: u64,
    waker: Option<Waker>,
}

impl Shutdown {
    /// Tells everyone to say goodbye. Saying it twice changes nothing.
    pub fn start(&self) {
        self.0.draining.store(true, Ordering::Release);
        for waker in std::mem::take(&mut *self.0.watchers.lock()).into_values() {
            waker.wake();
        }
    }

    #[must_use]
    pub fn draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// A watch for one task.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        Watch { flag: Arc::clone(&self.0), id, waker: None }
    }

    /// Waits until the server drains.
    pub async fn started(&self) {
        let mut watch = self.watch();
        std::future::poll_fn(|cx| watch.poll(cx)).await;
    }
}

impl Watch {
    /// Ready once the server drains. Cheap while the task stays the same: one load and one comparison.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.flag.watchers.lock().insert(self.id, cx.waker().clone());
        }
        // After registering, so that a start in between is not missed.
        if self.flag.draining.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.waker.is_some() {
            self.flag.watchers.lock().remove(&self.id);
        }
    }
}

/// SIGTERM and SIGINT, caught from the moment this is made: before anybody is told that the server is ready.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for one and says which it was.
    pub async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_who_waits_is_woken_and_late_comers_do_not_wait() {
        let shutdown = Shutdown::default();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.started().await }
        });
        tokio::task::yield_now().await;
        shutdown.start();
        waiting.await.unwrap();
        shutdown.started().await;
    }

    #[test]
    fn a_dropped_watch_leaves_nothing_behind() {
        let shutdown = Shutdown::default();
        let mut watch = shutdown.watch();
        assert!(watch.poll(&Context::from_waker(Waker::noop())).is_pending());
        drop(watch);
        assert!(shutdown.0.watchers.lock().is_empty());
    }
}
