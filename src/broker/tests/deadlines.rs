//! What happens because time passes and nobody asks: messages expire at the head, unused queues go.

use std::time::Duration;

use super::*;

const DLX: &[(&str, &str)] = &[("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "dead")];

impl World {
    /// Time passes, and housekeeping wakes when it must.
    fn pass(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.broker.on_deadlines(self.clock.now_ms());
        self.commit();
        // What was read back from the log may have expired, too.
        self.broker.on_deadlines(self.clock.now_ms());
    }

    fn ready(&self, queue: &str) -> usize {
        // Not `counts`, which is a use, and not `figures`, which looks itself.
        self.vhost.find_queue(queue).unwrap().with_state(|state| state.ready.len())
    }
}

fn publish(world: &World, queue: &str, expiration_ms: Option<u64>, body: &[u8]) {
    let mut publisher = world.publisher();
    world.put(&mut publisher, queue, Traits { expiration_ms, ..PERSISTENT }, body);
    world.flush(&mut publisher);
}

#[test]
fn messages_leave_the_head_when_they_expire_and_nothing_wakes_afterwards() {
    let world = World::new();
    let dead = world.queue("dead", &[]);
    world.queue_with("q", &[("x-message-ttl", 1_000)], DLX);
    publish(&world, "q", None, b"long");
    publish(&world, "q", Some(10), b"behind it");
    assert_eq!(world.broker.core.deadlines.next_ms(), Some(world.clock.now_ms() + 1_000));
    world.pass(999);
    // What expires sooner behind the head waits for it.
    assert_eq!((world.ready("q"), world.ready("dead")), (2, 0));
    world.pass(1);
    assert_eq!(world.ready("q"), 0);
    assert_eq!(drain(&world, &dead), [&b"long"[..], b"behind it"]);
    assert_eq!(world.broker.core.deadlines.next_ms(), None);
}

#[test]
fn what_comes_back_keeps_its_time_and_goes_when_it_is_over() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    publish(&world, "q", Some(50), b"x");
    let Got::Message { entry, .. } = ({
        let outlet = Arc::<Outlet>::default();
        let _ = queue.get(false, &outlet);
        world.commit();
        queue.get(false, &outlet)
    }) else {
        panic!("there is a message");
    };
    world.pass(20);
    queue.requeue(None, std::iter::once(entry), Return::GivenBack);
    assert_eq!(world.ready("q"), 1);
    world.pass(30);
    assert_eq!(world.ready("q"), 0);
}

#[test]
fn an_earlier_head_is_an_earlier_deadline() {
    let world = World::new();
    world.queue("a", &[("x-message-ttl", 500)]);
    world.queue("b", &[]);
    publish(&world, "a", None, b"x");
    publish(&world, "b", Some(100), b"x");
    let start = world.clock.now_ms();
    assert_eq!(world.broker.core.deadlines.next_ms(), Some(start + 100));
    world.pass(100);
    assert_eq!((world.ready("a"), world.ready("b")), (1, 0));
    assert_eq!(world.broker.core.deadlines.next_ms(), Some(start + 500));
}

#[test]
fn the_first_persistent_delivery_with_a_ttl_of_0_waits_for_the_log_and_not_in_vain() {
    let world = World::new();
    let queue = world.queue("q", &[("x-max-length", 0)]);
    let outlet = Arc::<Outlet>::default();
    queue.consume(ConsumerSpec { prefetch_count: 2, ..consumer(&outlet, false) }).unwrap();
    for body in [b"1", b"2", b"3"] {
        publish(&world, "q", Some(0), body);
        world.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(deliveries(&outlet), 0, "the log does not know yet that they may be delivered");
    world.pass(5);
    assert_eq!(deliveries(&outlet), 2);
    assert_eq!(world.ready("q"), 0, "for the third there was no consumer");
}

#[test]
fn messages_expire_after_a_restart_though_nobody_asks() {
    let world = World::new();
    world.queue("dead", &[]);
    world.queue_with("q", &[], DLX);
    publish(&world, "q", Some(100), b"x");
    publish(&world, "q", None, b"stays");
    world.clock.advance(Duration::from_millis(60));
    let world = world.again();
    world.pass(39);
    assert_eq!((world.ready("q"), world.ready("dead")), (2, 0));
    world.pass(1);
    assert_eq!((world.ready("q"), world.ready("dead")), (1, 1));
    assert_eq!(drain(&world, &world.vhost.find_queue("dead").unwrap()), [b"x"]);
}

#[test]
fn an_unused_queue_goes_and_its_messages_are_not_dead_letters() {
    let world = World::new();
    world.queue("dead", &[]);
    world.queue_with("q", &[("x-expires", 100)], DLX);
    publish(&world, "q", None, b"x");
    world.pass(99);
    assert!(world.vhost.find_queue("q").is_some());
    world.pass(1);
    assert!(world.vhost.find_queue("q").is_none());
    assert_eq!(world.ready("dead"), 0);
    assert_eq!(world.broker.core.deadlines.next_ms(), None);
    // And it does not come back.
    assert!(world.again().vhost.find_queue("q").is_none());
}

#[test]
fn declaring_getting_and_consuming_are_uses_and_publishing_is_none() {
    type Use = fn(&World, &Arc<Queue>);
    let uses: [(Use, bool); 5] = [
        (
            |_, queue| {
                let _ = queue.counts();
            },
            true,
        ),
        (|_, queue| drop(queue.get(true, &Arc::default())), true),
        (
            |_, queue| {
                let _ = queue.consume(consumer(&Arc::default(), true)).unwrap();
            },
            true,
        ),
        (
            |_, queue| {
                let id = queue.consume(consumer(&Arc::default(), true)).unwrap();
                let _ = queue.cancel(id);
            },
            true,
        ),
        (|world, _| publish(world, "q", None, b"x"), false),
    ];
    for (at, (using, counts)) in uses.into_iter().enumerate() {
        let world = World::new();
        let queue = world.queue("q", &[("x-expires", 100)]);
        world.pass(60);
        using(&world, &queue);
        world.pass(60);
        assert_eq!(world.vhost.find_queue("q").is_some(), counts, "use {at}");
        if counts && queue.with_state(|state| state.consumers.is_empty()) {
            world.pass(40);
            assert!(world.vhost.find_queue("q").is_none(), "use {at}");
        }
    }
}

#[test]
fn a_restart_gives_an_unused_queue_its_whole_time_again() {
    let world = World::new();
    world.queue("q", &[("x-expires", 100)]);
    world.clock.advance(Duration::from_millis(90));
    let world = world.again();
    world.pass(99);
    assert!(world.vhost.find_queue("q").is_some());
    world.pass(1);
    assert!(world.vhost.find_queue("q").is_none());
}

#[test]
fn a_policy_changes_times_and_limits_at_once() {
    let world = World::new();
    let queue = world.queue("q", &[]);
    for body in [b"1", b"2", b"3"] {
        publish(&world, "q", None, body);
    }
    world.pass(1_000);
    queue.follow(queue.reconfigure(&arguments(&[("x-max-length", 1), ("x-expires", 50)], &[])));
    assert_eq!(world.ready("q"), 1);
    world.pass(49);
    assert!(world.vhost.find_queue("q").is_some(), "the time begins with the policy");
    queue.follow(queue.reconfigure(&arguments(&[], &[])));
    world.pass(10_000);
    assert_eq!(world.ready("q"), 1);
    queue.follow(queue.reconfigure(&arguments(&[("x-message-ttl", 50)], &[])));
    publish(&world, "q", None, b"4");
    world.pass(50);
    assert_eq!(world.ready("q"), 2, "what came before the policy keeps its time, and is the head");
}

#[test]
fn housekeeping_sleeps_until_the_earliest_deadline_and_looks_again_when_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let world = World::on(Store::manual(Options::ephemeral()), Clock::machine(), false);
    let queue = world.queue("q", &[("x-expires", 30)]);
    runtime.block_on(async {
        tokio::select! {
            () = crate::broker::housekeeping::run(world.broker.clone()) => {}
            () = async { while !queue.is_gone() { tokio::task::yield_now().await } } => {}
        }
    });
}
