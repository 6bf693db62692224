//! Frames written by another hand decode, and encode back to the same octets; other octets never panic.

use bytes::BytesMut;
use proptest::prelude::*;
use warrenmq::amqp::wire::{
    Method, Properties,
    frame::{self, Frame},
    table,
};

const FRAMES: &str = include_str!("../../fixtures/amqp/frames.tsv");
const FRAME_MAX: u32 = 131_072;

fn frames() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    FRAMES.lines().filter(|l| !l.starts_with('#')).map(|line| {
        let (name, hex) = line.split_once('\t').expect("two columns");
        let octets = hex.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hex")
        });
        (name, octets.collect())
    })
}

fn encode(channel: u16, frame: Frame<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    match frame {
        Frame::Method(payload) => {
            frame::put_any_method(&mut out, channel, &Method::decode(payload).expect("a method"));
        }
        Frame::Header(header) => {
            let mut properties = BytesMut::new();
            Properties::decode(header.properties).expect("properties").encode(&mut properties);
            frame::put_header(&mut out, channel, header.class_id, header.body_bytes, &properties);
        }
        Frame::Body(part) => frame::put_body(&mut out, channel, part, FRAME_MAX),
        Frame::Heartbeat => out.extend_from_slice(&frame::HEARTBEAT),
    }
    out
}

#[test]
fn each_frame_is_what_it_says_and_encodes_back() {
    for (name, octets) in frames() {
        let (raw, len) = frame::next(&octets, FRAME_MAX).unwrap().unwrap();
        assert_eq!(len, octets.len(), "{name}");
        let frame = raw.frame().unwrap();
        let got = match frame {
            Frame::Method(payload) => Method::decode(payload).unwrap().name(),
            Frame::Header(_) => "header",
            Frame::Body(_) => "body",
            Frame::Heartbeat => "heartbeat",
        };
        assert_eq!(got, name);
        assert_eq!(&encode(raw.channel, frame)[..], octets, "{name}");
    }
}

#[test]
fn a_header_with_everything_keeps_its_tables() {
    let (_, octets) = frames().filter(|(n, _)| *n == "header").last().unwrap();
    let (raw, _) = frame::next(&octets, FRAME_MAX).unwrap().unwrap();
    let Frame::Header(header) = raw.frame().unwrap() else { panic!("not a header") };
    let properties = Properties::decode(header.properties).unwrap();
    assert_eq!((properties.persistent(), properties.priority), (true, Some(9)));
    assert_eq!(properties.expiration, Some(&b"60000"[..]));
    assert_eq!(properties.user_id, Some(&b"guest"[..]));
    let headers = properties.header_table().unwrap();
    assert_eq!(headers.0.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["x-death", "CC"]);
    assert!(table::names_any(properties.headers.unwrap(), &["CC", "BCC"]).unwrap());
    assert!(!table::names_any(properties.headers.unwrap(), &["BCC"]).unwrap());
}

#[test]
fn a_cut_or_changed_frame_never_panics() {
    for (_, octets) in frames() {
        for at in 0..octets.len() {
            assert_eq!(frame::next(&octets[..at], FRAME_MAX), Ok(None));
            for change in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut changed = octets.clone();
                changed[at] ^= change;
                swallow(&changed);
            }
        }
    }
}

/// Reads as far as it goes and looks into everything.
fn swallow(mut octets: &[u8]) {
    while let Ok(Some((raw, len))) = frame::next(octets, FRAME_MAX) {
        match raw.frame() {
            Ok(Frame::Method(payload)) => drop(Method::decode(payload)),
            Ok(Frame::Header(header)) => {
                if let Ok(properties) = Properties::decode(header.properties) {
                    drop(properties.header_table());
                }
            }
            Ok(Frame::Body(_) | Frame::Heartbeat) | Err(_) => {}
        }
        octets = octets.get(len..).unwrap_or_default();
    }
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        swallow(&octets);
        let _ = frame::greeting(&octets);
    }

    #[test]
    fn arbitrary_arguments_of_every_method_never_panic(
        which in 0usize..66,
        arguments in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let methods: Vec<_> = warrenmq::amqp::wire::METHODS.iter().copied().flatten().collect();
        let (id, name, _) = methods[which];
        let mut payload = [id.class.to_be_bytes(), id.method.to_be_bytes()].concat();
        payload.extend(arguments);
        if let Ok(method) = Method::decode(&payload) {
            prop_assert_eq!(method.name(), *name);
            let mut out = BytesMut::new();
            method.encode(&mut out);
            let again = Method::decode(&out).unwrap();
            let mut twice = BytesMut::new();
            again.encode(&mut twice);
            prop_assert_eq!(out, twice);
        }
    }
}
