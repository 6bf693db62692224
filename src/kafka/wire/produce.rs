//! Produce (API key 0), versions 3-13 (0-2 are advertised, because librdkafka looks for them, and refused).
//!
//! 3 is record batch 2 with a transactional id, 5 the log start offset, 7 zstd, 8 errors by record, 9 flexible, 10 the
//! leader in the answer (KIP-951), 11-12 transactions v2 (KIP-890), 13 topics by id. A record set is a slice of the frame.

use bytes::Bytes;
use uuid::Uuid;

use super::message;

message! {
    message 0, flexible 9;
    pub struct ProduceRequest {
        transactional_id: Option<String>,                      3..;
        acks: i16,                                             0..;
        timeout_ms: i32,                                       0..;
        topic_data: Vec<TopicProduceData>,                     0..;
    }

    pub struct TopicProduceData {
        name: String,                                          0..=12, ignorable;
        topic_id: Uuid,                                        13.., ignorable;
        partition_data: Vec<PartitionProduceData>,             0..;
    }

    pub struct PartitionProduceData {
        index: i32,                                            0..;
        records: Option<Bytes>,                                0..;
    }

    message 0, flexible 9;
    pub struct ProduceResponse {
        responses: Vec<TopicProduceResponse>,                  0..;
        throttle_time_ms: i32,                                 1.., ignorable;
        node_endpoints: Vec<NodeEndpoint>,                     10.., (tag 0);
    }

    pub struct TopicProduceResponse {
        name: String,                                          0..=12, ignorable;
        topic_id: Uuid,                                        13.., ignorable;
        partition_responses: Vec<PartitionProduceResponse>,    0..;
    }

    pub struct PartitionProduceResponse {
        index: i32,                                            0..;
        error_code: i16,                                       0..;
        base_offset: i64,                                      0..;
        log_append_time_ms: i64 = -1,                          2.., ignorable;
        log_start_offset: i64 = -1,                            5.., ignorable;
        record_errors: Vec<BatchIndexAndErrorMessage>,         8.., ignorable;
        error_message: Option<String>,                         8.., ignorable;
        current_leader: LeaderIdAndEpoch,                      10.., (tag 0);
    }

    pub struct BatchIndexAndErrorMessage {
        batch_index: i32,                                      8..;
        batch_index_error_message: Option<String>,             8..;
    }

    pub struct LeaderIdAndEpoch {
        leader_id: i32 = -1,                                   10..;
        leader_epoch: i32 = -1,                                10..;
    }

    pub struct NodeEndpoint {
        node_id: i32,                                          10..;
        host: String,                                          10..;
        port: i32,                                             10..;
        rack: Option<String>,                                  10..;
    }
}
