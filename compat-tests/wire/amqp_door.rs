//! The AMQP door frame by frame: what goes in on a raw socket, and exactly what comes out.
//!
//! Row numbers are those of `fixtures/amqp/faults.tsv`. A row is a script: input frames, and the answers as short lines
//! (`amqp_door/frames.rs` makes both). Texts and orders as RabbitMQ 4.2 gives them.
#![cfg(test)]

#[path = "amqp_door/errors.rs"]
mod errors;
#[path = "amqp_door/frames.rs"]
mod frames;
#[path = "amqp_door/handshake.rs"]
mod handshake;
#[path = "amqp_door/peer.rs"]
mod peer;
#[path = "../support/mod.rs"]
mod support;

use frames::*;
use peer::Peer;
use support::broker::Broker;

/// What is sent, and what must come back, in this order.
type Step = (Vec<u8>, Vec<&'static str>);

/// Steps on a connection of their own with channel 1 open.
fn run(broker: &Broker, what: &str, steps: &[Step]) {
    let mut peer = Peer::open(broker.doors().amqp);
    for (input, expected) in steps {
        peer.check(what, input, expected);
    }
    peer.leave(what);
    let mut janitor = Peer::open(broker.doors().amqp);
    let left: Vec<u8> = ["x", "y"].into_iter().flat_map(|name| exchange_delete(name, 0)).collect();
    janitor.check("what a row leaves behind", &left, &["40.21", "40.21"]);
    janitor.leave("what a row leaves behind");
}

fn run_all(rows: Vec<(&str, Vec<Step>)>) {
    let broker = Broker::ephemeral(&["--set", "amqp.message_bytes_max=2000000"]);
    for (what, steps) in rows {
        run(&broker, what, &steps);
    }
}

/// One step.
fn one(input: Vec<u8>, expected: &[&'static str]) -> Vec<Step> {
    vec![(input, expected.to_vec())]
}

/// A queue `q` of the connection's own, and one more step.
fn with_q(input: Vec<u8>, expected: &[&'static str]) -> Vec<Step> {
    vec![(declare("q", EXCLUSIVE), vec!["declare-ok q 0 0"]), (input, expected.to_vec())]
}

/// An exchange `x`, and one more step.
fn with_x(flags: u8, input: Vec<u8>, expected: &[&'static str]) -> Vec<Step> {
    vec![(exchange_declare("x", "direct", flags), vec!["40.11"]), (input, expected.to_vec())]
}

const NO_Q: &str = "channel.close 404 50.10 NOT_FOUND - no queue 'none' in vhost '/'";

#[test]
fn orders_that_clients_rely_on() {
    let abc = || [publish("", "q", b"a"), publish("", "q", b"b"), publish("", "q", b"c")].concat();
    run_all(vec![
        (
            "methods may be pipelined",
            one(
                [
                    declare("q", EXCLUSIVE),
                    bind("q", "amq.direct", "k"),
                    publish("amq.direct", "k", b"x"),
                    get("q", 1),
                ]
                .concat(),
                &["declare-ok q 0 0", "50.21", "get-ok 1 0 x"],
            ),
        ),
        (
            "nowait answers nothing, and errors all the same",
            one(
                [declare("q", EXCLUSIVE | NOWAIT), purge("q"), declare("none", PASSIVE | NOWAIT)].concat(),
                &["purge-ok 0", NO_Q],
            ),
        ),
        (
            "what is requeued goes where it was, redelivered",
            with_q(
                [
                    abc(),
                    get("q", 0),
                    get("q", 0),
                    nack(2, REQUEUE),
                    reject(1, 1),
                    get("q", 0),
                    get("q", 0),
                    get("q", 0),
                ]
                .concat(),
                &[
                    "get-ok 1 2 a",
                    "get-ok 2 1 b",
                    "get-ok 3 redelivered 2 a",
                    "get-ok 4 redelivered 1 b",
                    "get-ok 5 0 c",
                ],
            ),
        ),
        (
            "multiple settles all below, and recover the rest",
            with_q(
                [
                    abc(),
                    get("q", 0),
                    get("q", 0),
                    get("q", 0),
                    ack(2, MULTIPLE),
                    recover(1),
                    get("q", 1),
                    get("q", 1),
                ]
                .concat(),
                &[
                    "get-ok 1 2 a",
                    "get-ok 2 1 b",
                    "get-ok 3 0 c",
                    "60.111",
                    "get-ok 4 redelivered 0 c",
                    "60.72",
                ],
            ),
        ),
        (
            "tag 0 and multiple settles everything",
            with_q(
                [abc(), get("q", 0), get("q", 0), nack(0, MULTIPLE), recover(1), get("q", 1)].concat(),
                &["get-ok 1 2 a", "get-ok 2 1 b", "60.111", "get-ok 3 0 c"],
            ),
        ),
        (
            "a prefetch count is for each consumer made after it",
            vec![
                ([declare("q", EXCLUSIVE), abc()].concat(), vec!["declare-ok q 0 0"]),
                (
                    [qos(0, 1, 0), consume("q", "c", 0)].concat(),
                    vec!["60.11", "consume-ok c", "deliver 1 c a"],
                ),
                (consume("q", "d", 0), vec!["consume-ok d", "deliver 2 d b"]),
                (ack(2, 0), vec!["deliver 3 d c"]),
            ],
        ),
        (
            "a global count is shared by the channel",
            vec![
                ([declare("q", EXCLUSIVE), abc()].concat(), vec!["declare-ok q 0 0"]),
                (
                    [qos(0, 2, 1), consume("q", "c", 0)].concat(),
                    vec!["60.11", "consume-ok c", "deliver 1 c a", "deliver 2 c b"],
                ),
                (consume("q", "d", 0), vec!["consume-ok d"]),
                // Who is next among two is the queue's business, so one goes.
                ([cancel("c"), ack(1, 0)].concat(), vec!["cancel-ok c", "deliver 3 d c"]),
            ],
        ),
        (
            "no_ack and get do not count",
            vec![
                ([declare("q", EXCLUSIVE), abc()].concat(), vec!["declare-ok q 0 0"]),
                ([qos(0, 1, 0), get("q", 0)].concat(), vec!["60.11", "get-ok 1 2 a"]),
                (consume("q", "c", NO_ACK), vec!["consume-ok c", "deliver 2 c b", "deliver 3 c c"]),
            ],
        ),
        (
            "a cancel leaves deliveries outstanding",
            vec![
                ([declare("q", EXCLUSIVE), abc()].concat(), vec!["declare-ok q 0 0"]),
                (
                    [qos(0, 1, 0), consume("q", "c", 0)].concat(),
                    vec!["60.11", "consume-ok c", "deliver 1 c a"],
                ),
                ([cancel("c"), cancel("c")].concat(), vec!["cancel-ok c", "cancel-ok c"]),
                ([nack(1, REQUEUE), get("q", 1)].concat(), vec!["get-ok 2 redelivered 2 a"]),
            ],
        ),
        (
            "a consumer hears that its queue is gone, after the answer",
            vec![
                (
                    [declare("q", EXCLUSIVE), consume("q", "c", 0)].concat(),
                    vec!["declare-ok q 0 0", "consume-ok c"],
                ),
                (delete("q", 0), vec!["delete-ok 0", "cancel c"]),
            ],
        ),
        (
            "a durable queue's, too",
            vec![
                (
                    [declare("d", DURABLE), consume("d", "c", 0)].concat(),
                    vec!["declare-ok d 0 0", "consume-ok c"],
                ),
                (delete("d", 0), vec!["delete-ok 0", "cancel c"]),
            ],
        ),
        (
            "what a closed channel held is redelivered",
            vec![
                (
                    [declare("q", EXCLUSIVE), publish("", "q", b"a"), get("q", 0)].concat(),
                    vec!["declare-ok q 0 0", "get-ok 1 0 a"],
                ),
                (
                    [close_channel(), open_channel(1), get("q", 1)].concat(),
                    vec!["20.41", "20.11", "get-ok 1 redelivered 0 a"],
                ),
            ],
        ),
        (
            "an auto-delete queue goes with its last consumer",
            vec![
                (
                    [declare("q", AUTO_DELETE), consume("q", "c", 0), consume("q", "d", 0)].concat(),
                    vec!["declare-ok q 0 0", "consume-ok c", "consume-ok d"],
                ),
                ([cancel("c"), declare("q", PASSIVE)].concat(), vec!["cancel-ok c", "declare-ok q 0 1"]),
                (
                    [cancel("d"), declare("q", PASSIVE)].concat(),
                    vec!["cancel-ok d", "channel.close 404 50.10 NOT_FOUND - no queue 'q' in vhost '/'"],
                ),
            ],
        ),
        (
            "frames are ignored until the channel's close is answered",
            vec![
                (declare("none", PASSIVE), vec![NO_Q]),
                ([publish("", "q", b"x"), get("q", 1), body(b"y"), declare("q", 0)].concat(), vec![]),
                (
                    [close_ok(), open_channel(1), declare("q", PASSIVE)].concat(),
                    vec!["20.11", "channel.close 404 50.10 NOT_FOUND - no queue 'q' in vhost '/'"],
                ),
            ],
        ),
        ("access.request", one(method_on(1, 30, 10, b"\0\0"), &["30.11"])),
    ]);
}

#[test]
fn transactions() {
    let returned = publish_with("", "none", MANDATORY, NO_PROPERTIES, b"r");
    run_all(vec![
        (
            "publishes come with the commit, returns too",
            vec![
                ([declare("q", EXCLUSIVE), tx(10)].concat(), vec!["declare-ok q 0 0", "90.11"]),
                ([publish("", "q", b"a"), returned, get("q", 1)].concat(), vec!["60.72"]),
                (tx(20), vec!["return 312 NO_ROUTE none r", "90.21"]),
                (get("q", 1), vec!["get-ok 1 0 a"]),
            ],
        ),
        (
            "a rollback forgets publishes and takes acks back",
            vec![
                (
                    [declare("q", EXCLUSIVE), publish("", "q", b"a"), tx(10)].concat(),
                    vec!["declare-ok q 0 0", "90.11"],
                ),
                (
                    [get("q", 0), publish("", "q", b"b"), ack(1, 0), tx(30)].concat(),
                    vec!["get-ok 1 0 a", "90.31"],
                ),
                ([get("q", 1), tx(20), ack(1, 0), tx(20)].concat(), vec!["60.72", "90.21", "90.21"]),
                ([recover(1), get("q", 1)].concat(), vec!["60.111", "60.72"]),
            ],
        ),
        (
            "what is acknowledged is unknown before the commit already",
            vec![
                (
                    [declare("q", EXCLUSIVE), publish("", "q", b"a"), tx(10)].concat(),
                    vec!["declare-ok q 0 0", "90.11"],
                ),
                (
                    [get("q", 0), ack(1, 0), ack(1, 0)].concat(),
                    vec![
                        "get-ok 1 0 a",
                        "channel.close 406 60.80 PRECONDITION_FAILED - unknown delivery tag 1",
                    ],
                ),
                (
                    [close_ok(), open_channel(1), get("q", 1)].concat(),
                    vec!["20.11", "get-ok 1 redelivered 0 a"],
                ),
            ],
        ),
        (
            "a rejected message comes back with the commit",
            vec![
                (
                    [declare("q", EXCLUSIVE), publish("", "q", b"a"), tx(10)].concat(),
                    vec!["declare-ok q 0 0", "90.11"],
                ),
                ([get("q", 0), reject(1, 1), get("q", 1)].concat(), vec!["get-ok 1 0 a", "60.72"]),
                ([tx(20), get("q", 1)].concat(), vec!["90.21", "get-ok 2 redelivered 0 a"]),
            ],
        ),
    ]);
}

#[test]
fn bodies_of_every_size_come_back_as_they_went() {
    let broker = Broker::ephemeral(&[]);
    let mut peer = Peer::open(broker.doors().amqp);
    peer.check("a queue", &declare("q", EXCLUSIVE), &["declare-ok q 0 0"]);
    for len in [0, 1, 4_096, 4_097, 131_063, 131_064, 131_065, 1 << 20] {
        let sent: Vec<u8> = (0..len).map(|n: usize| n.to_le_bytes()[0]).collect();
        peer.send(&[publish("", "q", &sent), get("q", 1)].concat());
        let (line, body) = peer.next("a body");
        assert!(line.starts_with("get-ok"), "{len}: {line}");
        assert_eq!(body, sent, "{len}");
        assert!(peer.frame_payload_max() <= 131_064, "{len}: {}", peer.frame_payload_max());
    }
}

#[test]
fn every_publish_is_confirmed_in_few_frames() {
    let broker = Broker::ephemeral(&[]);
    let mut peer = Peer::open(broker.doors().amqp);
    peer.check(
        "a queue",
        &[declare("q", EXCLUSIVE), confirm_select()].concat(),
        &["declare-ok q 0 0", "85.11"],
    );
    peer.send(&publish("", "q", b"x").repeat(200));
    let (mut confirmed, mut frames) = (0, 0);
    while confirmed < 200 {
        let (line, _) = peer.next("confirms");
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("ack"), "{line}");
        let tag: u64 = words.next().and_then(|tag| tag.parse().ok()).expect("a tag");
        assert!(tag == confirmed + 1 || words.next() == Some("multiple"), "{line} after {confirmed}");
        (confirmed, frames) = (tag, frames + 1);
    }
    assert!(frames < 100, "{frames} frames for 200 publishes");
}

#[test]
fn exclusive_queues_are_gone_before_the_close_is_answered() {
    let broker = Broker::ephemeral(&[]);
    let (mut owner, mut other) = (Peer::open(broker.doors().amqp), Peer::open(broker.doors().amqp));
    owner.check("a queue", &declare("mine", EXCLUSIVE), &["declare-ok mine 0 0"]);
    let locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.";
    for (input, ids) in [
        (declare("mine", 0), "50.10"),
        (declare("mine", PASSIVE), "50.10"),
        (consume("mine", "c", 0), "60.20"),
        (get("mine", 0), "60.70"),
        (purge("mine"), "50.30"),
        (delete("mine", 0), "50.40"),
        (bind("mine", "amq.direct", "k"), "50.20"),
    ] {
        other.check_lines("12", &input, &[format!("channel.close 405 {ids} {locked}")]);
        other.check("12", &[close_ok(), open_channel(1)].concat(), &["20.11"]);
    }
    owner.leave("the owner");
    other.check("afterwards", &declare("mine", EXCLUSIVE), &["declare-ok mine 0 0"]);
}
