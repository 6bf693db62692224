//! EndTxn (API key 26), versions 0-5.
//!
//! 2 answers PRODUCER_FENCED, 3 is flexible, 4 answers TRANSACTION_ABORTABLE, 5 gives the producer its next epoch (KIP-890).

use super::message;

message! {
    message 26, flexible 3;
    pub struct EndTxnRequest {
        transactional_id: String,                              0..;
        producer_id: i64,                                      0..;
        producer_epoch: i16,                                   0..;
        committed: bool,                                       0..;
    }

    message 26, flexible 3;
    pub struct EndTxnResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        producer_id: i64 = -1,                                 5.., ignorable;
        producer_epoch: i16 = -1,                              5.., ignorable;
    }
}
