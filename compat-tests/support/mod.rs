//! What the compatibility runners share: tiers and timing, the broker under test, environments of other languages,
//! known gaps, and small clients for what no client library lets a test do.
//!
//! Included by each runner with `#[path]`; nothing here belongs to the product.

#![allow(dead_code, reason = "each runner is a crate of its own and uses its part")]

pub(crate) mod amqp;
pub(crate) mod broker;
pub(crate) mod environment;
pub(crate) mod gaps;
pub(crate) mod kafka;
pub(crate) mod link;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod report;
pub(crate) mod zmq;

use std::time::{Duration, Instant};

/// How much of the compatibility suites to run: `WARREN_COMPAT` unset, `ci` or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    Quick,
    Ci,
    All,
}

/// The tier asked for by the environment.
pub(crate) fn tier() -> Tier {
    match std::env::var("WARREN_COMPAT").as_deref() {
        Err(_) | Ok("" | "quick") => Tier::Quick,
        Ok("ci") => Tier::Ci,
        Ok("all") => Tier::All,
        Ok(other) => panic!("WARREN_COMPAT={other}: expected quick, ci or all"),
    }
}

/// The machine's monotonic clock, through the one place that may read it.
pub(crate) fn now() -> Instant {
    warrenmq::clock::epoch()
}

/// Polls `condition` until it holds; another process's state cannot be awaited otherwise.
pub(crate) fn eventually(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let started = now();
    while !condition() {
        assert!(started.elapsed() < within, "{what}: not within {within:?}");
        pause(Duration::from_millis(5));
    }
}

/// Lets other processes run for a moment.
#[expect(
    clippy::disallowed_methods,
    reason = "another process can only be polled, or killed at a random moment"
)]
pub(crate) fn pause(for_a_while: Duration) {
    std::thread::sleep(for_a_while);
}

/// A small seeded generator, so that a failing run can be repeated from the seed it prints.
#[derive(Debug, Clone)]
pub(crate) struct Seeded(u64);

impl Seeded {
    /// The seed of `WARREN_SEED`, or one from the clock; printed either way.
    pub(crate) fn from_env(suite: &str) -> Self {
        let seed = match std::env::var("WARREN_SEED") {
            Ok(text) => text.parse().expect("WARREN_SEED is a number"),
            Err(_) => u64::try_from(warrenmq::clock::Clock::machine().now_ms()).unwrap_or(1),
        };
        report::say(&format!("{suite}: WARREN_SEED={seed}"));
        Self::from(seed)
    }

    pub(crate) fn from(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // xorshift64*: enough to choose moments and lengths.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}
