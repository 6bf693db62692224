//! A cursor over the bytes of one frame.
//!
//! Every length and count comes from the peer: it is held against what is left before anything is allocated, so a
//! message never takes more than its own bytes are worth. Leaves are nom parsers.

use bytes::{Buf, Bytes};
use nom::{
    IResult, Parser,
    number::complete::{be_f64, be_i8, be_i16, be_i32, be_i64, be_u16, be_u128},
};
use uuid::Uuid;

use super::Wire;
use crate::data::record::varint::uvarint;

/// Why a peer's bytes are not the message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("message is cut short")]
    Short,
    #[error("length or count {0} is impossible")]
    Length(i64),
    #[error("null where the version allows none")]
    Null,
    #[error("string is not UTF-8")]
    Utf8,
    #[error("variable-length integer is too long")]
    Varint,
}

/// Values of fixed size, each by its nom parser.
macro_rules! leaves {
    ($($method:ident: $kind:ty = $parser:expr;)+) => {$(
        pub fn $method(&mut self) -> Result<$kind, Malformed> {
            let parsed: IResult<&[u8], $kind> = $parser.parse(&self.rest);
            let (rest, value) = parsed.map_err(|_| Malformed::Short)?;
            let used = self.rest.len() - rest.len();
            self.rest.advance(used);
            Ok(value)
        }
    )+};
}

/// The cursor. It knows the message's version, and whether that is a flexible one.
#[derive(Debug)]
pub struct Reader {
    rest: Bytes,
    version: i16,
    flexible: bool,
}

impl Reader {
    #[must_use]
    pub fn new(bytes: Bytes, version: i16, flexible: bool) -> Self {
        Self { rest: bytes, version, flexible }
    }

    #[must_use]
    pub fn version(&self) -> i16 {
        self.version
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    leaves! {
        i8: i8 = be_i8;
        i16: i16 = be_i16;
        i32: i32 = be_i32;
        i64: i64 = be_i64;
        u16: u16 = be_u16;
        f64: f64 = be_f64;
        uuid: Uuid = be_u128.map(Uuid::from_u128);
    }

    pub fn uvarint(&mut self) -> Result<u32, Malformed> {
        let (rest, value) = uvarint(&self.rest).map_err(|error| match error {
            nom::Err::Error(e) | nom::Err::Failure(e) if e.code == nom::error::ErrorKind::TooLarge => {
                Malformed::Varint
            }
            nom::Err::Error(_) | nom::Err::Failure(_) | nom::Err::Incomplete(_) => Malformed::Short,
        })?;
        let used = self.rest.len() - rest.len();
        self.rest.advance(used);
        Ok(value)
    }

    /// A string: compact in flexible versions, else with a 16-bit length.
    pub fn nullable_string(&mut self) -> Result<Option<String>, Malformed> {
        let length = if self.flexible { self.compact_length()? } else { length_of(self.i16()?)? };
        let Some(length) = length else { return Ok(None) };
        let bytes = self.slice(length)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Malformed::Utf8)?;
        Ok(Some(text.to_owned()))
    }

    /// Bytes or a record set, as a slice of the frame: compact in flexible versions, else with a 32-bit length.
    pub fn nullable_bytes(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.length()? {
            Some(length) => self.slice(length).map(Some),
            None => Ok(None),
        }
    }

    /// An array. Every element takes at least one byte, so a count beyond what is left is a lie; and what is
    /// reserved ahead is never more than the bytes that are left.
    pub fn nullable_array<T: Wire>(&mut self) -> Result<Option<Vec<T>>, Malformed> {
        let Some(count) = self.length()? else { return Ok(None) };
        if count > self.rest.len() {
            return Err(Malformed::Length(i64::try_from(count).unwrap_or(i64::MAX)));
        }
        let mut elements = Vec::with_capacity(count.min(self.rest.len() / size_of::<T>().max(1)));
        for _ in 0..count {
            elements.push(T::read(self)?);
        }
        Ok(Some(elements))
    }

    /// The tagged fields that end every structure of a flexible version. `field` reads the ones it knows and says
    /// whether it did; others are skipped.
    pub fn tagged(
        &mut self,
        mut field: impl FnMut(&mut Self, u32) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = self.uvarint()?;
            let bytes = self.slice(usize::try_from(size).map_err(|_| Malformed::Length(size.into()))?)?;
            field(&mut Self { rest: bytes, version: self.version, flexible: true }, tag)?;
        }
        Ok(())
    }

    /// The length of bytes or the count of an array.
    fn length(&mut self) -> Result<Option<usize>, Malformed> {
        if self.flexible { self.compact_length() } else { length_of(self.i32()?) }
    }

    /// A compact length is one more than the length; 0 is null.
    fn compact_length(&mut self) -> Result<Option<usize>, Malformed> {
        match self.uvarint()?.checked_sub(1) {
            Some(length) => length_of(length),
            None => Ok(None),
        }
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.rest.len() {
            return Err(Malformed::Short);
        }
        Ok(self.rest.split_to(length))
    }
}

/// -1 is null; other negative lengths are refused.
fn length_of(stated: impl Into<i64>) -> Result<Option<usize>, Malformed> {
    match stated.into() {
        -1 => Ok(None),
        stated => usize::try_from(stated).map(Some).map_err(|_| Malformed::Length(stated)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8], flexible: bool) -> Reader {
        Reader::new(Bytes::from_static(bytes), 0, flexible)
    }

    #[test]
    fn strings_have_four_forms() {
        for (bytes, flexible, expected) in [
            (&b"\0\x02hi"[..], false, Some("hi")),
            (b"\xff\xff", false, None),
            (b"\x03hi", true, Some("hi")),
            (b"\0", true, None),
            (b"\x01", true, Some("")),
        ] {
            assert_eq!(
                reader(bytes, flexible).nullable_string(),
                Ok(expected.map(str::to_owned)),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_length_beyond_the_frame_is_refused_before_anything_is_allocated() {
        assert_eq!(reader(b"\x7f\xff\xff\xff\0", false).nullable_bytes(), Err(Malformed::Short));
        assert_eq!(reader(b"\xff\xff\xff\xfe", false).nullable_bytes(), Err(Malformed::Length(-2)));
        assert_eq!(reader(b"\xff\xff\xff\xff\x0f", true).nullable_bytes(), Err(Malformed::Short));
        assert_eq!(reader(b"\xff\xff\xff\xff\x7f", true).nullable_bytes(), Err(Malformed::Varint));
        let claim = reader(b"\x7f\xff\xff\xff\0", false).nullable_array::<i32>();
        assert_eq!(claim, Err(Malformed::Length(i32::MAX.into())));
        assert_eq!(reader(b"\0\x02h", false).nullable_string(), Err(Malformed::Short));
        assert_eq!(reader(b"\0\x01\xff", false).nullable_string(), Err(Malformed::Utf8));
    }

    #[test]
    fn unknown_tagged_fields_are_skipped() {
        let mut r = reader(b"\x02\x05\x01\xaa\x07\x02\xbb\xcc\x2a", true);
        let mut seen = Vec::new();
        r.tagged(|value, tag| {
            seen.push((tag, value.rest().to_vec()));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(5, vec![0xaa]), (7, vec![0xbb, 0xcc])]);
        assert_eq!(r.i8(), Ok(0x2a));
    }
}
