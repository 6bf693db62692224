//! SaslAuthenticate (API key 36), versions 0-2.
//!
//! 1 adds the session's lifetime (KIP-368), 2 is flexible.

use bytes::Bytes;

use super::message;

message! {
    message 36, flexible 2;
    pub struct SaslAuthenticateRequest {
        auth_bytes: Bytes,                                     0..;
    }

    message 36, flexible 2;
    pub struct SaslAuthenticateResponse {
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        auth_bytes: Bytes,                                     0..;
        session_lifetime_ms: i64,                              1.., ignorable;
    }
}
