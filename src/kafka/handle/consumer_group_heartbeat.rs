//! ConsumerGroupHeartbeat (API key 68), versions 0–1: into a consumer group, on in it, and out of it (KIP-848).
//!
//! Version 1: subscriptions by pattern, and the client makes its member id itself. What is null, or -1 as a timeout, is
//! as it was in the heartbeat before; the answer has an assignment only if it has changed.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    broker::group::{
        assignor::{Assignor, Partitions},
        consumer::{Heartbeat, LEAVING, LEFT_FOR_A_WHILE},
        error::{GroupError, Refused},
        offsets::TopicPartition,
    },
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::consumer_group_heartbeat::{
            Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
        },
    },
};

const MEMBER_ID_FROM: i16 = 1;

pub async fn handle(call: Call, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    let checked = check(call.version, &request);
    let key = call.group(&request.group_id);
    let beat = match checked {
        Ok(()) => call.groups().consumer_heartbeat(call.now, &key, heartbeat(&call, request)).await,
        Err(refused) => Err(refused),
    };
    match beat {
        Ok(beat) => ConsumerGroupHeartbeatResponse {
            member_id: Some(beat.member_id.to_string()),
            member_epoch: beat.member_epoch,
            heartbeat_interval_ms: if beat.member_epoch < 0 { 0 } else { interval_ms(&call, &key) },
            assignment: beat
                .assignment
                .map(|partitions| Assignment { topic_partitions: by_topic(&partitions, topic_partitions) }),
            ..ConsumerGroupHeartbeatResponse::default()
        },
        Err(Refused { error, text }) => ConsumerGroupHeartbeatResponse {
            error_code: ErrorCode::from(error).code(),
            error_message: Some(text),
            ..ConsumerGroupHeartbeatResponse::default()
        },
    }
}

fn interval_ms(call: &Call, key: &crate::broker::group::GroupKey) -> i32 {
    let interval = call.groups().terms(key).heartbeat_interval;
    i32::try_from(interval.as_millis()).unwrap_or(i32::MAX)
}

/// What Kafka checks before it looks at the group, in its order and words.
fn check(version: i16, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refused> {
    let invalid = |text: &str| Err(Refused::new(GroupError::InvalidRequest, text));
    let is_blank = |text: Option<&str>| text.is_some_and(|text| text.trim().is_empty());
    let epoch = request.member_epoch;
    if (version >= MEMBER_ID_FROM || epoch > 0 || epoch == LEAVING) && is_blank(Some(&request.member_id)) {
        return invalid("MemberId can't be empty.");
    }
    if is_blank(Some(&request.group_id)) {
        return invalid("GroupId can't be empty.");
    }
    if is_blank(request.instance_id.as_deref()) {
        return invalid("InstanceId can't be empty.");
    }
    if is_blank(request.rack_id.as_deref()) {
        return invalid("RackId can't be empty.");
    }
    match epoch {
        0 if request.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() => {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
        LEFT_FOR_A_WHILE if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        _ if epoch < LEFT_FOR_A_WHILE => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    match request.server_assignor.as_deref() {
        Some(name) if Assignor::named(name).is_none() => {
            let supported = Assignor::ALL.map(Assignor::name).join(", ");
            let text = format!("ServerAssignor {name} is not supported. Supported assignors: {supported}.");
            Err(Refused::new(GroupError::UnsupportedAssignor, text))
        }
        Some(_) | None => Ok(()),
    }
}

fn heartbeat(call: &Call, request: ConsumerGroupHeartbeatRequest) -> Heartbeat {
    let owned = request.topic_partitions.map(|topics| {
        let of_topic = |t: TopicPartitions| {
            let topic = t.topic_id;
            t.partitions.into_iter().map(move |partition| TopicPartition { topic, partition })
        };
        topics.into_iter().flat_map(of_topic).collect()
    });
    Heartbeat {
        member_id: request.member_id,
        new_member_id: Uuid::new_v4().to_string(),
        member_epoch: request.member_epoch,
        instance: request.instance_id,
        rack: request.rack_id,
        rebalance_timeout: super::timeout(request.rebalance_timeout_ms),
        topics: request.subscribed_topic_names.map(|names| names.into_iter().collect()),
        regex: request.subscribed_topic_regex,
        assignor: request.server_assignor,
        owned,
        client_id: call.client_id.clone().unwrap_or_default(),
        client_host: call.client_host(),
    }
}

fn topic_partitions(topic_id: Uuid, partitions: Vec<i32>) -> TopicPartitions {
    TopicPartitions { topic_id, partitions }
}

/// Partitions as answers have them: topic by topic.
pub(super) fn by_topic<T>(partitions: &Partitions, make: impl Fn(Uuid, Vec<i32>) -> T) -> Vec<T> {
    let mut topics = BTreeMap::<Uuid, Vec<i32>>::new();
    for at in partitions {
        topics.entry(at.topic).or_default().push(at.partition);
    }
    topics.into_iter().map(|(topic, partitions)| make(topic, partitions)).collect()
}

/// As [`by_topic`], with the topics' names; topics that have been deleted meanwhile have none, and are left out.
pub(super) fn by_named_topic<T>(
    call: &Call,
    partitions: &Partitions,
    make: impl Fn(Uuid, String, Vec<i32>) -> T,
) -> Vec<T> {
    let named = by_topic(partitions, |topic_id, partitions| {
        let topic = call.topic_of_id(topic_id).ok()?;
        Some(make(topic_id, topic.name.to_string(), partitions))
    });
    named.into_iter().flatten().collect()
}
