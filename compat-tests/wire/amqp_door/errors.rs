//! What is refused: code, text, ids and level of every row that this version can meet.

use super::{NO_Q, frames::*, one, run_all, with_q, with_x};

#[test]
fn names_that_are_not_there() {
    run_all(vec![
        ("1 passive declare", one(declare("none", PASSIVE), &[NO_Q])),
        (
            "1 consume",
            one(
                consume("none", "c", 0),
                &["channel.close 404 60.20 NOT_FOUND - no queue 'none' in vhost '/'"],
            ),
        ),
        ("1 get", one(get("none", 0), &["channel.close 404 60.70 NOT_FOUND - no queue 'none' in vhost '/'"])),
        (
            "1 purge",
            one(purge("none"), &["channel.close 404 50.30 NOT_FOUND - no queue 'none' in vhost '/'"]),
        ),
        (
            "1 bind",
            one(
                bind("none", "amq.direct", "k"),
                &["channel.close 404 50.20 NOT_FOUND - no queue 'none' in vhost '/'"],
            ),
        ),
        (
            "2 passive declare",
            one(
                exchange_declare("none", "direct", PASSIVE),
                &["channel.close 404 40.10 NOT_FOUND - no exchange 'none' in vhost '/'"],
            ),
        ),
        (
            "2 publish",
            one(
                publish("none", "k", b"x"),
                &["channel.close 404 60.40 NOT_FOUND - no exchange 'none' in vhost '/'"],
            ),
        ),
        (
            "2 publish, with a property that is wrong, too",
            one(
                publish_with("none", "k", 0, &expiration("abc"), b"x"),
                &["channel.close 404 60.40 NOT_FOUND - no exchange 'none' in vhost '/'"],
            ),
        ),
        (
            "2 bind with both missing",
            one(
                bind("none", "nox", "k"),
                &["channel.close 404 50.20 NOT_FOUND - no exchange 'nox' in vhost '/'"],
            ),
        ),
        ("3 delete a queue", one(delete("none", 0), &["delete-ok 0"])),
        ("3 delete an exchange", one(exchange_delete("none", 0), &["40.21"])),
        ("4 unbind what is not bound", with_q(unbind("q", "amq.direct", "k"), &["50.51"])),
        ("4 unbind from a missing exchange", with_q(unbind("q", "none", "k"), &["50.51"])),
        (
            "5 no last queue",
            one(get("", 0), &["channel.close 404 60.70 NOT_FOUND - no previously declared queue"]),
        ),
        ("the last queue", with_q([purge(""), get("", 0)].concat(), &["purge-ok 0", "60.72"])),
        ("line ends are stripped", one(declare("q\r\n", EXCLUSIVE), &["declare-ok q 0 0"])),
    ]);
}

#[test]
fn declarations_that_differ() {
    let ttl = |n: i32| int_argument("x-message-ttl", n);
    run_all(vec![
        (
            "6 auto_delete of a queue",
            with_q(
                declare("q", EXCLUSIVE | AUTO_DELETE),
                &[
                    "channel.close 406 50.10 PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
                ],
            ),
        ),
        (
            "an exclusive queue is not durable",
            with_q(declare("q", EXCLUSIVE | DURABLE), &["declare-ok q 0 0"]),
        ),
        (
            "6 durable of an exchange",
            with_x(
                0,
                exchange_declare("x", "direct", DURABLE),
                &[
                    "channel.close 406 40.10 PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
                ],
            ),
        ),
        (
            "6 type of an exchange",
            with_x(
                0,
                exchange_declare("x", "fanout", 0),
                &[
                    "channel.close 406 40.10 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'",
                ],
            ),
        ),
        (
            "7 an argument that was not there",
            with_q(
                declare_with("q", EXCLUSIVE, &ttl(5)),
                &[
                    "channel.close 406 50.10 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '5' of type 'signedint' but current is none",
                ],
            ),
        ),
        (
            "8 an argument that is missing",
            vec![
                (declare_with("q", EXCLUSIVE, &ttl(5)), vec!["declare-ok q 0 0"]),
                (
                    declare("q", EXCLUSIVE),
                    vec![
                        "channel.close 406 50.10 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '5' of type 'signedint'",
                    ],
                ),
            ],
        ),
        (
            "9 an argument of another value",
            vec![
                (declare_with("q", EXCLUSIVE, &ttl(5)), vec!["declare-ok q 0 0"]),
                (
                    declare_with("q", EXCLUSIVE, &ttl(6)),
                    vec![
                        "channel.close 406 50.10 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '6' but current is '5'",
                    ],
                ),
            ],
        ),
        (
            "13 a reserved queue name",
            one(
                declare("amq.foo", 0),
                &[
                    "channel.close 403 50.10 ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*'",
                ],
            ),
        ),
        (
            "13 a reserved exchange name",
            one(
                exchange_declare("amq.foo", "direct", 0),
                &[
                    "channel.close 403 40.10 ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'",
                ],
            ),
        ),
        (
            "14 the default exchange",
            one(
                exchange_declare("", "direct", 0),
                &["channel.close 403 40.10 ACCESS_REFUSED - operation not permitted on the default exchange"],
            ),
        ),
        (
            "14 deleting it",
            one(
                exchange_delete("", 0),
                &["channel.close 403 40.20 ACCESS_REFUSED - operation not permitted on the default exchange"],
            ),
        ),
        (
            "14 binding to it",
            with_q(
                bind("q", "", "k"),
                &["channel.close 403 50.20 ACCESS_REFUSED - operation not permitted on the default exchange"],
            ),
        ),
        (
            "15 deleting a predeclared one",
            one(
                exchange_delete("amq.direct", 0),
                &[
                    "channel.close 403 40.20 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
                ],
            ),
        ),
        (
            "16 an unknown exchange type",
            one(
                exchange_declare("x", "foobar", 0),
                &["channel.close 406 40.10 PRECONDITION_FAILED - unknown exchange type 'foobar'"],
            ),
        ),
        (
            "17 an exchange in use",
            vec![
                (exchange_declare("x", "direct", 0), vec!["40.11"]),
                ([declare("q", EXCLUSIVE), bind("q", "x", "k")].concat(), vec!["declare-ok q 0 0", "50.21"]),
                (
                    exchange_delete("x", IF_UNUSED),
                    vec!["channel.close 406 40.20 PRECONDITION_FAILED - exchange 'x' in vhost '/' in use"],
                ),
            ],
        ),
        (
            "18 a queue in use",
            vec![
                (
                    [declare("q", EXCLUSIVE), consume("q", "c", 0)].concat(),
                    vec!["declare-ok q 0 0", "consume-ok c"],
                ),
                (
                    delete("q", IF_UNUSED),
                    vec!["channel.close 406 50.40 PRECONDITION_FAILED - queue 'q' in vhost '/' in use"],
                ),
            ],
        ),
        (
            "18 a queue that is not empty",
            with_q(
                [publish("", "q", b"x"), delete("q", IF_EMPTY)].concat(),
                &["channel.close 406 50.40 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty"],
            ),
        ),
        (
            "19 an internal exchange",
            with_x(
                INTERNAL,
                publish("x", "k", b"x"),
                &[
                    "channel.close 403 60.40 ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'",
                ],
            ),
        ),
    ]);
}

#[test]
fn deliveries_and_publishes_that_are_refused() {
    let tag_reuse = || [consume("q", "c", 0), consume("q", "c", 0)].concat();
    run_all(vec![
        (
            "22 ack of an unknown tag",
            one(ack(99, 0), &["channel.close 406 60.80 PRECONDITION_FAILED - unknown delivery tag 99"]),
        ),
        (
            "22 nack of tag 0",
            one(nack(0, 0), &["channel.close 406 60.120 PRECONDITION_FAILED - unknown delivery tag 0"]),
        ),
        (
            "22 reject",
            one(reject(7, 1), &["channel.close 406 60.90 PRECONDITION_FAILED - unknown delivery tag 7"]),
        ),
        (
            "22 the same twice",
            with_q(
                [publish("", "q", b"x"), get("q", 0), ack(1, 0), ack(1, 0)].concat(),
                &["get-ok 1 0 x", "channel.close 406 60.80 PRECONDITION_FAILED - unknown delivery tag 1"],
            ),
        ),
        ("22 all of none", one([ack(0, MULTIPLE), get_barrier()].concat(), &["20.21"])),
        (
            "23 a consumer tag twice",
            with_q(
                tag_reuse(),
                &[
                    "consume-ok c",
                    "connection.close 530 60.20 NOT_ALLOWED - attempt to reuse consumer tag 'c'",
                ],
            ),
        ),
        (
            "24 a second consumer wants the queue alone",
            with_q(
                [consume("q", "c", 0), consume("q", "d", CONSUME_EXCLUSIVE)].concat(),
                &[
                    "consume-ok c",
                    "channel.close 403 60.20 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use",
                ],
            ),
        ),
        (
            "24 another has it alone",
            with_q(
                [consume("q", "c", CONSUME_EXCLUSIVE), consume("q", "d", 0)].concat(),
                &[
                    "consume-ok c",
                    "channel.close 403 60.20 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use",
                ],
            ),
        ),
        (
            "25 immediate",
            one(
                publish_with("", "q", IMMEDIATE, NO_PROPERTIES, b"x"),
                &["connection.close 540 60.40 NOT_IMPLEMENTED - immediate=true"],
            ),
        ),
        (
            "26 prefetch_size",
            one(qos(10, 0, 0), &["connection.close 540 60.10 NOT_IMPLEMENTED - prefetch_size!=0 (10)"]),
        ),
        ("27 recover", one(recover(0), &["connection.close 540 60.110 NOT_IMPLEMENTED - requeue=false"])),
        ("28 flow", one(flow(0), &["connection.close 540 20.20 NOT_IMPLEMENTED - active=false"])),
        (
            "29 no number",
            one(
                publish_with("", "q", 0, &expiration("abc"), b"x"),
                &["channel.close 406 60.40 PRECONDITION_FAILED - invalid expiration 'abc': no_integer"],
            ),
        ),
        (
            "29 negative",
            one(
                publish_with("", "q", 0, &expiration("-1"), b"x"),
                &[
                    "channel.close 406 60.40 PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}",
                ],
            ),
        ),
        (
            "29 more than a number",
            one(
                publish_with("", "q", 0, &expiration("10x"), b"x"),
                &[
                    "channel.close 406 60.40 PRECONDITION_FAILED - invalid expiration '10x': {leftover_string,\"x\"}",
                ],
            ),
        ),
        (
            "30 another's user id",
            one(
                publish_with("", "q", 0, &user_id("other"), b"x"),
                &[
                    "channel.close 406 60.40 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'",
                ],
            ),
        ),
        (
            "31 CC that is no array",
            one(
                publish_with("", "q", 0, &cc_text("a"), b"x"),
                &[
                    "channel.close 406 60.40 PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}",
                ],
            ),
        ),
        (
            "32 too large",
            one(
                publish("", "q", &vec![b'x'; 2_000_001]),
                &[
                    "channel.close 406 60.40 PRECONDITION_FAILED - message size 2000001 is larger than configured max size 2000000",
                ],
            ),
        ),
        (
            "55 confirm, then tx",
            one(
                [confirm_select(), tx(10)].concat(),
                &[
                    "85.11",
                    "channel.close 406 90.10 PRECONDITION_FAILED - cannot switch from confirm to tx mode",
                ],
            ),
        ),
        (
            "55 tx, then confirm",
            one(
                [tx(10), confirm_select()].concat(),
                &[
                    "90.11",
                    "channel.close 406 85.10 PRECONDITION_FAILED - cannot switch from tx to confirm mode",
                ],
            ),
        ),
        (
            "56 commit of nothing",
            one(tx(20), &["channel.close 406 90.20 PRECONDITION_FAILED - channel is not transactional"]),
        ),
        (
            "56 rollback of nothing",
            one(tx(30), &["channel.close 406 90.30 PRECONDITION_FAILED - channel is not transactional"]),
        ),
        (
            "81 unroutable and mandatory, returned before its confirm",
            one(
                [confirm_select(), publish_with("", "none", MANDATORY, NO_PROPERTIES, b"x")].concat(),
                &["85.11", "return 312 NO_ROUTE none x", "ack 1"],
            ),
        ),
    ]);
}

#[test]
fn frames_where_they_may_not_be() {
    let method = |m: Vec<u8>| [publish_method("", "q", 0), m].concat();
    run_all(vec![
        (
            "33 a body of a terabyte",
            one(
                method(header(60, 1 << 40, NO_PROPERTIES)),
                &[
                    "connection.close 501 60.40 FRAME_ERROR - content body size 1099511627776 exceeds maximum allowed size 536870912",
                ],
            ),
        ),
        (
            "34 more body than promised",
            one(
                method([header(60, 2, NO_PROPERTIES), body(b"xyz")].concat()),
                &[
                    "connection.close 501 60.40 FRAME_ERROR - content body frame exceeds remaining content size",
                ],
            ),
        ),
        (
            "35 a method in place of a header",
            one(
                method(get("q", 0)),
                &[
                    "connection.close 505 60.40 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
                ],
            ),
        ),
        (
            "35 a body in place of a header",
            one(
                method(body(b"x")),
                &[
                    "connection.close 505 60.40 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
                ],
            ),
        ),
        (
            "36 another class's header",
            one(
                method(header(50, 1, NO_PROPERTIES)),
                &[
                    "connection.close 505 60.40 UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
                ],
            ),
        ),
        (
            "a header in place of a body",
            one(
                method([header(60, 2, NO_PROPERTIES), header(60, 2, NO_PROPERTIES)].concat()),
                &[
                    "connection.close 505 60.40 UNEXPECTED_FRAME - expected content body, got non content body frame instead",
                ],
            ),
        ),
        (
            "37 a body without a publish",
            one(
                body(b"x"),
                &[
                    "connection.close 505 0.0 UNEXPECTED_FRAME - expected method frame, got non method frame instead",
                ],
            ),
        ),
        (
            "38 a wrong end",
            one(
                b"\x01\0\x01\0\0\0\x04\0\x14\0\x0a\0".to_vec(),
                &[
                    "connection.close 501 0.0 FRAME_ERROR - type 1, all octets = <<0,20,0,10>>: {invalid_frame_end_marker,0}",
                ],
            ),
        ),
        (
            "39 an unknown type",
            one(
                b"\x09\0\x01\0\0\0\0\xce".to_vec(),
                &["connection.close 501 0.0 FRAME_ERROR - type 9, all octets = <<>>: unknown_frame"],
            ),
        ),
        (
            "40 a frame too large",
            one(
                b"\x03\0\x01\0\x10\0\0".to_vec(),
                &[
                    "connection.close 501 0.0 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,1048576,131064}",
                ],
            ),
        ),
        (
            "41 arguments that are none",
            one(
                method_on(1, 60, 10, &[0]),
                &["connection.close 501 60.10 FRAME_ERROR - cannot decode <<0>>"],
            ),
        ),
        (
            "42 a heartbeat on a channel",
            one(
                b"\x08\0\x01\0\0\0\0\xce".to_vec(),
                &["connection.close 505 0.0 UNEXPECTED_FRAME - type 8, all octets = <<>>"],
            ),
        ),
        (
            "43 a channel that is not open",
            one(
                method_on(9, 85, 10, &[0]),
                &["connection.close 504 85.10 CHANNEL_ERROR - expected 'channel.open'"],
            ),
        ),
        (
            "44 open twice",
            one(open_channel(1), &["connection.close 504 20.10 CHANNEL_ERROR - second 'channel.open' seen"]),
        ),
        (
            "45 a channel's method on channel 0",
            one(
                method_on(0, 85, 10, &[0]),
                &["connection.close 504 85.10 CHANNEL_ERROR - unexpected method in connection state running"],
            ),
        ),
        (
            "46 the server's method",
            one(
                method_on(1, 85, 11, &[]),
                &["connection.close 503 85.11 COMMAND_INVALID - unimplemented method"],
            ),
        ),
        (
            "83 a name that is no UTF-8",
            one(
                method_on(1, 60, 70, b"\0\0\x01\xff\0"),
                &["connection.close 501 0.0 FRAME_ERROR - Malformed UTF-8 in shortstr"],
            ),
        ),
    ]);
}
