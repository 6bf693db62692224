//! The consumers of one queue: whose turn it is, and who cannot take more.
//!
//! The highest `x-priority` first, strict round-robin among equals (RabbitMQ's fairness). A consumer that cannot take
//! another message (its prefetch count is reached, its connection's outlet is full) leaves the turn and comes back
//! behind its equals. With a single active consumer only that one is served; who it is, is decided here. (RabbitMQ:
//! consumer priorities; rabbit_fifo: activate_next_consumer.)

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
        // In one step: whoever came between a step too far and the step back would find nothing left, and wait for a
        // message that nobody has.
        let one_more = |used| (limit == 0 || used < limit).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
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
    /// `x-priority`: higher ones are served first.
    pub priority: i64,
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
    /// It could take more, if its outlet had room.
    stalled: bool,
}

impl Consumer {
    /// A consumer that has nothing yet, and waits for its turn.
    #[must_use]
    pub fn new(id: ConsumerId, spec: ConsumerSpec) -> Self {
        Self { id, spec, unacked: 0, waiting: true, stalled: false }
    }

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

/// How many consumers are served at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    #[default]
    Competing,
    /// `x-single-active-consumer`. `takeover`: a higher priority takes over from an active consumer, once that has
    /// nothing unacknowledged (quorum queues since 4.0).
    SingleActive { takeover: bool },
}

/// Those of one priority, in the order of their turns.
#[derive(Debug)]
struct Turn {
    priority: i64,
    waiting: VecDeque<ConsumerId>,
}

/// All of them, by id, and the order of their turns.
#[derive(Debug, Default)]
pub struct Consumers {
    all: Vec<Consumer>,
    /// Highest priority first; those that cannot take anything are in none.
    turns: Vec<Turn>,
    strategy: Strategy,
    active: Option<ConsumerId>,
    /// How many wait for room in their outlets.
    stalled: usize,
}

impl Consumers {
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        Self { strategy, ..Self::default() }
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
        matches!(self.strategy, Strategy::SingleActive { .. })
    }

    /// Whether a consumer may be served: with a single active one, only that.
    #[must_use]
    pub fn is_active(&self, id: ConsumerId) -> bool {
        !self.single_active() || self.active == Some(id)
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
        debug_assert!(self.all.last().is_none_or(|last| last.id < id), "they are found by their ids");
        let priority = spec.priority;
        self.all.push(Consumer::new(id, spec));
        self.wait(id, priority);
        self.elect();
    }

    /// Removes a consumer.
    pub fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let index = self.all.binary_search_by_key(&id, |c| c.id).ok()?;
        let removed = self.all.remove(index);
        self.leave(id, removed.spec.priority);
        self.stalled -= usize::from(removed.stalled);
        if self.active == Some(id) {
            self.active = None;
        }
        self.elect();
        Some(removed)
    }

    /// Removes them all.
    pub fn take(&mut self) -> Vec<Consumer> {
        self.turns.clear();
        self.active = None;
        self.stalled = 0;
        std::mem::take(&mut self.all)
    }

    pub fn find(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        let index = self.all.binary_search_by_key(&id, |c| c.id).ok()?;
        self.all.get_mut(index)
    }

    /// Whose turn it is.
    #[must_use]
    pub fn next_turn(&mut self) -> Option<ConsumerId> {
        let Strategy::SingleActive { takeover } = self.strategy else {
            return self.turns.iter().find_map(|turn| turn.waiting.front()).copied();
        };
        self.elect();
        let active = self.active?;
        let active = self.find(active)?;
        let (id, waiting, priority) = (active.id, active.waiting, active.spec.priority);
        // It must settle what it has before a higher one takes over, and gets no more.
        let quiescing = takeover && self.all.iter().any(|c| c.spec.priority > priority);
        (waiting && !quiescing).then_some(id)
    }

    /// Decides who is the single active consumer, if there is to be one.
    fn elect(&mut self) {
        let Strategy::SingleActive { takeover } = self.strategy else { return };
        // The earliest of the highest; of a queue that knows no takeover, as RabbitMQ's failover has it, too.
        let Some(highest) = self.all.iter().rev().max_by_key(|c| c.spec.priority) else { return };
        let highest = (highest.id, highest.spec.priority);
        let active = self.active.and_then(|active| self.find(active));
        let takes_over = match active {
            None => true,
            Some(active) => takeover && highest.1 > active.spec.priority && active.unacked == 0,
        };
        if takes_over {
            self.active = Some(highest.0);
        }
    }

    fn wait(&mut self, id: ConsumerId, priority: i64) {
        match self.turns.iter().position(|turn| turn.priority <= priority) {
            Some(at) if self.turns.get(at).is_some_and(|turn| turn.priority == priority) => {
                if let Some(turn) = self.turns.get_mut(at) {
                    turn.waiting.push_back(id);
                }
            }
            at => {
                let turn = Turn { priority, waiting: VecDeque::from([id]) };
                self.turns.insert(at.unwrap_or(self.turns.len()), turn);
            }
        }
    }

    fn unwait(&mut self, id: ConsumerId, priority: i64) {
        let Some(turn) = self.turns.iter_mut().find(|turn| turn.priority == priority) else { return };
        // Nearly always it is the one whose turn it is: others are not looked at.
        if turn.waiting.pop_front_if(|first| *first == id).is_none() {
            turn.waiting.retain(|&c| c != id);
        }
    }

    fn leave(&mut self, id: ConsumerId, priority: i64) {
        self.unwait(id, priority);
        if !self.all.iter().any(|c| c.spec.priority == priority) {
            self.turns.retain(|turn| turn.priority != priority);
        }
    }

    /// The one whose turn it was got a message: the turn of the next of its priority.
    pub fn rotate(&mut self) {
        if let Some(turn) = self.turns.iter_mut().find(|turn| !turn.waiting.is_empty())
            && turn.waiting.len() > 1
        {
            turn.waiting.rotate_left(1);
        }
    }

    /// The consumer can take no more for now.
    pub fn suspend(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.find(id) {
            consumer.waiting = false;
            let priority = consumer.spec.priority;
            self.unwait(id, priority);
        }
    }

    /// As [`Consumers::suspend`], because its outlet is full.
    pub fn stall(&mut self, id: ConsumerId) {
        self.suspend(id);
        if let Some(consumer) = self.find(id)
            && !std::mem::replace(&mut consumer.stalled, true)
        {
            self.stalled += 1;
        }
    }

    /// Whether one of them waits for room in its outlet.
    #[must_use]
    #[inline]
    pub fn any_stalled(&self) -> bool {
        self.stalled > 0
    }

    /// Those that wait for room in their outlets.
    pub fn stalled(&self) -> impl Iterator<Item = &Consumer> {
        self.all.iter().filter(|c| c.stalled)
    }

    /// The consumer can go on, behind its equals.
    pub fn resume(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.find(id)
            && !consumer.waiting
        {
            consumer.waiting = true;
            let was_stalled = std::mem::take(&mut consumer.stalled);
            let priority = consumer.spec.priority;
            self.stalled -= usize::from(was_stalled);
            self.wait(id, priority);
        }
    }

    /// Everybody may try again.
    pub fn resume_all(&mut self) {
        let suspended: Vec<_> = self.all.iter().filter(|c| !c.waiting).map(|c| c.id).collect();
        suspended.into_iter().for_each(|id| self.resume(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumers(strategy: Strategy, priorities: &[i64]) -> Consumers {
        let mut consumers = Consumers::new(strategy);
        for (n, &priority) in priorities.iter().enumerate() {
            consumers.push(ConsumerId(n as u64), spec(priority));
        }
        consumers
    }

    fn spec(priority: i64) -> ConsumerSpec {
        ConsumerSpec {
            channel: 1,
            consumer_tag: "c".into(),
            no_ack: false,
            exclusive: false,
            priority,
            prefetch_count: 0,
            outlet: Arc::default(),
            credit: Arc::default(),
        }
    }

    fn turns(consumers: &mut Consumers, n: usize) -> Vec<u64> {
        let mut turns = Vec::new();
        for _ in 0..n {
            turns.extend(consumers.next_turn().map(|id| id.0));
            consumers.rotate();
        }
        turns
    }

    #[test]
    fn the_highest_that_can_take_more_are_served_in_turn() {
        let mut consumers = consumers(Strategy::Competing, &[0, 5, -1, 5]);
        assert_eq!(turns(&mut consumers, 4), [1, 3, 1, 3]);
        consumers.suspend(ConsumerId(1));
        assert_eq!(turns(&mut consumers, 2), [3, 3]);
        consumers.suspend(ConsumerId(3));
        assert_eq!(turns(&mut consumers, 2), [0, 0]);
        consumers.remove(ConsumerId(0));
        assert_eq!(turns(&mut consumers, 1), [2]);
        consumers.resume_all();
        assert_eq!(turns(&mut consumers, 4), [1, 3, 1, 3]);
    }

    #[test]
    fn nobody_ever_sees_more_credit_used_than_there_is() {
        let credit = ChannelCredit::default();
        credit.set_limit(1);
        assert!(credit.take());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..200_000).for_each(|_| assert!(!credit.take())));
            }
            (0..200_000).for_each(|_| assert_eq!(credit.used.load(Ordering::Relaxed), 1));
        });
        credit.set_limit(0);
        assert!(credit.take() && credit.take());
    }

    #[test]
    fn a_single_active_consumer_is_followed_by_the_highest() {
        let mut consumers = consumers(Strategy::SingleActive { takeover: false }, &[0, 1, 2, 2]);
        assert_eq!(turns(&mut consumers, 2), [0, 0]);
        consumers.suspend(ConsumerId(0));
        assert_eq!(turns(&mut consumers, 1), [0_u64; 0], "nobody takes its place while it is there");
        consumers.remove(ConsumerId(0));
        assert_eq!(turns(&mut consumers, 2), [2, 2]);
    }

    #[test]
    fn a_higher_consumer_takes_over_once_the_active_one_has_settled_everything() {
        let mut consumers = consumers(Strategy::SingleActive { takeover: true }, &[0]);
        assert!(consumers.find(ConsumerId(0)).unwrap().take_credit());
        consumers.push(ConsumerId(1), spec(1));
        assert!(consumers.is_active(ConsumerId(0)));
        assert_eq!(turns(&mut consumers, 1), [0_u64; 0]);
        consumers.find(ConsumerId(0)).unwrap().unacked = 0;
        assert_eq!(turns(&mut consumers, 1), [1]);
        assert!(!consumers.is_active(ConsumerId(0)));
    }
}
