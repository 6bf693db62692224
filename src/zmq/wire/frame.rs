//! Frames (37/ZMTP "Framing"): flags, a size of one octet or eight, and so many octets.
//!
//! Nothing is copied, and a size that is too large is refused before its octets have come.

use bytes::{BufMut, BytesMut};
use nom::{
    IResult, Parser,
    bytes::streaming::take,
    number::streaming::{be_u8, be_u64},
};

use super::Malformed;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Flags and a size of eight octets.
pub const HEAD_BYTES_MAX: usize = 9;

/// What a frame is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Command,
    /// A part of a message, and whether another follows.
    Message {
        more: bool,
    },
}

/// A whole frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: Kind,
    pub body: &'a [u8],
}

/// What the front of the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front<'a> {
    Whole {
        frame: Frame<'a>,
        /// All of it, head and body.
        bytes: usize,
    },
    /// Not all of a frame is there; so much is missing at least.
    Incomplete { missing: usize },
}

/// Finds the frame at the front of `input`.
///
/// # Errors
/// Flags that mean nothing, or a body of more than `body_bytes_max`: the place in the stream is lost.
#[inline]
pub fn next(input: &[u8], body_bytes_max: usize) -> Result<Front<'_>, Malformed> {
    let Some(&flags) = input.first() else { return Ok(Front::Incomplete { missing: 2 }) };
    let kind = kind(flags)?;
    let Ok((rest, size)) = size(input) else {
        return Ok(Front::Incomplete { missing: 1 });
    };
    let bytes = usize::try_from(size).ok().filter(|&bytes| bytes <= body_bytes_max);
    let Some(bytes) = bytes else {
        return Err(Malformed::FrameTooLong { bytes: size, bytes_max: body_bytes_max });
    };
    match body(rest, bytes) {
        Ok((behind, body)) => {
            let bytes = input.len() - behind.len();
            Ok(Front::Whole { frame: Frame { kind, body }, bytes })
        }
        Err(_) => Ok(Front::Incomplete { missing: bytes - rest.len() }),
    }
}

fn kind(flags: u8) -> Result<Kind, Malformed> {
    match flags & !LONG {
        0 => Ok(Kind::Message { more: false }),
        MORE => Ok(Kind::Message { more: true }),
        COMMAND => Ok(Kind::Command),
        _ => Err(Malformed::Flags(flags)),
    }
}

fn size(input: &[u8]) -> IResult<&[u8], u64> {
    let (rest, flags) = be_u8(input)?;
    if flags & LONG == 0 { be_u8.map(u64::from).parse(rest) } else { be_u64(rest) }
}

fn body(input: &[u8], bytes: usize) -> IResult<&[u8], &[u8]> {
    take(bytes)(input)
}

/// Appends a frame's head; its body of `bytes` follows.
#[inline]
pub fn put_head(out: &mut BytesMut, kind: Kind, bytes: usize) {
    let flags = match kind {
        Kind::Command => COMMAND,
        Kind::Message { more: true } => MORE,
        Kind::Message { more: false } => 0,
    };
    match u8::try_from(bytes) {
        Ok(size) => out.put_slice(&[flags, size]),
        Err(_) => {
            out.put_u8(flags | LONG);
            out.put_u64(bytes as u64);
        }
    }
}

/// Appends a frame.
#[inline]
pub fn put(out: &mut BytesMut, kind: Kind, body: &[u8]) {
    put_head(out, kind, body.len());
    out.put_slice(body);
}

/// The flags octet that travels inside a CURVE message, instead of that of its frame (26/CURVEZMQ).
#[must_use]
pub fn inner_flags(kind: Kind) -> u8 {
    match kind {
        Kind::Message { more: false } => 0,
        Kind::Message { more: true } => 1,
        Kind::Command => 2,
    }
}

/// What [`inner_flags`] say.
///
/// # Errors
/// They mean nothing.
pub fn inner_kind(flags: u8) -> Result<Kind, Malformed> {
    match flags {
        0 => Ok(Kind::Message { more: false }),
        1 => Ok(Kind::Message { more: true }),
        2 => Ok(Kind::Command),
        _ => Err(Malformed::Flags(flags)),
    }
}
