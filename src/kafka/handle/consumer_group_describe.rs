//! ConsumerGroupDescribe (API key 69), versions 0–1: consumer groups with their members' assignments and targets
//! (KIP-848). Version 1: which protocol a member uses (KIP-1099).

use super::{authorized, consumer_group_heartbeat::by_named_topic};
use crate::{
    broker::group::{
        assignor::Partitions,
        consumer::{ConsumerDescription, ConsumerMemberDescription},
    },
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::consumer_group_describe::{
            Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup, Member,
            TopicPartitions,
        },
    },
};

const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

pub async fn handle(call: Call, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse {
    let authorized_operations = authorized::group(request.include_authorized_operations);
    let groups = describe_each(
        ("consumer", request.group_ids),
        |group_id| call.groups().describe_consumer(&call.group(group_id)),
        |group_id, found| DescribedGroup { authorized_operations, ..known(&call, group_id, found) },
        |group_id, error_code, error_message| DescribedGroup {
            error_code,
            error_message,
            group_id,
            ..DescribedGroup::default()
        },
    );
    ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() }
}

fn known(call: &Call, group_id: String, description: ConsumerDescription) -> DescribedGroup {
    let member = |m: ConsumerMemberDescription| Member {
        member_id: m.member_id.to_string(),
        instance_id: m.instance,
        rack_id: m.rack,
        member_epoch: m.epoch,
        client_id: m.client_id,
        client_host: m.client_host,
        subscribed_topic_names: m.topics.into_iter().collect(),
        subscribed_topic_regex: Some(m.regex),
        assignment: assignment(call, &m.assignment),
        target_assignment: assignment(call, &m.target),
        member_type: if m.is_classic { CLASSIC } else { CONSUMER },
    };
    DescribedGroup {
        group_id,
        group_state: description.state.to_string(),
        group_epoch: description.group_epoch,
        assignment_epoch: description.assignment_epoch,
        assignor_name: description.assignor.to_owned(),
        members: description.members.into_iter().map(member).collect(),
        ..DescribedGroup::default()
    }
}

/// What a member has, or is to have.
pub(super) fn assignment(call: &Call, partitions: &Partitions) -> Assignment {
    let topic_partitions = by_named_topic(call, partitions, |topic_id, topic_name, partitions| {
        TopicPartitions { topic_id, topic_name, partitions }
    });
    Assignment { topic_partitions }
}

/// The groups that are asked for, of one kind: as `known` has one that there is and is of the kind, any other as `refused`
/// has what Kafka says to it.
pub(super) fn describe_each<T, G>(
    (kind, group_ids): (&str, Vec<String>),
    find: impl Fn(&str) -> Option<Option<T>>,
    known: impl Fn(String, T) -> G,
    refused: impl Fn(String, i16, Option<String>) -> G,
) -> Vec<G> {
    let describe = |group_id: String| {
        let text = match find(&group_id) {
            Some(Some(found)) => return known(group_id, found),
            _ if group_id.is_empty() => return refused(group_id, ErrorCode::InvalidGroupId.code(), None),
            Some(None) => format!("Group {group_id} is not a {kind} group."),
            None => format!("Group {group_id} not found."),
        };
        refused(group_id, ErrorCode::GroupIdNotFound.code(), Some(text))
    };
    group_ids.into_iter().map(describe).collect()
}
