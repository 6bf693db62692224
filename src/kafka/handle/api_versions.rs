//! ApiVersions (API key 18), versions 0–4: the table of APIs.
//!
//! Version 3: the client's software (KIP-511) and features (KIP-584). A newer version than 4 is answered by the
//! dispatch.

use crate::kafka::{
    api::advertised,
    call::Call,
    fault::ErrorCode,
    features::{FEATURES, Feature},
    wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey},
};

pub async fn handle(call: Call, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let names = [&request.client_software_name, &request.client_software_version];
    if call.version >= 3 && !names.into_iter().all(|name| is_legal(name)) {
        let error_code = ErrorCode::InvalidRequest.code();
        return ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
    }
    let supported = |f: &Feature| SupportedFeatureKey {
        name: f.name.to_owned(),
        min_version: f.level,
        max_version: f.level,
    };
    let finalized = |f: &Feature| FinalizedFeatureKey {
        name: f.name.to_owned(),
        max_version_level: f.level,
        min_version_level: f.level,
    };
    ApiVersionsResponse {
        api_keys: advertised(),
        supported_features: FEATURES.iter().map(supported).collect(),
        finalized_features_epoch: 0,
        finalized_features: FEATURES.iter().map(finalized).collect(),
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
