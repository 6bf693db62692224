//! kill -9 at random moments, round after round on one data directory, while an AMQP publisher, an AMQP consumer and
//! a Kafka producer work: what was confirmed is there, what was acknowledged and committed is not, order is kept,
//! deliveries before the kill come back flagged, and offsets have no gap. Beside them messages are dead-lettered: each
//! is in exactly one queue; queues, exchanges and bindings come and go: what was answered holds; Redis' lists and a
//! stream of its are worked at; and ZeroMQ's peers push, and request. On a directory of its own a compacted topic is killed
//! inside its compactions.
//!
//! `WARREN_SEED` replays the moments, `WARREN_ROUNDS` changes their number. The rules checked are in `queue.rs`,
//! `dead_letter.rs`, `topology.rs`, `topic.rs`, `redis.rs`, `zmq.rs` and `compacted.rs`; the clients are in `../support`.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod compacted;
mod dead_letter;
mod models;
mod queue;
mod redis;
mod topic;
mod topology;
mod zmq;

use std::time::Duration;

use models::Models;
use support::{Seeded, broker::Broker, pause, report};

#[test]
fn nothing_confirmed_is_lost_and_nothing_acknowledged_returns_through_kills() {
    let rounds = rounds();
    let mut moments = Seeded::from_env("crash");
    let mut broker = Broker::durable(models::OPTIONS);
    let mut models = Models::new(broker.doors());
    report::suite("crash", || {
        for round in 0..rounds {
            // Work under way, a kill in the middle of it, and a restart.
            let (seed, moment) = (moments.next(), Duration::from_millis(20 + moments.below(330)));
            models.work(seed, || {
                pause(moment);
                broker.kill();
            });
            broker.restart();
            models.verify(round, &mut moments);
        }
        models.verify_from_the_start();
    });
    let confirmed = models.confirmed();
    let said: Vec<String> = confirmed.iter().map(|(what, count)| format!("{count} {what}")).collect();
    report::say(&format!("crash: {rounds} kills; confirmed were {}", said.join(", ")));
    for (what, count) in confirmed {
        assert!(count > u64::from(rounds), "too few {what} to prove anything");
    }
    assert!(broker.stop().success(), "after all that it stops politely");
}

/// Kills.
fn rounds() -> u32 {
    match std::env::var("WARREN_ROUNDS") {
        Ok(text) => text.parse().expect("WARREN_ROUNDS is a number"),
        Err(_) => 50,
    }
}

#[test]
fn every_keys_last_value_survives_kills_inside_a_compaction() {
    // A compaction begins a second after there is something to do.
    let rounds = rounds().div_ceil(5);
    let mut moments = Seeded::from_env("crash compaction");
    let mut broker = Broker::durable(&[]);
    let mut compacted = compacted::Model::new(broker.doors().kafka);
    report::suite("crash compaction", || {
        for round in 0..rounds {
            let (seed, moment) = (moments.next(), Duration::from_micros(moments.below(30_000)));
            std::thread::scope(|scope| {
                let producer = scope.spawn(|| compacted.work(seed));
                compacted.await_compaction();
                pause(moment);
                broker.kill();
                if let Err(panic) = producer.join() {
                    std::panic::resume_unwind(panic);
                }
            });
            broker.restart();
            compacted.verify(round);
        }
    });
    let (confirmed, gone) = (compacted.confirmed_total(), compacted.gone_total());
    report::say(&format!(
        "crash compaction: {rounds} kills; {confirmed} records were confirmed, {gone} compacted away"
    ));
    assert!(gone > u64::from(rounds), "too little was compacted to prove anything");
    assert!(broker.stop().success(), "after all that it stops politely");
}
