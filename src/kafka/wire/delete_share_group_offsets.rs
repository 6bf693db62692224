//! DeleteShareGroupOffsets (API key 92), version 0 (KIP-932).

use uuid::Uuid;

use super::message;

message! {
    message 92, flexible 0;
    pub struct DeleteShareGroupOffsetsRequest {
        group_id: String,                                      0..;
        topics: Vec<DeleteShareGroupOffsetsRequestTopic>,      0..;
    }

    pub struct DeleteShareGroupOffsetsRequestTopic {
        topic_name: String,                                    0..;
    }

    message 92, flexible 0;
    pub struct DeleteShareGroupOffsetsResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        responses: Vec<DeleteShareGroupOffsetsResponseTopic>,  0..;
    }

    pub struct DeleteShareGroupOffsetsResponseTopic {
        topic_name: String,                                    0..;
        topic_id: Uuid,                                        0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
    }
}
