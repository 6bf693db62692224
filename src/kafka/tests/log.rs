//! Produce, Fetch, ListOffsets and what belongs to them.

use uuid::Uuid;

use super::*;
use crate::{
    data::record::{BatchBuilder, Batches, Producer},
    kafka::wire::{
        delete_records::{
            DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
        },
        fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData},
        init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
        list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic},
        metadata::MetadataResponse,
        offset_for_leader_epoch::{
            OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
            OffsetForLeaderTopic,
        },
        produce::{
            PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
        },
    },
};

const NOW_MS: i64 = 1_700_000_000_000;

fn batch(values: &[&str], producer: Producer) -> Bytes {
    let mut builder = BatchBuilder::new().producer(producer);
    for (value, n) in values.iter().zip(0..) {
        builder.push(NOW_MS + n, None, Some(value.as_bytes()), std::iter::empty::<(&str, Option<&[u8]>)>());
    }
    builder.build().into_bytes()
}

fn request(name: &str, topic_id: Uuid, acks: i16, records: Option<Bytes>) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic = TopicProduceData { name: name.into(), topic_id, partition_data };
    ProduceRequest { acks, topic_data: vec![topic], ..ProduceRequest::default() }
}

pub(super) fn produce(name: &str, acks: i16, values: &[&str]) -> ProduceRequest {
    request(name, Uuid::nil(), acks, Some(batch(values, Producer::NONE)))
}

pub(super) fn fetch(name: &str, fetch_offset: i64, min_bytes: i32, max_wait_ms: i32) -> FetchRequest {
    FetchRequest {
        max_wait_ms,
        min_bytes,
        topics: vec![fetch_topic(name, fetch_offset)],
        ..Default::default()
    }
}

fn fetch_topic(name: &str, fetch_offset: i64) -> FetchTopic {
    let partition =
        FetchPartition { fetch_offset, partition_max_bytes: 1 << 20, ..FetchPartition::default() };
    FetchTopic { topic: name.into(), partitions: vec![partition], ..FetchTopic::default() }
}

fn with_topics<'a>(world: &'a World, names: &[&str]) -> (Client<'a>, Vec<Uuid>) {
    let mut client = world.client();
    let made: MetadataResponse = client.call(12, &super::topics::asking(names));
    (client, made.topics.iter().map(|t| t.topic_id).collect())
}

fn produced(response: &ProduceResponse) -> (i16, i64) {
    let PartitionProduceResponse { error_code, base_offset, .. } =
        response.responses[0].partition_responses[0];
    (error_code, base_offset)
}

pub(super) fn data(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}

/// Offsets and values.
pub(super) fn records(data: &PartitionData) -> Vec<(i64, String)> {
    let set = data.records.clone().unwrap().into_bytes();
    let mut all = Vec::new();
    for batch in Batches::new(set) {
        for record in &batch.unwrap().payload(1 << 20).unwrap() {
            let record = record.unwrap();
            all.push((record.offset, String::from_utf8_lossy(record.value.unwrap()).into_owned()));
        }
    }
    all
}

#[test]
fn records_come_back_in_every_version() {
    let world = World::new();
    let (mut client, ids) = with_topics(&world, &["t"]);
    for version in 3..=13 {
        let request = request("t", ids[0], -1, Some(batch(&["a", "b"], Producer::NONE)));
        let response: ProduceResponse = client.call(version, &request);
        assert_eq!(produced(&response), (OK, 2 * i64::from(version - 3)), "version {version}");
    }
    for version in 4..=18 {
        let mut request = fetch("t", 3, 1, 0);
        request.topics[0].topic_id = ids[0];
        let response: FetchResponse = client.call(version, &request);
        let data = data(&response);
        assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (OK, 22, 22));
        let records = records(data);
        // From inside a batch: the whole batch.
        assert_eq!((records[0].clone(), records.len()), ((2, "a".into()), 20), "version {version}");
    }
}

#[test]
fn what_cannot_be_produced_is_refused_by_its_own_error() {
    fn check(version: i16, request: &ProduceRequest, expected: ErrorCode) {
        let world = World::new();
        let (mut client, _) = with_topics(&world, &["t"]);
        let response: ProduceResponse = client.call(version, request);
        assert_eq!(produced(&response), (expected.code(), -1), "{expected:?}");
    }
    check(2, &produce("t", -1, &["a"]), ErrorCode::UnsupportedVersion);
    check(7, &produce("t", 2, &["a"]), ErrorCode::InvalidRequiredAcks);
    check(7, &produce("none", -1, &["a"]), ErrorCode::UnknownTopicOrPartition);
    check(13, &produce("t", -1, &["a"]), ErrorCode::UnknownTopicId);
    check(7, &request("t", Uuid::nil(), -1, None), ErrorCode::InvalidRecord);
    check(7, &produce("t", -1, &["x".repeat(1 << 21).as_str()]), ErrorCode::MessageTooLarge);
    let two = [batch(&["a"], Producer::NONE), batch(&["b"], Producer::NONE)].concat();
    check(7, &request("t", Uuid::nil(), -1, Some(two.into())), ErrorCode::InvalidRecord);
    let mut damaged = batch(&["a"], Producer::NONE).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    check(7, &request("t", Uuid::nil(), -1, Some(damaged.into())), ErrorCode::CorruptMessage);
    let mut transactional = BatchBuilder::new().transactional();
    transactional.push(NOW_MS, None, None, std::iter::empty::<(&str, Option<&[u8]>)>());
    let records = transactional.build().into_bytes();
    check(7, &request("t", Uuid::nil(), -1, Some(records)), ErrorCode::TransactionalIdAuthorizationFailed);
    let nameless = ProduceRequest { transactional_id: Some(String::new()), ..produce("t", -1, &["a"]) };
    check(7, &nameless, ErrorCode::InvalidRequest);
}

#[test]
fn acks_0_is_answered_by_nothing_and_its_errors_by_hanging_up() {
    let world = World::new();
    let (mut client, _) = with_topics(&world, &["t"]);
    client.send(7, &produce("t", 0, &["a"]));
    world.commit();
    client.poll();
    assert!(client.frame().is_none() && !client.connection.finished());
    let response: FetchResponse = client.call(4, &fetch("t", 0, 1, 0));
    assert_eq!(records(data(&response)), [(0, "a".into())]);
    client.send(7, &produce("none", 0, &["a"]));
    assert!(client.frame().is_none() && client.connection.finished());
}

#[test]
fn an_idempotent_producers_retry_gets_the_original_offset() {
    let world = World::new();
    let (mut client, _) = with_topics(&world, &["t"]);
    let init: InitProducerIdResponse = client.call(4, &InitProducerIdRequest::default());
    assert_eq!((init.error_code, init.producer_epoch), (OK, 0));
    let mut send = |base_sequence| {
        let producer = Producer { id: init.producer_id, epoch: 0, base_sequence };
        let request = request("t", Uuid::nil(), -1, Some(batch(&["a", "b"], producer)));
        produced(&client.call(7, &request))
    };
    assert_eq!((send(0), send(2), send(0)), ((OK, 0), (OK, 2), (OK, 0)));
    assert_eq!(send(7), (ErrorCode::OutOfOrderSequenceNumber.code(), -1));
    let nameless = InitProducerIdRequest { transactional_id: Some(String::new()), ..Default::default() };
    let refused: InitProducerIdResponse = client.call(4, &nameless);
    assert_eq!((refused.error_code, refused.producer_id), (ErrorCode::InvalidRequest.code(), -1));
}

#[test]
fn a_fetch_waits_for_records_or_for_its_time() {
    let world = World::new();
    let (mut consumer, _) = with_topics(&world, &["t"]);
    let mut producer = world.client();
    consumer.send(4, &fetch("t", 0, 1, 500));
    assert!(consumer.frame().is_none());
    consumer.advance(Duration::from_millis(499));
    assert!(consumer.frame().is_none());
    assert_eq!(consumer.connection.deadline(), Some(world.clock.now() + Duration::from_millis(1)));
    consumer.advance(Duration::from_millis(1));
    let (_, response) = consumer.receive::<FetchResponse>(4).unwrap();
    assert!(records(data(&response)).is_empty());
    assert_eq!(consumer.connection.deadline(), None);

    consumer.send(4, &fetch("t", 0, 1, 500));
    _ = producer.call::<_, ProduceResponse>(7, &produce("t", -1, &["a"]));
    consumer.poll();
    let (_, response) = consumer.receive::<FetchResponse>(4).unwrap();
    assert_eq!(records(data(&response)), [(0, "a".into())]);

    // Not enough bytes: it goes on waiting, and has them all when its time is over.
    consumer.send(4, &fetch("t", 0, 1_000, 500));
    _ = producer.call::<_, ProduceResponse>(7, &produce("t", -1, &["b"]));
    consumer.poll();
    assert!(consumer.frame().is_none());
    consumer.advance(Duration::from_millis(500));
    let (_, response) = consumer.receive::<FetchResponse>(4).unwrap();
    assert_eq!(records(data(&response)).len(), 2);
}

#[test]
fn a_fetch_that_waits_hears_of_the_topics_end() {
    let world = World::new();
    let (mut consumer, _) = with_topics(&world, &["t"]);
    consumer.send(4, &fetch("t", 0, 1, 60_000));
    let request = crate::kafka::wire::delete_topics::DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        ..Default::default()
    };
    let _: crate::kafka::wire::delete_topics::DeleteTopicsResponse = world.client().call(1, &request);
    consumer.poll();
    let (_, response) = consumer.receive::<FetchResponse>(4).unwrap();
    assert_eq!(data(&response).error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn fetch_errors_are_told_at_once_and_nothing_of_the_log_with_them() {
    let world = World::new();
    let (mut client, _) = with_topics(&world, &["t"]);
    _ = client.call::<_, ProduceResponse>(7, &produce("t", -1, &["a", "b"]));
    let mut check = |version, request: &FetchRequest, expected: ErrorCode| {
        let response: FetchResponse = client.call(version, request);
        let data = data(&response);
        assert_eq!((data.error_code, data.high_watermark), (expected.code(), -1));
    };
    check(12, &fetch("t", 3, 1, 60_000), ErrorCode::OffsetOutOfRange);
    check(12, &fetch("t", -1, 1, 60_000), ErrorCode::OffsetOutOfRange);
    check(12, &fetch("none", 0, 1, 60_000), ErrorCode::UnknownTopicOrPartition);
    check(13, &fetch("t", 0, 1, 60_000), ErrorCode::UnknownTopicId);
    let mut wrong = fetch("t", 0, 1, 60_000);
    wrong.topics[0].partitions[0].current_leader_epoch = 1;
    check(12, &wrong, ErrorCode::UnknownLeaderEpoch);
    let session = FetchRequest { session_id: 5, session_epoch: 2, ..fetch("t", 0, 1, 60_000) };
    let response: FetchResponse = client.call(12, &session);
    assert_eq!(response.error_code, ErrorCode::FetchSessionIdNotFound.code());
}

#[test]
fn the_first_batch_is_whole_and_partitions_take_turns_to_be_first() {
    let world = World::new();
    let (mut client, _) = with_topics(&world, &["a", "b"]);
    for name in ["a", "b"] {
        _ = client.call::<_, ProduceResponse>(7, &produce(name, -1, &["x".repeat(1_000).as_str()]));
    }
    let mut request = fetch("a", 0, 1, 0);
    request.topics.push(fetch_topic("b", 0));
    request.max_bytes = 500;
    let mut counts = || {
        let response: FetchResponse = client.call(12, &request);
        [0, 1].map(|at: usize| records(&response.responses[at].partitions[0]).len())
    };
    let (first, second) = (counts(), counts());
    assert_eq!((first[0] + first[1], second[0] + second[1]), (1, 1));
    assert_ne!(first, second);
}

#[test]
fn offsets_by_time_and_the_logs_ends() {
    let world = World::new();
    let (mut client, _) = with_topics(&world, &["t"]);
    let mut offset = |version, timestamp| {
        let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
        let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() };
        let response: ListOffsetsResponse = client.call(version, &request);
        let partition = &response.topics[0].partitions[0];
        (partition.error_code, partition.offset, partition.timestamp)
    };
    assert_eq!((offset(11, -1), offset(11, -2), offset(11, -3)), ((OK, 0, -1), (OK, 0, -1), (OK, -1, -1)));
    let mut producer = world.client();
    _ = producer.call::<_, ProduceResponse>(7, &produce("t", -1, &["a", "b", "c"]));
    for version in 1..=11 {
        assert_eq!(offset(version, -1), (OK, 3, -1));
        assert_eq!(offset(version, -2), (OK, 0, -1));
        assert_eq!(offset(version, 0), (OK, 0, NOW_MS));
        assert_eq!(offset(version, NOW_MS + 1), (OK, 1, NOW_MS + 1));
        assert_eq!(offset(version, NOW_MS + 9), (OK, -1, -1));
    }
    assert_eq!(offset(7, -3), (OK, 2, NOW_MS + 2));
    assert_eq!((offset(8, -4), offset(9, -5), offset(11, -6)), ((OK, 0, -1), (OK, -1, -1), (OK, -1, -1)));
    let unsupported = (ErrorCode::UnsupportedVersion.code(), -1, -1);
    assert_eq!((offset(6, -3), offset(7, -4), offset(11, -7)), (unsupported, unsupported, unsupported));
}

#[test]
fn deleted_records_are_out_of_range_and_the_epoch_ends_with_the_log() {
    let world = World::new();
    let (mut client, _) = with_topics(&world, &["t"]);
    for value in ["a", "b", "c"] {
        _ = client.call::<_, ProduceResponse>(7, &produce("t", -1, &[value]));
    }
    let mut delete = |offset| {
        let partition = DeleteRecordsPartition { partition_index: 0, offset };
        let topic = DeleteRecordsTopic { name: "t".into(), partitions: vec![partition] };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1_000 };
        let response: DeleteRecordsResponse = client.call(2, &request);
        let partition = &response.topics[0].partitions[0];
        (partition.error_code, partition.low_watermark)
    };
    assert_eq!(delete(2), (OK, 2));
    assert_eq!(delete(4), (ErrorCode::OffsetOutOfRange.code(), -1));
    let response: FetchResponse = client.call(12, &fetch("t", 1, 1, 0));
    let out_of_range = (ErrorCode::OffsetOutOfRange.code(), -1);
    assert_eq!((data(&response).error_code, data(&response).log_start_offset), out_of_range);
    let mut epoch_end = |leader_epoch| {
        let partition = OffsetForLeaderPartition { leader_epoch, ..OffsetForLeaderPartition::default() };
        let topic = OffsetForLeaderTopic { topic: "t".into(), partitions: vec![partition] };
        let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() };
        let response: OffsetForLeaderEpochResponse = client.call(4, &request);
        let partition = &response.topics[0].partitions[0];
        (partition.leader_epoch, partition.end_offset)
    };
    assert_eq!((epoch_end(0), epoch_end(1)), ((0, 3), (-1, -1)));
}
