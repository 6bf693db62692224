//! The only place that asks the machine for the time.
//!
//! Time has two readings. *Domain time* (milliseconds of the wall clock: TTL, expiry, retention, windows, record
//! timestamps) can be frozen and advanced. *Liveness time* (monotonic: handshakes, heartbeats, sessions, long
//! polls) follows the machine, because the clients' own clocks do, unless the clock is manual in both.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

/// Where the broker reads the time; clones share one clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    Machine,
    Manual { start: Instant, elapsed: Mutex<Duration>, start_ms: i64 },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn machine() -> Self {
        Self(Arc::new(Source::Machine))
    }

    /// A clock that stands still at `start_ms` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(start_ms: i64) -> Self {
        Self(Arc::new(Source::Manual { start: epoch(), elapsed: Mutex::default(), start_ms }))
    }

    /// Domain time: milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match &*self.0 {
            Source::Machine => machine_ms(),
            Source::Manual { elapsed, start_ms, .. } => {
                start_ms.saturating_add(i64::try_from(elapsed.lock().as_millis()).unwrap_or(i64::MAX))
            }
        }
    }

    /// Liveness time.
    #[must_use]
    pub fn now(&self) -> Instant {
        match &*self.0 {
            Source::Machine => epoch(),
            Source::Manual { start, elapsed, .. } => *start + *elapsed.lock(),
        }
    }

    /// Moves a manual clock forward; the machine's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        match &*self.0 {
            Source::Machine => {}
            Source::Manual { elapsed, .. } => *elapsed.lock() += by,
        }
    }
}

/// An instant to count from, for clocks and for tests.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's monotonic clock")]
pub fn epoch() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's wall clock")]
fn machine_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(1_000);
        let before = clock.now();
        clock.advance(Duration::from_millis(250));
        assert_eq!((clock.now_ms(), clock.now() - before), (1_250, Duration::from_millis(250)));
    }
}
