//! How CURVE's commands are laid out (26/CURVEZMQ, 25/ZMTP-CURVE). What is in their boxes is `curve.rs`'.

use super::Malformed;

pub const KEY_BYTES: usize = 32;
/// What Poly1305 adds to a box, in front of it.
pub const TAG_BYTES: usize = 16;
pub const COOKIE_BYTES: usize = 96;
/// The part of a nonce that counts.
pub const SHORT_NONCE_BYTES: usize = 8;
/// The part of a nonce that is random.
pub const LONG_NONCE_BYTES: usize = 16;

pub type Key = [u8; KEY_BYTES];

/// The client's HELLO: its key for this connection, and 64 zeros that only who knows our key can have sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    pub client: Key,
    pub nonce: &'a [u8],
    pub signature: &'a [u8],
}

impl<'a> Hello<'a> {
    /// Reads what follows the name.
    ///
    /// # Errors
    /// Another layout, or another version of CURVE than 1.0.
    pub fn decode(data: &'a [u8]) -> Result<Self, Malformed> {
        Self::fields(data).ok_or(Malformed::Command("HELLO"))
    }

    fn fields(data: &'a [u8]) -> Option<Self> {
        let (version, rest) = data.split_at_checked(2)?;
        let (_padding, rest) = rest.split_at_checked(72)?;
        let (client, rest) = rest.split_first_chunk::<KEY_BYTES>()?;
        let (nonce, signature) = rest.split_at_checked(SHORT_NONCE_BYTES)?;
        let whole = version == [1, 0] && signature.len() == 64 + TAG_BYTES;
        whole.then_some(Self { client: *client, nonce, signature })
    }
}

/// The client's INITIATE: our cookie, and its lasting key with its metadata, sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initiate<'a> {
    pub cookie: &'a [u8],
    pub nonce: &'a [u8],
    pub sealed: &'a [u8],
}

impl<'a> Initiate<'a> {
    /// Reads what follows the name.
    ///
    /// # Errors
    /// Another layout.
    pub fn decode(data: &'a [u8]) -> Result<Self, Malformed> {
        Self::fields(data).ok_or(Malformed::Command("INITIATE"))
    }

    fn fields(data: &'a [u8]) -> Option<Self> {
        let (cookie, rest) = data.split_at_checked(COOKIE_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(SHORT_NONCE_BYTES)?;
        Some(Self { cookie, nonce, sealed })
    }
}

/// What INITIATE seals: the client's lasting key, a voucher that it belongs to the one of this connection, and metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vouched<'a> {
    pub client: Key,
    pub nonce: &'a [u8],
    pub vouch: &'a [u8],
    pub metadata: &'a [u8],
}

impl<'a> Vouched<'a> {
    /// # Errors
    /// Another layout.
    pub fn decode(data: &'a [u8]) -> Result<Self, Malformed> {
        Self::fields(data).ok_or(Malformed::Command("INITIATE"))
    }

    fn fields(data: &'a [u8]) -> Option<Self> {
        let (client, rest) = data.split_first_chunk::<KEY_BYTES>()?;
        let (nonce, rest) = rest.split_at_checked(LONG_NONCE_BYTES)?;
        let (vouch, metadata) = rest.split_at_checked(2 * KEY_BYTES + TAG_BYTES)?;
        Some(Self { client: *client, nonce, vouch, metadata })
    }
}

/// A MESSAGE: one frame, sealed, behind the nonce that counts it.
///
/// # Errors
/// Another layout.
pub fn message(data: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let (nonce, sealed) =
        data.split_first_chunk::<SHORT_NONCE_BYTES>().ok_or(Malformed::Command("MESSAGE"))?;
    Ok((u64::from_be_bytes(*nonce), sealed))
}
