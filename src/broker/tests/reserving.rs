//! Deliveries that wait for the log: it makes no difference to what becomes of a message whether it had to be asked.

use super::*;

/// A queue with a consumer that takes so many messages. No message of it has been delivered.
fn consumed(
    world: &World,
    arguments: &[(&str, i64)],
    prefetch_count: u32,
) -> (Arc<Queue>, Arc<Outlet>, ConsumerId) {
    let queue = world.queue("q", arguments);
    let outlet = Arc::<Outlet>::default();
    let id = queue.consume(ConsumerSpec { prefetch_count, ..consumer(&outlet, false) }).unwrap();
    (queue, outlet, id)
}

/// Each in a batch of its own; nothing is committed meanwhile.
fn publish(world: &World, messages: &[(u8, &str)]) {
    let mut publisher = world.publisher();
    for &(priority, body) in messages {
        world.put(&mut publisher, "q", Traits { priority: Some(priority), ..PERSISTENT }, body.as_bytes());
        world.flush(&mut publisher);
    }
}

fn delivered(outlet: &Outlet) -> Vec<(Vec<u8>, bool)> {
    let mut events = Vec::new();
    outlet.drain(&mut events, std::task::Waker::noop());
    let delivery = |event: Event| {
        let Event::Deliver { entry, .. } = event else { return None };
        Some((entry.message.body().to_vec(), entry.redelivered))
    };
    events.into_iter().filter_map(delivery).collect()
}

fn first_time(bodies: &[&str]) -> Vec<(Vec<u8>, bool)> {
    bodies.iter().map(|body| (body.as_bytes().to_vec(), false)).collect()
}

#[test]
fn a_delivery_that_waits_takes_no_room_of_its_queue() {
    let world = World::new();
    let (queue, outlet, _) = consumed(&world, &[("x-max-length", 1)], 1);
    publish(&world, &[(0, "a"), (0, "b"), (0, "c")]);
    assert_eq!((deliveries(&outlet), queue.figures().ready, queue.figures().unacked), (0, 1, 1));
    world.commit();
    assert_eq!(delivered(&outlet), first_time(&["a"]));
    assert_eq!(drain(&world, &queue), [b"c"]);
}

#[test]
fn what_comes_meanwhile_does_not_go_before_a_delivery_that_waits() {
    let world = World::new();
    let (queue, outlet, _) = consumed(&world, &[("x-max-priority", 5)], 2);
    publish(&world, &[(0, "low"), (5, "high"), (3, "later")]);
    world.commit();
    assert_eq!(delivered(&outlet), first_time(&["low", "high"]));
    assert_eq!(drain(&world, &queue), [b"later"]);
}

#[test]
fn a_consumer_without_a_limit_takes_no_more_than_a_queue_can_hold_back() {
    let world = World::new();
    let (queue, outlet, _) = consumed(&world, &[], 0);
    let bodies: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    publish(&world, &bodies.iter().map(|body| (0, body.as_str())).collect::<Vec<_>>());
    assert_eq!(queue.figures().ready, 32);
    world.commit();
    assert_eq!(delivered(&outlet), first_time(&bodies.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn what_waits_for_a_consumer_that_goes_stays_where_it_was_and_was_never_delivered() {
    let world = World::new();
    let (queue, outlet, id) = consumed(&world, &[], 2);
    publish(&world, &[(0, "a"), (0, "b"), (0, "c")]);
    assert_eq!(queue.figures().unacked, 2);
    let _ = queue.cancel(id);
    assert_eq!((queue.figures().unacked, queue.figures().ready), (0, 3));
    world.commit();
    assert_eq!(deliveries(&outlet), 0);
    let other = Arc::<Outlet>::default();
    queue.consume(consumer(&other, false)).unwrap();
    queue.pump();
    world.commit();
    assert_eq!(delivered(&other), first_time(&["a", "b", "c"]));
}

#[test]
fn what_a_consumer_that_goes_was_to_have_comes_to_another_in_its_order() {
    let world = World::new();
    let (queue, _, id) = consumed(&world, &[], 1);
    let other = Arc::<Outlet>::default();
    queue.consume(ConsumerSpec { prefetch_count: 2, ..consumer(&other, false) }).unwrap();
    publish(&world, &[(0, "a"), (0, "b"), (0, "c")]);
    let _ = queue.cancel(id);
    world.commit();
    assert_eq!(delivered(&other), first_time(&["a", "b"]));
    assert_eq!(drain(&world, &queue), [b"c"]);
}

#[test]
fn a_purge_takes_what_waits_and_a_get_what_comes_after_it() {
    let world = World::new();
    let (queue, outlet, _) = consumed(&world, &[], 1);
    publish(&world, &[(0, "a"), (0, "b")]);
    assert_eq!((queue.purge(), queue.figures().unacked), (2, 0));
    publish(&world, &[(0, "c"), (0, "d")]);
    let getter = Arc::<Outlet>::default();
    assert!(matches!(queue.get(true, &getter), Got::Wait), "the consumer has not seen what comes before");
    world.commit();
    assert_eq!(delivered(&outlet), first_time(&["c"]));
    assert_eq!(drain(&world, &queue), [b"d"]);
}
