//! ShareFetch (API key 78), versions 1-2 (KIP-932). 2 has renewals (KIP-1222) and the mode of acquiring (KIP-1206).

use uuid::Uuid;

use super::{Records, message};

message! {
    message 78, flexible 0;
    pub struct ShareFetchRequest {
        group_id: Option<String>,                              0..;
        member_id: Option<String>,                             0..;
        share_session_epoch: i32,                              0..;
        max_wait_ms: i32,                                      0..;
        min_bytes: i32,                                        0..;
        max_bytes: i32 = 0x7fffffff,                           0..;
        max_records: i32,                                      1..;
        batch_size: i32,                                       1..;
        share_acquire_mode: i8,                                2.., ignorable;
        is_renew_ack: bool,                                    2..;
        topics: Vec<FetchTopic>,                               0..;
        forgotten_topics_data: Vec<ForgottenTopic>,            0..;
    }

    pub struct FetchTopic {
        topic_id: Uuid,                                        0..;
        partitions: Vec<FetchPartition>,                       0..;
    }

    pub struct FetchPartition {
        partition_index: i32,                                  0..;
        acknowledgement_batches: Vec<AcknowledgementBatch>,    0..;
    }

    pub struct AcknowledgementBatch {
        first_offset: i64,                                     0..;
        last_offset: i64,                                      0..;
        acknowledge_types: Vec<i8>,                            0..;
    }

    pub struct ForgottenTopic {
        topic_id: Uuid,                                        0..;
        partitions: Vec<i32>,                                  0..;
    }

    message 78, flexible 0;
    pub struct ShareFetchResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        acquisition_lock_timeout_ms: i32,                      1..;
        responses: Vec<ShareFetchableTopicResponse>,           0..;
        node_endpoints: Vec<NodeEndpoint>,                     0..;
    }

    pub struct ShareFetchableTopicResponse {
        topic_id: Uuid,                                        0..;
        partitions: Vec<PartitionData>,                        0..;
    }

    pub struct PartitionData {
        partition_index: i32,                                  0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        acknowledge_error_code: i16,                           0..;
        acknowledge_error_message: Option<String>,             0..;
        current_leader: LeaderIdAndEpoch,                      0..;
        records: Option<Records>,                              0.., (null 0..=0);
        acquired_records: Vec<AcquiredRecords>,                0..;
    }

    pub struct LeaderIdAndEpoch {
        leader_id: i32,                                        0..;
        leader_epoch: i32,                                     0..;
    }

    pub struct AcquiredRecords {
        first_offset: i64,                                     0..;
        last_offset: i64,                                      0..;
        delivery_count: i16,                                   0..;
    }

    pub struct NodeEndpoint {
        node_id: i32,                                          0..;
        host: String,                                          0..;
        port: i32,                                             0..;
        rack: Option<String>,                                  0..;
    }
}
