//! LeaveGroup (API key 13), versions 0-5.
//!
//! 1 adds the throttle time, 3 lets several members leave at once, 4 is flexible, 5 adds a reason (KIP-800).

use super::message;

message! {
    message 13, flexible 4;
    pub struct LeaveGroupRequest {
        group_id: String,                                      0..;
        member_id: String,                                     0..=2;
        members: Vec<MemberIdentity>,                          3..;
    }

    pub struct MemberIdentity {
        member_id: String,                                     3..;
        group_instance_id: Option<String>,                     3..;
        reason: Option<String>,                                5.., ignorable;
    }

    message 13, flexible 4;
    pub struct LeaveGroupResponse {
        throttle_time_ms: i32,                                 1.., ignorable;
        error_code: i16,                                       0..;
        members: Vec<MemberResponse>,                          3..;
    }

    pub struct MemberResponse {
        member_id: String,                                     3..;
        group_instance_id: Option<String>,                     3..;
        error_code: i16,                                       3..;
    }
}
