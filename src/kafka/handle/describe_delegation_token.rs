//! DescribeDelegationToken (API key 41), versions 1–3: refused, as on every listener that is not of SASL or two-way TLS.

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::describe_delegation_token::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse},
};

pub async fn handle(
    _call: Call,
    _request: DescribeDelegationTokenRequest,
) -> DescribeDelegationTokenResponse {
    DescribeDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.code(),
        ..DescribeDelegationTokenResponse::default()
    }
}
