//! JoinGroup (API key 11), versions 0–9: into a group, and out with its next generation.
//!
//! Version 1: rebalance timeout (KIP-62). Version 4: a new member is given its id first (KIP-394). Version 5: static
//! members (KIP-345). Version 7: protocol type. Version 9: a leader that need not assign (KIP-814).

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    broker::group::member::{JoinRefused, JoinRequest, JoinResult, Joined, JoinedMember, MemberId, Protocol},
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember},
    },
};

pub async fn handle(call: Call, request: JoinGroupRequest) -> JoinGroupResponse {
    let group = call.group(&request.group_id);
    let joined = call.groups().join(call.now, &group, join_request(&call, request));
    answer(call.version, joined.await)
}

fn join_request(call: &Call, request: JoinGroupRequest) -> JoinRequest {
    let client_id = call.client_id.clone().unwrap_or_default();
    // As Kafka makes them: logs and tools show them, clients only hand them back.
    let named = request.group_instance_id.as_deref().unwrap_or(&client_id);
    let new_member_id = MemberId(Arc::from(format!("{named}-{}", Uuid::new_v4())));
    let session_timeout = millis(request.session_timeout_ms);
    let rebalance_timeout =
        if call.version == 0 { session_timeout } else { millis(request.rebalance_timeout_ms) };
    let protocols =
        request.protocols.into_iter().map(|p| Protocol { name: p.name, metadata: p.metadata }).collect();
    JoinRequest {
        member_id: request.member_id,
        new_member_id,
        group_instance_id: request.group_instance_id,
        client_id,
        client_host: call.client_host(),
        rebalance_timeout,
        session_timeout,
        protocol_type: request.protocol_type,
        protocols,
        require_known_member_id: call.version >= 4,
        supports_skipping_assignment: call.version >= 9,
    }
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

fn answer(version: i16, joined: JoinResult) -> JoinGroupResponse {
    match joined {
        Ok(Joined {
            generation_id,
            protocol_type,
            protocol_name,
            leader,
            skip_assignment,
            member_id,
            members,
        }) => JoinGroupResponse {
            generation_id,
            protocol_type: Some(protocol_type),
            protocol_name: Some(protocol_name),
            leader: leader.to_string(),
            skip_assignment,
            member_id: member_id.to_string(),
            members: members.into_iter().map(|member| member_of(version, member)).collect(),
            ..JoinGroupResponse::default()
        },
        Err(JoinRefused { error, member_id }) => JoinGroupResponse {
            error_code: ErrorCode::from(error).code(),
            member_id: member_id.to_string(),
            ..JoinGroupResponse::default()
        },
    }
}

fn member_of(version: i16, member: JoinedMember) -> JoinGroupResponseMember {
    JoinGroupResponseMember {
        member_id: member.member_id.to_string(),
        group_instance_id: member.group_instance_id.filter(|_| version >= 5),
        metadata: member.metadata,
    }
}
