//! Frames (§2.3.5, §4.2.2-§4.2.3): the protocol header, finding a frame's end, and writing frames.
//!
//! Two steps, because they fail differently. [`next`] finds the next frame's end: when it errs, the place in the stream
//! is lost. [`Raw::frame`] looks inside a whole frame: when it errs, the stream goes on behind it. Nothing is copied.

use bytes::{BufMut, BytesMut};
use nom::{
    IResult, Parser,
    number::streaming::{be_u8, be_u16, be_u32},
};

use super::{Arguments, Malformed, Method, Snippet, header::Header, writer::Writer, writer::length_u32};

/// Type, channel, size; and the end octet.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + 1;
/// What follows every payload.
pub const END: u8 = 0xCE;
/// What we speak, as a client says it and as we answer who says otherwise.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
/// A heartbeat, whole.
pub const HEARTBEAT: [u8; 8] = [TYPE_HEARTBEAT, 0, 0, 0, 0, 0, 0, END];

/// Type, channel, size.
pub const HEAD_BYTES: usize = 7;
const TYPE_METHOD: u8 = 1;
const TYPE_HEADER: u8 = 2;
const TYPE_BODY: u8 = 3;
const TYPE_HEARTBEAT: u8 = 8;
/// RabbitMQ takes payloads this much over the limit (`FRAME_SIZE_FUDGE`): old clients count the limit without the head.
const TOLERANCE_BYTES: u32 = 8;

/// What a client's first eight octets ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// AMQP 0-9-1, also in the spelling of 0-9 (`1 1 0 9`).
    Amqp091,
    /// `AMQP 0 0` with another version from 0-9 on.
    OtherRevision,
    /// AMQP 1.0, with (3) or without (0) SASL.
    Amqp10,
    /// Something else altogether.
    Foreign,
}

/// Reads the protocol header; `None` while fewer than eight octets have come.
#[must_use]
pub fn greeting(input: &[u8]) -> Option<Greeting> {
    let header = input.first_chunk::<8>()?;
    Some(match header {
        [b'A', b'M', b'Q', b'P', 0, 0, 9, 1] | [b'A', b'M', b'Q', b'P', 1, 1, 0, 9] => Greeting::Amqp091,
        [b'A', b'M', b'Q', b'P', 0, 0, 9..=255, _] => Greeting::OtherRevision,
        [b'A', b'M', b'Q', b'P', 0 | 3, 1, 0, 0] => Greeting::Amqp10,
        _ => Greeting::Foreign,
    })
}

/// A whole frame, not yet looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    pub frame_type: u8,
    pub channel: u16,
    pub payload: &'a [u8],
}

/// A frame by its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Frame<'a> {
    /// At least a class and a method id.
    Method(&'a [u8]),
    Header(Header<'a>),
    Body(&'a [u8]),
    Heartbeat,
}

/// The frame at the front of `input` and how many octets it takes; `None` while it is not whole.
///
/// The size is checked before anything is waited for, so that nobody makes us gather what we will refuse.
/// `frame_max` is what was negotiated, 0 for no limit.
///
/// # Errors
/// When the frame is too large or does not end where it should: where the next one starts is then unknown.
pub fn next(input: &[u8], frame_max: u32) -> Result<Option<(Raw<'_>, usize)>, Malformed> {
    let Ok((rest, (frame_type, channel, payload_bytes))) = head(input) else { return Ok(None) };
    let payload_bytes_max = frame_max.saturating_sub(length_u32(OVERHEAD_BYTES));
    if frame_max != 0 && payload_bytes > payload_bytes_max.saturating_add(TOLERANCE_BYTES) {
        return Err(Malformed::FrameTooLarge { frame_type, payload_bytes, payload_bytes_max });
    }
    let Ok(payload_len) = usize::try_from(payload_bytes) else { return Ok(None) };
    let Some((payload, rest)) = rest.split_at_checked(payload_len) else { return Ok(None) };
    match rest.first() {
        None => Ok(None),
        Some(&END) => Ok(Some((Raw { frame_type, channel, payload }, payload_len + OVERHEAD_BYTES))),
        Some(&end) => Err(Malformed::FrameEnd { frame_type, octets: Snippet::of(payload), end }),
    }
}

fn head(input: &[u8]) -> IResult<&[u8], (u8, u16, u32)> {
    (be_u8, be_u16, be_u32).parse(input)
}

/// What is known of a body frame that is not whole.
#[derive(Debug, Clone, Copy)]
pub struct BodyHead {
    pub channel: u16,
    pub payload_bytes: usize,
    pub began: Began,
}

/// How a body frame's payload begins, for whom it may end wrongly.
#[derive(Debug, Clone, Copy)]
pub struct Began(Snippet);

impl Began {
    /// The error when the frame ends with another octet than it should.
    #[must_use]
    pub fn bad_end(self, end: u8) -> Malformed {
        Malformed::FrameEnd { frame_type: TYPE_BODY, octets: self.0, end }
    }
}

/// The head of a large body frame at the front of `input`, of which enough has come to begin with it, and which [`next`]
/// has not refused.
#[must_use]
pub fn body_head(input: &[u8], frame_max: u32) -> Option<BodyHead> {
    let Ok((rest, (TYPE_BODY, channel @ 1.., payload_bytes))) = head(input) else { return None };
    let payload_bytes_max = frame_max.saturating_sub(length_u32(OVERHEAD_BYTES));
    let fits = frame_max == 0 || payload_bytes <= payload_bytes_max.saturating_add(TOLERANCE_BYTES);
    let payload_bytes = usize::try_from(payload_bytes).ok()?;
    let large = payload_bytes >= PARTIAL_BYTES_MIN && rest.len() >= Snippet::OCTETS_MAX;
    (fits && large).then(|| {
        let began = Began(Snippet::of_begun(rest));
        BodyHead { channel, payload_bytes, began }
    })
}

/// Body frames from this size on are taken as they come. Small under test, so that any are.
const PARTIAL_BYTES_MIN: usize = if cfg!(test) { 64 } else { 16 * 1024 };

impl<'a> Raw<'a> {
    /// Looks inside.
    ///
    /// # Errors
    /// When the type is unknown, the payload cannot be one of that type, or such a frame may not be on that channel.
    #[inline]
    pub fn frame(&self) -> Result<Frame<'a>, Malformed> {
        let frame = match self.frame_type {
            TYPE_METHOD if self.payload.len() >= 4 => Frame::Method(self.payload),
            TYPE_HEADER => Frame::Header(Header::decode(self.payload).ok_or_else(|| self.unknown())?),
            TYPE_BODY => Frame::Body(self.payload),
            TYPE_HEARTBEAT if self.payload.is_empty() => Frame::Heartbeat,
            _ => return Err(self.unknown()),
        };
        let misplaced = match frame {
            Frame::Method(_) => false,
            Frame::Header(_) | Frame::Body(_) => self.channel == 0,
            Frame::Heartbeat => self.channel != 0,
        };
        if misplaced { Err(self.unexpected()) } else { Ok(frame) }
    }

    /// The error for this frame where none of its kind may be.
    #[must_use]
    pub fn unexpected(&self) -> Malformed {
        Malformed::UnexpectedFrame { frame_type: self.frame_type, octets: Snippet::of(self.payload) }
    }

    fn unknown(&self) -> Malformed {
        Malformed::UnknownFrame { frame_type: self.frame_type, octets: Snippet::of(self.payload) }
    }
}

/// Appends a method frame with these arguments.
#[inline]
pub fn put_method<'a, M: Arguments<'a>>(out: &mut BytesMut, channel: u16, method: &M) {
    let at = open(out, TYPE_METHOD, channel);
    out.put_u16(M::ID.class);
    out.put_u16(M::ID.method);
    let mut w = Writer::new(out);
    method.encode(&mut w);
    w.finish();
    close(out, at);
}

/// Appends a method frame with whatever method.
pub fn put_any_method(out: &mut BytesMut, channel: u16, method: &Method<'_>) {
    let at = open(out, TYPE_METHOD, channel);
    method.encode(out);
    close(out, at);
}

/// Appends a header frame: `properties` are the property flags and list as they stand on the wire.
#[inline]
pub fn put_header(out: &mut BytesMut, channel: u16, class_id: u16, body_bytes: u64, properties: &[u8]) {
    put_head(out, TYPE_HEADER, channel, 12 + properties.len());
    out.put_u16(class_id);
    out.put_u16(0);
    out.put_u64(body_bytes);
    out.put_slice(properties);
    out.put_u8(END);
}

/// Appends the body frames of a body; none for an empty one.
#[inline]
pub fn put_body(out: &mut BytesMut, channel: u16, body: &[u8], frame_max: u32) {
    for part in body.chunks(body_part_bytes_max(frame_max)) {
        put_body_head(out, channel, part.len());
        out.put_slice(part);
        out.put_u8(END);
    }
}

/// Appends what precedes `part_bytes` octets of body, for callers that send them as a slice, then [`END`].
#[inline]
pub fn put_body_head(out: &mut BytesMut, channel: u16, part_bytes: usize) {
    put_head(out, TYPE_BODY, channel, part_bytes);
}

/// The most body octets one frame carries.
#[must_use]
pub fn body_part_bytes_max(frame_max: u32) -> usize {
    let frame_max = if frame_max == 0 { u32::MAX } else { frame_max };
    usize::try_from(frame_max).unwrap_or(usize::MAX).saturating_sub(OVERHEAD_BYTES).max(1)
}

fn put_head(out: &mut BytesMut, frame_type: u8, channel: u16, payload_bytes: usize) {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = length_u32(payload_bytes).to_be_bytes();
    out.put_slice(&[frame_type, c0, c1, s0, s1, s2, s3]);
}

/// Starts a frame whose size is not known yet; [`close`] writes it.
fn open(out: &mut BytesMut, frame_type: u8, channel: u16) -> usize {
    let at = out.len();
    put_head(out, frame_type, channel, 0);
    at
}

fn close(out: &mut BytesMut, at: usize) {
    let size = length_u32(out.len().saturating_sub(at + HEAD_BYTES));
    if let Some(place) = out.get_mut(at + 3..at + HEAD_BYTES) {
        place.copy_from_slice(&size.to_be_bytes());
    }
    out.put_u8(END);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(frame_type: u8, channel: u16, payload: &[u8], end: u8) -> Vec<u8> {
        let mut bytes = vec![frame_type];
        bytes.extend(channel.to_be_bytes());
        bytes.extend(length_u32(payload.len()).to_be_bytes());
        bytes.extend(payload);
        bytes.push(end);
        bytes
    }

    #[test]
    fn a_greeting_is_recognised_by_its_eight_octets() {
        let check = |bytes: &[u8], expected| assert_eq!(greeting(bytes), expected);
        check(b"AMQP\x00\x00\x09\x01more", Some(Greeting::Amqp091));
        check(b"AMQP\x01\x01\x00\x09", Some(Greeting::Amqp091));
        check(b"AMQP\x00\x00\x09\x00", Some(Greeting::OtherRevision));
        check(b"AMQP\x00\x00\x0a\x00", Some(Greeting::OtherRevision));
        check(b"AMQP\x00\x00\x08\x00", Some(Greeting::Foreign));
        check(b"AMQP\x03\x01\x00\x00", Some(Greeting::Amqp10));
        check(b"AMQP\x00\x01\x00\x00", Some(Greeting::Amqp10));
        check(b"GET / HT", Some(Greeting::Foreign));
        check(b"AMQP\x00\x00\x09", None);
        check(b"", None);
    }

    #[test]
    fn a_frame_is_there_once_its_last_octet_is() {
        let bytes = frame(1, 7, &[0, 20, 0, 10, 0], END);
        for cut in 0..bytes.len() {
            assert_eq!(next(&bytes[..cut], 4096), Ok(None));
        }
        let (raw, len) = next(&bytes, 4096).unwrap().unwrap();
        assert_eq!((raw.channel, len), (7, bytes.len()));
        assert_eq!(raw.frame(), Ok(Frame::Method(&[0, 20, 0, 10, 0])));
    }

    #[test]
    fn the_size_is_refused_before_the_payload_has_come() {
        let head = |size: u32| [&[3, 0, 1][..], &size.to_be_bytes()].concat();
        assert_eq!(next(&head(8192), 8192), Ok(None), "8 octets over are tolerated");
        assert_eq!(
            next(&head(20000), 8192),
            Err(Malformed::FrameTooLarge { frame_type: 3, payload_bytes: 20000, payload_bytes_max: 8184 })
        );
        assert_eq!(next(&head(8193), 0), Ok(None));
        assert!(next(&head(u32::MAX), u32::MAX).is_ok());
    }

    #[test]
    fn a_wrong_end_octet_quotes_the_payload() {
        let error = Malformed::FrameEnd { frame_type: 1, octets: Snippet::of(&[0, 20, 0, 10]), end: 0 };
        assert_eq!(next(&frame(1, 1, &[0, 20, 0, 10], 0), 4096), Err(error));
    }

    #[test]
    fn a_whole_frame_may_still_be_nonsense() {
        let raw = |frame_type, channel, payload| Raw { frame_type, channel, payload };
        for nonsense in [raw(9, 1, &[][..]), raw(1, 1, &[0, 10, 0]), raw(2, 1, &[0; 11]), raw(8, 0, &[1])] {
            assert_eq!(nonsense.frame(), Err(nonsense.unknown()));
        }
        for misplaced in [raw(8, 1, &[][..]), raw(2, 0, &[0; 14]), raw(3, 0, &[])] {
            assert_eq!(misplaced.frame(), Err(misplaced.unexpected()));
        }
        assert_eq!(raw(8, 0, &[]).frame(), Ok(Frame::Heartbeat));
    }

    #[test]
    fn a_body_is_cut_at_the_frame_limit() {
        let check = |body_len: usize, frame_max: u32, expected: &[usize]| {
            let (body, mut out) = (vec![7; body_len], BytesMut::new());
            put_body(&mut out, 1, &body, frame_max);
            let (mut rest, mut parts) = (&out[..], Vec::new());
            while let Some((raw, len)) = next(rest, 0).unwrap() {
                parts.push(raw.payload.len());
                rest = &rest[len..];
            }
            assert_eq!(parts, expected);
            assert!(rest.is_empty());
        };
        check(0, 4096, &[]);
        check(4088, 4096, &[4088]);
        check(4089, 4096, &[4088, 1]);
        check(9000, 0, &[9000]);
    }
}
