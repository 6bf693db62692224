//! Keys and the topology: whoever has the topology may come to the keys, and nobody goes the other way.

use std::time::Duration;

use super::*;
use crate::broker::keyspace::stream::{Id, Stream};

/// A stream with one entry, and its topic.
fn add(world: &World, key: &[u8]) {
    let name = format!("redis.0.{}", std::str::from_utf8(key).unwrap());
    let mut keys = world.vhost.keyspace.enter(world.clock.now_ms());
    world.vhost.append_to_topic(&name, keys.now_ms, (b"1-1", b"{}"), &[]).unwrap();
    keys.change_or_make(0, key, |stream: &mut Stream, slots| {
        stream.add(Id { ms: 1, seq: 1 }, &[b"field", b"value"], slots);
    })
    .unwrap();
    keys.leave();
}

#[test]
fn a_stream_may_be_found_gone_with_the_topology_locked_and_its_topic_goes_afterwards() {
    within_30_s(|| {
        let world = World::new();
        add(&world, b"s");
        let mut keys = world.vhost.keyspace.enter(world.clock.now_ms());
        keys.expire(0, b"s", Some(world.clock.now_ms() + 10));
        keys.leave();
        world.clock.advance(Duration::from_millis(10));
        {
            // As a dead letter that an auto-deleted queue lets go of.
            let _topology = world.vhost.topology.lock();
            let list = world.vhost.find_list("redis.0.list").unwrap();
            list.push(b"x").unwrap();
        }
        assert_eq!(world.vhost.keyspace.enter(world.clock.now_ms()).len(0), 1);
        world.broker.on_deadlines(world.clock.now_ms());
        assert!(world.vhost.find_topic("redis.0.s").is_none());
        // One that is back by then keeps its topic.
        add(&world, b"s");
        assert!(world.vhost.find_topic("redis.0.s").is_some());
    });
}

#[test]
fn streams_may_go_while_others_come_from_the_topology_to_the_keys() {
    const TIMES: usize = 2_000;
    within_30_s(|| {
        let world = World::ephemeral();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..TIMES {
                    let _topology = world.vhost.topology.lock();
                    assert!(world.vhost.find_list("redis.0.list").is_some());
                }
            });
            for _ in 0..TIMES {
                add(&world, b"s");
                let mut keys = world.vhost.keyspace.enter(world.clock.now_ms());
                keys.remove(0, b"s");
                keys.leave();
                assert!(world.vhost.find_topic("redis.0.s").is_none());
            }
        });
    });
}
