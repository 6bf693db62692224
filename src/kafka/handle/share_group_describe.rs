//! ShareGroupDescribe (API key 77), version 1: share groups with their members' assignments (KIP-932).

use super::{
    authorized,
    consumer_group_describe::{assignment, of_kind},
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
    let describe = |group_id: String| {
        let found = call.groups().describe_share(&call.group(&group_id));
        match of_kind("share", &group_id, found) {
            Ok(description) => {
                DescribedGroup { authorized_operations, ..known(&call, group_id, description) }
            }
            Err((error, error_message)) => DescribedGroup {
                error_code: error.code(),
                error_message,
                group_id,
                ..DescribedGroup::default()
            },
        }
    };
    ShareGroupDescribeResponse {
        groups: request.group_ids.into_iter().map(describe).collect(),
        ..ShareGroupDescribeResponse::default()
    }
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
