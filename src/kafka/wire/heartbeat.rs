//! Heartbeat (API key 12), versions 0-4.
//!
//! 1 adds the throttle time, 3 static members, 4 is flexible.

use super::message;

message! {
    message 12, flexible 4;
    pub struct HeartbeatRequest {
        group_id: String,                                      0..;
        generation_id: i32,                                    0..;
        member_id: String,                                     0..;
        group_instance_id: Option<String>,                     3..;
    }

    message 12, flexible 4;
    pub struct HeartbeatResponse {
        throttle_time_ms: i32,                                 1.., ignorable;
        error_code: i16,                                       0..;
    }
}
