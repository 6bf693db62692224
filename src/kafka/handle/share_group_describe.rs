//! ShareGroupDescribe (API key 77), version 1: share groups with their members' assignments (KIP-932).

use super::{
    authorized,
    consumer_group_describe::{assignment, describe_each},
};
use crate::{
    broker::group::share::{ASSIGNOR, ShareDescription, ShareMemberDescription},
    kafka::{
        call::Call,
        wire::share_group_describe::{
            DescribedGroup, Member, ShareGroupDescribeRequest, ShareGroupDescribeResponse,
        },
    },
};

pub async fn handle(call: Call, request: ShareGroupDescribeRequest) -> ShareGroupDescribeResponse {
    let authorized_operations = authorized::group(request.include_authorized_operations);
    let groups = describe_each(
        ("share", request.group_ids),
        |group_id| call.groups().describe_share(&call.group(group_id)),
        |group_id, found| DescribedGroup { authorized_operations, ..known(&call, group_id, found) },
        |group_id, error_code, error_message| DescribedGroup {
            error_code,
            error_message,
            group_id,
            ..DescribedGroup::default()
        },
    );
    ShareGroupDescribeResponse { groups, ..ShareGroupDescribeResponse::default() }
}

fn known(call: &Call, group_id: String, description: ShareDescription) -> DescribedGroup {
    let member = |m: ShareMemberDescription| Member {
        member_id: m.member_id.to_string(),
        rack_id: m.rack,
        member_epoch: m.epoch,
        client_id: m.client_id,
        client_host: m.client_host,
        subscribed_topic_names: m.topics.into_iter().collect(),
        assignment: assignment(call, &m.assignment),
    };
    DescribedGroup {
        group_id,
        group_state: description.state.to_string(),
        group_epoch: description.group_epoch,
        assignment_epoch: description.assignment_epoch,
        assignor_name: ASSIGNOR.to_owned(),
        members: description.members.into_iter().map(member).collect(),
        ..DescribedGroup::default()
    }
}
