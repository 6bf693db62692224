//! Producers and transactions whose records leave the log.

use super::*;
use crate::broker::txn::producer::ProducerIdentity;

fn from(base_sequence: i32) -> Producer {
    Producer { id: 5, epoch: 0, base_sequence }
}

fn delete(world: &World, p: &Arc<Partition>, offset: i64) {
    p.delete_records(Some(Offset(offset)), |low| assert!(low.is_ok()));
    commit(&world.store);
}

#[test]
fn a_log_that_was_cut_inside_an_open_transaction_shows_nothing_of_it() {
    for tail_bytes in [usize::MAX, 0] {
        let world = World::on(Store::manual(Options::small_disk()), tail_bytes);
        let p = world.partition(&[]);
        p.add_to_transaction(ProducerIdentity { id: 5, epoch: 0 });
        let mut builder = BatchBuilder::new().producer(from(0)).transactional();
        ["a", "b", "c"].iter().for_each(|v| builder.push(NOW_MS, None, Some(v.as_bytes()), []));
        world.append(&p, &builder.build()).unwrap();
        delete(&world, &p, 1);
        let offsets = p.offsets();
        assert_eq!((offsets.log_start, offsets.last_stable_offset), (Offset(1), Offset(1)));
        let committed = ready(p.fetch(Offset(1), 1_000, Isolation::ReadCommitted)).unwrap();
        assert_eq!(records(&committed.batches), []);
        assert_eq!(offsets_read(&p, 1, 1_000), [0, 1, 2]);
    }
}

#[test]
fn a_retry_is_told_its_offset_though_its_record_was_deleted_and_the_broker_started_again() {
    let world = World::durable();
    let p = world.partition(&[]);
    for n in 0..3 {
        world.append(&p, &batch_at(NOW_MS, &["x"], from(n))).unwrap();
    }
    delete(&world, &p, 2);
    let world = world.crashed();
    let p = world.found();
    for n in 0..3 {
        assert_eq!(
            world.append(&p, &batch_at(NOW_MS, &["x"], from(n))).unwrap().base_offset,
            Offset(n.into())
        );
    }
    delete(&world, &p, 3);
    let world = world.crashed();
    let p = world.found();
    assert_eq!(world.append(&p, &batch_at(NOW_MS, &["x"], from(2))).unwrap().base_offset, Offset(2));
    assert_eq!(world.append(&p, &batch_at(NOW_MS, &["x"], from(4))), Err(Refused::OutOfOrderSequence));
    assert_eq!(world.append(&p, &batch_at(NOW_MS, &["x"], from(3))).unwrap().base_offset, Offset(3));
}

#[test]
fn what_was_written_down_of_producers_goes_with_them_and_with_their_topic() {
    let world = World::on(Store::manual(Options::small_disk()), 0);
    let topic = world.topic("t", 1, &[]);
    let p = world.found();
    let saved = || world.store.scan(Space::State, b"q").unwrap().len();
    for id in 0..3 {
        let producer = Producer { id, epoch: 0, base_sequence: 0 };
        world.append(&p, &batch_at(NOW_MS + id, &["x"], producer)).unwrap();
    }
    delete(&world, &p, 3);
    assert_eq!(saved(), 3);
    p.expire_producers(NOW_MS);
    commit(&world.store);
    assert_eq!(saved(), 2);
    world.topics.delete(&topic);
    commit(&world.store);
    assert_eq!(saved(), 0);
}

/// What is written down for a cut further on must not be overtaken: the log has nothing else of what lies between.
#[test]
fn of_two_that_write_a_producer_down_at_once_the_one_who_knows_more_is_in_the_log_last() {
    let world = World::on(Store::manual(Options::small_disk()), 0);
    let p = world.partition(&[]);
    for n in 0..300 {
        for sequence in [2 * n, 2 * n + 1] {
            world.append(&p, &batch_at(NOW_MS, &["x"], from(sequence))).unwrap();
        }
        let cuts = [Offset(i64::from(2 * n) + 1), Offset(i64::from(2 * n) + 2)];
        let (both, p) = (&std::sync::Barrier::new(2), &p);
        std::thread::scope(|scope| {
            for cut in cuts {
                scope.spawn(move || {
                    both.wait();
                    p.save_producers(cut, |_| true);
                });
            }
        });
        commit(&world.store);
        let saved = world.store.scan(Space::State, b"q").unwrap();
        let [(_, value)] = &saved[..] else { panic!("{saved:?}") };
        let to: [u8; 8] = value[TO_AT..TO_AT + 8].try_into().unwrap();
        assert_eq!(i64::from_be_bytes(to), cuts[1].0);
    }
}

/// Where the cut stands in what is written down: behind the epoch, the last timestamp and the last offset.
const TO_AT: usize = 2 + 8 + 8;
