//! Who is held up by consumers that do not keep up, and who is not; and bodies that come in pieces.

use std::time::Duration;

use super::{
    bytes::{consume, declare, get, prefetch, publish},
    peer::{Peer, World},
};
use crate::{
    broker::{
        queue::{ConnectionId, QueueOptions, flow::PATIENCE},
        registry::ConnectionInfo,
    },
    data::value::{Table, Value},
    net::pump::Connection as _,
};

/// More than an outlet takes, and more than a queue may be ahead.
const MANY: usize = 80;

fn flood(queue: &str) -> Vec<u8> {
    publish(queue, 1, &[b'x'; 400]).repeat(MANY)
}

fn consumer(world: &World, input: &[Vec<u8>]) -> Peer {
    let mut peer = world.peer(0);
    peer.send(&input.concat());
    peer.said();
    peer
}

fn ready(world: &World, queue: &str) -> usize {
    world.vhost().find_queue(queue).unwrap().counts().0
}

#[test]
fn a_publisher_waits_for_a_consumer_that_is_slower_and_goes_on_when_it_has_caught_up() {
    let world = World::new();
    let mut slow = consumer(&world, &[declare("q", 0), consume("q", "c", true)]);
    let mut publisher = world.peer(0);
    publisher.send(&flood("q"));
    assert!(!publisher.connection.reading(), "its queue is ahead");
    let state = |world: &World| -> Vec<_> {
        world.broker.connections.all().iter().map(|info| info.state(1_000_000, false)).collect()
    };
    assert_eq!(state(&world), ["running", "flow"]);
    let woken = publisher.woken();
    while ready(&world, "q") > 0 {
        slow.poll();
        slow.said();
    }
    assert!(publisher.woken() > woken);
    publisher.poll();
    assert!(publisher.connection.reading());
    assert!(world.broker.connections.all().iter().all(|info: &std::sync::Arc<ConnectionInfo>| {
        info.state(1_005_001, false) == "running" && info.state(1_005_001, true) == "blocking"
    }));
}

#[test]
fn nobody_waits_longer_than_a_moment_for_a_consumer_that_takes_nothing() {
    let world = World::new();
    let mut stuck = consumer(&world, &[declare("q", 0), consume("q", "c", true)]);
    let mut publisher = world.peer(0);
    publisher.send(&flood("q"));
    publisher.pass(PATIENCE - Duration::from_millis(1));
    assert!(!publisher.connection.reading());
    publisher.pass(Duration::from_millis(1));
    assert!(publisher.connection.reading());
    publisher.send(&flood("q"));
    assert!(publisher.connection.reading(), "it is known to be stuck");
    // It lives after all.
    stuck.poll();
    publisher.send(&flood("q"));
    assert!(!publisher.connection.reading());
    // And goes on living, slowly: then one waits on.
    stuck.said();
    stuck.poll();
    publisher.pass(PATIENCE);
    assert!(!publisher.connection.reading());
    stuck.end();
    publisher.poll();
    assert!(publisher.connection.reading(), "a consumer that is gone holds nobody up");
}

#[test]
fn a_backlog_that_nobody_wants_at_once_is_taken_as_fast_as_it_comes() {
    let world = World::new();
    // Nobody consumes; somebody has all that it wants; somebody consumes what it publishes.
    let _bounded = consumer(&world, &[declare("p", 0), prefetch(3), consume("p", "c", false)]);
    let mut own = consumer(&world, &[declare("o", 0), declare("q", 0), consume("o", "c", true)]);
    let mut publisher = world.peer(0);
    for queue in ["p", "q"] {
        publisher.send(&flood(queue));
        assert!(publisher.connection.reading(), "{queue}");
    }
    own.send(&flood("o"));
    own.said();
    assert!(own.connection.reading());
}

#[test]
fn one_slow_queue_of_several_holds_nobody_up() {
    let world = World::new();
    let mut slow = consumer(&world, &[declare("a", 0), declare("b", 0), consume("a", "c", true)]);
    let mut publisher = world.peer(0);
    let both = [publish("a", 1, &[b'x'; 400]), publish("b", 1, b"x")].concat();
    publisher.send(&both.repeat(MANY));
    assert!(publisher.connection.reading());
    slow.poll();
}

#[test]
fn dead_letters_pass_it_on() {
    let world = World::new();
    let arguments = [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "out")]
        .map(|(name, text)| (name.to_owned(), Value::LongStr(text.to_owned().into())));
    let limit = [("x-max-length".to_owned(), Value::I64(0))];
    let arguments = Table(arguments.into_iter().chain(limit).collect());
    let options = QueueOptions { durable: false, auto_delete: false, exclusive: None, arguments };
    world.vhost().declare_queue("in", ConnectionId(0), options).unwrap();
    let mut slow = consumer(&world, &[declare("out", 0), consume("out", "c", true)]);
    let mut publisher = world.peer(0);
    publisher.send(&flood("in"));
    assert!(!publisher.connection.reading());
    while ready(&world, "out") > 0 {
        slow.poll();
        slow.said();
    }
    publisher.poll();
    assert!(publisher.connection.reading());
}

#[test]
fn a_body_that_comes_in_pieces_is_the_same_body() {
    let body: Vec<u8> = (0..3_000u32).map(|n| n.to_be_bytes()[3]).collect();
    let input = publish("q", 1, &body);
    for cut in 1..=input.len() {
        let world = World::new();
        let mut peer = world.peer(0);
        peer.send(&declare("q", 0));
        input.chunks(cut).for_each(|part| peer.send(part));
        peer.send(&get("q", 1));
        let bytes: Vec<u8> = peer.connection.output().chunks().flatten().copied().collect();
        assert!(bytes.windows(body.len()).any(|window| window == body), "cut every {cut} octets");
    }
}

#[test]
fn a_body_frame_that_comes_in_pieces_and_ends_wrongly_closes_the_connection() {
    let mut input = publish("q", 1, &[b'x'; 3_000]);
    *input.last_mut().unwrap() = b'!';
    for cut in [100, 1_000, input.len() - 1, input.len()] {
        let world = World::new();
        let mut peer = world.peer(0);
        peer.send(&declare("q", 0));
        input.chunks(cut).for_each(|part| peer.send(part));
        let output: Vec<u8> = peer.connection.output().chunks().flatten().copied().collect();
        let text = String::from_utf8_lossy(&output).into_owned();
        assert!(text.contains("bad_end_of_frame") || text.contains("FRAME_ERROR"), "{cut}: {text:?}");
        assert_eq!(peer.said(), ["50.11", "10.50"], "{cut}");
    }
}
