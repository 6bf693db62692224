//! SaslAuthenticate (API key 36), versions 0–2: a token of the mechanism. Version 1: how long the login lasts (KIP-368).

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse},
};

pub async fn handle(call: Call, request: SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    let refused = |error: ErrorCode, text: String| SaslAuthenticateResponse {
        error_code: error.code(),
        error_message: Some(text),
        ..SaslAuthenticateResponse::default()
    };
    match call.client.log_in(call.now, &request.auth_bytes).await {
        None => refused(
            ErrorCode::IllegalSaslState,
            "SaslAuthenticate request received after successful authentication".to_owned(),
        ),
        Some(Err(failed)) => refused(ErrorCode::SaslAuthenticationFailed, failed.0),
        Some(Ok(step)) => SaslAuthenticateResponse {
            auth_bytes: step.token.into(),
            session_lifetime_ms: step.lifetime_ms,
            ..SaslAuthenticateResponse::default()
        },
    }
}
