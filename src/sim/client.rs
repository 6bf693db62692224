//! A client's side of the real connection, without a socket: methods go in as bytes, bytes come back as what it sees.
//!
//! It is polled as the pump polls: after its own bytes, and otherwise only when its waker was woken. What it holds and
//! waits for is its own bookkeeping; what that means for a queue is `model.rs`'s.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use bytes::{Buf, BytesMut};

use super::{model::Request, world::World};
use crate::{
    amqp::{
        connection::Connection,
        wire::{
            Arguments, Method, Properties, basic, channel, confirm, connection, content,
            frame::{self, Frame, PROTOCOL_HEADER},
            queue,
        },
    },
    data::value::Table,
    net::{listener::Ends, pump::Connection as _},
};

/// What a client sees.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The answer to its request, by name.
    Answer(&'static str),
    Message(Message),
    /// A publisher confirm.
    Confirm {
        delivery_tag: u64,
        multiple: bool,
    },
    /// A publisher confirm that says no.
    Nack {
        delivery_tag: u64,
        multiple: bool,
    },
    /// The consumer's queue is gone.
    Cancelled(String),
    /// An error that no client here provokes.
    Closed(String),
}

/// A delivery, or what `basic.get` got.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// `None`: by `basic.get`.
    pub(super) consumer_tag: Option<String>,
    pub(super) delivery_tag: u64,
    pub(super) redelivered: bool,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    /// Flags and list, as on the wire.
    pub(super) properties: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// A consumer of this client.
pub(super) struct Consumer {
    pub(super) queue: String,
    pub(super) no_ack: bool,
    pub(super) prefetch_count: u16,
    /// The newest message seen that was not a redelivery.
    pub(super) newest: Option<u64>,
}

/// A message that it has not settled.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) queue: String,
    pub(super) id: u64,
    pub(super) consumer_tag: Option<String>,
}

pub(super) struct Client {
    connection: Connection,
    /// Sent, not read by the server.
    socket: BytesMut,
    input: BytesMut,
    received: BytesMut,
    partial: Option<Message>,
    seen: VecDeque<Seen>,
    woken: Arc<Woken>,
    waker: Waker,
    /// The connection, then each channel.
    opened: u32,
    /// The answer it waits for, by name, and what it asked.
    pub(super) waits_for: Option<(&'static str, Option<Request>)>,
    /// Its last `basic.get`: the queue, and whether it settles at once.
    pub(super) got_from: Option<(String, bool)>,
    /// It has closed its channel: what is still delivered on it is nobody's.
    pub(super) closing: bool,
    pub(super) confirms: bool,
    pub(super) published: u64,
    pub(super) unconfirmed: BTreeMap<u64, u64>,
    pub(super) prefetch_count: u16,
    pub(super) consumers: BTreeMap<String, Consumer>,
    pub(super) consumers_made: u32,
    pub(super) held: BTreeMap<u64, Held>,
}

const CHANNEL: u16 = 1;
const FRAME_MAX: u32 = 8_192;

impl Client {
    /// Connects, logs in and opens a channel: nothing of that waits for the store.
    pub(super) fn connect(world: &World) -> Self {
        let address = ([127, 0, 0, 1], 5672).into();
        let now = world.clock.now();
        let connection =
            Connection::new(world.amqp.clone(), Ends { local: address, peer: address, tls: None }, now);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let mut client = Self {
            connection,
            socket: BytesMut::new(),
            input: BytesMut::new(),
            received: BytesMut::new(),
            partial: None,
            seen: VecDeque::new(),
            waker: woken.clone().into(),
            woken,
            opened: 0,
            waits_for: None,
            got_from: None,
            closing: false,
            confirms: false,
            published: 0,
            unconfirmed: BTreeMap::new(),
            prefetch_count: 0,
            consumers: BTreeMap::new(),
            consumers_made: 0,
            held: BTreeMap::new(),
        };
        client.socket.extend_from_slice(&PROTOCOL_HEADER);
        let start_ok = connection::StartOk {
            client_properties: Table::default(),
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
        };
        frame::put_method(&mut client.socket, 0, &start_ok);
        let tune_ok = connection::TuneOk { channel_max: 8, frame_max: FRAME_MAX, heartbeat: 0 };
        frame::put_method(&mut client.socket, 0, &tune_ok);
        let open = connection::Open { virtual_host: "/", ..connection::Open::default() };
        frame::put_method(&mut client.socket, 0, &open);
        client.open_channel(world);
        client
    }

    fn open_channel(&mut self, world: &World) {
        self.put(&channel::Open { reserved_1: "" });
        self.exchange(world);
        while self.seen.pop_front_if(|seen| *seen == Seen::Answer("open")).is_some() {
            self.opened += 1;
        }
        assert!(self.seen.is_empty() && self.opened >= 2, "{:?}", self.seen);
    }

    /// Forgets the closed channel and opens another.
    pub(super) fn reopen_channel(&mut self, world: &World) {
        self.closing = false;
        self.confirms = false;
        self.published = 0;
        self.unconfirmed.clear();
        self.prefetch_count = 0;
        self.consumers.clear();
        self.open_channel(world);
    }

    /// Puts a method into the socket.
    pub(super) fn put<'m, M: Arguments<'m>>(&mut self, method: &M) {
        frame::put_method(&mut self.socket, CHANNEL, method);
    }

    pub(super) fn put_publish(&mut self, exchange: &str, routing_key: &str, persistent: bool, body: &[u8]) {
        let delivery_mode = Some(if persistent { 2 } else { 1 });
        let properties = Properties { delivery_mode, ..Properties::default() };
        self.put_content(exchange, routing_key, &properties, body);
    }

    pub(super) fn put_content(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties<'_>,
        body: &[u8],
    ) {
        let mut encoded = BytesMut::new();
        properties.encode(&mut encoded);
        self.put_encoded(exchange, routing_key, &encoded, body);
    }

    pub(super) fn put_encoded(&mut self, exchange: &str, routing_key: &str, properties: &[u8], body: &[u8]) {
        let method = basic::Publish { exchange, routing_key, ..basic::Publish::default() };
        content::encode(&mut self.socket, CHANNEL, &method, properties, body, FRAME_MAX);
    }

    /// The server reads what is in the socket, if it reads.
    pub(super) fn exchange(&mut self, world: &World) {
        let now = world.clock.now();
        if self.connection.reading() && !self.socket.is_empty() {
            let sent = self.socket.split();
            self.input.extend_from_slice(&sent);
            self.connection.on_bytes(now, &mut self.input);
        }
        self.poll(world);
    }

    /// What the pump does when the connection's task was woken.
    pub(super) fn poll_if_woken(&mut self, world: &World) {
        if self.woken() {
            self.exchange(world);
        }
    }

    /// Something waits for it.
    pub(super) fn woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed)
    }

    fn poll(&mut self, world: &World) {
        loop {
            self.woken.0.store(false, Ordering::Relaxed);
            let mut cx = Context::from_waker(&self.waker);
            self.connection.poll(world.clock.now(), &mut self.input, &mut cx);
            let output = self.connection.output();
            let written = output.len();
            output.chunks().for_each(|chunk| self.received.extend_from_slice(chunk));
            output.advance(written);
            if !self.woken.0.load(Ordering::Relaxed) {
                break;
            }
        }
        self.read_frames();
    }

    /// The socket breaks: the server learns of it.
    pub(super) fn disconnect(&mut self, world: &World) {
        self.connection.on_end(world.clock.now());
    }

    /// The next thing it sees.
    pub(super) fn next_seen(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    fn read_frames(&mut self) {
        let received = self.received.split();
        let mut rest = &received[..];
        while let Some((raw, len)) = frame::next(rest, 0).unwrap() {
            match raw.frame().unwrap() {
                Frame::Heartbeat => {}
                Frame::Method(payload) => self.on_method(&Method::decode(payload).unwrap()),
                Frame::Header(header) => {
                    let message = self.partial.as_mut().expect("a header follows its method");
                    message.properties = header.properties.to_vec();
                    message.body.reserve_exact(usize::try_from(header.body_bytes).unwrap());
                    self.perhaps_whole();
                }
                Frame::Body(part) => {
                    let message = self.partial.as_mut().expect("a body follows its header");
                    message.body.extend_from_slice(part);
                    self.perhaps_whole();
                }
            }
            rest.advance(len);
        }
        assert!(rest.is_empty(), "the server writes whole frames");
    }

    fn perhaps_whole(&mut self) {
        if let Some(message) = self.partial.take_if(|m| m.body.len() == m.body.capacity()) {
            self.seen.push_back(Seen::Message(message));
        }
    }

    fn on_method(&mut self, method: &Method<'_>) {
        let seen = match method {
            Method::Connection(connection::Method::Start(_) | connection::Method::Tune(_)) => return,
            Method::Connection(connection::Method::OpenOk(_)) => Seen::Answer("open"),
            Method::Connection(connection::Method::Close(m)) => Seen::Closed(m.reply_text.to_owned()),
            Method::Channel(channel::Method::Close(m)) => Seen::Closed(m.reply_text.to_owned()),
            Method::Channel(channel::Method::OpenOk(_)) => Seen::Answer("open"),
            Method::Channel(channel::Method::CloseOk(_)) => Seen::Answer("close"),
            Method::Confirm(confirm::Method::SelectOk(_)) => Seen::Answer("select"),
            Method::Queue(queue::Method::DeclareOk(_)) => Seen::Answer("declare"),
            Method::Queue(queue::Method::BindOk(_)) => Seen::Answer("bind"),
            Method::Queue(queue::Method::UnbindOk(_)) => Seen::Answer("unbind"),
            Method::Queue(queue::Method::PurgeOk(_)) => Seen::Answer("purge"),
            Method::Queue(queue::Method::DeleteOk(_)) => Seen::Answer("delete"),
            Method::Basic(m) => match self.on_basic(m) {
                Some(seen) => seen,
                None => return,
            },
            Method::Exchange(_) => Seen::Answer("exchange"),
            Method::Tx(_) => Seen::Answer("tx"),
            Method::Access(_)
            | Method::Channel(_)
            | Method::Confirm(_)
            | Method::Connection(_)
            | Method::Queue(_) => Seen::Closed(format!("{method:?}")),
        };
        self.seen.push_back(seen);
    }

    fn on_basic(&mut self, method: &basic::Method<'_>) -> Option<Seen> {
        Some(match method {
            basic::Method::Deliver(m) => {
                self.partial = Some(Message {
                    consumer_tag: Some(m.consumer_tag.to_owned()),
                    delivery_tag: m.delivery_tag,
                    redelivered: m.redelivered,
                    exchange: m.exchange.to_owned(),
                    routing_key: m.routing_key.to_owned(),
                    properties: Vec::new(),
                    body: Vec::new(),
                });
                return None;
            }
            basic::Method::GetOk(m) => {
                self.partial = Some(Message {
                    consumer_tag: None,
                    delivery_tag: m.delivery_tag,
                    redelivered: m.redelivered,
                    exchange: m.exchange.to_owned(),
                    routing_key: m.routing_key.to_owned(),
                    properties: Vec::new(),
                    body: Vec::new(),
                });
                return None;
            }
            basic::Method::GetEmpty(_) => Seen::Answer("get-empty"),
            basic::Method::QosOk(_) => Seen::Answer("qos"),
            basic::Method::ConsumeOk(_) => Seen::Answer("consume"),
            basic::Method::CancelOk(_) => Seen::Answer("cancel"),
            basic::Method::RecoverOk(_) => Seen::Answer("recover"),
            basic::Method::Ack(m) => Seen::Confirm { delivery_tag: m.delivery_tag, multiple: m.multiple },
            basic::Method::Nack(m) => Seen::Nack { delivery_tag: m.delivery_tag, multiple: m.multiple },
            basic::Method::Cancel(m) => Seen::Cancelled(m.consumer_tag.to_owned()),
            basic::Method::Qos(_)
            | basic::Method::Consume(_)
            | basic::Method::Publish(_)
            | basic::Method::Return(_)
            | basic::Method::Get(_)
            | basic::Method::Reject(_)
            | basic::Method::RecoverAsync(_)
            | basic::Method::Recover(_) => Seen::Closed(format!("{method:?}")),
        })
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
