//! OffsetCommit (API key 8), versions 2-10.
//!
//! 2-4 carry a retention time that nobody heeds any more, 6 adds leader epochs, 7 static members, 8 is flexible, 9 is for
//! the new group protocol (KIP-848), 10 has topics by id.

use uuid::Uuid;

use super::message;

message! {
    message 8, flexible 8;
    pub struct OffsetCommitRequest {
        group_id: String,                                      0..;
        generation_id_or_member_epoch: i32 = -1,               1..;
        member_id: String,                                     1..;
        group_instance_id: Option<String>,                     7..;
        retention_time_ms: i64 = -1,                           2..=4, ignorable;
        topics: Vec<OffsetCommitRequestTopic>,                 0..;
    }

    pub struct OffsetCommitRequestTopic {
        name: String,                                          0..=9, ignorable;
        topic_id: Uuid,                                        10.., ignorable;
        partitions: Vec<OffsetCommitRequestPartition>,         0..;
    }

    pub struct OffsetCommitRequestPartition {
        partition_index: i32,                                  0..;
        committed_offset: i64,                                 0..;
        committed_leader_epoch: i32 = -1,                      6.., ignorable;
        committed_metadata: Option<String>,                    0..;
    }

    message 8, flexible 8;
    pub struct OffsetCommitResponse {
        throttle_time_ms: i32,                                 3.., ignorable;
        topics: Vec<OffsetCommitResponseTopic>,                0..;
    }

    pub struct OffsetCommitResponseTopic {
        name: String,                                          0..=9, ignorable;
        topic_id: Uuid,                                        10.., ignorable;
        partitions: Vec<OffsetCommitResponsePartition>,        0..;
    }

    pub struct OffsetCommitResponsePartition {
        partition_index: i32,                                  0..;
        error_code: i16,                                       0..;
    }
}
