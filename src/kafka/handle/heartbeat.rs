//! Heartbeat (API key 12), versions 0–4. Version 3: static members (KIP-345).

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    handle::error_code,
    wire::heartbeat::{HeartbeatRequest, HeartbeatResponse},
};

pub async fn handle(call: Call, request: HeartbeatRequest) -> HeartbeatResponse {
    let HeartbeatRequest { group_id, generation_id, member_id, group_instance_id } = request;
    let group = call.group(&group_id);
    let outcome =
        call.groups().heartbeat(call.now, &group, &member_id, group_instance_id.as_deref(), generation_id);
    HeartbeatResponse {
        error_code: error_code(outcome.map_err(ErrorCode::from)),
        ..HeartbeatResponse::default()
    }
}
