//! The greeting (37/ZMTP "Version Negotiation"): 64 octets each way before anything else.
//!
//! ```text
//! signature: FF 00 00 00 00 00 00 00 (anything) 7F | version: 03 01 | mechanism: 20 octets, padded with 00
//! as-server: 00 or 01 | filler: 31 octets
//! ```
//!
//! A peer sends signature and version first and the rest when it knows ours: so we can wait for its mechanism before we
//! name our own.

use bytes::{BufMut, BytesMut};

use super::Malformed;

/// Signature and version: what we say before we know anything of the peer.
pub const HEAD: [u8; 12] = [0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 3, 1];

/// A whole greeting.
pub const BYTES: usize = 64;

const SIGNATURE_BYTES: usize = 10;
const MECHANISM_BYTES: usize = 20;
const FILLER_BYTES: usize = 31;

/// What a peer says of itself first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Of version 3.
    pub minor: u8,
    pub mechanism: String,
    pub as_server: bool,
}

/// Reads a greeting; `None` while it has not all come. What cannot become one is refused with its first octets.
///
/// # Errors
/// Another protocol, or a version before 3.
pub fn decode(input: &[u8]) -> Result<Option<Greeting>, Malformed> {
    match *input {
        [] => return Ok(None),
        [0xFF, ..] => {}
        [..] => return Err(Malformed::Signature),
    }
    if input.get(SIGNATURE_BYTES - 1).is_some_and(|octet| octet & 1 == 0) {
        return Err(Malformed::Signature);
    }
    if let Some(&major @ 0..=2) = input.get(SIGNATURE_BYTES) {
        return Err(Malformed::Version(major));
    }
    let Some(greeting) = input.first_chunk::<BYTES>() else { return Ok(None) };
    let [.., minor] = *greeting.first_chunk::<{ SIGNATURE_BYTES + 2 }>().ok_or(Malformed::Signature)?;
    let rest = greeting.get(HEAD.len()..).unwrap_or_default();
    let (mechanism, rest) = rest.split_at_checked(MECHANISM_BYTES).ok_or(Malformed::Mechanism)?;
    let padded = mechanism.split(|&octet| octet == 0).next().unwrap_or_default();
    let mechanism = std::str::from_utf8(padded).map_err(|_| Malformed::Mechanism)?;
    let as_server = rest.first().is_some_and(|&octet| octet != 0);
    Ok(Some(Greeting { minor, mechanism: mechanism.to_owned(), as_server }))
}

/// Appends what follows [`HEAD`].
pub fn put_rest(out: &mut BytesMut, mechanism: &str, as_server: bool) {
    let name = mechanism.as_bytes();
    let name = name.get(..MECHANISM_BYTES).unwrap_or(name);
    out.put_slice(name);
    out.put_bytes(0, MECHANISM_BYTES - name.len());
    out.put_u8(as_server.into());
    out.put_bytes(0, FILLER_BYTES);
}
