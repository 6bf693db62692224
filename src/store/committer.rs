//! The committer: takes Changes out of the inbox, in order, and makes them durable, one turn after the other.
//!
//! ```text
//!          ┌──────────── nothing waits ───────────┐
//!          ▼                                      │
//!  take ──▶ stage each ──▶ seal ──▶ write ──▶ sync ──▶ dirty map ──▶ committed() each ──▶ durable_to
//!             │                      │  ▲      │
//!             └─ no segment ─▶ stuck ┘  │      └─ failed ─▶ poisoned: refused() each, from now on
//!                              (100 ms)─┘
//! ```
//!
//! No lock is held while a Change stages itself or is told: it may call anything but [`super::Store`]'s waiting calls.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    Change, Durability, StoreError, Ticket,
    frame::{self, FLAG_UNSYNCED},
    inbox::Waiting,
    log::{Pos, Writer},
    shared::Shared,
    turn::Turn,
};

/// How long a turn that found no room waits before it tries again.
const RETRY: Duration = Duration::from_millis(100);
/// The next segment is made ready when the active one is that full, in percent.
const PREPARE_PERCENT: u64 = 25;
/// What headers of chunks and deltas may add to what a Change promised.
const SLACK_BYTES: usize = 64 << 10;

pub(super) struct Committer {
    shared: Arc<Shared>,
    /// `None`: nothing is written (`--ephemeral`).
    writer: Option<Writer>,
    turn: Turn,
    /// Taken from the inbox, not staged yet.
    waiting: VecDeque<Waiting>,
    staged: Vec<Box<dyn Change>>,
    /// The frame is sealed and not written yet.
    sealed: bool,
    /// The ticket of the last Change that was staged.
    ticket: Ticket,
    prepared: Option<u32>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Committed,
    Idle,
    Refused,
    /// There is no room on the disk; everything is kept for the next try.
    Stuck,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, writer: Option<Writer>) -> Self {
        let turn = match writer {
            Some(_) => Turn::for_log(),
            None => Turn::for_memory(),
        };
        Self {
            shared,
            writer,
            turn,
            waiting: VecDeque::new(),
            staged: Vec::new(),
            sealed: false,
            ticket: Ticket(0),
            prepared: None,
        }
    }

    /// The thread: until the inbox is stopped.
    pub(super) fn run(mut self) {
        // A Change that panics must not leave all the others waiting for ever.
        while catch_unwind(AssertUnwindSafe(|| self.run_until_stopped())).is_err() {
            self.shared.poison(StoreError::Poisoned("the committer panicked".into()));
            self.sealed = false;
        }
    }

    fn run_until_stopped(&mut self) {
        loop {
            let goes_on = match self.step() {
                Step::Committed | Step::Refused if !self.waiting.is_empty() => !self.shared.inbox.stopped(),
                Step::Committed | Step::Idle | Step::Refused => self.shared.inbox.wait(),
                Step::Stuck => self.shared.inbox.pause(RETRY),
            };
            if !goes_on {
                break;
            }
        }
        self.shared.inbox.take(&mut self.waiting, usize::MAX);
        self.refuse(&StoreError::Closed);
    }

    /// One turn.
    pub(super) fn step(&mut self) -> Step {
        let began = self.shared.clock.now();
        if self.staged.is_empty() && self.waiting.is_empty() {
            self.shared.inbox.take(&mut self.waiting, self.shared.options.turn_bytes_max);
        }
        if self.staged.is_empty() && self.waiting.is_empty() {
            return Step::Idle;
        }
        if let Some(error) = self.shared.refusing() {
            self.refuse(&error);
            return Step::Refused;
        }
        if !self.sealed {
            if let Err(error) = self.stage() {
                return self.stuck(&error);
            }
            self.seal();
        }
        let pos = match self.write() {
            Ok(pos) => pos,
            Err(Failure::Write(error)) => return self.stuck(&error),
            Err(Failure::Sync(error)) => {
                let error = StoreError::Poisoned(error.to_string());
                self.shared.poison(error.clone());
                self.refuse(&error);
                return Step::Refused;
            }
        };
        self.sealed = false;
        self.apply(pos);
        self.tell();
        let took = self.shared.clock.now().saturating_duration_since(began);
        self.shared.counters.turn_us_last.store(micros(took), Ordering::Relaxed);
        Step::Committed
    }

    /// Stages what was taken, as far as the segment has room; an error means that not even the first could be.
    fn stage(&mut self) -> io::Result<()> {
        let mut begun = false;
        while let Some(next) = self.waiting.front() {
            if let Some(writer) = &mut self.writer {
                let need =
                    next.bytes.saturating_add(SLACK_BYTES) + if begun { self.turn.frame_bytes() } else { 0 };
                if !writer.fits(need) {
                    if begun {
                        break;
                    }
                    writer.roll(self.shared.pool()?)?;
                }
                if let (false, Some(active)) = (begun, writer.active()) {
                    self.turn.begin(active.segment.id, active.offset);
                }
            }
            begun = true;
            let Some(mut next) = self.waiting.pop_front() else { break };
            self.ticket.0 += 1;
            self.join(&mut next);
            next.change.stage(&mut self.turn);
            self.staged.push(next.change);
        }
        Ok(())
    }

    /// Lets a Change that is about to be staged take in those behind it, as far as the segment has room.
    fn join(&mut self, next: &mut Waiting) {
        while let Some(mut behind) = self.waiting.pop_front() {
            let need = next.bytes.saturating_add(behind.bytes).saturating_add(SLACK_BYTES);
            let room = match &self.writer {
                Some(writer) => writer.fits(need.saturating_add(self.turn.frame_bytes())),
                None => true,
            };
            let refused = if room { next.change.join(behind.change) } else { Some(behind.change) };
            match refused {
                Some(change) => {
                    behind.change = change;
                    self.waiting.push_front(behind);
                    return;
                }
                None => {
                    next.bytes = next.bytes.saturating_add(behind.bytes);
                    self.ticket.0 += 1;
                }
            }
        }
    }

    fn seal(&mut self) {
        if let Some(writer) = &self.writer {
            let flags = match self.shared.options.durability {
                Durability::Fsync => 0,
                Durability::None | Durability::Os => FLAG_UNSYNCED,
            };
            self.turn.seal(writer.turn + 1, flags);
        }
        self.sealed = true;
    }

    /// Writes and syncs the sealed frame; gives its end.
    fn write(&mut self) -> Result<Option<Pos>, Failure> {
        // Changes that wrote nothing need no frame; they are durable with what came before them.
        if self.turn.is_empty() {
            return Ok(None);
        }
        let Some(writer) = &mut self.writer else { return Ok(None) };
        let Some(active) = writer.active() else { return Ok(None) };
        active.write(self.turn.pieces()).map_err(Failure::Write)?;
        let counters = &self.shared.counters;
        if self.shared.options.durability == Durability::Fsync {
            active.sync().map_err(Failure::Sync)?;
            counters.syncs.fetch_add(1, Ordering::Release);
        }
        let frame_bytes = self.turn.sealed_len();
        counters.bytes_written.fetch_add(frame_bytes as u64, Ordering::Relaxed);
        self.shared.set_full(None);
        Ok(writer.advance(frame_bytes))
    }

    /// Makes the turn's deltas visible.
    fn apply(&mut self, pos: Option<Pos>) {
        let shared = &self.shared;
        shared.counters.turns.fetch_add(1, Ordering::Relaxed);
        if pos.is_some() || self.writer.is_none() {
            shared.counters.last_turn.fetch_add(1, Ordering::Relaxed);
        }
        let mut dirty = shared.dirty.lock();
        dirty.apply(self.turn.deltas());
        let active = self.writer.as_ref().and_then(Writer::active);
        let unsynced = match shared.options.durability {
            Durability::Os => active.map(|active| &active.segment),
            Durability::Fsync | Durability::None => None,
        };
        let log_bytes = pos.map(|pos| dirty.advance(pos, self.turn.sealed_len() as u64, unsynced));
        drop(dirty);
        self.turn.keep_chunks(shared);
        if let (Some(log_bytes), Some(active)) = (log_bytes, active) {
            let urgent = log_bytes >= shared.options.checkpoint_log_bytes;
            let prepare =
                active.used_percent() >= PREPARE_PERCENT && self.prepared != Some(active.segment.id);
            if prepare {
                self.prepared = Some(active.segment.id);
            }
            shared.signal.wrote(urgent, prepare);
        }
    }

    /// Tells each Change of the turn, then whoever waits for a ticket.
    fn tell(&mut self) {
        let changes = self.ticket.0.saturating_sub(self.shared.waiters.durable_to().0);
        self.shared.counters.changes.fetch_add(changes, Ordering::Relaxed);
        let _together = self.shared.bell.gather();
        for change in self.staged.drain(..) {
            change.committed();
        }
        self.shared.waiters.advance(self.ticket);
    }

    fn refuse(&mut self, error: &StoreError) {
        self.sealed = false;
        self.turn.discard();
        self.shared.waiters.fail(error);
        for change in self.staged.drain(..) {
            change.refused(error);
        }
        for waiting in self.waiting.drain(..) {
            self.ticket.0 += 1;
            waiting.change.refused(error);
        }
    }

    /// Everything that is not durable, for nobody to hear of.
    pub(super) fn forget(&mut self) -> Vec<Box<dyn Change>> {
        self.shared.inbox.take(&mut self.waiting, usize::MAX);
        let waiting = self.waiting.drain(..).map(|waiting| waiting.change);
        self.staged.drain(..).chain(waiting).collect()
    }

    fn stuck(&mut self, error: &io::Error) -> Step {
        self.shared.set_full(Some(error));
        Step::Stuck
    }
}

enum Failure {
    Write(io::Error),
    Sync(io::Error),
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

const _: () = assert!(frame::HEADER_BYTES < SLACK_BYTES, "the slack covers a frame's header");
