//! ShareGroupHeartbeat (API key 76), version 1: into a share group, on in it, and out of it (KIP-932).

use super::consumer_group_heartbeat::by_topic;
use crate::{
    broker::group::{
        consumer::LEAVING,
        error::{GroupError, Refused},
        share::ShareHeartbeat,
    },
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::share_group_heartbeat::{
            Assignment, ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse, TopicPartitions,
        },
    },
};

/// A UUID as text.
const MEMBER_ID_BYTES_MAX: usize = 36;

pub async fn handle(call: Call, request: ShareGroupHeartbeatRequest) -> ShareGroupHeartbeatResponse {
    let checked = check(&request);
    let key = call.group(&request.group_id);
    let beat = match checked {
        Ok(()) => call.groups().share_heartbeat(call.now, &key, heartbeat(&call, request)).await,
        Err(refused) => Err(refused),
    };
    let interval = call.groups().terms(&key).share.heartbeat_interval;
    match beat {
        Ok(beat) => ShareGroupHeartbeatResponse {
            member_id: Some(beat.member_id.to_string()),
            member_epoch: beat.member_epoch,
            heartbeat_interval_ms: match beat.member_epoch {
                LEAVING => 0,
                _ => i32::try_from(interval.as_millis()).unwrap_or(i32::MAX),
            },
            assignment: beat.assignment.map(|partitions| Assignment {
                topic_partitions: by_topic(&partitions, |topic_id, partitions| TopicPartitions {
                    topic_id,
                    partitions,
                }),
            }),
            ..ShareGroupHeartbeatResponse::default()
        },
        Err(Refused { error, text }) => ShareGroupHeartbeatResponse {
            error_code: ErrorCode::from(error).code(),
            error_message: Some(text).filter(|text| !text.is_empty()),
            ..ShareGroupHeartbeatResponse::default()
        },
    }
}

/// What Kafka checks before it looks at the group, in its order and words.
fn check(request: &ShareGroupHeartbeatRequest) -> Result<(), Refused> {
    let invalid = |text: &str| Err(Refused::new(GroupError::InvalidRequest, text));
    if request.member_id.trim().is_empty() || request.member_id.len() > MEMBER_ID_BYTES_MAX {
        return invalid("");
    }
    if request.group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if request.rack_id.as_deref().is_some_and(|rack| rack.trim().is_empty()) {
        return invalid("RackId can't be empty.");
    }
    match (request.member_epoch, &request.subscribed_topic_names) {
        (0, None) => invalid("SubscribedTopicNames must be set in first request."),
        (epoch, _) if epoch < LEAVING => invalid("MemberEpoch is invalid."),
        (_, _) => Ok(()),
    }
}

fn heartbeat(call: &Call, request: ShareGroupHeartbeatRequest) -> ShareHeartbeat {
    ShareHeartbeat {
        member_id: request.member_id,
        member_epoch: request.member_epoch,
        rack: request.rack_id,
        topics: request.subscribed_topic_names.map(|names| names.into_iter().collect()),
        client_id: call.client_id.clone().unwrap_or_default(),
        client_host: call.client_host(),
    }
}
