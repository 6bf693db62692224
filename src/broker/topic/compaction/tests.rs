//! Compaction over the manual store: what stays, in which order of events, and after a crash at any point.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        append::append_markers,
        tests::{NOW_MS, World, commit, ready},
    },
    *,
};
use crate::{
    broker::{topic::fetch::Isolation, txn::producer::ProducerIdentity},
    data::record::{BatchBuilder, ControlType, Producer},
};

/// Every append its own segment; compacted at once.
const CONFIG: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("internal.segment.bytes", "14"), ("min.cleanable.dirty.ratio", "0")];

fn batch(timestamp: i64, records: &[(&str, Option<&str>)], producer: Producer) -> Batch {
    let mut builder = BatchBuilder::new().producer(producer);
    for (key, value) in records {
        builder.push(timestamp, Some(key.as_bytes()), value.map(str::as_bytes), []);
    }
    builder.build()
}

fn put(world: &World, p: &Arc<Partition>, records: &[(&str, Option<&str>)]) {
    world.append(p, &batch(NOW_MS, records, Producer::NONE)).unwrap();
}

/// Runs a round to its end.
fn compact_at(world: &World, p: &Arc<Partition>, now_ms: i64) -> bool {
    let Some(mut compaction) = p.compaction(now_ms, 7).unwrap() else { return false };
    while !matches!(compaction.step().unwrap(), Step::Done(_)) {
        commit(&world.store);
    }
    commit(&world.store);
    true
}

fn compact(world: &World, p: &Arc<Partition>) -> bool {
    compact_at(world, p, NOW_MS)
}

fn all_batches(p: &Partition) -> Vec<Batch> {
    let (mut all, mut next) = (Vec::new(), p.offsets().log_start);
    loop {
        let fetched = ready(p.fetch(next, 1 << 20, Isolation::ReadUncommitted)).unwrap();
        if fetched.batches.is_empty() {
            return all;
        }
        for bytes in fetched.batches {
            let batch = Batch::decode(bytes).unwrap();
            batch.check_crc().unwrap();
            next = Offset(batch.header().last_offset() + 1);
            all.push(batch);
        }
    }
}

/// Offset, key and value of every record there is, control records apart.
fn contents(p: &Partition) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for batch in all_batches(p).iter().filter(|b| !b.header().attributes.is_control()) {
        for record in &batch.payload(1 << 20).unwrap() {
            let record = record.unwrap();
            all.push((record.offset, text(record.key.unwrap()), record.value.map(text)));
        }
    }
    all
}

fn check(p: &Partition, expected: &[(i64, &str, Option<&str>)]) {
    let expected: Vec<_> =
        expected.iter().map(|(o, k, v)| (*o, (*k).to_owned(), v.map(str::to_owned))).collect();
    assert_eq!(contents(p), expected);
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset_and_the_newest_segment_is_left_alone() {
    let world = World::new();
    let p = world.partition(&CONFIG);
    put(&world, &p, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))]);
    put(&world, &p, &[("b", Some("2"))]);
    put(&world, &p, &[("c", Some("1"))]);
    put(&world, &p, &[("c", Some("2")), ("a", Some("3"))]);
    assert!(compact(&world, &p));
    let expected: &[(i64, &str, Option<&str>)] = &[
        (2, "a", Some("2")),
        (3, "b", Some("2")),
        (4, "c", Some("1")),
        (5, "c", Some("2")),
        (6, "a", Some("3")),
    ];
    check(&p, expected);
    // The batch stands where it stood, as long as it was.
    let first = all_batches(&p).swap_remove(0);
    assert_eq!((first.header().base_offset, first.header().last_offset()), (0, 2));
    assert!(!compact(&world, &p));
    // A reader in a hole is given what follows; the log ends where it did.
    let fetched = ready(p.fetch(Offset(1), 1, Isolation::ReadUncommitted)).unwrap();
    assert_eq!(Batch::decode(fetched.batches[0].clone()).unwrap().header().last_offset(), 2);
    assert_eq!(p.offsets().high_watermark, Offset(7));
    put(&world, &p, &[("d", Some("1"))]);
    assert!(compact(&world, &p));
    check(&p, &[(3, "b", Some("2")), (5, "c", Some("2")), (6, "a", Some("3")), (7, "d", Some("1"))]);
}

#[test]
fn a_deleted_keys_mark_stays_for_its_time_and_then_goes_with_its_batch() {
    let world = World::new();
    let p = world.partition(&[&CONFIG[..], &[("delete.retention.ms", "500")]].concat());
    put(&world, &p, &[("a", Some("1"))]);
    put(&world, &p, &[("a", None)]);
    put(&world, &p, &[("b", Some("1"))]);
    assert!(compact(&world, &p));
    check(&p, &[(1, "a", None), (2, "b", Some("1"))]);
    assert_eq!(all_batches(&p)[0].delete_horizon_ms(), Some(NOW_MS + 500));
    put(&world, &p, &[("b", Some("2"))]);
    assert!(compact_at(&world, &p, NOW_MS + 499));
    check(&p, &[(1, "a", None), (2, "b", Some("1")), (3, "b", Some("2"))]);
    put(&world, &p, &[("b", Some("3"))]);
    assert!(compact_at(&world, &p, NOW_MS + 500));
    check(&p, &[(3, "b", Some("2")), (4, "b", Some("3"))]);
}

#[test]
fn it_waits_until_enough_is_new_or_old_enough() {
    let world = World::new();
    let rules = [
        ("min.cleanable.dirty.ratio", "0.6"),
        ("min.compaction.lag.ms", "100"),
        ("max.compaction.lag.ms", "5000"),
    ];
    let p = world.partition(&[&CONFIG[..2], &rules].concat());
    let put_at = |ms: i64| world.append(&p, &batch(ms, &[("a", Some("1"))], Producer::NONE)).unwrap();
    put_at(NOW_MS);
    put_at(NOW_MS + 50);
    put_at(NOW_MS + 50);
    assert!(!compact_at(&world, &p, NOW_MS + 99), "too young");
    assert!(compact_at(&world, &p, NOW_MS + 149), "the first only");
    check(&p, &[(0, "a", Some("1")), (1, "a", Some("1")), (2, "a", Some("1"))]);
    assert!(!compact_at(&world, &p, NOW_MS + 1_000), "half of it is new");
    assert!(compact_at(&world, &p, NOW_MS + 5_051), "for too long");
    check(&p, &[(1, "a", Some("1")), (2, "a", Some("1"))]);
}

fn marker(p: &Arc<Partition>, world: &World, who: ProducerIdentity, committed: bool) {
    let kind = if committed { ControlType::Commit } else { ControlType::Abort };
    let producer = Producer { id: who.id, epoch: who.epoch, base_sequence: -1 };
    let checked = p.check_built(vec![BatchBuilder::control(kind, producer, 0, NOW_MS)], NOW_MS);
    append_markers(&world.store, vec![(p.clone(), checked)], committed, (0, Box::new(|_| {})), drop);
    commit(&world.store);
}

fn produce_in(
    p: &Arc<Partition>,
    world: &World,
    who: ProducerIdentity,
    sequence: i32,
    key: &str,
    value: &str,
) {
    p.add_to_transaction(who);
    let producer = Producer { id: who.id, epoch: who.epoch, base_sequence: sequence };
    let mut builder = BatchBuilder::new().producer(producer).transactional();
    builder.push(NOW_MS, Some(key.as_bytes()), Some(value.as_bytes()), []);
    world.append(p, &builder.build()).unwrap();
}

/// Kinds of the batches: d(ata) with the number of records, c(ommit or abort).
fn shape(p: &Partition) -> String {
    let one = |b: &Batch| {
        let kind = if b.header().attributes.is_control() { 'c' } else { 'd' };
        format!("{kind}{}@{}", b.header().record_count, b.header().base_offset)
    };
    all_batches(p).iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn nothing_aborted_stays_and_markers_stay_as_long_as_what_they_end() {
    let world = World::durable();
    let p = world.partition(&[&CONFIG[..], &[("delete.retention.ms", "500")]].concat());
    let (one, two) = (ProducerIdentity { id: 1, epoch: 0 }, ProducerIdentity { id: 2, epoch: 0 });
    put(&world, &p, &[("a", Some("1"))]); // 0
    produce_in(&p, &world, one, 0, "a", "aborted"); // 1
    produce_in(&p, &world, one, 1, "b", "aborted"); // 2
    marker(&p, &world, one, false); // 3
    produce_in(&p, &world, two, 0, "b", "committed"); // 4
    marker(&p, &world, two, true); // 5
    produce_in(&p, &world, two, 1, "z", "open"); // 6: nothing from here on is compacted
    put(&world, &p, &[("b", Some("later"))]); // 7
    put(&world, &p, &[("x", Some("newest"))]); // 8
    assert!(compact(&world, &p));
    // The aborted records are gone, and do not count as the last of their keys; the last batch of producer 1 is empty.
    assert_eq!(shape(&p), "d1@0 d0@2 c1@3 d1@4 c1@5 d1@6 d1@7 d1@8");
    marker(&p, &world, two, true); // 9
    put(&world, &p, &[("y", Some("newest"))]); // 10
    assert!(compact(&world, &p));
    // What producer 2 committed first has given way to the later record, its marker stays for its time.
    assert_eq!(shape(&p), "d1@0 d0@2 c1@3 c1@5 d1@6 d1@7 d1@8 c1@9 d1@10");
    put(&world, &p, &[("y", Some("newer"))]); // 11
    assert!(compact_at(&world, &p, NOW_MS + 100));
    put(&world, &p, &[("y", Some("newer"))]); // 12
    assert!(compact_at(&world, &p, NOW_MS + 600));
    assert_eq!(shape(&p), "d1@0 d0@2 c1@3 d1@6 d1@7 d1@8 c1@9 d1@11 d1@12");
    let world = world.crashed();
    let p = world.found();
    assert_eq!(shape(&p), "d1@0 d0@2 c1@3 d1@6 d1@7 d1@8 c1@9 d1@11 d1@12");
    assert_eq!(p.offsets().last_stable_offset, Offset(13));
}

#[test]
fn a_retry_of_a_batch_that_is_gone_gets_its_offset() {
    let world = World::durable();
    let p = world.partition(&CONFIG);
    let of = |sequence: i32| Producer { id: 5, epoch: 0, base_sequence: sequence };
    for sequence in 0..4 {
        world.append(&p, &batch(NOW_MS, &[("a", Some("1"))], of(sequence))).unwrap();
    }
    put(&world, &p, &[("b", Some("1"))]);
    assert!(compact(&world, &p));
    check(&p, &[(3, "a", Some("1")), (4, "b", Some("1"))]);
    let world = world.crashed();
    let p = world.found();
    for sequence in 0..4 {
        let again = world.append(&p, &batch(NOW_MS, &[("a", Some("1"))], of(sequence))).unwrap();
        assert_eq!(again.base_offset, Offset(sequence.into()));
    }
    assert_eq!(world.append(&p, &batch(NOW_MS, &[("a", Some("2"))], of(4))).unwrap().base_offset, Offset(5));
}

#[test]
fn a_crash_at_any_turn_leaves_the_last_value_of_every_key() {
    let expected: BTreeMap<String, String> =
        (0..40).map(|k| (format!("k{k}"), format!("{}", 199 - (199 - k) % 40))).collect();
    for turns in 0..12 {
        let world = World::durable();
        let p = world.partition(&CONFIG);
        for n in 0..200 {
            // Large, so that the log is bitten off in several Changes.
            let value = format!("{n}{}", " ".repeat(20_000));
            put(&world, &p, &[(&format!("k{}", n % 40), Some(&value))]);
        }
        let mut compaction = p.compaction(NOW_MS, 7).unwrap().unwrap();
        for _ in 0..turns {
            compaction.step().unwrap();
            commit(&world.store);
        }
        compaction.step().unwrap();
        let world = world.crashed();
        let p = world.found();
        let seen = |p: &Partition| {
            let of = |(_, k, v): (i64, String, Option<String>)| (k, v.unwrap().trim_end().to_owned());
            contents(p).into_iter().map(of).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(seen(&p), expected, "after {turns} turns");
        let offsets: Vec<i64> = contents(&p).iter().map(|(offset, ..)| *offset).collect();
        assert!(offsets.is_sorted());
        compact(&world, &p);
        // One of them twice: the newest segment is not looked at.
        assert_eq!((seen(&p), contents(&p).len()), (expected.clone(), 41), "after {turns} turns");
        assert_eq!(p.bytes(), all_batches(&p).iter().map(|b| b.bytes().len() as u64).sum::<u64>());
    }
}

#[test]
fn what_is_deleted_meanwhile_stays_deleted() {
    let world = World::durable();
    let p = world.partition(&[&[("cleanup.policy", "compact,delete")], &CONFIG[1..]].concat());
    for n in 0..30 {
        put(&world, &p, &[(&format!("k{}", n % 10), Some("v"))]);
    }
    let mut compaction = p.compaction(NOW_MS, 7).unwrap().unwrap();
    // In one turn: the trim first, or the rewriting first.
    for (to, trim_first) in [(Offset(3), true), (Offset(22), false)] {
        if trim_first {
            p.delete_records(Some(to), drop);
        }
        compaction.step().unwrap();
        if !trim_first {
            p.delete_records(Some(to), drop);
        }
        commit(&world.store);
        compaction = p.compaction(NOW_MS, 7).unwrap().unwrap();
    }
    let seen = contents(&p);
    assert!(seen.iter().all(|(offset, ..)| *offset >= 20), "{seen:?}");
    let world = world.crashed();
    let p = world.found();
    assert_eq!(p.offsets().log_start, Offset(22));
    let after: Vec<_> = seen.into_iter().filter(|(offset, ..)| *offset >= 22).collect();
    assert_eq!(contents(&p).into_iter().filter(|(offset, ..)| *offset >= 22).collect::<Vec<_>>(), after);
}

#[test]
fn a_compacted_topic_keeps_what_is_old_and_is_not_deleted_from() {
    let world = World::new();
    let p = world.partition(&[&CONFIG[..], &[("retention.ms", "1"), ("retention.bytes", "1")]].concat());
    put(&world, &p, &[("a", Some("1"))]);
    assert_eq!(p.enforce_retention(NOW_MS + 1_000_000), None);
    let refused = Arc::new(parking_lot::Mutex::new(None));
    let slot = refused.clone();
    p.delete_records(None, move |outcome| *slot.lock() = Some(outcome));
    assert_eq!(*refused.lock(), Some(Err(super::super::trim::TrimRefused::PolicyViolation)));
}
