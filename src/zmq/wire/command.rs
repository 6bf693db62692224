//! Commands (37/ZMTP): a name and what belongs to it, in a command frame.

use bytes::{BufMut, BytesMut};
use nom::{
    IResult, Parser,
    bytes::complete::take,
    combinator::rest,
    multi::length_data,
    number::complete::{be_u8, be_u16},
};

use super::{
    Malformed,
    frame::{self, Kind},
};

/// A command. What a mechanism's own commands hold is the mechanism's to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    Hello(&'a [u8]),
    Welcome(&'a [u8]),
    Initiate(&'a [u8]),
    Ready(&'a [u8]),
    Error {
        reason: &'a [u8],
    },
    /// CURVE: a frame, sealed.
    Message(&'a [u8]),
    /// Since 3.1; before, a message whose first octet is 1.
    Subscribe(&'a [u8]),
    /// Since 3.1; before, a message whose first octet is 0.
    Cancel(&'a [u8]),
    /// `ttl` in tenths of a second: the peer is gone if nothing comes from it for so long; 0: it does not say.
    Ping {
        ttl: u16,
        context: &'a [u8],
    },
    Pong {
        context: &'a [u8],
    },
    /// None that is known here.
    Other(&'a [u8]),
}

impl<'a> Command<'a> {
    /// Reads the body of a command frame.
    ///
    /// # Errors
    /// No name, or what a known command must have is not there.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let (data, name) = short(body).map_err(|_| Malformed::Command("without a name"))?;
        Ok(match name {
            b"HELLO" => Self::Hello(data),
            b"WELCOME" => Self::Welcome(data),
            b"INITIATE" => Self::Initiate(data),
            b"READY" => Self::Ready(data),
            b"MESSAGE" => Self::Message(data),
            b"SUBSCRIBE" => Self::Subscribe(data),
            b"CANCEL" => Self::Cancel(data),
            b"ERROR" => {
                let (_, reason) = short(data).map_err(|_| Malformed::Command("ERROR"))?;
                Self::Error { reason }
            }
            b"PING" => {
                let (_, (ttl, context)) = ping(data).map_err(|_| Malformed::Command("PING"))?;
                Self::Ping { ttl, context }
            }
            b"PONG" => Self::Pong { context: data },
            name => Self::Other(name),
        })
    }

    /// The name, of a command that is known.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "HELLO",
            Self::Welcome(_) => "WELCOME",
            Self::Initiate(_) => "INITIATE",
            Self::Ready(_) => "READY",
            Self::Error { .. } => "ERROR",
            Self::Message(_) => "MESSAGE",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Cancel(_) => "CANCEL",
            Self::Ping { .. } => "PING",
            Self::Pong { .. } => "PONG",
            Self::Other(_) => "that is unknown",
        }
    }

    /// Appends it as the body of a command frame.
    pub fn put_body(&self, out: &mut BytesMut) {
        let name = if let Self::Other(name) = self { name } else { self.name().as_bytes() };
        put_short(out, name);
        match *self {
            Self::Hello(data)
            | Self::Welcome(data)
            | Self::Initiate(data)
            | Self::Ready(data)
            | Self::Message(data)
            | Self::Subscribe(data)
            | Self::Cancel(data)
            | Self::Pong { context: data } => out.put_slice(data),
            Self::Error { reason } => put_short(out, reason),
            Self::Ping { ttl, context } => {
                out.put_u16(ttl);
                out.put_slice(context);
            }
            Self::Other(_) => {}
        }
    }

    /// Appends it as a frame.
    pub fn put(&self, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        self.put_body(&mut body);
        frame::put(out, Kind::Command, &body);
    }
}

/// The longest context that a PONG must carry back.
pub const CONTEXT_BYTES_MAX: usize = 16;

fn ping(data: &[u8]) -> IResult<&[u8], (u16, &[u8])> {
    let (data, ttl) = be_u16(data)?;
    let (end, context) = rest(data)?;
    // A longer one is cut: nobody has more to say.
    let (_, context) = take(context.len().min(CONTEXT_BYTES_MAX))(context)?;
    Ok((end, (ttl, context)))
}

/// One octet of length, and so many.
pub(super) fn short(input: &[u8]) -> IResult<&[u8], &[u8]> {
    length_data(be_u8).parse(input)
}

/// At most 255 octets behind their length.
pub(super) fn put_short(out: &mut BytesMut, octets: &[u8]) {
    let octets = octets.get(..255).unwrap_or(octets);
    out.put_u8(u8::try_from(octets.len()).unwrap_or(u8::MAX));
    out.put_slice(octets);
}
