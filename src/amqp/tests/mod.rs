//! The connection without a socket, on a clock and a store that stand still until they are told.

mod bytes;
mod flow;
mod peer;

use std::time::Duration;

use proptest::prelude::*;

use self::{
    bytes::{ack, any_frame, confirm, declare, get, method, open, publish, qos, tx},
    peer::World,
};
use crate::{amqp::wire::channel, broker::alarm::Resource, net::pump::Connection as _};

const DURABLE: u8 = 2;
const EXCLUSIVE: u8 = 4;

#[test]
fn a_handshake_that_takes_too_long_is_cut_off() {
    let world = World::new();
    let mut peer = world.stranger();
    peer.send(b"AMQP\0\0\x09\x01");
    assert_eq!(peer.said(), ["10.10"]);
    peer.pass(Duration::from_millis(9_999));
    assert!(!peer.connection.finished());
    peer.pass(Duration::from_millis(1));
    assert!(peer.connection.finished());
}

#[test]
fn two_missed_heartbeats_end_the_connection_and_give_everything_back() {
    let world = World::new();
    let mut peer = world.peer(10);
    peer.send(&declare("q", EXCLUSIVE));
    peer.said();
    peer.pass(Duration::from_secs(19));
    assert!(!peer.connection.finished());
    assert!(peer.said().iter().all(|line| line == "heartbeat"));
    peer.pass(Duration::from_secs(1));
    assert!(peer.connection.finished());
    assert!(world.vhost().find_queue("q").is_none() && world.broker.connections.is_empty());
}

#[test]
fn a_connection_that_is_not_read_misses_no_heartbeat() {
    let world = World::new();
    let mut peer = world.peer(10);
    peer.send(&declare("q", DURABLE));
    assert!(!peer.connection.reading(), "it waits for the log");
    peer.pass(Duration::from_secs(60));
    world.settle();
    peer.poll();
    peer.pass(Duration::from_secs(1));
    assert!(peer.connection.reading() && !peer.connection.finished());
}

#[test]
fn a_client_that_does_not_read_but_lives_is_kept() {
    let world = World::new();
    let mut peer = world.peer(10);
    peer.connection.output().push(bytes::filler(2 << 20));
    assert!(peer.connection.output().is_full() && peer.connection.wants_life());
    for _ in 0..5 {
        peer.pass(Duration::from_secs(15));
        peer.live();
    }
    assert!(!peer.connection.finished());
    peer.pass(Duration::from_secs(20));
    assert!(peer.connection.finished(), "but not when it is silent, too");
}

#[test]
fn nothing_behind_a_blocked_publish_is_looked_at() {
    let world = World::new();
    let mut peer = world.peer(0);
    peer.send(&[declare("q", 0), publish("q", 1, b"a")].concat());
    peer.said();
    world.broker.core.memory.set(Resource::Disk, true);
    peer.poll();
    peer.send(&[publish("q", 1, b"b"), get("q", 1)].concat());
    assert_eq!(peer.said(), ["10.60"]);
    world.broker.core.memory.set(Resource::Disk, false);
    peer.poll();
    assert_eq!(peer.said(), ["10.61", "60.71"]);
}

#[test]
fn an_alarm_blocks_who_publishes_and_nobody_else() {
    let world = World::new();
    let (mut publisher, mut consumer) = (world.peer(0), world.peer(0));
    publisher.send(&[declare("q", 0), publish("q", 1, b"a")].concat());
    publisher.said();
    world.broker.core.memory.set(Resource::Disk, true);
    publisher.poll();
    assert!(publisher.connection.reading(), "not before it publishes again");
    publisher.send(&publish("q", 1, b"b"));
    assert_eq!((publisher.said(), publisher.connection.reading()), (vec!["10.60".to_owned()], false));
    consumer.send(&get("q", 0));
    assert_eq!((consumer.said(), consumer.connection.reading()), (vec!["60.71".to_owned()], true));
    world.broker.core.memory.set(Resource::Disk, false);
    let woken = publisher.woken();
    publisher.poll();
    assert_eq!((publisher.said(), publisher.connection.reading()), (vec!["10.61".to_owned()], true));
    assert!(publisher.woken() > woken, "the socket must be read again");
}

#[test]
fn a_declaration_is_answered_once_it_is_durable_and_the_socket_read_again() {
    let world = World::new();
    let mut peer = world.peer(0);
    peer.send(&[declare("q", DURABLE), qos()].concat());
    assert_eq!(peer.said(), [""; 0]);
    world.settle();
    let woken = peer.woken();
    peer.poll();
    assert_eq!(
        (peer.said(), peer.connection.reading()),
        (vec!["50.11".to_owned(), "60.11".to_owned()], true)
    );
    assert!(peer.woken() > woken);
}

#[test]
fn an_unknown_method_leaves_nothing_behind() {
    let world = World::new();
    let mut peer = world.peer(0);
    peer.send(&[declare("q", EXCLUSIVE), bytes::raw_method(1, &[0, 99, 0, 99])].concat());
    assert!(peer.connection.finished());
    assert!(world.vhost().find_queue("q").is_none() && world.broker.connections.is_empty());
}

#[test]
fn confirms_of_a_closed_channel_never_reach_its_successor() {
    let world = World::new();
    let mut peer = world.peer(0);
    peer.send(&declare("q", DURABLE));
    world.settle();
    peer.poll();
    peer.send(&[confirm(), publish("q", 2, b"x")].concat());
    let close = channel::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };
    peer.send(&[method(1, &close), open(1), confirm()].concat());
    assert_eq!(peer.said(), ["50.11", "85.11", "20.41", "20.11", "85.11"]);
    world.settle();
    peer.poll();
    assert_eq!(peer.said(), [""; 0]);
    peer.send(&publish("q", 2, b"y"));
    world.settle();
    peer.poll();
    assert_eq!(peer.said(), ["60.80"]);
}

#[test]
fn a_connection_may_end_while_it_waits_for_the_log() {
    let world = World::new();
    let mut peer = world.peer(0);
    peer.send(&declare("q", DURABLE));
    peer.end();
    world.settle();
    assert!(world.vhost().find_queue("q").is_some() && world.broker.connections.is_empty());
}

#[test]
fn a_message_that_comes_for_a_get_that_is_gone_stays() {
    let world = World::new();
    let mut peer = world.peer(0);
    peer.send(&declare("q", DURABLE));
    world.settle();
    peer.poll();
    // The first persistent message waits until the log knows that it may have been delivered.
    peer.send(&[publish("q", 2, b"x"), get("q", 1)].concat());
    assert_eq!(peer.said(), ["50.11"]);
    peer.end();
    world.settle();
    assert_eq!(world.vhost().find_queue("q").map(|q| q.counts()), Some((1, 0)));
}

#[test]
fn a_transaction_is_in_the_log_whole_or_not_at_all() {
    for (committed, expected) in [(false, [1, 0]), (true, [0, 2])] {
        let world = World::new();
        let mut peer = world.peer(0);
        for input in
            [declare("from", DURABLE), declare("to", DURABLE), publish("from", 2, b"a"), get("from", 0)]
        {
            peer.send(&input);
            world.settle();
            peer.poll();
        }
        peer.send(&[tx(10), ack(1), publish("to", 2, b"b"), publish("to", 2, b"c"), tx(20)].concat());
        assert_eq!(peer.said(), ["50.11", "50.11", "60.71", "90.11"]);
        if committed {
            world.settle();
            peer.poll();
            assert_eq!(peer.said(), ["90.21"]);
        }
        let again = world.crash();
        let ready = |name| again.vhost().find_queue(name).map(|queue| queue.counts().0);
        assert_eq!(["from", "to"].map(ready), expected.map(Some));
    }
}

/// What a client may send: whole frames in any order, and pieces of them.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => any_frame(),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (any_frame(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut frame, at, octet)| {
            let at = at.index(frame.len());
            frame[at] = octet;
            frame
        }),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_that_comes_in_panics(input in input(), logged_in: bool, reads in 1usize..200) {
        let world = World::new();
        let mut peer = if logged_in { world.peer(0) } else { world.stranger() };
        if !logged_in {
            peer.send(b"AMQP\0\0\x09\x01");
        }
        for part in input.chunks(reads) {
            peer.send(part);
            prop_assert!(logged_in || peer.unread() <= 8_200, "{} octets of a stranger", peer.unread());
            world.settle();
            peer.poll();
            peer.said();
        }
        peer.end();
        world.settle();
        prop_assert!(world.broker.connections.is_empty());
        // Nothing is left with the connection: what was not acknowledged is ready, and nobody consumes.
        for queue in world.vhost().queues() {
            let figures = queue.figures();
            prop_assert_eq!((figures.unacked, figures.consumers), (0, 0));
        }
    }
}

#[test]
fn a_delivery_that_is_not_acknowledged_in_time_closes_its_channel() {
    let world = World::new();
    let mut peer = world.peer(0);
    peer.send(&[declare("q", EXCLUSIVE), publish("q", 1, b"x"), get("q", 0)].concat());
    peer.said();
    peer.pass(Duration::from_secs(30 * 60));
    assert!(peer.said().is_empty(), "it is not late yet");
    peer.pass(Duration::from_secs(60));
    assert_eq!(peer.said(), ["20.40"]);
    assert_eq!(world.vhost().find_queue("q").unwrap().counts().0, 1);
}

#[test]
fn a_delivery_that_is_acknowledged_leaves_its_channel_alone() {
    let world = World::new();
    let mut peer = world.peer(0);
    peer.send(&[declare("q", EXCLUSIVE), publish("q", 1, b"x"), get("q", 0)].concat());
    peer.pass(Duration::from_secs(20 * 60));
    peer.send(&[ack(1), publish("q", 1, b"y"), get("q", 0)].concat());
    peer.said();
    peer.pass(Duration::from_secs(20 * 60));
    assert!(peer.said().is_empty());
}
