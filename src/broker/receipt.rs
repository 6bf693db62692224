//! A batch of publishes waiting to be durable: told once everything it stands for is in the log.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::outlet::{Event, Outlet};

/// Which publishes of which channel wait.
#[derive(Debug)]
pub struct Receipt {
    outlet: Arc<Outlet>,
    channel: u16,
    generation: u32,
    first: u64,
    last: u64,
    waiting: AtomicUsize,
    refused: AtomicBool,
}

impl Receipt {
    /// A receipt for the publishes `first..=last` of a channel; `generation` tells a reopened channel from its
    /// predecessor of the same number. It waits for its maker, who must call [`Receipt::done`] once, too.
    #[must_use]
    pub fn new(outlet: Arc<Outlet>, channel: u16, generation: u32, (first, last): (u64, u64)) -> Arc<Self> {
        Arc::new(Self {
            outlet,
            channel,
            generation,
            first,
            last,
            waiting: AtomicUsize::new(1),
            refused: AtomicBool::new(false),
        })
    }

    /// One more thing to wait for.
    pub fn expect(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// One thing less; the last one sends the confirm.
    pub fn done(&self) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let (channel, generation, first, last) = (self.channel, self.generation, self.first, self.last);
        self.outlet.push(if self.refused.load(Ordering::Relaxed) {
            Event::Reject { channel, generation, first, last }
        } else {
            Event::Confirm { channel, generation, first, last }
        });
    }

    /// One thing that will never be durable.
    pub fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
        self.done();
    }
}
