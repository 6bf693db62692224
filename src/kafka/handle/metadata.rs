//! Metadata (API key 3), versions 0–13: the node, and the topics with their partitions.
//!
//! Version 1: null is all topics, an empty list none (version 0: all). Version 4: allow_auto_topic_creation.
//! Version 7: leader epoch. Version 8: authorized operations. Version 10: topic ids. Version 12: asking by id.
//!
//! A topic that is made here has its leader in the same answer: Kafka makes it behind the answer, and clients see an
//! error first.

use std::sync::Arc;

use uuid::Uuid;

use super::authorized;
use crate::{
    broker::{
        Pending,
        topic::{CreateRefused, NewTopic, Topic, config::TopicConfig, table::check_kafka_name},
    },
    kafka::{
        LEADER_EPOCH, NODE_ID,
        call::Call,
        fault::ErrorCode,
        wire::metadata::{
            MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
            MetadataResponsePartition, MetadataResponseTopic,
        },
    },
};

pub async fn handle(call: Call, request: MetadataRequest) -> MetadataResponse {
    let topic_operations = authorized::topic(request.include_topic_authorized_operations);
    let mut pending = None;
    let topics = match request.topics {
        Some(asked) if !(asked.is_empty() && call.version == 0) => {
            let mut found = Vec::with_capacity(asked.len());
            for topic in asked {
                let may_make = request.allow_auto_topic_creation;
                found.push(find(&call, topic, may_make, topic_operations, &mut pending));
            }
            found
        }
        Some(_) | None => {
            let all = call.topics().list(call.vhost());
            all.iter().map(|topic| describe(topic, topic_operations)).collect()
        }
    };
    let topics = match call.durable(pending).await {
        Ok(()) => topics,
        Err(error) => topics.into_iter().map(|t| refuse(error, t.name, t.topic_id)).collect(),
    };
    let node = &call.client.node;
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: NODE_ID,
            host: node.host.clone(),
            port: node.port,
            rack: None,
        }],
        cluster_id: Some(call.door().settings.cluster_id.clone()),
        controller_id: NODE_ID,
        topics,
        cluster_authorized_operations: authorized::cluster(request.include_cluster_authorized_operations),
        ..MetadataResponse::default()
    }
}

fn find(
    call: &Call,
    asked: MetadataRequestTopic,
    may_make: bool,
    operations: i32,
    pending: &mut Pending,
) -> MetadataResponseTopic {
    let MetadataRequestTopic { topic_id, name } = asked;
    let by_id = !topic_id.is_nil() || name.is_none();
    // The field is there from version 10, its use from 12.
    if by_id && call.version < 12 {
        return refuse(ErrorCode::InvalidRequest, Some(name.unwrap_or_default()), topic_id);
    }
    let name = name.unwrap_or_default();
    let found = if by_id { call.topic_of_id(topic_id) } else { call.topic_named(&name) };
    let found = match found {
        Err(ErrorCode::UnknownTopicOrPartition) => make(call, &name, may_make, pending),
        other => other,
    };
    match found {
        Ok(topic) => describe(&topic, operations),
        Err(error) => refuse(error, (!by_id).then_some(name), topic_id),
    }
}

/// A topic of that name, with the defaults, if making topics is allowed.
fn make(call: &Call, name: &str, may_make: bool, pending: &mut Pending) -> Result<Arc<Topic>, ErrorCode> {
    let settings = &call.door().settings;
    check_kafka_name(name).map_err(|_| ErrorCode::InvalidTopicException)?;
    if !may_make || !settings.auto_create_topics {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    if call.topics().colliding(call.vhost(), name).is_some() {
        return Err(ErrorCode::InvalidTopicException);
    }
    let new = NewTopic {
        vhost: call.vhost().clone(),
        name: name.to_owned(),
        partitions: settings.num_partitions,
        config: TopicConfig::default(),
        stream_arguments: None,
        id: Uuid::new_v4(),
    };
    match call.topics().create(new) {
        Ok((topic, ticket)) => {
            tracing::info!(topic = name, "made on first use");
            *pending = Some(ticket);
            Ok(topic)
        }
        // Somebody was faster.
        Err(CreateRefused::TopicAlreadyExists(_)) => call.topic_named(name),
        Err(refused) => Err(ErrorCode::from(&refused)),
    }
}

fn refuse(error: ErrorCode, name: Option<String>, topic_id: Uuid) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code: error.code(), name, topic_id, ..MetadataResponseTopic::default() }
}

fn describe(topic: &Topic, operations: i32) -> MetadataResponseTopic {
    let partition = |partition_index| MetadataResponsePartition {
        error_code: ErrorCode::None.code(),
        partition_index,
        leader_id: NODE_ID,
        leader_epoch: LEADER_EPOCH,
        replica_nodes: vec![NODE_ID],
        isr_nodes: vec![NODE_ID],
        offline_replicas: Vec::new(),
    };
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: false,
        partitions: topic.partitions().iter().map(|p| partition(p.number)).collect(),
        topic_authorized_operations: operations,
    }
}
