//! A cursor over a method's arguments: one call per field, every length checked against what is there.
//!
//! Consecutive bits share an octet (§4.2.5.2): [`Reader::bit`] packs them, any other field starts a new octet.

use super::{Malformed, table};
use crate::data::value::Table;

/// Reads fields from the front of a slice, borrowing from it.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    bits: u8,
    bits_left: u8,
}

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, bits: 0, bits_left: 0 }
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// # Errors
    /// When something is left.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Length) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Length)?;
        self.rest = rest;
        self.bits_left = 0;
        Ok(*head)
    }

    /// # Errors
    /// When fewer are left.
    pub fn octets(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Length)?;
        self.rest = rest;
        self.bits_left = 0;
        Ok(head)
    }

    /// # Errors
    /// When the bytes end.
    pub fn bit(&mut self) -> Result<bool, Malformed> {
        if self.bits_left == 0 {
            self.bits = self.octet()?;
            self.bits_left = 8;
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        self.bits_left -= 1;
        Ok(bit)
    }

    /// # Errors
    /// When the bytes end.
    pub fn octet(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[b]| b)
    }

    /// # Errors
    /// When the bytes end.
    pub fn short(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// # Errors
    /// When the bytes end.
    pub fn long(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// # Errors
    /// When the bytes end.
    pub fn longlong(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// Seconds since the epoch.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn timestamp(&mut self) -> Result<u64, Malformed> {
        self.longlong()
    }

    /// A short string that need not be text: RabbitMQ checks UTF-8 in methods, not in properties.
    ///
    /// # Errors
    /// When the bytes end.
    pub fn short_octets(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.octet()?;
        self.octets(len.into())
    }

    /// # Errors
    /// When the bytes end or are not UTF-8.
    pub fn shortstr(&mut self) -> Result<&'a str, Malformed> {
        let octets = self.short_octets()?;
        std::str::from_utf8(octets).map_err(|_| Malformed::Utf8)
    }

    /// # Errors
    /// When the bytes end.
    pub fn longstr(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.long()?;
        self.octets(usize::try_from(len).map_err(|_| Malformed::Length)?)
    }

    /// # Errors
    /// When it is not a field table.
    pub fn table(&mut self) -> Result<Table, Malformed> {
        table::decode(self.longstr()?)
    }
}
