//! LeaveGroup (API key 13), versions 0–5. Version 3: many members at once, each with its own error (KIP-345).

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    handle::error_code,
    wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse},
};

pub async fn handle(call: Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let group = call.group(&request.group_id);
    let leaving: Vec<(String, Option<String>)> = if call.version >= 3 {
        request.members.into_iter().map(|m| (m.member_id, m.group_instance_id)).collect()
    } else {
        vec![(request.member_id, None)]
    };
    let outcomes = match call.groups().leave(call.now, &group, &leaving) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let error_code = ErrorCode::from(error).code();
            return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
        }
    };
    let codes = outcomes.into_iter().map(|outcome| error_code(outcome.map_err(ErrorCode::from)));
    if call.version < 3 {
        let error_code = codes.into_iter().next().unwrap_or_default();
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let member = |((member_id, group_instance_id), error_code)| MemberResponse {
        member_id,
        group_instance_id,
        error_code,
    };
    LeaveGroupResponse {
        members: leaving.into_iter().zip(codes).map(member).collect(),
        ..LeaveGroupResponse::default()
    }
}
