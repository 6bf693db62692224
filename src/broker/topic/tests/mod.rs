//! Topics over the manual store: what is appended is read, once, in order, after a crash too.

mod crashes;
mod producers;

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    NewTopic, Offset, Topic, Topics, VhostName,
    append::{Appended, Checked, Refused, append_all},
    config::TopicConfig,
    fetch::{FetchError, Isolation},
    partition::Partition,
    tail::Budget,
    trim::TrimRefused,
    waiters::Waiter,
};
use crate::{
    clock,
    data::record::{Batch, BatchBuilder, Batches, Producer},
    store::{Options, Space, Store},
};

/// The result of a future that has nothing to wait for.
pub(crate) fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

pub(in crate::broker::topic) fn commit(store: &Store) {
    while store.step(clock::epoch()) {}
}

pub(in crate::broker::topic) struct World {
    pub(in crate::broker::topic) store: Store,
    topics: Topics,
}

impl World {
    pub(in crate::broker::topic) fn new() -> Self {
        Self::on(Store::manual(Options::ephemeral()), usize::MAX)
    }

    fn on(store: Store, tail_bytes: usize) -> Self {
        let topics = Topics::recover(store.clone(), Budget::new(tail_bytes)).unwrap();
        store.start_reclaiming();
        Self { store, topics }
    }

    pub(in crate::broker::topic) fn durable() -> Self {
        Self::on(Store::manual(Options::small_disk()), usize::MAX)
    }

    /// Nothing of it in memory but the index, as after a long time.
    pub(in crate::broker::topic) fn crashed(self) -> Self {
        Self::on(Store::open_on(self.store.crash(7).unwrap(), Options::small_disk()).unwrap(), 0)
    }

    fn topic(&self, name: &str, partitions: u32, config: &[(&str, &str)]) -> Arc<Topic> {
        let config = TopicConfig::new(config.iter().map(|(n, v)| (*n, Some(*v)))).unwrap();
        let id = Uuid::new_v4();
        let new =
            NewTopic { vhost: vhost(), name: name.into(), partitions, config, stream_arguments: None, id };
        let (topic, _) = self.topics.create(new).unwrap();
        commit(&self.store);
        topic
    }

    pub(in crate::broker::topic) fn partition(&self, config: &[(&str, &str)]) -> Arc<Partition> {
        self.topic("t", 1, config).partitions()[0].clone()
    }

    pub(in crate::broker::topic) fn found(&self) -> Arc<Partition> {
        self.topics.find(&vhost(), "t").unwrap().partitions()[0].clone()
    }

    pub(in crate::broker::topic) fn append(
        &self,
        partition: &Arc<Partition>,
        batch: &Batch,
    ) -> Result<Appended, Refused> {
        let outcome = submit(partition, partition.check(batch.bytes().clone(), NOW_MS, false)?);
        commit(&self.store);
        outcome.lock().take().expect("committed")
    }
}

fn vhost() -> VhostName {
    "/".into()
}

pub(in crate::broker::topic) const NOW_MS: i64 = 1_000_000;

type Outcome<T> = Arc<Mutex<Option<T>>>;

fn submit(partition: &Arc<Partition>, checked: Checked) -> Outcome<Result<Appended, Refused>> {
    let outcome = Outcome::default();
    let slot = outcome.clone();
    partition.append(checked, move |result| *slot.lock() = Some(result));
    outcome
}

fn batch_at(timestamp: i64, values: &[&str], producer: Producer) -> Batch {
    let mut builder = BatchBuilder::new().producer(producer);
    for value in values {
        builder.push(timestamp, None, Some(value.as_bytes()), []);
    }
    builder.build()
}

fn batch(values: &[&str]) -> Batch {
    batch_at(NOW_MS, values, Producer::NONE)
}

/// Offset and value of every record fetched.
fn records(batches: &[Bytes]) -> Vec<(i64, String)> {
    let mut all = Vec::new();
    for batch in batches.iter().flat_map(|b| Batches::new(b.clone())) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        for record in &batch.payload(1 << 20).unwrap() {
            let record = record.unwrap();
            all.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    all
}

fn read(partition: &Partition, offset: i64, bytes_max: usize) -> Result<Vec<(i64, String)>, FetchError> {
    let fetched = ready(partition.fetch(Offset(offset), bytes_max, Isolation::ReadUncommitted))?;
    Ok(records(&fetched.batches))
}

fn offsets_read(partition: &Partition, offset: i64, bytes_max: usize) -> Vec<i64> {
    read(partition, offset, bytes_max).unwrap().iter().map(|(o, _)| *o).collect()
}

#[test]
fn offsets_follow_each_other_and_only_what_is_committed_is_seen() {
    let world = World::new();
    let p = world.partition(&[]);
    let outcome = submit(&p, p.check(batch(&["a", "b"]).into_bytes(), NOW_MS, true).unwrap());
    assert_eq!(offsets_read(&p, 0, 1_000), Vec::<i64>::new());
    commit(&world.store);
    let appended = outcome.lock().take().unwrap().unwrap();
    assert_eq!((appended.base_offset, appended.log_append_time_ms), (Offset(0), -1));
    assert_eq!(world.append(&p, &batch(&["c"])).unwrap().base_offset, Offset(2));
    let all = [(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())];
    assert_eq!(read(&p, 0, 1_000).unwrap(), all);
    assert_eq!(p.offsets().high_watermark, Offset(3));
}

/// From the tail, and from the store.
#[test]
fn a_read_gives_whole_batches_and_never_less_than_one() {
    let world = World::durable();
    let p = world.partition(&[]);
    for values in [&["a", "b", "c"][..], &["d"], &["e", "f"]] {
        world.append(&p, &batch(values)).unwrap();
    }
    let one = batch(&["a", "b", "c"]).bytes().len();
    let check = |p: &Partition, offset: i64, bytes_max: usize, expected: &[i64]| {
        assert_eq!(offsets_read(p, offset, bytes_max), expected, "{offset} {bytes_max}");
    };
    let check_all = |p: &Partition| {
        check(p, 0, 1_000_000, &[0, 1, 2, 3, 4, 5]);
        check(p, 0, 0, &[0, 1, 2]);
        check(p, 1, 1, &[0, 1, 2]);
        check(p, 2, one + 1, &[0, 1, 2]);
        check(p, 3, 1, &[3]);
        check(p, 5, 1_000, &[4, 5]);
        check(p, 6, 1_000, &[]);
        for outside in [-1, 7] {
            let error = read(p, outside, 1).unwrap_err();
            assert!(matches!(error, FetchError::OutOfRange(o) if o == p.offsets()), "{error}");
        }
    };
    check_all(&p);
    let world = world.crashed();
    let p = world.found();
    assert!(p.read(Offset(0), 1, Isolation::ReadUncommitted).unwrap().into_cached().is_err());
    check_all(&p);
    // What follows is in the tail, what was before in the store: one read takes both.
    world.append(&p, &batch(&["g"])).unwrap();
    check(&p, 5, 1_000, &[4, 5, 6]);
}

#[test]
fn a_batch_is_refused_before_it_gets_an_offset() {
    let world = World::new();
    let p = world.partition(&[("max.message.bytes", "100"), ("min.insync.replicas", "2")]);
    let check = |bytes: Bytes, acks_all: bool| p.check(bytes, NOW_MS, acks_all).map(|_| ()).unwrap_err();
    let good = batch(&["a"]).into_bytes();
    assert_eq!(check(good.clone(), true), Refused::NotEnoughReplicas);
    let large = batch(&["a".repeat(100).as_str()]).into_bytes();
    assert_eq!(check(large.clone(), false), Refused::MessageTooLarge { bytes: large.len(), bytes_max: 100 });
    let mut flipped = good.to_vec();
    flipped[62] ^= 1;
    assert!(matches!(check(flipped.into(), false), Refused::CorruptMessage(_)));
    assert!(matches!(check(Bytes::new(), false), Refused::InvalidRecord(_)));
    assert!(matches!(check([&good[..], &good[..]].concat().into(), false), Refused::InvalidRecord(_)));
    let future = batch_at(NOW_MS + 3_600_001, &["a"], Producer::NONE).into_bytes();
    assert!(matches!(check(future, false), Refused::Records(refused) if refused.is_of_timestamps()));
    assert!(p.check(good, NOW_MS, false).is_ok());
}

#[test]
fn a_topic_may_compress_what_comes_and_leave_alone_what_is_so_already() {
    use crate::data::record::Codec;
    let world = World::new();
    let long = "word ".repeat(100);
    let plain = batch(&[&long, &long]);
    let mut as_it_came = plain.clone();
    for (n, (kind, codec)) in [
        ("uncompressed", Codec::None),
        ("gzip", Codec::Gzip),
        ("snappy", Codec::Snappy),
        ("lz4", Codec::Lz4),
        ("zstd", Codec::Zstd),
    ]
    .into_iter()
    .enumerate()
    {
        let topic = world.topic(&format!("t{n}"), 1, &[("compression.type", kind)]);
        let p = &topic.partitions()[0];
        for batch in [&plain, &as_it_came] {
            world.append(p, batch).unwrap();
        }
        let fetched = ready(p.fetch(Offset(0), 1 << 20, Isolation::ReadUncommitted)).unwrap();
        let kept = Batches::new(fetched.batches[1].clone()).next().unwrap().unwrap();
        assert_eq!(kept.header().attributes.codec(), Ok(codec));
        assert_eq!(records(&fetched.batches), [0, 1, 2, 3].map(|offset| (offset, long.clone())), "{kind}");
        // The next topic gets it in this form.
        as_it_came = kept.stamped(0, 0);
    }
}

#[test]
fn log_append_time_is_the_brokers() {
    let world = World::new();
    let p = world.partition(&[("message.timestamp.type", "LogAppendTime")]);
    let appended = world.append(&p, &batch_at(5, &["a"], Producer::NONE)).unwrap();
    assert_eq!(appended.log_append_time_ms, NOW_MS);
    assert_eq!(ready(p.max_timestamp()).unwrap().map(|t| t.timestamp), Some(NOW_MS));
}

#[test]
fn a_retry_gets_the_original_offset_even_while_it_is_under_way_and_after_a_crash() {
    let world = World::durable();
    let p = world.partition(&[]);
    let by = |base_sequence| Producer { id: 9, epoch: 0, base_sequence };
    let first = batch_at(NOW_MS, &["a", "b"], by(0));
    let outcomes: Vec<_> =
        (0..2).map(|_| submit(&p, p.check(first.bytes().clone(), NOW_MS, true).unwrap())).collect();
    commit(&world.store);
    for outcome in outcomes {
        assert_eq!(outcome.lock().take().unwrap().unwrap().base_offset, Offset(0));
    }
    assert_eq!(world.append(&p, &batch_at(NOW_MS, &["x"], by(3))), Err(Refused::OutOfOrderSequence));
    let world = world.crashed();
    let p = world.found();
    assert_eq!(world.append(&p, &first).unwrap().base_offset, Offset(0));
    assert_eq!(world.append(&p, &batch_at(NOW_MS, &["x"], by(3))), Err(Refused::OutOfOrderSequence));
    assert_eq!(world.append(&p, &batch_at(NOW_MS, &["c"], by(2))).unwrap().base_offset, Offset(2));
    let newer = Producer { epoch: 1, ..by(0) };
    assert_eq!(world.append(&p, &batch_at(NOW_MS, &["d"], newer)).unwrap().base_offset, Offset(3));
    assert_eq!(world.append(&p, &batch_at(NOW_MS, &["e"], by(3))), Err(Refused::InvalidProducerEpoch));
}

#[test]
fn a_change_over_many_partitions_is_one_and_carries_other_keys() {
    let world = World::durable();
    let topic = world.topic("t", 3, &[]);
    let parts = || {
        let part =
            |p: &Arc<Partition>| (p.clone(), p.check_built(vec![batch(&["a"]), batch(&["b"])], NOW_MS));
        topic.partitions().iter().map(part).collect::<Vec<_>>()
    };
    let outcome = Outcome::default();
    let slot = outcome.clone();
    let extra: super::append::Extra = Box::new(|turn| turn.put(Space::State, b"~job", b"epoch 1"));
    append_all(&world.store, parts(), Some((20, extra)), move |all| *slot.lock() = Some(all));
    commit(&world.store);
    let all = outcome.lock().take().unwrap().unwrap();
    assert_eq!(all.iter().map(|a| a.base_offset).collect::<Vec<_>>(), [Offset(0); 3]);
    let world = world.crashed();
    assert_eq!(world.store.get(Space::State, b"~job").unwrap().as_deref(), Some(&b"epoch 1"[..]));
    let topic = world.topics.find(&vhost(), "t").unwrap();
    assert!(topic.partitions().iter().all(|p| offsets_read(p, 1, 1_000) == [1]));
}

#[test]
fn one_refused_part_refuses_all_of_a_change() {
    let world = World::new();
    let (kept, deleted) = (world.topic("kept", 1, &[]), world.topic("deleted", 1, &[]));
    let part = |t: &Arc<Topic>| {
        (t.partitions()[0].clone(), t.partitions()[0].check_built(vec![batch(&["a"])], NOW_MS))
    };
    let parts = vec![part(&kept), part(&deleted)];
    world.topics.delete(&deleted).unwrap();
    let outcome = Outcome::default();
    let slot = outcome.clone();
    let extra: super::append::Extra = Box::new(|_| panic!("not staged"));
    append_all(&world.store, parts, Some((0, extra)), move |all| *slot.lock() = Some(all));
    commit(&world.store);
    assert_eq!(outcome.lock().take(), Some(Err(Refused::UnknownTopicOrPartition)));
    assert_eq!(kept.partitions()[0].offsets().high_watermark, Offset(0));
}

#[test]
fn records_published_one_by_one_become_one_batch_a_turn() {
    let world = World::new();
    let p = world.partition(&[]);
    let publish = |value: &str| p.publish(NOW_MS, Some(b"k"), Some(value.as_bytes()), [("h", None)]);
    let tickets = [publish("a"), publish("b")];
    assert_eq!(tickets[0], tickets[1]);
    commit(&world.store);
    let large = "x".repeat(100_000);
    assert!(publish("c") < publish(&large));
    commit(&world.store);
    let fetched = ready(p.fetch(Offset(0), usize::MAX, Isolation::ReadUncommitted)).unwrap();
    let sizes: Vec<usize> = fetched.batches.iter().map(|b| records(std::slice::from_ref(b)).len()).collect();
    assert_eq!(sizes, [2, 1, 1]);
    assert_eq!(world.store.durable_to(), world.store.submitted_to());
}

#[test]
fn a_waiting_fetch_is_woken_by_the_commit_and_by_the_deletion() {
    let world = World::new();
    let topic = world.topic("t", 1, &[]);
    let p = &topic.partitions()[0];
    let waiter = Waiter::new(1);
    p.wait(Offset(0), Isolation::ReadUncommitted, &waiter);
    submit(p, p.check(batch(&["a"]).into_bytes(), NOW_MS, false).unwrap());
    assert!(!waiter.has_fired());
    commit(&world.store);
    assert!(waiter.has_fired());
    let at_once = Waiter::new(1);
    p.wait(Offset(0), Isolation::ReadUncommitted, &at_once);
    let until_deleted = Waiter::new(1);
    p.wait(Offset(1), Isolation::ReadUncommitted, &until_deleted);
    assert!(at_once.has_fired() && !until_deleted.has_fired());
    world.topics.delete(&topic);
    assert!(until_deleted.has_fired());
}

#[test]
fn times_lead_to_the_first_record_that_reaches_them() {
    let world = World::durable();
    let p = world.partition(&[]);
    for (base, values) in [(100, &["a", "b"][..]), (300, &["c"]), (200, &["d"])] {
        world.append(&p, &batch_at(base, values, Producer::NONE)).unwrap();
    }
    let check = |p: &Partition, time: i64, expected: Option<(i64, i64)>| {
        let found = ready(p.offset_for_time(time, Isolation::ReadUncommitted)).unwrap();
        assert_eq!(found.map(|t| (t.offset.0, t.timestamp)), expected, "at {time}");
    };
    let check_all = |p: &Partition| {
        check(p, 0, Some((0, 100)));
        check(p, 101, Some((2, 300)));
        check(p, 301, None);
        assert_eq!(ready(p.max_timestamp()).unwrap().map(|t| t.offset), Some(Offset(2)));
    };
    check_all(&p);
    check_all(&world.crashed().found());
}

#[test]
fn delete_records_moves_the_start_for_good_and_offsets_never_come_back() {
    let world = World::durable();
    let p = world.partition(&[]);
    for _ in 0..3 {
        world.append(&p, &batch(&["a", "b"])).unwrap();
    }
    let delete = |p: &Arc<Partition>, store: &Store, offset: Option<i64>| {
        let outcome = Outcome::default();
        let slot = outcome.clone();
        p.delete_records(offset.map(Offset), move |result| *slot.lock() = Some(result));
        commit(store);
        let result: Result<Offset, TrimRefused> = outcome.lock().take().unwrap();
        result
    };
    assert_eq!(delete(&p, &world.store, Some(7)), Err(TrimRefused::OffsetOutOfRange));
    assert_eq!(delete(&p, &world.store, Some(3)), Ok(Offset(3)));
    assert_eq!(delete(&p, &world.store, Some(1)), Ok(Offset(3)));
    assert!(matches!(read(&p, 2, 1), Err(FetchError::OutOfRange(_))));
    assert_eq!(offsets_read(&p, 3, 1), [2, 3]);
    let world = world.crashed();
    let p = world.found();
    assert_eq!(p.offsets().log_start, Offset(3));
    assert_eq!(delete(&p, &world.store, None), Ok(Offset(6)));
    assert_eq!(p.bytes(), 0);
    let world = world.crashed();
    assert_eq!(world.found().offsets().log_start, Offset(6));
    assert_eq!(world.append(&world.found(), &batch(&["z"])).unwrap().base_offset, Offset(6));
}

#[test]
fn retention_gives_the_space_back() {
    let world = World::new();
    let p = world.partition(&[("retention.ms", "1000")]);
    for timestamp in [NOW_MS, NOW_MS + 500] {
        world.append(&p, &batch_at(timestamp, &["a"], Producer::NONE)).unwrap();
    }
    world.topics.on_housekeeping(NOW_MS + 1_000);
    commit(&world.store);
    assert_eq!(p.offsets().log_start, Offset(0));
    world.topics.on_housekeeping(NOW_MS + 1_001);
    commit(&world.store);
    assert_eq!((p.offsets().log_start, offsets_read(&p, 1, 10)), (Offset(1), vec![1]));
    assert_eq!(world.store.scan(Space::Index, b"b").unwrap().len(), 1);
}

#[test]
fn a_deleted_topic_leaves_nothing_behind_and_its_successor_is_another() {
    let world = World::durable();
    let old = world.topic("t", 2, &[]);
    for _ in 0..3 {
        world.append(&old.partitions()[1], &batch(&["a"])).unwrap();
    }
    let waiting = submit(
        &old.partitions()[0],
        old.partitions()[0].check(batch(&["b"]).into_bytes(), NOW_MS, true).unwrap(),
    );
    world.topics.delete(&old).unwrap();
    assert!(world.topics.delete(&old).is_none());
    let new = world.topic("t", 1, &[]);
    assert_eq!(waiting.lock().take(), Some(Err(Refused::UnknownTopicOrPartition)));
    assert!(matches!(read(&old.partitions()[1], 0, 1), Err(FetchError::UnknownTopicOrPartition)));
    assert_ne!((new.id, new.partitions()[0].id), (old.id, old.partitions()[0].id));
    assert!(world.store.scan(Space::Index, b"b").unwrap().is_empty());
    assert!(world.store.scan(Space::Meta, b"D").unwrap().is_empty());
    let world = world.crashed();
    assert_eq!(world.topics.find(&vhost(), "t").map(|t| t.id), Some(new.id));
    assert!(world.topics.by_id(old.id).is_none());
}

#[test]
fn a_crash_in_the_middle_of_a_deletion_is_finished_at_recovery() {
    let world = World::durable();
    let old = world.topic("t", 1, &[]);
    world.append(&old.partitions()[0], &batch(&["a"])).unwrap();
    world.topics.delete(&old).unwrap();
    world.store.step(clock::epoch());
    let world = world.crashed();
    commit(&world.store);
    assert!(world.topics.find(&vhost(), "t").is_none());
    assert!(world.store.scan(Space::Index, b"b").unwrap().is_empty());
    assert!(world.store.scan(Space::Meta, b"D").unwrap().is_empty());
}

#[test]
fn the_tails_of_all_partitions_share_one_budget_and_the_oldest_goes_first() {
    let store = Store::manual(Options::ephemeral());
    let one = batch(&["a"]).bytes().len();
    let world = World::on(store, 2 * one);
    let (a, b) =
        (world.topic("a", 1, &[]).partitions()[0].clone(), world.topic("b", 1, &[]).partitions()[0].clone());
    for p in [&a, &b, &b] {
        world.append(p, &batch(&["a"])).unwrap();
    }
    let cached =
        |p: &Partition| p.read(Offset(0), 1, Isolation::ReadUncommitted).unwrap().into_cached().is_ok();
    assert_eq!((cached(&a), cached(&b)), (false, true));
    assert_eq!(offsets_read(&a, 0, 1), [0]);
    world.append(&a, &batch(&["a"])).unwrap();
    assert_eq!(
        (cached(&b), offsets_read(&b, 0, 1_000), offsets_read(&a, 0, 1_000)),
        (false, vec![0, 1], vec![0, 1])
    );
}

#[test]
fn producer_ids_are_never_given_twice() {
    let world = World::durable();
    let allocate = |store: &Store| {
        let ids = crate::broker::txn::producer::ProducerIds::recover(store.clone()).unwrap();
        let mut allocation = Box::pin(async move { ids.allocate().await.unwrap().id });
        let mut cx = Context::from_waker(Waker::noop());
        assert!(allocation.as_mut().poll(&mut cx).is_pending(), "the block is reserved first");
        commit(store);
        ready(allocation)
    };
    let first = allocate(&world.store);
    let world = world.crashed();
    assert!(allocate(&world.store) > first);
}

#[test]
fn batches_move_out_of_a_segment_and_keep_their_offsets_and_producers() {
    let world = World::durable();
    let p = world.partition(&[]);
    let by = |base_sequence| Producer { id: 9, epoch: 0, base_sequence };
    for n in 0..3 {
        world.append(&p, &batch_at(NOW_MS, &["a"], by(n))).unwrap();
    }
    let world = world.crashed();
    let p = world.found();
    let places = |world: &World| {
        let entries = world.store.scan(Space::Index, b"b").unwrap();
        entries.iter().map(|(_, v)| v.slice(12..20)).collect::<Vec<_>>()
    };
    let before = places(&world);
    let segment = u32::from_be_bytes(before[0][..4].try_into().unwrap());
    // One of them is removed while it is on its way.
    assert_eq!(world.topics.move_out_of(segment).unwrap(), 3);
    p.delete_records(Some(Offset(1)), |_| ());
    commit(&world.store);
    let after = places(&world);
    assert_eq!((after.len(), after[0] == before[1]), (2, false));
    assert_eq!(offsets_read(&p, 1, 1_000), [1, 2]);
    let world = world.crashed();
    assert_eq!(offsets_read(&world.found(), 1, 1_000), [1, 2]);
    assert_eq!(
        world.append(&world.found(), &batch_at(NOW_MS, &["a"], by(2))).unwrap().base_offset,
        Offset(2)
    );
}
