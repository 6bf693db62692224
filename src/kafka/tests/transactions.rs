//! Transactions through the door, in both protocols.

use std::time::Duration;

use super::{
    log::{data, fetch, records},
    *,
};
use crate::{
    data::record::{BatchBuilder, Producer},
    kafka::wire::{
        add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse},
        add_partitions_to_txn::{
            AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTopic,
        },
        end_txn::{EndTxnRequest, EndTxnResponse},
        fetch::{FetchRequest, FetchResponse},
        init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
        metadata::MetadataResponse,
        offset_fetch::{
            OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
        },
        produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData},
        txn_offset_commit::{
            TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
            TxnOffsetCommitResponse,
        },
    },
};

/// A transactional producer on a connection of its own, and its topic `t`.
struct Transactor<'a> {
    client: Client<'a>,
    topic_id: uuid::Uuid,
    id: i64,
    epoch: i16,
    sequence: i32,
}

impl<'a> Transactor<'a> {
    fn new(world: &'a World) -> Self {
        let mut client = world.client();
        let made: MetadataResponse = client.call(12, &super::topics::asking(&["t"]));
        let init: InitProducerIdResponse = client.call(4, &init(60_000));
        assert_eq!(init.error_code, OK);
        let (id, epoch) = (init.producer_id, init.producer_epoch);
        Self { client, topic_id: made.topics[0].topic_id, id, epoch, sequence: 0 }
    }

    fn add(&mut self, version: i16) -> i16 {
        let topic = AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![0] };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: "tx".into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![topic],
            ..AddPartitionsToTxnRequest::default()
        };
        let response: AddPartitionsToTxnResponse = self.client.call(version, &request);
        response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    fn produce(&mut self, version: i16, value: &str) -> i16 {
        let producer = Producer { id: self.id, epoch: self.epoch, base_sequence: self.sequence };
        let mut builder = BatchBuilder::new().producer(producer).transactional();
        builder.push(1_700_000_000_000, None, Some(value.as_bytes()), []);
        let records = Some(builder.build().into_bytes());
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic = TopicProduceData { name: "t".into(), topic_id: self.topic_id, partition_data };
        let transactional_id = Some("tx".to_owned());
        let request =
            ProduceRequest { transactional_id, acks: -1, topic_data: vec![topic], ..Default::default() };
        let response: ProduceResponse = self.client.call(version, &request);
        let code = response.responses[0].partition_responses[0].error_code;
        self.sequence += i32::from(code == OK);
        code
    }

    fn end(&mut self, version: i16, committed: bool) -> i16 {
        let (producer_id, producer_epoch) = (self.id, self.epoch);
        let request = EndTxnRequest { transactional_id: "tx".into(), producer_id, producer_epoch, committed };
        let response: EndTxnResponse = self.client.call(version, &request);
        if version >= 5 && response.error_code == OK {
            (self.id, self.epoch, self.sequence) = (response.producer_id, response.producer_epoch, 0);
        }
        response.error_code
    }

    fn add_group(&mut self) -> i16 {
        let request = AddOffsetsToTxnRequest {
            transactional_id: "tx".into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            group_id: "g".into(),
        };
        let response: AddOffsetsToTxnResponse = self.client.call(3, &request);
        response.error_code
    }

    fn commit_offset(&mut self, version: i16, committed_offset: i64) -> i16 {
        let partition = TxnOffsetCommitRequestPartition { committed_offset, ..Default::default() };
        let topic = TxnOffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] };
        let request = TxnOffsetCommitRequest {
            transactional_id: "tx".into(),
            group_id: "g".into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            topics: vec![topic],
            ..TxnOffsetCommitRequest::default()
        };
        let response: TxnOffsetCommitResponse = self.client.call(version, &request);
        response.topics[0].partitions[0].error_code
    }

    /// The group's offset, as one sees it who waits for transactions.
    fn offset(&mut self) -> (i16, i64) {
        let topic =
            OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
        let group =
            OffsetFetchRequestGroup { group_id: "g".into(), topics: Some(vec![topic]), ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![group], require_stable: true, ..Default::default() };
        let response: OffsetFetchResponse = self.client.call(8, &request);
        let partition = &response.groups[0].topics[0].partitions[0];
        (partition.error_code, partition.committed_offset)
    }

    /// What is read committed: its end, aborted ranges, and values (control records too).
    fn committed(&mut self) -> (i64, Vec<i64>, usize) {
        let request = FetchRequest { isolation_level: 1, ..fetch("t", 0, 1, 0) };
        let response: FetchResponse = self.client.call(11, &request);
        let data = data(&response);
        let aborted = data.aborted_transactions.clone().unwrap();
        let firsts = aborted.iter().map(|a| a.first_offset).collect();
        (data.last_stable_offset, firsts, records(data).len())
    }
}

fn init(transaction_timeout_ms: i32) -> InitProducerIdRequest {
    let transactional_id = Some("tx".to_owned());
    InitProducerIdRequest { transactional_id, transaction_timeout_ms, ..InitProducerIdRequest::default() }
}

#[test]
fn committed_records_are_read_at_the_end_and_aborted_ones_are_told() {
    let world = World::new();
    let mut tx = Transactor::new(&world);
    assert_eq!(tx.produce(9, "early"), ErrorCode::InvalidTxnState.code());
    assert_eq!((tx.add(3), tx.produce(9, "a")), (OK, OK));
    assert_eq!(tx.committed(), (0, vec![], 0));
    assert_eq!((tx.end(3, true), tx.end(3, true)), (OK, OK));
    assert_eq!(tx.committed(), (2, vec![], 2));
    assert_eq!((tx.add(3), tx.produce(9, "b"), tx.produce(9, "c"), tx.end(3, false)), (OK, OK, OK, OK));
    assert_eq!(tx.committed(), (5, vec![2], 5));
    assert_eq!(tx.produce(9, "late"), ErrorCode::InvalidTxnState.code());
    assert_eq!(tx.produce(11, "late"), ErrorCode::TransactionAbortable.code());
}

#[test]
fn in_the_second_protocol_batches_add_their_partition_and_every_end_is_a_new_epoch() {
    let world = World::new();
    let mut tx = Transactor::new(&world);
    assert_eq!((tx.produce(12, "a"), tx.produce(13, "b"), tx.end(5, true)), (OK, OK, OK));
    assert_eq!((tx.epoch, tx.committed()), (1, (3, vec![], 3)));
    assert_eq!((tx.produce(12, "c"), tx.end(5, false)), (OK, OK));
    assert_eq!((tx.epoch, tx.committed()), (2, (5, vec![3], 5)));
    tx.epoch = 1;
    assert_eq!(tx.produce(12, "zombie"), ErrorCode::InvalidProducerEpoch.code());
    assert_eq!(tx.end(5, true), ErrorCode::InvalidTxnState.code());
}

#[test]
fn offsets_come_with_the_commit_and_whoever_wants_them_stable_waits() {
    let world = World::new();
    let mut tx = Transactor::new(&world);
    assert_eq!(tx.commit_offset(3, 7), ErrorCode::InvalidTxnState.code());
    assert_eq!((tx.add_group(), tx.commit_offset(3, 7)), (OK, OK));
    assert_eq!(tx.offset(), (ErrorCode::UnstableOffsetCommit.code(), -1));
    assert_eq!((tx.end(3, false), tx.offset()), (OK, (OK, -1)));
    assert_eq!((tx.commit_offset(5, 9), tx.end(5, true), tx.offset()), (OK, OK, (OK, 9)));
}

#[test]
fn a_new_instance_fences_the_old_one_and_aborts_what_it_left() {
    let world = World::new();
    let mut old = Transactor::new(&world);
    assert_eq!((old.add(3), old.produce(9, "a")), (OK, OK));
    let mut new = Transactor::new(&world);
    assert_eq!((new.id, new.epoch), (old.id, old.epoch + 1));
    assert_eq!(new.committed(), (2, vec![0], 2));
    assert_eq!(old.produce(9, "b"), ErrorCode::InvalidProducerEpoch.code());
    assert_eq!(
        (old.add(1), old.add(2)),
        (ErrorCode::InvalidProducerEpoch.code(), ErrorCode::ProducerFenced.code())
    );
    assert_eq!(old.end(3, true), ErrorCode::ProducerFenced.code());
    assert_eq!(old.commit_offset(3, 1), ErrorCode::InvalidProducerEpoch.code());
    assert_eq!((new.add(3), new.produce(9, "c"), new.end(3, true)), (OK, OK, OK));
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    let world = World::new();
    let mut tx = Transactor::new(&world);
    assert_eq!((tx.add(3), tx.produce(9, "a")), (OK, OK));
    let broker = &world.door.broker;
    let due_ms = broker.transactions.next_ms().unwrap();
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(due_ms, world.clock.now_ms());
    broker.on_deadlines(due_ms - 1);
    assert_eq!(tx.committed().0, 0);
    broker.on_deadlines(due_ms);
    world.commit();
    assert_eq!((tx.committed(), broker.transactions.next_ms()), ((2, vec![0], 2), None));
    assert_eq!(tx.end(3, true), ErrorCode::ProducerFenced.code());
}

#[test]
fn a_timeout_out_of_range_is_refused() {
    let world = World::new();
    let mut client = world.client();
    for timeout_ms in [0, -1, 900_001] {
        let refused: InitProducerIdResponse = client.call(4, &init(timeout_ms));
        assert_eq!(refused.error_code, ErrorCode::InvalidTransactionTimeout.code(), "{timeout_ms}");
    }
}

#[test]
fn who_does_nothing_for_long_enough_is_forgotten() {
    let world = World::new();
    let mut tx = Transactor::new(&world);
    assert_eq!((tx.add(3), tx.produce(9, "a"), tx.end(3, true)), (OK, OK, OK));
    let broker = &world.door.broker;
    let known = || {
        broker.expire_records(world.clock.now_ms());
        world.commit();
        let topic = broker.core.topics.by_id(tx.topic_id).unwrap();
        let producers = topic.partitions()[0].active_producers().len();
        (producers, broker.transactions.list(&"/".into()).len())
    };
    let day = Duration::from_secs(24 * 3_600);
    world.clock.advance(day - Duration::from_millis(1));
    assert_eq!(known(), (1, 1));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(known(), (0, 1));
    world.clock.advance(6 * day);
    assert_eq!(known(), (0, 0));
    let unknown = ErrorCode::InvalidProducerIdMapping.code();
    assert_eq!((tx.add(3), tx.end(3, true), tx.add_group()), (unknown, unknown, unknown));
    let again = Transactor::new(&world);
    assert!(again.id != tx.id && again.epoch == 0);
}

#[test]
fn an_open_transaction_keeps_its_id_and_its_producer_however_old() {
    let world = World::new();
    let mut tx = Transactor::new(&world);
    assert_eq!((tx.add(3), tx.produce(9, "a")), (OK, OK));
    world.clock.advance(Duration::from_secs(30 * 24 * 3_600));
    let broker = &world.door.broker;
    let topic = broker.core.topics.by_id(tx.topic_id).unwrap();
    topic.partitions()[0].expire_producers(world.clock.now_ms());
    broker.transactions.on_housekeeping(world.clock.now_ms());
    assert_eq!(broker.transactions.list(&"/".into()).len(), 1);
    assert_eq!((tx.produce(9, "b"), tx.end(3, true), tx.committed()), (OK, OK, (3, vec![], 3)));
}
