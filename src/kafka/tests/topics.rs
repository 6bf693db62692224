//! Metadata, and the admin APIs of topics.

use uuid::Uuid;

use super::*;
use crate::kafka::wire::{
    create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse},
    delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse},
    describe_cluster::{DescribeClusterRequest, DescribeClusterResponse},
    describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse},
    describe_topic_partitions::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
    },
    find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse},
    metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse},
};

pub(super) fn asking(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    MetadataRequest { topics: Some(names.iter().map(topic).collect()), ..MetadataRequest::default() }
}

fn create(name: &str, num_partitions: i32) -> CreateTopicsRequest {
    let topic =
        CreatableTopic { name: name.into(), num_partitions, replication_factor: 1, ..Default::default() };
    CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() }
}

/// Name, error and number of partitions.
fn seen(response: &MetadataResponse) -> Vec<(&str, i16, usize)> {
    let topics = response.topics.iter();
    topics.map(|t| (t.name.as_deref().unwrap_or("-"), t.error_code, t.partitions.len())).collect()
}

#[test]
fn a_topic_is_made_on_first_use_with_its_leader_in_the_same_answer() {
    let world = World::new();
    let mut client = world.client();
    client.send(9, &asking(&["t"]));
    assert!(client.frame().is_none(), "not durable yet");
    let response: MetadataResponse = client.answer(9);
    assert_eq!(seen(&response), [("t", OK, 1)]);
    let partition = &response.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.leader_epoch, &partition.isr_nodes[..]), (1, 0, &[1][..]));
    let broker = &response.brokers[0];
    assert_eq!((broker.node_id, broker.host.as_str(), broker.port), (1, "127.0.0.1", 9092));
    assert_eq!((response.cluster_id.as_deref(), response.controller_id), (Some("test-cluster"), 1));
}

#[test]
fn a_topic_is_not_made_against_the_clients_or_the_operators_will() {
    fn check(settings: Settings, request: &MetadataRequest, expected: ErrorCode) {
        let world = World::with(settings);
        let response: MetadataResponse = world.client().call(9, request);
        assert_eq!(response.topics[0].error_code, expected.code());
        assert!(world.door.broker.core.topics.list(&world.door.vhost).is_empty());
    }
    let asked = MetadataRequest { allow_auto_topic_creation: false, ..asking(&["t"]) };
    check(settings(), &asked, ErrorCode::UnknownTopicOrPartition);
    let off = Settings { auto_create_topics: false, ..settings() };
    check(off, &asking(&["t"]), ErrorCode::UnknownTopicOrPartition);
    check(settings(), &asking(&["a b"]), ErrorCode::InvalidTopicException);
    check(settings(), &asking(&[""]), ErrorCode::InvalidTopicException);
}

#[test]
fn no_topics_null_topics_and_topics_by_id() {
    let world = World::new();
    let mut client = world.client();
    let made: MetadataResponse = client.call(12, &asking(&["a", "b"]));
    let mut count = |version, topics| {
        let request = MetadataRequest { topics, ..MetadataRequest::default() };
        client.call::<_, MetadataResponse>(version, &request).topics.len()
    };
    assert_eq!(count(0, Some(Vec::new())), 2);
    assert_eq!(count(1, Some(Vec::new())), 0);
    assert_eq!(count(1, None), 2);
    assert_eq!(count(13, None), 2);
    let by_id = |topic_id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id, name: None }]),
        ..MetadataRequest::default()
    };
    let known: MetadataResponse = client.call(12, &by_id(made.topics[1].topic_id));
    assert_eq!(seen(&known), [("b", OK, 1)]);
    let unknown: MetadataResponse = client.call(12, &by_id(Uuid::from_u128(7)));
    assert_eq!(seen(&unknown), [("-", ErrorCode::UnknownTopicId.code(), 0)]);
}

#[test]
fn topics_are_made_described_and_deleted() {
    let world = World::new();
    let mut client = world.client();
    let dry = CreateTopicsRequest { validate_only: true, ..create("t", 3) };
    let response: CreateTopicsResponse = client.call(7, &dry);
    assert_eq!((response.topics[0].error_code, response.topics[0].num_partitions), (OK, 3));
    let response: CreateTopicsResponse = client.call(7, &create("t", 3));
    let made = &response.topics[0];
    assert_eq!((made.error_code, made.num_partitions, made.replication_factor), (OK, 3, 1));
    assert!(made.configs.as_ref().unwrap().iter().any(|c| c.name == "retention.ms" && c.config_source == 5));
    let again: CreateTopicsResponse = client.call(2, &create("t", 3));
    assert_eq!(again.topics[0].error_code, ErrorCode::TopicAlreadyExists.code());

    let page = |cursor| DescribeTopicPartitionsRequest {
        topics: ["t", "none"].map(|name| TopicRequest { name: name.into() }).into(),
        response_partition_limit: 2,
        cursor,
    };
    let first: DescribeTopicPartitionsResponse = client.call(0, &page(None));
    let numbers = |r: &DescribeTopicPartitionsResponse| -> Vec<(i16, Vec<i32>)> {
        let numbers =
            |t: &crate::kafka::wire::describe_topic_partitions::DescribeTopicPartitionsResponseTopic| {
                (t.error_code, t.partitions.iter().map(|p| p.partition_index).collect())
            };
        r.topics.iter().map(numbers).collect()
    };
    assert_eq!(numbers(&first), [(3, vec![]), (OK, vec![0, 1])]);
    let second: DescribeTopicPartitionsResponse = client.call(0, &page(first.next_cursor));
    assert_eq!((numbers(&second), second.next_cursor), (vec![(OK, vec![2])], None));

    let topic_id = made.topic_id;
    let by_id = |name| DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name, topic_id }],
        ..DeleteTopicsRequest::default()
    };
    let both: DeleteTopicsResponse = client.call(6, &by_id(Some("t".into())));
    assert_eq!(both.responses[0].error_code, ErrorCode::InvalidRequest.code());
    let deleted: DeleteTopicsResponse = client.call(6, &by_id(None));
    assert_eq!((deleted.responses[0].error_code, deleted.responses[0].name.as_deref()), (OK, Some("t")));
    let gone: DeleteTopicsResponse = client.call(6, &by_id(None));
    assert_eq!(gone.responses[0].error_code, ErrorCode::UnknownTopicId.code());
    let by_name = DeleteTopicsRequest { topic_names: vec!["t".into()], ..DeleteTopicsRequest::default() };
    let gone: DeleteTopicsResponse = client.call(1, &by_name);
    assert_eq!(gone.responses[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn one_of_two_topics_of_the_same_name_in_a_request_is_not_made_either() {
    let world = World::new();
    let mut request = create("t", 1);
    request.topics.push(request.topics[0].clone());
    let response: CreateTopicsResponse = world.client().call(7, &request);
    let codes: Vec<i16> = response.topics.iter().map(|t| t.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.code()]);
}

#[test]
fn every_config_is_shown_with_its_source() {
    let world = World::new();
    let mut client = world.client();
    _ = client.call::<_, CreateTopicsResponse>(7, &create("t", 1));
    let mut describe = |resource_type, name: &str, keys: Option<&[&str]>| {
        let resource = DescribeConfigsResource {
            resource_type,
            resource_name: name.into(),
            configuration_keys: keys.map(|keys| keys.iter().map(|k| (*k).to_owned()).collect()),
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            ..Default::default()
        };
        let response: DescribeConfigsResponse = client.call(4, &request);
        let result = response.results.into_iter().next().unwrap();
        (result.error_code, result.configs)
    };
    let (code, configs) = describe(2, "t", None);
    assert_eq!((code, configs.len()), (OK, crate::broker::topic::config::CONFIGS.len()));
    let (_, configs) = describe(2, "t", Some(&["retention.ms"]));
    assert_eq!(
        (configs.len(), configs[0].value.as_deref(), configs[0].config_type),
        (1, Some("604800000"), 5)
    );
    assert!(configs[0].synonyms.is_empty());
    let (_, configs) = describe(4, "1", Some(&["num.partitions", "log.retention.hours"]));
    assert_eq!(configs.len(), 2);
    assert_eq!(describe(4, "2", None).0, ErrorCode::InvalidRequest.code());
    assert_eq!(describe(2, "none", None).0, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn the_node_leads_coordinates_and_controls() {
    let world = World::new();
    let mut client = world.client();
    let cluster: DescribeClusterResponse = client.call(2, &DescribeClusterRequest::default());
    assert_eq!((cluster.cluster_id.as_str(), cluster.controller_id), ("test-cluster", 1));
    let request = FindCoordinatorRequest { key: "g".into(), ..FindCoordinatorRequest::default() };
    let one: FindCoordinatorResponse = client.call(0, &request);
    assert_eq!((one.error_code, one.node_id, one.host.as_str(), one.port), (OK, 1, "127.0.0.1", 9092));
    let keys = vec!["g".into(), "h".into()];
    let request =
        FindCoordinatorRequest { coordinator_keys: keys.clone(), ..FindCoordinatorRequest::default() };
    let many: FindCoordinatorResponse = client.call(6, &request);
    assert!(many.coordinators.iter().all(|c| (c.error_code, c.node_id) == (OK, 1)));
    let share =
        FindCoordinatorRequest { coordinator_keys: keys, key_type: 2, ..FindCoordinatorRequest::default() };
    let none: FindCoordinatorResponse = client.call(6, &share);
    assert!(none.coordinators.iter().all(|c| c.error_code == ErrorCode::InvalidRequest.code()));
    let keys = vec!["g:AAAAAAAAAAAAAAAAAAAAAQ:0".into()];
    let share =
        FindCoordinatorRequest { coordinator_keys: keys, key_type: 2, ..FindCoordinatorRequest::default() };
    let one: FindCoordinatorResponse = client.call(6, &share);
    assert!(one.coordinators.iter().all(|c| (c.error_code, c.node_id) == (OK, 1)));
}
