//! IncrementalAlterConfigs (API key 44), versions 0-1; 1 is flexible.
//!
//! (KIP-339)

use super::{alter_configs::AlterConfigsResourceResponse, message};

message! {
    message 44, flexible 1;
    pub struct IncrementalAlterConfigsRequest {
        resources: Vec<AlterConfigsResource>,                  0..;
        validate_only: bool,                                   0..;
    }

    pub struct AlterConfigsResource {
        resource_type: i8,                                     0..;
        resource_name: String,                                 0..;
        configs: Vec<AlterableConfig>,                         0..;
    }

    pub struct AlterableConfig {
        name: String,                                          0..;
        config_operation: i8,                                  0..;
        value: Option<String>,                                 0..;
    }

    message 44, flexible 1;
    pub struct IncrementalAlterConfigsResponse {
        throttle_time_ms: i32,                                 0..;
        responses: Vec<AlterConfigsResourceResponse>,          0..;
    }
}
