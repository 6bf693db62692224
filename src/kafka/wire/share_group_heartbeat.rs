//! ShareGroupHeartbeat (API key 76), version 1 (KIP-932).

use uuid::Uuid;

use super::message;

message! {
    message 76, flexible 0;
    pub struct ShareGroupHeartbeatRequest {
        group_id: String,                                      0..;
        member_id: String,                                     0..;
        member_epoch: i32,                                     0..;
        rack_id: Option<String>,                               0..;
        subscribed_topic_names: Option<Vec<String>>,           0..;
    }

    message 76, flexible 0;
    pub struct ShareGroupHeartbeatResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        member_id: Option<String>,                             0..;
        member_epoch: i32,                                     0..;
        heartbeat_interval_ms: i32,                            0..;
        assignment: Option<Assignment>,                        0..;
    }

    pub struct Assignment {
        topic_partitions: Vec<TopicPartitions>,                0..;
    }

    pub struct TopicPartitions {
        topic_id: Uuid,                                        0..;
        partitions: Vec<i32>,                                  0..;
    }
}
