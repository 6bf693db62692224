//! ApiVersions (API key 18), versions 0-4.
//!
//! 1 adds the throttle time, 3 the client's software name and the features, 4 allows features from version 0. The
//! answer has response header 0 in every version; one to an unsupported version is written as version 0.

use super::message;

message! {
    message 18, flexible 3;
    pub struct ApiVersionsRequest {
        client_software_name: String,                          3.., ignorable;
        client_software_version: String,                       3.., ignorable;
    }

    message 18, flexible 3;
    pub struct ApiVersionsResponse {
        error_code: i16,                                       0..;
        api_keys: Vec<ApiVersion>,                             0..;
        throttle_time_ms: i32,                                 1.., ignorable;
        supported_features: Vec<SupportedFeatureKey>,          3.., (tag 0), ignorable;
        finalized_features_epoch: i64 = -1,                    3.., (tag 1), ignorable;
        finalized_features: Vec<FinalizedFeatureKey>,          3.., (tag 2), ignorable;
        zk_migration_ready: bool,                              3.., (tag 3), ignorable;
    }

    pub struct ApiVersion {
        api_key: i16,                                          0..;
        min_version: i16,                                      0..;
        max_version: i16,                                      0..;
    }

    pub struct SupportedFeatureKey {
        name: String,                                          3..;
        min_version: i16,                                      3..;
        max_version: i16,                                      3..;
    }

    pub struct FinalizedFeatureKey {
        name: String,                                          3..;
        max_version_level: i16,                                3..;
        min_version_level: i16,                                3..;
    }
}
