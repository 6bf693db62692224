//! SaslHandshake (API key 17), versions 0-1, never flexible.
//!
//! After version 0 tokens follow without Kafka's framing, after 1 in SaslAuthenticate.

use super::message;

message! {
    message 17, flexible none;
    pub struct SaslHandshakeRequest {
        mechanism: String,                                     0..;
    }

    message 17, flexible none;
    pub struct SaslHandshakeResponse {
        error_code: i16,                                       0..;
        mechanisms: Vec<String>,                               0..;
    }
}
