//! ExpireDelegationToken (API key 40), versions 1–2: refused, as without a master key.

use crate::kafka::{
    call::Call,
    wire::expire_delegation_token::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse},
};

pub async fn handle(call: Call, _request: ExpireDelegationTokenRequest) -> ExpireDelegationTokenResponse {
    ExpireDelegationTokenResponse {
        error_code: call.no_delegation_token().code(),
        expiry_timestamp_ms: -1,
        ..ExpireDelegationTokenResponse::default()
    }
}
