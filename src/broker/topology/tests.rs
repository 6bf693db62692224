//! Bindings between exchanges and queues of a vhost, alternate exchanges, history, traces and events.

use std::sync::Arc;

use crate::{
    broker::{
        exchange::{Binding, EVENT, Envelope, Exchange, ExchangeOptions, TRACE, Target},
        holding::tests::{World, text},
        message::{Message, Publish, Traits},
        publish::{Body, Headers, Publisher, Routed},
        queue::{ConnectionId, QueueOptions},
        refusal::Refusal,
        trace::{self, Origin},
    },
    data::{
        field::Properties,
        value::{Table, Value},
    },
};

fn binding(target: Target, key: &str) -> Binding {
    Binding { target, routing_key: key.into(), arguments: Table::default() }
}

fn declare(world: &World, name: &str, options: ExchangeOptions) -> Arc<Exchange> {
    world.vhost.declare_exchange(name, options).unwrap();
    world.vhost.exchange(name).unwrap()
}

fn fanout(world: &World, name: &str) -> Arc<Exchange> {
    declare(world, name, ExchangeOptions::durable("fanout"))
}

fn to(world: &World, from: &str, target: &Arc<Exchange>) {
    world.vhost.bind(from, binding(Target::Exchange(target.clone()), "")).unwrap();
}

/// The names of the queues that a message gets to.
fn routed(world: &World, exchange: &str, keys: &[&str]) -> Vec<String> {
    let exchange = world.vhost.exchange(exchange).unwrap();
    let route = world.vhost.route(&exchange, &Envelope { keys, headers: None, properties: &[0, 0] });
    let mut names: Vec<_> = route.queues.iter().map(|queue| queue.name.to_string()).collect();
    names.sort();
    names
}

fn publish(world: &World, publisher: &mut Publisher, exchange: &str, key: &str, body: &str) -> Routed {
    let publish = Publish { exchange, routing_key: key, properties: &[0, 0], traits: Traits::default() };
    let headers = || Some(Headers { table: Table::default(), alone: false });
    let routed = publisher
        .publish(world.clock.now_ms(), &publish, headers, &mut Body::Copied(body.as_bytes()))
        .unwrap();
    publisher.flush(world.clock.now_ms(), None);
    world.commit();
    routed
}

fn headers(message: &Message) -> Table {
    Properties::decode(message.properties()).unwrap().header_table().unwrap()
}

#[test]
fn cycles_of_exchanges_end_and_a_queue_gets_one_copy() {
    let world = World::new();
    let (a, b) = (fanout(&world, "a"), fanout(&world, "b"));
    to(&world, "a", &b);
    to(&world, "b", &a);
    to(&world, "a", &a);
    let queue = world.queue("q");
    world.bind("a", &queue, "1");
    world.bind("b", &queue, "2");
    assert_eq!(routed(&world, "a", &["x"]), ["q"]);
    assert_eq!(routed(&world, "b", &["x", "y"]), ["q"]);
}

#[test]
fn a_queue_gets_one_copy_among_many_queues() {
    let world = World::new();
    let (_, b) = (fanout(&world, "a"), fanout(&world, "b"));
    to(&world, "a", &b);
    for n in 0..100 {
        let queue = world.queue(&format!("q{n}"));
        world.bind("a", &queue, "");
        world.bind("b", &queue, "");
    }
    assert_eq!(routed(&world, "a", &[""]).len(), 100);
}

#[test]
fn alternates_chain_end_and_come_from_policies_too() {
    let world = World::new();
    let with = |alternate: &str| {
        let arguments = Table(vec![("alternate-exchange".to_owned(), text(alternate))]);
        ExchangeOptions { arguments, ..ExchangeOptions::durable("direct") }
    };
    declare(&world, "a", with("b"));
    declare(&world, "b", with("c"));
    declare(&world, "c", with("a"));
    assert!(routed(&world, "a", &["k"]).is_empty(), "a circle of alternates ends");
    let queue = world.queue("q");
    world.bind("c", &queue, "k");
    assert_eq!(routed(&world, "a", &["k"]), ["q"]);
    let other = world.queue("other");
    world.bind("a", &other, "k");
    assert_eq!(routed(&world, "a", &["k"]), ["other"], "what can be routed is not handed over");
    declare(&world, "p", ExchangeOptions::durable("direct"));
    assert!(routed(&world, "p", &["k"]).is_empty());
    world.alternate("p", Some("c"));
    assert_eq!(routed(&world, "p", &["k"]), ["q"]);
    world.alternate("p", None);
    assert!(routed(&world, "p", &["k"]).is_empty());
}

#[test]
fn a_remembered_route_is_dropped_when_a_missing_alternate_is_declared() {
    let world = World::new();
    let arguments = Table(vec![("alternate-exchange".to_owned(), text("later"))]);
    declare(&world, "a", ExchangeOptions { arguments, ..ExchangeOptions::durable("fanout") });
    let mut publisher = Publisher::new(world.vhost.clone());
    assert_eq!(publish(&world, &mut publisher, "a", "k", "1"), Routed::Unroutable);
    fanout(&world, "later");
    let queue = world.queue("q");
    world.bind("later", &queue, "");
    assert_eq!(publish(&world, &mut publisher, "a", "k", "2"), Routed::Taken);
    assert_eq!(world.got(&queue), ["2"]);
}

#[test]
fn a_deleted_exchange_leads_nowhere_for_those_who_have_found_it_before() {
    let world = World::new();
    let (from, target) = (fanout(&world, "from"), fanout(&world, "target"));
    to(&world, "from", &target);
    world.vhost.delete_exchange("from", false).unwrap();
    assert!(from.bindings().is_empty());
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_and_takes_those_to_it_along() {
    let world = World::new();
    let auto = || ExchangeOptions { auto_delete: true, ..ExchangeOptions::durable("fanout") };
    let (a, b) = (declare(&world, "a", auto()), declare(&world, "b", auto()));
    to(&world, "a", &b);
    let queue = world.queue("q");
    world.bind("b", &queue, "1");
    world.bind("b", &queue, "2");
    world.vhost.unbind("b", &binding(Target::Queue(queue.clone()), "1").id()).unwrap();
    assert!(world.vhost.find_exchange("b").is_some());
    world.vhost.delete_queue(&queue, false, false).unwrap();
    assert!(world.vhost.find_exchange("b").is_none() && world.vhost.find_exchange("a").is_none());
    assert!(!a.is_bound());
    let world = world.again();
    assert!(world.vhost.find_exchange("a").is_none());
}

#[test]
fn a_binding_is_its_ends_its_key_and_its_arguments_in_any_order() {
    let world = World::new();
    let queue = world.queue("q");
    let table = |names: &[&str]| Table(names.iter().map(|n| ((*n).to_owned(), Value::I32(1))).collect());
    let bind = |names: &[&str]| {
        let arguments = table(names);
        let binding = Binding { arguments, ..binding(Target::Queue(queue.clone()), "k") };
        world.vhost.bind("amq.direct", binding).unwrap();
        world.commit();
        world.vhost.exchange("amq.direct").unwrap().bindings().len()
    };
    assert_eq!((bind(&[]), bind(&["a", "b"]), bind(&["b", "a"]), bind(&[])), (1, 2, 2, 2));
    let other = Binding { arguments: table(&["b", "a"]), ..binding(Target::Queue(queue.clone()), "k") };
    world.vhost.unbind("amq.direct", &other.id()).unwrap();
    let world = world.again();
    assert_eq!(world.vhost.exchange("amq.direct").unwrap().bindings().len(), 1);
    assert_eq!(routed(&world, "amq.direct", &["k"]), ["q"]);
}

/// Costs as much per binding with 100,000 as with ten: nobody would wait for a scan at each.
#[test]
fn a_hundred_thousand_bindings_come_and_go() {
    const BINDINGS: usize = 100_000;
    let world = World::new();
    let queues: Vec<_> = (0..10).map(|n| world.queue(&format!("q{n}"))).collect();
    let key = |n: usize| format!("stock.{}.{}", n / 100, n % 100);
    let each = |n: usize| binding(Target::Queue(queues[n % 10].clone()), &key(n));
    for n in 0..BINDINGS {
        world.vhost.bind("amq.topic", each(n)).unwrap();
        // One key, and all queues under it.
        world.vhost.bind("amq.direct", binding(Target::Queue(queues[n % 10].clone()), &key(n / 10))).unwrap();
    }
    world.commit();
    assert_eq!(routed(&world, "amq.topic", &["stock.999.7"]), ["q7"]);
    assert_eq!(routed(&world, "amq.direct", &[&key(77)]).len(), 10);
    for n in 0..BINDINGS / 2 {
        world.vhost.unbind("amq.topic", &each(n).id()).unwrap();
    }
    for queue in &queues {
        world.vhost.delete_queue(queue, false, false).unwrap();
    }
    world.commit();
    for exchange in ["amq.topic", "amq.direct"] {
        assert!(!world.vhost.exchange(exchange).unwrap().is_bound());
    }
    assert!(world.store.scan(crate::store::Space::Meta, b"B").unwrap().is_empty());
}

#[test]
fn what_was_published_lately_is_given_to_whoever_is_bound() {
    let world = World::new();
    let length = Table(vec![("x-recent-history-length".to_owned(), Value::I32(2))]);
    let options = ExchangeOptions { arguments: length, ..ExchangeOptions::durable("x-recent-history") };
    declare(&world, "h", options);
    let mut publisher = Publisher::new(world.vhost.clone());
    for body in ["1", "2", "3"] {
        assert_eq!(publish(&world, &mut publisher, "h", "k", body), Routed::Unroutable);
    }
    let (queue, behind) = (world.queue("q"), world.queue("behind"));
    world.bind("h", &queue, "");
    assert_eq!(world.got(&queue), ["2", "3"]);
    world.bind("h", &queue, "");
    assert!(world.got(&queue).is_empty(), "it was bound already");
    world.bind("h", &queue, "other");
    assert_eq!(world.got(&queue), ["2", "3"], "another binding is another chance");
    let next = fanout(&world, "next");
    world.bind("next", &behind, "");
    to(&world, "h", &next);
    assert_eq!(world.got(&behind), ["2", "3"]);
    assert_eq!(publish(&world, &mut publisher, "h", "k", "4"), Routed::Taken);
    assert_eq!((world.got(&queue), world.got(&behind)), (vec!["4".to_owned()], vec!["4".to_owned()]));
}

#[test]
fn a_traced_vhost_copies_what_is_published_and_delivered() {
    let world = World::new();
    let (traced, queue) = (world.queue("traced"), world.queue("q"));
    world.bind(TRACE, &traced, "#");
    let origin = Arc::new(Origin { connection: "a -> b".into(), channel: 3, user: "guest".into() });
    let mut publisher = Publisher::of(world.vhost.clone(), origin.clone());
    publish(&world, &mut publisher, "", "q", "untraced");
    assert_eq!((world.got(&traced).len(), world.got(&queue).len()), (0, 1));
    world.vhost.set_tracing(true);
    publish(&world, &mut publisher, "amq.direct", "nowhere", "lost");
    publish(&world, &mut publisher, "", "q", "m");
    let [message] = &world.messages(&queue)[..] else { panic!("one message") };
    trace::delivered(&world.vhost, world.clock.now_ms(), &origin, "q", message, true);
    let copies = world.messages(&traced);
    let keys: Vec<_> = copies.iter().map(Message::routing_key).collect();
    assert_eq!(keys, ["publish.amq.direct", "publish.", "deliver.q"]);
    assert!(copies.iter().all(|copy| copy.exchange() == TRACE));
    let (published, delivered) = (headers(&copies[1]), headers(&copies[2]));
    for (name, expected) in [
        ("exchange_name", text("")),
        ("routing_keys", Value::Array(vec![text("q")])),
        ("properties", Value::Table(Table::default())),
        ("vhost", text("/")),
        ("connection", text("a -> b")),
        ("channel", Value::I32(3)),
        ("user", text("guest")),
    ] {
        assert_eq!(published.field(name), Some(&expected));
        assert_eq!(delivered.field(name), Some(&expected));
    }
    assert_eq!(published.field("routed_queues"), Some(&Value::Array(vec![text("q")])));
    assert_eq!(headers(&copies[0]).field("routed_queues"), Some(&Value::Array(vec![])));
    assert_eq!(delivered.field("redelivered"), Some(&Value::I32(1)));
    trace::delivered(&world.vhost, world.clock.now_ms(), &origin, "traced", &copies[0], false);
    assert!(world.got(&traced).is_empty(), "traces are not traced");
}

#[test]
fn events_tell_of_queues_exchanges_and_bindings_once_somebody_listens() {
    let world = World::new();
    let queue = world.queue("unheard");
    world.vhost.delete_queue(&queue, false, false).unwrap();
    let heard = world.queue("heard");
    world.bind(EVENT, &heard, "#");
    let options = QueueOptions {
        durable: true,
        auto_delete: false,
        exclusive: None,
        arguments: Table(vec![("x-max-length".to_owned(), Value::I32(5))]),
    };
    let queue = world.vhost.declare_queue("evq", ConnectionId(1), options).unwrap().queue;
    fanout(&world, "evx");
    world.bind("evx", &queue, "a.#");
    world.vhost.delete_queue(&queue, false, false).unwrap();
    world.vhost.delete_exchange("evx", false).unwrap();
    world.commit();
    let events = world.messages(&heard);
    let keys: Vec<_> = events.iter().map(Message::routing_key).collect();
    assert_eq!(
        keys,
        [
            "binding.created",
            "queue.created",
            "exchange.created",
            "binding.created",
            "binding.deleted",
            "queue.deleted",
            "exchange.deleted"
        ]
    );
    let created = headers(&events[1]);
    assert_eq!((created.field("name"), created.field("vhost")), (Some(&text("evq")), Some(&text("/"))));
    let arguments = Value::Array(vec![text("{<<\"x-max-length\">>,signedint,5}")]);
    assert_eq!(created.field("arguments"), Some(&arguments));
    assert_eq!(headers(&events[3]).field("destination_kind"), Some(&text("queue")));
    assert_eq!(Properties::decode(events[1].properties()).unwrap().timestamp, Some(1_700_000_000));
}

#[test]
fn a_local_random_exchange_takes_classic_queues() {
    let world = World::new();
    declare(&world, "l", ExchangeOptions::durable("x-local-random"));
    let (a, b) = (world.queue("a"), world.queue("b"));
    world.bind("l", &a, "");
    world.bind("l", &b, "");
    assert_eq!(routed(&world, "l", &["k"]).len(), 1);
    let next = fanout(&world, "next");
    let refused = world.vhost.bind("l", binding(Target::Exchange(next), ""));
    assert_eq!(refused, Err(Refusal::Binding("Destination not found".to_owned())));
}
