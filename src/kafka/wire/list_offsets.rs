//! ListOffsets (API key 2), versions 1-11.
//!
//! 1 answers one offset, 2 adds isolation, 4 leader epochs, 6 is flexible; the special timestamps: 7 max timestamp (-3),
//! 8 local log start (-4), 9 last tiered (-5), 10 adds a timeout, 11 earliest pending upload (-6).

use super::message;

message! {
    message 2, flexible 6;
    pub struct ListOffsetsRequest {
        replica_id: i32,                                       0..;
        isolation_level: i8,                                   2..;
        topics: Vec<ListOffsetsTopic>,                         0..;
        timeout_ms: i32,                                       10.., ignorable;
    }

    pub struct ListOffsetsTopic {
        name: String,                                          0..;
        partitions: Vec<ListOffsetsPartition>,                 0..;
    }

    pub struct ListOffsetsPartition {
        partition_index: i32,                                  0..;
        current_leader_epoch: i32 = -1,                        4.., ignorable;
        timestamp: i64,                                        0..;
    }

    message 2, flexible 6;
    pub struct ListOffsetsResponse {
        throttle_time_ms: i32,                                 2.., ignorable;
        topics: Vec<ListOffsetsTopicResponse>,                 0..;
    }

    pub struct ListOffsetsTopicResponse {
        name: String,                                          0..;
        partitions: Vec<ListOffsetsPartitionResponse>,         0..;
    }

    pub struct ListOffsetsPartitionResponse {
        partition_index: i32,                                  0..;
        error_code: i16,                                       0..;
        timestamp: i64 = -1,                                   1..;
        offset: i64 = -1,                                      1..;
        leader_epoch: i32 = -1,                                4..;
    }
}
