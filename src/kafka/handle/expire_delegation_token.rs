//! ExpireDelegationToken (API key 40), versions 1–2: refused, as on every listener that is not of SASL or two-way TLS.

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::expire_delegation_token::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse},
};

pub async fn handle(_call: Call, _request: ExpireDelegationTokenRequest) -> ExpireDelegationTokenResponse {
    ExpireDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        expiry_timestamp_ms: -1,
        ..ExpireDelegationTokenResponse::default()
    }
}
