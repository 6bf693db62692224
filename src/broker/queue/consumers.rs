//! The consumers of one queue: whose turn it is, and who cannot take more.
//!
//! Strict round-robin among those who can (RabbitMQ's fairness). A consumer that cannot take another message (its
//! prefetch count is reached, its connection's outlet is full) leaves the turn and comes back behind the others.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::ConsumerId;
use crate::broker::outlet::Outlet;

/// The unacknowledged messages that a channel may have in all (`basic.qos` with `global`), shared by its consumers.
#[derive(Debug, Default)]
pub struct ChannelCredit {
    limit: AtomicU32,
    used: AtomicU32,
}

impl ChannelCredit {
    /// Sets the limit; 0 = none.
    pub fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    #[must_use]
    pub fn limited(&self) -> bool {
        self.limit.load(Ordering::Relaxed) != 0
    }

    fn take(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let used = self.used.fetch_add(1, Ordering::Relaxed);
        if limit != 0 && used >= limit {
            self.used.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// That many messages are settled.
    pub fn give_back(&self, n: u32) {
        self.used.fetch_sub(n, Ordering::Relaxed);
    }
}

/// A consumer as its channel describes it.
#[derive(Debug, Clone)]
pub struct ConsumerSpec {
    pub channel: u16,
    pub consumer_tag: Arc<str>,
    pub no_ack: bool,
    pub exclusive: bool,
    /// Unacknowledged messages it may have; 0 = unlimited.
    pub prefetch_count: u32,
    pub outlet: Arc<Outlet>,
    pub credit: Arc<ChannelCredit>,
}

/// A consumer of the queue.
#[derive(Debug)]
pub struct Consumer {
    pub id: ConsumerId,
    pub spec: ConsumerSpec,
    pub unacked: u32,
    waiting: bool,
}

impl Consumer {
    /// Takes one unit of credit, if there is any.
    pub fn take_credit(&mut self) -> bool {
        if self.spec.no_ack {
            return true;
        }
        let room = self.spec.prefetch_count == 0 || self.unacked < self.spec.prefetch_count;
        if room && self.spec.credit.take() {
            self.unacked += 1;
            return true;
        }
        false
    }
}

/// All of them, by id, and the order of their turns.
#[derive(Debug, Default)]
pub struct Consumers {
    all: Vec<Consumer>,
    turn: VecDeque<ConsumerId>,
    /// Only the first consumer is served (`x-single-active-consumer`).
    single_active: bool,
}

impl Consumers {
    #[must_use]
    pub fn new(single_active: bool) -> Self {
        Self { single_active, ..Self::default() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    #[must_use]
    pub fn single_active(&self) -> bool {
        self.single_active
    }

    /// Whether one of them has the queue to itself.
    #[must_use]
    pub fn exclusive(&self) -> bool {
        self.all.iter().any(|c| c.spec.exclusive)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.all.iter()
    }

    /// Adds a consumer; ids rise.
    pub fn push(&mut self, id: ConsumerId, spec: ConsumerSpec) {
        self.all.push(Consumer { id, spec, unacked: 0, waiting: true });
        self.turn.push_back(id);
    }

    /// Removes a consumer.
    pub fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let index = self.all.binary_search_by_key(&id, |c| c.id).ok()?;
        self.turn.retain(|&c| c != id);
        Some(self.all.remove(index))
    }

    /// Removes them all.
    pub fn take(&mut self) -> Vec<Consumer> {
        self.turn.clear();
        std::mem::take(&mut self.all)
    }

    pub fn find(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        let index = self.all.binary_search_by_key(&id, |c| c.id).ok()?;
        self.all.get_mut(index)
    }

    /// Whose turn it is.
    #[must_use]
    pub fn next(&self) -> Option<ConsumerId> {
        if self.single_active {
            let first = self.all.first()?;
            return first.waiting.then_some(first.id);
        }
        self.turn.front().copied()
    }

    /// The one whose turn it was got a message: the next one's turn.
    pub fn rotate(&mut self) {
        if self.turn.len() > 1 {
            self.turn.rotate_left(1);
        }
    }

    /// The consumer can take no more for now.
    pub fn suspend(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.find(id) {
            consumer.waiting = false;
            self.turn.retain(|&c| c != id);
        }
    }

    /// The consumer can go on, behind the others.
    pub fn resume(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.find(id)
            && !consumer.waiting
        {
            consumer.waiting = true;
            self.turn.push_back(id);
        }
    }

    /// Everybody may try again.
    pub fn resume_all(&mut self) {
        for consumer in &mut self.all {
            if !consumer.waiting {
                consumer.waiting = true;
                self.turn.push_back(consumer.id);
            }
        }
    }
}
