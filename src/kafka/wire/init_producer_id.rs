//! InitProducerId (API key 22), versions 0-5.
//!
//! 2 is flexible, 3 lets a producer bump its own epoch (KIP-360), 4 answers PRODUCER_FENCED.

use super::message;

message! {
    message 22, flexible 2;
    pub struct InitProducerIdRequest {
        transactional_id: Option<String>,                      0..;
        transaction_timeout_ms: i32,                           0..;
        producer_id: i64 = -1,                                 3..;
        producer_epoch: i16 = -1,                              3..;
    }

    message 22, flexible 2;
    pub struct InitProducerIdResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        producer_id: i64 = -1,                                 0..;
        producer_epoch: i16,                                   0..;
    }
}
