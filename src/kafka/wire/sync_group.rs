//! SyncGroup (API key 14), versions 0-5.
//!
//! 1 adds the throttle time, 3 static members, 4 is flexible, 5 names protocol type and protocol (KIP-559).

use bytes::Bytes;

use super::message;

message! {
    message 14, flexible 4;
    pub struct SyncGroupRequest {
        group_id: String,                                      0..;
        generation_id: i32,                                    0..;
        member_id: String,                                     0..;
        group_instance_id: Option<String>,                     3..;
        protocol_type: Option<String>,                         5.., ignorable;
        protocol_name: Option<String>,                         5.., ignorable;
        assignments: Vec<SyncGroupRequestAssignment>,          0..;
    }

    pub struct SyncGroupRequestAssignment {
        member_id: String,                                     0..;
        assignment: Bytes,                                     0..;
    }

    message 14, flexible 4;
    pub struct SyncGroupResponse {
        throttle_time_ms: i32,                                 1.., ignorable;
        error_code: i16,                                       0..;
        protocol_type: Option<String>,                         5.., ignorable;
        protocol_name: Option<String>,                         5.., ignorable;
        assignment: Bytes,                                     0..;
    }
}
