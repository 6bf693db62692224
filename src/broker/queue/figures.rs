//! What the admin API, metrics and `queue.declare-ok` are told of a queue.

use std::sync::Arc;

use super::{Queue, delayed::DelayedRetry, load::Load, state::Totals};
use crate::{
    broker::{arguments::QueueKind, message::Message},
    data::field::Properties,
};

/// Figures of a queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFigures {
    pub ready: usize,
    pub unacked: usize,
    pub consumers: usize,
    /// Of what is ready.
    pub body_bytes: usize,
    /// What is ready, unacknowledged and delayed.
    pub all: Load,
    /// Of that: what the log has or will have.
    pub persistent: Load,
    /// Of what is ready: what is in memory with its body.
    pub in_memory: Load,
    /// The property `timestamp` of the message that leaves next, as long as that is in memory.
    pub head_timestamp: Option<u64>,
    pub unacked_bytes: usize,
    pub held_bytes: usize,
    /// Dead letters that wait for a target to take them, and their bodies.
    pub dead: usize,
    pub dead_bytes: usize,
    pub delayed: DelayedFigures,
    pub totals: Totals,
}

/// Of what came back and waits until it is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DelayedFigures {
    pub retry: Option<DelayedRetry>,
    pub load: Load,
    /// When the first is due, and when the last.
    pub next_ms: Option<i64>,
    pub last_ms: Option<i64>,
}

impl Queue {
    /// Ready messages and consumers, as `queue.declare-ok` gives them. Whoever declares a queue uses it.
    #[must_use]
    pub fn counts(self: &Arc<Self>) -> (usize, usize) {
        self.state.lock().used(self.core.clock.now_ms());
        self.look();
        let state = self.state.lock();
        (state.ready.len(), state.consumers.len())
    }

    /// What the admin API and metrics show.
    #[must_use]
    pub fn figures(self: &Arc<Self>) -> QueueFigures {
        self.look();
        let state = self.state.lock();
        let ready = Load { messages: state.ready.len(), body_bytes: state.ready.body_bytes() };
        let unacked = state.unacked;
        let delayed = &state.delayed;
        let all = ready.plus(unacked.all).plus(delayed.load());
        QueueFigures {
            ready: ready.messages,
            unacked: unacked.all.messages,
            consumers: state.consumers.len(),
            body_bytes: ready.body_bytes,
            all,
            persistent: match (self.kind, state.durable) {
                // It keeps every message in the log.
                (QueueKind::Quorum, _) => all,
                (_, false) => Load::default(),
                (_, true) => all.less(state.ready.transient()).less(unacked.transient),
            },
            in_memory: state.ready.in_memory(),
            head_timestamp: state.ready.front().and_then(|head| timestamp(&head.message)),
            unacked_bytes: unacked.all.body_bytes,
            held_bytes: state.ready.held_bytes(),
            dead: state.drops.kept.len(),
            dead_bytes: state.drops.kept.body_bytes(),
            delayed: DelayedFigures {
                retry: state.delayed_retry,
                load: delayed.load(),
                next_ms: delayed.next_ms(),
                last_ms: delayed.last_ms(),
            },
            totals: state.totals,
        }
    }
}

/// What its publisher says when it was made, in seconds, if the message is in memory.
fn timestamp(message: &Message) -> Option<u64> {
    if message.is_paged() { None } else { Properties::decode(message.properties()).ok()?.timestamp }
}
