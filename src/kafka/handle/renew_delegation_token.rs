//! RenewDelegationToken (API key 39), versions 1–2: refused, as without a master key.

use crate::kafka::{
    call::Call,
    wire::renew_delegation_token::{RenewDelegationTokenRequest, RenewDelegationTokenResponse},
};

pub async fn handle(call: Call, _request: RenewDelegationTokenRequest) -> RenewDelegationTokenResponse {
    RenewDelegationTokenResponse {
        error_code: call.no_delegation_token().code(),
        expiry_timestamp_ms: -1,
        ..RenewDelegationTokenResponse::default()
    }
}
