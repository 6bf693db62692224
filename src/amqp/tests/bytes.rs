//! What a client sends, as bytes.

use bytes::BytesMut;
use proptest::{prelude::*, sample::select};

use crate::{
    amqp::wire::{
        Arguments, Properties, basic, channel, confirm as confirms, connection, content, exchange, frame,
        queue, tx as txs,
    },
    data::value::{Table, Value},
};

/// Octets that nobody reads.
pub(super) fn filler(octets: usize) -> ::bytes::Bytes {
    vec![0; octets].into()
}

pub(super) fn method<'a, M: Arguments<'a>>(number: u16, method: &M) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::put_method(&mut out, number, method);
    out.to_vec()
}

pub(super) fn raw_method(number: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&[1], &number.to_be_bytes()[..], &length.to_be_bytes()[..], payload, &[frame::END]].concat()
}

/// From the protocol header to `connection.open`.
pub(super) fn login(heartbeat_s: u16) -> Vec<u8> {
    let capabilities = ["authentication_failure_close", "connection.blocked", "consumer_cancel_notify"]
        .map(|name| (name.to_owned(), Value::Bool(true)));
    let client_properties =
        Table(vec![("capabilities".to_owned(), Value::Table(Table(capabilities.into())))]);
    let start_ok = connection::StartOk {
        client_properties,
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    };
    let tune_ok = connection::TuneOk { channel_max: 2_047, frame_max: 131_072, heartbeat: heartbeat_s };
    let open = connection::Open { virtual_host: "/", reserved_1: "", reserved_2: false };
    [b"AMQP\0\0\x09\x01".to_vec(), method(0, &start_ok), method(0, &tune_ok), method(0, &open)].concat()
}

pub(super) fn open(number: u16) -> Vec<u8> {
    method(number, &channel::Open { reserved_1: "" })
}

pub(super) fn declare(queue: &str, flags: u8) -> Vec<u8> {
    let declare = queue::Declare {
        reserved_1: 0,
        queue,
        passive: flags & 1 != 0,
        durable: flags & 2 != 0,
        exclusive: flags & 4 != 0,
        auto_delete: flags & 8 != 0,
        nowait: flags & 16 != 0,
        arguments: Table::default(),
    };
    method(1, &declare)
}

pub(super) fn publish(routing_key: &str, delivery_mode: u8, body: &[u8]) -> Vec<u8> {
    let method =
        basic::Publish { reserved_1: 0, exchange: "", routing_key, mandatory: false, immediate: false };
    let (mut properties, mut out) = (BytesMut::new(), BytesMut::new());
    Properties { delivery_mode: Some(delivery_mode), ..Properties::default() }.encode(&mut properties);
    content::encode(&mut out, 1, &method, &properties, body, 8_192);
    out.to_vec()
}

pub(super) fn get(queue: &str, no_ack: u8) -> Vec<u8> {
    method(1, &basic::Get { reserved_1: 0, queue, no_ack: no_ack != 0 })
}

pub(super) fn ack(delivery_tag: u64) -> Vec<u8> {
    method(1, &basic::Ack { delivery_tag, multiple: false })
}

pub(super) fn qos() -> Vec<u8> {
    prefetch(2)
}

pub(super) fn prefetch(prefetch_count: u16) -> Vec<u8> {
    method(1, &basic::Qos { prefetch_size: 0, prefetch_count, global: false })
}

pub(super) fn confirm() -> Vec<u8> {
    method(1, &confirms::Select { nowait: false })
}

/// select 10, commit 20, rollback 30.
pub(super) fn tx(id: u16) -> Vec<u8> {
    match id {
        10 => method(1, &txs::Select {}),
        20 => method(1, &txs::Commit {}),
        _ => method(1, &txs::Rollback {}),
    }
}

pub(super) fn consume(queue: &str, consumer_tag: &str, no_ack: bool) -> Vec<u8> {
    let consume = basic::Consume {
        reserved_1: 0,
        queue,
        consumer_tag,
        no_local: false,
        no_ack,
        exclusive: false,
        nowait: false,
        arguments: Table::default(),
    };
    method(1, &consume)
}

fn delete(queue: &str) -> Vec<u8> {
    method(1, &queue::Delete { reserved_1: 0, queue, if_unused: false, if_empty: false, nowait: false })
}

fn bind(queue: &str) -> Vec<u8> {
    let bind = queue::Bind {
        reserved_1: 0,
        queue,
        exchange: "amq.fanout",
        routing_key: "",
        nowait: false,
        arguments: Table::default(),
    };
    method(1, &bind)
}

fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> Vec<u8> {
    method(1, &basic::Nack { delivery_tag, multiple, requeue })
}

/// Any of the frames that clients send, with names and tags that meet each other.
pub(super) fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let name = || select(vec!["a", "b", "c"]);
    let tag = || select(vec![0u64, 1, 2, 3, 4, 5, 9]);
    prop_oneof![
        (name(), 0u8..16).prop_map(|(queue, flags)| declare(queue, flags & !1)),
        (name(), 1u8..3, 0usize..9_000).prop_map(|(key, mode, len)| publish(key, mode, &vec![b'x'; len])),
        (name(), 0u8..2).prop_map(|(queue, no_ack)| get(queue, no_ack)),
        tag().prop_map(ack),
        (tag(), any::<bool>(), any::<bool>())
            .prop_map(|(tag, multiple, requeue)| nack(tag, multiple, requeue)),
        (name(), name(), any::<bool>())
            .prop_map(|(queue, consumer, no_ack)| consume(queue, consumer, no_ack)),
        name().prop_map(|consumer_tag| method(1, &basic::Cancel { consumer_tag, nowait: false })),
        name().prop_map(delete),
        name().prop_map(bind),
        select(vec![10u16, 20, 30]).prop_map(tx),
        Just(confirm()),
        Just(qos()),
        Just(method(1, &basic::Recover { requeue: true })),
        Just(method(1, &channel::Flow { active: true })),
        Just(method(1, &exchange_declare())),
        (1u16..3).prop_map(open),
        Just(method(1, &channel::CloseOk {})),
        Just(method(1, &channel::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 })),
        Just(frame::HEARTBEAT.to_vec()),
        Just(login(0)),
    ]
}

fn exchange_declare() -> exchange::Declare<'static> {
    exchange::Declare {
        reserved_1: 0,
        exchange: "x",
        r#type: "headers",
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: Table::default(),
    }
}
