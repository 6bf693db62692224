//! SyncGroup (API key 14), versions 0–5: the leader's assignment to everyone.
//!
//! Version 3: static members. Version 5: protocol type and name, to be held against the group's.

use crate::{
    broker::group::member::{SyncRequest, Synced},
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::sync_group::{SyncGroupRequest, SyncGroupResponse},
    },
};

pub async fn handle(call: Call, request: SyncGroupRequest) -> SyncGroupResponse {
    let group = call.group(&request.group_id);
    let assignments = request.assignments.into_iter().map(|a| (a.member_id, a.assignment)).collect();
    let request = SyncRequest {
        member_id: request.member_id,
        generation_id: request.generation_id,
        group_instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments,
    };
    match call.groups().sync(call.now, &group, request).await {
        Ok(Synced { protocol_type, protocol_name, assignment }) => SyncGroupResponse {
            protocol_type: Some(protocol_type),
            protocol_name: Some(protocol_name),
            assignment,
            ..SyncGroupResponse::default()
        },
        Err(error) => {
            SyncGroupResponse { error_code: ErrorCode::from(error).code(), ..SyncGroupResponse::default() }
        }
    }
}
