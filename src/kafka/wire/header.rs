//! Request and response headers, and whole frames.
//!
//! Request header 1 has a client id, 2 also tagged fields (the client id stays a string with a 16-bit length);
//! response header 0 is the correlation id, 1 adds tagged fields. A flexible message has the later header, but an
//! ApiVersions answer always has response header 0, because the client does not yet know what the broker speaks.

use bytes::Bytes;

use super::{
    Malformed, Message, Reader, Unsupported, Writer,
    message::{Nullable, Wire},
};

/// ApiVersions, whose answer has the old header in every version.
pub const API_VERSIONS_KEY: i16 = 18;

/// What stands before every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header of a frame (without its length) and leaves the body. `flexible_from` is the API table's
    /// word on a key; a key it does not know has none.
    pub fn decode(
        frame: Bytes,
        flexible_from: impl FnOnce(i16) -> Option<i16>,
    ) -> Result<(Self, Bytes), Malformed> {
        let mut r = Reader::new(frame, 0, false);
        let api_key = r.i16()?;
        let api_version = r.i16()?;
        let correlation_id = r.i32()?;
        let client_id = r.nullable_string()?;
        let mut body =
            Reader::new(r.rest().clone(), 0, flexible_from(api_key).is_some_and(|v| api_version >= v));
        body.tagged(|_, _| Ok(()))?;
        Ok((Self { api_key, api_version, correlation_id, client_id }, body.rest().clone()))
    }
}

/// A whole request frame, with its length.
pub fn encode_request<M: Message>(header: &RequestHeader, request: &M) -> Result<Vec<Bytes>, Unsupported> {
    let flexible = header.api_version >= M::FLEXIBLE_FROM;
    let mut w = Writer::new(header.api_version, false);
    w.i32(0);
    w.i16(header.api_key);
    w.i16(header.api_version);
    w.i32(header.correlation_id);
    String::write_nullable(header.client_id.as_ref(), &mut w)?;
    body(w.into_flexible(flexible), flexible, request)
}

/// A whole response frame, with its length.
pub fn encode_response<M: Message>(
    correlation_id: i32,
    version: i16,
    response: &M,
) -> Result<Vec<Bytes>, Unsupported> {
    let flexible = version >= M::FLEXIBLE_FROM;
    let mut w = Writer::new(version, flexible);
    w.i32(0);
    w.i32(correlation_id);
    body(w, flexible && M::KEY != API_VERSIONS_KEY, response)
}

/// Reads a response frame (without its length): the correlation id and the body.
pub fn decode_response<M: Message>(frame: Bytes, version: i16) -> Result<(i32, M), Malformed> {
    let flexible = version >= M::FLEXIBLE_FROM;
    let mut r = Reader::new(frame, version, flexible);
    let correlation_id = r.i32()?;
    if M::KEY != API_VERSIONS_KEY {
        r.tagged(|_, _| Ok(()))?;
    }
    Ok((correlation_id, M::read(&mut r)?))
}

fn body(mut w: Writer, header_has_tags: bool, message: &impl Wire) -> Result<Vec<Bytes>, Unsupported> {
    if header_has_tags {
        w.uvarint(0);
    }
    message.write(&mut w)?;
    w.set_frame_length()?;
    Ok(w.into_chunks())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::wire::{
        api_versions::{ApiVersionsRequest, ApiVersionsResponse},
        fetch::{FetchResponse, FetchableTopicResponse, PartitionData},
        heartbeat::{HeartbeatRequest, HeartbeatResponse},
    };

    /// What librdkafka sends first.
    const API_VERSIONS_3: &[u8] = b"\0\x12\0\x03\0\0\0\x01\0\x07rdkafka\0\x0blibrdkafka\x062.0.2\0";
    /// A consumer's heartbeat in the last version that is not flexible.
    const HEARTBEAT_3: &[u8] = b"\0\x0c\0\x03\0\0\0\x07\xff\xff\0\x01g\0\0\0\x05\0\x02m1\xff\xff";

    fn flexible_from(key: i16) -> Option<i16> {
        [(12, 4), (18, 3)].into_iter().find(|&(k, _)| k == key).map(|(_, from)| from)
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], frame].concat()
    }

    #[test]
    fn a_flexible_request_has_tags_after_a_client_id_that_is_not_compact() {
        let frame = Bytes::from_static(API_VERSIONS_3);
        let (header, body) = RequestHeader::decode(frame, flexible_from).unwrap();
        assert_eq!((header.api_key, header.api_version, header.correlation_id), (18, 3, 1));
        assert_eq!(header.client_id.as_deref(), Some("rdkafka"));
        let request = ApiVersionsRequest::decode(body, 3).unwrap();
        assert_eq!(request.client_software_name, "librdkafka");
        assert_eq!(encode_request(&header, &request).unwrap().concat(), framed(API_VERSIONS_3));
    }

    #[test]
    fn an_older_request_has_neither() {
        let frame = Bytes::from_static(HEARTBEAT_3);
        let (header, body) = RequestHeader::decode(frame, flexible_from).unwrap();
        assert_eq!((header.api_key, header.client_id.as_ref()), (12, None));
        let request = HeartbeatRequest::decode(body, 3).unwrap();
        assert_eq!((&request.group_id[..], request.generation_id, &request.member_id[..]), ("g", 5, "m1"));
        assert_eq!(encode_request(&header, &request).unwrap().concat(), framed(HEARTBEAT_3));
    }

    #[test]
    fn an_answer_has_tags_after_the_correlation_id_unless_it_is_api_versions() {
        let heartbeat = encode_response(7, 4, &HeartbeatResponse::default()).unwrap().concat();
        assert_eq!(heartbeat, b"\0\0\0\x0c\0\0\0\x07\0\0\0\0\0\0\0\0");
        let versions = encode_response(7, 3, &ApiVersionsResponse::default()).unwrap().concat();
        assert_eq!(versions, b"\0\0\0\x0c\0\0\0\x07\0\0\x01\0\0\0\0\0");
        for (bytes, key) in [(heartbeat, 12), (versions, 18)] {
            let frame = Bytes::from(bytes).slice(4..);
            let id = if key == 12 {
                decode_response::<HeartbeatResponse>(frame, 4).unwrap().0
            } else {
                decode_response::<ApiVersionsResponse>(frame, 3).unwrap().0
            };
            assert_eq!(id, 7);
        }
    }

    #[test]
    fn a_fetch_answer_passes_stored_batches_on_without_a_copy() {
        let stored = [Bytes::from(vec![1; 4_000]), Bytes::from(vec![2; 4_000])];
        let partition =
            PartitionData { records: Some(stored.iter().cloned().collect()), ..Default::default() };
        let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        let chunks = encode_response(1, 18, &response).unwrap();
        for batch in &stored {
            assert!(
                chunks.iter().any(|chunk| chunk.as_ptr() == batch.as_ptr() && chunk.len() == batch.len())
            );
        }
        let frame = Bytes::from(chunks.concat());
        assert_eq!(
            frame.len() - 4,
            usize::try_from(Reader::new(frame.clone(), 0, false).i32().unwrap()).unwrap()
        );
        assert_eq!(decode_response(frame.slice(4..), 18), Ok((1, response)));
    }

    #[test]
    fn what_a_version_cannot_carry_is_refused_and_not_dropped() {
        let response = FetchResponse { session_id: 5, ..Default::default() };
        assert_eq!(encode_response(1, 6, &response), Err(Unsupported("session_id")));
        assert!(encode_response(1, 7, &response).is_ok());
    }
}
