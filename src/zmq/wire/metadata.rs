//! Metadata (37/ZMTP "The READY Command"): names with values; what a peer is, and how it wants to be called.

use bytes::{BufMut, BytesMut};
use nom::{IResult, Parser, multi::length_data, number::complete::be_u32};

use super::{Malformed, command};

/// What kind of socket it is.
pub const SOCKET_TYPE: &str = "Socket-Type";
/// What a ROUTER calls it.
pub const IDENTITY: &str = "Identity";

/// More properties than that are refused.
const PROPERTIES_MAX: usize = 64;

/// Reads all of `input`.
///
/// # Errors
/// When it is not names with values from end to end, a name is not text, or there are too many.
pub fn decode(mut input: &[u8]) -> Result<Vec<(&str, &[u8])>, Malformed> {
    let mut properties = Vec::new();
    while !input.is_empty() {
        let (rest, (name, value)) = property(input).map_err(|_| Malformed::Metadata)?;
        let name = std::str::from_utf8(name).map_err(|_| Malformed::Metadata)?;
        if name.is_empty() || properties.len() == PROPERTIES_MAX {
            return Err(Malformed::Metadata);
        }
        properties.push((name, value));
        input = rest;
    }
    Ok(properties)
}

fn property(input: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    (command::short, length_data(be_u32)).parse(input)
}

/// Appends one property.
pub fn put(out: &mut BytesMut, name: &str, value: &[u8]) {
    command::put_short(out, name.as_bytes());
    out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
    out.put_slice(value);
}

/// The value of that name, which is compared without regard to case.
#[must_use]
pub fn find<'a>(properties: &[(&str, &'a [u8])], name: &str) -> Option<&'a [u8]> {
    properties.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}
