//! SaslHandshake (API key 17), versions 0–1: which mechanism a client logs in with. After version 0 its tokens come
//! without requests around them.

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    login::MECHANISMS,
    wire::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse},
};

pub async fn handle(call: Call, request: SaslHandshakeRequest) -> SaslHandshakeResponse {
    let known = call.client.login.lock().on_handshake(call.version, &request.mechanism);
    let (error, mechanisms) = match known {
        None => (ErrorCode::IllegalSaslState, &[][..]),
        Some(false) => (ErrorCode::UnsupportedSaslMechanism, MECHANISMS),
        Some(true) => (ErrorCode::None, MECHANISMS),
    };
    SaslHandshakeResponse {
        error_code: error.code(),
        mechanisms: mechanisms.iter().map(|(name, _)| (*name).to_owned()).collect(),
    }
}
