//! CreateDelegationToken (API key 38), versions 1–3: refused, as without a master key.

use crate::kafka::{
    call::Call,
    wire::create_delegation_token::{CreateDelegationTokenRequest, CreateDelegationTokenResponse},
};

pub async fn handle(call: Call, _request: CreateDelegationTokenRequest) -> CreateDelegationTokenResponse {
    let (kind, name) = ("User".to_owned(), call.principal());
    let mut response = CreateDelegationTokenResponse {
        error_code: call.no_delegation_token().code(),
        principal_type: kind.clone(),
        principal_name: name.clone(),
        issue_timestamp_ms: -1,
        expiry_timestamp_ms: -1,
        max_timestamp_ms: -1,
        ..CreateDelegationTokenResponse::default()
    };
    if call.version >= REQUESTER_FROM {
        response.token_requester_principal_type = kind;
        response.token_requester_principal_name = name;
    }
    response
}

const REQUESTER_FROM: i16 = 3;
