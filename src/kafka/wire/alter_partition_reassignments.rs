//! AlterPartitionReassignments (API key 45), versions 0-1.
//!
//! 1 can forbid another replication factor (KIP-860).

use super::message;

message! {
    message 45, flexible 0;
    pub struct AlterPartitionReassignmentsRequest {
        timeout_ms: i32 = 60000,                               0..;
        allow_replication_factor_change: bool = true,          1..;
        topics: Vec<ReassignableTopic>,                        0..;
    }

    pub struct ReassignableTopic {
        name: String,                                          0..;
        partitions: Vec<ReassignablePartition>,                0..;
    }

    pub struct ReassignablePartition {
        partition_index: i32,                                  0..;
        replicas: Option<Vec<i32>>,                            0..;
    }

    message 45, flexible 0;
    pub struct AlterPartitionReassignmentsResponse {
        throttle_time_ms: i32,                                 0..;
        allow_replication_factor_change: bool = true,          1.., ignorable;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        responses: Vec<ReassignableTopicResponse>,             0..;
    }

    pub struct ReassignableTopicResponse {
        name: String,                                          0..;
        partitions: Vec<ReassignablePartitionResponse>,        0..;
    }

    pub struct ReassignablePartitionResponse {
        partition_index: i32,                                  0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
    }
}
