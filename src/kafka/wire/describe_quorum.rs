//! DescribeQuorum (API key 55), versions 0-2.
//!
//! 1 adds when a replica fetched last (KIP-836), 2 error texts, directories and nodes (KIP-853).

use uuid::Uuid;

use super::message;

message! {
    message 55, flexible 0;
    pub struct DescribeQuorumRequest {
        topics: Vec<TopicData>,                                0..;
    }

    pub struct TopicData {
        topic_name: String,                                    0..;
        partitions: Vec<PartitionData>,                        0..;
    }

    pub struct PartitionData {
        partition_index: i32,                                  0..;
    }

    message 55, flexible 0;
    pub struct DescribeQuorumResponse {
        error_code: i16,                                       0..;
        error_message: Option<String>,                         2.., ignorable;
        topics: Vec<TopicDataResult>,                          0..;
        nodes: Vec<Node>,                                      2..;
    }

    pub struct TopicDataResult {
        topic_name: String,                                    0..;
        partitions: Vec<PartitionDataResult>,                  0..;
    }

    pub struct PartitionDataResult {
        partition_index: i32,                                  0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         2.., ignorable;
        leader_id: i32,                                        0..;
        leader_epoch: i32,                                     0..;
        high_watermark: i64,                                   0..;
        current_voters: Vec<ReplicaState>,                     0..;
        observers: Vec<ReplicaState>,                          0..;
    }

    pub struct ReplicaState {
        replica_id: i32,                                       0..;
        replica_directory_id: Uuid,                            2..;
        log_end_offset: i64,                                   0..;
        last_fetch_timestamp: i64 = -1,                        1.., ignorable;
        last_caught_up_timestamp: i64 = -1,                    1.., ignorable;
    }

    pub struct Node {
        node_id: i32,                                          2..;
        listeners: Vec<Listener>,                              2..;
    }

    pub struct Listener {
        name: String,                                          2..;
        host: String,                                          2..;
        port: u16,                                             2..;
    }
}
