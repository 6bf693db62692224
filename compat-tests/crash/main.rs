//! kill -9 at random moments, round after round on one data directory, while an AMQP publisher, an AMQP consumer and
//! a Kafka producer work: what was confirmed is there, what was acknowledged and committed is not, order is kept,
//! deliveries before the kill come back flagged, and offsets have no gap. Beside them messages are dead-lettered: each
//! is in exactly one queue; queues, exchanges and bindings come and go: what was answered holds; and Redis' lists and a
//! stream of its are worked at. On a directory of its own a compacted topic is killed inside its compactions.
//!
//! `WARREN_SEED` replays the moments, `WARREN_ROUNDS` changes their number. The rules checked are in `queue.rs`,
//! `dead_letter.rs`, `topology.rs`, `topic.rs`, `redis.rs` and `compacted.rs`; the clients are in `../support`.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod compacted;
mod dead_letter;
mod queue;
mod redis;
mod topic;
mod topology;

use std::time::Duration;

use support::{Seeded, broker::Broker, pause, report};

#[test]
fn nothing_confirmed_is_lost_and_nothing_acknowledged_returns_through_kills() {
    let rounds = rounds();
    let mut moments = Seeded::from_env("crash");
    let mut broker = Broker::durable(&[]);
    let mut queue = queue::Model::new(broker.doors().amqp);
    let mut dead_letter = dead_letter::Model::new(broker.doors().amqp);
    let mut topic = topic::Model::new(broker.doors().kafka);
    let topology = topology::Model::new(broker.doors().amqp, broker.doors().admin);
    let mut redis = redis::Model::new(broker.doors().redis);
    report::suite("crash", || {
        for round in 0..rounds {
            let models = (&mut queue, &mut dead_letter, &mut topic, &topology, &redis);
            round_of(&mut broker, models, &mut moments);
            queue.verify(round, moments.next());
            dead_letter.verify(round);
            topic.verify(round);
            topology.verify(round);
            redis.verify(round);
        }
        topic.verify_from_the_start();
    });
    report::say(&format!(
        "crash: {rounds} kills; {} messages, {} that died, {} records, {} changes of the topology and {} elements of lists were confirmed",
        queue.confirmed_total(),
        dead_letter.confirmed_total(),
        topic.confirmed_total(),
        topology.answered_total(),
        redis.answered_total()
    ));
    assert!(queue.confirmed_total() > u64::from(rounds), "too little was published to prove anything");
    assert!(dead_letter.confirmed_total() > u64::from(rounds), "too little died to prove anything");
    assert!(topic.confirmed_total() > u64::from(rounds), "too little was produced to prove anything");
    assert!(topology.answered_total() > u64::from(rounds), "too little was declared to prove anything");
    assert!(redis.answered_total() > u64::from(rounds), "too little was pushed to prove anything");
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

type Models<'a> = (
    &'a mut queue::Model,
    &'a mut dead_letter::Model,
    &'a mut topic::Model,
    &'a topology::Model,
    &'a redis::Model,
);

/// Work under way, a kill in the middle of it, and a restart.
fn round_of(
    broker: &mut Broker,
    (queue, dead_letter, topic, topology, redis): Models<'_>,
    moments: &mut Seeded,
) {
    let (seed, moment) = (moments.next(), Duration::from_millis(20 + moments.below(330)));
    std::thread::scope(|scope| {
        let (publish, consume) = queue.work(seed);
        let publisher = scope.spawn(publish);
        let consumer = scope.spawn(consume);
        let (bury, refuse) = dead_letter.work(seed);
        let (bury, refuse) = (scope.spawn(bury), scope.spawn(refuse));
        let producer = scope.spawn(|| topic.work(seed));
        let architect = scope.spawn(|| topology.work(seed));
        let at_redis = redis.work(seed).map(|work| scope.spawn(work));
        pause(moment);
        broker.kill();
        for worker in [publisher, consumer, bury, refuse, producer, architect].into_iter().chain(at_redis) {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    queue.merge();
    dead_letter.merge();
    broker.restart();
}
