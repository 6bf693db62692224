//! ApiVersions (API key 18), versions 0–4: the table of APIs.
//!
//! Version 3: the client's software (KIP-511) and features (KIP-584). `transaction.version` 2 is finalized, so that
//! clients use the second transaction protocol (KIP-890); without `group.version` they stay with the classic group
//! protocol. Version 4: features that begin at 0, which older clients choke on (KAFKA-17011). A newer version is
//! answered by the dispatch.

use crate::kafka::{
    api::advertised,
    call::Call,
    fault::ErrorCode,
    wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey},
};

const TRANSACTION_VERSION: i16 = 2;
const ZERO_FROM: i16 = 4;

pub async fn handle(call: Call, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let names = [&request.client_software_name, &request.client_software_version];
    if call.version >= 3 && !names.into_iter().all(|name| is_legal(name)) {
        let error_code = ErrorCode::InvalidRequest.code();
        return ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
    }
    let name = || "transaction.version".to_owned();
    let supported = SupportedFeatureKey { name: name(), min_version: 0, max_version: TRANSACTION_VERSION };
    ApiVersionsResponse {
        api_keys: advertised(),
        supported_features: Some(supported).filter(|_| call.version >= ZERO_FROM).into_iter().collect(),
        finalized_features_epoch: 0,
        finalized_features: vec![FinalizedFeatureKey {
            name: name(),
            max_version_level: TRANSACTION_VERSION,
            min_version_level: TRANSACTION_VERSION,
        }],
        ..ApiVersionsResponse::default()
    }
}

/// Kafka's pattern: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_legal(name: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    end(name.chars().next())
        && end(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_software_name_begins_and_ends_with_a_letter_or_digit() {
        for legal in ["librdkafka", "2.16.1-rc", "a"] {
            assert!(is_legal(legal), "{legal}");
        }
        for illegal in ["", "-a", "a.", "a b", "ä"] {
            assert!(!is_legal(illegal), "{illegal}");
        }
    }
}
