//! What administrators see of a queue's messages: how many, how long, how many of them last or are in memory.

use super::*;
use crate::broker::queue::load::Load;

fn load(messages: usize, body_bytes: usize) -> Load {
    Load { messages, body_bytes }
}

/// Three messages: a transient one of 10 bytes, persistent ones of 20 and 30.
fn three(world: &World, queue: &Arc<Queue>) {
    let mut publisher = world.publisher();
    for (traits, bytes) in [(Traits::default(), 10), (PERSISTENT, 20), (PERSISTENT, 30)] {
        world.put(&mut publisher, &queue.name, traits, &vec![b'x'; bytes]);
    }
    world.flush(&mut publisher);
    world.commit();
}

#[test]
fn what_is_ready_held_and_lasting_is_told_by_number_and_bytes() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    three(&world, &queue);
    let transient = take(&world, &queue);
    let figures = queue.figures();
    assert_eq!((figures.all, figures.persistent), (load(3, 60), load(2, 50)));
    assert_eq!((figures.body_bytes, figures.unacked_bytes, figures.in_memory), (50, 10, load(2, 50)));
    queue.requeue(None, [transient].into_iter(), Return::GivenBack);
    let figures = queue.figures();
    assert_eq!((figures.all, figures.persistent, figures.unacked_bytes), (load(3, 60), load(2, 50), 0));
    let entries = [take(&world, &queue), take(&world, &queue)];
    queue.settle(None, entries.iter(), true);
    let figures = queue.figures();
    assert_eq!((figures.all, figures.persistent, figures.unacked_bytes), (load(1, 30), load(1, 30), 0));
    assert_eq!(queue.purge(), 1);
    let figures = queue.figures();
    assert_eq!((figures.all, figures.persistent, figures.in_memory), (load(0, 0), load(0, 0), load(0, 0)));
}

#[test]
fn nothing_lasts_in_a_transient_queue_and_everything_in_a_quorum_queue() {
    let world = World::new();
    let options =
        QueueOptions { durable: false, auto_delete: false, exclusive: None, arguments: Table::default() };
    let transient = world.vhost.declare_queue("t", ME, options).unwrap().queue;
    let quorum = world.queue_with("q", &[], &[("x-queue-type", "quorum")]);
    for (queue, persistent) in [(transient, load(0, 0)), (quorum, load(3, 60))] {
        three(&world, &queue);
        let _held = take(&world, &queue);
        assert_eq!((queue.figures().all, queue.figures().persistent), (load(3, 60), persistent));
    }
}

#[test]
fn what_a_backlog_has_in_the_log_only_is_not_in_memory() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    let mut publisher = world.publisher();
    for _ in 0..100 {
        world.put(&mut publisher, "q", PERSISTENT, &[b'x'; 100]);
        world.flush(&mut publisher);
        world.commit();
    }
    let figures = queue.figures();
    assert_eq!((figures.all, figures.persistent), (load(100, 10_000), load(100, 10_000)));
    assert!(figures.in_memory.messages < 50, "{:?}", figures.in_memory);
    assert_eq!(figures.in_memory.body_bytes, figures.in_memory.messages * 100);
}

#[test]
fn the_tag_of_the_consumer_that_is_served_is_told_where_one_is() {
    let world = World::new();
    let mut arguments = arguments(&[], &[]);
    arguments.0.push(("x-single-active-consumer".to_owned(), Value::Bool(true)));
    let options = durable(arguments);
    let queue = world.vhost.declare_queue("one", ME, options).unwrap().queue;
    let several = world.queue("several", &[]);
    let outlet = Arc::<Outlet>::default();
    for (queue, expected) in [(&queue, Some("c1")), (&several, None)] {
        assert_eq!(queue.active_consumer_tag(), None);
        for tag in ["c1", "c2"] {
            queue.consume(ConsumerSpec { consumer_tag: tag.into(), ..consumer(&outlet, false) }).unwrap();
        }
        assert_eq!(queue.active_consumer_tag().as_deref(), expected);
    }
}

#[test]
fn the_timestamp_of_what_leaves_next_is_told_while_that_is_in_memory() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    let mut publisher = world.publisher();
    for timestamp in [Some(1_500_000_001), None, Some(1_500_000_003)] {
        let mut properties = bytes::BytesMut::new();
        crate::data::field::Properties { timestamp, ..Default::default() }.encode(&mut properties);
        let publish = Publish { exchange: "", routing_key: "q", properties: &properties, traits: PERSISTENT };
        let now_ms = world.clock.now_ms();
        publisher.publish(now_ms, &publish, || None, &mut Body::Copied(b"x")).unwrap();
    }
    assert_eq!(queue.figures().head_timestamp, None);
    world.flush(&mut publisher);
    world.commit();
    let heads = [(); 3].map(|()| {
        let head = queue.figures().head_timestamp;
        let _ = take(&world, &queue);
        head
    });
    assert_eq!(heads, [Some(1_500_000_001), None, Some(1_500_000_003)]);
    assert_eq!(queue.figures().head_timestamp, None);
}
