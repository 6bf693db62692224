//! Many threads at the same queues, on a store with a committer of its own: what the simulation, which has one thread,
//! cannot meet.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::broker::{
    policy::{Policy, Sort},
    vhost_settings::VhostLimits,
};

const CLIENTS: usize = 4;
const STEPS: usize = 1_000;

/// A connection's view of the queues, on a thread of its own.
struct Client<'w> {
    world: &'w World,
    queues: &'w [Arc<Queue>],
    rng: StdRng,
    outlet: Arc<Outlet>,
    publisher: Publisher,
    /// Those that were cancelled, too: what they were given before still comes.
    consumers: BTreeMap<ConsumerId, (usize, bool)>,
    held: Vec<(Option<ConsumerId>, usize, Entry)>,
    sent: Vec<u64>,
    done: Vec<u64>,
}

impl<'w> Client<'w> {
    fn new(world: &'w World, queues: &'w [Arc<Queue>], seed: u64) -> Self {
        Self {
            world,
            queues,
            rng: StdRng::seed_from_u64(seed),
            outlet: Arc::default(),
            publisher: world.publisher(),
            consumers: BTreeMap::new(),
            held: Vec::new(),
            sent: Vec::new(),
            done: Vec::new(),
        }
    }

    fn step(&mut self) {
        let at = self.rng.random_range(0..self.queues.len());
        match self.rng.random_range(0..10) {
            0..4 => self.publish(at),
            4 => self.consume(at),
            5 => self.cancel(at),
            6 => self.get(at),
            _ => self.take(),
        }
        self.settle();
    }

    fn publish(&mut self, at: usize) {
        let traits = Traits { persistent: self.rng.random(), ..Traits::default() };
        for _ in 0..self.rng.random_range(1..5) {
            let number: u64 = self.rng.random();
            let mut body = number.to_be_bytes().to_vec();
            body.resize(self.rng.random_range(8..600), 0);
            self.world.put(&mut self.publisher, &self.queues[at].name, traits, &body);
            self.sent.push(number);
        }
        self.world.flush(&mut self.publisher);
    }

    fn consume(&mut self, at: usize) {
        let spec =
            ConsumerSpec { prefetch_count: self.rng.random_range(0..4), ..consumer(&self.outlet, false) };
        let id = self.queues[at].consume(spec).unwrap();
        self.consumers.insert(id, (at, true));
        self.queues[at].pump();
    }

    fn cancel(&mut self, at: usize) {
        let mine = self.consumers.iter_mut().find(|(_, (queue, is_there))| *queue == at && *is_there);
        let Some((id, (_, is_there))) = mine else { return };
        *is_there = false;
        assert!(!self.queues[at].cancel(*id), "nothing here deletes itself");
    }

    fn get(&mut self, at: usize) {
        if let Got::Message { entry, .. } = self.queues[at].get(false, &self.outlet) {
            self.held.push((None, at, entry));
        }
    }

    fn take(&mut self) {
        let mut events = Vec::new();
        let resumed = self.outlet.drain(&mut events, std::task::Waker::noop());
        for event in events {
            if let Event::Deliver { consumer, entry, .. } = event {
                self.held.push((Some(consumer), self.consumers[&consumer].0, entry));
            }
        }
        resumed.iter().for_each(|server| server.resume(&self.outlet));
    }

    /// Some of what it has is acknowledged, some goes back.
    fn settle(&mut self) {
        while !self.held.is_empty() && self.rng.random_bool(0.6) {
            let (consumer, at, entry) = self.held.swap_remove(self.rng.random_range(0..self.held.len()));
            if self.rng.random_bool(0.8) {
                self.queues[at].settle(consumer, std::iter::once(&entry), true);
                self.done.push(number(entry.message.body()));
            } else {
                self.queues[at].requeue(consumer, std::iter::once(entry), Return::GivenBack);
            }
        }
    }

    /// The connection ends: what it has goes back. Returns what it sent, and what it has done with.
    fn end(mut self) -> (Vec<u64>, Vec<u64>) {
        for at in 0..self.queues.len() {
            while self.consumers.values().any(|&(queue, is_there)| queue == at && is_there) {
                self.cancel(at);
            }
        }
        self.take();
        assert!(self.outlet.close().is_empty(), "who is cancelled is given nothing");
        for (consumer, at, entry) in self.held {
            self.queues[at].requeue(consumer, std::iter::once(entry), Return::GivenBack);
        }
        (self.sent, self.done)
    }
}

fn number(body: &[u8]) -> u64 {
    u64::from_be_bytes(body[..8].try_into().unwrap())
}

#[test]
fn whatever_many_connections_do_at_once_each_message_is_done_with_once() {
    let world = World::ephemeral();
    let quorum = [("x-queue-type", "quorum")];
    let queues = [
        world.queue("classic", &[]),
        world.queue_with("quorum", &[("x-delivery-limit", -1)], &quorum),
        world.queue("priorities", &[("x-max-priority", 3)]),
    ];
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let ended: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let mut client = Client::new(&world, &queues, seed.wrapping_add(n as u64));
                scope.spawn(move || {
                    (0..STEPS).for_each(|_| client.step());
                    client.end()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let mut sent = Vec::new();
    let mut found: Vec<u64> =
        queues.iter().flat_map(|queue| drain(&world, queue)).map(|body| number(&body)).collect();
    for (of_client, done) in ended {
        sent.extend(of_client);
        found.extend(done);
    }
    sent.sort_unstable();
    found.sort_unstable();
    assert!(sent.len() > CLIENTS * STEPS / 2);
    assert_eq!(found, sent);
}

#[test]
fn a_queue_that_many_declare_use_and_delete_at_once_is_whole_in_the_end() {
    let world = World::ephemeral();
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let world = &world;
            scope.spawn(move || {
                let mut publisher = world.publisher();
                for step in 0..STEPS / 2 {
                    let options = durable(Table::default());
                    let queue = world.vhost.declare_queue("q", ME, options).unwrap().queue;
                    let outlet = Arc::default();
                    let consumer = queue.consume(consumer(&outlet, true));
                    world.put(&mut publisher, "q", PERSISTENT, b"x");
                    world.flush(&mut publisher);
                    queue.pump();
                    if (n + step) % 3 == 0 {
                        let _ = world.vhost.delete_queue(&queue, false, false);
                    }
                    if let Ok(consumer) = consumer {
                        let _ = queue.cancel(consumer);
                    }
                    outlet.close();
                }
            });
        }
    });
    let queue = world.queue("q", &[]);
    queue.purge();
    let mut publisher = world.publisher();
    world.put(&mut publisher, "q", PERSISTENT, b"last");
    world.flush(&mut publisher);
    assert_eq!(drain(&world, &queue), [b"last"]);
    let again = world.again();
    assert!(again.vhost.find_queue("q").is_some(), "what was declared last is in the log last");
}

fn policy(world: &World, name: &str, max_length: usize) -> Policy {
    let definition = Table(vec![("max-length".to_owned(), Value::I64(max_length as i64))]);
    let fields = [("pattern", Value::LongStr("^q".into())), ("definition", Value::Table(definition))];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Policy::parse(Sort::User, name, &Table(fields.into()), world.broker.core.profile).unwrap()
}

#[test]
fn the_last_policy_counts_for_queues_that_are_declared_meanwhile() {
    let world = World::ephemeral();
    let queues: Vec<_> = std::thread::scope(|scope| {
        let declarer = scope.spawn(|| (0..STEPS).map(|n| world.queue(&format!("q{n}"), &[])).collect());
        for max_length in 1..=100 {
            world.vhost.set_policy(Sort::User, policy(&world, "p", max_length));
        }
        declarer.join().unwrap()
    });
    assert!(queues.iter().all(|queue| queue.with_state(|state| state.limits.max_length) == Some(100)));
}

#[test]
fn what_is_done_to_a_vhost_while_it_is_deleted_does_not_outlive_it() {
    let world = World::ephemeral();
    std::thread::scope(|scope| {
        for n in 0..CLIENTS {
            let world = &world;
            scope.spawn(move || {
                for step in 0..STEPS / 10 {
                    let (vhost, _) = world.broker.add_vhost("v");
                    let options = durable(Table::default());
                    let _ = vhost.declare_queue(&format!("q{n}"), ME, options);
                    vhost.set_policy(Sort::User, policy(world, &format!("p{n}"), 1));
                    vhost.set_limits(VhostLimits::default());
                    if (n + step) % 2 == 0 {
                        let _ = world.broker.delete_vhost("v");
                    }
                }
            });
        }
    });
    let known = |world: &World| {
        let of_vhost = |vhost: Arc<Vhost>| {
            let queues: BTreeSet<_> = vhost.queues().iter().map(|queue| queue.name.clone()).collect();
            let parameters: BTreeSet<_> =
                vhost.parameters().into_iter().map(|p| (p.component, p.name)).collect();
            (vhost.name.clone(), queues, parameters)
        };
        world.broker.vhosts().into_iter().map(of_vhost).collect::<Vec<_>>()
    };
    let before = known(&world);
    let again = world.again();
    assert_eq!(known(&again), before);
}
