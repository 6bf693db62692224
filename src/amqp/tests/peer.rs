//! A broker that stands still, and a client of it that has no socket.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::BytesMut;

use super::bytes::{login, open};
use crate::{
    amqp::{
        Door, Settings,
        connection::Connection,
        wire::{
            Method,
            frame::{self, Frame},
        },
    },
    broker::{
        Broker,
        auth::{Permissions, User},
        recovery,
        vhost::Vhost,
    },
    clock::Clock,
    net::{listener::Ends, pump::Connection as _},
    store::{Options, Store},
};

pub(super) struct World {
    pub(super) broker: Arc<Broker>,
    store: Store,
    clock: Clock,
}

impl World {
    pub(super) fn new() -> Self {
        let world = Self::on(Store::manual(Options::small_disk()));
        world.settle();
        world
    }

    fn on(store: Store) -> Self {
        let clock = Clock::manual(1_000_000);
        let settings = recovery::Settings { tail_bytes_max: 1 << 20, ..recovery::Settings::of_tests(&clock) };
        let broker = Broker::recover(store.clone(), settings).unwrap();
        let all = Permissions::new(".*", ".*", ".*").unwrap();
        broker.users.put(User::new("guest", "guest", &[], true).with_permissions("/", all));
        Self { broker, store, clock }
    }

    /// The power fails; what was synced comes back.
    pub(super) fn crash(&self) -> Self {
        Self::on(Store::open_on(self.store.crash(1).unwrap(), Options::small_disk()).unwrap())
    }

    pub(super) fn vhost(&self) -> Arc<Vhost> {
        self.broker.vhost("/").unwrap()
    }

    /// Everything that waits for the log is in it.
    pub(super) fn settle(&self) {
        while self.store.step(self.clock.now()) {}
    }

    /// A connection that has said nothing.
    pub(super) fn stranger(&self) -> Peer {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let now = self.clock.now();
        let door = Door::new(self.broker.clone(), Settings::of(self.broker.core.profile));
        let connection = Connection::new(door, Ends { local: address, peer: address, tls: None }, now);
        let woken = Arc::<Woken>::default();
        Peer { connection, input: BytesMut::new(), now, woken, clock: self.clock.clone(), ended: false }
    }

    /// A connection with channel 1 open.
    pub(super) fn peer(&self, heartbeat_s: u16) -> Peer {
        let mut peer = self.stranger();
        peer.send(&[login(heartbeat_s), open(1)].concat());
        assert_eq!(peer.said(), ["10.10", "10.30", "10.41", "20.11"]);
        peer
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) struct Peer {
    pub(super) connection: Connection,
    input: BytesMut,
    now: Instant,
    woken: Arc<Woken>,
    clock: Clock,
    ended: bool,
}

impl Peer {
    /// What the pump does with bytes that come. It reads no more when it is told not to.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        if self.connection.reading() {
            self.connection.on_bytes(self.now, &mut self.input);
        }
        self.poll();
    }

    pub(super) fn poll(&mut self) {
        let waker = Waker::from(self.woken.clone());
        self.connection.poll(self.now, &mut self.input, &mut Context::from_waker(&waker));
    }

    pub(super) fn woken(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }

    /// Something comes while nothing is taken.
    pub(super) fn live(&mut self) {
        self.connection.on_life(self.now);
    }

    pub(super) fn unread(&self) -> usize {
        self.input.len()
    }

    /// Time passes, and deadlines are kept.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.clock.advance(time);
        while let Some(deadline) = self.connection.deadline().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.connection.on_deadline(self.now);
            if self.connection.finished() {
                break;
            }
        }
        self.now = until;
    }

    /// What came since the last call: methods by their ids.
    pub(super) fn said(&mut self) -> Vec<String> {
        let output = self.connection.output();
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        output.advance(bytes.len());
        let (mut rest, mut lines) = (&bytes[..], Vec::new());
        while let Ok(Some((raw, len))) = frame::next(rest, 0) {
            match raw.frame().unwrap() {
                Frame::Method(payload) => lines.push(Method::decode(payload).unwrap().id().to_string()),
                Frame::Heartbeat => lines.push("heartbeat".to_owned()),
                Frame::Header(_) | Frame::Body(_) => {}
            }
            rest = &rest[len..];
        }
        lines
    }

    pub(super) fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.connection.on_end(self.now);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}
