//! Delayed retries of quorum queues (4.3), with the store behind them and time that a test makes pass.

use std::{collections::BTreeMap, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::broker::{
    policy::{Policy, Sort},
    profile::V4_3,
    queue::returns::Count,
};

const TYPE: (&str, &str) = ("x-queue-type", "quorum");
const ALL: (&str, &str) = ("x-delayed-retry-type", "all");

fn world() -> World {
    World::of(&V4_3, (Store::manual(narrow()), false), Clock::manual(1_700_000_000_000), None)
}

/// `q`, which delays every return by 100 to 250 ms.
fn delaying(world: &World, more: &[(&str, i64)]) -> Arc<Queue> {
    let spans = [("x-delayed-retry-min", 100), ("x-delayed-retry-max", 250)];
    world.queue_with("q", &[&spans, more].concat(), &[TYPE, ALL])
}

fn publish(world: &World, bodies: &[&str]) {
    publish_living(world, bodies, None);
}

fn publish_living(world: &World, bodies: &[&str], expiration_ms: Option<u64>) {
    let mut publisher = world.publisher();
    for body in bodies {
        world.put(&mut publisher, "q", Traits { expiration_ms, ..PERSISTENT }, body.as_bytes());
    }
    world.flush(&mut publisher);
    world.commit();
}

fn take(world: &World, queue: &Arc<Queue>) -> Option<Entry> {
    let outlet = Arc::<Outlet>::default();
    for _ in 0..100 {
        match queue.get(false, &outlet) {
            Got::Message { entry, .. } => return Some(entry),
            Got::Wait => world.commit(),
            Got::Empty => return None,
        }
    }
    panic!("the queue waits for ever");
}

fn pass(world: &World, ms: u64) {
    world.clock.advance(Duration::from_millis(ms));
    world.broker.on_deadlines(world.clock.now_ms());
    world.commit();
}

fn texts(bodies: Vec<Vec<u8>>) -> Vec<String> {
    bodies.into_iter().map(|body| String::from_utf8(body).unwrap()).collect()
}

fn q(world: &World) -> Arc<Queue> {
    world.vhost.find_queue("q").unwrap()
}

/// How many are ready and delayed.
fn lengths(queue: &Arc<Queue>) -> (usize, usize) {
    let figures = queue.figures();
    (figures.ready, figures.delayed.load.messages)
}

#[test]
fn what_comes_back_waits_and_then_goes_before_what_was_never_delivered() {
    let world = world();
    let queue = delaying(&world, &[]);
    publish(&world, &["a", "b", "c"]);
    let (a, b) = (take(&world, &queue).unwrap(), take(&world, &queue).unwrap());
    let start = world.clock.now_ms();
    // The later one comes back first; both are due together.
    queue.requeue(None, [b, a].into_iter(), Return::GivenBack);
    assert_eq!(lengths(&queue), (1, 2));
    assert_eq!((queue.figures().unacked, queue.figures().all.messages), (0, 3));
    assert_eq!(
        (queue.figures().delayed.next_ms, queue.figures().delayed.last_ms),
        (Some(start + 100), Some(start + 100))
    );
    assert_eq!(world.broker.core.deadlines.next_ms(), Some(start + 100));
    pass(&world, 99);
    assert_eq!(lengths(&queue), (1, 2));
    let outlet = Arc::<Outlet>::default();
    queue.consume(ConsumerSpec { prefetch_count: 3, ..consumer(&outlet, false) }).unwrap();
    queue.pump();
    world.commit();
    assert_eq!(deliveries(&outlet), 1, "a consumer gets what is ready");
    pass(&world, 1);
    assert_eq!(deliveries(&outlet), 2, "and the rest without anybody asking");
    assert_eq!(lengths(&queue), (0, 0));
    assert_eq!(world.broker.core.deadlines.next_ms(), None);
}

#[test]
fn of_those_that_are_due_together_the_older_goes_first() {
    let world = world();
    let queue = delaying(&world, &[]);
    publish(&world, &["a", "b", "c"]);
    let [a, b] = [(); 2].map(|()| take(&world, &queue).unwrap());
    queue.requeue(None, [b].into_iter(), Return::GivenBack);
    queue.requeue(None, [a].into_iter(), Return::GivenBack);
    pass(&world, 100);
    assert_eq!(texts(drain(&world, &queue)), ["a", "b", "c"]);
}

#[test]
fn failed_deliveries_wait_longer_each_time_until_there_are_too_many() {
    let world = world();
    let queue = delaying(&world, &[("x-delivery-limit", 3)]);
    publish(&world, &["a"]);
    for delay_ms in [100, 200, 250] {
        let entry = take(&world, &queue).unwrap();
        queue.requeue(None, [entry].into_iter(), Return::Rejected);
        pass(&world, delay_ms - 1);
        assert_eq!(lengths(&queue), (0, 1), "{delay_ms}");
        pass(&world, 1);
        assert_eq!(lengths(&queue), (1, 0), "{delay_ms}");
    }
    let entry = take(&world, &queue).unwrap();
    assert_eq!((entry.returns, entry.redelivered), (Count { acquired: 3, failed: 3 }, true));
    queue.requeue(None, [entry].into_iter(), Return::Lost);
    assert_eq!(lengths(&queue), (0, 0), "once too often");
}

#[test]
fn what_was_given_back_waits_the_least_however_often() {
    let world = world();
    let queue = delaying(&world, &[("x-delivery-limit", 1)]);
    publish(&world, &["a"]);
    for _ in 0..5 {
        let entry = take(&world, &queue).unwrap();
        queue.requeue(None, [entry].into_iter(), Return::GivenBack);
        pass(&world, 100);
        assert_eq!(lengths(&queue), (1, 0));
    }
}

#[test]
fn without_a_limit_what_is_given_back_goes_behind_at_once_and_only_what_is_rejected_waits() {
    for (how, expected, delayed) in [
        (Return::GivenBack, vec!["c", "b", "a"], 0),
        (Return::Rejected, vec!["c"], 2),
        (Return::TimedOut, vec!["c"], 2),
        (Return::Lost, vec!["c"], 2),
    ] {
        let world = world();
        let queue = delaying(&world, &[("x-delivery-limit", -1)]);
        publish(&world, &["a", "b", "c"]);
        let (a, b) = (take(&world, &queue).unwrap(), take(&world, &queue).unwrap());
        queue.requeue(None, [b].into_iter(), how);
        queue.requeue(None, [a].into_iter(), how);
        world.commit();
        assert_eq!(texts(drain(&world, &queue)), expected, "{how:?}");
        assert_eq!(lengths(&queue), (0, delayed), "{how:?}");
    }
}

#[test]
fn what_is_delayed_counts_for_the_length_but_cannot_be_dropped() {
    let world = world();
    let queue = delaying(&world, &[("x-max-length", 1)]);
    publish(&world, &["a"]);
    let a = take(&world, &queue).unwrap();
    publish(&world, &["b"]);
    let b = take(&world, &queue).unwrap();
    queue.requeue(None, [a, b].into_iter(), Return::GivenBack);
    assert_eq!(lengths(&queue), (0, 2), "there is nothing ready to drop");
    publish(&world, &["c"]);
    assert_eq!(lengths(&queue), (0, 2), "it is too much at once");
    // What may be dropped again is.
    pass(&world, 100);
    assert_eq!(texts(drain(&world, &queue)), ["b"]);
}

#[test]
fn a_queue_that_refuses_publishes_is_full_of_what_is_delayed() {
    let world = world();
    let texts_of = [TYPE, ALL, ("x-overflow", "reject-publish")];
    let queue = world.queue_with("q", &[("x-delayed-retry-min", 100), ("x-max-length", 0)], &texts_of);
    publish(&world, &["a"]);
    let a = take(&world, &queue).unwrap();
    queue.requeue(None, [a].into_iter(), Return::GivenBack);
    publish(&world, &["b"]);
    assert_eq!(lengths(&queue), (0, 1));
    pass(&world, 100);
    assert_eq!(texts(drain(&world, &queue)), ["a"]);
    publish(&world, &["c"]);
    assert_eq!(lengths(&queue), (1, 0));
}

#[test]
fn a_purge_takes_what_is_delayed_and_counts_it_and_a_deletion_does_not_count_it() {
    let world = world();
    let queue = delaying(&world, &[]);
    publish(&world, &["a", "b"]);
    let a = take(&world, &queue).unwrap();
    queue.requeue(None, [a].into_iter(), Return::GivenBack);
    assert_eq!(queue.purge(), 2);
    assert_eq!(lengths(&queue), (0, 0));
    publish(&world, &["a", "b"]);
    let a = take(&world, &queue).unwrap();
    queue.requeue(None, [a].into_iter(), Return::GivenBack);
    assert_eq!(world.vhost.delete_queue(&queue, false, false).unwrap().0, 1);
    world.commit();
    let left = |space, prefix| world.store.scan(space, prefix).unwrap().len();
    assert_eq!((left(Space::Index, b"q".as_slice()), left(Space::State, b"c")), (0, 0));
}

#[test]
fn what_is_delayed_expires_when_it_is_back() {
    let world = world();
    let queue = delaying(&world, &[]);
    publish_living(&world, &["a"], Some(50));
    let a = take(&world, &queue).unwrap();
    queue.requeue(None, [a].into_iter(), Return::GivenBack);
    pass(&world, 99);
    assert_eq!(lengths(&queue), (0, 1));
    pass(&world, 1);
    assert_eq!(lengths(&queue), (0, 0));
}

#[test]
fn a_policy_delays_what_comes_back_from_then_on_and_lets_nothing_go_earlier() {
    let world = world();
    let queue = world.queue_with("q", &[], &[TYPE]);
    let set = |kind: &str| {
        let definition = arguments(&[("delayed-retry-min", 100)], &[("delayed-retry-type", kind)]);
        let definition = ("definition".to_owned(), Value::Table(definition));
        let pattern = ("pattern".to_owned(), Value::LongStr("^q".into()));
        let policy = Policy::parse(Sort::User, "p", &Table(vec![pattern, definition]), &V4_3).unwrap();
        world.vhost.set_policy(Sort::User, policy);
        world.commit();
    };
    publish(&world, &["a"]);
    let give_back = |how| queue.requeue(None, [take(&world, &queue).unwrap()].into_iter(), how);
    give_back(Return::Rejected);
    assert_eq!(lengths(&queue), (1, 0));
    set("returned");
    give_back(Return::Rejected);
    assert_eq!(lengths(&queue), (1, 0));
    give_back(Return::GivenBack);
    assert_eq!(lengths(&queue), (0, 1));
    set("disabled");
    assert_eq!(lengths(&queue), (0, 1));
    pass(&world, 200);
    give_back(Return::GivenBack);
    assert_eq!(lengths(&queue), (1, 0));
}

#[test]
fn a_delay_goes_on_after_a_restart_wherever_the_messages_lie() {
    let world = world();
    let queue = delaying(&world, &[]);
    let body = "x".repeat(300);
    let bodies: Vec<_> = (0..12).map(|n| format!("{n:02}-{body}")).collect();
    publish(&world, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let entries: Vec<_> = (0..4).map(|_| take(&world, &queue).unwrap()).collect();
    for entry in entries.into_iter().rev() {
        queue.requeue(None, [entry].into_iter(), Return::GivenBack);
        pass(&world, 10);
    }
    let world = world.again();
    let queue = q(&world);
    assert_eq!(lengths(&queue), (8, 4));
    assert_eq!(queue.figures().all.messages, 12);
    pass(&world, 60);
    assert_eq!(lengths(&queue), (9, 3), "the last that was delivered came back first");
    let first = take(&world, &queue).unwrap();
    assert_eq!((first.message.body(), first.redelivered), (bodies[3].as_bytes(), true));
    // What stands around it in the log is read meanwhile, and it does not come twice.
    let second = take(&world, &queue).unwrap();
    assert_eq!(second.message.body(), bodies[4].as_bytes());
    queue.requeue(None, [first, second].into_iter(), Return::GivenBack);
    pass(&world, 200);
    let order = [2, 1, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    let expected: Vec<_> = order.into_iter().map(|n: usize| bodies[n].clone()).collect();
    assert_eq!(texts(drain(&world, &queue)), expected);
    world.commit();
    assert_eq!(world.store.scan(Space::Index, b"q").unwrap().len(), 0);
}

#[test]
fn a_purge_after_a_restart_leaves_what_a_consumer_holds() {
    let world = world();
    let queue = delaying(&world, &[]);
    publish(&world, &["a", "b", "c"]);
    let a = take(&world, &queue).unwrap();
    queue.requeue(None, [a].into_iter(), Return::GivenBack);
    pass(&world, 1);
    let world = world.again();
    let queue = q(&world);
    pass(&world, 100);
    let a = take(&world, &queue).unwrap();
    assert_eq!(a.message.body(), b"a");
    assert_eq!(queue.purge(), 2);
    queue.requeue(None, [a].into_iter(), Return::GivenBack);
    let world = world.again();
    pass(&world, 100);
    assert_eq!(texts(drain(&world, &q(&world))), ["a"]);
}

#[test]
fn bodies_of_what_waits_are_not_all_in_memory() {
    let world = world();
    let queue = delaying(&world, &[]);
    let body = "x".repeat(500);
    let bodies: Vec<_> = (0..40).map(|n| format!("{n:02}-{body}")).collect();
    publish(&world, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let entries: Vec<_> = std::iter::from_fn(|| take(&world, &queue)).collect();
    assert_eq!(entries.len(), 40);
    queue.requeue(None, entries.into_iter(), Return::GivenBack);
    let held = queue.with_state(|state| state.held_told());
    assert!(held < 2 * WINDOW_BYTES + 40 * 100, "{held}");
    pass(&world, 100);
    assert_eq!(texts(drain(&world, &queue)), bodies);
}

#[derive(Debug, Clone)]
enum Op {
    Publish(usize),
    Take(usize),
    GiveBack { nth: usize, failed: bool },
    Acknowledge(usize),
    Purge,
    Pass(u64),
    Turn,
    Crash(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..6usize).prop_map(Op::Publish),
        5 => (1..5usize).prop_map(Op::Take),
        5 => (0..8usize, any::<bool>()).prop_map(|(nth, failed)| Op::GiveBack { nth, failed }),
        2 => (0..8usize).prop_map(Op::Acknowledge),
        1 => Just(Op::Purge),
        5 => (1..150u64).prop_map(Op::Pass),
        3 => Just(Op::Turn),
        2 => any::<u64>().prop_map(Op::Crash),
    ]
}

/// What a message must be: nobody has more than one of it, and nobody gets it before it is due.
struct History {
    world: World,
    next: u32,
    /// Of each message that is not gone: when it may be delivered again, if the log knows it.
    due_ms: BTreeMap<u32, i64>,
    held: Vec<Entry>,
}

impl History {
    fn apply(&mut self, op: Op) {
        let queue = q(&self.world);
        match op {
            Op::Publish(count) => {
                let mut publisher = self.world.publisher();
                for _ in 0..count {
                    let body = [self.next.to_be_bytes().as_slice(), &[0; 60]].concat();
                    self.world.put(&mut publisher, "q", PERSISTENT, &body);
                    self.due_ms.insert(self.next, i64::MIN);
                    self.next += 1;
                }
                self.world.flush(&mut publisher);
                self.world.commit();
            }
            Op::Take(count) => (0..count).for_each(|_| self.take().unwrap_or_default()),
            Op::GiveBack { nth, failed } if nth < self.held.len() => {
                let entry = self.held.remove(nth);
                let how = if failed { Return::Rejected } else { Return::GivenBack };
                let failures = i64::from(entry.returns.failed) + i64::from(failed);
                let delay_ms = (100 * failures.max(1)).min(250);
                self.due_ms.insert(id(&entry), self.world.clock.now_ms() + delay_ms);
                queue.requeue(None, [entry].into_iter(), how);
            }
            Op::Acknowledge(nth) if nth < self.held.len() => {
                let entry = self.held.remove(nth);
                self.due_ms.remove(&id(&entry));
                queue.settle(None, std::iter::once(&entry), true);
                // Else it may come back.
                self.world.commit();
            }
            Op::GiveBack { .. } | Op::Acknowledge(_) => {}
            Op::Purge => {
                queue.purge();
                let held: Vec<_> = self.held.iter().map(id).collect();
                self.due_ms.retain(|id, _| held.contains(id));
                self.world.commit();
            }
            Op::Pass(ms) => pass(&self.world, ms),
            Op::Turn => drop(self.world.store.step(self.world.clock.now())),
            Op::Crash(seed) => self.crash(seed),
        }
    }

    fn take(&mut self) -> Option<()> {
        let entry = take(&self.world, &q(&self.world))?;
        let (id, now_ms) = (id(&entry), self.world.clock.now_ms());
        let due_ms = *self.due_ms.get(&id).unwrap_or_else(|| panic!("{id} was gone"));
        assert!(due_ms <= now_ms, "{id} comes {} ms too early", due_ms - now_ms);
        assert!(self.held.iter().all(|held| self::id(held) != id), "{id} comes twice");
        self.held.push(entry);
        Some(())
    }

    fn crash(&mut self, seed: u64) {
        // What the log does not know of returns may come earlier.
        let unknown = self.world.store.durable_to() < self.world.store.submitted_to();
        let image = self.world.store.crash(seed).unwrap();
        let store = Store::open_on(image, narrow()).unwrap();
        self.world = World::of(&V4_3, (store, false), self.world.clock.clone(), None);
        for entry in self.held.drain(..) {
            self.due_ms.insert(id(&entry), i64::MIN);
        }
        if unknown {
            self.due_ms.values_mut().for_each(|due_ms| *due_ms = i64::MIN);
        }
        assert_eq!(lengths(&q(&self.world)).0 + lengths(&q(&self.world)).1, self.due_ms.len());
    }

    /// Everything comes in the end.
    fn end(&mut self) {
        let held: Vec<_> = self.held.drain(..).collect();
        for entry in held {
            self.due_ms.remove(&id(&entry));
            q(&self.world).settle(None, std::iter::once(&entry), true);
        }
        pass(&self.world, 1_000);
        while self.take().is_some() {}
        assert_eq!(self.held.len(), self.due_ms.len());
    }
}

fn id(entry: &Entry) -> u32 {
    u32::from_be_bytes(entry.message.body()[..4].try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn a_message_is_in_one_place_and_comes_in_its_time_whenever_the_power_fails(
        ops in vec(op(), 1..80), seed in any::<u64>()
    ) {
        let world = world();
        delaying(&world, &[("x-delivery-limit", 1_000)]);
        let mut history = History { world, next: 0, due_ms: BTreeMap::new(), held: Vec::new() };
        ops.into_iter().for_each(|op| history.apply(op));
        history.apply(Op::Crash(seed));
        history.end();
    }
}
