//! RenewDelegationToken (API key 39), versions 1–2: refused, as on every listener that is not of SASL or two-way TLS.

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::renew_delegation_token::{RenewDelegationTokenRequest, RenewDelegationTokenResponse},
};

pub async fn handle(_call: Call, _request: RenewDelegationTokenRequest) -> RenewDelegationTokenResponse {
    RenewDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        expiry_timestamp_ms: -1,
        ..RenewDelegationTokenResponse::default()
    }
}
