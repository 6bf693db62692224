//! Exchanges and the AMQP codec alone: nanoseconds per message on one thread.
//!
//! `cargo bench --bench routing`. Targets are exchanges, as those need no broker around them.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use warrenmq::{
    amqp::wire::{Method, Properties, basic, content, frame},
    broker::exchange::{Binding, Envelope, Exchange, ExchangeOptions, Target},
    clock::epoch,
    data::{
        field::table,
        value::{Table, Value},
    },
};

const FRAME_MAX: u32 = 131_072;

fn exchange(name: &str, kind: &str) -> Arc<Exchange> {
    Exchange::new(name, ExchangeOptions::durable(kind)).unwrap()
}

/// Runs a loop for about half a second and prints what one turn of it took.
fn measure(what: &str, mut turn: impl FnMut(usize)) {
    let began = epoch();
    let mut turns = 0;
    while elapsed(began) < Duration::from_millis(500) {
        for _ in 0..256 {
            turn(turns);
            turns += 1;
        }
    }
    let each = elapsed(began).as_nanos() / turns.max(1) as u128;
    println!("{what:<40} {each:8} ns");
}

fn elapsed(began: Instant) -> Duration {
    epoch().saturating_duration_since(began)
}

/// Patterns of three words: all said, the second any, the rest any.
fn pattern(n: usize) -> String {
    match n % 3 {
        0 => format!("stock.{}.{}", n / 300, n % 300),
        1 => format!("stock.*.{n}"),
        _ => format!("stock.{n}.#"),
    }
}

fn binding(n: usize, targets: &[Arc<Exchange>], arguments: Table) -> Binding {
    let target = Target::Exchange(targets.get(n % targets.len()).unwrap().clone());
    Binding { target, routing_key: pattern(n).into(), arguments }
}

fn topic(bindings: usize, targets: &[Arc<Exchange>]) {
    let topic = exchange("t", "topic");
    for n in 0..bindings {
        topic.bind(binding(n, targets, Table::default())).unwrap();
    }
    let keys: Vec<_> = (0..1_000).map(|n| format!("stock.{}.{}", n % 90, n % 300)).collect();
    let mut found = Vec::new();
    measure(&format!("topic, {bindings} bindings"), |n| {
        found.clear();
        let keys = [keys.get(n % keys.len()).unwrap().as_str()];
        topic.route(&Envelope { keys: &keys, headers: None, properties: &[0, 0] }, &mut found);
        black_box(&found);
    });
    measure(&format!("topic, bind + unbind among {bindings}"), |n| {
        let binding = binding(bindings + n % 1_000, targets, Table::default());
        let id = binding.id();
        topic.bind(binding).unwrap();
        black_box(topic.unbind(&id));
    });
}

fn others(targets: &[Arc<Exchange>]) {
    let text = |s: String| Value::LongStr(s.into());
    let headers = exchange("h", "headers");
    for n in 0..1_000 {
        let arguments = Table(vec![("k".to_owned(), text(format!("v{n}")))]);
        headers.bind(binding(n, targets, arguments)).unwrap();
    }
    let mut found = Vec::new();
    let sent = Table(vec![("a".to_owned(), Value::I32(1)), ("k".to_owned(), text("v500".to_owned()))]);
    measure("headers, 1000 bindings", |_| {
        found.clear();
        headers.route(&Envelope { keys: &[""], headers: Some(&sent), properties: &[0, 0] }, &mut found);
        black_box(&found);
    });
    let hash = exchange("c", "x-consistent-hash");
    for target in targets {
        let target = Target::Exchange(target.clone());
        hash.bind(Binding { target, routing_key: "3".into(), arguments: Table::default() }).unwrap();
    }
    let keys: Vec<_> = (0..1_000).map(|n| format!("key-{n}")).collect();
    measure(&format!("x-consistent-hash, {} bindings", targets.len()), |n| {
        found.clear();
        let keys = [keys.get(n % keys.len()).unwrap().as_str()];
        hash.route(&Envelope { keys: &keys, headers: None, properties: &[0, 0] }, &mut found);
        black_box(&found);
    });
}

fn codec() {
    let mut contents = BytesMut::new();
    let headers = Table(vec![("k".to_owned(), Value::I32(1)), ("x-delay".to_owned(), Value::I64(5_000))]);
    table::encode(&headers, &mut contents);
    let properties = Properties {
        content_type: Some(b"application/json"),
        headers: contents.get(4..),
        delivery_mode: Some(2),
        message_id: Some(b"6f1c0c5e"),
        ..Properties::default()
    };
    let mut raw = BytesMut::new();
    properties.encode(&mut raw);
    let publish = basic::Publish {
        reserved_1: 0,
        exchange: "amq.topic",
        routing_key: "stock.1.2",
        mandatory: false,
        immediate: false,
    };
    let (mut sent, body) = (BytesMut::new(), [7; 100]);
    content::encode(&mut sent, 1, &publish, &raw, &body, FRAME_MAX);
    measure("decode basic.publish, 100 B", |_| {
        let mut rest = &sent[..];
        while let Some((raw, len)) = frame::next(rest, FRAME_MAX).unwrap() {
            match raw.frame().unwrap() {
                frame::Frame::Method(payload) => drop(black_box(Method::decode(payload))),
                frame::Frame::Header(header) => drop(black_box(Properties::decode(header.properties))),
                frame::Frame::Body(body) => drop(black_box(body.len())),
                frame::Frame::Heartbeat => {}
            }
            rest = rest.get(len..).unwrap_or_default();
        }
    });
    measure("decode its headers", |_| drop(black_box(properties.header_table())));
    let mut out = BytesMut::with_capacity(1 << 20);
    measure("encode basic.deliver, 100 B", |n| {
        if out.len() > 1 << 19 {
            out.clear();
        }
        let deliver = basic::Deliver {
            consumer_tag: "ctag",
            delivery_tag: n as u64,
            redelivered: false,
            exchange: "amq.topic",
            routing_key: "stock.1.2",
        };
        content::encode(&mut out, 1, &deliver, &raw, &body, FRAME_MAX);
        black_box(&out);
    });
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let targets: Vec<_> = (0..100).map(|n| exchange(&format!("x{n}"), "fanout")).collect();
    topic(10_000, &targets);
    topic(100_000, &targets);
    others(&targets);
    codec();
}
