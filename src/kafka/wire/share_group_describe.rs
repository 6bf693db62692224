//! ShareGroupDescribe (API key 77), version 1 (KIP-932).

use super::{consumer_group_describe::Assignment, message};

message! {
    message 77, flexible 0;
    pub struct ShareGroupDescribeRequest {
        group_ids: Vec<String>,                                0..;
        include_authorized_operations: bool,                   0..;
    }

    message 77, flexible 0;
    pub struct ShareGroupDescribeResponse {
        throttle_time_ms: i32,                                 0..;
        groups: Vec<DescribedGroup>,                           0..;
    }

    pub struct DescribedGroup {
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        group_id: String,                                      0..;
        group_state: String,                                   0..;
        group_epoch: i32,                                      0..;
        assignment_epoch: i32,                                 0..;
        assignor_name: String,                                 0..;
        members: Vec<Member>,                                  0..;
        authorized_operations: i32 = i32::MIN,                 0..;
    }

    pub struct Member {
        member_id: String,                                     0..;
        rack_id: Option<String>,                               0..;
        member_epoch: i32,                                     0..;
        client_id: String,                                     0..;
        client_host: String,                                   0..;
        subscribed_topic_names: Vec<String>,                   0..;
        assignment: Assignment,                                0..;
    }
}
