//! AlterShareGroupOffsets (API key 91), version 0 (KIP-932).

use uuid::Uuid;

use super::message;

message! {
    message 91, flexible 0;
    pub struct AlterShareGroupOffsetsRequest {
        group_id: String,                                      0..;
        topics: Vec<AlterShareGroupOffsetsRequestTopic>,       0..;
    }

    pub struct AlterShareGroupOffsetsRequestTopic {
        topic_name: String,                                    0..;
        partitions: Vec<AlterShareGroupOffsetsRequestPartition>, 0..;
    }

    pub struct AlterShareGroupOffsetsRequestPartition {
        partition_index: i32,                                  0..;
        start_offset: i64,                                     0..;
    }

    message 91, flexible 0;
    pub struct AlterShareGroupOffsetsResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        responses: Vec<AlterShareGroupOffsetsResponseTopic>,   0..;
    }

    pub struct AlterShareGroupOffsetsResponseTopic {
        topic_name: String,                                    0..;
        topic_id: Uuid,                                        0..;
        partitions: Vec<AlterShareGroupOffsetsResponsePartition>, 0..;
    }

    pub struct AlterShareGroupOffsetsResponsePartition {
        partition_index: i32,                                  0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
    }
}
