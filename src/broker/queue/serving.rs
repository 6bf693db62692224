//! How a queue's messages leave it: to its consumers in turn, and by `basic.get`.
//!
//! A message goes straight into its consumer's outlet, unless the log must know of it first: then it waits among those
//! that are reserved, and what is served behind it waits, too.

use std::sync::Arc;

use super::{
    ConsumerId, Entry,
    parcel::Parcel,
    state::{Effects, State},
};
use crate::broker::outlet::Outlet;

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
    /// Serves consumers as far as they and the messages go, and keeps the limits.
    pub fn deliver(&mut self, now_ms: i64, effects: &mut Effects) {
        self.promote(now_ms);
        self.serve_and_keep(now_ms, effects);
        self.page_out();
        self.settle_effects(effects);
    }

    pub(super) fn serve_and_keep(&mut self, now_ms: i64, effects: &mut Effects) {
        self.serve(now_ms, effects);
        // Otherwise consumers could have more, which makes room.
        if !self.reserving.is_full() {
            self.keep_limits(now_ms, effects);
        }
    }

    /// Serves consumers as far as they and the messages go.
    pub(super) fn serve(&mut self, now_ms: i64, effects: &mut Effects) {
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
}
