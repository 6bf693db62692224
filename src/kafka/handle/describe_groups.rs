//! DescribeGroups (API key 15), versions 0–6.
//!
//! Version 3: authorized operations. Version 4: static members. Version 6: an unknown group is GROUP_ID_NOT_FOUND
//! (KIP-1043); before, it is Dead and no error. So is a group of another type.

use super::authorized;
use crate::{
    broker::group::{Description, GroupState, GroupType, MemberDescription},
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::describe_groups::{
            DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
        },
    },
};

pub async fn handle(call: Call, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let authorized_operations = authorized::group(request.include_authorized_operations);
    let describe = |group_id: String| {
        let found = call.groups().describe(&call.group(&group_id));
        let group = match found {
            Some(description) if description.group_type == GroupType::Classic => known(description),
            Some(_) => unknown(call.version, format!("Group {group_id} is not a classic group."), group_id),
            None => unknown(call.version, format!("Group {group_id} not found."), group_id),
        };
        DescribedGroup { authorized_operations, ..group }
    };
    DescribeGroupsResponse {
        groups: request.groups.into_iter().map(describe).collect(),
        ..DescribeGroupsResponse::default()
    }
}

fn known(description: Description) -> DescribedGroup {
    let Description { id, state, protocol_type, protocol, members, generation_id: _, group_type: _ } =
        description;
    let member = |m: MemberDescription| DescribedGroupMember {
        member_id: m.member_id.to_string(),
        group_instance_id: m.group_instance_id,
        client_id: m.client_id,
        client_host: m.client_host,
        member_metadata: m.metadata,
        member_assignment: m.assignment,
    };
    DescribedGroup {
        group_id: id.to_string(),
        group_state: state.to_string(),
        protocol_type,
        protocol_data: protocol,
        members: members.into_iter().map(member).collect(),
        ..DescribedGroup::default()
    }
}

fn unknown(version: i16, text: String, group_id: String) -> DescribedGroup {
    let (error, error_message) =
        if version >= 6 { (ErrorCode::GroupIdNotFound, Some(text)) } else { (ErrorCode::None, None) };
    DescribedGroup {
        error_code: error.code(),
        error_message,
        group_id,
        group_state: GroupState::Dead.to_string(),
        ..DescribedGroup::default()
    }
}
