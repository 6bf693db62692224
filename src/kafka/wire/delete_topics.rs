//! DeleteTopics (API key 20), versions 1-6.
//!
//! 4 is flexible, 5 adds an error message, 6 names topics by name or id.

use uuid::Uuid;

use super::message;

message! {
    message 20, flexible 4;
    pub struct DeleteTopicsRequest {
        topics: Vec<DeleteTopicState>,                         6..;
        topic_names: Vec<String>,                              0..=5, ignorable;
        timeout_ms: i32,                                       0..;
    }

    pub struct DeleteTopicState {
        name: Option<String>,                                  6..;
        topic_id: Uuid,                                        6..;
    }

    message 20, flexible 4;
    pub struct DeleteTopicsResponse {
        throttle_time_ms: i32,                                 1..;
        responses: Vec<DeletableTopicResult>,                  0..;
    }

    pub struct DeletableTopicResult {
        name: Option<String>,                                  0.., (null 6..);
        topic_id: Uuid,                                        6.., ignorable;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         5.., ignorable;
    }
}
