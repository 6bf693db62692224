//! JoinGroup (API key 11), versions 0-9.
//!
//! 1 adds the rebalance timeout, 4 answers MEMBER_ID_REQUIRED to a first join (KIP-394), 5 has static members (KIP-345),
//! 6 is flexible, 7 names the protocol type in the answer, 8 a reason (KIP-800), 9 lets a leader skip the assignment.

use bytes::Bytes;

use super::message;

message! {
    message 11, flexible 6;
    pub struct JoinGroupRequest {
        group_id: String,                                      0..;
        session_timeout_ms: i32,                               0..;
        rebalance_timeout_ms: i32 = -1,                        1.., ignorable;
        member_id: String,                                     0..;
        group_instance_id: Option<String>,                     5..;
        protocol_type: String,                                 0..;
        protocols: Vec<JoinGroupRequestProtocol>,              0..;
        reason: Option<String>,                                8.., ignorable;
    }

    pub struct JoinGroupRequestProtocol {
        name: String,                                          0..;
        metadata: Bytes,                                       0..;
    }

    message 11, flexible 6;
    pub struct JoinGroupResponse {
        throttle_time_ms: i32,                                 2.., ignorable;
        error_code: i16,                                       0..;
        generation_id: i32 = -1,                               0..;
        protocol_type: Option<String>,                         7.., ignorable;
        protocol_name: Option<String>,                         0.., (null 7..);
        leader: String,                                        0..;
        skip_assignment: bool,                                 9..;
        member_id: String,                                     0..;
        members: Vec<JoinGroupResponseMember>,                 0..;
    }

    pub struct JoinGroupResponseMember {
        member_id: String,                                     0..;
        group_instance_id: Option<String>,                     5.., ignorable;
        metadata: Bytes,                                       0..;
    }
}
