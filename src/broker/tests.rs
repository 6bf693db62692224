//! Queues and exchanges with the store behind them, stepped by hand.

mod at_least_once;
mod dead_letter_crashes;
mod dead_letters;
mod deadlines;
mod delayed_retry;
mod figures;
mod keys;
mod order;
mod reserving;
mod seams;
mod threads;
mod unsubmitted;

use std::sync::Arc;

use super::{
    Broker,
    alarm::Alarms,
    definition::{self, TargetKind},
    exchange::{Binding, ExchangeOptions, Target},
    message::{Publish, Traits},
    outlet::{Event, Outlet},
    profile::Profile,
    publish::{Body, Publisher, Routed},
    queue::{
        ConnectionId, ConsumerId, Entry, Queue, QueueOptions, consumers::ConsumerSpec, levels::WINDOW_BYTES,
        returns::Return, serving::Got,
    },
    receipt::Receipt,
    recovery::Settings,
    vhost::Vhost,
};
use crate::{
    clock::Clock,
    data::value::{Table, Value},
    store::{Durability, Options, Space, Store},
};

const ME: ConnectionId = ConnectionId(1);

/// A store in memory with small turns and segments: a short history meets the end of many.
fn narrow() -> Options {
    Options {
        turn_bytes_max: 4 << 10,
        segment_bytes: 32 << 10,
        first_segment_bytes: 16 << 10,
        ..Options::new("", Durability::Fsync)
    }
}

struct World {
    store: Store,
    clock: Clock,
    broker: Arc<Broker>,
    vhost: Arc<Vhost>,
    /// The store has a committer of its own.
    runs: bool,
}

impl World {
    fn new() -> Self {
        let (store, clock) = (Store::manual(Options::ephemeral()), Clock::manual(1_700_000_000_000));
        Self::on(store, clock, false)
    }

    /// On the store of `--ephemeral`, which frees a chunk with its last release.
    fn ephemeral() -> Self {
        Self::on(Store::open(Options::ephemeral()).unwrap(), Clock::manual(1_700_000_000_000), true)
    }

    fn on(store: Store, clock: Clock, runs: bool) -> Self {
        Self::on_runtime(store, clock, runs, None)
    }

    /// Slow work goes to that runtime.
    fn on_runtime(store: Store, clock: Clock, runs: bool, runtime: Option<tokio::runtime::Handle>) -> Self {
        Self::of(&super::profile::V4_2, (store, runs), clock, runtime)
    }

    fn of(
        profile: &'static Profile,
        (store, runs): (Store, bool),
        clock: Clock,
        runtime: Option<tokio::runtime::Handle>,
    ) -> Self {
        let settings = Settings {
            profile,
            runtime,
            memory_limit_bytes: 64 * 1024,
            tail_bytes_max: 0,
            ..Settings::of_tests(&clock)
        };
        let broker = Broker::recover(store.clone(), settings).unwrap();
        let vhost = broker.vhost("/").unwrap();
        let world = Self { store, clock, broker, vhost, runs };
        world.commit();
        world
    }

    /// A new broker on what the store holds.
    fn again(self) -> Self {
        self.commit();
        let (store, clock, runs) = (self.store.clone(), self.clock.clone(), self.runs);
        let profile = self.broker.core.profile;
        drop(self);
        Self::of(profile, (store, runs), clock, None)
    }

    fn commit(&self) {
        while !self.runs && self.store.step(self.clock.now()) {}
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        while self.store.durable_to() < self.store.submitted_to() {
            runtime.block_on(self.store.durable(self.store.submitted_to())).unwrap();
        }
    }

    fn queue(&self, name: &str, arguments: &[(&str, i64)]) -> Arc<Queue> {
        self.queue_with(name, arguments, &[])
    }

    fn queue_with(&self, name: &str, numbers: &[(&str, i64)], texts: &[(&str, &str)]) -> Arc<Queue> {
        let options = durable(arguments(numbers, texts));
        let queue = self.vhost.declare_queue(name, ME, options).unwrap().queue;
        self.commit();
        queue
    }

    fn publisher(&self) -> Publisher {
        Publisher::new(self.vhost.clone())
    }

    fn put(&self, publisher: &mut Publisher, key: &str, traits: Traits, body: &[u8]) -> Routed {
        let exchange = if key.is_empty() { "amq.fanout" } else { "" };
        let publish = Publish { exchange, routing_key: key, properties: &[0, 0], traits };
        publisher.publish(self.clock.now_ms(), &publish, || None, &mut Body::Copied(body)).unwrap()
    }

    fn flush(&self, publisher: &mut Publisher) {
        publisher.flush(self.clock.now_ms(), None);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.store.abandon();
    }
}

fn durable(arguments: Table) -> QueueOptions {
    QueueOptions { durable: true, auto_delete: false, exclusive: None, arguments }
}

fn arguments(numbers: &[(&str, i64)], texts: &[(&str, &str)]) -> Table {
    let numbers = numbers.iter().map(|&(name, n)| (name.to_owned(), Value::I64(n)));
    let texts = texts.iter().map(|&(name, text)| (name.to_owned(), Value::LongStr(text.to_owned().into())));
    Table(numbers.chain(texts).collect())
}

const PERSISTENT: Traits = Traits { persistent: true, priority: None, expiration_ms: None };

fn durable_fanout() -> ExchangeOptions {
    ExchangeOptions {
        kind: "fanout".to_owned(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Table::default(),
    }
}

fn consumer(outlet: &Arc<Outlet>, no_ack: bool) -> ConsumerSpec {
    ConsumerSpec {
        channel: 1,
        consumer_tag: "c".into(),
        no_ack,
        exclusive: false,
        priority: 0,
        prefetch_count: 0,
        outlet: outlet.clone(),
        credit: Arc::default(),
    }
}

fn deliveries(outlet: &Outlet) -> usize {
    let mut events = Vec::new();
    outlet.drain(&mut events, std::task::Waker::noop());
    events.iter().filter(|event| matches!(event, Event::Deliver { .. })).count()
}

fn delivered(outlet: &Outlet) -> Vec<Entry> {
    let mut events = Vec::new();
    outlet.drain(&mut events, std::task::Waker::noop());
    let entry = |event| if let Event::Deliver { entry, .. } = event { Some(entry) } else { None };
    events.into_iter().filter_map(entry).collect()
}

/// Does it on a thread of its own: what would stand for ever fails.
pub(crate) fn within_30_s(work: impl FnOnce() + Send + 'static) {
    let (done, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        work();
        done.send(())
    });
    told.recv_timeout(std::time::Duration::from_secs(30)).expect("it has failed, or stands");
}

/// The next message, by `basic.get`.
fn take(world: &World, queue: &Arc<Queue>) -> Entry {
    let outlet = Arc::<Outlet>::default();
    for _ in 0..100 {
        match queue.get(false, &outlet) {
            Got::Message { entry, .. } => return entry,
            Got::Wait => world.commit(),
            Got::Empty => break,
        }
    }
    panic!("nothing is there");
}

/// Everything that is ready, by `basic.get`.
fn drain(world: &World, queue: &Arc<Queue>) -> Vec<Vec<u8>> {
    let outlet = Arc::<Outlet>::default();
    let mut bodies = Vec::new();
    for _ in 0..100_000 {
        match queue.get(true, &outlet) {
            Got::Message { entry, .. } => bodies.push(entry.message.body().to_vec()),
            Got::Empty => return bodies,
            Got::Wait => world.commit(),
        }
    }
    panic!("the queue waits for ever");
}

#[test]
fn a_route_to_a_deleted_queue_is_not_remembered() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    let mut publisher = world.publisher();
    assert_eq!(world.put(&mut publisher, "q", PERSISTENT, b"1"), Routed::Taken);
    world.flush(&mut publisher);
    world.vhost.delete_queue(&queue, false, false).unwrap();
    assert_eq!(world.put(&mut publisher, "q", PERSISTENT, b"2"), Routed::Unroutable);
}

#[test]
fn the_memory_alarm_clears_once_a_backlog_is_durable_though_nothing_is_published_any_more() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    let mut publisher = world.publisher();
    for _ in 0..200 {
        world.put(&mut publisher, "q", PERSISTENT, &[0; 1_000]);
        world.flush(&mut publisher);
    }
    assert!(world.broker.core.memory.reason().is_some());
    world.commit();
    assert_eq!(world.broker.core.memory.reason(), None);
    assert!(queue.figures().held_bytes < 4 * WINDOW_BYTES);
    assert_eq!(drain(&world, &queue).len(), 200);
}

/// What was read too early would be lost if it became the middle's meanwhile.
#[test]
fn only_what_is_in_the_log_is_read_back() {
    for written in 10..60 {
        let world = World::new();
        let queue = world.queue("q", &[]);
        let mut publisher = world.publisher();
        let mut publish = |count| {
            for _ in 0..count {
                world.put(&mut publisher, "q", PERSISTENT, &[0; 100]);
                world.flush(&mut publisher);
            }
        };
        publish(written);
        world.commit();
        publish(10);
        queue.with_state(|state| {
            while state.ready.pop().is_some() {
                let wanted = state.wanted();
                assert!(wanted.iter().all(|first| state.runs.of(*first).is_some_and(|run| run.durable)));
            }
            assert!(written < 40 || !state.wanted().is_empty());
        });
    }
}

#[test]
fn a_length_limit_in_bytes_counts_bodies_only_after_a_restart_too() {
    let world = World::new();
    world.queue("q", &[("x-max-length-bytes", 40_000)]);
    let mut publisher = world.publisher();
    for n in 0..400_u32 {
        world.put(&mut publisher, "q", PERSISTENT, &[n.to_be_bytes().as_slice(), &[0; 96]].concat());
        world.flush(&mut publisher);
    }
    let world = world.again();
    let queue = world.vhost.find_queue("q").unwrap();
    assert_eq!(queue.figures().body_bytes, 40_000);
    assert_eq!(drain(&world, &queue).len(), 400);
}

#[test]
fn with_a_ttl_of_0_only_who_waits_already_gets_a_message() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    let mut publisher = world.publisher();
    let traits = Traits { expiration_ms: Some(0), ..Traits::default() };
    world.put(&mut publisher, "q", traits, b"nobody");
    world.flush(&mut publisher);
    assert_eq!(queue.counts().0, 0);
    let outlet = Arc::<Outlet>::default();
    queue.consume(consumer(&outlet, true)).unwrap();
    world.put(&mut publisher, "q", traits, b"somebody");
    world.flush(&mut publisher);
    assert_eq!(deliveries(&outlet), 1);
}

#[test]
fn a_chunk_stays_until_the_last_queue_of_its_batch_has_an_entry() {
    // Whichever of them comes first.
    for (fast, slow) in [("a", "b"), ("b", "a")] {
        check_chunk(fast, slow);
    }
}

fn check_chunk(fast: &str, slow: &str) {
    let world = World::ephemeral();
    for name in ["a", "b"] {
        let queue = &world.queue(name, &[]);
        let binding = Binding {
            target: Target::Queue(queue.clone()),
            routing_key: "".into(),
            arguments: Table::default(),
        };
        world.vhost.bind("amq.fanout", binding).unwrap();
    }
    let [fast, slow] = [fast, slow].map(|name| world.vhost.find_queue(name).unwrap());
    let outlet = Arc::<Outlet>::default();
    let mut publisher = world.publisher();
    let mut expected = Vec::new();
    for n in 0..100_u32 {
        let body = [n.to_be_bytes().as_slice(), &[0; 1_000]].concat();
        world.put(&mut publisher, "", PERSISTENT, &body);
        expected.push(body);
        let receipt = Receipt::new(outlet.clone(), 1, 1, (1, 1));
        // As if the committer and a quick consumer came between the two queues.
        publisher.flush_between(world.clock.now_ms(), &receipt, || {
            world.commit();
            drain(&world, &fast);
            world.commit();
        });
    }
    world.commit();
    assert!(drain(&world, &slow) == expected, "messages are missing or in disorder");
}

#[test]
fn a_binding_of_nothing_does_not_keep_the_broker_from_starting() {
    let world = World::new();
    world.vhost.declare_exchange("e", durable_fanout()).unwrap();
    for (source, kind, target) in [("e", TargetKind::Topic, "gone"), ("gone", TargetKind::Exchange, "e")] {
        let key = definition::binding_key("/", source, kind, target, "", &Table::default());
        definition::put(&world.store, key, Vec::new());
    }
    let world = world.again();
    assert!(world.vhost.find_exchange("e").is_some_and(|e| !e.is_bound()));
    assert!(world.store.scan(crate::store::Space::Meta, b"B").unwrap().is_empty());
}

#[test]
fn a_target_that_was_made_anew_meanwhile_is_not_bound() {
    let world = World::new();
    world.vhost.declare_exchange("e", durable_fanout()).unwrap();
    let old = world.vhost.find_exchange("e").unwrap();
    world.vhost.delete_exchange("e", false).unwrap();
    world.vhost.declare_exchange("e", durable_fanout()).unwrap();
    let binding =
        Binding { target: Target::Exchange(old), routing_key: "".into(), arguments: Table::default() };
    assert!(world.vhost.bind("amq.fanout", binding).is_err());
}

#[test]
fn the_memory_alarm_is_off_when_nothing_is_held() {
    let alarms = Arc::new(Alarms::new(1_000));
    for _ in 0..200 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        alarms.add(1_500);
                        alarms.add(-1_500);
                    }
                });
            }
        });
        assert_eq!(alarms.reason(), None);
    }
}

#[test]
fn a_deleted_queue_leaves_nothing_in_the_log() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "q", PERSISTENT, b"delivered");
    world.put(&mut publisher, "q", PERSISTENT, b"not");
    world.flush(&mut publisher);
    world.commit();
    assert!(matches!(queue.get(false, &Arc::default()), Got::Wait | Got::Message { .. }));
    world.commit();
    let keys = |space, prefix: &[u8]| world.store.scan(space, prefix).unwrap().len();
    assert_eq!((keys(Space::State, b"d"), keys(Space::Index, b"q"), keys(Space::Meta, b"Q")), (1, 1, 1));
    world.vhost.delete_queue(&queue, false, false).unwrap();
    queue.note_delivered();
    world.commit();
    assert_eq!((keys(Space::State, b"d"), keys(Space::Index, b"q"), keys(Space::Meta, b"Q")), (0, 0, 0));
}

#[test]
fn a_second_declare_waits_for_the_first_but_not_for_acknowledgements() {
    let world = World::new();
    let options = || durable(Table::default());
    let first = world.vhost.declare_queue("q", ME, options()).unwrap();
    let second = world.vhost.declare_queue("q", ME, options()).unwrap();
    assert!(first.pending.is_some() && second.pending == first.pending);
    world.commit();
    let mut publisher = world.publisher();
    world.put(&mut publisher, "q", PERSISTENT, b"1");
    world.flush(&mut publisher);
    world.commit();
    assert_eq!(drain(&world, &first.queue), [b"1"]);
    assert!(world.store.submitted_to() > world.store.durable_to(), "nothing was acknowledged");
    assert_eq!(world.vhost.declare_queue("q", ME, options()).unwrap().pending, None);
}
