//! ShareAcknowledge (API key 79), versions 1-2 (KIP-932). 2 has renewals, and says how long the lock is (KIP-1222).

use uuid::Uuid;

use super::message;

message! {
    message 79, flexible 0;
    pub struct ShareAcknowledgeRequest {
        group_id: Option<String>,                              0..;
        member_id: Option<String>,                             0..;
        share_session_epoch: i32,                              0..;
        is_renew_ack: bool,                                    2..;
        topics: Vec<AcknowledgeTopic>,                         0..;
    }

    pub struct AcknowledgeTopic {
        topic_id: Uuid,                                        0..;
        partitions: Vec<AcknowledgePartition>,                 0..;
    }

    pub struct AcknowledgePartition {
        partition_index: i32,                                  0..;
        acknowledgement_batches: Vec<AcknowledgementBatch>,    0..;
    }

    pub struct AcknowledgementBatch {
        first_offset: i64,                                     0..;
        last_offset: i64,                                      0..;
        acknowledge_types: Vec<i8>,                            0..;
    }

    message 79, flexible 0;
    pub struct ShareAcknowledgeResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        acquisition_lock_timeout_ms: i32,                      2.., ignorable;
        responses: Vec<ShareAcknowledgeTopicResponse>,         0..;
        node_endpoints: Vec<NodeEndpoint>,                     0..;
    }

    pub struct ShareAcknowledgeTopicResponse {
        topic_id: Uuid,                                        0..;
        partitions: Vec<PartitionData>,                        0..;
    }

    pub struct PartitionData {
        partition_index: i32,                                  0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        current_leader: LeaderIdAndEpoch,                      0..;
    }

    pub struct LeaderIdAndEpoch {
        leader_id: i32,                                        0..;
        leader_epoch: i32,                                     0..;
    }

    pub struct NodeEndpoint {
        node_id: i32,                                          0..;
        host: String,                                          0..;
        port: i32,                                             0..;
        rack: Option<String>,                                  0..;
    }
}
