//! What is done next: one method, or one batch of publishes, chosen at random among what makes sense.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;

use super::{
    Fates, PEERS, Peer, Pending,
    late::LATE,
    model::{BINDINGS, FAN, Model, STREAM},
    parts::{Consumer, Letter, Place, Policy, Queue, Settings},
    replies::Names,
    router,
};
use crate::{
    amqp::wire::{Properties, basic, confirm, exchange, queue},
    broker::{policy, reply},
    data::value::{Table, Value},
    sim::{client::Client, run, world::World},
};

const QUEUES: [&str; 6] = ["x.0", "x.1", "x.2", "x.3", "x.4", "x.5"];
const KEYS: [&str; 5] = ["k.1", "k.2", "k.3", "m", "k.s"];
const BATCH_MAX: usize = 4;
const CONSUMERS_MAX: usize = 3;

impl Fates {
    pub(in crate::sim) fn new(world: &mut World) -> Self {
        let body_bytes = world.pick(&[8, 60, 200]);
        let peers = (0..PEERS).map(|_| None).collect();
        let traced = std::env::var_os("WARREN_SIM_TRACE").is_some();
        let mut fates = Self {
            model: Model::default(),
            names: Names::default(),
            peers,
            next_id: 0,
            body_bytes,
            traced,
            crash_now: false,
            served: Vec::new(),
            by_turns: false,
        };
        fates.connect(world, 0);
        fates.declare_exchange(world, 0, FAN, "topic", Table::default());
        fates.declare_late(world, 0);
        let stream = vec![("x-queue-type", text("stream"))];
        fates.put_declare(0, STREAM, true, stream);
        fates.ask(world, 0, "declare");
        fates.bind(world, 0, STREAM);
        fates
    }

    pub(in crate::sim) fn step(&mut self, world: &mut World) {
        self.poll(world);
        let at = world.below(PEERS);
        if self.peers[at].is_none() {
            self.connect(world, at);
            return;
        }
        let busy = self.peer(at).pending.is_some();
        match world.below(100) {
            0..2 => self.disconnect(world, at),
            _ if busy => {}
            2..13 => self.declare(world, at),
            13..39 => self.publish(world, at),
            39..55 => self.get(world, at),
            55..76 => self.settle(world, at),
            76..81 => self.consume(world, at),
            81..84 => self.cancel(world, at),
            84..86 => self.set_policy(world),
            86..88 => self.purge(world, at),
            88 => self.delete(world, at),
            89 => self.recover(world, at),
            90 => self.close_channel(world, at),
            91..94 => self.request(world, at),
            94..97 => self.reply(world, at),
            _ if world.chance(10) => self.replace_late(world, at),
            _ => self.transact(world, at),
        }
        self.after(world);
    }

    fn connect(&mut self, world: &World, at: usize) {
        self.peers[at] = Some(Peer {
            client: Client::connect(world),
            tx: None,
            confirms: false,
            published: 0,
            expected: BTreeMap::new(),
            held: BTreeMap::new(),
            pending: None,
            tags: 0,
            requester: None,
        });
    }

    /// Sends what was put, and waits for its answer.
    pub(super) fn ask(&mut self, world: &World, at: usize, answer: &'static str) {
        self.send(world, at, answer);
        self.await_answer(world, at);
    }

    /// Sends what was put: the broker does it at once, and the model must before anybody sees what comes of it.
    pub(super) fn send(&mut self, world: &World, at: usize, answer: &'static str) {
        let client = &mut self.peer(at).client;
        client.waits_for = Some((answer, None));
        client.exchange(world);
        self.model.ticket = world.submitted();
    }

    pub(super) fn await_answer(&mut self, world: &World, at: usize) {
        world.heal();
        for _ in 0..1_000 {
            self.peer(at).client.poll_if_woken(world);
            self.look(at, world);
            if self.peer(at).client.waits_for.is_none() {
                return;
            }
            world.turn();
        }
        panic!("never answered: {:?}", self.peer(at).client.waits_for);
    }

    fn existing(&self, world: &mut World) -> Option<String> {
        let names: Vec<String> = self.model.queues.keys().cloned().collect();
        (!names.is_empty()).then(|| world.pick(&names))
    }

    fn put_declare(&mut self, at: usize, name: &str, durable: bool, arguments: Vec<(&str, Value)>) {
        let arguments = arguments.into_iter().map(|(arg, value)| (arg.to_owned(), value)).collect();
        let arguments = Table(arguments);
        let declare = queue::Declare { queue: name, durable, arguments, ..queue::Declare::default() };
        self.peer(at).client.put(&declare);
    }

    fn declare_exchange(&mut self, world: &World, at: usize, exchange: &str, r#type: &str, arguments: Table) {
        let declare =
            exchange::Declare { exchange, r#type, durable: true, arguments, ..exchange::Declare::default() };
        self.peer(at).client.put(&declare);
        self.ask(world, at, "exchange");
    }

    fn declare_late(&mut self, world: &World, at: usize) {
        let arguments = table(vec![("x-delayed-type", text("topic"))]);
        self.declare_exchange(world, at, LATE, "x-delayed-message", arguments);
        let exchange = world.vhost().find_exchange(LATE).expect("it was declared");
        self.model.late.id = exchange.holding.get().expect("it holds messages").id.0;
    }

    /// What the delayed exchange holds goes with it: another one holds nothing.
    fn replace_late(&mut self, world: &World, at: usize) {
        self.rest(world);
        self.say(world, || format!("{at} deletes {LATE}, with {:?}", self.model.late.copies));
        self.peer(at).client.put(&exchange::Delete { exchange: LATE, ..exchange::Delete::default() });
        self.ask(world, at, "exchange");
        self.model.late.copies.clear();
        self.declare_late(world, at);
        for (name, _) in BINDINGS {
            if name == STREAM || self.model.queues.contains_key(name) {
                self.bind_to(world, at, LATE, name);
            }
        }
        self.rest(world);
    }

    fn bind(&mut self, world: &World, at: usize, name: &str) {
        self.bind_to(world, at, FAN, name);
        self.bind_to(world, at, LATE, name);
    }

    fn bind_to(&mut self, world: &World, at: usize, exchange: &str, name: &str) {
        let Some((_, pattern)) = BINDINGS.iter().find(|(queue, _)| *queue == name) else { return };
        let bind = queue::Bind { queue: name, exchange, routing_key: pattern, ..queue::Bind::default() };
        self.peer(at).client.put(&bind);
        self.ask(world, at, "bind");
    }

    fn declare(&mut self, world: &mut World, at: usize) {
        let name = world.pick(&QUEUES);
        let settings = match self.model.queues.get(name) {
            Some(queue) => queue.settings.clone(),
            None => settings(world, name),
        };
        self.rest(world);
        self.say(world, || format!("{at} declares {name} {settings:?}"));
        let arguments = arguments(&settings, self.body_bytes);
        self.put_declare(at, name, settings.durable, arguments);
        self.ask(world, at, "declare");
        let id = world.vhost().find_queue(name).expect("it was declared").id.0;
        let used_ms = world.clock.now_ms();
        if let Some(queue) = self.model.queues.get_mut(name) {
            queue.used_ms = used_ms;
            return;
        }
        let queue = Queue::new(settings, id, used_ms);
        self.model.queues.insert(name.to_owned(), queue);
        self.bind(world, at, name);
        self.rest(world);
    }

    /// One read's worth of publishes, to one place.
    pub(super) fn publish(&mut self, world: &mut World, at: usize) {
        let fan = self.peer(at).tx.is_none() && world.chance(30);
        let Some(queue) = self.existing(world) else { return };
        let exchange = if world.chance(40) { LATE } else { FAN };
        let (exchange, key) = if fan { (exchange, world.pick(&KEYS)) } else { ("", queue.as_str()) };
        if self.peer(at).tx.is_some() && self.model.queues[&queue].settings.reject.is_some() {
            return; // the commit would close the channel
        }
        let peer = self.peer(at);
        if peer.published == 0 && peer.tx.is_none() && !peer.confirms && world.chance(80) {
            peer.confirms = true;
            peer.client.put(&confirm::Select { nowait: true });
        }
        let count = if self.live() { 1 } else { 1 + world.below(BATCH_MAX) };
        let mut letters: Vec<Letter> = (0..count).map(|_| self.letter(world, exchange, key)).collect();
        if let Some(number) = self.peer(at).requester.as_ref().map(|requester| requester.number)
            && world.chance(50)
        {
            for letter in &mut letters {
                letter.reply_to = Some(number);
                self.names.asks(letter.id, number);
            }
        }
        self.say(world, || format!("{at} publishes {letters:?}"));
        letters.iter().for_each(|letter| self.put_publish(at, letter));
        let peer = self.peer(at);
        peer.client.exchange(world);
        if let Some(deferred) = &mut peer.tx {
            deferred.publishes.extend(letters.into_iter().map(|letter| (queue.clone(), letter)));
            return;
        }
        self.model.ticket = world.submitted();
        let ids: Vec<u64> = letters.iter().map(|letter| letter.id).collect();
        let refused = self.route(world, exchange, key, letters);
        self.count_publishes(at, ids.into_iter().map(|id| (id, refused.contains(&id))));
    }

    /// Messages of one read go to where they go; gives those that some queue refused.
    fn route(&mut self, world: &World, exchange: &str, key: &str, letters: Vec<Letter>) -> BTreeSet<u64> {
        let route = router(world);
        let mut refused = BTreeSet::new();
        let mut at_once = Vec::new();
        for letter in letters {
            match letter.delayed_ms(exchange) {
                Some(delay_ms) => drop(self.model.hold(letter, delay_ms, None)),
                None => at_once.push(letter),
            }
        }
        if at_once.is_empty() {
            return refused;
        }
        for target in self.model.targets(exchange, key, &route) {
            if target == STREAM {
                let ticket = self.model.ticket;
                self.model.stream.extend(at_once.iter().map(|letter| (letter.clone(), ticket)));
                continue;
            }
            let taken = self.model.enter(&target, at_once.clone(), None);
            let missed = at_once.iter().zip(taken).filter(|(_, made)| made.is_none());
            refused.extend(missed.map(|(letter, _)| letter.id));
            self.model.move_all(&target, &route);
        }
        refused
    }

    /// Each publish, and whether it is refused, if its channel is to hear of it.
    pub(super) fn count_publishes(&mut self, at: usize, publishes: impl Iterator<Item = (u64, bool)>) {
        let peer = self.peer(at);
        for publish in publishes {
            peer.published += 1;
            if peer.confirms {
                peer.expected.insert(peer.published, publish);
            }
        }
    }

    pub(super) fn letter(&mut self, world: &mut World, exchange: &str, key: &str) -> Letter {
        let id = self.next_id;
        self.next_id += 1;
        let expiration_ms = if world.chance(20) { Some(world.pick(&[0, 5, 50, 500])) } else { None };
        Letter {
            id,
            persistent: world.chance(75),
            priority: if world.chance(50) { u8::try_from(world.below(7)).unwrap() } else { 0 },
            expiration_ms,
            exchange: exchange.to_owned(),
            key: key.to_owned(),
            delay_ms: if world.chance(15) { Some(world.pick(&[-5, 0, 1, 20, 300])) } else { None },
            reply_to: None,
            deaths: Vec::new(),
        }
    }

    pub(super) fn put_publish(&mut self, at: usize, letter: &Letter) {
        let body = run::body(letter.id, self.body_bytes - 8);
        let expiration = letter.expiration_ms.map(|ms| ms.to_string());
        let headers =
            letter.delay_ms.map(|ms| table(vec![("x-delay", Value::I32(i32::try_from(ms).unwrap()))]));
        let reply_to = letter.reply_to.map(|_| reply::QUEUE.as_bytes());
        let properties = Properties {
            delivery_mode: Some(if letter.persistent { 2 } else { 1 }),
            priority: Some(letter.priority).filter(|&priority| priority > 0),
            expiration: expiration.as_ref().map(String::as_bytes),
            reply_to,
            ..Properties::default()
        };
        let peer = self.peers[at].as_mut().expect("it is connected");
        let mut encoded = BytesMut::new();
        match &headers {
            Some(headers) => encoded = properties.with_headers(headers),
            None => properties.encode(&mut encoded),
        }
        peer.client.put_encoded(&letter.exchange, &letter.key, &encoded, &body);
    }

    fn get(&mut self, world: &mut World, at: usize) {
        let Some(queue) = self.existing(world) else { return };
        let settings = &self.model.queues[&queue].settings;
        if settings.quorum && settings.single_active {
            return; // refused
        }
        let no_ack = world.chance(25);
        self.say(world, || format!("{at} gets from {queue} {no_ack}"));
        let used_ms = world.clock.now_ms();
        self.model.queue(&queue).used_ms = used_ms;
        let peer = self.peer(at);
        peer.client.put(&basic::Get { queue: &queue, no_ack, ..basic::Get::default() });
        peer.pending = Some(Pending::Get { queue, no_ack });
        peer.client.exchange(world);
        self.look(at, world);
    }

    /// Not where a publish is refused: whether a consumer has made room by then is the log's doing.
    fn consume(&mut self, world: &mut World, at: usize) {
        let Some(queue) = self.existing(world) else { return };
        let settings = self.model.effective(&queue);
        if settings.reject.is_some() || self.model.consumers.len() >= CONSUMERS_MAX {
            return;
        }
        // A failover to another consumer of a channel that closes is seen by nobody.
        let twice = self.model.consumers.iter().any(|c| c.client == at && c.queue == queue);
        if twice && settings.single_active {
            return;
        }
        let limited = settings.max_length.or(settings.max_bodies).is_some() || settings.ttl_ms.is_some();
        let no_ack = !limited && world.chance(15);
        let prefetch = if no_ack { 0 } else { 1 + world.below(3) };
        self.rest(world);
        let peer = self.peer(at);
        peer.tags += 1;
        let tag = format!("x{}", peer.tags);
        let priority = if world.chance(50) { i32::try_from(world.below(3)).unwrap() - 1 } else { 0 };
        self.say(world, || format!("{at} consumes {queue} {tag} {prefetch}"));
        let peer = self.peer(at);
        let prefetch_count = u16::try_from(prefetch).unwrap();
        peer.client.put(&basic::Qos { prefetch_count, ..basic::Qos::default() });
        self.ask(world, at, "qos");
        let consumer = Consumer {
            client: at,
            tag: tag.clone(),
            queue: queue.clone(),
            prefetch,
            held: 0,
            priority,
            newest: 0,
        };
        let arguments = if priority == 0 { Vec::new() } else { vec![("x-priority", Value::I32(priority))] };
        let consume = basic::Consume {
            queue: &queue,
            consumer_tag: &tag,
            no_ack,
            arguments: table(arguments),
            ..basic::Consume::default()
        };
        self.peer(at).client.put(&consume);
        self.send(world, at, "consume");
        self.model.consumers.push(consumer);
        self.model.touch(&queue, &router(world));
        self.await_answer(world, at);
    }

    fn cancel(&mut self, world: &mut World, at: usize) {
        let consumers = self.model.consumers.iter().enumerate();
        let own: Vec<usize> = consumers.filter(|(_, c)| c.client == at).map(|(index, _)| index).collect();
        if own.is_empty() {
            return;
        }
        self.rest(world);
        let consumer = self.model.consumers.remove(world.pick(&own));
        self.say(world, || format!("{at} cancels {consumer:?}"));
        self.peer(at).client.put(&basic::Cancel { consumer_tag: &consumer.tag, nowait: false });
        self.send(world, at, "cancel");
        self.cancelled(world, &consumer.queue);
        self.await_answer(world, at);
    }

    /// A limit or a dead-letter exchange, from now on; or none again.
    fn set_policy(&mut self, world: &mut World) {
        let Some(queue) = self.existing(world) else { return };
        self.rest(world);
        let name = format!("p-{queue}");
        let vhost = world.vhost();
        let before = self.model.effective(&queue);
        if self.model.policies.contains_key(&queue) && world.chance(40) {
            vhost.clear_policy(policy::Sort::User, &name);
            self.model.policies.remove(&queue);
        } else {
            let (dlx, dlrk) = if world.chance(60) { dead_letter(world) } else { (None, None) };
            let max_length = world.chance(50).then(|| world.below(5));
            let mut definition = Vec::new();
            definition.extend(max_length.map(|max| ("max-length", number(max))));
            definition.extend(dlx.as_ref().map(|dlx| ("dead-letter-exchange", text(dlx))));
            definition.extend(dlrk.as_ref().map(|dlrk| ("dead-letter-routing-key", text(dlrk))));
            if definition.is_empty() {
                return;
            }
            let value = table(vec![
                ("pattern", text(&format!("^{}$", queue.replace('.', "\\.")))),
                ("definition", Value::Table(table(definition))),
                ("apply-to", text("queues")),
            ]);
            let parsed =
                policy::Policy::parse(policy::Sort::User, &name, &value, &crate::broker::profile::V4_2)
                    .unwrap();
            vhost.set_policy(policy::Sort::User, parsed);
            self.model.policies.insert(queue.clone(), Policy { max_length, dlx, dlrk });
        }
        self.say(world, || format!("policy of {queue}: {:?}", self.model.policies.get(&queue)));
        self.model.ticket = world.submitted();
        let after = self.model.effective(&queue);
        if (before.dlx, before.dlrk) != (after.dlx, after.dlrk) {
            self.model.reconsider_kept(&queue);
        }
        self.model.queue(&queue).shortened = true;
        self.model.touch(&queue, &router(world));
        self.model.retry_all(&queue, &router(world));
        self.rest(world);
    }

    fn purge(&mut self, world: &mut World, at: usize) {
        let Some(queue) = self.existing(world) else { return };
        self.say(world, || format!("{at} purges {queue}"));
        self.peer(at).client.put(&queue::Purge { queue: &queue, ..queue::Purge::default() });
        self.ask(world, at, "purge");
        let copies = &self.model.queues[&queue].copies;
        let ready = copies.iter().filter(|copy| copy.place == Place::Ready);
        let mades: Vec<u64> = ready.map(|copy| copy.made).collect();
        mades.into_iter().for_each(|made| self.model.end(&queue, made));
        // The purged queue is a new one, in which no high message has gone yet.
        self.model.queue(&queue).left = 0;
    }

    fn delete(&mut self, world: &mut World, at: usize) {
        let Some(queue) = self.existing(world) else { return };
        self.rest(world);
        self.say(world, || format!("{at} deletes {queue}"));
        self.peer(at).client.put(&queue::Delete { queue: &queue, ..queue::Delete::default() });
        self.ask(world, at, "delete");
        self.model.queues.remove(&queue);
        self.forget(&queue);
        self.rest(world);
    }
}

fn text(text: &str) -> Value {
    Value::LongStr(text.to_owned().into_bytes().into())
}

fn number(n: usize) -> Value {
    Value::I64(i64::try_from(n).unwrap())
}

fn table(fields: Vec<(&str, Value)>) -> Table {
    Table(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A queue's name, the fan, or nothing that exists; with a key or without.
fn dead_letter(world: &mut World) -> (Option<String>, Option<String>) {
    let (exchange, key) = match world.below(100) {
        0..45 => ("", Some(world.pick(&QUEUES))),
        45..55 => ("", Some(STREAM)),
        55..65 => ("", None),
        65..80 => (FAN, Some(world.pick(&KEYS))),
        80..86 => (FAN, None),
        86..92 => (LATE, Some(world.pick(&KEYS))),
        _ => ("x.none", None),
    };
    (Some(exchange.to_owned()), key.map(str::to_owned))
}

fn settings(world: &mut World, name: &str) -> Settings {
    let (dlx, dlrk) = match world.below(100) {
        // What is rejected comes back, and dies once more.
        0..10 => (Some(String::new()), Some(name.to_owned())),
        10..68 => dead_letter(world),
        _ => (None, None),
    };
    let quorum = world.chance(20);
    let at_least_once = quorum && world.chance(35);
    let priorities = !quorum && world.chance(25);
    Settings {
        durable: quorum || world.chance(85),
        quorum,
        max_priority: if priorities { Some(world.pick(&[1, 3, 9])) } else { None },
        // From 4.0 there is a limit where nobody asks for one.
        delivery_limit: if quorum { world.pick(&[Some(0), Some(1), Some(2), Some(20), None]) } else { None },
        at_least_once,
        ttl_ms: if world.chance(30) { Some(world.pick(&[0, 10, 100, 700])) } else { None },
        max_length: if world.chance(30) { Some(world.pick(&[0, 1, 3, 6])) } else { None },
        max_bodies: if world.chance(15) { Some(world.pick(&[2, 5])) } else { None },
        reject: match quorum {
            true => at_least_once.then_some(false),
            false => world.chance(30).then(|| world.chance(50)),
        },
        dlx,
        dlrk,
        unused_ms: if world.chance(10) { Some(world.pick(&[500, 3_000])) } else { None },
        single_active: world.chance(15),
    }
}

fn arguments(settings: &Settings, body_bytes: usize) -> Vec<(&'static str, Value)> {
    let mut arguments = Vec::new();
    if settings.quorum {
        arguments.push(("x-queue-type", text("quorum")));
    }
    let limit = settings.delivery_limit.map_or(-1, i64::from);
    if settings.quorum && limit != 20 {
        arguments.push(("x-delivery-limit", Value::I64(limit)));
    }
    if settings.at_least_once {
        arguments.push(("x-dead-letter-strategy", text("at-least-once")));
    }
    arguments.extend(settings.max_priority.map(|max| ("x-max-priority", Value::I64(max.into()))));
    arguments.extend(settings.ttl_ms.map(|ms| ("x-message-ttl", Value::I64(ms))));
    arguments.extend(settings.max_length.map(|max| ("x-max-length", number(max))));
    arguments.extend(settings.max_bodies.map(|max| ("x-max-length-bytes", number(max * body_bytes))));
    let overflow = |dlx| if dlx { "reject-publish-dlx" } else { "reject-publish" };
    arguments.extend(settings.reject.map(|dlx| ("x-overflow", text(overflow(dlx)))));
    arguments.extend(settings.dlx.as_ref().map(|dlx| ("x-dead-letter-exchange", text(dlx))));
    arguments.extend(settings.dlrk.as_ref().map(|dlrk| ("x-dead-letter-routing-key", text(dlrk))));
    arguments.extend(settings.unused_ms.map(|ms| ("x-expires", Value::I64(ms))));
    if settings.single_active {
        arguments.push(("x-single-active-consumer", Value::Bool(true)));
    }
    arguments
}
