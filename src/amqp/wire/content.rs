//! A method with content: method frame, header frame, body frames, straight into a buffer.
//!
//! One function for `basic.deliver`, `basic.get-ok`, `basic.return`, and for `basic.publish` when we are the client.

use bytes::BytesMut;

use super::{Arguments, frame};

/// Room for a method frame with three short strings, and the frames' heads and ends.
const HEADS_BYTES: usize = 3 * 256 + 64;

/// Appends all frames of a content. `properties` are flags and list as on the wire.
#[inline]
pub fn encode<'a, M: Arguments<'a>>(
    out: &mut BytesMut,
    channel: u16,
    method: &M,
    properties: &[u8],
    body: &[u8],
    frame_max: u32,
) {
    out.reserve(HEADS_BYTES + properties.len() + body.len());
    encode_heads(out, channel, method, properties, body.len());
    frame::put_body(out, channel, body, frame_max);
}

/// Appends the method and header frames only, for callers that send the body's frames themselves.
#[inline]
pub fn encode_heads<'a, M: Arguments<'a>>(
    out: &mut BytesMut,
    channel: u16,
    method: &M,
    properties: &[u8],
    body_bytes: usize,
) {
    frame::put_method(out, channel, method);
    let body_bytes = u64::try_from(body_bytes).unwrap_or(u64::MAX);
    frame::put_header(out, channel, M::ID.class, body_bytes, properties);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::wire::{basic, frame::Frame};

    #[test]
    fn a_delivery_is_a_method_a_header_and_bodies_within_the_limit() {
        let deliver = basic::Deliver {
            consumer_tag: "ctag",
            delivery_tag: 7,
            redelivered: true,
            exchange: "",
            routing_key: "hello",
        };
        let (body, mut out) = (vec![9; 5000], BytesMut::new());
        encode(&mut out, 3, &deliver, &[0x10, 0, 2], &body, 4096);
        let (mut rest, mut got) = (&out[..], Vec::new());
        let mut frames = 0;
        while let Some((raw, len)) = frame::next(rest, 4096).unwrap() {
            assert_eq!(raw.channel, 3);
            match (frames, raw.frame().unwrap()) {
                (0, Frame::Method(payload)) => {
                    assert_eq!(basic::Deliver::decode_all(&payload[4..]), Ok(deliver.clone()));
                }
                (1, Frame::Header(header)) => {
                    assert_eq!(
                        (header.class_id, header.body_bytes, header.properties),
                        (60, 5000, &[0x10, 0, 2][..])
                    );
                }
                (2 | 3, Frame::Body(part)) => got.extend_from_slice(part),
                other => panic!("{other:?}"),
            }
            rest = &rest[len..];
            frames += 1;
        }
        assert_eq!((got, rest.len(), frames), (body, 0, 4));
    }
}
