//! Where features meet: a run that is packed while it is read, a transaction's publishes that come into the log behind
//! later ones, dead letters and the memory alarm.

use std::time::Duration;

use super::*;
use crate::broker::{
    policy::{Policy, Sort},
    queue::state::Effects,
    txn::channel::All,
};

/// Takes one message; what must be read back for the next is left to the caller.
fn take_quietly(world: &World, queue: &Arc<Queue>) -> Effects {
    let (now_ms, outlet) = (world.clock.now_ms(), Arc::default());
    let mut effects = Effects::default();
    queue.with_state(|state| {
        let _ = state.get(now_ms, true, &outlet, &mut effects);
        effects.reserve.drain(..).for_each(|to| state.reserved(to));
    });
    effects
}

#[test]
fn runs_that_are_packed_again_before_they_are_read_back_are_not_lost() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    let mut publisher = world.publisher();
    let mut publish = |n: u8| {
        world.put(&mut publisher, "q", PERSISTENT, &[n; 200]);
        world.flush(&mut publisher);
        world.commit();
    };
    (0..14).for_each(&mut publish);
    let load = loop {
        let effects = take_quietly(&world, &queue);
        if !effects.load.is_empty() {
            break effects.load;
        }
    };
    let packed = |queue: &Arc<Queue>| queue.with_state(|state| state.runs.of(load[0]).is_none());
    assert!(!packed(&queue));
    let mut published = 14;
    while !packed(&queue) {
        publish(published);
        published += 1;
        assert!(published < 60, "another publish must pack what is about to be read");
    }
    let ready = queue.with_state(|state| state.ready.len());
    queue.load(load);
    assert_eq!(drain(&world, &queue).len(), ready);
}

#[test]
fn what_a_transaction_puts_into_a_quorum_queue_may_come_into_the_log_late() {
    let world = World::new();
    let queue = world.queue_with("q", &[], &[("x-queue-type", "quorum")]);
    let (mut first, mut later) = (world.publisher(), world.publisher());
    let mut changes = Vec::new();
    let mut publish = |n: u8| {
        world.put(&mut later, "q", PERSISTENT, &[n; 200]);
        world.flush(&mut later);
        world.commit();
    };
    world.put(&mut first, "q", PERSISTENT, &[0; 200]);
    first.flush_into(world.clock.now_ms(), &mut changes);
    (1..40).for_each(&mut publish);
    assert_eq!(queue.counts().0, 0, "those behind it wait for it");
    world.store.submit(Box::new(All(changes)));
    world.commit();
    (40..60).for_each(&mut publish);
    let firsts: Vec<u8> = drain(&world, &queue).iter().map(|body| body[0]).collect();
    assert_eq!(firsts, (0..60).collect::<Vec<_>>());
}

#[test]
fn dead_letters_that_have_moved_count_no_more() {
    let world = World::new();
    let memory = &world.broker.core.memory;
    // The target takes them, and keeps nothing.
    world.queue("dead", &[("x-max-length", 0)]);
    let texts = [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "dead")];
    world.queue_with("q", &[("x-message-ttl", 10)], &texts);
    let mut publisher = world.publisher();
    for _ in 0..3 {
        world.put(&mut publisher, "q", PERSISTENT, &[0; 100]);
    }
    world.flush(&mut publisher);
    world.commit();
    assert!(memory.held_bytes() > 300);
    world.clock.advance(Duration::from_millis(10));
    world.broker.on_deadlines(world.clock.now_ms());
    world.commit();
    assert_eq!(memory.held_bytes(), 0);
}

#[test]
fn a_queue_that_goes_with_dead_letters_on_their_way_gives_back_what_it_held() {
    let world = World::new();
    let held_bytes = world.broker.core.memory.held_bytes();
    let queue = world.queue_with("q", &[], &[("x-dead-letter-exchange", "amq.fanout")]);
    let mut publisher = world.publisher();
    world.put(&mut publisher, "q", PERSISTENT, &[0; 100]);
    world.flush(&mut publisher);
    world.commit();
    // Somebody moves it, and is not done when the queue is deleted.
    let mut effects = Effects::default();
    queue.with_state(|state| {
        let entry = state.ready.pop().unwrap();
        state.let_go(entry, crate::broker::dead_letter::Reason::Expired);
        state.settle_effects(&mut effects);
    });
    assert!(effects.move_dead);
    world.broker.core.memory.add(effects.held_delta);
    world.vhost.delete_queue(&queue, false, false).unwrap();
    queue.with_state(super::super::queue::state::State::take_dead).unwrap();
    world.commit();
    drop((queue, publisher));
    assert_eq!(world.broker.core.memory.held_bytes(), held_bytes);
}

#[test]
fn a_huge_batch_whose_messages_alternate_between_queues_is_acknowledged_in_the_end() {
    let world = World::ephemeral();
    let queues = ["a", "b"].map(|name| world.queue(name, &[]));
    let mut publisher = world.publisher();
    let n = 300_000;
    for i in 0..n {
        world.put(&mut publisher, ["a", "b"][i % 2], PERSISTENT, b"");
    }
    world.flush(&mut publisher);
    world.commit();
    for _ in 0..3 {
        assert!(!matches!(queues[0].get(true, &Arc::default()), Got::Empty));
        world.commit();
    }
    world.commit();
    // A flush that cannot write its first entry would be followed by another one for ever.
    let mut tries = 0;
    while queues.iter().any(|queue| queue.with_state(|state| state.runs.unflushed())) {
        world.commit();
        tries += 1;
        assert!(tries < 1_000, "the log never learns of it");
    }
}

#[test]
fn bodies_are_read_only_for_what_came_back_too_often() {
    let world = World::new();
    let texts =
        [("x-queue-type", "quorum"), ("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "dead")];
    let (dead, queue) = (world.queue("dead", &[]), world.queue_with("q", &[("x-delivery-limit", 1)], &texts));
    let mut publisher = world.publisher();
    for n in 0..10_u8 {
        world.put(&mut publisher, "q", PERSISTENT, &[n; 300]);
        world.flush(&mut publisher);
        world.commit();
    }
    for round in 0..2 {
        let outlet = Arc::<Outlet>::default();
        let mut entries = Vec::new();
        while entries.len() < 10 {
            match queue.get(false, &outlet) {
                Got::Message { entry, .. } => entries.push(entry),
                Got::Wait => world.commit(),
                Got::Empty => panic!("there are ten"),
            }
        }
        for entry in &mut entries {
            assert_eq!(queue.forget_body(entry), crate::broker::queue::paging::Forgotten::Yes);
        }
        queue.requeue(None, entries.into_iter(), Return::Lost);
        world.commit();
        let held_bytes = queue.with_state(|state| state.ready.held_bytes());
        assert!(held_bytes < 2 * WINDOW_BYTES, "{held_bytes}");
        assert_eq!((queue.counts().0, dead.counts().0), if round == 0 { (10, 0) } else { (0, 10) });
    }
    let firsts: Vec<_> = drain(&world, &dead).iter().map(|body| (body[0], body.len())).collect();
    assert_eq!(firsts, (0..10).map(|n| (n, 300)).collect::<Vec<_>>());
}

#[test]
fn policies_that_are_set_at_the_same_time_leave_what_counts_in_the_end() {
    let world = World::ephemeral();
    let queues: Vec<_> = (0..8).map(|n| world.queue(&format!("q{n}"), &[])).collect();
    let set = |name: &str, n: i64| {
        let text = |text: &str| Value::LongStr(text.to_owned().into());
        let definition = Value::Table(Table(vec![("max-length".to_owned(), Value::I64(n))]));
        let fields = [("pattern", text("^q")), ("definition", definition), ("priority", Value::I64(n))];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        let policy =
            Policy::parse(Sort::User, name, &Table(fields.into()), world.broker.core.profile).unwrap();
        world.vhost.set_policy(Sort::User, policy);
    };
    for round in 0..200 {
        std::thread::scope(|scope| {
            let set = &set;
            ["a", "b", "c"].into_iter().zip(0..).for_each(|(name, n)| {
                scope.spawn(move || set(name, round * 3 + n));
            });
        });
        for queue in &queues {
            let counts = queue.with_state(|state| state.limits.max_length);
            assert_eq!(counts, Some(round as u64 * 3 + 2), "{round}");
        }
    }
}

#[test]
fn orphans_of_a_deleted_queue_are_swept_in_parts_at_the_next_start() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    let mut publisher = world.publisher();
    for _ in 0..21 {
        world.put(&mut publisher, "q", PERSISTENT, &[0; 600]);
        world.flush(&mut publisher);
        world.commit();
    }
    assert_eq!(world.store.scan(Space::Index, b"q").unwrap().len(), 21);
    // As a kill between the deletion and the flush of its entries leaves it.
    definition::delete(&world.store, vec![definition::queue_key("/", &queue.name)]);
    let world = world.again();
    world.commit();
    assert_eq!(world.store.scan(Space::Index, b"q").unwrap().len(), 0);
}

#[test]
fn the_history_of_a_durable_exchange_outlives_a_restart_and_ends_with_the_exchange() {
    let world = World::new();
    let declare = |world: &World, durable| {
        let options = ExchangeOptions {
            kind: "x-recent-history".to_owned(),
            durable,
            auto_delete: false,
            internal: false,
            arguments: arguments(&[("x-recent-history-length", 3)], &[]),
        };
        world.vhost.declare_exchange("history", options).unwrap();
    };
    let publish = |world: &World, bodies: std::ops::Range<u8>| {
        let mut publisher = world.publisher();
        for body in bodies {
            let publish =
                Publish { exchange: "history", routing_key: "", properties: &[0, 0], traits: PERSISTENT };
            publisher.publish(world.clock.now_ms(), &publish, || None, &mut Body::Copied(&[body])).unwrap();
        }
        world.flush(&mut publisher);
        world.commit();
    };
    let replayed = |world: &World| {
        let queue = world.queue("q", &[]);
        let target = Target::Queue(queue.clone());
        let binding = Binding { target, routing_key: "".into(), arguments: Table::default() };
        world.vhost.bind("history", binding).unwrap();
        world.commit();
        let bodies = drain(world, &queue).concat();
        world.vhost.delete_queue(&queue, false, false).unwrap();
        bodies
    };
    declare(&world, true);
    publish(&world, 0..5);
    let world = world.again();
    assert_eq!(replayed(&world), [2, 3, 4]);
    publish(&world, 5..6);
    let world = world.again();
    assert_eq!(replayed(&world), [3, 4, 5]);
    world.vhost.delete_exchange("history", false).unwrap();
    world.commit();
    assert_eq!(world.store.scan(Space::Meta, b"K").unwrap().len(), 0);
    declare(&world, false);
    publish(&world, 0..5);
    assert_eq!(world.store.scan(Space::Meta, b"K").unwrap().len(), 0, "it is not durable");
}

#[test]
fn consumers_that_come_at_once_are_all_served() {
    const AT_ONCE: usize = 4;
    let world = World::new();
    let mut publisher = world.publisher();
    for round in 0..200 {
        let name = format!("q{round}");
        let queue = world.queue(&name, &[]);
        let start = std::sync::Barrier::new(AT_ONCE);
        let outlets: Vec<Arc<Outlet>> = (0..AT_ONCE).map(|_| Arc::default()).collect();
        std::thread::scope(|scope| {
            for outlet in &outlets {
                scope.spawn(|| {
                    start.wait();
                    queue.consume(consumer(outlet, false)).unwrap();
                });
            }
        });
        for _ in 0..AT_ONCE {
            world.put(&mut publisher, &name, Traits::default(), b"x");
        }
        world.flush(&mut publisher);
        assert!(outlets.iter().all(|outlet| deliveries(outlet) == 1));
    }
}
