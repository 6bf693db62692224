//! The door over the memory store and a manual clock: bytes in, bytes out, and time when the test says so.

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use crypto_box::SecretKey;
use proptest::prelude::*;

use super::{
    Curve, Door, Mapping, Mode, Settings,
    connection::Connection,
    curve::tests::Peer as CurvePeer,
    keys,
    socket::Socket,
    wire::{
        command::Command,
        frame::{self, Front, Kind},
        greeting, metadata,
    },
};
use crate::{
    broker::{
        self, Broker,
        auth::{Permissions, User},
        exchange::ExchangeOptions,
        message::{Publish, Traits},
        publish::{Body, Publisher},
        queue::QueueOptions,
    },
    clock::Clock,
    data::value::{Table, Value},
    net::{listener::Ends, pump::Connection as _},
    store::{Durability, Options, Store},
};

/// A broker without a disk, whose store commits when told.
struct World {
    store: Store,
    clock: Clock,
    door: Arc<Door>,
    mapping: Mapping,
}

impl World {
    fn new() -> Self {
        let (store, clock) = (
            Store::manual(Options { durability: Durability::Fsync, ..Options::ephemeral() }),
            Clock::manual(1_700_000_000_000),
        );
        let settings = broker::recovery::Settings::of_tests(&clock);
        let broker = Broker::recover(store.clone(), settings).unwrap();
        broker.users.put(User::new("guest", "guest", &[], false).with_permissions("/", Permissions::full()));
        let secret = SecretKey::from([1; 32]);
        let settings = Settings {
            default_user: "guest".to_owned(),
            login_required: false,
            message_bytes_max: 100_000,
            subscriber_bytes_max: 10_000,
            handshake_timeout: Duration::from_secs(30),
            heartbeat: Some(Duration::from_secs(60)),
            curve: Some(Curve {
                server: keys::Pair { public: secret.public_key(), secret },
                clients: Some([(client_key(), "guest".to_owned())].into()),
            }),
        };
        let mapping = Mapping {
            queue: "zmq.queue".into(),
            queue_messages_max: 0,
            push_exchange: String::new(),
            exchange: "zmq.pubsub".into(),
            mode: Mode::Ack,
            requests: "zmq.req".into(),
            requests_max: 3,
        };
        let world = Self { store, clock, door: Door::new(broker, settings), mapping };
        world.commit();
        world
    }

    /// Everything in the inbox becomes durable.
    fn commit(&self) {
        while self.store.step(self.clock.now()) {}
    }

    fn connection_at(&self, peer: &str) -> Peer<'_> {
        let (mapping, local) = (Arc::new(self.mapping.clone()), "127.0.0.1:5555".parse().unwrap());
        let now = self.clock.now();
        let ends = Ends { local, peer: peer.parse().unwrap(), tls: None };
        let connection = Connection::new(self.door.clone(), mapping, &ends, now);
        Peer { world: self, connection, input: BytesMut::new(), greeted: 0, early: String::new() }
    }

    fn connection(&self) -> Peer<'_> {
        self.connection_at("127.0.0.1:50000")
    }

    /// A peer that has said what it is, by NULL.
    fn peer(&self, socket: &str) -> Peer<'_> {
        self.peer_of(socket, 1)
    }

    fn peer_of(&self, socket: &str, minor: u8) -> Peer<'_> {
        let mut peer = self.connection();
        peer.greet("NULL", minor);
        peer.command(&Command::Ready(&metadata_of(socket)));
        let said = peer.hear();
        peer.early = said.strip_prefix("READY ").unwrap_or_else(|| panic!("{said}")).to_owned();
        peer
    }

    /// The bodies that wait in a queue.
    fn waiting(&self, queue: &str) -> usize {
        self.door.broker.vhost("/").unwrap().find_queue(queue).map_or(0, |queue| queue.figures().ready)
    }

    fn publish(&self, exchange: &str, routing_key: &str, properties: &[u8], body: &[u8]) {
        let mut publisher = Publisher::new(self.door.broker.vhost("/").unwrap());
        let publish = Publish { exchange, routing_key, properties, traits: Traits::default() };
        publisher.publish(self.clock.now_ms(), &publish, || None, &mut Body::Copied(body)).unwrap();
        publisher.flush(self.clock.now_ms(), None);
    }
}

fn client_key() -> [u8; 32] {
    *SecretKey::from([2; 32]).public_key().as_bytes()
}

fn metadata_of(socket: &str) -> BytesMut {
    let mut out = BytesMut::new();
    metadata::put(&mut out, "Socket-Type", socket.as_bytes());
    out
}

/// A peer without a socket.
struct Peer<'a> {
    world: &'a World,
    connection: Connection,
    input: BytesMut,
    /// Octets of our greeting that have come.
    greeted: usize,
    /// What came with READY.
    early: String,
}

impl Peer<'_> {
    fn greet(&mut self, mechanism: &str, minor: u8) {
        let mut out = BytesMut::from(&greeting::HEAD[..]);
        out[11] = minor;
        greeting::put_rest(&mut out, mechanism, false);
        self.input.extend_from_slice(&out);
    }

    fn command(&mut self, command: &Command<'_>) {
        command.put(&mut self.input);
    }

    fn send(&mut self, parts: &[&str]) {
        for (at, part) in parts.iter().enumerate() {
            let kind = Kind::Message { more: at + 1 < parts.len() };
            frame::put(&mut self.input, kind, part.as_bytes());
        }
    }

    /// What comes, as raw octets.
    fn octets(&mut self) -> BytesMut {
        let now = self.world.clock.now();
        if self.connection.deadline().is_some_and(|at| at <= now) {
            self.connection.on_deadline(now);
        }
        if !self.input.is_empty() && self.connection.reading() {
            self.connection.on_bytes(now, &mut self.input);
        }
        self.connection.poll(now, &mut self.input, &mut Context::from_waker(Waker::noop()));
        let output = self.connection.output();
        let mut bytes: BytesMut = output.chunks().flatten().copied().collect::<Vec<u8>>()[..].into();
        output.advance(bytes.len());
        self.connection.on_written();
        let greeting = bytes.len().min(greeting::BYTES - self.greeted);
        self.greeted += greeting;
        bytes.advance(greeting);
        bytes
    }

    /// What comes: commands by their names, parts of a message with `+` between them.
    fn hear(&mut self) -> String {
        let bytes = self.octets();
        let mut said = std::mem::take(&mut self.early);
        let mut rest = &bytes[..];
        while let Front::Whole { frame, bytes } = frame::next(rest, 200_000).unwrap() {
            let text = String::from_utf8_lossy(frame.body);
            match frame.kind {
                Kind::Message { more } => said += &format!("{text}{}", if more { "+" } else { " " }),
                Kind::Command if frame.body.starts_with(b"^RROR") => {
                    said += &format!("ERROR {} ", &text[6..])
                }
                Kind::Command => {
                    let command = Command::decode(frame.body).unwrap();
                    said += &format!("{} ", command.name());
                    if let Command::Error { reason } = command {
                        said += &format!("{} ", String::from_utf8_lossy(reason));
                    }
                }
            }
            rest = &rest[bytes..];
        }
        said
    }

    /// As [`Peer::hear`], with everything durable.
    fn told(&mut self) -> String {
        let mut said = self.hear();
        self.world.commit();
        said += &self.hear();
        said
    }

    fn is_over(&self) -> bool {
        self.connection.finished()
    }

    fn end(mut self) {
        self.connection.on_end(self.world.clock.now());
    }
}

#[test]
fn a_request_is_answered_when_it_is_on_disk_and_in_order() {
    let world = World::new();
    let mut dealer = world.peer("DEALER");
    dealer.send(&["1", "", "a"]);
    dealer.send(&["b"]);
    assert_eq!(dealer.hear(), "");
    world.commit();
    assert_eq!(dealer.hear(), "1++OK OK ");
    assert_eq!(world.waiting("zmq.req"), 2);
    dealer.send(&["", "c"]);
    dealer.send(&["", "d"]);
    assert_eq!(dealer.told(), "+OK +ERR the queue of requests is full ");
}

#[test]
fn a_message_goes_to_one_pull_and_back_if_it_was_not_written() {
    let world = World::new();
    let (mut push, mut first, mut second) = (world.peer("PUSH"), world.peer("PULL"), world.peer("PULL"));
    for part in ["a", "b", "c", "d"] {
        push.send(&[part]);
    }
    push.send(&["x", "", "y"]);
    push.told();
    assert_eq!(first.hear(), "a c x++y ");
    // Gone before it has written b and d.
    second.connection.poll(world.clock.now(), &mut BytesMut::new(), &mut Context::from_waker(Waker::noop()));
    second.end();
    assert_eq!(first.told(), "b d ");
    assert_eq!(world.waiting("zmq.queue"), 0);
    first.end();
    let queue = world.door.broker.vhost("/").unwrap().find_queue("zmq.queue").unwrap();
    assert_eq!((queue.figures().unacked, queue.figures().ready), (0, 0));
}

#[test]
fn what_comes_after_a_pull_has_closed_its_side_goes_to_the_next() {
    let world = World::new();
    let (mut push, mut first) = (world.peer("PUSH"), world.peer("PULL"));
    push.send(&["a"]);
    push.told();
    first.connection.on_peer_closed();
    assert_eq!(first.hear(), "");
    push.send(&["b"]);
    push.told();
    first.hear();
    first.end();
    assert_eq!(world.peer("PULL").told(), "a b ");
}

#[test]
fn what_a_queue_refuses_is_kept_and_the_peer_not_read_until_there_is_room() {
    let mut world = World::new();
    world.mapping.queue_messages_max = 2;
    let mut push = world.peer("PUSH");
    for part in ["a", "b", "c", "d"] {
        push.send(&[part]);
    }
    push.told();
    assert_eq!((world.waiting("zmq.queue"), push.connection.reading()), (2, true));
    push.send(&["e"]);
    push.send(&["x".repeat(70_000).as_str()]);
    push.hear();
    assert!(!push.connection.reading(), "only so much is read meanwhile");
    let mut pull = world.peer("PULL");
    assert_eq!(pull.told(), "a b ");
    push.hear();
    push.told();
    let rest = pull.told();
    assert!(rest.starts_with("c d e xxx") && push.connection.reading(), "{}", rest.len());
}

#[test]
fn subscribers_hear_what_their_prefixes_ask_for_in_both_versions() {
    let world = World::new();
    let (mut new, mut old) = (world.peer("SUB"), world.peer_of("SUB", 0));
    new.command(&Command::Subscribe(b"top"));
    new.hear();
    old.send(&["\u{1}"]);
    old.hear();
    let mut publisher = world.connection();
    publisher.greet("NULL", 1);
    publisher.command(&Command::Ready(&metadata_of("PUB")));
    assert_eq!(publisher.hear(), "READY SUBSCRIBE ");
    publisher.send(&["topic", "1"]);
    publisher.send(&["other"]);
    publisher.hear();
    world.publish("zmq.pubsub", "topless", &[0, 0], b"by amqp");
    assert_eq!(new.hear(), "topic+1 topless+by amqp ");
    assert_eq!(old.hear(), "topic+1 other topless+by amqp ");
    new.command(&Command::Cancel(b"top"));
    new.hear();
    publisher.send(&["topic", "2"]);
    publisher.hear();
    assert_eq!((new.hear().as_str(), old.hear().as_str()), ("", "topic+2 "));
    let mut old = world.connection();
    old.greet("NULL", 0);
    old.command(&Command::Ready(&metadata_of("XPUB")));
    assert_eq!(old.hear(), "READY \u{1} ");
}

#[test]
fn a_worker_answers_by_reply_to_and_its_request_is_its_own_until_then() {
    let mut world = World::new();
    world.mapping.mode = Mode::Reply;
    let (mut req, mut lost) = (world.peer("REQ"), world.peer("REP"));
    req.send(&["", "question", "?"]);
    req.hear();
    let given = lost.told();
    assert!(given.ends_with("++question+? "), "{given}");
    lost.end();
    let mut rep = world.peer("REP");
    let given = rep.told();
    assert!(given.ends_with("++question+? "), "{given}");
    rep.send(&["\0\0\0\0\0\0\0\u{7}", "", "to nobody"]);
    rep.send(&["\0\0\0\0\0\0\0\u{1}", "", "answer", "!"]);
    rep.hear();
    assert_eq!(req.hear(), "+answer+! ");
    let queue = world.door.broker.vhost("/").unwrap().find_queue("zmq.req").unwrap();
    assert_eq!((queue.figures().unacked, queue.figures().ready), (0, 0));
}

#[test]
fn who_a_peer_is_decides_what_it_may() {
    let world = World::new();
    let permissions = Permissions::new("^$", "^zmq\\.req$", "^zmq\\.queue$").unwrap();
    world.door.broker.users.put(User::new("u", "p", &[], false).with_permissions("/", permissions));
    world.peer("PULL").end();
    world.peer("REQ").end();
    for (user, password, socket, expected) in [
        (&b"u"[..], &b"p"[..], "PULL", "WELCOME READY "),
        (b"/:u", b"p", "REQ", "WELCOME READY "),
        (b"u", b"p", "PUSH", "WELCOME ERROR 400 "),
        (b"u", b"p", "SUB", "WELCOME ERROR 400 "),
        (b"u", b"p", "PAIR", "WELCOME ERROR Invalid socket type "),
        (b"u", b"x", "PULL", "ERROR 400 "),
        (b"v:u", b"p", "PULL", "ERROR 400 "),
    ] {
        let mut peer = world.connection_at("192.0.2.1:50000");
        peer.greet("PLAIN", 1);
        let short = |octets: &[u8]| [&[u8::try_from(octets.len()).unwrap()], octets].concat();
        peer.command(&Command::Hello(&[short(user), short(password)].concat()));
        peer.command(&Command::Initiate(&metadata_of(socket)));
        assert_eq!(peer.hear(), expected, "{user:?} {socket}");
        assert_eq!(peer.is_over(), expected.contains("ERROR"));
    }
    let mut stranger = world.connection_at("192.0.2.1:50000");
    stranger.greet("NULL", 1);
    stranger.command(&Command::Ready(&metadata_of("PULL")));
    assert_eq!(stranger.hear(), "ERROR 400 ");
    let mut pull = world.peer("PULL");
    world.door.broker.users.put(User::new("guest", "guest", &[], false));
    pull.hear();
    assert!(pull.is_over(), "what it may not any more ends it");
}

#[test]
fn curve_seals_everything_and_knows_its_clients() {
    let world = World::new();
    let server = SecretKey::from([1; 32]).public_key();
    let mut pull = world.peer("PULL");
    let mut peer = world.connection();
    let mut client = CurvePeer::new(server.clone(), SecretKey::from([2; 32]));
    peer.greet("CURVE", 1);
    peer.command(&Command::Hello(&client.hello()));
    let welcome = peer.octets();
    let Front::Whole { frame, .. } = frame::next(&welcome, 1_000).unwrap() else { panic!("{welcome:?}") };
    let Ok(Command::Welcome(data)) = Command::decode(frame.body) else { panic!("{welcome:?}") };
    let initiate = client.initiate(data, &metadata_of("PUSH"));
    peer.command(&Command::Initiate(&initiate));
    let ready = peer.octets();
    let Front::Whole { frame, .. } = frame::next(&ready, 1_000).unwrap() else { panic!("{ready:?}") };
    let Ok(Command::Ready(data)) = Command::decode(frame.body) else { panic!("{ready:?}") };
    assert_eq!(client.opens(b"CurveZMQREADY---", data), metadata_of("PULL"));
    for (flags, part) in [(1, &b"secret"[..]), (0, b"part")] {
        let message = client.message(flags, part);
        frame::put(&mut peer.input, Kind::Message { more: false }, &message);
    }
    peer.told();
    assert_eq!(pull.told(), "secret+part ");
    frame::put(&mut peer.input, Kind::Message { more: false }, b"open");
    peer.hear();
    assert!(peer.is_over(), "what is not sealed is not heard");
    let mut stranger = world.connection();
    let mut client = CurvePeer::new(server, SecretKey::from([3; 32]));
    stranger.greet("CURVE", 1);
    stranger.command(&Command::Hello(&client.hello()));
    let welcome = stranger.octets();
    let Front::Whole { frame, .. } = frame::next(&welcome, 1_000).unwrap() else { panic!("{welcome:?}") };
    let Ok(Command::Welcome(data)) = Command::decode(frame.body) else { panic!("{welcome:?}") };
    let initiate = client.initiate(data, &metadata_of("PUSH"));
    stranger.command(&Command::Initiate(&initiate));
    assert_eq!(stranger.hear(), "ERROR 400 ");
}

#[test]
fn a_ping_is_answered_and_a_silent_peer_is_asked_and_let_go() {
    let world = World::new();
    let mut pull = world.peer("PULL");
    pull.command(&Command::Ping { ttl: 0, context: b"c" });
    assert_eq!(pull.hear(), "PONG ");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(pull.hear(), "PING ");
    pull.command(&Command::Pong { context: b"" });
    pull.hear();
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(pull.hear(), "PING ");
    world.clock.advance(Duration::from_secs(60));
    pull.hear();
    assert!(pull.is_over());
    let mut mute = world.connection();
    mute.hear();
    world.clock.advance(Duration::from_secs(30));
    mute.hear();
    assert!(mute.is_over(), "a handshake has its time");
}

#[test]
fn what_is_no_zmtp_or_too_large_ends_the_connection() {
    let world = World::new();
    let mut http = world.connection();
    http.input.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    http.hear();
    assert!(http.is_over());
    let mut gssapi = world.connection();
    gssapi.greet("GSSAPI", 1);
    assert_eq!(gssapi.hear(), "");
    assert!(gssapi.is_over());
    let mut push = world.peer("PUSH");
    push.send(&["x".repeat(60_000).as_str(), ""]);
    push.hear();
    push.send(&["x".repeat(60_000).as_str(), "x".repeat(60_000).as_str()]);
    push.hear();
    assert!(push.is_over(), "all parts together count");
    let mut pull = world.peer("PULL");
    pull.send(&["hello"]);
    pull.hear();
    assert!(pull.is_over(), "a PULL sends nothing");
    let mut push = world.peer("PUSH");
    push.command(&Command::Subscribe(b""));
    push.hear();
    assert!(push.is_over(), "a PUSH subscribes to nothing");
}

#[test]
fn what_amqp_says_of_parts_is_what_a_pull_gets() {
    let world = World::new();
    let vhost = world.door.broker.vhost("/").unwrap();
    let options =
        QueueOptions { durable: false, auto_delete: false, exclusive: None, arguments: Table::default() };
    vhost.declare_queue("zmq.queue", broker::queue::ConnectionId(0), options).unwrap();
    let parts = Value::Array(vec![Value::LongStr("a".into()), Value::Binary("b".into())]);
    let headers = Table(vec![("zmq-parts".to_owned(), parts)]);
    let properties = crate::data::field::Properties::default().with_headers(&headers);
    world.publish("", "zmq.queue", &properties, b"c");
    world.publish("", "zmq.queue", &[0, 0], &[b'x'; 10_000]);
    let mut pull = world.peer("PULL");
    assert_eq!(pull.hear(), format!("a+b+c {} ", "x".repeat(10_000)));
}

#[test]
fn a_server_that_goes_down_answers_what_it_stored_and_gives_out_no_more() {
    let world = World::new();
    let (mut req, mut pull, mut push) = (world.peer("REQ"), world.peer("PULL"), world.peer("PUSH"));
    req.send(&["", "a"]);
    req.hear();
    let now = world.clock.now();
    for peer in [&mut req, &mut pull] {
        peer.connection.on_shutdown(now);
    }
    assert!(!req.is_over() && pull.is_over());
    push.send(&["late"]);
    push.hear();
    assert_eq!(pull.hear(), "");
    assert_eq!(req.told(), "+OK ");
    assert!(req.is_over());
    pull.end();
    assert_eq!(world.waiting("zmq.queue"), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_octets_are_heard_or_end_the_connection(
        socket in proptest::sample::select(Socket::ALL.to_vec()),
        begun in 0usize..3,
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        flags in proptest::collection::vec(0u8..8, 0..20),
    ) {
        let world = World::new();
        let mut peer = world.connection();
        if begun > 0 {
            peer.greet("NULL", 1);
        }
        if begun > 1 {
            peer.command(&Command::Ready(&metadata_of(socket.name())));
        }
        // Frames that could be, then anything.
        for (at, flags) in flags.into_iter().enumerate() {
            peer.input.extend_from_slice(&[flags, 3]);
            peer.input.extend_from_slice(bytes.get(at..at + 3).unwrap_or(b"\x01ab"));
            peer.octets();
        }
        peer.input.extend_from_slice(&bytes);
        peer.octets();
        world.commit();
        peer.octets();
        peer.end();
    }
}

#[test]
fn who_subscribes_to_an_exchange_that_is_gone_is_sent_away() {
    for again in [false, true] {
        let world = World::new();
        let vhost = world.door.broker.vhost("/").unwrap();
        let mut subscriber = world.peer("SUB");
        vhost.delete_exchange("zmq.pubsub", false).unwrap();
        if again {
            vhost.declare_exchange("zmq.pubsub", ExchangeOptions::durable("topic")).unwrap();
        }
        subscriber.hear();
        assert!(!subscriber.is_over(), "nobody knows of it yet");
        subscriber.command(&Command::Subscribe(b"news"));
        subscriber.hear();
        assert!(subscriber.is_over());
    }
}

#[test]
fn who_comes_into_a_vhost_that_is_going_is_sent_away() {
    let world = World::new();
    world.peer("PULL").end();
    world.door.broker.vhost("/").unwrap().settings.end();
    let mut late = world.peer("PULL");
    late.hear();
    assert!(late.is_over());
}
