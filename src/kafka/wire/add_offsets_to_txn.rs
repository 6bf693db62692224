//! AddOffsetsToTxn (API key 25), versions 0-4.
//!
//! 2 answers PRODUCER_FENCED, 3 is flexible, 4 answers TRANSACTION_ABORTABLE.

use super::message;

message! {
    message 25, flexible 3;
    pub struct AddOffsetsToTxnRequest {
        transactional_id: String,                              0..;
        producer_id: i64,                                      0..;
        producer_epoch: i16,                                   0..;
        group_id: String,                                      0..;
    }

    message 25, flexible 3;
    pub struct AddOffsetsToTxnResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
    }
}
