//! Where dropped messages end up, by whatever they were dropped, and that they move in few Changes.

use std::time::Duration;

use super::*;
use crate::{
    broker::{
        queue::Entry,
        txn::channel::{Fate, Settled},
    },
    data::{field::Properties, value::Table},
};

const DLX: &str = "x-dead-letter-exchange";
const DLX_KEY: &str = "x-dead-letter-routing-key";

/// A queue whose dead letters go to `dead`.
fn source(world: &World, numbers: &[(&str, i64)], texts: &[(&str, &str)]) -> (Arc<Queue>, Arc<Queue>) {
    let dead = world.queue("dead", &[]);
    let texts = [texts, &[(DLX, ""), (DLX_KEY, "dead")]].concat();
    (world.queue_with("source", numbers, &texts), dead)
}

fn got(world: &World, queue: &Arc<Queue>, no_ack: bool) -> Option<Entry> {
    let outlet = Arc::<Outlet>::default();
    for _ in 0..1_000 {
        match queue.get(no_ack, &outlet) {
            Got::Message { entry, .. } => return Some(entry),
            Got::Empty => return None,
            Got::Wait => world.commit(),
        }
    }
    panic!("the queue waits for ever");
}

fn headers(entry: &Entry) -> Table {
    Properties::decode(entry.message.properties()).unwrap().header_table().unwrap()
}

/// Reasons and queues, most recent first.
fn deaths(entry: &Entry) -> Vec<(String, String)> {
    let Some(Value::Array(deaths)) = headers(entry).field("x-death").cloned() else { return Vec::new() };
    let text = |death: &Value, name: &str| {
        let Value::Table(table) = death else { panic!("{death:?}") };
        String::from_utf8(table.field(name).unwrap().octets().unwrap().to_vec()).unwrap()
    };
    deaths.iter().map(|death| (text(death, "reason"), text(death, "queue"))).collect()
}

fn died(reason: &str, queue: &str) -> (String, String) {
    (reason.to_owned(), queue.to_owned())
}

fn index_entries(world: &World) -> usize {
    world.commit();
    world.store.scan(crate::store::Space::Index, b"q").unwrap().len()
}

#[test]
fn what_is_rejected_moves_with_its_death_in_its_headers() {
    let world = World::new();
    let (queue, dead) = source(&world, &[], &[]);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "source", PERSISTENT, b"x");
    world.flush(&mut publisher);
    let entry = got(&world, &queue, false).unwrap();
    queue.reject(None, std::iter::once(entry));
    assert_eq!((queue.figures().unacked, queue.figures().ready), (0, 0));
    let letter = got(&world, &dead, true).unwrap();
    assert_eq!(letter.message.body(), b"x");
    assert_eq!((letter.message.exchange(), letter.message.routing_key()), ("", "dead"));
    assert!(letter.message.persistent() && !letter.redelivered);
    assert_eq!(deaths(&letter), [died("rejected", "source")]);
    assert_eq!(index_entries(&world), 0, "neither queue has anything left in the log");
}

#[test]
fn the_oldest_go_when_a_queue_is_too_long_and_keep_their_order() {
    let world = World::new();
    let (queue, dead) = source(&world, &[("x-max-length", 2)], &[]);
    let mut publisher = world.publisher();
    for n in 0..50_u8 {
        world.put(&mut publisher, "source", PERSISTENT, &[n]);
        if n % 7 == 0 {
            world.flush(&mut publisher);
        }
    }
    world.flush(&mut publisher);
    assert_eq!(drain(&world, &queue), [[48], [49]]);
    let first = got(&world, &dead, true).unwrap();
    assert_eq!(deaths(&first), [died("maxlen", "source")]);
    assert_eq!(drain(&world, &dead), (1..48_u8).map(|n| [n]).collect::<Vec<_>>());
}

#[test]
fn a_full_queue_may_dead_letter_what_it_refuses() {
    let world = World::new();
    let (queue, dead) = source(&world, &[("x-max-length", 1)], &[("x-overflow", "reject-publish-dlx")]);
    let mut publisher = world.publisher();
    for body in [b"1", b"2", b"3"] {
        world.put(&mut publisher, "source", PERSISTENT, body);
    }
    assert_eq!(publisher.flush(world.clock.now_ms(), None).rejected, [1, 2]);
    assert_eq!(drain(&world, &queue), [b"1"]);
    let letter = got(&world, &dead, true).unwrap();
    assert_eq!(deaths(&letter), [died("maxlen", "source")]);
    assert_eq!(drain(&world, &dead), [b"3"]);
}

#[test]
fn what_comes_back_to_a_full_queue_that_refuses_publishes_stays() {
    let world = World::new();
    let (queue, dead) = source(&world, &[("x-max-length", 1)], &[("x-overflow", "reject-publish")]);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "source", PERSISTENT, b"1");
    world.flush(&mut publisher);
    let entry = got(&world, &queue, false).unwrap();
    world.put(&mut publisher, "source", PERSISTENT, b"2");
    world.flush(&mut publisher);
    queue.requeue(None, std::iter::once(entry), Return::Lost);
    assert_eq!(drain(&world, &queue), [b"1", b"2"]);
    assert_eq!(dead.figures().ready, 0);
}

#[test]
fn what_consumers_take_of_a_batch_makes_room_for_the_rest_of_it() {
    let world = World::new();
    let queue = world.queue_with("q", &[("x-max-length", 1)], &[("x-overflow", "reject-publish")]);
    let outlet = Arc::<Outlet>::default();
    queue.consume(ConsumerSpec { prefetch_count: 3, ..consumer(&outlet, false) }).unwrap();
    let mut publisher = world.publisher();
    for n in 0..6_u8 {
        world.put(&mut publisher, "q", Traits::default(), &[n]);
    }
    // Three are taken, one waits, two are too many.
    assert_eq!(publisher.flush(world.clock.now_ms(), None).rejected, [4, 5]);
    assert_eq!(deliveries(&outlet), 3);
}

#[test]
fn without_the_exchange_dead_letters_are_lost() {
    let world = World::new();
    let queue = world.queue_with("q", &[("x-max-length", 0)], &[(DLX, "nowhere")]);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "q", PERSISTENT, b"x");
    world.flush(&mut publisher);
    assert_eq!((queue.figures().ready, index_entries(&world)), (0, 0));
}

#[test]
fn the_own_keys_lead_on_unless_the_queue_has_one() {
    let world = World::new();
    for name in ["a", "b"] {
        let target = Target::Queue(world.queue(name, &[]));
        let binding = Binding { target, routing_key: name.into(), arguments: Table::default() };
        world.vhost.bind("amq.direct", binding).unwrap();
    }
    world.queue_with("source", &[("x-max-length", 0)], &[(DLX, "amq.direct")]);
    let (mut headers, mut properties) = (bytes::BytesMut::new(), bytes::BytesMut::new());
    let keys = ["b", "a"].map(|key| Value::LongStr(key.into())).to_vec();
    crate::data::field::table::encode(&Table(vec![("CC".to_owned(), Value::Array(keys))]), &mut headers);
    Properties { headers: Some(&headers[4..]), ..Properties::default() }.encode(&mut properties);
    let mut publisher = world.publisher();
    let publish =
        Publish { exchange: "", routing_key: "source", properties: &properties, traits: Traits::default() };
    publisher.publish(world.clock.now_ms(), &publish, || None, &mut Body::Copied(b"x")).unwrap();
    world.flush(&mut publisher);
    for name in ["a", "b"] {
        let letter = got(&world, &world.vhost.find_queue(name).unwrap(), true).unwrap();
        assert_eq!((letter.message.exchange(), letter.message.routing_key()), ("amq.direct", "source"));
    }
}

#[test]
fn nothing_goes_round_for_ever_but_what_is_rejected_may_come_back() {
    let world = World::new();
    let queue = world.queue_with("q", &[("x-message-ttl", 0)], &[(DLX, "")]);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "q", PERSISTENT, b"x");
    world.flush(&mut publisher);
    assert_eq!((queue.figures().ready, index_entries(&world)), (0, 0));
    let again = world.queue_with("again", &[], &[(DLX, "")]);
    world.put(&mut publisher, "again", PERSISTENT, b"x");
    world.flush(&mut publisher);
    for _ in 0..3 {
        let entry = got(&world, &again, false).unwrap();
        again.reject(None, std::iter::once(entry));
    }
    let letter = got(&world, &again, true).unwrap();
    let Some(Value::Array(list)) = headers(&letter).field("x-death").cloned() else { panic!() };
    let [Value::Table(death)] = &list[..] else { panic!("{list:?}") };
    assert_eq!(death.field("count"), Some(&Value::I64(3)));
}

#[test]
fn a_chain_of_queues_is_no_deeper_than_one() {
    let world = World::new();
    const LINKS: usize = 600;
    for n in 0..LINKS {
        let next = format!("{}", n + 1);
        let arguments = arguments(&[("x-message-ttl", 0)], &[(DLX, ""), (DLX_KEY, &next)]);
        let options = QueueOptions { durable: false, auto_delete: false, exclusive: None, arguments };
        world.vhost.declare_queue(&n.to_string(), ME, options).unwrap();
    }
    let last = world.queue(&LINKS.to_string(), &[]);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "0", Traits::default(), b"x");
    world.flush(&mut publisher);
    assert_eq!(deaths(&got(&world, &last, true).unwrap()).len(), LINKS);
}

#[test]
fn many_dead_letters_are_few_changes() {
    let world = World::new();
    let (queue, dead) = source(&world, &[], &[]);
    let mut publisher = world.publisher();
    for n in 0..1_000_u32 {
        world.put(&mut publisher, "source", PERSISTENT, &n.to_be_bytes());
    }
    world.flush(&mut publisher);
    world.commit();
    let before = world.store.submitted_to();
    queue.follow(queue.reconfigure(&arguments(&[("x-max-length", 0)], &[(DLX, ""), (DLX_KEY, "dead")])));
    for _ in 0..100 {
        world.commit();
    }
    assert_eq!(dead.figures().ready, 1_000);
    let changes = world.store.submitted_to().0 - before.0;
    assert!(changes < 200, "{changes} Changes for 1,000 messages");
    assert_eq!(drain(&world, &dead).len(), 1_000);
    assert_eq!(index_entries(&world), 0);
}

#[test]
fn the_mover_waits_while_the_log_does_not_keep_up() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = Store::manual(Options { inbox_changes_max: 4, ..Options::ephemeral() });
    let clock = Clock::manual(1_700_000_000_000);
    let world = World::on_runtime(store, clock, false, Some(runtime.handle().clone()));
    let (queue, dead) = source(&world, &[], &[]);
    let other = world.queue("other", &[]);
    let mut publisher = world.publisher();
    for n in 0..10_u8 {
        world.put(&mut publisher, "source", PERSISTENT, &[n]);
    }
    world.flush(&mut publisher);
    world.commit();
    while !world.store.congested() {
        world.put(&mut publisher, "other", PERSISTENT, b"x");
        world.flush(&mut publisher);
    }
    queue.follow(queue.reconfigure(&arguments(&[("x-max-length", 0)], &[(DLX, ""), (DLX_KEY, "dead")])));
    let others = || runtime.block_on(async { tokio::task::yield_now().await });
    (0..10).for_each(|_| others());
    assert_eq!((queue.figures().ready, dead.figures().ready), (0, 0), "they wait where they died");
    assert!(world.store.step(world.clock.now()) && !world.store.congested());
    while dead.figures().ready < 10 {
        others();
    }
    world.commit();
    assert_eq!(drain(&world, &dead), (0..10_u8).map(|n| [n]).collect::<Vec<_>>());
    assert!(!drain(&world, &other).is_empty());
    assert_eq!(index_entries(&world), 0);
}

#[test]
fn a_transaction_that_rejects_moves_with_its_commit() {
    let world = World::new();
    let (queue, dead) = source(&world, &[], &[]);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "source", PERSISTENT, b"x");
    world.flush(&mut publisher);
    let entries = vec![got(&world, &queue, false).unwrap()];
    world.commit();
    let mut transaction = world.publisher();
    transaction.hold_back();
    let settled = Settled { queue: queue.clone(), consumer: None, entries, fate: Fate::Dropped };
    let before = world.store.submitted_to();
    transaction.commit(world.clock.now_ms(), vec![settled]);
    assert_eq!(world.store.submitted_to().0 - before.0, 1, "one Change for both ends");
    world.commit();
    assert_eq!(queue.figures().unacked, 0);
    assert_eq!(deaths(&got(&world, &dead, true).unwrap()), [died("rejected", "source")]);
    assert_eq!(index_entries(&world), 0);
}

#[test]
fn a_transaction_that_rejects_what_a_deleted_queue_delivered_moves_nothing() {
    let world = World::new();
    let (queue, dead) = source(&world, &[], &[]);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "source", PERSISTENT, b"x");
    world.flush(&mut publisher);
    let entries = vec![got(&world, &queue, false).unwrap()];
    world.commit();
    world.vhost.delete_queue(&queue, false, false).unwrap();
    world.commit();
    let mut transaction = world.publisher();
    transaction.hold_back();
    let settled = Settled { queue, consumer: None, entries, fate: Fate::Dropped };
    transaction.commit(world.clock.now_ms(), vec![settled]);
    world.commit();
    assert_eq!(dead.figures().ready, 0);
    assert_eq!(index_entries(&world), 0);
}

#[test]
fn dead_letters_go_to_streams_too() {
    let world = World::new();
    world.queue_with("source", &[("x-max-length", 0)], &[(DLX, ""), (DLX_KEY, "stream")]);
    let options = durable(arguments(&[], &[("x-queue-type", "stream")]));
    let stream = world.vhost.declare_stream("stream", &options).unwrap();
    let mut publisher = world.publisher();
    for body in [b"1", b"2"] {
        world.put(&mut publisher, "source", PERSISTENT, body);
    }
    world.flush(&mut publisher);
    assert_eq!(index_entries(&world), 0, "the source has nothing left");
    assert_eq!(stream.topic.message_count(), 2);
}

#[test]
fn a_queue_that_loses_its_exchange_loses_its_dead_letters() {
    let world = World::new();
    let (queue, dead) = source(&world, &[("x-max-length", 1)], &[]);
    let mut publisher = world.publisher();
    let mut put = |body: &[u8]| {
        world.put(&mut publisher, "source", PERSISTENT, body);
        world.flush(&mut publisher);
    };
    put(b"1");
    put(b"2");
    queue.follow(queue.reconfigure(&arguments(&[("x-max-length", 1)], &[])));
    put(b"3");
    assert_eq!(drain(&world, &dead), [b"1"]);
    assert_eq!(drain(&world, &queue), [b"3"]);
}

#[test]
fn what_makes_room_dies_of_that_though_it_has_expired_behind_others() {
    let world = World::new();
    let (queue, dead) = source(&world, &[], &[]);
    let mut publisher = world.publisher();
    for n in 0..60 {
        let traits = Traits { expiration_ms: (n > 0).then_some(5), ..PERSISTENT };
        world.put(&mut publisher, "source", traits, &[n; 200]);
    }
    world.flush(&mut publisher);
    world.commit();
    world.clock.advance(Duration::from_millis(10));
    world.broker.on_deadlines(world.clock.now_ms());
    // More than go at once, and more than are in memory.
    queue.follow(queue.reconfigure(&arguments(&[("x-max-length", 2)], &[(DLX, ""), (DLX_KEY, "dead")])));
    let letters: Vec<Entry> = std::iter::from_fn(|| got(&world, &dead, true)).collect();
    let reasons: Vec<_> = letters.iter().flat_map(deaths).map(|(reason, _)| reason).collect();
    // RabbitMQ 3.10.8 says the same of the same messages and a policy: what is too much for the new limit dies of that, and
    // then what is left has nothing before it any more and has expired, though nobody asks for it.
    assert_eq!(reasons, [vec!["maxlen"; 58], vec!["expired"; 2]].concat());
}

/// Three that are enough, of which the last has expired behind the others; then three more.
#[test]
fn what_has_expired_dies_of_that_once_those_before_it_have_made_room() {
    // One by one, and at once.
    [1, 3].into_iter().for_each(expires_behind);
}

fn expires_behind(together: usize) {
    let world = World::new();
    let (_, dead) = source(&world, &[("x-max-length", 3)], &[]);
    let mut publisher = world.publisher();
    for n in 0..3_u8 {
        world.put(
            &mut publisher,
            "source",
            Traits { expiration_ms: (n == 2).then_some(5), ..PERSISTENT },
            &[n],
        );
    }
    world.flush(&mut publisher);
    world.clock.advance(Duration::from_millis(10));
    for batch in [3_u8, 4, 5].chunks(together) {
        for n in batch {
            world.put(&mut publisher, "source", PERSISTENT, &[*n]);
        }
        world.flush(&mut publisher);
    }
    let letters: Vec<Entry> = std::iter::from_fn(|| got(&world, &dead, true)).collect();
    let reasons: Vec<_> = letters.iter().flat_map(deaths).map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["maxlen", "maxlen", "expired"]);
}

#[test]
fn what_may_not_wait_fills_no_queue_for_the_rest_of_its_batch() {
    let world = World::new();
    let limits = [("x-max-length", 1), ("x-message-ttl", 0)];
    let (queue, dead) = source(&world, &limits, &[("x-overflow", "reject-publish")]);
    let mut publisher = world.publisher();
    for body in [b"1", b"2", b"3"] {
        world.put(&mut publisher, "source", PERSISTENT, body);
    }
    assert_eq!(publisher.flush(world.clock.now_ms(), None).rejected, [0_u32; 0]);
    assert_eq!(queue.figures().ready, 0);
    assert_eq!(drain(&world, &dead), [b"1", b"2", b"3"]);
}
