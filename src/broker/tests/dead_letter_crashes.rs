//! Random histories of dead-lettering with crashes: a message that is in the log is in exactly one of the two queues.

use std::{collections::BTreeSet, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    broker::queue::{Seq, runs::Run},
    store::{Space, Ticket},
};

#[derive(Debug, Clone)]
enum Op {
    Publish {
        count: usize,
        expiration_ms: Option<u64>,
    },
    Reject(usize),
    Acknowledge,
    Pass(u64),
    Turn,
    /// A policy makes the source shorter, or lifts the limit.
    Limit(Option<i64>),
    /// Somebody reads the dead letters.
    Drain(usize),
    Crash(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (1..12usize, proptest::option::of(1..40u64))
            .prop_map(|(count, expiration_ms)| Op::Publish { count, expiration_ms }),
        3 => (1..6usize).prop_map(Op::Reject),
        1 => Just(Op::Acknowledge),
        3 => (1..30u64).prop_map(Op::Pass),
        5 => Just(Op::Turn),
        1 => proptest::option::of(0..6i64).prop_map(Op::Limit),
        1 => (1..6usize).prop_map(Op::Drain),
        2 => any::<u64>().prop_map(Op::Crash),
    ]
}

const DLX: [(&str, &str); 2] = [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "dead")];

const AT_LEAST_ONCE: [(&str, &str); 3] = [
    ("x-queue-type", "quorum"),
    ("x-dead-letter-strategy", "at-least-once"),
    ("x-overflow", "reject-publish"),
];

struct History {
    /// The target is narrow, and the source keeps what it refuses.
    at_least_once: bool,
    world: World,
    next: u32,
    /// Published, and durable with that ticket; those acknowledged are out of it.
    published: Vec<(Ticket, u32)>,
    /// Acknowledged: it may come back after a crash, or not.
    acknowledged: BTreeSet<u32>,
}

impl History {
    fn new(at_least_once: bool) -> Self {
        let world = World::on(Store::manual(narrow()), Clock::manual(1_700_000_000_000), false);
        if at_least_once {
            world.queue_with("dead", &[("x-max-length", 3)], &[("x-overflow", "reject-publish")]);
            world.queue_with("source", &[], &[&DLX[..], &AT_LEAST_ONCE].concat());
        } else {
            world.queue("dead", &[]);
            world.queue_with("source", &[], &DLX);
        }
        Self { at_least_once, world, next: 0, published: Vec::new(), acknowledged: BTreeSet::new() }
    }

    fn source(&self) -> Arc<Queue> {
        self.world.vhost.find_queue("source").unwrap()
    }

    fn take(&self, queue: &str) -> Option<Entry> {
        match self.world.vhost.find_queue(queue).unwrap().get(false, &Arc::default()) {
            Got::Message { entry, .. } => Some(entry),
            Got::Empty | Got::Wait => None,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Publish { count, expiration_ms } => {
                let mut publisher = self.world.publisher();
                let first = self.next;
                for _ in 0..count {
                    let body = [self.next.to_be_bytes().as_slice(), &[0; 60]].concat();
                    self.world.put(&mut publisher, "source", Traits { expiration_ms, ..PERSISTENT }, &body);
                    self.next += 1;
                }
                self.world.flush(&mut publisher);
                let ticket = self.world.store.submitted_to();
                self.published.extend((first..self.next).map(|id| (ticket, id)));
            }
            Op::Reject(count) => {
                let entries: Vec<_> = (0..count).map_while(|_| self.take("source")).collect();
                self.source().reject(None, entries.into_iter());
            }
            Op::Acknowledge => {
                if let Some(entry) = self.take("source") {
                    self.acknowledged.insert(id(entry.message.body()));
                    self.source().settle(None, std::iter::once(&entry), true);
                }
            }
            Op::Pass(ms) => {
                self.world.clock.advance(Duration::from_millis(ms));
                self.world.broker.on_deadlines(self.world.clock.now_ms());
            }
            Op::Turn => {
                self.world.store.step(self.world.clock.now());
            }
            Op::Drain(count) => {
                for entry in (0..count).map_while(|_| self.take("dead")).collect::<Vec<_>>() {
                    self.acknowledged.insert(id(entry.message.body()));
                    let dead = self.world.vhost.find_queue("dead").unwrap();
                    dead.settle(None, std::iter::once(&entry), true);
                }
            }
            // It would refuse publishes.
            Op::Limit(_) if self.at_least_once => {}
            Op::Limit(length) => {
                let length = length.map(|n| ("x-max-length", n));
                let source = self.source();
                source.follow(source.reconfigure(&arguments(length.as_slice(), &DLX)));
            }
            Op::Crash(seed) => self.crash(seed),
        }
    }

    fn crash(&mut self, seed: u64) {
        let durable = self.world.store.durable_to();
        let image = self.world.store.crash(seed).unwrap();
        let store = Store::open_on(image, narrow()).unwrap();
        self.world = World::on(store, self.world.clock.clone(), false);
        let must: BTreeSet<u32> =
            self.published.iter().filter(|(ticket, _)| *ticket <= durable).map(|(_, id)| *id).collect();
        let may: BTreeSet<u32> = self.published.iter().map(|(_, id)| *id).collect();
        let (source, dead) = (self.contents("source"), self.contents("dead"));
        let both: Vec<_> = source.intersection(&dead).collect();
        assert!(both.is_empty(), "in both queues: {both:?}");
        let all: BTreeSet<u32> = source.union(&dead).copied().collect();
        for id in &must {
            assert!(all.contains(id) || self.acknowledged.contains(id), "{id} is lost");
        }
        assert!(all.is_subset(&may));
        // What came through lies in the log; the rest never was.
        self.published = all.iter().map(|&id| (Ticket(0), id)).collect();
        self.acknowledged.retain(|id| !all.contains(id));
        self.acknowledged.clear();
    }

    /// What the log holds of a queue, without changing the queue.
    fn contents(&self, queue: &str) -> BTreeSet<u32> {
        let queue = self.world.vhost.find_queue(queue).unwrap();
        let prefix = [b"q".as_slice(), &queue.id.0.to_be_bytes()].concat();
        let mut ids = BTreeSet::new();
        for (key, value) in self.world.store.scan(Space::Index, &prefix).unwrap() {
            let first = Seq(u64::from_be_bytes(key[9..].try_into().unwrap()));
            let run = Run::decode(first, &value).unwrap();
            let place = run.place.unwrap();
            let blob =
                crate::broker::message::Blob::read(self.world.store.read(place).unwrap(), place).unwrap();
            for n in (0..run.count).filter(|&n| run.has(n)) {
                let message = blob.message(run.ordinals.at(n)).unwrap();
                assert!(ids.insert(id(message.body())), "twice in one queue");
            }
        }
        ids
    }
}

fn id(body: &[u8]) -> u32 {
    u32::from_be_bytes(body[..4].try_into().unwrap())
}

fn run(at_least_once: bool, ops: Vec<Op>, seed: u64) {
    let mut history = History::new(at_least_once);
    for op in ops {
        history.apply(op);
    }
    history.apply(Op::Crash(seed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_message_is_in_exactly_one_queue_whenever_the_power_fails(ops in vec(op(), 1..60), seed in any::<u64>()) {
        run(false, ops, seed);
    }

    #[test]
    fn nothing_is_lost_on_its_way_to_a_full_target_whenever_the_power_fails(
        ops in vec(op(), 1..60), seed in any::<u64>()
    ) {
        run(true, ops, seed);
    }
}
