//! Writes one frame: small fields into a buffer, record sets as slices that are not copied.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::Wire;
use crate::data::record::varint::put_uvarint;

/// A field holds what the message's version cannot carry (or what no version can: a string over 32 KiB).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("field {0} holds what this version cannot carry")]
pub struct Unsupported(pub &'static str);

/// Slices up to this size are copied: a vectored write of many small ones costs more.
const COPIED_BYTES_MAX: usize = 1_024;

/// The mirror of [`super::Reader`].
#[derive(Debug)]
pub struct Writer {
    buffer: BytesMut,
    /// Slices, and where in the buffer they come in between.
    slices: Vec<(usize, Bytes)>,
    version: i16,
    flexible: bool,
}

impl Writer {
    #[must_use]
    pub fn new(version: i16, flexible: bool) -> Self {
        Self { buffer: BytesMut::new(), slices: Vec::new(), version, flexible }
    }

    /// The same writer for what follows a header, whose lengths are never compact.
    pub(super) fn into_flexible(self, flexible: bool) -> Self {
        Self { flexible, ..self }
    }

    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    #[must_use]
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.put_u128(value.as_u128());
    }

    pub fn uvarint(&mut self, value: u32) {
        put_uvarint(&mut self.buffer, value);
    }

    pub fn nullable_string(&mut self, value: Option<&str>) -> Result<(), Unsupported> {
        if self.flexible {
            self.length(value.map(str::len))?;
        } else {
            let length = value.map_or(Ok(-1), |text| i16::try_from(text.len()));
            self.i16(length.map_err(|_| TOO_LONG)?);
        }
        self.buffer.put_slice(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// Bytes or a record set, given as slices that follow one another.
    pub fn nullable_bytes(&mut self, value: Option<&[Bytes]>) -> Result<(), Unsupported> {
        self.length(value.map(|slices| slices.iter().map(Bytes::len).sum()))?;
        for slice in value.unwrap_or_default() {
            if slice.len() <= COPIED_BYTES_MAX {
                self.buffer.put_slice(slice);
            } else {
                self.slices.push((self.buffer.len(), slice.clone()));
            }
        }
        Ok(())
    }

    pub fn nullable_array<T: Wire>(&mut self, value: Option<&[T]>) -> Result<(), Unsupported> {
        self.length(value.map(<[T]>::len))?;
        value.unwrap_or_default().iter().try_for_each(|element| element.write(self))
    }

    /// The tagged fields that end every structure of a flexible version.
    pub fn tagged(&mut self, fields: TaggedFields) -> Result<(), Unsupported> {
        if !self.flexible {
            return Ok(());
        }
        self.uvarint(compact(fields.0.len())?);
        for (tag, value) in fields.0 {
            self.uvarint(tag);
            self.uvarint(compact(value.len())?);
            self.buffer.put_slice(&value);
        }
        Ok(())
    }

    /// Everything as slices in order.
    #[must_use]
    pub fn into_chunks(self) -> Vec<Bytes> {
        let mut buffer = self.buffer.freeze();
        let mut chunks = Vec::with_capacity(self.slices.len() * 2 + 1);
        let mut done = 0;
        for (at, slice) in self.slices {
            chunks.push(buffer.split_to(at - done));
            chunks.push(slice);
            done = at;
        }
        chunks.push(buffer);
        chunks.retain(|chunk| !chunk.is_empty());
        chunks
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() + self.slices.iter().map(|(_, slice)| slice.len()).sum::<usize>()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts the frame's length over its first four bytes, which were written as a placeholder.
    pub(super) fn set_frame_length(&mut self) -> Result<(), Unsupported> {
        let body = self.len().checked_sub(4).ok_or(TOO_LONG)?;
        let length = i32::try_from(body).map_err(|_| TOO_LONG)?;
        self.buffer.get_mut(..4).ok_or(TOO_LONG)?.copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn length(&mut self, length: Option<usize>) -> Result<(), Unsupported> {
        match (self.flexible, length) {
            (true, Some(length)) => self.uvarint(compact(length)?.checked_add(1).ok_or(TOO_LONG)?),
            (true, None) => self.uvarint(0),
            (false, Some(length)) => self.i32(i32::try_from(length).map_err(|_| TOO_LONG)?),
            (false, None) => self.i32(-1),
        }
        Ok(())
    }
}

/// The tagged fields of one structure, in the order of their tags.
#[derive(Debug, Default)]
pub struct TaggedFields(Vec<(u32, BytesMut)>);

impl TaggedFields {
    /// Adds a field, written as `w` would.
    pub fn with(mut self, w: &Writer, tag: u32, value: &impl Wire) -> Result<Self, Unsupported> {
        let mut field = Writer::new(w.version, w.flexible);
        value.write(&mut field)?;
        // No definition has a record set in a tagged field; bytes that are large are copied here.
        let chunks = field.into_chunks();
        self.0.push((tag, chunks.iter().flatten().copied().collect()));
        Ok(self)
    }
}

const TOO_LONG: Unsupported = Unsupported("(length)");

fn compact(length: usize) -> Result<u32, Unsupported> {
    u32::try_from(length).map_err(|_| TOO_LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_record_set_is_passed_on_and_a_small_one_copied() {
        let large = Bytes::from(vec![7; COPIED_BYTES_MAX + 1]);
        let small = Bytes::from_static(b"small");
        let mut w = Writer::new(0, false);
        w.nullable_bytes(Some(&[small, large.clone()])).unwrap();
        w.i8(1);
        assert_eq!(w.len(), 4 + 5 + large.len() + 1);
        let chunks = w.into_chunks();
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[0], &b"\0\0\x04\x06small"[..]);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
        assert_eq!(chunks[2], &[1][..]);
    }

    #[test]
    fn a_string_that_does_not_fit_is_refused() {
        let long = "x".repeat(40_000);
        assert!(Writer::new(0, false).nullable_string(Some(&long)).is_err());
        assert!(Writer::new(0, true).nullable_string(Some(&long)).is_ok());
    }
}
