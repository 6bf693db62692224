//! Simulation: the whole broker, seeded, on a manual clock and a store in memory that can lose its power.
//!
//! | file | what |
//! |---|---|
//! | `world.rs` | the random numbers, the clock, the store, the broker; crash and restart |
//! | `client.rs` | a client's side of the real AMQP connection, without a socket |
//! | `run.rs` | one run: what is done next, and what comes of it |
//! | `steps.rs` | what an AMQP client does next |
//! | `records.rs` | producers, readers and a group, with their model |
//! | `log/` | Kafka's log: transactions, compaction, DeleteRecords, with their model |
//! | `groups.rs` | groups of both protocols, and what they commit |
//! | `fates/` | limits, expiry, dead letters, priorities, all types of queues, delays, replies, with their exact model |
//! | `model.rs` | the slow obvious model of exchanges and queues |
//! | `check.rs` | crash and restart, and what must have come back |
//!
//! Held to: what was confirmed survives, in its queue's order, once; a committed acknowledgement never comes back;
//! what was delivered comes back flagged; what was declared is there, and what was deleted is not; offsets rise
//! without a gap; a group's offset is the one that was committed.
//!
//! Held to, of queues of every type with limits, times to live, priorities and dead letters: what is ready, in which
//! order, with which deaths, and who is served; a dead letter is where it died or where it went, never both or neither.
//!
//! `WARREN_SIM_SEEDS=n` plays n seeds, from `WARREN_SIM_FROM` or 0 on; `WARREN_SIM_SEED=s` plays one. A failing run names
//! its seed, which replays it, and the others are played all the same.

mod check;
mod client;
mod fates;
mod groups;
mod log;
mod model;
mod records;
mod run;
mod steps;
mod world;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
};

use run::Run;

const SEEDS: u64 = 200;
const STEPS: usize = 200;

/// The result of a future that has nothing to wait for.
fn ready<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Its result, however many turns it takes.
fn finish<F: Future>(world: &world::World, future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..10_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        world.turn();
    }
    panic!("it is not answered");
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a seed is a number"))
}

/// How often what happened in a run.
type Deeds = BTreeMap<&'static str, u64>;

/// Plays a seed; gives what came of it, unless it fails. `suite` is the filter of the test.
fn attempt<T>(suite: &str, seed: u64, play: impl FnOnce() -> T) -> Option<T> {
    let played = catch_unwind(AssertUnwindSafe(play));
    played.inspect_err(|_| eprintln!("\nreplay it with WARREN_SIM_SEED={seed} cargo test {suite}\n")).ok()
}

/// Plays the seeds that are asked for, of which none may fail. What happened in all of them; nothing if it was one seed,
/// in which not everything needs to happen.
fn histories(suite: &str, play: impl Fn(u64) -> Deeds) -> Option<Deeds> {
    let only = env("WARREN_SIM_SEED");
    let from = only.or_else(|| env("WARREN_SIM_FROM")).unwrap_or(0);
    let count = if only.is_some() { 1 } else { env("WARREN_SIM_SEEDS").unwrap_or(SEEDS) };
    let (mut deeds, mut failed) = (Deeds::new(), Vec::new());
    for seed in from..from + count {
        match attempt(suite, seed, || play(seed)) {
            Some(done) => done.into_iter().for_each(|(deed, count)| *deeds.entry(deed).or_default() += count),
            None => failed.push(seed),
        }
    }
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
    only.is_none().then_some(deeds)
}

#[test]
fn what_was_promised_survives_any_history_of_crashes() {
    let Some(died) = histories("sim::", |seed| Run::new(seed).play(STEPS).died) else { return };
    // A run in which nothing dies shows nothing.
    let died: Vec<_> = died.keys().copied().collect();
    let fates = [
        "behind",
        "delayed",
        "delivery_limit",
        "expired",
        "kept",
        "maxlen",
        "once more",
        "rejected",
        "replied",
    ];
    assert_eq!(died, fates);
}

#[test]
fn a_seed_replays_its_history() {
    for seed in 0..5 {
        let play = || attempt("sim::", seed, || Run::new(seed).play(STEPS));
        let history = play();
        assert!(history.is_some() && history == play(), "seed {seed}");
    }
}
