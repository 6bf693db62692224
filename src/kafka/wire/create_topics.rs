//! CreateTopics (API key 19), versions 2-7.
//!
//! 4 allows -1 for the default number of partitions and replicas (KIP-464), 5 is flexible and answers the topic's
//! configuration (KIP-525), 7 its id.

use uuid::Uuid;

use super::message;

message! {
    message 19, flexible 5;
    pub struct CreateTopicsRequest {
        topics: Vec<CreatableTopic>,                           0..;
        timeout_ms: i32 = 60_000,                              0..;
        validate_only: bool,                                   1..;
    }

    pub struct CreatableTopic {
        name: String,                                          0..;
        num_partitions: i32,                                   0..;
        replication_factor: i16,                               0..;
        assignments: Vec<CreatableReplicaAssignment>,          0..;
        configs: Vec<CreatableTopicConfig>,                    0..;
    }

    pub struct CreatableReplicaAssignment {
        partition_index: i32,                                  0..;
        broker_ids: Vec<i32>,                                  0..;
    }

    pub struct CreatableTopicConfig {
        name: String,                                          0..;
        value: Option<String>,                                 0..;
    }

    message 19, flexible 5;
    pub struct CreateTopicsResponse {
        throttle_time_ms: i32,                                 2..;
        topics: Vec<CreatableTopicResult>,                     0..;
    }

    pub struct CreatableTopicResult {
        name: String,                                          0..;
        topic_id: Uuid,                                        7.., ignorable;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         1..;
        topic_config_error_code: i16,                          5.., (tag 0), ignorable;
        num_partitions: i32 = -1,                              5.., ignorable;
        replication_factor: i16 = -1,                          5.., ignorable;
        configs: Option<Vec<CreatableTopicConfigs>>,           5.., ignorable;
    }

    pub struct CreatableTopicConfigs {
        name: String,                                          5..;
        value: Option<String>,                                 5..;
        read_only: bool,                                       5..;
        config_source: i8 = -1,                                5.., ignorable;
        is_sensitive: bool,                                    5..;
    }
}
