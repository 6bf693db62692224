//! Messages that leave a queue without anybody having acknowledged them: one way out for all of them, with the reason.
//!
//! Where the queue has a dead-letter exchange, what was let go waits here until its move ([`crate::broker::dead_letter`])
//! takes it, once the queue's lock is free. One mover at a time, so that dead letters keep the order in which they died.
//! Until the move is in the log the message is in the log as this queue's: a crash loses nothing, it dies again. What a
//! target does not take is lost, or kept (`kept.rs`).

use std::{collections::VecDeque, sync::Arc};

use super::{
    Entry, Seq,
    kept::{Kept, Tried},
    limits::OverflowMode,
    load::Unacked,
    returns::Count,
    state::{Effects, State},
    unsubmitted::BatchId,
};
use crate::broker::{
    dead_letter::{DeadLetter, Reason},
    exchange::TargetId,
    message::Message,
};

/// What a queue lets go of while its lock is held once; the rest follows after others had a turn.
const DROPS_MAX: usize = if cfg!(test) { 16 } else { 8_192 };

/// What one move takes.
pub const MOVE_BYTES_MAX: usize = 1024 * 1024;

/// A message that was let go and is to be dead-lettered.
#[derive(Debug, Clone)]
pub struct Dead {
    pub entry: Entry,
    pub reason: Reason,
    /// An earlier move of it came to nothing, or to less than all.
    pub tried: Option<Box<Tried>>,
    /// What came into the queue before it died, and was not submitted then: it goes on behind that.
    pub behind: Option<BatchId>,
}

impl Dead {
    #[must_use]
    pub fn new(entry: Entry, reason: Reason) -> Self {
        Self { entry, reason, tried: None, behind: None }
    }

    /// The targets that have it already.
    #[must_use]
    pub fn taken_by(&self) -> &[TargetId] {
        self.tried.as_ref().map_or(&[], |tried| &tried.taken_by)
    }
}

/// What was let go and has not been moved.
#[derive(Debug, Default)]
pub struct Drops {
    pub(super) dead: VecDeque<Dead>,
    pub(super) kept: Kept,
    pub(super) held_bytes: usize,
    /// Somebody moves them, and will look again before it ends.
    moving: bool,
    /// The queue has got smaller limits, and what is too much by them has not gone yet.
    pub(super) shortened: bool,
}

impl Drops {
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

/// What a mover takes at once, and where it goes: nowhere, when the exchange was taken from the queue meanwhile.
#[derive(Debug)]
pub struct Moving {
    pub dead: Vec<Dead>,
    pub dead_letter: Option<Arc<DeadLetter>>,
}

impl State {
    /// THE way out for a message that nobody acknowledged. Whoever calls it lets [`State::deliver`] or another that
    /// reports effects follow.
    pub fn let_go(&mut self, entry: Entry, reason: Reason) {
        if self.dead_letter.is_none() {
            self.runs.acknowledge(entry.seq);
            return;
        }
        self.drops.held_bytes += entry.message.held_bytes();
        let behind = self.unsubmitted.last();
        self.drops.dead.push_back(Dead { behind, ..Dead::new(entry, reason) });
    }

    /// A publish that a full queue does not take.
    pub(super) fn refuse(&mut self, message: Message) {
        match self.limits.overflow {
            OverflowMode::DropHead | OverflowMode::RejectPublish => {}
            OverflowMode::RejectPublishDlx => {
                // It has no place in the queue, so the log has nothing to forget.
                let seq = Seq(u64::MAX);
                let returns = Count::default();
                let entry = Entry { seq, message, expires_ms: i64::MAX, redelivered: false, returns };
                self.let_go(entry, Reason::Maxlen);
            }
        }
    }

    /// Messages of one consumer (or of `basic.get`: `None`) are rejected for good.
    pub fn reject(&mut self, consumer: Option<super::ConsumerId>, entries: impl Iterator<Item = Entry>) {
        let mut given = Unacked::default();
        for entry in entries {
            given.add(&entry.message);
            self.let_go(entry, Reason::Rejected);
        }
        self.given_back(consumer, given);
    }

    /// Whether the oldest message has expired.
    #[must_use]
    pub(super) fn expires(&self, now_ms: i64) -> bool {
        self.ready.front().is_some_and(|entry| entry.expires_ms <= now_ms)
    }

    pub(super) fn drop_expired(&mut self, now_ms: i64) {
        while self.ready.front().is_some_and(|entry| entry.expires_ms <= now_ms) {
            let Some(entry) = self.ready.pop() else { break };
            self.let_go(entry, Reason::Expired);
        }
    }

    /// What has expired goes, and with `drop-head` the oldest ready messages make room: one after the other from the head,
    /// so that each dies of the same whether they come and go one by one or in parts, as they have been read. But all that
    /// new limits are too small for dies of that, as RabbitMQ has it.
    pub(super) fn keep_limits(&mut self, now_ms: i64, effects: &mut Effects) {
        let mut left = DROPS_MAX;
        loop {
            let exceeded = self.exceeded();
            self.drops.shortened &= exceeded;
            // What lies in the log only is read first.
            let Some(front) = self.ready.front() else { return };
            let expired = front.expires_ms <= now_ms && !self.drops.shortened;
            if !expired && !exceeded {
                return;
            }
            if !expired && left == 0 {
                effects.again = true;
                return;
            }
            let Some(entry) = self.ready.pop() else { return };
            let reason = if expired { Reason::Expired } else { Reason::Maxlen };
            left -= usize::from(!expired);
            self.let_go(entry, reason);
        }
    }

    /// Whether the caller is to move what was let go: true for one at a time.
    pub(super) fn claim_move(&mut self) -> bool {
        let claimed = self.dead_may_go() && !self.drops.moving;
        self.drops.moving |= claimed;
        claimed
    }

    /// The oldest that wait to be moved; with `None` the mover is done.
    pub fn take_dead(&mut self) -> Option<Moving> {
        let mut taken: Vec<Dead> = Vec::new();
        let mut bytes = 0;
        while self.dead_may_go()
            && let Some(next) = self.drops.dead.front()
        {
            bytes += next.entry.message.held_bytes();
            if !taken.is_empty() && bytes > MOVE_BYTES_MAX {
                break;
            }
            taken.extend(self.drops.dead.pop_front());
        }
        for dead in &taken {
            self.drops.held_bytes -= dead.entry.message.held_bytes();
        }
        if taken.is_empty() {
            self.drops.moving = false;
            return None;
        }
        Some(Moving { dead: taken, dead_letter: self.dead_letter.clone() })
    }
}
