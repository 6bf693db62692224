//! One queue as a pure state machine: time passed in, what to do next handed out.
//!
//! Who holds an unacknowledged message is the channel's business: it gives the [`Entry`] back, settled or returned.
//! Here is only how many there are. How messages come in is in `taking.rs`, how they go out in `serving.rs`. (AMQP
//! 0-9-1 §1.8.3; RabbitMQ's classic queue.)

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    ConsumerId, Entry, Seq,
    arriving::{Arriving, Holder},
    consumers::{ConsumerSpec, Consumers, Strategy},
    deadline::{Earlier, Lifetime},
    delayed::{Delayed, DelayedRetry},
    drops::Drops,
    levels::{LevelRuns, Levels, Order},
    limits::Limits,
    load::Unacked,
    positions::Positions,
    ready::Written,
    reserving::Reserving,
    returns::{Counts, Noted},
    runs::Run,
    unsubmitted::Unsubmitted,
};
use crate::broker::{
    arguments::{QueueKind, Settings},
    dead_letter::DeadLetter,
    outlet::Outlet,
};

/// What the queue wants done once its lock is free, and what a Change must carry.
#[derive(Debug, Default)]
pub struct Effects {
    /// Put an ack flush of so many bytes into the committer's inbox (while the lock is held).
    pub flush: Option<usize>,
    /// Put "delivered up to here" into the committer's inbox (while the lock is held).
    pub reserve: SmallVec<[Seq; 1]>,
    /// Put so many bytes of counts of returns into the committer's inbox (while the lock is held).
    pub counts: Option<usize>,
    /// Read these runs back.
    pub load: Vec<Seq>,
    /// The queue waits for room in these outlets.
    pub stalled: Vec<Arc<Outlet>>,
    /// Bytes the messages in memory have grown by, since the last time.
    pub held_delta: isize,
    /// The queue must be looked at earlier than was told (tell it while the lock is held).
    pub deadline: Option<Earlier>,
    /// Move what was let go to the dead-letter exchange.
    pub move_dead: bool,
    /// Try again what no target took.
    pub retry_dead: bool,
    /// There is more to drop: deliver again.
    pub again: bool,
}

/// Messages counted since the queue was made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    pub published: u64,
    pub delivered: u64,
    pub delivered_no_ack: u64,
    pub got: u64,
    pub got_no_ack: u64,
    pub acknowledged: u64,
    pub redelivered: u64,
    /// Sum over delivered messages of the time they waited, for the mean time in queue.
    pub waited_ms: u64,
}

impl Totals {
    /// Messages that somebody has taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.delivered + self.delivered_no_ack + self.got + self.got_no_ack
    }
}

/// The state; its queue's lock guards it.
#[derive(Debug)]
pub struct State {
    pub gone: bool,
    pub durable: bool,
    /// A quorum queue keeps every message in the log, shows it once it is there, and counts how often it comes back.
    pub(super) quorum: bool,
    pub limits: Limits,
    pub(super) delivery_limit: Option<u32>,
    /// Only failed deliveries count against the limit.
    pub(super) delivery_failures_counted: bool,
    pub(super) delayed_retry: Option<DelayedRetry>,
    pub consumer_timeout_ms: Option<u64>,
    /// Where what is let go ends up; `None`: nowhere.
    pub dead_letter: Option<Arc<DeadLetter>>,
    pub ready: Levels,
    pub consumers: Consumers,
    pub runs: LevelRuns,
    pub counts: Counts,
    /// What came back and is not to be delivered again yet.
    pub(super) delayed: Delayed,
    /// What of a quorum queue is on its way into the log.
    pub(super) arriving: Arriving,
    /// What consumers hold.
    pub unacked: Unacked,
    pub totals: Totals,
    pub(super) drops: Drops,
    pub(super) unsubmitted: Unsubmitted,
    pub(super) lifetime: Lifetime,
    pub(super) reserving: Reserving,
    pub(super) positions: Positions,
    pub(super) loading: bool,
    flushing: bool,
    had_consumer: bool,
    held_told: usize,
    /// Outlets whose `basic.get` waits for a message that is being read back.
    pub(super) getters: Vec<Arc<Outlet>>,
}

impl State {
    #[must_use]
    pub fn new(durable: bool, asked: &Settings) -> Self {
        let takeover = asked.single_active_follows_priority;
        let strategy = match asked.single_active_consumer {
            true => Strategy::SingleActive { takeover },
            false => Strategy::Competing,
        };
        let mut state = Self {
            gone: false,
            durable,
            quorum: asked.kind == QueueKind::Quorum,
            limits: asked.limits,
            delivery_limit: None,
            delivery_failures_counted: asked.delivery_failures_counted,
            delayed_retry: None,
            consumer_timeout_ms: None,
            dead_letter: None,
            ready: Levels::new(asked.order),
            consumers: Consumers::new(strategy),
            runs: LevelRuns::new(asked.order),
            counts: Counts::default(),
            delayed: Delayed::default(),
            arriving: Arriving::default(),
            unacked: Unacked::default(),
            totals: Totals::default(),
            drops: Drops::default(),
            unsubmitted: Unsubmitted::default(),
            lifetime: Lifetime::default(),
            reserving: Reserving::default(),
            positions: Positions::new(asked.order.levels()),
            loading: false,
            flushing: false,
            had_consumer: false,
            held_told: 0,
            getters: Vec::new(),
        };
        state.configure(asked);
        state
    }

    /// What the arguments, with the policies applied, ask for from now on. Call [`State::deliver`] next: limits and
    /// deadlines may have moved. Messages that are in memory keep the time at which they expire.
    pub fn configure(&mut self, asked: &Settings) {
        self.drops.shortened |= self.limits != asked.limits;
        self.limits = asked.limits;
        self.delivery_limit = asked.delivery_limit;
        self.delayed_retry = asked.delayed_retry;
        self.consumer_timeout_ms = asked.consumer_timeout_ms;
        let dead_letter = asked.dead_letter.clone().map(Arc::new);
        if self.dead_letter != dead_letter {
            self.dead_letter = dead_letter;
            self.reconsider_kept();
        }
    }

    pub(super) fn page_out(&mut self) {
        if !self.ready.tail_full() {
            return;
        }
        let runs = &self.runs;
        self.ready.page_out(|seq| match runs.of(seq) {
            Some(run) if run.durable => Written::Durable { end: run.end() },
            Some(_) => Written::NotYet,
            None => Written::Never,
        });
        for middle in self.ready.middles() {
            self.runs.pack(middle.from, middle.end);
        }
    }

    pub(in crate::broker) fn settle_effects(&mut self, effects: &mut Effects) {
        if self.runs.unflushed() && !self.flushing {
            self.flushing = true;
            effects.flush = Some(self.runs.unflushed_bytes());
        }
        if self.quorum {
            effects.counts = effects.counts.or_else(|| self.counts.flush());
        }
        if !self.loading {
            effects.load = self.wanted();
            self.loading = !effects.load.is_empty();
        }
        effects.move_dead |= self.claim_move();
        self.rearm(effects);
        effects.held_delta += self.held_delta();
    }

    /// Bytes in memory more (or less) than were told last.
    pub(super) fn held_delta(&mut self) -> isize {
        let held = self.ready.held_bytes()
            + self.drops.held_bytes()
            + self.delayed.held_bytes()
            + self.reserving.held_bytes();
        held.cast_signed() - std::mem::replace(&mut self.held_told, held).cast_signed()
    }

    /// Bytes in memory, as they were told last.
    #[must_use]
    pub(in crate::broker) fn held_told(&self) -> usize {
        self.held_told
    }

    /// The ack flush is being staged: what it must write.
    pub fn take_flush(&mut self, bytes_max: usize) -> Vec<super::runs::IndexChange> {
        self.flushing = false;
        self.runs.flush(bytes_max)
    }

    /// Whether the last flush left something: then another is on its way, of so many bytes.
    pub fn flush_again(&mut self) -> Option<usize> {
        let again = self.runs.unflushed() && !self.flushing;
        self.flushing |= again;
        again.then(|| self.runs.unflushed_bytes())
    }

    /// The queue is deleted: nothing of it is wanted in the log any more, unacknowledged messages neither.
    pub fn forget(&mut self) {
        self.runs.kill_all();
        self.counts.forget();
        self.forget_kept();
        self.arriving.clear();
    }

    /// A run's turn is durable. True when there is something to deliver by it.
    pub fn run_durable(&mut self, now_ms: i64, first: Seq, effects: &mut Effects) -> bool {
        if let Some(run) = self.runs.of_mut(first) {
            run.durable = true;
        }
        self.arriving.arrived(first);
        let arrives = self.show_arrived(now_ms, effects);
        // Now, not with the next publish: none comes while the memory alarm is on.
        if self.ready.tail_full() {
            self.page_out();
            self.settle_effects(effects);
        }
        arrives
    }

    /// The log takes no more: what was on its way is nowhere.
    pub fn run_refused(&mut self, now_ms: i64, first: Seq, effects: &mut Effects) {
        if let Some((holder, lost)) = self.arriving.refused(first) {
            lost.iter().for_each(|entry| self.relieve(holder, entry));
        }
        self.show_arrived(now_ms, effects);
    }

    /// True when there are any. Where levels take turns, whose turn it is depends on what came before: messages of both
    /// come one by one, as RabbitMQ has each as a command of its own.
    fn show_arrived(&mut self, now_ms: i64, effects: &mut Effects) -> bool {
        let mut shown = false;
        while let Some(arrival) = self.arriving.next() {
            shown = true;
            let one_by_one = arrival.mixed() && self.ready.order() == Order::TwoWeighted;
            for entry in arrival.entries {
                self.relieve(arrival.holder, &entry);
                self.ready.push(entry);
                if one_by_one {
                    self.serve_and_keep(now_ms, effects);
                }
            }
            if self.arriving.has_next() {
                self.serve_and_keep(now_ms, effects);
            }
        }
        shown
    }

    /// Who gave it back has room again.
    fn relieve(&mut self, holder: Holder, entry: &Entry) {
        match holder {
            Holder::Nobody => {}
            Holder::Consumer(consumer) => {
                let mut given = Unacked::default();
                given.add(&entry.message);
                self.given_back(consumer, given);
            }
        }
    }

    /// The outlets whose `basic.get` may be asked again.
    pub fn take_getters(&mut self) -> Vec<Arc<Outlet>> {
        std::mem::take(&mut self.getters)
    }

    /// Adds a consumer.
    pub fn consume(&mut self, id: ConsumerId, spec: ConsumerSpec) {
        self.had_consumer = true;
        self.consumers.push(id, spec);
    }

    /// Removes a consumer; true when an auto-delete queue has lost its last one.
    pub fn cancel(&mut self, id: ConsumerId) -> bool {
        // What comes back to others must not come behind what they were served after it.
        if self.reserving.has(id) {
            self.take_reserving();
        }
        self.consumers.remove(id);
        self.had_consumer && self.consumers.is_empty()
    }

    /// These messages of one consumer (or of `basic.get`: `None`) are acknowledged or thrown away.
    pub fn settle<'e>(
        &mut self,
        consumer: Option<ConsumerId>,
        entries: impl Iterator<Item = &'e Entry>,
        acknowledged: bool,
    ) {
        let mut given = Unacked::default();
        for entry in entries {
            self.runs.acknowledge(entry.seq);
            given.add(&entry.message);
        }
        if acknowledged {
            self.totals.acknowledged += given.all.messages as u64;
        }
        self.given_back(consumer, given);
    }

    /// The bodies of these lie elsewhere by now: they were let go, and moved.
    pub fn moved(&mut self, seqs: impl Iterator<Item = Seq>, effects: &mut Effects) {
        seqs.for_each(|seq| self.runs.acknowledge(seq));
        self.settle_effects(effects);
    }

    /// A consumer holds so much less.
    pub(super) fn given_back(&mut self, consumer: Option<ConsumerId>, given: Unacked) {
        self.unacked = self.unacked.less(given);
        let Some(id) = consumer else { return };
        if let Some(consumer) = self.consumers.find(id) {
            let given = u32::try_from(given.all.messages).unwrap_or(u32::MAX);
            consumer.unacked = consumer.unacked.saturating_sub(given);
            self.consumers.resume(id);
        }
    }

    /// Drops the ready messages, and those that are delayed; returns how many there were.
    pub fn purge(&mut self, effects: &mut Effects) -> usize {
        self.take_reserving();
        let count = self.ready.len() + self.delayed.load().messages;
        let (seqs, middles) = self.ready.clear();
        for seq in seqs.into_iter().chain(self.delayed.clear()) {
            self.runs.acknowledge(seq);
        }
        for middle in middles {
            // What comes before in its first run is not ready: a consumer holds it, or it is gone.
            let mut from = middle.from;
            let mut others = self.drops.kept.between(middle.from, middle.end);
            others.extend(self.delayed.apart_between(middle.from, middle.end));
            others.sort_unstable();
            for other in others {
                self.runs.acknowledge_all(from, other);
                from = Seq(other.0 + 1);
            }
            self.runs.acknowledge_all(from, middle.end);
            self.delayed.forget_apart(middle.from, middle.end);
        }
        self.settle_effects(effects);
        count
    }

    /// A run that recovery found in the log.
    pub fn recover_run(&mut self, run: Run) {
        self.grow_to(run.first.level());
        self.positions.recover_end(run.end());
        let (dead, delayed) = (self.dead_of(&run), self.delayed_of(&run));
        let count = (run.left() as usize).saturating_sub(dead.len() + delayed);
        // How long those are that are left is not known before the run is read: as long as the others.
        let body_bytes = run.body_bytes * count / (run.count as usize).max(1);
        self.ready.push_paged(run.first, run.end(), count, body_bytes);
        self.runs.push_stored(run);
        self.recover_kept(dead);
    }

    /// Recovery found that messages below may have been delivered.
    pub fn recover_delivered(&mut self, below: Seq) {
        self.grow_to(below.level());
        self.positions.recover_delivered(below);
    }

    /// Recovery found a note, whose message may be gone: then no other may come to its place, and be taken for it.
    pub fn recover_noted(&mut self, seq: Seq, noted: Noted) {
        self.grow_to(seq.level());
        self.positions.recover_end(Seq(seq.0 + 1));
        self.counts.recover(seq, noted);
    }

    /// Another version of the broker may have had more levels.
    fn grow_to(&mut self, level: usize) {
        self.ready.grow_to(level);
        self.runs.grow_to(level);
        self.positions.grow_to(level);
    }
}
