//! The door over the memory store and a manual clock: bytes in, bytes out, and time when the test says so.

mod connection;
mod groups;
mod log;
mod topics;
mod transactions;

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use super::{Door, Settings, connection::Connection, fault::ErrorCode, wire};
use crate::{
    broker::{self, Broker},
    clock::Clock,
    net::{listener::Ends, pump::Connection as _},
    store::{Options, Store},
};
use wire::{
    Message,
    header::{RequestHeader, decode_response, encode_request},
};

pub(super) fn settings() -> Settings {
    Settings {
        advertised: None,
        tls_advertised: None,
        num_partitions: 1,
        replication_factor_clamp: false,
        auto_create_topics: true,
        request_bytes_max: 100 * 1024 * 1024,
        message_bytes_max: 1_048_588,
        sasl: false,
        login_lifetime: None,
        cluster_id: "test-cluster".into(),
        log_dir: Default::default(),
    }
}

/// A broker without a disk, whose store commits when told.
struct World {
    store: Store,
    clock: Clock,
    door: Arc<Door>,
}

impl World {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: Settings) -> Self {
        let store = Store::manual(Options::ephemeral());
        let clock = Clock::manual(1_700_000_000_000);
        let broker_settings = broker::recovery::Settings::of_tests(&clock);
        let broker = Broker::recover(store.clone(), broker_settings).unwrap();
        let world = Self { store, clock, door: Door::new(broker, settings) };
        world.commit();
        world
    }

    /// Everything in the inbox becomes durable.
    fn commit(&self) {
        while self.store.step(self.clock.now()) {}
    }

    fn client(&self) -> Client<'_> {
        let (peer, local) = ("127.0.0.1:50000".parse().unwrap(), "127.0.0.1:9092".parse().unwrap());
        let connection =
            Connection::new(self.door.clone(), Ends { local, peer, tls: None }, self.clock.now());
        Client { world: self, connection, input: BytesMut::new(), sent: 0 }
    }
}

/// A connection without a socket.
struct Client<'a> {
    world: &'a World,
    connection: Connection,
    input: BytesMut,
    sent: i32,
}

impl Client<'_> {
    fn send<M: Message>(&mut self, version: i16, request: &M) {
        self.sent += 1;
        let header = RequestHeader {
            api_key: M::KEY,
            api_version: version,
            correlation_id: self.sent,
            client_id: Some("test".into()),
        };
        let frame = encode_request(&header, request).unwrap().concat();
        self.bytes(&frame);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let now = self.world.clock.now();
        if self.connection.reading() {
            self.connection.on_bytes(now, &mut self.input);
        }
        self.poll();
    }

    fn poll(&mut self) {
        let now = self.world.clock.now();
        if self.connection.deadline().is_some_and(|at| at <= now) {
            self.connection.on_deadline(now);
        }
        self.connection.poll(now, &mut self.input, &mut Context::from_waker(Waker::noop()));
    }

    /// The next frame to the client, if there is one.
    fn frame(&mut self) -> Option<Bytes> {
        let waiting: Vec<u8> = self.connection.output().chunks().flatten().copied().collect();
        let (length, rest) = waiting.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap();
        let frame = Bytes::copy_from_slice(&rest[..length]);
        self.connection.output().advance(4 + length);
        Some(frame)
    }

    fn receive<M: Message>(&mut self, version: i16) -> Option<(i32, M)> {
        self.frame().map(|frame| decode_response(frame, version).unwrap())
    }

    /// Sends, commits whatever is to be committed, and takes the answer.
    fn call<Q: Message, R: Message>(&mut self, version: i16, request: &Q) -> R {
        self.send(version, request);
        self.answer(version)
    }

    fn answer<R: Message>(&mut self, version: i16) -> R {
        for _ in 0..8 {
            self.world.commit();
            self.poll();
        }
        let (correlation_id, response) = self.receive(version).expect("an answer");
        assert_eq!(correlation_id, self.sent);
        response
    }

    fn advance(&mut self, by: Duration) {
        self.world.clock.advance(by);
        self.poll();
    }
}

const OK: i16 = ErrorCode::None.code();
