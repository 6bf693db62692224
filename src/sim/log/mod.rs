//! Kafka's log: transactions of both protocols (KIP-98, KIP-890), idempotent producers, compaction and DeleteRecords, in
//! any order, while the power fails at any moment.
//!
//! Its topics and producers are its own, in a broker of its own.
//!
//! | file | what |
//! |---|---|
//! | `model.rs` | the slow obvious model, and what a reader must see by it |
//! | `producer.rs` | a client's side: its numbers, its transaction, what it waits for |
//! | `steps.rs` | what producers do next, and what comes of it |
//! | `reader.rs` | a client that reads under `read_committed` |
//! | `upkeep.rs` | compaction, DeleteRecords, faults, crashes, and weeks in which nothing happens |
//!
//! Held to: nothing of an open or aborted transaction is read under `read_committed`, nor anything of a producer that was
//! fenced; what was committed is read, but what compaction or DeleteRecords may have taken; of each key the last is
//! there, and what was deleted does not come back; a transaction whose end nobody heard of is whole or absent, its
//! group's offset with it, and its producer may ask again; no record is there twice, or at another offset than before,
//! and a retry is told the same one; offsets rise, and those of a log never go back; a request is refused only if its
//! transaction may have taken too long.

mod model;
mod producer;
mod reader;
mod steps;
mod upkeep;

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use rand::Rng;
use uuid::Uuid;

use self::{
    model::Model,
    producer::{Outgoing, Producer, Sender},
};
use super::{histories, world::World};
use crate::{
    broker::{
        group::offsets::TopicPartition,
        topic::{
            NewTopic,
            append::{Appended, Refused},
            compaction::Compaction,
            config::TopicConfig,
            partition::Partition,
        },
        txn::producer::ProducerIdentity,
    },
    store::Ticket,
};

const STEPS: usize = 200;
const LOGS: usize = 4;
const POLICIES: [Policy; LOGS] = [Policy::Compact, Policy::Compact, Policy::Delete, Policy::Both];
const KEYS: usize = 4;
const PRODUCERS: usize = 3;
/// `transaction.timeout.ms` of all of them.
const TIMEOUT_MS: i32 = 60_000;

/// A log's `cleanup.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Compact,
    Delete,
    Both,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Delete => "delete",
            Self::Both => "compact,delete",
        }
    }

    fn compacts(self) -> bool {
        self != Self::Delete
    }

    fn deletes(self) -> bool {
        self != Self::Compact
    }
}

/// Who sent a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Producer(usize),
    Idempotent,
    /// A producer without an identity, which sends nothing twice.
    Nobody,
    /// Somebody with an identity that is another's by now.
    Zombie,
}

type Outcomes = Arc<Mutex<Vec<(Owner, Outgoing, Result<Appended, Refused>)>>>;

struct Run {
    world: World,
    topics: [Uuid; LOGS],
    model: Model,
    producers: Vec<Producer>,
    idempotent: Sender,
    /// Identities that were replaced, and whose they were.
    zombies: Vec<(usize, ProducerIdentity)>,
    outcomes: Outcomes,
    /// A round under way, and what it waits for.
    compaction: Option<(Compaction, Ticket)>,
    /// Each producer's offset of the group.
    group: [Option<i64>; PRODUCERS],
    next_offset: i64,
    /// How often what has happened: a run in which nothing happens shows nothing.
    deeds: BTreeMap<&'static str, u64>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let topics = std::array::from_fn(|_| Uuid::from_u128(world.rng.random()));
        for ((id, policy), number) in topics.into_iter().zip(POLICIES).zip(0..) {
            let horizon = if world.chance(50) { "0" } else { "30000" };
            let config = [
                ("cleanup.policy", policy.name()),
                ("segment.ms", "5"),
                ("retention.ms", "-1"),
                ("min.cleanable.dirty.ratio", "0"),
                ("delete.retention.ms", horizon),
            ];
            let new = NewTopic {
                vhost: "/".into(),
                name: format!("log-{number}"),
                partitions: 1,
                config: TopicConfig::new(config.map(|(name, value)| (name, Some(value)))).unwrap(),
                stream_arguments: None,
                id,
            };
            world.broker.core.topics.create(new).unwrap();
        }
        world.settle();
        let ids = world.broker.producer_ids.clone();
        let idempotent = super::finish(&world, ids.allocate()).unwrap();
        let producers = (0..PRODUCERS).map(|number| Producer::new(number, world.chance(50))).collect();
        Self {
            world,
            topics,
            model: Model::default(),
            producers,
            idempotent: Sender::new(idempotent),
            zombies: Vec::new(),
            outcomes: Outcomes::default(),
            compaction: None,
            group: [None; PRODUCERS],
            next_offset: 0,
            deeds: BTreeMap::new(),
        }
    }

    fn play(mut self) -> BTreeMap<&'static str, u64> {
        for _ in 0..STEPS {
            self.step();
            self.hear();
            if self.world.chance(25) {
                self.check();
            }
        }
        self.end();
        self.deeds
    }

    fn step(&mut self) {
        self.pass(3);
        match self.world.below(100) {
            0..48 => {
                let at = self.world.below(PRODUCERS);
                self.producer_step(at);
            }
            48..54 => self.send_idempotent(),
            54..56 => self.send_nameless(),
            56..60 => self.zombie(),
            60..67 => self.compact(),
            67..71 => self.trim(),
            71..93 => self.turn(),
            93 => self.world.fault(),
            94 | 95 => self.advance(),
            96..98 => self.crash(),
            98 => self.restart(),
            _ if self.world.chance(30) => self.weeks(),
            _ => self.check(),
        }
    }

    fn did(&mut self, deed: &'static str) {
        *self.deeds.entry(deed).or_default() += 1;
    }

    fn partition(&self, log: usize) -> Arc<Partition> {
        let topic = self.world.broker.core.topics.by_id(self.topics[log]).expect("a durable topic is there");
        topic.partitions()[0].clone()
    }

    fn at(&self, log: usize) -> TopicPartition {
        at(self.topics[log])
    }

    /// What everybody must see now.
    fn check(&mut self) {
        self.witness();
        for (log, policy) in POLICIES.into_iter().enumerate() {
            let offsets = self.partition(log).offsets();
            let (start, end) = (offsets.log_start.0, offsets.last_stable_offset.0);
            self.model.offsets(log, start, end, offsets.high_watermark.0);
            let from = if self.world.chance(70) { start } else { self.world.rng.random_range(start..=end) };
            let seen = self.read(log, from);
            self.model.check(log, policy, from, end, &seen);
        }
        self.check_group();
    }

    /// Everything comes to its end, and nothing is held up any more.
    fn end(&mut self) {
        self.world.heal();
        for at in 0..PRODUCERS {
            self.rest(at);
            self.begin_anew(at);
            self.rest(at);
        }
        self.world.settle();
        self.hear();
        self.check();
        for log in 0..LOGS {
            let offsets = self.partition(log).offsets();
            assert_eq!(offsets.last_stable_offset, offsets.high_watermark, "log {log} is held up for ever");
        }
        self.crash();
        self.check();
    }
}

/// The one partition of a topic.
fn at(topic: Uuid) -> TopicPartition {
    TopicPartition { topic, partition: 0 }
}

#[test]
fn transactions_are_whole_or_absent_whatever_happens_to_the_log() {
    let Some(deeds) = histories("sim::log", |seed| Run::new(seed).play()) else { return };
    assert_eq!(deeds.keys().copied().collect::<Vec<_>>(), DEEDS, "{deeds:?}");
}

/// What must have happened in some run.
const DEEDS: [&str; 11] = [
    "aborted",
    "asked again after a crash",
    "committed",
    "compacted",
    "crashed in a round",
    "fenced by time",
    "forgotten",
    "retried",
    "trimmed",
    "trimmed an open transaction",
    "zombies",
];
