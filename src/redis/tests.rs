//! The door over the memory store and a manual clock: bytes in, bytes out, and time when the test says so.

use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use bytes::BytesMut;

use super::{Door, Settings, connection::Connection};
use crate::{
    broker::{
        self, Broker,
        channels::Heard,
        exchange::{Binding, ExchangeOptions, Target},
        keyspace::lending::ListFigures,
        list::queue::ListQueue,
        outlet::{Event, Outlet},
        queue::{ConnectionId, ConsumerId, Queue, QueueOptions, Seq, consumers::ConsumerSpec, serving::Got},
        tests::within_30_s,
        vhost::Vhost,
    },
    clock::Clock,
    data::value::{Table, Value},
    net::{listener::Ends, pump::Connection as _},
    store::{Options, Store},
};

/// A broker without a disk, whose store commits when told.
struct World {
    store: Store,
    clock: Clock,
    door: Arc<Door>,
}

impl World {
    fn new() -> Self {
        Self::with(usize::MAX, false)
    }

    fn with(memory_limit_bytes: usize, login_required: bool) -> Self {
        let store = Store::manual(Options::small_disk());
        Self::on(store, Clock::manual(1_700_000_000_000), memory_limit_bytes, login_required)
    }

    fn on(store: Store, clock: Clock, memory_limit_bytes: usize, login_required: bool) -> Self {
        let settings =
            broker::recovery::Settings { memory_limit_bytes, ..broker::recovery::Settings::of_tests(&clock) };
        let broker = Broker::recover(store.clone(), settings).unwrap();
        broker.users.put(
            broker::auth::User::new("guest", "guest", &[], false)
                .with_permissions("/", broker::auth::Permissions::full()),
        );
        let settings = Settings {
            default_user: "guest".to_owned(),
            login_required,
            bulk_bytes_max: 1 << 20,
            request_bytes_max: 1 << 20,
            port: 6379,
        };
        let world = Self { store, clock: clock.clone(), door: Door::new(broker, settings, clock.now()) };
        world.commit();
        world
    }

    /// A new broker on what the store holds.
    fn again(self) -> Self {
        self.commit();
        Self::on(self.store, self.clock, usize::MAX, false)
    }

    /// Everything in the inbox becomes durable.
    fn commit(&self) {
        while self.store.step(self.clock.now()) {}
    }

    fn vhost(&self) -> Arc<Vhost> {
        self.door.broker.vhost("/").unwrap()
    }

    /// A queue that is bound to the channels.
    fn bound(&self, name: &str, channel: &str, arguments: Table) -> Arc<Queue> {
        let (vhost, me) = (self.vhost(), ConnectionId(u64::MAX));
        vhost.need_channels().unwrap();
        let options = QueueOptions { durable: true, auto_delete: false, exclusive: None, arguments };
        let queue = vhost.declare_queue(name, me, options).unwrap().queue;
        let target = Target::Queue(queue.clone());
        let binding = Binding { target, routing_key: channel.into(), arguments: Table::default() };
        vhost.bind("redis.pubsub", binding).unwrap();
        queue
    }

    fn client(&self) -> Client<'_> {
        self.client_at("127.0.0.1:50000")
    }

    fn client_at(&self, peer: &str) -> Client<'_> {
        let local = "127.0.0.1:6379".parse().unwrap();
        let ends = Ends { local, peer: peer.parse().unwrap(), tls: None };
        let connection = Connection::new(self.door.clone(), ends, self.clock.now());
        Client { world: self, connection, input: BytesMut::new() }
    }
}

/// A connection without a socket.
struct Client<'a> {
    world: &'a World,
    connection: Connection,
    input: BytesMut,
}

impl Client<'_> {
    /// Sends lines and says what has come by then.
    fn ask(&mut self, lines: &str) -> String {
        self.input.extend_from_slice(lines.as_bytes());
        self.input.extend_from_slice(b"\r\n");
        self.hear()
    }

    /// As [`Client::ask`], with everything durable.
    fn told(&mut self, lines: &str) -> String {
        let mut heard = self.ask(lines);
        self.world.commit();
        heard += &self.hear();
        heard
    }

    fn hear(&mut self) -> String {
        let now = self.world.clock.now();
        let cx = &mut Context::from_waker(Waker::noop());
        if self.connection.deadline().is_some_and(|at| at <= now) {
            self.connection.on_deadline(now);
        }
        self.connection.poll(now, &mut self.input, cx);
        let output = self.connection.output();
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        output.advance(bytes.len());
        String::from_utf8(bytes).unwrap().replace("\r\n", " ")
    }

    fn end(mut self) {
        self.connection.on_end(self.world.clock.now());
    }
}

#[test]
fn a_reply_leaves_when_what_it_confirms_is_durable_and_those_behind_it_keep_their_place() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(client.ask("lpush q a b\r\nllen q\r\nping"), "");
    assert_eq!(client.ask("ping"), "");
    world.commit();
    assert_eq!(client.hear(), ":2 :2 +PONG +PONG ");
    assert_eq!(client.ask("llen q"), ":2 ", "what changes nothing waits for nothing");
}

#[test]
fn one_element_goes_to_who_has_waited_longest() {
    let world = World::new();
    let (mut first, mut second, mut third) = (world.client(), world.client(), world.client());
    assert_eq!(first.ask("blpop p q 0"), "");
    assert_eq!(second.ask("brpop q 0"), "");
    assert_eq!(third.told("rpush q a\r\nllen q"), ":1 :0 ");
    assert_eq!((first.hear().as_str(), second.hear().as_str()), ("*2 $1 q $1 a ", ""));
    assert_eq!(third.told("rpush q b c"), ":2 ");
    assert_eq!(second.hear(), "*2 $1 q $1 c ");
    assert_eq!(third.ask("lrange q 0 -1"), "*1 $1 b ");
}

#[test]
fn a_transaction_is_whole_before_anybody_is_served() {
    let world = World::new();
    let (mut waiter, mut client) = (world.client(), world.client());
    waiter.ask("blpop q 0");
    assert_eq!(client.told("multi\r\nrpush q a b\r\nlpop q\r\nexec"), "+OK +QUEUED +QUEUED *2 :2 $1 a ");
    assert_eq!(waiter.hear(), "*2 $1 q $1 b ");
}

#[test]
fn a_move_serves_who_waits_at_its_other_end() {
    let world = World::new();
    let (mut mover, mut waiter, mut client) = (world.client(), world.client(), world.client());
    mover.ask("blmove a b right left 0");
    waiter.ask("blpop b 0");
    client.told("rpush a 1");
    assert_eq!((mover.hear().as_str(), waiter.hear().as_str()), ("$1 1 ", "*2 $1 b $1 1 "));
    mover.ask("blmove a b right left 0");
    client.told("set b text\r\nrpush a 2");
    assert!(mover.hear().starts_with("-WRONGTYPE"));
    assert_eq!(client.ask("llen a"), ":1 ", "what cannot be moved stays");
}

#[test]
fn a_client_that_goes_while_it_waits_loses_nothing() {
    let world = World::new();
    let (mut waiter, mut client) = (world.client(), world.client());
    // Gone before anything came.
    waiter.ask("blpop q 0");
    waiter.end();
    assert_eq!(client.told("rpush q a b"), ":2 ");
    assert_eq!(client.told("del q"), ":1 ");
    // Gone when it was served, and before it has heard of it.
    for heard_of in [false, true] {
        let mut waiter = world.client();
        waiter.ask("blmpop 0 1 q left count 2");
        client.told("rpush q a b c");
        client.told("rpush q d");
        if heard_of {
            client.ask("rpush q e");
            waiter.hear();
        }
        waiter.end();
        world.commit();
        client.hear();
        if !heard_of {
            assert_eq!(client.ask("lrange q 0 -1"), "*4 $1 a $1 b $1 c $1 d ");
        }
        client.told("del q");
    }
}

#[test]
fn waiting_ends_with_its_time() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(client.ask("blpop q 1.5"), "");
    world.clock.advance(Duration::from_millis(1_499));
    assert_eq!(client.hear(), "");
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(client.hear(), "*-1 ");
    assert_eq!(client.told("rpush q a\r\nllen q"), ":1 :1 ", "it waits no more");
}

#[test]
fn keys_go_by_domain_time_and_who_watches_them_notices() {
    let world = World::new();
    let (mut client, mut watcher) = (world.client(), world.client());
    client.told("set k v px 100\r\nset stays v");
    watcher.told("watch k\r\nmulti\r\nget k");
    world.clock.advance(Duration::from_millis(99));
    assert_eq!(client.ask("pttl k\r\nget k"), ":1 $1 v ");
    world.clock.advance(Duration::from_millis(1));
    world.door.broker.on_deadlines(world.clock.now_ms());
    assert_eq!(client.told("get k\r\ndbsize"), "$-1 :1 ");
    assert_eq!(watcher.told("exec"), "*-1 ");
}

#[test]
fn what_is_durable_is_there_again() {
    let world = World::new();
    let mut client = world.client();
    client
        .told("rpush q a b c\r\nlpush q z\r\nlrem q 1 b\r\nlinsert q after a x\r\nrpush gone 1\r\ndel gone");
    client.told("select 3\r\nset k v\r\nexpire k 100\r\nrpush other 1\r\nrename other renamed");
    drop(client);
    let world = world.again();
    let mut client = world.client();
    assert_eq!(client.ask("lrange q 0 -1\r\ndbsize"), "*4 $1 z $1 a $1 x $1 c :1 ");
    assert_eq!(
        client.ask("select 3\r\nttl k\r\nget k\r\nlrange renamed 0 -1\r\ndbsize"),
        "+OK :100 $1 v *1 $1 1 :2 "
    );
    client.told("select 0\r\nlpush q y\r\nrpush q d");
    drop(client);
    let world = world.again();
    assert_eq!(world.client().ask("lrange q 0 -1"), "*6 $1 y $1 z $1 a $1 x $1 c $1 d ");
}

#[test]
fn above_the_watermark_writers_are_refused_and_readers_make_room() {
    let world = World::with(10_000, false);
    let mut client = world.client();
    client.told(&format!("rpush q {}", "x".repeat(20_000)));
    assert_eq!(client.told("rpush q a"), "-OOM command not allowed when used memory > 'maxmemory'. ");
    assert!(client.told("lpop q").starts_with("$20000 "));
    assert_eq!(client.told("rpush q a"), ":1 ");
}

#[test]
fn who_must_log_in_does_so_first() {
    let strangers = World::new();
    let mut client = strangers.client_at("192.0.2.1:50000");
    assert_eq!(
        client.told("ping\r\nlpush q a"),
        "-NOAUTH Authentication required. -NOAUTH Authentication required. "
    );
    assert_eq!(
        client.told("auth guest wrong"),
        "-WRONGPASS invalid username-password pair or user is disabled. "
    );
    assert_eq!(client.told("auth guest guest\r\nping"), "+OK +PONG ");
    assert_eq!(
        client.told("auth nobody:guest guest"),
        "-WRONGPASS invalid username-password pair or user is disabled. "
    );
    let locked = World::with(usize::MAX, true);
    let mut client = locked.client();
    assert!(client.told("hello 3").starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(client.told("*11"), "-ERR Protocol error: unauthenticated multibulk length ");
    let mut client = locked.client();
    assert_eq!(client.told("auth guest\r\nping"), "+OK +PONG ");
}

#[test]
fn keys_are_asked_for_under_the_names_that_amqp_has_for_them() {
    let world = World::new();
    let permissions = broker::auth::Permissions::new("^$", "^redis\\.0\\.w", "^redis\\.0\\.r").unwrap();
    let user = broker::auth::User::new("u", "p", &[], false).with_permissions("/", permissions);
    world.door.broker.users.put(user);
    let mut client = world.client();
    client.told("rpush r a\r\nauth u p");
    assert_eq!(client.told("rpush w a\r\nllen r"), ":1 :1 ");
    let refused = "-NOPERM this user has no permissions to access one of the keys used as arguments ";
    for line in ["llen w", "rpush r a", "lmove w r left left", "mget r w"] {
        assert_eq!(client.told(line), refused, "{line}");
    }
}

#[test]
fn what_is_no_redis_client_is_cut_off() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nset a b"), "");
    assert!(client.connection.finished());
    let mut client = world.client();
    assert_eq!(client.ask("*1\r\n:1"), "-ERR Protocol error: expected '$', got ':' ");
    assert!(client.connection.finished());
}

#[test]
fn a_client_that_waits_is_read_from_only_so_far() {
    let world = World::new();
    let mut client = world.client();
    client.ask("blpop q 0");
    assert!(client.connection.reading());
    client.ask(&"x".repeat(300 * 1024));
    assert!(!client.connection.reading());
}

/// A consumer of a list, as a connection of another door is one.
struct Consumer {
    outlet: Arc<Outlet>,
    list: Arc<ListQueue>,
    id: ConsumerId,
}

impl Consumer {
    fn new(world: &World, name: &str, prefetch_count: u32) -> Self {
        let list = world.door.broker.vhost("/").unwrap().find_list(name).unwrap();
        let outlet = Arc::<Outlet>::default();
        let spec = ConsumerSpec {
            channel: 1,
            consumer_tag: "c".into(),
            no_ack: false,
            exclusive: false,
            priority: 0,
            prefetch_count,
            outlet: outlet.clone(),
            credit: Arc::default(),
        };
        let id = list.consume(spec).unwrap();
        list.pump(id);
        Self { outlet, list, id }
    }

    /// What was delivered since: bodies, those that came back with a star, and by what they are settled.
    fn hear(&self) -> (String, Vec<Seq>) {
        let (mut events, mut text, mut seqs) = (Vec::new(), String::new(), Vec::new());
        let resumed = self.outlet.drain(&mut events, Waker::noop());
        resumed.iter().for_each(|server| server.resume(&self.outlet));
        for event in events {
            let Event::Deliver { entry, .. } = event else { panic!("{event:?}") };
            text += std::str::from_utf8(entry.message.body()).unwrap();
            text += if entry.redelivered { "* " } else { " " };
            seqs.push(entry.seq);
        }
        (text, seqs)
    }
}

#[test]
fn consumers_that_acknowledge_stand_in_one_line_with_those_who_wait() {
    let world = World::new();
    let (mut waiter, mut client) = (world.client(), world.client());
    let first = Consumer::new(&world, "redis.0.q", 2);
    waiter.ask("brpop q 0");
    let second = Consumer::new(&world, "redis.0.q", 0);
    assert_eq!(client.told("lpush q a b c d e"), ":5 ");
    assert_eq!(waiter.hear(), "*2 $1 q $1 b ");
    let (heard, seqs) = first.hear();
    assert_eq!((heard.as_str(), second.hear().0.as_str()), ("a d ", "c e "));
    client.told("lpush q f");
    assert_eq!((first.hear().0.as_str(), second.hear().0.as_str()), ("", "f "), "it has two already");
    assert_eq!(client.ask("llen q\r\nexists q\r\ndbsize\r\nkeys *"), ":0 :0 :0 *0 ");
    first.list.settle(Some(first.id), &seqs[..1]);
    client.told("lpush q g h");
    let shared = (first.hear().0, second.hear().0);
    assert!(shared == ("g ".to_owned(), "h ".to_owned()) || shared == ("h ".to_owned(), "g ".to_owned()));
    assert_eq!(first.list.figures(), ListFigures { unacked: 6, consumers: 2, ..first.list.figures() });
}

#[test]
fn what_is_not_acknowledged_lies_where_it_was() {
    let world = World::new();
    let mut client = world.client();
    client.told("lpush q a b c d");
    let consumer = Consumer::new(&world, "redis.0.q", 3);
    let (heard, seqs) = consumer.hear();
    assert_eq!(heard, "a b c ");
    consumer.list.cancel(consumer.id);
    consumer.list.settle(Some(consumer.id), &seqs[1..2]);
    consumer.list.requeue(Some(consumer.id), &[seqs[0], seqs[2]]);
    assert_eq!(client.told("lrange q 0 -1"), "*3 $1 d $1 c $1 a ");
    // What came back is told apart from what never went.
    client.told("rpush q e");
    let consumer = Consumer::new(&world, "redis.0.q", 0);
    assert_eq!(consumer.hear().0, "e a* c* d ");
    // Where the key holds something else by now there is no place for it.
    client.told("set q text");
    consumer.list.requeue(Some(consumer.id), &consumer.hear().1);
    assert_eq!(client.told("get q"), "$4 text ");
    assert!(world.door.broker.vhost("/").unwrap().find_list("redis.0.q").is_none());
}

#[test]
fn what_was_lent_before_a_crash_lies_where_it_was() {
    let world = World::new();
    let mut client = world.client();
    client.told("lpush q a b c d");
    let consumer = Consumer::new(&world, "redis.0.q", 3);
    let (_, seqs) = consumer.hear();
    consumer.list.cancel(consumer.id);
    consumer.list.settle(Some(consumer.id), &seqs[..1]);
    drop(client);
    let world = world.again();
    let mut client = world.client();
    assert_eq!(client.ask("lrange q 0 -1\r\ndbsize"), "*3 $1 d $1 c $1 b :1 ");
    assert_eq!(Consumer::new(&world, "redis.0.q", 0).hear().0, "b* c* d ");
    client.told("flushall");
    drop(client);
    let world = world.again();
    assert_eq!(world.client().ask("lrange q 0 -1"), "*3 $1 d $1 c $1 b ", "what is lent is nobody else's");
}

#[test]
fn a_consumer_whose_outlet_is_full_goes_on_once_it_is_read() {
    let world = World::new();
    let mut client = world.client();
    let body = "x".repeat(1_000);
    let consumer = Consumer::new(&world, "redis.0.q", 0);
    client.told(&format!("lpush q{}", format!(" {body}").repeat(20)));
    let mut heard = Vec::new();
    while heard.len() < 20 {
        let (_, seqs) = consumer.hear();
        assert!((1..10).contains(&seqs.len()), "{}", seqs.len());
        heard.extend(seqs);
    }
    consumer.list.settle(Some(consumer.id), &heard);
    assert!(!ListFigures { consumers: 0, ..consumer.list.figures() }.in_use());
}

/// Bodies that wait in a queue.
fn drain(queue: &Arc<Queue>) -> Vec<String> {
    let outlet = Arc::<Outlet>::default();
    std::iter::from_fn(|| match queue.get(true, &outlet) {
        Got::Message { entry, .. } => Some(String::from_utf8(entry.message.body().to_vec()).unwrap()),
        Got::Empty | Got::Wait => None,
    })
    .collect()
}

fn text(name: &str, value: &str) -> (String, Value) {
    (name.to_owned(), Value::LongStr(value.to_owned().into_bytes().into()))
}

#[test]
fn what_comes_behind_unsubscribe_is_not_taken_for_the_next_reply() {
    let world = World::new();
    let mut client = world.client();
    let outlet = world.door.clients.all()[0].outlet.clone();
    // Somebody who publishes looks who listens, and tells them a moment later.
    let late = |channel: &str, pattern: Option<&[u8]>| {
        let (channel, message) = (channel.as_bytes().into(), b"late".as_slice().into());
        let heard = Heard { pattern: pattern.map(Into::into), channel, message };
        outlet.deliver(&mut vec![Event::Heard(heard)], 4);
    };
    client.ask("subscribe a b\r\npsubscribe n* m*");
    client.ask("unsubscribe a\r\npunsubscribe n*");
    late("a", None);
    late("news", Some(b"n*"));
    assert_eq!(client.hear(), "");
    late("b", None);
    late("music", Some(b"m*"));
    assert_eq!(
        client.hear(),
        "*3 $7 message $1 b $4 late *4 $8 pmessage $2 m* $5 music $4 late ",
        "what it listens to it hears"
    );
    client.ask("unsubscribe\r\npunsubscribe");
    late("b", None);
    assert_eq!(client.ask("ping"), "+PONG ");
}

#[test]
fn what_is_published_in_a_transaction_is_heard_in_its_place_and_goes_to_queues_in_its_order() {
    let world = World::new();
    let (mut client, mut listener) = (world.client(), world.client());
    listener.ask("subscribe c");
    let queue = world.bound("q", "c", Table::default());
    assert_eq!(
        client.told("multi\r\npublish c 1\r\nset k v\r\nsubscribe d\r\npublish c 2\r\nexec\r\npublish c 3"),
        "+OK +QUEUED +QUEUED +QUEUED +QUEUED *4 :1 +OK *3 $9 subscribe $1 d :1 :1 -ERR Can't execute 'publish': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context "
    );
    client.told("unsubscribe\r\npublish c 3");
    assert_eq!(listener.hear(), (1..4).map(|n| format!("*3 $7 message $1 c $1 {n} ")).collect::<String>());
    assert_eq!(drain(&queue), ["1", "2", "3"]);
}

#[test]
fn the_exchange_of_the_channels_is_there_once_somebody_has_heard_that_he_listens() {
    let world = World::new();
    let mut client = world.client();
    client.told("set k v");
    assert!(world.vhost().find_exchange("redis.pubsub").is_none());
    assert_eq!(client.ask("subscribe c"), "*3 $9 subscribe $1 c :1 ");
    assert!(world.vhost().find_exchange("redis.pubsub").is_some());
}

#[test]
fn a_dead_letter_of_what_is_published_comes_to_the_keys() {
    within_30_s(|| {
        let world = World::new();
        let arguments = vec![
            ("x-max-length".to_owned(), Value::I64(1)),
            text("x-dead-letter-exchange", ""),
            text("x-dead-letter-routing-key", "redis.0.dead"),
        ];
        let queue = world.bound("q", "c", Table(arguments));
        assert_eq!(world.client().told("publish c 1\r\npublish c 2\r\npublish c 3"), ":0 :0 :0 ");
        assert_eq!(drain(&queue), ["3"]);
    });
}

#[test]
fn what_is_published_may_go_on_to_a_list() {
    within_30_s(|| {
        let world = World::new();
        let arguments = Table(vec![text("alternate-exchange", "")]);
        let options = ExchangeOptions { arguments, ..ExchangeOptions::durable("topic") };
        world.vhost().declare_exchange("redis.pubsub", options).unwrap();
        let mut client = world.client();
        assert_eq!(client.told("publish redis.0.list a\r\nlpush list b"), ":0 :1 ");
        assert_eq!(client.told("lrange list 0 -1"), "*2 $1 a $1 b ");
    });
}
