//! FindCoordinator (API key 10), versions 0–6: this node, whatever the key.
//!
//! Version 1: key types. Version 4: many keys at once (KIP-699). Version 6: share groups, which do not exist here.

use crate::kafka::{
    NODE_ID,
    call::Call,
    fault::ErrorCode,
    wire::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse},
};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub async fn handle(call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let is_known = matches!(request.key_type, GROUP | TRANSACTION);
    if call.version >= 4 {
        let find = |key| coordinator(&call, key, is_known);
        let coordinators = request.coordinator_keys.into_iter().map(find).collect();
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
    }
    let Coordinator { node_id, host, port, error_code, error_message, .. } =
        coordinator(&call, request.key, is_known);
    FindCoordinatorResponse {
        error_code,
        error_message,
        node_id,
        host,
        port,
        ..FindCoordinatorResponse::default()
    }
}

fn coordinator(call: &Call, key: String, is_known: bool) -> Coordinator {
    if !is_known {
        let error_code = ErrorCode::InvalidRequest.code();
        let error_message = Some("there is no coordinator of that type".to_owned());
        return Coordinator { key, node_id: -1, port: -1, error_code, error_message, ..Default::default() };
    }
    let node = &call.peer.node;
    Coordinator { key, node_id: NODE_ID, host: node.host.clone(), port: node.port, ..Coordinator::default() }
}
