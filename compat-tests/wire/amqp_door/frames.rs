//! Frames to send, by the names of their methods; on channel 1 where nothing else is said.

use super::support::amqp::{key, long, short, table};

pub(crate) const PASSIVE: u8 = 1;
pub(crate) const DURABLE: u8 = 2;
pub(crate) const EXCLUSIVE: u8 = 4;
/// Of a queue.
pub(crate) const AUTO_DELETE: u8 = 8;
/// Of an exchange.
pub(crate) const INTERNAL: u8 = 8;
pub(crate) const NOWAIT: u8 = 16;
pub(crate) const IF_UNUSED: u8 = 1;
pub(crate) const IF_EMPTY: u8 = 2;
pub(crate) const MULTIPLE: u8 = 1;
/// Of a nack.
pub(crate) const REQUEUE: u8 = 2;
pub(crate) const NO_ACK: u8 = 2;
pub(crate) const CONSUME_EXCLUSIVE: u8 = 4;
pub(crate) const MANDATORY: u8 = 1;
pub(crate) const IMMEDIATE: u8 = 2;
pub(crate) const NO_PROPERTIES: &[u8] = &[0, 0];
pub(crate) const HEARTBEAT: &[u8] = b"\x08\0\0\0\0\0\0\xce";

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame's length");
    [&[kind], &channel.to_be_bytes()[..], &length.to_be_bytes()[..], payload, &[0xce]].concat()
}

pub(crate) fn method_on(channel: u16, class: u16, method: u16, arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes()[..], &method.to_be_bytes()[..], arguments].concat())
}

/// Arguments that begin with two reserved octets and names, and end with whatever.
fn named(class: u16, method: u16, names: &[&str], end: &[u8]) -> Vec<u8> {
    let mut arguments = vec![0, 0];
    names.iter().for_each(|name| short(&mut arguments, name));
    arguments.extend_from_slice(end);
    method_on(1, class, method, &arguments)
}

const NO_TABLE: &[u8] = &[0; 4];

pub(crate) fn declare(queue: &str, flags: u8) -> Vec<u8> {
    declare_with(queue, flags, NO_TABLE)
}

pub(crate) fn declare_with(queue: &str, flags: u8, arguments: &[u8]) -> Vec<u8> {
    named(50, 10, &[queue], &[&[flags], arguments].concat())
}

pub(crate) fn bind(queue: &str, exchange: &str, routing_key: &str) -> Vec<u8> {
    named(50, 20, &[queue, exchange, routing_key], &[&[0], NO_TABLE].concat())
}

pub(crate) fn unbind(queue: &str, exchange: &str, routing_key: &str) -> Vec<u8> {
    named(50, 50, &[queue, exchange, routing_key], NO_TABLE)
}

pub(crate) fn purge(queue: &str) -> Vec<u8> {
    named(50, 30, &[queue], &[0])
}

pub(crate) fn delete(queue: &str, flags: u8) -> Vec<u8> {
    named(50, 40, &[queue], &[flags])
}

pub(crate) fn exchange_declare(exchange: &str, kind: &str, flags: u8) -> Vec<u8> {
    named(40, 10, &[exchange, kind], &[&[flags], NO_TABLE].concat())
}

pub(crate) fn exchange_delete(exchange: &str, flags: u8) -> Vec<u8> {
    named(40, 20, &[exchange], &[flags])
}

pub(crate) fn qos(prefetch_size: u32, prefetch_count: u16, global: u8) -> Vec<u8> {
    let arguments = [&prefetch_size.to_be_bytes()[..], &prefetch_count.to_be_bytes()[..], &[global]].concat();
    method_on(1, 60, 10, &arguments)
}

pub(crate) fn consume(queue: &str, consumer_tag: &str, flags: u8) -> Vec<u8> {
    named(60, 20, &[queue, consumer_tag], &[&[flags], NO_TABLE].concat())
}

pub(crate) fn cancel(consumer_tag: &str) -> Vec<u8> {
    let mut arguments = Vec::new();
    short(&mut arguments, consumer_tag);
    arguments.push(0);
    method_on(1, 60, 30, &arguments)
}

pub(crate) fn get(queue: &str, no_ack: u8) -> Vec<u8> {
    named(60, 70, &[queue], &[no_ack])
}

pub(crate) fn ack(delivery_tag: u64, flags: u8) -> Vec<u8> {
    method_on(1, 60, 80, &[&delivery_tag.to_be_bytes()[..], &[flags]].concat())
}

pub(crate) fn reject(delivery_tag: u64, requeue: u8) -> Vec<u8> {
    method_on(1, 60, 90, &[&delivery_tag.to_be_bytes()[..], &[requeue]].concat())
}

pub(crate) fn nack(delivery_tag: u64, flags: u8) -> Vec<u8> {
    method_on(1, 60, 120, &[&delivery_tag.to_be_bytes()[..], &[flags]].concat())
}

pub(crate) fn recover(requeue: u8) -> Vec<u8> {
    method_on(1, 60, 110, &[requeue])
}

pub(crate) fn confirm_select() -> Vec<u8> {
    method_on(1, 85, 10, &[0])
}

/// select 10, commit 20, rollback 30.
pub(crate) fn tx(method: u16) -> Vec<u8> {
    method_on(1, 90, method, &[])
}

pub(crate) fn open_channel(channel: u16) -> Vec<u8> {
    method_on(channel, 20, 10, &[0])
}

pub(crate) fn flow(active: u8) -> Vec<u8> {
    method_on(1, 20, 20, &[active])
}

/// Asks for something that changes nothing, to see that nothing else came.
pub(crate) fn get_barrier() -> Vec<u8> {
    flow(1)
}

pub(crate) fn close_channel() -> Vec<u8> {
    method_on(1, 20, 40, &[0; 7])
}

pub(crate) fn close_ok() -> Vec<u8> {
    method_on(1, 20, 41, &[])
}

pub(crate) fn publish(exchange: &str, routing_key: &str, content: &[u8]) -> Vec<u8> {
    publish_with(exchange, routing_key, 0, NO_PROPERTIES, content)
}

pub(crate) fn publish_with(
    exchange: &str,
    routing_key: &str,
    flags: u8,
    properties: &[u8],
    content: &[u8],
) -> Vec<u8> {
    let mut out = publish_method(exchange, routing_key, flags);
    out.extend(header(60, u64::try_from(content.len()).expect("a length"), properties));
    content.chunks(131_064).for_each(|part| out.extend(body(part)));
    out
}

/// With body frames of at most that many octets.
pub(crate) fn publish_in(
    exchange: &str,
    routing_key: &str,
    content: &[u8],
    part_bytes_max: usize,
) -> Vec<u8> {
    let mut out = publish_method(exchange, routing_key, 0);
    out.extend(header(60, u64::try_from(content.len()).expect("a length"), NO_PROPERTIES));
    content.chunks(part_bytes_max).for_each(|part| out.extend(body(part)));
    out
}

pub(crate) fn publish_method(exchange: &str, routing_key: &str, flags: u8) -> Vec<u8> {
    named(60, 40, &[exchange, routing_key], &[flags])
}

pub(crate) fn header(class: u16, body_bytes: u64, properties: &[u8]) -> Vec<u8> {
    frame(2, 1, &[&class.to_be_bytes()[..], &[0, 0], &body_bytes.to_be_bytes()[..], properties].concat())
}

pub(crate) fn body(part: &[u8]) -> Vec<u8> {
    frame(3, 1, part)
}

fn short_property(flag: u16, text: &str) -> Vec<u8> {
    let mut properties = flag.to_be_bytes().to_vec();
    short(&mut properties, text);
    properties
}

pub(crate) fn expiration(text: &str) -> Vec<u8> {
    short_property(1 << 8, text)
}

pub(crate) fn user_id(text: &str) -> Vec<u8> {
    short_property(1 << 4, text)
}

/// The header `CC` as a string, which it may not be.
pub(crate) fn cc_text(text: &str) -> Vec<u8> {
    let mut properties = (1_u16 << 13).to_be_bytes().to_vec();
    table(&mut properties, |fields| {
        key(fields, "CC", b'S');
        long(fields, text.as_bytes());
    });
    properties
}

pub(crate) fn int_argument(name: &str, value: i32) -> Vec<u8> {
    let mut arguments = Vec::new();
    table(&mut arguments, |fields| {
        key(fields, name, b'I');
        fields.extend_from_slice(&value.to_be_bytes());
    });
    arguments
}

pub(crate) fn start_ok(mechanism: &str, response: &[u8], told_of_failure: bool) -> Vec<u8> {
    let mut arguments = Vec::new();
    table(&mut arguments, |properties| {
        key(properties, "capabilities", b'F');
        table(properties, |capabilities| {
            for (name, value) in
                [("authentication_failure_close", told_of_failure), ("consumer_cancel_notify", true)]
            {
                key(capabilities, name, b't');
                capabilities.push(u8::from(value));
            }
        });
    });
    short(&mut arguments, mechanism);
    long(&mut arguments, response);
    short(&mut arguments, "en_US");
    method_on(0, 10, 11, &arguments)
}

pub(crate) fn tune_ok(channel_max: u16, frame_max: u32, heartbeat_s: u16) -> Vec<u8> {
    let arguments =
        [&channel_max.to_be_bytes()[..], &frame_max.to_be_bytes()[..], &heartbeat_s.to_be_bytes()[..]];
    method_on(0, 10, 31, &arguments.concat())
}

pub(crate) fn open_vhost(name: &str) -> Vec<u8> {
    let mut arguments = Vec::new();
    short(&mut arguments, name);
    arguments.extend_from_slice(&[0, 0]);
    method_on(0, 10, 40, &arguments)
}
