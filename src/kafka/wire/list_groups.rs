//! ListGroups (API key 16), versions 0-5.
//!
//! 3 is flexible, 4 filters by state (KIP-518), 5 by type (KIP-848).

use super::message;

message! {
    message 16, flexible 3;
    pub struct ListGroupsRequest {
        states_filter: Vec<String>,                            4..;
        types_filter: Vec<String>,                             5..;
    }

    message 16, flexible 3;
    pub struct ListGroupsResponse {
        throttle_time_ms: i32,                                 1.., ignorable;
        error_code: i16,                                       0..;
        groups: Vec<ListedGroup>,                              0..;
    }

    pub struct ListedGroup {
        group_id: String,                                      0..;
        protocol_type: String,                                 0..;
        group_state: String,                                   4.., ignorable;
        group_type: String,                                    5.., ignorable;
    }
}
