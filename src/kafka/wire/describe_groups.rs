//! DescribeGroups (API key 15), versions 0-6.
//!
//! 3 adds authorized operations, 4 static members, 5 is flexible, 6 answers GROUP_ID_NOT_FOUND with a message.

use bytes::Bytes;

use super::message;

message! {
    message 15, flexible 5;
    pub struct DescribeGroupsRequest {
        groups: Vec<String>,                                   0..;
        include_authorized_operations: bool,                   3..;
    }

    message 15, flexible 5;
    pub struct DescribeGroupsResponse {
        throttle_time_ms: i32,                                 1.., ignorable;
        groups: Vec<DescribedGroup>,                           0..;
    }

    pub struct DescribedGroup {
        error_code: i16,                                       0..;
        error_message: Option<String>,                         6..;
        group_id: String,                                      0..;
        group_state: String,                                   0..;
        protocol_type: String,                                 0..;
        protocol_data: String,                                 0..;
        members: Vec<DescribedGroupMember>,                    0..;
        authorized_operations: i32 = i32::MIN,                 3..;
    }

    pub struct DescribedGroupMember {
        member_id: String,                                     0..;
        group_instance_id: Option<String>,                     4.., ignorable;
        client_id: String,                                     0..;
        client_host: String,                                   0..;
        member_metadata: Bytes,                                0..;
        member_assignment: Bytes,                              0..;
    }
}
