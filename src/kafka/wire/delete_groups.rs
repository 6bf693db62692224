//! DeleteGroups (API key 42), versions 0-2; 2 is flexible.

use super::message;

message! {
    message 42, flexible 2;
    pub struct DeleteGroupsRequest {
        groups_names: Vec<String>,                             0..;
    }

    message 42, flexible 2;
    pub struct DeleteGroupsResponse {
        throttle_time_ms: i32,                                 0..;
        results: Vec<DeletableGroupResult>,                    0..;
    }

    pub struct DeletableGroupResult {
        group_id: String,                                      0..;
        error_code: i16,                                       0..;
    }
}
