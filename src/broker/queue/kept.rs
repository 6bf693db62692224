//! Dead letters that not every target has taken: a quorum queue with `x-dead-letter-strategy` = `at-least-once` keeps
//! them, and tries again, until all have.
//!
//! A target refuses one when it is full (`reject-publish`); one has no target when the exchange or a binding is missing.
//! RabbitMQ's worker has 32 under way and tries those again after three minutes. Here the 32 that have waited longest
//! are tried every second, and the others as soon as those got through: what is stuck costs no more, however much of
//! it there is. Which targets have taken a letter is known to the process only: after a crash they may get it twice, as
//! with RabbitMQ. That it is dead, and why, is in the log beside its count of returns, so that it does not go to
//! consumers again. (rabbit_fifo_dlx, rabbit_fifo_dlx_worker.)

use std::{collections::VecDeque, sync::Arc};

use super::{
    Entry, Queue, Seq,
    drops::Dead,
    runs::Run,
    state::{Effects, State},
};
use crate::broker::{
    dead_letter::{self, Reason},
    exchange::TargetId,
    message::Message,
};

/// How many are tried at once, while some are stuck.
const TRIED_MAX: usize = 32;

/// How long what is stuck waits.
pub const RETRY_MS: i64 = 1_000;

/// What came of earlier moves of one letter.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// When it died, unless a restart came between.
    pub died_ms: Option<i64>,
    /// Who has it.
    pub taken_by: Vec<TargetId>,
}

/// What is kept, in the order in which it was given back.
#[derive(Debug, Default)]
pub struct Kept {
    letters: VecDeque<Dead>,
    body_bytes: usize,
    retry: Retry,
}

#[derive(Debug, Default)]
enum Retry {
    /// Nothing is kept.
    #[default]
    Never,
    At(i64),
    /// So many are with the mover.
    UnderWay {
        left: usize,
        stuck: bool,
    },
}

impl Kept {
    #[must_use]
    pub fn len(&self) -> usize {
        self.letters.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// When the oldest are to be tried again.
    pub(super) fn retry_ms(&self) -> Option<i64> {
        match self.retry {
            Retry::At(at_ms) => Some(at_ms),
            Retry::Never | Retry::UnderWay { .. } => None,
        }
    }

    /// Where those lie that are between these positions.
    pub(super) fn between(&self, from: Seq, end: Seq) -> Vec<Seq> {
        let seqs = self.letters.iter().map(|dead| dead.entry.seq);
        let mut seqs: Vec<_> = seqs.filter(|&seq| from <= seq && seq < end).collect();
        seqs.sort_unstable();
        seqs
    }
}

impl State {
    fn keeps(&self) -> bool {
        self.dead_letter.as_ref().is_some_and(|dead_letter| dead_letter.at_least_once)
    }

    /// The mover is through with some: those of `kept` not everybody took.
    pub(super) fn dead_moved(&mut self, now_ms: i64, taken: &[Seq], kept: Vec<Dead>, tried: usize) {
        taken.iter().for_each(|&seq| self.counts.gone(seq));
        let stuck = !kept.is_empty();
        kept.into_iter().for_each(|dead| self.keep(dead));
        let (at_once, later) = (Retry::At(now_ms), Retry::At(now_ms + RETRY_MS));
        self.drops.kept.retry = match std::mem::take(&mut self.drops.kept.retry) {
            Retry::UnderWay { left, stuck: before } if left > tried => {
                Retry::UnderWay { left: left - tried, stuck: before | stuck }
            }
            Retry::UnderWay { stuck: before, .. } if before | stuck => later,
            Retry::UnderWay { .. } => at_once,
            Retry::Never if stuck => later,
            other @ (Retry::Never | Retry::At(_)) => other,
        };
        if self.drops.kept.is_empty() && self.drops.kept.retry_ms().is_some() {
            self.drops.kept.retry = Retry::Never;
        }
    }

    fn keep(&mut self, mut dead: Dead) {
        let seq = dead.entry.seq;
        if !self.keeps() || self.gone {
            self.runs.acknowledge(seq);
            self.counts.gone(seq);
            return;
        }
        let runs = &self.runs;
        self.counts.died(seq, dead.entry.returns, dead.reason, |seq| runs.holds(seq));
        self.spare(self.drops.held_bytes, &mut dead.entry);
        self.drops.held_bytes += dead.entry.message.held_bytes();
        self.drops.kept.body_bytes += dead.entry.message.body_len();
        self.drops.kept.letters.push_back(dead);
    }

    /// Whether something kept is to be tried again.
    pub(super) fn retry_due(&self, now_ms: i64) -> bool {
        self.drops.kept.retry_ms().is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// Those that are tried again now.
    fn take_kept(&mut self, now_ms: i64) -> Vec<Dead> {
        if !self.retry_due(now_ms) {
            return Vec::new();
        }
        let kept = &mut self.drops.kept;
        let count = kept.letters.len().min(TRIED_MAX);
        let taken: Vec<_> = kept.letters.drain(..count).collect();
        kept.retry = Retry::UnderWay { left: count, stuck: false };
        for dead in &taken {
            kept.body_bytes -= dead.entry.message.body_len();
            self.drops.held_bytes -= dead.entry.message.held_bytes();
        }
        taken
    }

    /// They have their bodies, and go to the mover. True when the caller is to be it.
    fn try_again(&mut self, dead: Vec<Dead>) -> bool {
        for dead in dead {
            self.drops.held_bytes += dead.entry.message.held_bytes();
            self.drops.dead.push_back(dead);
        }
        self.claim_move()
    }

    /// The queue is configured anew: what is kept goes by the new exchange at once. Without `at-least-once` it is lost,
    /// as RabbitMQ has it.
    pub(super) fn reconsider_kept(&mut self) {
        if self.drops.kept.is_empty() {
            return;
        }
        if self.keeps() {
            if let Retry::At(at_ms) = &mut self.drops.kept.retry {
                *at_ms = i64::MIN;
            }
            return;
        }
        for dead in std::mem::take(&mut self.drops.kept).letters {
            self.drops.held_bytes -= dead.entry.message.held_bytes();
            self.runs.acknowledge(dead.entry.seq);
            self.counts.gone(dead.entry.seq);
        }
    }

    /// The queue is deleted.
    pub(super) fn forget_kept(&mut self) {
        let kept = std::mem::take(&mut self.drops.kept);
        self.drops.held_bytes -=
            kept.letters.iter().map(|dead| dead.entry.message.held_bytes()).sum::<usize>();
    }

    /// What recovery found in a run that is dead.
    pub(super) fn dead_of(&self, run: &Run) -> Vec<Dead> {
        let here = |&(seq, _): &(Seq, _)| run.has(u32::try_from(seq.0 - run.first.0).unwrap_or(u32::MAX));
        let body_bytes = run.body_bytes / (run.count as usize).max(1);
        let dead = |(seq, reason): (Seq, Reason)| {
            let (message, returns) = (Message::paged(body_bytes), self.counts.of(seq));
            let entry = Entry { seq, message, expires_ms: i64::MAX, redelivered: true, returns };
            Dead { tried: Some(Box::default()), ..Dead::new(entry, reason) }
        };
        self.counts.dead_between(run.first, run.end()).into_iter().filter(here).map(dead).collect()
    }

    /// Recovery found these: they are tried at once.
    pub(super) fn recover_kept(&mut self, dead: Vec<Dead>) {
        dead.into_iter().for_each(|dead| self.keep(dead));
        if !self.drops.kept.is_empty() {
            self.drops.kept.retry = Retry::At(i64::MIN);
        }
    }
}

impl Queue {
    /// The mover is through with these: who took them all, and which of them not everybody took.
    pub(in crate::broker) fn dead_moved(self: &Arc<Self>, taken: &[Seq], kept: Vec<Dead>, tried: usize) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if !kept.is_empty() && state.drops.kept.is_empty() && tried == 0 {
            tracing::warn!(
                queue = %self.name,
                "dead letters cannot be forwarded and are kept: the dead-letter exchange is missing, routes them nowhere, \
                 or a target is full"
            );
        }
        state.dead_moved(self.core.clock.now_ms(), taken, kept, tried);
        state.settle_effects(&mut effects);
        self.inbox(&mut effects);
        drop(state);
        self.follow(effects);
    }

    /// Tries again what is kept and due. True when the caller is to move it.
    pub(in crate::broker) fn retry_dead(self: &Arc<Self>) -> bool {
        let dead = self.with_state(|state| state.take_kept(self.core.clock.now_ms()));
        if dead.is_empty() {
            return false;
        }
        match &self.core.runtime {
            Some(runtime) if dead.iter().any(|dead| dead.entry.message.is_paged()) => {
                let queue = self.clone();
                drop(runtime.spawn_blocking(move || {
                    if queue.try_again(dead) {
                        dead_letter::move_all(&queue);
                    }
                }));
                false
            }
            Some(_) | None => self.try_again(dead),
        }
    }

    /// Reads what bodies are missing, which blocks, and hands the letters to the mover; what cannot be read stays.
    fn try_again(self: &Arc<Self>, mut dead: Vec<Dead>) -> bool {
        let read = self.read_bodies(dead.iter().map(|dead| dead.entry.clone()).collect());
        dead.iter_mut().zip(read).for_each(|(dead, entry)| dead.entry = entry);
        let (unread, dead): (Vec<_>, Vec<_>) =
            dead.into_iter().partition(|dead| dead.entry.message.is_paged());
        if !unread.is_empty() {
            let count = unread.len();
            self.dead_moved(&[], unread, count);
        }
        self.with_state(|state| !dead.is_empty() && state.try_again(dead))
    }
}
