//! How many bytes a second come or go, as Kafka counts them (`Rate` over a `WindowedSum`): samples of a second each, of
//! which eleven count.
//!
//! Pure. What has not begun yet counts as if ten seconds had passed before, so that a first burst is measured against
//! ten seconds and not against none.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// `quota.window.size.seconds`
const SAMPLE: Duration = Duration::from_secs(1);

/// `quota.window.num`
const SAMPLES: u32 = 11;

/// Bytes of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    start: Instant,
    last: Instant,
    bytes: f64,
}

impl Rate {
    /// Counts bytes.
    pub(super) fn record(&mut self, now: Instant, bytes: f64) {
        self.forget(now);
        match self.samples.back_mut() {
            Some(sample) if since(now, sample.start) < SAMPLE => {
                sample.bytes += bytes;
                sample.last = now;
            }
            // One more than count, for the one that overlaps the beginning.
            Some(_) | None => {
                if self.samples.len() > SAMPLES as usize {
                    self.samples.pop_front();
                }
                self.samples.push_back(Sample { start: now, last: now, bytes });
            }
        }
    }

    /// How long nothing more may come until the rate is back at the limit; none if it is not above.
    pub(super) fn excess(&mut self, now: Instant, bytes_per_s: f64) -> Duration {
        self.forget(now);
        let window = self.window(now).as_secs_f64();
        let rate = self.bytes() / window;
        if rate <= bytes_per_s {
            return Duration::ZERO;
        }
        let ms = ((rate - bytes_per_s) / bytes_per_s * window * 1_000.0).round();
        Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(Duration::MAX)
    }

    /// Of all samples that count.
    pub(super) fn bytes(&self) -> f64 {
        self.samples.iter().map(|sample| sample.bytes).sum()
    }

    /// Whether nothing is remembered: it is as if there had never been anything.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.samples.is_empty()
    }

    fn forget(&mut self, now: Instant) {
        self.samples.retain(|sample| since(now, sample.last) < SAMPLE * SAMPLES);
    }

    /// At least ten whole samples and what has passed of the last.
    fn window(&self, now: Instant) -> Duration {
        let elapsed = self.samples.front().map_or(Duration::ZERO, |oldest| since(now, oldest.start));
        let whole = u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX);
        elapsed + SAMPLE * (SAMPLES - 1).saturating_sub(whole)
    }
}

fn since(now: Instant, at: Instant) -> Duration {
    now.saturating_duration_since(at)
}

/// The most that passes within a window, however long nothing came before.
pub(super) fn window_bytes(bytes_per_s: f64) -> f64 {
    bytes_per_s * f64::from(SAMPLES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_burst_is_measured_against_ten_seconds() {
        let (mut rate, now) = (Rate::default(), Clock::manual(0).now());
        rate.record(now, 10_000.0);
        assert_eq!(rate.excess(now, 1_000.0), Duration::ZERO);
        rate.record(now, 5_000.0);
        assert_eq!(rate.excess(now, 1_000.0), Duration::from_secs(5));
        assert_eq!(rate.excess(now + Duration::from_secs(5), 1_000.0), Duration::from_secs(5));
    }

    #[test]
    fn a_steady_rate_is_what_it_is() {
        let (mut rate, clock) = (Rate::default(), Clock::manual(0));
        for _ in 0..60 {
            rate.record(clock.now(), 500.0);
            clock.advance(Duration::from_millis(500));
        }
        assert_eq!(rate.excess(clock.now(), 1_100.0), Duration::ZERO);
        assert!(rate.excess(clock.now(), 900.0) > Duration::from_millis(500));
        assert!(rate.samples.len() <= SAMPLES as usize + 1);
    }

    #[test]
    fn what_is_long_past_is_forgotten_and_what_was_undone_never_was() {
        let (mut rate, clock) = (Rate::default(), Clock::manual(0));
        rate.record(clock.now(), 1e9);
        rate.record(clock.now(), -1e9);
        assert_eq!(rate.excess(clock.now(), 1.0), Duration::ZERO);
        rate.record(clock.now(), 1e9);
        clock.advance(Duration::from_secs(11));
        assert!(rate.is_over(clock.now()) && rate.excess(clock.now(), 1.0).is_zero());
    }
}
