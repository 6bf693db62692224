//! DescribeQuorum (API key 55), versions 0–2: the quorum of one that keeps the cluster's metadata.
//!
//! Warren's metadata lies in the commit log, whose turns are its offsets. Version 1: when a replica fetched last.
//! Version 2: error texts and nodes (KIP-853).

use super::create_topics::CLUSTER_METADATA_TOPIC;
use crate::kafka::{
    LEADER_EPOCH, NODE_ID,
    call::Call,
    fault::ErrorCode,
    wire::describe_quorum::{
        DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, PartitionData, PartitionDataResult,
        ReplicaState, TopicData, TopicDataResult,
    },
};

const NODES_FROM: i16 = 2;

pub async fn handle(call: Call, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let topic = |asked: TopicData| {
        let is_metadata = asked.topic_name == CLUSTER_METADATA_TOPIC;
        let partition = |p: PartitionData| match p.partition_index {
            0 if is_metadata => described(&call),
            partition_index => PartitionDataResult {
                partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                error_message: Some(ErrorCode::UnknownTopicOrPartition.text().to_owned()),
                ..PartitionDataResult::default()
            },
        };
        let partitions = asked.partitions.into_iter().map(partition).collect();
        TopicDataResult { topic_name: asked.topic_name, partitions }
    };
    let topics: Vec<TopicDataResult> = request.topics.into_iter().map(topic).collect();
    let found = topics.iter().flat_map(|t| &t.partitions).any(|p| p.error_code == ErrorCode::None.code());
    let nodes = if found && call.version >= NODES_FROM { vec![node(&call)] } else { Vec::new() };
    DescribeQuorumResponse {
        error_message: Some(String::new()),
        topics,
        nodes,
        ..DescribeQuorumResponse::default()
    }
}

fn described(call: &Call) -> PartitionDataResult {
    let now_ms = call.now_ms();
    // What is in the log is durable, as the store's setting means it.
    let log_end_offset = i64::try_from(call.door().broker.core.store.stats().last_turn).unwrap_or(i64::MAX);
    let voter = ReplicaState {
        replica_id: NODE_ID,
        log_end_offset,
        last_fetch_timestamp: now_ms,
        last_caught_up_timestamp: now_ms,
        ..ReplicaState::default()
    };
    PartitionDataResult {
        error_message: Some(String::new()),
        leader_id: NODE_ID,
        leader_epoch: LEADER_EPOCH,
        high_watermark: log_end_offset,
        current_voters: vec![voter],
        ..PartitionDataResult::default()
    }
}

fn node(call: &Call) -> Node {
    let node = &call.client.node;
    let listener = Listener {
        name: "CONTROLLER".to_owned(),
        host: node.host.clone(),
        port: u16::try_from(node.port).unwrap_or_default(),
    };
    Node { node_id: NODE_ID, listeners: vec![listener] }
}
