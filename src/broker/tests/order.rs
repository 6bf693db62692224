//! Priorities, returns and who is served, with the store behind them.

use super::*;
use crate::broker::{
    queue::returns::Count,
    txn::channel::{Fate, Settled},
};

fn declare(world: &World, name: &str, arguments: Vec<(&str, Value)>) -> Arc<Queue> {
    let arguments = Table(arguments.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let queue = world.vhost.declare_queue(name, ME, durable(arguments)).unwrap().queue;
    world.commit();
    queue
}

fn quorum(world: &World, more: Vec<(&str, Value)>) -> Arc<Queue> {
    let kind = vec![("x-queue-type", Value::LongStr("quorum".into()))];
    declare(world, "q", [kind, more].concat())
}

fn publish(world: &World, messages: &[(u8, &str)], persistent: bool) {
    let mut publisher = world.publisher();
    for &(priority, body) in messages {
        let traits = Traits { persistent, priority: Some(priority), expiration_ms: None };
        world.put(&mut publisher, "q", traits, body.as_bytes());
    }
    world.flush(&mut publisher);
}

fn texts(bodies: Vec<Vec<u8>>) -> Vec<String> {
    bodies.into_iter().map(|body| String::from_utf8(body).unwrap()).collect()
}

#[test]
fn the_highest_priority_leaves_first_and_is_dropped_first() {
    let world = World::new();
    let queue = world.queue("q", &[("x-max-priority", 5), ("x-max-length", 3)]);
    publish(&world, &[(1, "low"), (3, "mid"), (0, "none"), (9, "above")], true);
    assert_eq!(texts(drain(&world, &queue)), ["mid", "low", "none"]);
    publish(&world, &[(1, "a"), (9, "b"), (1, "c"), (5, "d")], false);
    assert_eq!(texts(drain(&world, &queue)), ["d", "a", "c"]);
}

#[test]
fn priorities_outlive_the_process_on_disk_and_in_memory() {
    let world = World::new();
    world.queue("q", &[("x-max-priority", 3)]);
    let body = "x".repeat(200);
    let mut expected = Vec::new();
    for round in 0..20 {
        let bodies: Vec<_> = (0..6).map(|n| (n % 4, format!("{}-{round:02}-{n}-{body}", n % 4))).collect();
        let messages: Vec<_> = bodies.iter().map(|(priority, body)| (*priority, body.as_str())).collect();
        publish(&world, &messages, true);
        expected.extend(bodies.into_iter().map(|(_, body)| body));
    }
    // Highest first; among equals as they came.
    expected.sort_by_key(|body| std::cmp::Reverse(body.as_bytes()[0]));
    let world = world.again();
    let queue = world.vhost.find_queue("q").unwrap();
    assert_eq!(queue.counts().0, 120);
    assert_eq!(texts(drain(&world, &queue)), expected);
}

#[test]
fn a_message_that_comes_back_is_where_it_was_in_its_priority() {
    let world = World::new();
    let queue = world.queue("q", &[("x-max-priority", 3)]);
    publish(&world, &[(1, "a"), (1, "b"), (2, "c")], false);
    let (c, a) = (take(&world, &queue), take(&world, &queue));
    publish(&world, &[(1, "d")], false);
    queue.requeue(None, [a, c].into_iter(), Return::GivenBack);
    assert_eq!(texts(drain(&world, &queue)), ["c", "a", "b", "d"]);
}

#[test]
fn a_quorum_queue_shows_a_message_once_it_is_in_the_log_whatever_its_delivery_mode() {
    let world = World::new();
    let queue = quorum(&world, vec![]);
    publish(&world, &[(0, "transient")], false);
    assert_eq!(queue.counts().0, 0);
    world.commit();
    assert_eq!(queue.counts().0, 1);
    let world = world.again();
    let queue = world.vhost.find_queue("q").unwrap();
    assert_eq!(texts(drain(&world, &queue)), ["transient"]);
}

#[test]
fn a_quorum_queue_returns_come_before_the_others_in_the_order_they_came_back() {
    let world = World::new();
    let queue = quorum(&world, vec![]);
    publish(&world, &[(0, "a"), (0, "b"), (0, "c")], true);
    world.commit();
    let (a, b) = (take(&world, &queue), take(&world, &queue));
    queue.requeue(None, [b].into_iter(), Return::GivenBack);
    queue.requeue(None, [a].into_iter(), Return::GivenBack);
    assert_eq!(texts(drain(&world, &queue)), ["b", "a", "c"]);
}

#[test]
fn returns_are_counted_over_a_restart_and_limited() {
    let world = World::new();
    let queue = quorum(&world, vec![("x-delivery-limit", Value::I32(2))]);
    publish(&world, &[(0, "a"), (0, "b")], true);
    world.commit();
    for count in 0..2 {
        let entry = take(&world, &queue);
        assert_eq!((entry.returns.acquired, entry.redelivered), (count, count > 0));
        queue.requeue(None, [entry].into_iter(), Return::Lost);
    }
    world.commit();
    let world = world.again();
    let queue = world.vhost.find_queue("q").unwrap();
    let entry = take(&world, &queue);
    assert_eq!(entry.returns, Count { acquired: 2, failed: 2 });
    // Once too often.
    queue.requeue(None, [entry].into_iter(), Return::Lost);
    assert_eq!(texts(drain(&world, &queue)), ["b"]);
    world.commit();
    let world = world.again();
    let queue = world.vhost.find_queue("q").unwrap();
    assert_eq!(queue.counts().0, 0);
}

#[test]
fn what_came_back_too_often_dies_in_its_order_though_some_of_it_must_be_read_first() {
    let world = World::on(Store::manual(Options::small_disk()), Clock::manual(1_700_000_000_000), false);
    let dead = world.queue("dead", &[]);
    let more = vec![
        ("x-delivery-limit", Value::I64(0)),
        ("x-dead-letter-exchange", Value::LongStr("".into())),
        ("x-dead-letter-routing-key", Value::LongStr("dead".into())),
    ];
    let queue = quorum(&world, more);
    publish(&world, &[(0, "a"), (0, "b"), (0, "c")], true);
    world.commit();
    let mut entries: Vec<_> = (0..3).map(|_| take(&world, &queue)).collect();
    assert_eq!(queue.forget_body(&mut entries[1]), crate::broker::queue::paging::Forgotten::Yes);
    queue.requeue(None, entries.into_iter(), Return::Lost);
    world.commit();
    assert_eq!(texts(drain(&world, &dead)), ["a", "b", "c"]);
}

#[test]
fn a_deleted_quorum_queue_leaves_no_counts_behind() {
    let world = World::new();
    let queue = quorum(&world, vec![]);
    publish(&world, &[(0, "a")], true);
    world.commit();
    let entry = take(&world, &queue);
    queue.requeue(None, [entry].into_iter(), Return::Lost);
    world.commit();
    let counts = || world.store.scan(crate::store::Space::State, b"c").unwrap().len();
    assert_eq!(counts(), 1);
    world.vhost.delete_queue(&queue, false, false).unwrap();
    world.commit();
    assert_eq!(counts(), 0);
}

#[test]
fn consumers_of_a_higher_priority_are_served_before_the_others_while_they_can_take_more() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    let [low, high] = [(0, 0), (7, 2)].map(|(priority, prefetch_count)| {
        let outlet = Arc::<Outlet>::default();
        queue.consume(ConsumerSpec { priority, prefetch_count, ..consumer(&outlet, false) }).unwrap();
        outlet
    });
    publish(&world, &[(0, "1"), (0, "2"), (0, "3"), (0, "4"), (0, "5")], false);
    assert_eq!((deliveries(&low), deliveries(&high)), (3, 2));
}

#[test]
fn a_queue_of_another_type_is_told_apart() {
    let world = World::new();
    quorum(&world, vec![]);
    let options = durable(arguments(&[], &[("x-queue-type", "classic")]));
    let refused = world.vhost.declare_queue("q", ME, options).unwrap_err();
    let crate::broker::refusal::Refusal::Inequivalent { arg, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(arg, "x-queue-type");
}

#[test]
fn what_a_quorum_queue_gets_in_one_batch_comes_into_it_one_by_one() {
    // Of the three that are too many the first is the high one, which is ahead then; two normal ones follow, in turn.
    let world = World::new();
    let queue = quorum(&world, vec![("x-max-length", Value::I64(2))]);
    publish(&world, &[(0, "a"), (9, "b"), (0, "c"), (0, "d"), (0, "e")], true);
    world.commit();
    assert_eq!(texts(drain(&world, &queue)), ["d", "e"]);

    // Three are dropped as they come: the high one when it has come, and the normal one whose turn it is then.
    let world = World::new();
    let queue = quorum(&world, vec![("x-max-length", Value::I64(2))]);
    publish(&world, &[(0, "a"), (0, "b"), (0, "c"), (0, "d"), (9, "e")], true);
    world.commit();
    assert_eq!(texts(drain(&world, &queue)), ["e", "d"]);
}

#[test]
fn high_messages_of_a_quorum_queue_are_not_overtaken_by_younger_normal_ones() {
    let world = World::new();
    let queue = quorum(&world, Vec::new());
    publish(&world, &[(9, "h1"), (9, "h2"), (9, "h3"), (9, "h4"), (0, "n1"), (0, "n2")], true);
    world.commit();
    assert_eq!(texts(drain(&world, &queue)), ["h1", "h2", "h3", "h4", "n1", "n2"]);
    for (n, body) in ["h1", "h2", "h3", "h4", "n1"].into_iter().enumerate() {
        publish(&world, &[(if n < 4 { 9 } else { 0 }, body)], true);
    }
    world.commit();
    let world = world.again();
    let queue = world.vhost.find_queue("q").unwrap();
    assert_eq!(texts(drain(&world, &queue)), ["h1", "h2", "h3", "h4", "n1"]);
}

#[test]
fn without_a_delivery_limit_what_a_consumer_gives_back_goes_behind_the_others() {
    for (how, expected) in [
        (Return::GivenBack, ["c", "b", "a"]),
        (Return::Rejected, ["c", "b", "a"]),
        (Return::Lost, ["b", "a", "c"]),
        (Return::Undone, ["b", "a", "c"]),
    ] {
        let world = World::new();
        let queue = quorum(&world, vec![("x-delivery-limit", Value::I32(-1))]);
        publish(&world, &[(0, "a"), (0, "b"), (0, "c")], true);
        world.commit();
        let (a, b) = (take(&world, &queue), take(&world, &queue));
        queue.requeue(None, [b].into_iter(), how);
        queue.requeue(None, [a].into_iter(), how);
        world.commit();
        assert_eq!(queue.figures().unacked, 0);
        assert_eq!(texts(drain(&world, &queue)), expected, "{how:?}");
        world.commit();
        assert_eq!(world.store.scan(Space::Index, b"q").unwrap().len(), 0);
    }
}

/// In RabbitMQ it is one command that puts the message behind the others and gives its consumer room.
#[test]
fn what_goes_behind_the_others_is_its_consumers_until_it_is_there() {
    let world = World::new();
    let queue = quorum(&world, vec![("x-delivery-limit", Value::I32(-1))]);
    let outlet = Arc::<Outlet>::default();
    let spec = ConsumerSpec { prefetch_count: 1, ..consumer(&outlet, false) };
    let consumer = queue.consume(spec).unwrap();
    publish(&world, &[(9, "high"), (0, "normal")], true);
    world.commit();
    let high = delivered(&outlet);
    queue.requeue(Some(consumer), high.into_iter(), Return::GivenBack);
    assert_eq!((delivered(&outlet).len(), queue.figures().unacked), (0, 1));
    world.commit();
    let again = delivered(&outlet);
    assert_eq!(again.iter().map(|entry| entry.message.body()).collect::<Vec<_>>(), [b"high"]);
}

/// A commit's own Change comes into the log behind what it gives back, which has come to the queue behind its publishes.
#[test]
fn batches_that_wait_for_each_other_come_one_after_the_other() {
    let world = World::new();
    let more = vec![("x-delivery-limit", Value::I32(-1)), ("x-max-length", Value::I64(1))];
    let queue = quorum(&world, more);
    let outlet = Arc::<Outlet>::default();
    let spec = ConsumerSpec { prefetch_count: 3, ..consumer(&outlet, false) };
    let consumer = queue.consume(spec).unwrap();
    publish(&world, &[(9, "back")], true);
    world.commit();
    let entries = delivered(&outlet);
    let mut publisher = world.publisher();
    publisher.hold_back();
    for body in [b"1", b"2", b"3", b"4"] {
        world.put(&mut publisher, "q", PERSISTENT, body);
    }
    let fate = Fate::Requeued(Return::GivenBack);
    let settled = Settled { queue: queue.clone(), consumer: Some(consumer), entries, fate };
    publisher.commit(world.clock.now_ms(), vec![settled]);
    world.commit();
    // Two have room; of the others the first is one too many, before anything comes back.
    let seen: Vec<_> = delivered(&outlet).iter().map(|entry| entry.message.body().to_vec()).collect();
    assert_eq!(texts(seen), ["1", "2", "back"]);
    assert_eq!(texts(drain(&world, &queue)), ["4"]);
}

#[test]
fn what_went_behind_the_others_is_there_and_counted_after_a_restart() {
    let world = World::new();
    let queue = quorum(&world, vec![("x-delivery-limit", Value::I32(-1))]);
    publish(&world, &[(0, "a"), (0, "b")], true);
    world.commit();
    for expected in ["a", "b", "a"] {
        let mut entry = take(&world, &queue);
        assert_eq!(entry.message.body(), expected.as_bytes());
        // As a channel does that holds too many bodies.
        let _ = queue.forget_body(&mut entry);
        queue.requeue(None, [entry].into_iter(), Return::Rejected);
        world.commit();
    }
    let b = take(&world, &queue);
    queue.requeue(None, [b].into_iter(), Return::Lost);
    let world = world.again();
    let queue = world.vhost.find_queue("q").unwrap();
    let (b, a) = (take(&world, &queue), take(&world, &queue));
    assert_eq!((b.message.body(), b.redelivered), (b"b".as_slice(), true));
    assert_eq!((a.message.body(), a.redelivered), (b"a".as_slice(), true));
    assert_eq!((a.returns.acquired, b.returns.acquired), (2, 2));
}

#[test]
fn what_goes_behind_the_others_is_in_the_log_once_whenever_the_power_fails() {
    for (turns, seed) in (0..6).flat_map(|turns| (0..4).map(move |seed| (turns, seed))) {
        let options = || Options { turn_bytes_max: 1 << 10, ..Options::small_disk() };
        let world = World::on(Store::manual(options()), Clock::manual(1_700_000_000_000), false);
        let queue = quorum(&world, vec![("x-delivery-limit", Value::I32(-1))]);
        publish(&world, &[(0, "a"), (0, "b")], true);
        world.commit();
        let a = take(&world, &queue);
        queue.requeue(None, [a].into_iter(), Return::GivenBack);
        for _ in 0..turns {
            world.store.step(world.clock.now());
        }
        let image = world.store.crash(seed).unwrap();
        let world = World::on(Store::open_on(image, options()).unwrap(), world.clock.clone(), false);
        let queue = world.vhost.find_queue("q").unwrap();
        let mut found = texts(drain(&world, &queue));
        found.sort();
        assert_eq!(found, ["a", "b"]);
    }
}
