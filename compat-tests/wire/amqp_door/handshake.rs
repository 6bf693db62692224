//! From the protocol header to the open connection, what was negotiated there, and heartbeats.

use std::{io::Read as _, time::Duration};

use super::{
    frames::*,
    peer::Peer,
    support::{amqp::Wire, broker::Broker, eventually, now, pause},
};

#[test]
fn channel_max_counts_channels() {
    let broker = Broker::ephemeral(&[]);
    let mut peer = Peer::tuned(broker.doors().amqp, 2, 131_072, 0);
    peer.check("a high number", &open_channel(9), &["9: 20.11"]);
    peer.check(
        "47",
        &open_channel(3),
        &[
            "connection.close 530 0.0 NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)",
        ],
    );
}

#[test]
fn tuning_has_bounds() {
    let broker = Broker::ephemeral(&[]);
    // RabbitMQ says nothing, and closes the socket after a while.
    let check = |channel_max: u16, frame_max: u32| {
        let mut peer = Peer::started(broker.doors().amqp, "\0guest\0guest");
        peer.check_lines("10.30", &[], &["tune 2047 131072 60".to_owned()]);
        let began = now();
        peer.send(&tune_ok(channel_max, frame_max, 0));
        assert_eq!(peer.next_or_end("48"), None);
        assert!(began.elapsed() > Duration::from_millis(2_500), "{channel_max} {frame_max}: too soon");
    };
    let check = &check;
    std::thread::scope(|scope| {
        for (channel_max, frame_max) in [(2047, 4000), (2047, 200_000), (2048, 131_072), (0, 131_072)] {
            scope.spawn(move || check(channel_max, frame_max));
        }
    });
}

#[test]
fn the_smallest_frames_are_kept_to() {
    let broker = Broker::ephemeral(&[]);
    let mut peer = Peer::tuned(broker.doors().amqp, 2047, 8_192, 0);
    let sent = vec![7; 20_000];
    peer.check("a queue", &declare("q", EXCLUSIVE), &["declare-ok q 0 0"]);
    peer.send(&[publish_in("", "q", &sent, 8_184), get("q", 1)].concat());
    assert_eq!(peer.next("a body").1, sent);
    assert_eq!(peer.frame_payload_max(), 8_184);
    let mut too_long = vec![3, 0, 1];
    too_long.extend_from_slice(&20_000_u32.to_be_bytes());
    peer.check(
        "40",
        &too_long,
        &["connection.close 501 0.0 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,20000,8184}"],
    );
}

#[test]
fn logins_and_vhosts_that_are_refused() {
    let broker = Broker::ephemeral(&[]);
    let mut peer = Peer::started(broker.doors().amqp, "\0guest\0wrong");
    peer.check(
        "50",
        &[],
        &[
            "connection.close 403 0.0 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.",
        ],
    );
    let mut peer = Peer::started(broker.doors().amqp, "\0guest\0guest");
    peer.check("a tune", &[], &["tune 2047 131072 60"]);
    peer.check(
        "49",
        &[tune_ok(2047, 131_072, 0), open_vhost("nope")].concat(),
        &["connection.close 530 10.40 NOT_ALLOWED - vhost nope not found"],
    );
    // Without the capability, and with a response that is none: silence, then the end.
    for (what, start_ok) in [
        ("50 without the capability", start_ok("PLAIN", b"\0guest\0wrong", false)),
        ("51 an unknown mechanism", start_ok("FOO", b"\0guest\0guest", true)),
        ("51 a response that is none", start_ok("PLAIN", b"guest", true)),
    ] {
        let mut wire = Wire::connect(broker.doors().amqp).expect("it accepts");
        wire.start().expect("connection.start");
        let began = now();
        wire.raw(&start_ok);
        wire.flush().expect("it is sent");
        let error = wire.next_frame().expect_err(what);
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{what}");
        assert!(began.elapsed() > Duration::from_millis(2_500), "{what}: too soon for someone who guesses");
    }
}

#[test]
fn greetings() {
    let broker = Broker::ephemeral(&[]);
    for header in [b"AMQP\0\0\x09\x01", b"AMQP\x01\x01\0\x09"] {
        let mut wire = Wire::connect(broker.doors().amqp).expect("it accepts");
        wire.raw(header);
        wire.flush().expect("it is sent");
        let (class, method, _) = wire.next_method().expect("connection.start");
        assert_eq!((class, method), (10, 10));
    }
    let (spoken, junk) = (b"AMQP\0\0\x09\x01", b"AMQP\x03\x01\0\0");
    for (said, expected) in [
        (&b"AMQP\0\0\x09\0"[..], spoken),
        (b"AMQP\x03\x01\0\0", spoken),
        (b"GET / HTTP/1.1\r\n\r\n", junk),
        (b"x", junk),
    ] {
        let mut wire = Wire::connect(broker.doors().amqp).expect("it accepts");
        wire.raw(said);
        wire.flush().expect("it is sent");
        let mut answer = Vec::new();
        wire.stream().read_to_end(&mut answer).expect("an answer and the end");
        assert_eq!(answer, expected);
    }
}

#[test]
fn heartbeats_go_both_ways() {
    let broker = Broker::ephemeral(&[]);
    let mut peer = Peer::tuned(broker.doors().amqp, 2047, 131_072, 1);
    let began = now();
    // We say nothing: it does, and after twice the interval it hangs up.
    let mut heartbeats = 0;
    while let Some(line) = peer.next_or_end("heartbeats") {
        assert_eq!(line, "heartbeat");
        heartbeats += 1;
    }
    assert!(heartbeats >= 2, "{heartbeats}");
    let silent = began.elapsed();
    assert!((Duration::from_millis(1_500)..Duration::from_secs(6)).contains(&silent), "{silent:?}");

    // Any traffic keeps it.
    let mut peer = Peer::tuned(broker.doors().amqp, 2047, 131_072, 1);
    let began = now();
    eventually("three intervals pass", Duration::from_secs(10), || {
        peer.send(HEARTBEAT);
        pause(Duration::from_millis(300));
        began.elapsed() > Duration::from_secs(3)
    });
    peer.send(&declare("q", EXCLUSIVE));
    let mut line = peer.next("still there").0;
    while line == "heartbeat" {
        line = peer.next("still there").0;
    }
    assert_eq!(line, "declare-ok q 0 0");
}
