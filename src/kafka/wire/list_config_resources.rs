//! ListConfigResources (API key 74), versions 0-1.
//!
//! 1 lists every type of resource (KIP-1142); 0 is what ListClientMetricsResources was.

use super::message;

message! {
    message 74, flexible 0;
    pub struct ListConfigResourcesRequest {
        resource_types: Vec<i8>,                               1..;
    }

    message 74, flexible 0;
    pub struct ListConfigResourcesResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        config_resources: Vec<ConfigResource>,                 0..;
    }

    pub struct ConfigResource {
        resource_name: String,                                 0..;
        resource_type: i8 = 16,                                1.., ignorable;
    }
}
