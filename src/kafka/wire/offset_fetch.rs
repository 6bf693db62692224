//! OffsetFetch (API key 9), versions 1-10.
//!
//! 2 asks for all topics by null and adds an error for the group, 5 leader epochs, 6 is flexible, 7 waits for open
//! transactions (`require_stable`), 8 asks for several groups, 9 names the member (KIP-848), 10 has topics by id.

use uuid::Uuid;

use super::message;

message! {
    message 9, flexible 6;
    pub struct OffsetFetchRequest {
        group_id: String,                                      0..=7;
        topics: Option<Vec<OffsetFetchRequestTopic>>,          0..=7, (null 2..=7);
        groups: Vec<OffsetFetchRequestGroup>,                  8..;
        require_stable: bool,                                  7..;
    }

    pub struct OffsetFetchRequestTopic {
        name: String,                                          0..=7;
        partition_indexes: Vec<i32>,                           0..=7;
    }

    pub struct OffsetFetchRequestGroup {
        group_id: String,                                      8..;
        member_id: Option<String>,                             9.., ignorable;
        member_epoch: i32 = -1,                                9.., ignorable;
        topics: Option<Vec<OffsetFetchRequestTopics>>,         8..;
    }

    pub struct OffsetFetchRequestTopics {
        name: String,                                          8..=9, ignorable;
        topic_id: Uuid,                                        10.., ignorable;
        partition_indexes: Vec<i32>,                           8..;
    }

    message 9, flexible 6;
    pub struct OffsetFetchResponse {
        throttle_time_ms: i32,                                 3.., ignorable;
        topics: Vec<OffsetFetchResponseTopic>,                 0..=7;
        error_code: i16,                                       2..=7, ignorable;
        groups: Vec<OffsetFetchResponseGroup>,                 8..;
    }

    pub struct OffsetFetchResponseTopic {
        name: String,                                          0..=7;
        partitions: Vec<OffsetFetchResponsePartition>,         0..=7;
    }

    pub struct OffsetFetchResponsePartition {
        partition_index: i32,                                  0..=7;
        committed_offset: i64,                                 0..=7;
        committed_leader_epoch: i32 = -1,                      5..=7, ignorable;
        metadata: Option<String>,                              0..=7;
        error_code: i16,                                       0..=7;
    }

    pub struct OffsetFetchResponseGroup {
        group_id: String,                                      8..;
        topics: Vec<OffsetFetchResponseTopics>,                8..;
        error_code: i16,                                       8..;
    }

    pub struct OffsetFetchResponseTopics {
        name: String,                                          8..=9, ignorable;
        topic_id: Uuid,                                        10.., ignorable;
        partitions: Vec<OffsetFetchResponsePartitions>,        8..;
    }

    pub struct OffsetFetchResponsePartitions {
        partition_index: i32,                                  8..;
        committed_offset: i64,                                 8..;
        committed_leader_epoch: i32 = -1,                      8.., ignorable;
        metadata: Option<String>,                              8..;
        error_code: i16,                                       8..;
    }
}
