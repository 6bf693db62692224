//! DescribeDelegationToken (API key 41), versions 1–3: refused, as without a master key.

use crate::kafka::{
    call::Call,
    wire::describe_delegation_token::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse},
};

pub async fn handle(call: Call, _request: DescribeDelegationTokenRequest) -> DescribeDelegationTokenResponse {
    DescribeDelegationTokenResponse {
        error_code: call.no_delegation_token().code(),
        ..DescribeDelegationTokenResponse::default()
    }
}
