//! What can be wrong with a peer's bytes, with what RabbitMQ's reply texts say of it.

use std::fmt;

use super::MethodId;
use crate::data::field;

/// Bytes that are not what the specification says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The frame's size is over what was negotiated (plus RabbitMQ's 8 octets of tolerance).
    #[error("frame of type {frame_type} has {payload_bytes} octets, at most {payload_bytes_max} are allowed")]
    FrameTooLarge { frame_type: u8, payload_bytes: u32, payload_bytes_max: u32 },
    /// The octet after the payload is not 0xCE.
    #[error("frame of type {frame_type} ends with {end} after {octets}")]
    FrameEnd { frame_type: u8, octets: Snippet, end: u8 },
    /// The type is none of method, header, body, heartbeat, or the payload cannot be one of that type.
    #[error("frame of unknown type {frame_type}: {octets}")]
    UnknownFrame { frame_type: u8, octets: Snippet },
    /// A whole frame that may not be where it is: a heartbeat on a channel, content on channel 0.
    #[error("frame of type {frame_type} where it may not be: {octets}")]
    UnexpectedFrame { frame_type: u8, octets: Snippet },
    /// No such class or method. RabbitMQ closes the socket without a word.
    #[error("unknown method {0}")]
    UnknownMethod(MethodId),
    /// The method's arguments do not follow its definition; the octets are its arguments' (at most the first 128,
    /// which already fill a reply text).
    #[error("cannot decode the arguments of {method}")]
    Arguments { method: MethodId, octets: Box<[u8]> },
    /// A short string of a method is not UTF-8.
    #[error("malformed UTF-8 in a short string of {method}")]
    ShortStrUtf8 { method: MethodId },
    /// A field, a table or a property list is broken.
    #[error(transparent)]
    Field(#[from] field::Malformed),
}

/// The start of a payload, as much as RabbitMQ quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snippet {
    octets: [u8; Self::OCTETS_MAX],
    len: usize,
    whole: bool,
}

impl Snippet {
    /// How much is quoted.
    pub const OCTETS_MAX: usize = 16;

    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        let mut octets = [0; Self::OCTETS_MAX];
        for (to, from) in octets.iter_mut().zip(payload) {
            *to = *from;
        }
        Self { octets, len: payload.len().min(Self::OCTETS_MAX), whole: payload.len() <= Self::OCTETS_MAX }
    }

    /// Of a payload that begins so, and goes on.
    #[must_use]
    pub fn of_begun(payload: &[u8]) -> Self {
        Self { whole: false, ..Self::of(payload) }
    }

    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// RabbitMQ's word for how much is quoted.
    #[must_use]
    pub fn extent(&self) -> &'static str {
        if self.whole { "all" } else { "first 16" }
    }
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets = {:?}", self.extent(), self.octets())
    }
}
