//! Delayed exchanges with the store behind them, on the manual clock.

use std::{sync::Arc, time::Duration};

use super::Holding;
use crate::{
    broker::{
        Broker,
        exchange::{Binding, Envelope, ExchangeOptions, Target},
        group,
        message::{Message, Publish, Traits},
        outlet::{Event, Outlet},
        pattern::Pattern,
        policy::{ApplyTo, Policy, Sort},
        publish::{Body, Headers, Publisher, Routed},
        queue::{ConnectionId, Queue, QueueOptions, serving::Got},
        receipt::Receipt,
        recovery::Settings,
        vhost::Vhost,
    },
    clock::Clock,
    data::{
        field::Properties,
        value::{Table, Value},
    },
    store::{Options, Store},
};

/// A broker on a store that is stepped, and a clock that is set.
pub(in crate::broker) struct World {
    pub(in crate::broker) store: Store,
    pub(in crate::broker) clock: Clock,
    pub(in crate::broker) broker: Arc<Broker>,
    pub(in crate::broker) vhost: Arc<Vhost>,
}

pub(in crate::broker) fn text(s: &str) -> Value {
    Value::LongStr(s.to_owned().into())
}

impl World {
    pub(in crate::broker) fn new() -> Self {
        Self::on(Store::manual(Options::small_disk()), Clock::manual(1_700_000_000_000))
    }

    pub(in crate::broker) fn on(store: Store, clock: Clock) -> Self {
        let settings = Settings {
            clock: clock.clone(),
            profile: &crate::broker::profile::V4_2,
            memory_limit_bytes: 64 * 1024,
            runtime: None,
            tail_bytes_max: 0,
            groups: group::Settings::default(),
            producers: crate::broker::txn::Settings::default(),
        };
        let broker = Broker::recover(store.clone(), settings).unwrap();
        let vhost = broker.vhost("/").unwrap();
        let world = Self { store, clock, broker, vhost };
        world.commit();
        world
    }

    /// A new broker on what the store holds.
    pub(in crate::broker) fn again(self) -> Self {
        self.commit();
        let (store, clock) = (self.store.clone(), self.clock.clone());
        drop(self);
        Self::on(store, clock)
    }

    pub(in crate::broker) fn commit(&self) {
        while self.store.step(self.clock.now()) {}
    }

    /// Exchange `d` that delays, with queue `q` bound to it.
    pub(in crate::broker) fn delayed(&self, kind: &str) -> Arc<Queue> {
        let arguments = Table(vec![("x-delayed-type".to_owned(), text(kind))]);
        let options = ExchangeOptions { arguments, ..ExchangeOptions::durable("x-delayed-message") };
        self.vhost.declare_exchange("d", options).unwrap();
        let queue = self.queue("q");
        self.bind("d", &queue, "k");
        queue
    }

    pub(in crate::broker) fn queue(&self, name: &str) -> Arc<Queue> {
        let arguments = Table::default();
        let options = QueueOptions { durable: true, auto_delete: false, exclusive: None, arguments };
        let queue = self.vhost.declare_queue(name, ConnectionId(1), options).unwrap().queue;
        self.commit();
        queue
    }

    pub(in crate::broker) fn bind(&self, exchange: &str, queue: &Arc<Queue>, key: &str) {
        let target = Target::Queue(queue.clone());
        let binding = Binding { target, routing_key: key.into(), arguments: Table::default() };
        self.vhost.bind(exchange, binding).unwrap();
        self.commit();
    }

    pub(in crate::broker) fn holding(&self) -> Arc<Holding> {
        self.vhost.exchange("d").unwrap().holding.get().unwrap().clone()
    }

    pub(in crate::broker) fn put(&self, publisher: &mut Publisher, delay_ms: i64, body: &str) -> Routed {
        self.put_with(publisher, vec![("x-delay".to_owned(), Value::I64(delay_ms))], &[], body)
    }

    pub(in crate::broker) fn put_with(
        &self,
        publisher: &mut Publisher,
        headers: Vec<(String, Value)>,
        keys: &[String],
        body: &str,
    ) -> Routed {
        let table = Table(headers);
        let encoded = Properties::default().with_headers(&table);
        let traits = Traits { persistent: true, ..Traits::default() };
        let publish = Publish { exchange: "d", routing_key: "k", properties: &encoded, traits };
        let headers = || Some(Headers { table: table.clone(), alone: true });
        publisher
            .publish_copies(
                self.clock.now_ms(),
                &publish,
                (keys, &[]),
                headers,
                &mut Body::Copied(body.as_bytes()),
            )
            .unwrap()
    }

    pub(in crate::broker) fn publish(&self, delay_ms: i64, body: &str) -> Routed {
        let mut publisher = Publisher::new(self.vhost.clone());
        let routed = self.put(&mut publisher, delay_ms, body);
        publisher.flush(self.clock.now_ms(), None);
        self.commit();
        routed
    }

    pub(in crate::broker) fn advance(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.settle();
    }

    /// A policy that names an alternate exchange, or none.
    pub(in crate::broker) fn alternate(&self, exchange: &str, alternate: Option<&str>) {
        let fields = alternate.map(|name| ("alternate-exchange".to_owned(), text(name)));
        let policy = Policy {
            name: "ae".to_owned(),
            pattern: Pattern::new(&format!("^{exchange}$")).unwrap(),
            apply_to: ApplyTo::Exchanges,
            priority: 0,
            definition: Table(fields.into_iter().collect()),
        };
        self.vhost.set_policy(Sort::User, policy);
        self.commit();
    }

    /// Takes every message out.
    pub(in crate::broker) fn messages(&self, queue: &Arc<Queue>) -> Vec<Message> {
        let (outlet, mut messages) = (Arc::new(Outlet::default()), Vec::new());
        loop {
            match queue.get(true, &outlet) {
                Got::Message { entry, .. } => messages.push(entry.message),
                Got::Empty => return messages,
                Got::Wait => self.commit(),
            }
        }
    }

    pub(in crate::broker) fn got(&self, queue: &Arc<Queue>) -> Vec<String> {
        let text = |message: &Message| String::from_utf8(message.body().to_vec()).unwrap();
        self.messages(queue).iter().map(text).collect()
    }

    /// Everything that is due happens.
    pub(in crate::broker) fn settle(&self) {
        let now_ms = self.clock.now_ms();
        while self.broker.core.deadlines.next_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            self.broker.on_deadlines(now_ms);
            self.commit();
        }
        self.commit();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.store.abandon();
    }
}

#[test]
fn messages_go_on_when_they_are_due_in_that_order() {
    let world = World::new();
    let queue = world.delayed("direct");
    for (delay_ms, body) in [(300, "c"), (100, "a"), (200, "b1"), (200, "b2"), (900, "d")] {
        assert_eq!(world.publish(delay_ms, body), Routed::Delayed);
    }
    assert_eq!(world.publish(0, "now"), Routed::Taken);
    assert_eq!(world.got(&queue), ["now"]);
    world.advance(99);
    assert!(world.got(&queue).is_empty());
    world.advance(1);
    assert_eq!(world.got(&queue), ["a"]);
    world.advance(300);
    assert_eq!(world.got(&queue), ["b1", "b2", "c"]);
    assert_eq!(world.broker.core.deadlines.next_ms(), Some(1_700_000_000_900));
    world.advance(10_000);
    assert_eq!(world.got(&queue), ["d"]);
    assert_eq!((world.holding().len(), world.broker.core.deadlines.next_ms()), (0, None));
    assert!(world.store.scan(crate::store::Space::Index, b"y").unwrap().is_empty());
}

#[test]
fn what_is_delivered_has_its_delay_negated_and_nothing_else_changed() {
    let world = World::new();
    let queue = world.delayed("fanout");
    let headers = vec![("a".to_owned(), text("x")), ("x-delay".to_owned(), Value::I32(50))];
    let mut publisher = Publisher::new(world.vhost.clone());
    world.put_with(&mut publisher, headers, &[], "m");
    publisher.flush(world.clock.now_ms(), None);
    world.commit();
    world.advance(50);
    let [message] = &world.messages(&queue)[..] else { panic!("it was due") };
    let properties = Properties::decode(message.properties()).unwrap();
    let expected = vec![("a".to_owned(), text("x")), ("x-delay".to_owned(), Value::I32(-50))];
    assert_eq!(properties.header_table().unwrap(), Table(expected));
    assert_eq!((message.exchange(), message.routing_key()), ("d", "k"));
    assert!(message.persistent());
}

#[test]
fn a_confirm_waits_until_the_message_is_held_durably() {
    let world = World::new();
    world.delayed("direct");
    let outlet = Arc::<Outlet>::default();
    let confirmed = || {
        let mut events = Vec::new();
        outlet.drain(&mut events, std::task::Waker::noop());
        events.iter().any(|event| matches!(event, Event::Confirm { first: 1, last: 1, .. }))
    };
    let mut publisher = Publisher::new(world.vhost.clone());
    world.put(&mut publisher, 1_000, "m");
    let receipt = Receipt::new(outlet.clone(), 1, 1, (1, 1));
    publisher.flush(world.clock.now_ms(), Some(&receipt));
    receipt.done();
    assert!(!confirmed());
    world.commit();
    assert!(confirmed());
}

#[test]
fn what_is_held_is_there_after_a_restart_and_late_if_it_was_due_meanwhile() {
    let world = World::new();
    world.delayed("direct");
    world.publish(100, "late");
    world.publish(5_000, "later");
    world.clock.advance(Duration::from_millis(1_000));
    let world = world.again();
    let queue = world.vhost.find_queue("q").unwrap();
    assert_eq!(world.holding().len(), 2);
    world.settle();
    assert_eq!(world.got(&queue), ["late"]);
    world.commit();
    let world = world.again();
    world.advance(4_000);
    assert_eq!(world.got(&world.vhost.find_queue("q").unwrap()), ["later"]);
}

#[test]
fn deleting_the_exchange_drops_what_it_holds() {
    let world = World::new();
    let queue = world.delayed("direct");
    world.publish(100, "dropped");
    world.vhost.delete_exchange("d", false).unwrap();
    world.commit();
    assert!(world.store.scan(crate::store::Space::Index, b"y").unwrap().is_empty());
    world.delayed("direct");
    world.publish(200, "kept");
    world.advance(1_000);
    assert_eq!(world.got(&queue), ["kept"], "an exchange of the same name inherits nothing");
    let world = world.again();
    assert_eq!(world.holding().len(), 0);
}

#[test]
fn an_exchange_deleted_before_a_message_is_durable_holds_nothing() {
    let world = World::new();
    world.delayed("direct");
    let mut publisher = Publisher::new(world.vhost.clone());
    world.put(&mut publisher, 100, "m");
    publisher.flush(world.clock.now_ms(), None);
    world.vhost.delete_exchange("d", false).unwrap();
    world.commit();
    assert!(world.store.scan(crate::store::Space::Index, b"y").unwrap().is_empty());
}

#[test]
fn hidden_keys_route_when_it_is_due_and_stay_hidden() {
    let world = World::new();
    let queue = world.delayed("direct");
    let (cc, bcc) = (world.queue("cc"), world.queue("bcc"));
    world.bind("d", &cc, "cc");
    world.bind("d", &bcc, "bcc");
    let headers =
        vec![("x-delay".to_owned(), Value::I32(50)), ("CC".to_owned(), Value::Array(vec![text("cc")]))];
    let mut publisher = Publisher::new(world.vhost.clone());
    world.put_with(&mut publisher, headers, &["cc".to_owned(), "bcc".to_owned()], "m");
    publisher.flush(world.clock.now_ms(), None);
    world.commit();
    world.advance(50);
    for queue in [&queue, &cc, &bcc] {
        let [message] = &world.messages(queue)[..] else { panic!("{}", queue.name) };
        let headers = Properties::decode(message.properties()).unwrap().header_table().unwrap();
        assert!(headers.field("BCC").is_none() && headers.field("CC").is_some());
    }
}

#[test]
fn a_batch_moves_to_its_queues_in_one_change() {
    let world = World::new();
    let queue = world.delayed("direct");
    world.publish(100, "m");
    world.clock.advance(Duration::from_millis(100));
    // Under way, and the machine goes down before it is durable.
    world.broker.on_deadlines(world.clock.now_ms());
    drop(queue);
    let image = world.store.crash(7).unwrap();
    let world = World::on(Store::open_on(image, Options::small_disk()).unwrap(), world.clock.clone());
    let queue = world.vhost.find_queue("q").unwrap();
    assert_eq!((world.holding().len(), queue.counts().0), (1, 0), "it still waits");
    world.settle();
    assert_eq!((world.holding().len(), world.got(&queue)), (0, vec!["m".to_owned()]));
}

#[test]
fn many_messages_go_on_in_several_batches() {
    let world = World::new();
    let queue = world.delayed("fanout");
    let mut publisher = Publisher::new(world.vhost.clone());
    for n in 0..2_000 {
        world.put(&mut publisher, 100 + n % 7, &n.to_string());
    }
    publisher.flush(world.clock.now_ms(), None);
    world.commit();
    assert_eq!(world.holding().len(), 2_000);
    world.advance(200);
    let bodies = world.got(&queue);
    let mut expected: Vec<_> = (0..2_000_i64).collect();
    expected.sort_by_key(|n| (n % 7, *n));
    let expected: Vec<_> = expected.iter().map(i64::to_string).collect();
    assert_eq!(bodies, expected);
}

#[test]
fn the_alternate_exchange_gets_a_delayed_message_at_once_as_in_rabbitmq() {
    let world = World::new();
    world.vhost.declare_exchange("ae", ExchangeOptions::durable("fanout")).unwrap();
    let other = world.queue("other");
    world.bind("ae", &other, "");
    let queue = world.delayed("direct");
    world.alternate("d", Some("ae"));
    assert_eq!(world.publish(100, "m"), Routed::Taken);
    assert_eq!((world.got(&other), world.got(&queue)), (vec!["m".to_owned()], vec![]));
    world.advance(100);
    assert_eq!((world.got(&other), world.got(&queue)), (vec![], vec!["m".to_owned()]));
    let envelope = Envelope { keys: &["zzz"], headers: None, properties: &[0, 0] };
    let route = world.vhost.route(&world.vhost.exchange("d").unwrap(), &envelope);
    assert_eq!(route.queues.len(), 1);
}
