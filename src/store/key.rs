//! How keys of the three keyspaces are made, and the store's own.
//!
//! Numbers are big-endian, so that keys sort as their numbers do; a string is its length (u16) and its bytes, so that
//! no name is a prefix of another. The first byte of a key says whose it is:
//!
//! ```text
//! space   first byte  the rest                                                  value
//! all     0x00        "pos"                                                     turn u64 | segment u32 | offset u32 | clean u8
//! ```
//!
//! The byte 0x00 is the store's own and never shown by a scan. The broker's keys begin with another byte and are drawn
//! where they are made: `broker/definition.rs`, `broker/queue/`, `broker/topic/keys.rs`.

/// The longest key, in bytes (fjall's limit).
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// The first byte of the store's own keys.
pub(super) const OWN: u8 = 0x00;

/// How far the log is in the catalog; one in each keyspace, because fjall flushes them one by one.
pub(super) const POS: &[u8] = b"\x00pos";

/// A key under construction: `Key::new(b'q').u32(id).str(name)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    #[must_use]
    pub fn new(kind: u8) -> Self {
        debug_assert_ne!(kind, OWN, "keys that begin with 0x00 are the store's own");
        Self(vec![kind])
    }

    #[must_use]
    pub fn u8(mut self, n: u8) -> Self {
        self.0.push(n);
        self
    }

    #[must_use]
    pub fn u32(mut self, n: u32) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    #[must_use]
    pub fn u64(mut self, n: u64) -> Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    /// A name: its length and its bytes. What is over 65,535 bytes is cut (names of the protocols are far shorter).
    #[must_use]
    pub fn str(mut self, s: &str) -> Self {
        let bytes = s.as_bytes();
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend(bytes.iter().take(len.into()));
        self
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a key or a value back, field by field; `None` when it is too short.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a>(pub &'a [u8]);

impl<'a> Parts<'a> {
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub fn str(&mut self) -> Option<&'a str> {
        let len = self.u16()?;
        std::str::from_utf8(self.bytes(len.into())?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_reads_back() {
        let key = Key::new(b'q').u32(7).str("orders").u64(9).u8(1);
        let mut parts = Parts(key.as_bytes());
        assert_eq!(
            (parts.u8(), parts.u32(), parts.str(), parts.u64(), parts.u8(), parts.u8()),
            (Some(b'q'), Some(7), Some("orders"), Some(9), Some(1), None)
        );
    }

    #[test]
    fn numbers_sort_as_numbers() {
        assert!(Key::new(1).u64(255).into_vec() < Key::new(1).u64(256).into_vec());
    }
}
