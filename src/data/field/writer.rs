//! The counterpart of the reader: one call per field into a buffer.

use bytes::{BufMut, BytesMut};

use super::table;
use crate::data::value::Table;

/// Appends fields to a buffer.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut BytesMut,
    bits: u8,
    bits_used: u8,
}

impl<'o> Writer<'o> {
    #[must_use]
    pub fn new(out: &'o mut BytesMut) -> Self {
        Self { out, bits: 0, bits_used: 0 }
    }

    /// Writes what is still being packed. Call it last.
    pub fn finish(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        if self.bits_used > 0 {
            self.out.put_u8(self.bits);
            self.bits = 0;
            self.bits_used = 0;
        }
    }

    pub fn bit(&mut self, bit: bool) {
        if self.bits_used == 8 {
            self.flush();
        }
        self.bits |= u8::from(bit) << self.bits_used;
        self.bits_used += 1;
    }

    pub fn octet(&mut self, n: u8) {
        self.flush();
        self.out.put_u8(n);
    }

    pub fn short(&mut self, n: u16) {
        self.flush();
        self.out.put_u16(n);
    }

    pub fn long(&mut self, n: u32) {
        self.flush();
        self.out.put_u32(n);
    }

    pub fn longlong(&mut self, n: u64) {
        self.flush();
        self.out.put_u64(n);
    }

    pub fn timestamp(&mut self, seconds: u64) {
        self.longlong(seconds);
    }

    /// A short string; what does not fit into 255 octets is cut at a character's start.
    pub fn shortstr(&mut self, s: &str) {
        self.flush();
        short_octets(self.out, s.get(..s.floor_char_boundary(255)).unwrap_or_default().as_bytes());
    }

    /// A long string; its length always fits, since nothing that large is ever held.
    pub fn longstr(&mut self, octets: &[u8]) {
        self.flush();
        self.out.put_u32(length_u32(octets.len()));
        self.out.put_slice(octets);
    }

    pub fn table(&mut self, table: &Table) {
        self.flush();
        table::encode(table, self.out);
    }
}

/// A length octet and at most 255 octets.
pub fn short_octets(out: &mut BytesMut, octets: &[u8]) {
    let octets = octets.get(..255).unwrap_or(octets);
    out.put_u8(u8::try_from(octets.len()).unwrap_or(u8::MAX));
    out.put_slice(octets);
}

/// Lengths of what is held in memory fit: bodies and tables are bounded far below 4 GiB where they enter.
#[must_use]
pub fn length_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
