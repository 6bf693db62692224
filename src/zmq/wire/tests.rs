//! The codec against what libzmq said to itself, and against anything.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{
    command::Command,
    frame::{self, Front, Kind},
    greeting, metadata, plain, z85,
};

const CAPTURES: &str = include_str!("../../../fixtures/zmq/captures.tsv");

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn captures() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)> {
    let rows = CAPTURES.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| {
        let mut cells = line.split('\t');
        let row = (cells.next()?, cells.next()?, cells.next()?);
        (row.0 != "keys").then(|| (row.0, row.1, unhex(row.2)))
    })
}

fn frames(mut bytes: &[u8]) -> Vec<(Kind, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let Front::Whole { frame, bytes: taken } = frame::next(bytes, 1_000).unwrap() else {
            panic!("half a frame: {bytes:?}")
        };
        frames.push((frame.kind, frame.body.to_vec()));
        bytes = &bytes[taken..];
    }
    frames
}

#[test]
fn captured_conversations_decode_and_encode_back() {
    let mut count = 0;
    for (name, who, bytes) in captures() {
        let said = greeting::decode(&bytes).unwrap().unwrap();
        assert_eq!((said.minor, said.as_server), (1, false), "{name} {who}");
        let mut again = BytesMut::from(&greeting::HEAD[..]);
        // The padding is a length in ZMTP 1.0, which peers still write.
        again[8] = bytes[8];
        greeting::put_rest(&mut again, &said.mechanism, said.as_server);
        for (kind, body) in frames(&bytes[greeting::BYTES..]) {
            match kind {
                // It can be no command's name.
                Kind::Command if (name, who) == ("plain-refused", "server") => {
                    frame::put(&mut again, kind, &body)
                }
                Kind::Command => Command::decode(&body).unwrap().put(&mut again),
                Kind::Message { .. } => frame::put(&mut again, kind, &body),
            }
        }
        assert_eq!(again, bytes, "{name} {who}");
        count += 1;
    }
    assert_eq!(count, 20);
}

fn said(name: &str, who: &str) -> Vec<(Kind, Vec<u8>)> {
    let (.., bytes) = captures().find(|row| (row.0, row.1) == (name, who)).unwrap();
    frames(&bytes[greeting::BYTES..])
}

#[test]
fn captured_commands_say_what_they_should() {
    let sub = said("sub-pub", "client");
    let Command::Ready(ready) = Command::decode(&sub[0].1).unwrap() else { panic!("{sub:?}") };
    let properties = metadata::decode(ready).unwrap();
    assert_eq!(metadata::find(&properties, "socket-type"), Some(&b"SUB"[..]));
    assert_eq!(Command::decode(&sub[1].1), Ok(Command::Subscribe(b"top")));
    assert_eq!(Command::decode(&sub[2].1), Ok(Command::Cancel(b"top")));
    let ping = said("ping-pong", "client");
    assert_eq!(Command::decode(&ping[1].1), Ok(Command::Ping { ttl: 10, context: b"" }));
    let hello = said("plain", "client");
    let Command::Hello(hello) = Command::decode(&hello[0].1).unwrap() else { panic!("{hello:?}") };
    assert_eq!(plain::hello(hello), Ok((&b"guest"[..], &b"guest"[..])));
    let parts = said("push-multipart", "client");
    let kinds: Vec<Kind> = parts.iter().skip(1).map(|part| part.0).collect();
    let part = |more| Kind::Message { more };
    assert_eq!(kinds, [part(true), part(true), part(false)]);
}

#[test]
fn a_refused_login_says_so_as_libzmq_does() {
    let (mut again, refused) = (BytesMut::new(), said("plain-refused", "server"));
    plain::put_error("400", &mut again);
    assert_eq!(frames(&again), refused);
}

#[test]
fn what_is_no_greeting_is_refused_with_its_first_octets() {
    for bytes in [&b"G"[..], b"\xff\0\0\0\0\0\0\0\0\0", b"\xff\0\0\0\0\0\0\0\0\x7f\x01"] {
        assert!(greeting::decode(bytes).is_err(), "{bytes:?}");
    }
    assert_eq!(greeting::decode(&greeting::HEAD), Ok(None));
}

#[test]
fn sizes_are_checked_before_their_octets_come() {
    for bytes in [&b"\x02\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x00\xff", b"\x02\0\0\0\0\0\0\0\x65"] {
        assert!(frame::next(bytes, 100).is_err(), "{bytes:?}");
    }
    for flags in [5, 7, 8, 0x80] {
        assert!(frame::next(&[flags, 0], 100).is_err(), "{flags}");
    }
    assert_eq!(frame::next(&[0, 3, b'a'], 100), Ok(Front::Incomplete { missing: 2 }));
}

#[test]
fn keys_are_z85() {
    let octets = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
    assert_eq!(
        (z85::encode(&octets).as_str(), z85::decode("HelloWorld")),
        ("HelloWorld", Some(octets.to_vec()))
    );
    for text in ["four", "#####", "Hello\"orld"] {
        assert_eq!(z85::decode(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = greeting::decode(&bytes);
        let _ = metadata::decode(&bytes);
        let _ = plain::hello(&bytes);
        let _ = super::curve::Hello::decode(&bytes);
        let _ = super::curve::Initiate::decode(&bytes);
        let _ = super::curve::Vouched::decode(&bytes);
        let _ = super::curve::message(&bytes);
        let _ = Command::decode(&bytes);
        let mut rest = &bytes[..];
        while let Ok(Front::Whole { bytes, .. }) = frame::next(rest, 100) {
            rest = &rest[bytes..];
        }
    }

    #[test]
    fn frames_come_back_however_they_are_cut(
        parts in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..6),
        cut in 1usize..20,
    ) {
        let mut bytes = BytesMut::new();
        for (body, more) in &parts {
            frame::put(&mut bytes, Kind::Message { more: *more }, body);
        }
        let (mut input, mut got) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(cut) {
            input.extend_from_slice(piece);
            while let Front::Whole { frame, bytes } = frame::next(&input, 1_000).unwrap() {
                got.push((frame.body.to_vec(), frame.kind == Kind::Message { more: true }));
                input.drain(..bytes);
            }
        }
        prop_assert_eq!(got, parts);
    }

    #[test]
    fn z85_comes_back(octets in proptest::collection::vec(any::<u8>(), 32)) {
        prop_assert_eq!(z85::decode(&z85::encode(&octets)), Some(octets));
    }
}
