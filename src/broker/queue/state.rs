//! One queue as a pure state machine: time passed in, what to do next handed out.
//!
//! Who holds an unacknowledged message is the channel's business: it gives the [`Entry`] back, settled or returned.
//! Here is only how many there are. (AMQP 0-9-1 §1.8.3; RabbitMQ's classic queue.)

use std::sync::Arc;

use super::{
    ConsumerId, Entry, Seq,
    consumers::{ConsumerSpec, Consumers},
    deadline::{Earlier, Lifetime},
    drops::Drops,
    limits::Limits,
    parcel::Parcel,
    ready::Ready,
    runs::{Ordinals, Run, Runs},
};
use crate::broker::{arguments::Classic, dead_letter::DeadLetter, message::Blob, outlet::Outlet};

/// How far ahead of the delivered messages the log is told that they may have been delivered.
/// Small under test, so that a simulated queue gets there.
const DELIVERED_AHEAD: u64 = if cfg!(test) { 8 } else { 8_192 };

/// How much of the middle is read back at once.
const LOAD_BYTES_MAX: usize = if cfg!(test) { 1024 } else { 1024 * 1024 };

/// What the queue wants done once its lock is free, and what a Change must carry.
#[derive(Debug, Default)]
pub struct Effects {
    /// Put an ack flush of so many bytes into the committer's inbox (while the lock is held).
    pub flush: Option<usize>,
    /// Put "delivered up to here" into the committer's inbox (while the lock is held).
    pub reserve: Option<Seq>,
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

/// The state; its queue's lock guards it.
#[derive(Debug)]
pub struct State {
    pub gone: bool,
    pub durable: bool,
    pub limits: Limits,
    /// Where what is let go ends up; `None`: nowhere.
    pub dead_letter: Option<Arc<DeadLetter>>,
    pub ready: Ready,
    pub consumers: Consumers,
    pub runs: Runs,
    pub unacked: usize,
    pub totals: Totals,
    pub(super) drops: Drops,
    pub(super) lifetime: Lifetime,
    /// Since when a delivery waits for the log to know its reservation. A consumer was ready then: what was alive at
    /// that time does not expire, and what it will take is not dropped to make room.
    pub(super) waits_since_ms: Option<i64>,
    next_seq: Seq,
    /// Messages below have been delivered at least once, or are behind one that has.
    handed_over: Seq,
    /// Messages below may have been delivered, and the log knows it or will before they are acknowledged.
    reserved: Seq,
    /// Deliveries wait until the log knows the reservation.
    reserving: bool,
    /// Messages below that were read back from the log after a restart are flagged as redelivered.
    redelivered_below: Seq,
    loading: bool,
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
    /// The message is being read from the log; [`Event::Loaded`] says when to ask again.
    Wait,
}

impl State {
    #[must_use]
    pub fn new(durable: bool, limits: Limits, single_active: bool) -> Self {
        Self {
            gone: false,
            durable,
            limits,
            dead_letter: None,
            ready: Ready::default(),
            consumers: Consumers::new(single_active),
            runs: Runs::default(),
            unacked: 0,
            totals: Totals::default(),
            drops: Drops::default(),
            lifetime: Lifetime::default(),
            waits_since_ms: None,
            next_seq: Seq(0),
            handed_over: Seq(0),
            reserved: Seq(0),
            reserving: false,
            redelivered_below: Seq(0),
            loading: false,
            flushing: false,
            had_consumer: false,
            held_told: 0,
            getters: Vec::new(),
        }
    }

    /// What the arguments, with the policies applied, ask for from now on. Call [`State::deliver`] next: limits and
    /// deadlines may have moved. Messages that are in memory keep the time at which they expire.
    pub fn configure(&mut self, asked: &Classic) {
        self.limits = asked.limits;
        self.dead_letter = asked.dead_letter.clone().map(Arc::new);
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
        let mut run: Option<(Seq, Vec<u32>, usize)> = None;
        let mut refused = Vec::new();
        for &ordinal in ordinals {
            let Some(message) = blob.message(ordinal) else { continue };
            if self.limits.refuses(&self.ready, message.body_len()) {
                // RabbitMQ takes them one by one: what a consumer can have of those before is no longer here.
                if let Some(run) = run.take() {
                    persisted(self.begin_run(run));
                }
                self.serve(now_ms, effects);
                if self.limits.refuses(&self.ready, message.body_len()) {
                    refused.push(ordinal);
                    self.refuse(message);
                    continue;
                }
            }
            let seq = self.next_seq;
            self.next_seq = Seq(seq.0 + 1);
            self.totals.published += 1;
            if self.durable && message.persistent() {
                let body = message.body_len();
                match &mut run {
                    Some((_, list, bytes)) => {
                        list.push(ordinal);
                        *bytes += body;
                    }
                    None => run = Some((seq, vec![ordinal], body)),
                }
            } else if let Some(run) = run.take() {
                persisted(self.begin_run(run));
            }
            let expires_ms = self.limits.expires_ms(now_ms, message.expiration_ms());
            self.ready.push(Entry { seq, message, expires_ms, redelivered: false });
        }
        if let Some(run) = run {
            persisted(self.begin_run(run));
        }
        if refused.is_empty() { Overflow::None } else { Overflow::Rejected(refused) }
    }

    fn begin_run(&mut self, (first, list, body_bytes): (Seq, Vec<u32>, usize)) -> Seq {
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let start = list.first().copied().unwrap_or_default();
        let contiguous = list.iter().zip(start..).all(|(&a, b)| a == b);
        let ordinals = if contiguous { Ordinals::From(start) } else { Ordinals::Listed(list.into()) };
        self.runs.push(Run::new(first, count, ordinals, body_bytes));
        first
    }

    /// Serves consumers as far as they and the messages go, and keeps the limits.
    pub fn deliver(&mut self, now_ms: i64, effects: &mut Effects) {
        self.serve(now_ms, effects);
        if self.waits_since_ms.is_none() {
            self.keep_limits(now_ms, effects);
        }
        self.page_out();
        self.settle_effects(effects);
    }

    /// Serves consumers as far as they and the messages go.
    fn serve(&mut self, now_ms: i64, effects: &mut Effects) {
        let alive_ms = self.waits_since_ms.take().unwrap_or(now_ms);
        let mut parcel = Parcel::default();
        while let Some(id) = self.consumers.next() {
            // What expires in this very millisecond may still go: with a TTL of 0 that is all it may.
            self.drop_expired(alive_ms.saturating_sub(1));
            let Some(front) = self.ready.front() else { break };
            let front = (front.seq, front.message.persistent());
            let Some(consumer) = self.consumers.find(id) else { break };
            let outlet = &consumer.spec.outlet;
            if parcel.full(outlet) {
                effects.stalled.push(outlet.clone());
                self.consumers.suspend(id);
                continue;
            }
            if !consumer.take_credit() {
                self.consumers.suspend(id);
                continue;
            }
            if self.must_reserve(front, effects) {
                if let Some(consumer) = self.consumers.find(id) {
                    give_back(consumer, 1);
                }
                self.waits_since_ms = Some(alive_ms);
                break;
            }
            let Some(entry) = self.ready.pop() else { break };
            self.hand_over(now_ms, id, entry, &mut parcel);
            self.consumers.rotate();
        }
        for (consumer, entry) in parcel.post() {
            self.undeliverable(consumer, entry);
        }
    }

    fn hand_over(&mut self, now_ms: i64, id: ConsumerId, entry: Entry, parcel: &mut Parcel) {
        self.handed_over = self.handed_over.max(Seq(entry.seq.0 + 1));
        let Some(consumer) = self.consumers.find(id) else { return };
        self.totals.waited_ms += u64::try_from(now_ms - entry.message.published_ms()).unwrap_or(0);
        self.totals.redelivered += u64::from(entry.redelivered);
        if consumer.spec.no_ack {
            self.totals.delivered_no_ack += 1;
            self.runs.acknowledge(entry.seq);
        } else {
            self.totals.delivered += 1;
            self.unacked += 1;
        }
        parcel.put(&consumer.spec.outlet, consumer.spec.channel, id, entry);
    }

    /// The connection is gone: its messages come back when it ends; this one never reached it.
    fn undeliverable(&mut self, id: ConsumerId, mut entry: Entry) {
        self.consumers.suspend(id);
        let no_ack = self.consumers.find(id).is_none_or(|c| c.spec.no_ack);
        if !no_ack {
            self.unacked -= 1;
            entry.redelivered = true;
            self.ready.put_back(entry);
        }
    }

    /// Whether the next message must wait until the log knows that it may have been delivered. Asks for more room
    /// long before it is needed, so that this is rare.
    fn must_reserve(&mut self, (seq, persistent): (Seq, bool), effects: &mut Effects) -> bool {
        if !self.durable || !persistent {
            return false;
        }
        if !self.reserving && seq.0 + DELIVERED_AHEAD / 2 >= self.reserved.0 {
            self.reserving = true;
            effects.reserve = Some(Seq(seq.0 + DELIVERED_AHEAD));
        }
        seq >= self.reserved
    }

    /// The log knows the reservation.
    pub fn reserved(&mut self, to: Seq) {
        self.reserved = self.reserved.max(to);
        self.reserving = false;
    }

    /// What the log should say at a clean end: messages below have been delivered.
    #[must_use]
    pub fn delivered_to(&self) -> Option<Seq> {
        (self.reserved > Seq(0)).then_some(self.handed_over.min(self.reserved))
    }

    /// Whether the log knows of deliveries, or will.
    #[must_use]
    pub fn noted(&self) -> bool {
        self.reserving || self.reserved > Seq(0)
    }

    fn page_out(&mut self) {
        if !self.ready.tail_full() {
            return;
        }
        let runs = &self.runs;
        self.ready.page_out(|seq| runs.of(seq).filter(|run| run.durable).map(Run::end));
        if let Some(middle) = self.ready.middle() {
            self.runs.pack(middle.from, middle.end);
        }
    }

    pub(super) fn settle_effects(&mut self, effects: &mut Effects) {
        if self.runs.unflushed() && !self.flushing {
            self.flushing = true;
            effects.flush = Some(self.runs.unflushed_bytes());
        }
        if !self.loading {
            effects.load = self.wanted();
            self.loading = !effects.load.is_empty();
        }
        effects.move_dead |= self.claim_move();
        self.rearm(effects);
        let held = self.ready.held_bytes() + self.drops.held_bytes();
        effects.held_delta += held.cast_signed() - self.held_told.cast_signed();
        self.held_told = held;
    }

    /// Runs to be read back: of what was put back without its body first.
    fn wanted(&mut self) -> Vec<Seq> {
        let mut firsts: Vec<Seq> = Vec::new();
        for seq in self.ready.returned_wanted(LOAD_BYTES_MAX) {
            match self.runs.of_mut(seq).map(|run| run.first) {
                Some(first) if firsts.last() == Some(&first) => {}
                Some(first) => firsts.push(first),
                None => self.ready.restore(seq, Seq(seq.0 + 1), |_| None),
            }
        }
        if firsts.is_empty()
            && let Some(from) = self.ready.wanted()
        {
            return self.runs.next(from, LOAD_BYTES_MAX);
        }
        firsts
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
    }

    /// A run's turn is durable.
    pub fn run_durable(&mut self, first: Seq, effects: &mut Effects) {
        if let Some(run) = self.runs.of_mut(first) {
            run.durable = true;
        }
        // Now, not with the next publish: none comes while the memory alarm is on.
        if self.ready.tail_full() {
            self.page_out();
            self.settle_effects(effects);
        }
    }

    /// What was asked for has been read, or not: more may be asked for.
    pub fn load_ended(&mut self) {
        self.loading = false;
    }

    /// One run has been read back from the log (or could not be: `None`, and its messages are lost to this process).
    pub fn loaded(&mut self, first: Seq, blob: Option<&Arc<Blob>>) {
        if let Some(run) = self.runs.of_mut(first) {
            let n = |seq: Seq| u32::try_from(seq.0 - run.first.0).unwrap_or(u32::MAX);
            self.ready.restore(run.first, run.end(), |seq| blob?.message(run.ordinals.at(n(seq))));
        }
        let Some(from) = self.ready.middle().map(|middle| middle.from) else { return };
        if self.runs.next(from, 0).first() != Some(&first) {
            return; // purged meanwhile
        }
        let Some(run) = self.runs.of(first) else { return };
        let (below, limits) = (self.redelivered_below, &self.limits);
        let wanted = |n: &u32| run.has(*n) && run.first.0 + u64::from(*n) >= from.0;
        let count = (0..run.count).filter(wanted).count();
        let entries = (0..run.count).filter(wanted).filter_map(|n| {
            let message = blob?.message(run.ordinals.at(n))?;
            let seq = Seq(run.first.0 + u64::from(n));
            let expires_ms = limits.expires_ms(message.published_ms(), message.expiration_ms());
            Some(Entry { seq, message, expires_ms, redelivered: seq < below })
        });
        self.ready.loaded(run.end(), count, entries);
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
        self.consumers.remove(id);
        self.had_consumer && self.consumers.is_empty()
    }

    /// `basic.get`.
    pub fn get(&mut self, now_ms: i64, no_ack: bool, outlet: &Arc<Outlet>, effects: &mut Effects) -> Got {
        self.used(now_ms);
        self.drop_expired(now_ms);
        let got = match self.ready.front().map(|entry| (entry.seq, entry.message.persistent())) {
            None if self.ready.is_empty() => Got::Empty,
            None => Got::Wait,
            Some(front) if self.must_reserve(front, effects) => Got::Wait,
            Some(_) => match self.ready.pop() {
                None => Got::Empty,
                Some(entry) => {
                    self.got(now_ms, no_ack, &entry);
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
        self.handed_over = self.handed_over.max(Seq(entry.seq.0 + 1));
        self.totals.waited_ms += u64::try_from(now_ms - entry.message.published_ms()).unwrap_or(0);
        self.totals.redelivered += u64::from(entry.redelivered);
        if no_ack {
            self.totals.got_no_ack += 1;
            self.runs.acknowledge(entry.seq);
        } else {
            self.totals.got += 1;
            self.unacked += 1;
        }
    }

    /// These messages of one consumer (or of `basic.get`: `None`) are acknowledged or thrown away.
    pub fn settle(
        &mut self,
        consumer: Option<ConsumerId>,
        seqs: impl Iterator<Item = Seq>,
        acknowledged: bool,
    ) {
        let mut n = 0;
        for seq in seqs {
            self.runs.acknowledge(seq);
            n += 1;
        }
        if acknowledged {
            self.totals.acknowledged += n;
        }
        self.given_back(consumer, n);
    }

    /// The bodies of these lie elsewhere by now: they were let go, and moved.
    pub fn moved(&mut self, seqs: impl Iterator<Item = Seq>, effects: &mut Effects) {
        seqs.for_each(|seq| self.runs.acknowledge(seq));
        self.settle_effects(effects);
    }

    /// These messages go back to where they were.
    pub fn requeue(&mut self, consumer: Option<ConsumerId>, entries: impl Iterator<Item = Entry>) {
        let mut n = 0;
        for mut entry in entries {
            entry.redelivered = true;
            self.ready.put_back(entry);
            n += 1;
        }
        self.given_back(consumer, n);
    }

    /// A consumer holds that many messages less.
    pub(super) fn given_back(&mut self, consumer: Option<ConsumerId>, n: u64) {
        self.unacked = self.unacked.saturating_sub(usize::try_from(n).unwrap_or(usize::MAX));
        let Some(id) = consumer else { return };
        if let Some(consumer) = self.consumers.find(id) {
            consumer.unacked = consumer.unacked.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
            self.consumers.resume(id);
        }
    }

    /// Drops the ready messages; returns how many there were.
    pub fn purge(&mut self, effects: &mut Effects) -> usize {
        let count = self.ready.len();
        let (seqs, middle) = self.ready.clear();
        for seq in seqs {
            self.runs.acknowledge(seq);
        }
        if let Some(middle) = middle {
            // What comes before in its first run is not ready: a consumer holds it, or it is gone.
            self.runs.acknowledge_all(middle.from, middle.end);
        }
        self.settle_effects(effects);
        count
    }

    /// A run that recovery found in the log.
    pub fn recover_run(&mut self, run: Run) {
        let count = run.left() as usize;
        self.next_seq = Seq(run.first.0 + u64::from(run.count)).max(self.next_seq);
        // How long those are that are left is not known before the run is read: as long as the others.
        let body_bytes = run.body_bytes * count / (run.count as usize).max(1);
        self.ready.push_paged(run.first, run.end(), count, body_bytes);
        self.runs.push_stored(run);
    }

    /// Recovery found that messages below may have been delivered. Sequence numbers never go back.
    pub fn recover_delivered(&mut self, below: Seq) {
        self.redelivered_below = below;
        self.handed_over = below;
        self.reserved = below;
        self.next_seq = self.next_seq.max(below);
    }
}

fn give_back(consumer: &mut super::consumers::Consumer, n: u32) {
    if !consumer.spec.no_ack {
        consumer.unacked = consumer.unacked.saturating_sub(n);
        consumer.spec.credit.give_back(n);
    }
}
