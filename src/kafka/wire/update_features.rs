//! UpdateFeatures (API key 57), versions 0-2.
//!
//! 1 can only validate (KIP-584), 2 has no answer for each feature.

use super::message;

message! {
    message 57, flexible 0;
    pub struct UpdateFeaturesRequest {
        timeout_ms: i32 = 60000,                               0..;
        feature_updates: Vec<FeatureUpdateKey>,                0..;
        validate_only: bool,                                   1..;
    }

    pub struct FeatureUpdateKey {
        feature: String,                                       0..;
        max_version_level: i16,                                0..;
        allow_downgrade: bool,                                 0..=0;
        upgrade_type: i8 = 1,                                  1..;
    }

    message 57, flexible 0;
    pub struct UpdateFeaturesResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        results: Vec<UpdatableFeatureResult>,                  0..=1, ignorable;
    }

    pub struct UpdatableFeatureResult {
        feature: String,                                       0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
    }
}
