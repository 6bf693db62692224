//! From a frame to a handler at work: the only place that brings `wire` and `handle` together, out of the API table.

use std::pin::Pin;

use bytes::Bytes;

use super::{
    api::{ApiKey, advertised, api},
    call::{Call, Reply},
    fault::ErrorCode,
    handle,
    wire::{
        self, Malformed, Message, Unsupported,
        api_versions::{ApiVersion, ApiVersionsResponse},
        header::{API_VERSIONS_KEY, encode_response},
    },
};

/// A frame to send (nothing, with acks=0), or why the connection is closed.
pub(super) type Outcome = Result<Vec<Bytes>, String>;

/// A handler at work.
pub(super) type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

macro_rules! dispatch {
    ($($number:literal $name:ident $module:ident $request:ident $response:ident $min:literal..=$max:literal from $served:literal;)+) => {
        /// Decodes a request and starts its handler. It is at work once it is polled.
        pub(super) fn start(
            key: ApiKey,
            call: Call,
            correlation_id: i32,
            body: Bytes,
        ) -> Result<Work, Malformed> {
            match key {$(
                ApiKey::$name => {
                    let version = call.version;
                    let request = wire::$module::$request::decode(body, version)?;
                    Ok(Box::pin(async move {
                        let reply = handle::$module::handle(call, request).await;
                        frame::<wire::$module::$response>(correlation_id, version, reply.into())
                    }))
                }
            )+}
        }
    };
}
for_each_api!(dispatch);

fn frame<R: Message>(correlation_id: i32, version: i16, reply: Reply<R>) -> Outcome {
    match reply {
        Reply::Answer(response) => encode_response(correlation_id, version, &response)
            .map_err(|error: Unsupported| format!("the answer cannot be written: {error}")),
        Reply::Silence => Ok(Vec::new()),
        Reply::Close(reason) => Err(reason),
    }
}

/// The answer to an ApiVersions request newer than we know: in version 0, which every client reads, with the versions
/// of ApiVersions alone, so that it asks again (KIP-511; franz-go begins with version 5).
pub(super) fn api_versions_fallback(correlation_id: i32) -> Outcome {
    let of_itself = |entry: &ApiVersion| entry.api_key == API_VERSIONS_KEY;
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: advertised().into_iter().filter(of_itself).collect(),
        ..ApiVersionsResponse::default()
    };
    encode_response(correlation_id, 0, &response).map_err(|error| error.to_string())
}

/// Whether a request of that key and version has a handler.
pub(super) fn served(number: i16, version: i16) -> Option<ApiKey> {
    let api = api(number)?;
    // Produce 0-2 is advertised for librdkafka's sake; its handler refuses it in the answer.
    let advertised = api.key == ApiKey::Produce && (api.version_min..=api.version_max).contains(&version);
    (api.serves(version) || advertised).then_some(api.key)
}
