//! ExpireDelegationToken (API key 40), versions 1-2; 2 is flexible.

use bytes::Bytes;

use super::message;

message! {
    message 40, flexible 2;
    pub struct ExpireDelegationTokenRequest {
        hmac: Bytes,                                           0..;
        expiry_time_period_ms: i64,                            0..;
    }

    message 40, flexible 2;
    pub struct ExpireDelegationTokenResponse {
        error_code: i16,                                       0..;
        expiry_timestamp_ms: i64,                              0..;
        throttle_time_ms: i32,                                 0..;
    }
}
