//! One queue as a pure state machine: time passed in, what to do next handed out.
//!
//! Who holds an unacknowledged message is the channel's business: it gives the [`Entry`] back, settled or returned.
//! Here is only how many there are. (AMQP 0-9-1 §1.8.3; RabbitMQ's classic queue.)

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    ConsumerId, Entry, Seq,
    arriving::{Arrival, Arriving, Holder},
    consumers::{ConsumerSpec, Consumers, Strategy},
    deadline::{Earlier, Lifetime},
    delayed::{Delayed, DelayedRetry},
    drops::Drops,
    gather::{Gathered, Gathering},
    levels::{LevelRuns, Levels, Order},
    limits::Limits,
    load::Unacked,
    parcel::Parcel,
    positions::Positions,
    ready::Written,
    reserving::Reserving,
    returns::{Count, Counts, Noted},
    runs::Run,
    unsubmitted::Unsubmitted,
};
use crate::broker::{
    arguments::{QueueKind, Settings},
    dead_letter::DeadLetter,
    message::{Blob, Message},
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

/// A publish that the queue did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overflow {
    /// All taken, perhaps at the cost of older ones.
    None,
    /// `x-overflow` = `reject-publish` or `reject-publish-dlx`: the messages with these ordinals were refused.
    Rejected(Vec<u32>),
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
    getters: Vec<Arc<Outlet>>,
}

/// The answer to `basic.get`.
#[derive(Debug)]
pub enum Got {
    Message {
        entry: Entry,
        ready: usize,
    },
    Empty,
    /// The message is being read from the log; [`Event::Loaded`](crate::broker::outlet::Event::Loaded) says when to ask again.
    Wait,
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

    /// Takes messages of a batch. `persisted` hears of each run that must go into the log, in order.
    pub fn publish(
        &mut self,
        now_ms: i64,
        blob: &Arc<Blob>,
        ordinals: &[u32],
        effects: &mut Effects,
        mut persisted: impl FnMut(Seq),
    ) -> Overflow {
        let (mut gathering, mut arrival) = (Gathering::default(), Arrival::default());
        let mut refused = Vec::new();
        if self.ready.order().aligned() {
            self.positions.align();
        }
        for &ordinal in ordinals {
            let Some(message) = blob.message(ordinal) else { continue };
            if self.refuses(&message) {
                // RabbitMQ takes them one by one: what a consumer can have of those before is no longer here, and what
                // may not wait (a TTL of 0) has gone.
                for gathered in std::mem::take(&mut gathering).into_runs() {
                    self.begin_run(gathered, &mut arrival, &mut persisted);
                }
                self.serve(now_ms, effects);
                if !self.reserving.is_full() {
                    self.drop_expired(now_ms);
                }
                if self.refuses(&message) {
                    refused.push(ordinal);
                    self.refuse(message);
                    continue;
                }
            }
            let level = self.ready.order().level(message.priority());
            let seq = self.positions.next(level);
            self.totals.published += 1;
            if self.lasts(&message) {
                if let Some(full) = gathering.add(seq, ordinal, message.body_len()) {
                    self.begin_run(full, &mut arrival, &mut persisted);
                }
            } else if let Some(gathered) = gathering.end(level) {
                self.begin_run(gathered, &mut arrival, &mut persisted);
            }
            let expires_ms = self.limits.expires_ms(now_ms, message.expiration_ms());
            let entry = Entry { seq, message, expires_ms, redelivered: false, returns: Count::default() };
            if self.quorum {
                arrival.entries.push(entry);
            } else {
                self.ready.push(entry);
            }
        }
        for gathered in gathering.into_runs() {
            self.begin_run(gathered, &mut arrival, &mut persisted);
        }
        self.arriving.push(arrival);
        if refused.is_empty() { Overflow::None } else { Overflow::Rejected(refused) }
    }

    /// Whether a queue that refuses publishes is full.
    #[inline]
    fn refuses(&self, message: &Message) -> bool {
        self.refuses_body(message.body_len())
    }

    #[inline]
    fn refuses_body(&self, body_bytes: usize) -> bool {
        match self.quorum {
            true => self.limits.refuses_more(self.messages(), || self.body_bytes()),
            false => self.limits.refuses(self.messages(), || self.body_bytes() + body_bytes),
        }
    }

    /// Whether there is too much of what counts, and the oldest ready messages go.
    pub(super) fn exceeded(&self) -> bool {
        self.limits.exceeded(self.messages(), || self.body_bytes())
    }

    /// What counts for the limits: what is ready, dead letters that wait, and what is delayed.
    #[inline]
    fn messages(&self) -> usize {
        self.ready.len() + self.drops.kept.len() + self.delayed.load().messages
    }

    fn body_bytes(&self) -> usize {
        self.ready.body_bytes() + self.drops.kept.body_bytes() + self.delayed.load().body_bytes
    }

    /// Whether it would refuse a message with such a body. A queue that is gone refuses nothing.
    #[must_use]
    pub fn has_no_room(&self, body_bytes: usize) -> bool {
        !self.gone && self.refuses_body(body_bytes)
    }

    /// Whether the message must be in the log.
    #[inline]
    pub(super) fn lasts(&self, message: &Message) -> bool {
        self.durable && (self.quorum || message.persistent())
    }

    pub(super) fn begin_run(
        &mut self,
        mut gathered: Gathered,
        arrival: &mut Arrival,
        persisted: &mut impl FnMut(Seq),
    ) {
        let (first, run) = (gathered.first, gathered.run());
        if self.quorum {
            arrival.expect(first, run.end());
        }
        self.unsubmitted.add(first, run.end());
        self.runs.push(run);
        persisted(first);
    }

    /// Serves consumers as far as they and the messages go, and keeps the limits.
    pub fn deliver(&mut self, now_ms: i64, effects: &mut Effects) {
        self.promote(now_ms);
        self.serve_and_keep(now_ms, effects);
        self.page_out();
        self.settle_effects(effects);
    }

    fn serve_and_keep(&mut self, now_ms: i64, effects: &mut Effects) {
        self.serve(now_ms, effects);
        // Otherwise consumers could have more, which makes room.
        if !self.reserving.is_full() {
            self.keep_limits(now_ms, effects);
        }
    }

    /// Serves consumers as far as they and the messages go.
    fn serve(&mut self, now_ms: i64, effects: &mut Effects) {
        let mut parcel = Parcel::of(self.ready.len());
        self.go_on_reserved(now_ms, &mut parcel, effects);
        while !self.reserving.is_full()
            && let Some(id) = self.consumers.next_turn()
        {
            // What expires in this very millisecond may still go: with a TTL of 0 that is all it may.
            self.drop_expired(now_ms.saturating_sub(1));
            let Some(front) = self.ready.front() else { break };
            let front = (front.seq, self.lasts(&front.message));
            let Some(consumer) = self.consumers.find(id) else { break };
            let outlet = &consumer.spec.outlet;
            if parcel.full(outlet) {
                effects.stalled.push(outlet.clone());
                self.consumers.stall(id);
                continue;
            }
            if !consumer.take_credit() {
                self.consumers.suspend(id);
                continue;
            }
            let acknowledges = !consumer.spec.no_ack;
            let waits = self.must_reserve(front, effects) || !self.reserving.is_empty();
            let Some(entry) = self.ready.pop() else { break };
            if acknowledges {
                self.unacked.add(&entry.message);
            }
            if waits {
                self.reserving.push(id, entry);
            } else {
                self.hand_over(now_ms, id, entry, &mut parcel);
            }
            self.consumers.rotate();
        }
        for (consumer, entry) in parcel.post() {
            self.undeliverable(consumer, entry);
        }
    }

    /// A consumer counts it as its own already.
    pub(super) fn hand_over(&mut self, now_ms: i64, id: ConsumerId, entry: Entry, parcel: &mut Parcel) {
        self.positions.hand_over(entry.seq);
        let Some(consumer) = self.consumers.find(id) else { return };
        self.totals.waited_ms += u64::try_from(now_ms - entry.message.published_ms()).unwrap_or(0);
        self.totals.redelivered += u64::from(entry.redelivered);
        if consumer.spec.no_ack {
            self.totals.delivered_no_ack += 1;
            self.runs.acknowledge(entry.seq);
        } else {
            self.totals.delivered += 1;
        }
        parcel.put(&consumer.spec.outlet, consumer.spec.channel, id, entry);
    }

    /// The connection is gone: its messages come back when it ends; this one never reached it.
    fn undeliverable(&mut self, id: ConsumerId, mut entry: Entry) {
        self.consumers.suspend(id);
        let no_ack = self.consumers.find(id).is_none_or(|c| c.spec.no_ack);
        if !no_ack {
            self.unacked.remove(&entry.message);
            entry.redelivered = true;
            self.ready.put_back(entry);
        }
    }

    fn page_out(&mut self) {
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

    /// `basic.get`.
    pub fn get(&mut self, now_ms: i64, no_ack: bool, outlet: &Arc<Outlet>, effects: &mut Effects) -> Got {
        self.used(now_ms);
        self.promote(now_ms);
        self.drop_expired(now_ms);
        let got = match self.ready.front().map(|entry| (entry.seq, self.lasts(&entry.message))) {
            // What was served before must be seen before.
            _ if !self.reserving.is_empty() => Got::Wait,
            None if self.ready.is_empty() => Got::Empty,
            None => Got::Wait,
            Some(front) if self.must_reserve(front, effects) => Got::Wait,
            Some(_) => match self.ready.pop() {
                None => Got::Empty,
                Some(entry) => {
                    self.got(now_ms, no_ack, &entry);
                    // What stood behind it is the head now, and counts no more if its time is over.
                    self.drop_expired(now_ms);
                    Got::Message { ready: self.ready.len(), entry }
                }
            },
        };
        if matches!(got, Got::Wait) {
            self.getters.push(outlet.clone());
        }
        self.settle_effects(effects);
        got
    }

    fn got(&mut self, now_ms: i64, no_ack: bool, entry: &Entry) {
        self.positions.hand_over(entry.seq);
        self.totals.waited_ms += u64::try_from(now_ms - entry.message.published_ms()).unwrap_or(0);
        self.totals.redelivered += u64::from(entry.redelivered);
        if no_ack {
            self.totals.got_no_ack += 1;
            self.runs.acknowledge(entry.seq);
        } else {
            self.totals.got += 1;
            self.unacked.add(&entry.message);
        }
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
