//! Crashes and restarts, and the comparison of what comes back with the model.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    client::{Client, Seen},
    model::{Binding, BindingKey, Copy, DIRECT, FANOUT, Mark, Queue, TOPIC},
    run::{Run, read_body},
};
use crate::{amqp::wire::basic, broker::exchange::Target, store::Ticket};

const SURE: Mark = Mark { ticket: Ticket(0), answered: true };

/// What a queue may come back with.
#[derive(Debug)]
struct Expected {
    /// `None`: it may be there or not.
    exists: Option<bool>,
    must: BTreeSet<u64>,
    may: BTreeMap<u64, Copy>,
}

impl Run {
    /// The power fails, perhaps again while the broker recovers.
    pub(super) fn crash(&mut self) {
        self.poll_all();
        self.world.heal();
        let durable = self.world.store.durable_to();
        let (queues, bindings) = self.expected(durable);
        self.records.on_crash(durable);
        self.fates.before_crash(&self.world);
        self.clients.iter_mut().for_each(|client| *client = None);
        self.world.crash();
        while self.world.chance(25) {
            for _ in 0..self.world.below(4) {
                self.world.turn();
            }
            self.world.crash();
        }
        self.fates.audit(&mut self.world, durable);
        self.audit(queues, &bindings);
    }

    /// A clean end: what was submitted is durable.
    pub(super) fn restart(&mut self) {
        for at in 0..self.clients.len() {
            self.disconnect(at);
        }
        self.fates.before_restart(&self.world);
        self.settle();
        self.world.broker.note_delivered();
        self.world.settle();
        let durable = self.world.submitted();
        self.model.on_turn(durable, durable);
        let (queues, bindings) = self.expected(durable);
        self.records.on_turn(&self.world);
        self.records.on_crash(durable);
        self.world.restart();
        self.fates.audit(&mut self.world, durable);
        self.audit(queues, &bindings);
    }

    fn expected(&self, durable: Ticket) -> (BTreeMap<String, Expected>, BTreeMap<BindingKey, Option<bool>>) {
        let queues = self.model.queues.iter().map(|(name, q)| (name.clone(), expected_queue(q, durable)));
        let bindings = self.model.bindings.iter().map(|(key, binding)| {
            let lasts = self.model.queues.get(&key.1).is_some_and(|q| q.durable);
            let exists = binding.changed.holds(durable).then_some(binding.exists);
            (key.clone(), if lasts { exists } else { Some(false) })
        });
        (queues.collect(), bindings.collect())
    }

    fn audit(&mut self, queues: BTreeMap<String, Expected>, bindings: &BTreeMap<BindingKey, Option<bool>>) {
        self.records.audit(&self.world);
        self.audit_bindings(bindings);
        for (name, expected) in queues {
            let exists = self.world.vhost().find_queue(&name).is_some();
            assert!(expected.exists.is_none_or(|e| e == exists), "{name} exists: {exists}; {expected:?}");
            let durable = self.model.queues.get(&name).is_some_and(|q| q.durable);
            let copies = if exists { self.audit_queue(&name, &expected) } else { BTreeMap::new() };
            let known = Queue { durable, exists, changed: SURE, copies, ghosts: BTreeSet::new() };
            self.model.queues.insert(name, known);
        }
        assert_eq!(
            self.world.vhost().queues().iter().filter(|queue| !queue.name.starts_with("x.")).count(),
            self.model.queues.values().filter(|q| q.exists).count(),
            "a queue that nobody declared"
        );
    }

    fn audit_bindings(&mut self, expected: &BTreeMap<BindingKey, Option<bool>>) {
        let mut found = BTreeSet::new();
        for name in [DIRECT, FANOUT, TOPIC] {
            let exchange = self.world.vhost().find_exchange(name).expect("a durable exchange is there");
            for binding in exchange.bindings() {
                if let Target::Queue(queue) = &binding.target {
                    found.insert((name, queue.name.to_string(), binding.routing_key.to_string()));
                }
            }
        }
        for (key, expected) in expected {
            let exists = found.remove(key);
            assert!(expected.is_none_or(|e| e == exists), "binding {key:?} exists: {exists}");
            self.model.bindings.insert(key.clone(), Binding { exists, changed: SURE });
        }
        assert!(found.is_empty(), "bindings that nobody made: {found:?}");
    }

    /// Gets everything out of a queue; then it goes back, or is acknowledged.
    fn audit_queue(&mut self, name: &str, expected: &Expected) -> BTreeMap<u64, Copy> {
        let mut client = Client::connect(&self.world);
        let mut copies = BTreeMap::new();
        let mut newest = None;
        while let Some((id, redelivered)) = self.next_of(&mut client, name) {
            assert!(newest < Some(id), "{id} comes back behind {newest:?} in {name}");
            newest = Some(id);
            let known = expected.may.get(&id).unwrap_or_else(|| panic!("{id} of {name} comes back"));
            assert!(redelivered || !known.delivered, "{id} of {name} comes back without its flag");
            let copy = Copy { published: SURE, held: false, delivered: true, settled: None, ..known.clone() };
            copies.insert(id, copy);
        }
        let lost: Vec<_> = expected.must.iter().filter(|id| !copies.contains_key(id)).collect();
        assert!(lost.is_empty(), "{name} has lost {lost:?}");
        if self.world.chance(40) {
            client.put(&basic::Ack { delivery_tag: 0, multiple: true });
            client.exchange(&self.world);
            self.world.settle();
            copies.clear();
        }
        client.disconnect(&self.world);
        copies
    }

    fn next_of(&mut self, client: &mut Client, queue: &str) -> Option<(u64, bool)> {
        client.put(&basic::Get { queue, ..basic::Get::default() });
        client.exchange(&self.world);
        for _ in 0..1_000 {
            match client.next_seen() {
                Some(Seen::Message(message)) => return Some((read_body(&message.body), message.redelivered)),
                Some(Seen::Answer("get-empty")) => return None,
                Some(other) => panic!("get sees {other:?}"),
                None => {
                    self.world.turn();
                    client.poll_if_woken(&self.world);
                }
            }
        }
        panic!("basic.get of {queue} is never answered");
    }

    /// Without a crash nothing is lost, transient or not: everything that is ready comes, in order.
    pub(super) fn audit_alive(&mut self) {
        let names: Vec<String> =
            self.model.queues.iter().filter(|(_, q)| q.exists).map(|(name, _)| name.clone()).collect();
        self.clients[0] = Some(Client::connect(&self.world));
        for name in names {
            while {
                let some = self.model.front(&name).is_some();
                self.get_from(0, name.clone(), false);
                self.settle();
                assert!(
                    self.clients[0].as_ref().is_some_and(|c| c.waits_for.is_none()),
                    "get is never answered"
                );
                some
            } {}
        }
        self.front = None;
        self.disconnect(0);
    }
}

fn expected_queue(queue: &Queue, durable: Ticket) -> Expected {
    let sure = queue.changed.holds(durable);
    let exists = if queue.durable { sure.then_some(queue.exists) } else { Some(false) };
    let copies = || queue.copies.iter().filter(|(_, copy)| copy.persistent);
    let kept = |copy: &Copy| sure && copy.settled.is_none() && copy.published.holds(durable);
    let must = copies().filter(|(_, copy)| kept(copy)).map(|(id, _)| *id).collect();
    let mut may: BTreeMap<u64, Copy> = copies().map(|(id, copy)| (*id, copy.clone())).collect();
    if !sure {
        let ghost =
            Copy { persistent: true, published: SURE, life: 0, held: false, delivered: false, settled: None };
        may.extend(queue.ghosts.iter().map(|id| (*id, ghost.clone())));
    }
    Expected { exists, must, may }
}
