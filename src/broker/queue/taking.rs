//! How a queue takes messages, and when it refuses them.
//!
//! A batch is taken message by message: a limit may lie in the middle of it. What must last is gathered into runs on the
//! way. (`x-max-length`, `x-max-length-bytes`, `x-overflow`.)

use std::sync::Arc;

use super::{
    Entry, Seq,
    arriving::Arrival,
    gather::{Gathered, Gathering},
    returns::Count,
    state::{Effects, State},
};
use crate::broker::message::{Blob, Message};

/// A publish that the queue did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overflow {
    /// All taken, perhaps at the cost of older ones.
    None,
    /// `x-overflow` = `reject-publish` or `reject-publish-dlx`: the messages with these ordinals were refused.
    Rejected(Vec<u32>),
}

impl State {
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
}
