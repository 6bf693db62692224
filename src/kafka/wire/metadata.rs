//! Metadata (API key 3), versions 0-13.
//!
//! Topics: version 0 asks for all by an empty list; from 1 null is all and the empty list none. 4 says whether to create
//! topics, 5 tells offline replicas, 7 leader epochs, 8-10 authorized operations of the cluster (later in
//! DescribeCluster), of topics from 8; 10 adds topic ids, 12 asks by id alone, 13 adds an error for the whole answer.

use uuid::Uuid;

use super::message;

message! {
    message 3, flexible 9;
    pub struct MetadataRequest {
        topics: Option<Vec<MetadataRequestTopic>>,             0.., (null 1..);
        allow_auto_topic_creation: bool = true,                4..;
        include_cluster_authorized_operations: bool,           8..=10;
        include_topic_authorized_operations: bool,             8..;
    }

    pub struct MetadataRequestTopic {
        topic_id: Uuid,                                        10.., ignorable;
        name: Option<String>,                                  0.., (null 10..);
    }

    message 3, flexible 9;
    pub struct MetadataResponse {
        throttle_time_ms: i32,                                 3.., ignorable;
        brokers: Vec<MetadataResponseBroker>,                  0..;
        cluster_id: Option<String>,                            2.., ignorable;
        controller_id: i32 = -1,                               1.., ignorable;
        topics: Vec<MetadataResponseTopic>,                    0..;
        cluster_authorized_operations: i32 = i32::MIN,         8..=10;
        error_code: i16,                                       13.., ignorable;
    }

    pub struct MetadataResponseBroker {
        node_id: i32,                                          0..;
        host: String,                                          0..;
        port: i32,                                             0..;
        rack: Option<String>,                                  1.., ignorable;
    }

    pub struct MetadataResponseTopic {
        error_code: i16,                                       0..;
        name: Option<String>,                                  0.., (null 12..);
        topic_id: Uuid,                                        10.., ignorable;
        is_internal: bool,                                     1.., ignorable;
        partitions: Vec<MetadataResponsePartition>,            0..;
        topic_authorized_operations: i32 = i32::MIN,           8..;
    }

    pub struct MetadataResponsePartition {
        error_code: i16,                                       0..;
        partition_index: i32,                                  0..;
        leader_id: i32,                                        0..;
        leader_epoch: i32 = -1,                                7.., ignorable;
        replica_nodes: Vec<i32>,                               0..;
        isr_nodes: Vec<i32>,                                   0..;
        offline_replicas: Vec<i32>,                            5.., ignorable;
    }
}
