//! FindCoordinator (API key 10), versions 0–6: this node, whatever the key.
//!
//! Version 1: key types. Version 4: many keys at once (KIP-699). Version 6: share groups (KIP-932).

use crate::kafka::{
    NODE_ID,
    call::Call,
    fault::ErrorCode,
    wire::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse},
};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// The version that knows share groups.
const SHARE_FROM: i16 = 6;
const MANY_KEYS_FROM: i16 = 4;

pub async fn handle(call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let is_known = |key: &str| match request.key_type {
        GROUP | TRANSACTION => true,
        SHARE => call.version >= SHARE_FROM && is_share_partition(key),
        _ => false,
    };
    if call.version >= MANY_KEYS_FROM {
        let is_type = (GROUP..=SHARE).contains(&request.key_type);
        // Kafka has no words for a key that is none of its type.
        let text = if is_type { "" } else { ErrorCode::InvalidRequest.text() };
        let find = |key: String| Coordinator {
            error_message: Some(text.to_owned()),
            ..coordinator(&call, is_known(&key), key)
        };
        let coordinators = request.coordinator_keys.into_iter().map(find).collect();
        return FindCoordinatorResponse { coordinators, ..FindCoordinatorResponse::default() };
    }
    let is_known = is_known(&request.key);
    let text = if is_known { ErrorCode::None } else { ErrorCode::InvalidRequest }.text();
    let Coordinator { node_id, host, port, error_code, .. } = coordinator(&call, is_known, request.key);
    FindCoordinatorResponse {
        error_code,
        error_message: Some(text.to_owned()),
        node_id,
        host,
        port,
        ..FindCoordinatorResponse::default()
    }
}

/// Group, topic id in base64, partition.
fn is_share_partition(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().is_some_and(|partition| partition.parse::<i32>().is_ok());
    let topic = parts.next().is_some_and(|id| id.len() == TOPIC_ID_CHARACTERS);
    partition && topic && parts.next().is_some_and(|group| !group.is_empty())
}

/// 16 bytes in base64 without padding.
const TOPIC_ID_CHARACTERS: usize = 22;

fn coordinator(call: &Call, is_known: bool, key: String) -> Coordinator {
    if !is_known {
        let error_code = ErrorCode::InvalidRequest.code();
        return Coordinator { key, node_id: -1, port: -1, error_code, ..Coordinator::default() };
    }
    let node = &call.client.node;
    Coordinator { key, node_id: NODE_ID, host: node.host.clone(), port: node.port, ..Coordinator::default() }
}
