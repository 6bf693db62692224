//! Whether the peer lives (37/ZMTP "Heartbeating"): pure, time passed in.
//!
//! A peer that has said nothing for a while is asked, and is gone if it says nothing for as long again. A peer may also
//! say in a PING how long its silence may last at most.
//!
//! By default nobody is asked, as in libzmq: a peer that works on one message for long and takes no other meanwhile does not
//! see the PING behind those, and would lose them with the connection.

use std::time::{Duration, Instant};

/// What is known of a peer's life.
#[derive(Debug)]
pub struct Heartbeat {
    /// How long it may be silent before it is asked; `None`: it is not.
    interval: Option<Duration>,
    /// How long it may be silent at most, as it said itself.
    ttl: Option<Duration>,
    heard_at: Instant,
    asked: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    Ask,
    Dead,
}

impl Heartbeat {
    #[must_use]
    pub fn new(interval: Option<Duration>, now: Instant) -> Self {
        Self { interval, ttl: None, heard_at: now, asked: false }
    }

    /// Something has come.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.asked = false;
    }

    /// The peer said how long its silence may last, in tenths of a second; 0: it does not say.
    pub fn set_ttl(&mut self, tenths: u16) {
        self.ttl = (tenths > 0).then(|| Duration::from_millis(u64::from(tenths) * 100));
    }

    /// Whether anybody minds its silence.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.interval.is_some() || self.ttl.is_some()
    }

    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let asked = self.interval.map(|interval| if self.asked { 2 * interval } else { interval });
        asked.into_iter().chain(self.ttl).min().map(|silence| self.heard_at + silence)
    }

    /// What is due now. `reading`: it could have been heard.
    pub fn on_deadline(&mut self, now: Instant, reading: bool) -> Due {
        if self.deadline().is_none_or(|at| at > now) {
            return Due::Nothing;
        }
        if !reading {
            // What is not read cannot prove anything.
            self.heard(now);
            return Due::Nothing;
        }
        let silence = now - self.heard_at;
        let too_long = |max: Option<Duration>| max.is_some_and(|max| silence >= max);
        if too_long(self.ttl) || (self.asked && too_long(self.interval.map(|interval| 2 * interval))) {
            return Due::Dead;
        }
        self.asked = true;
        Due::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_silent_peer_is_asked_and_then_gone() {
        let t0 = clock::epoch();
        let mut heartbeat = Heartbeat::new(Some(10 * S), t0);
        assert_eq!(heartbeat.on_deadline(t0 + 9 * S, true), Due::Nothing);
        assert_eq!(heartbeat.on_deadline(t0 + 10 * S, true), Due::Ask);
        assert_eq!(heartbeat.deadline(), Some(t0 + 20 * S));
        heartbeat.heard(t0 + 19 * S);
        assert_eq!(heartbeat.on_deadline(t0 + 29 * S, true), Due::Ask);
        assert_eq!(heartbeat.on_deadline(t0 + 39 * S, false), Due::Nothing, "it is not read");
        assert_eq!(heartbeat.on_deadline(t0 + 49 * S, true), Due::Ask);
        assert_eq!(heartbeat.on_deadline(t0 + 59 * S, true), Due::Dead);
    }

    #[test]
    fn a_peer_is_gone_when_it_said_so_itself() {
        let t0 = clock::epoch();
        let mut heartbeat = Heartbeat::new(None, t0);
        assert_eq!((heartbeat.deadline(), heartbeat.is_on()), (None, false));
        heartbeat.set_ttl(10);
        assert_eq!(heartbeat.deadline(), Some(t0 + S));
        assert_eq!(heartbeat.on_deadline(t0 + S, true), Due::Dead);
        heartbeat.set_ttl(0);
        assert_eq!(heartbeat.deadline(), None);
    }
}
