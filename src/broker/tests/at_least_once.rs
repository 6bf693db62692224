//! `x-dead-letter-strategy` = `at-least-once`: what a target does not take stays with its queue until all have it.

use std::time::Duration;

use super::*;
use crate::broker::queue::kept::RETRY_MS;

const QUORUM: [(&str, &str); 4] = [
    ("x-queue-type", "quorum"),
    ("x-dead-letter-exchange", "amq.fanout"),
    ("x-dead-letter-strategy", "at-least-once"),
    ("x-overflow", "reject-publish"),
];

fn source(world: &World) -> Arc<Queue> {
    world.queue_with("source", &[], &QUORUM)
}

/// A queue that takes one message, bound to the dead-letter exchange.
fn narrow(world: &World, name: &str) -> Arc<Queue> {
    let queue = world.queue_with(name, &[("x-max-length", 1)], &[("x-overflow", "reject-publish")]);
    bind(world, &queue);
    queue
}

fn bind(world: &World, queue: &Arc<Queue>) {
    world.vhost.bind("amq.fanout", binding(queue)).unwrap();
    world.commit();
}

fn binding(queue: &Arc<Queue>) -> Binding {
    Binding { target: Target::Queue(queue.clone()), routing_key: "".into(), arguments: Table::default() }
}

fn put(world: &World, bodies: &[&str]) {
    let mut publisher = world.publisher();
    for body in bodies {
        world.put(&mut publisher, "source", PERSISTENT, body.as_bytes());
    }
    world.flush(&mut publisher);
    world.commit();
}

/// Publishes to the source and rejects everything.
fn kill(world: &World, queue: &Arc<Queue>, bodies: &[&str]) {
    put(world, bodies);
    let entries: Vec<_> = bodies.iter().map(|_| take(world, queue)).collect();
    queue.reject(None, entries.into_iter());
    world.commit();
}

fn pass(world: &World, ms: i64) {
    world.clock.advance(Duration::from_millis(ms.unsigned_abs()));
    world.broker.on_deadlines(world.clock.now_ms());
    world.commit();
}

fn texts(world: &World, queue: &Arc<Queue>) -> Vec<String> {
    drain(world, queue).into_iter().map(|body| String::from_utf8(body).unwrap()).collect()
}

#[test]
fn what_a_full_target_refuses_is_kept_and_moves_once_there_is_room() {
    let world = World::new();
    let (queue, dead) = (source(&world), narrow(&world, "dead"));
    kill(&world, &queue, &["a", "b", "c"]);
    assert_eq!((queue.figures().dead, queue.figures().dead_bytes, dead.figures().ready), (2, 2, 1));
    for expected in ["a", "b", "c"] {
        assert_eq!(texts(&world, &dead), [expected]);
        pass(&world, RETRY_MS);
    }
    assert_eq!((queue.figures().dead, dead.figures().ready), (0, 0));
    assert_eq!(world.store.scan(Space::Index, b"q").unwrap().len(), 0);
    assert_eq!(world.store.scan(Space::State, b"c").unwrap().len(), 0, "nor does a note stay");
}

#[test]
fn what_has_no_route_is_kept_until_it_has_one() {
    let world = World::new();
    let queue = source(&world);
    kill(&world, &queue, &["a"]);
    pass(&world, RETRY_MS);
    assert_eq!(queue.figures().dead, 1);
    let dead = world.queue("dead", &[]);
    bind(&world, &dead);
    pass(&world, RETRY_MS);
    assert_eq!((texts(&world, &dead), queue.figures().dead), (vec!["a".to_owned()], 0));
}

#[test]
fn who_has_taken_one_does_not_get_it_again_when_another_target_refuses() {
    let world = World::new();
    let (queue, wide, dead) = (source(&world), world.queue("wide", &[]), narrow(&world, "dead"));
    bind(&world, &wide);
    kill(&world, &queue, &["a", "b"]);
    assert_eq!(texts(&world, &dead), ["a"]);
    pass(&world, RETRY_MS);
    assert_eq!(
        (texts(&world, &dead), texts(&world, &wide)),
        (vec!["b".to_owned()], vec!["a".to_owned(), "b".to_owned()])
    );
    // One that is refused and loses its target has been taken by the others.
    kill(&world, &queue, &["c", "d"]);
    world.vhost.delete_queue(&dead, false, false).unwrap();
    pass(&world, RETRY_MS);
    assert_eq!((texts(&world, &wide), queue.figures().dead), (vec!["c".to_owned(), "d".to_owned()], 0));
}

#[test]
fn many_that_are_stuck_go_on_at_once_when_the_first_of_them_get_through() {
    let world = World::new();
    let queue = source(&world);
    let bodies: Vec<_> = (0..200).map(|n| format!("{n:03}{}", "x".repeat(100))).collect();
    kill(&world, &queue, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(queue.figures().held_bytes < 4 * WINDOW_BYTES);
    assert!(world.broker.core.memory.held_bytes() < 200 * 200, "their bodies are in the log");
    let dead = world.queue("dead", &[]);
    bind(&world, &dead);
    pass(&world, RETRY_MS);
    assert_eq!((texts(&world, &dead), queue.figures().dead), (bodies, 0));
}

#[test]
fn kept_letters_count_against_the_length_of_their_queue() {
    let world = World::new();
    let queue = world.queue_with("source", &[("x-max-length", 1)], &QUORUM);
    kill(&world, &queue, &["a", "b"]);
    put(&world, &["c"]);
    assert_eq!((queue.figures().dead, queue.figures().ready), (2, 0));
}

#[test]
fn without_the_strategy_they_are_lost_and_so_are_those_that_were_kept() {
    let world = World::new();
    let drops_head = [&QUORUM[..3], &[("x-overflow", "drop-head")]].concat();
    let queue = world.queue_with("source", &[], &drops_head);
    kill(&world, &queue, &["a"]);
    assert_eq!(queue.figures().dead, 0);
    queue.follow(queue.reconfigure(&arguments(&[], &QUORUM)));
    kill(&world, &queue, &["b"]);
    assert_eq!(queue.figures().dead, 1);
    queue.follow(queue.reconfigure(&arguments(&[], &drops_head)));
    world.commit();
    assert_eq!(queue.figures().dead, 0);
    assert_eq!(world.store.scan(Space::Index, b"q").unwrap().len(), 0);
}

#[test]
fn another_exchange_is_tried_at_once_and_a_purge_leaves_dead_letters_alone() {
    let world = World::new();
    let queue = source(&world);
    kill(&world, &queue, &["a"]);
    put(&world, &["b"]);
    assert_eq!(queue.purge(), 1);
    let other = world.queue("other", &[]);
    let direct = [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "other")];
    queue.follow(queue.reconfigure(&arguments(&[], &[&QUORUM[..1], &direct, &QUORUM[2..]].concat())));
    world.commit();
    assert_eq!((texts(&world, &other), queue.figures().dead), (vec!["a".to_owned()], 0));
}

#[test]
fn after_a_crash_what_is_kept_goes_to_its_target_and_not_to_a_consumer() {
    let world = World::on(Store::manual(Options::small_disk()), Clock::manual(1_700_000_000_000), false);
    let (queue, _) = (source(&world), narrow(&world, "dead"));
    kill(&world, &queue, &["a", "b"]);
    put(&world, &["c", "d"]);
    let image = world.store.crash(1).unwrap();
    let world = World::on(Store::open_on(image, Options::small_disk()).unwrap(), world.clock.clone(), false);
    let find = |name| world.vhost.find_queue(name).unwrap();
    let (queue, dead) = (find("source"), find("dead"));
    assert_eq!((queue.figures().dead, queue.figures().ready), (1, 2));
    assert_eq!(take(&world, &queue).message.body(), b"c");
    assert_eq!(queue.purge(), 1);
    world.commit();
    assert_eq!(texts(&world, &dead), ["a"]);
    pass(&world, RETRY_MS);
    let letter = take(&world, &dead);
    assert_eq!((letter.message.body(), queue.figures().dead), (b"b".as_slice(), 0));
    let headers = crate::data::field::Properties::decode(letter.message.properties()).unwrap();
    let headers = headers.header_table().unwrap();
    assert_eq!(headers.field("x-first-death-reason").unwrap().octets().unwrap(), b"rejected");
}

#[test]
fn after_a_crash_what_is_kept_is_found_among_many_others() {
    let world = World::on(Store::manual(Options::small_disk()), Clock::manual(1_700_000_000_000), false);
    let queue = source(&world);
    kill(&world, &queue, &["dead"]);
    // Each in a run of its own.
    for n in 0..300 {
        put(&world, &[&n.to_string()]);
    }
    let image = world.store.crash(1).unwrap();
    let store = Store::open_on(image, Options::small_disk()).unwrap();
    let world = World::on(store, world.clock.clone(), false);
    let dead = world.queue("dead", &[]);
    bind(&world, &dead);
    pass(&world, RETRY_MS);
    let queue = world.vhost.find_queue("source").unwrap();
    assert_eq!((texts(&world, &dead), queue.figures().dead), (vec!["dead".to_owned()], 0));
}

#[test]
fn after_a_crash_a_level_with_nothing_but_dead_letters_keeps_nobody_waiting() {
    let world = World::on(Store::manual(Options::small_disk()), Clock::manual(1_700_000_000_000), false);
    source(&world);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "source", Traits { priority: Some(9), ..PERSISTENT }, b"high");
    world.flush(&mut publisher);
    world.commit();
    let queue = world.vhost.find_queue("source").unwrap();
    let high = take(&world, &queue);
    queue.reject(None, [high].into_iter());
    world.commit();
    let image = world.store.crash(1).unwrap();
    let store = Store::open_on(image, Options::small_disk()).unwrap();
    let world = World::on(store, world.clock.clone(), false);
    put(&world, &["normal"]);
    let queue = world.vhost.find_queue("source").unwrap();
    assert_eq!((queue.figures().dead, take(&world, &queue).message.body()), (1, b"normal".as_slice()));
}

#[test]
fn a_message_is_not_taken_for_a_dead_letter_that_had_its_place_before_a_crash() {
    // Every Change is a turn of its own.
    let options = Options { turn_bytes_max: 1, ..Options::small_disk() };
    let mut world = World::on(Store::manual(options.clone()), Clock::manual(1_700_000_000_000), false);
    let crash = |world: &World| {
        let store = Store::open_on(world.store.crash(1).unwrap(), options.clone()).unwrap();
        World::on(store, world.clock.clone(), false)
    };
    let queue = source(&world);
    let mut publisher = world.publisher();
    // Nobody gets it, so that no reservation covers its place.
    let expires = Traits { expiration_ms: Some(0), ..PERSISTENT };
    world.put(&mut publisher, "source", expires, b"a");
    world.flush(&mut publisher);
    world.commit();
    assert_eq!(queue.figures().dead, 1);
    let other = world.queue("other", &[]);
    bind(&world, &other);
    world.clock.advance(Duration::from_millis(RETRY_MS.unsigned_abs()));
    world.broker.on_deadlines(world.clock.now_ms());
    // The power fails when it has moved, and the note that it is dead is still there.
    let entries = |world: &World, queue: &Queue| {
        world.store.scan(Space::Index, &[b"q", &queue.id.0.to_be_bytes()[..]].concat()).unwrap().len()
    };
    while entries(&world, &queue) > 0 {
        assert!(world.store.step(world.clock.now()), "it has not moved");
    }
    drop(publisher);
    world = crash(&world);
    put(&world, &["b"]);
    world = crash(&world);
    let figures = world.vhost.find_queue("source").unwrap().figures();
    assert_eq!((figures.dead, figures.ready), (0, 1));
}

#[test]
fn a_deleted_queue_takes_its_dead_letters_along() {
    let world = World::new();
    let queue = source(&world);
    kill(&world, &queue, &["a"]);
    world.vhost.delete_queue(&queue, false, false).unwrap();
    world.commit();
    pass(&world, RETRY_MS);
    assert_eq!(world.store.scan(Space::Index, b"q").unwrap().len(), 0);
    assert_eq!(world.store.scan(Space::State, b"c").unwrap().len(), 0);
    drop(queue);
    assert_eq!(world.broker.core.memory.held_bytes(), 0);
}
