//! RenewDelegationToken (API key 39), versions 1-2; 2 is flexible.

use bytes::Bytes;

use super::message;

message! {
    message 39, flexible 2;
    pub struct RenewDelegationTokenRequest {
        hmac: Bytes,                                           0..;
        renew_period_ms: i64,                                  0..;
    }

    message 39, flexible 2;
    pub struct RenewDelegationTokenResponse {
        error_code: i16,                                       0..;
        expiry_timestamp_ms: i64,                              0..;
        throttle_time_ms: i32,                                 0..;
    }
}
