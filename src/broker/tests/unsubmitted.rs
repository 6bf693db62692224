//! What queues get and let go before the Change that brings it is in the inbox.

use super::*;
use crate::broker::{
    dead_letter::{self, Moves},
    queue::change::Acknowledge,
};

const DURABLE: [&str; 3] = ["source", "through", "last"];

/// `source` dies into `through`, and what that has no room for into `last`.
fn chain(max_length: i64) -> World {
    let world = World::on(Store::manual(narrow()), Clock::manual(1_700_000_000_000), false);
    let into = |target| [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", target)];
    world.queue("last", &[]);
    world.queue_with("through", &[("x-max-length", max_length)], &into("last"));
    world.queue_with("source", &[], &into("through"));
    world
}

fn queue(world: &World, name: &str) -> Arc<Queue> {
    world.vhost.find_queue(name).unwrap()
}

/// Two of them do not go into one turn.
const BODY: [u8; 1_500] = [b'm'; 1_500];

/// A message of `source` is rejected, and is on its way to `through`: nothing is submitted.
fn rejected(world: &World) -> Moves {
    let mut publisher = world.publisher();
    world.put(&mut publisher, "source", PERSISTENT, &BODY);
    world.flush(&mut publisher);
    world.commit();
    let (source, mut moves) = (queue(world, "source"), Moves::default());
    let entry = take(world, &source);
    moves.rejected(world.clock.now_ms(), &source, std::slice::from_ref(&entry));
    moves.changes.push(Box::new(Acknowledge::new(source, None, vec![entry], false)));
    moves
}

/// How many messages the log has after a power failure.
fn left(world: &World, seed: u64) -> usize {
    let image = world.store.crash(seed).unwrap();
    let world = World::on(Store::open_on(image, narrow()).unwrap(), world.clock.clone(), false);
    DURABLE.iter().map(|name| drain(&world, &queue(&world, name)).len()).sum()
}

#[test]
fn what_a_target_lets_go_for_a_move_comes_into_the_log_behind_it() {
    for seed in 0..4 {
        let world = chain(0);
        let moves = rejected(&world);
        // Another thread, which has moved what came before.
        dead_letter::move_all(&queue(&world, "through"));
        world.commit();
        assert_eq!(left(&world, seed), 1);
        drop(moves);
    }
    let world = chain(0);
    let moves = rejected(&world);
    dead_letter::move_all(&queue(&world, "through"));
    moves.submit(&world.store);
    world.commit();
    assert_eq!(DURABLE.map(|name| drain(&world, &queue(&world, name)).len()), [0, 0, 1]);
}

#[test]
fn what_a_commit_pushes_out_comes_into_the_log_behind_it() {
    for (turns, seed) in (0..4).flat_map(|turns| (0..4).map(move |seed| (turns, seed))) {
        let world = chain(1);
        let mut publisher = world.publisher();
        publisher.hold_back();
        for _ in 0..2 {
            world.put(&mut publisher, "through", PERSISTENT, &BODY);
        }
        publisher.commit(world.clock.now_ms(), Vec::new());
        for _ in 0..turns {
            world.store.step(world.clock.now());
        }
        let left = left(&world, seed);
        assert!(left == 0 || left == 2, "{left} after {turns} turns");
    }
}

#[test]
fn what_is_not_submitted_is_its_consumers_and_not_delivered() {
    let world = chain(5);
    let through = queue(&world, "through");
    let outlet = Arc::<Outlet>::default();
    through.consume(consumer(&outlet, false)).unwrap();
    let moves = rejected(&world);
    through.pump();
    world.commit();
    assert_eq!((delivered(&outlet).len(), through.figures().unacked, through.counts().0), (0, 1, 0));
    moves.submit(&world.store);
    world.commit();
    assert_eq!(delivered(&outlet).len(), 1);
}

#[test]
fn what_a_target_let_go_is_moved_though_the_target_is_deleted_before_its_change_is_submitted() {
    let world = chain(0);
    let moves = rejected(&world);
    let through = queue(&world, "through");
    world.vhost.delete_queue(&through, false, false).unwrap();
    moves.submit(&world.store);
    world.commit();
    let last = |world: &World| queue(world, "last").counts().0;
    assert_eq!((last(&world), last(&world.again())), (1, 1));
}
