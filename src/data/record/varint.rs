//! Variable-length integers: unsigned (lengths and tags of flexible versions), and zigzag (inside records).
//!
//! Seven bits a byte, low ones first. An encoding longer than its type needs is accepted only as far as Kafka does:
//! five bytes for 32 bits, ten for 64, and no bit beyond the type.

use bytes::BufMut;
use nom::{
    IResult,
    error::{Error, ErrorKind},
};

/// An unsigned 32-bit integer.
pub fn uvarint(input: &[u8]) -> IResult<&[u8], u32> {
    let (rest, wide) = groups(input, 5)?;
    match u32::try_from(wide) {
        Ok(value) => Ok((rest, value)),
        Err(_) => Err(nom::Err::Error(Error::new(input, ErrorKind::TooLarge))),
    }
}

/// A zigzag 32-bit integer.
pub fn varint(input: &[u8]) -> IResult<&[u8], i32> {
    let (rest, raw) = uvarint(input)?;
    Ok((rest, (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()))
}

/// A zigzag 64-bit integer.
pub fn varlong(input: &[u8]) -> IResult<&[u8], i64> {
    let (rest, raw) = groups(input, 10)?;
    Ok((rest, (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()))
}

#[inline]
fn groups(input: &[u8], bytes_max: usize) -> IResult<&[u8], u64> {
    match input.split_first() {
        // Most lengths and deltas are small.
        Some((&byte, rest)) if byte < 0x80 => Ok((rest, byte.into())),
        Some(_) | None => several_groups(input, bytes_max),
    }
}

fn several_groups(input: &[u8], bytes_max: usize) -> IResult<&[u8], u64> {
    let mut value: u64 = 0;
    let mut shift = 0;
    let mut rest = input;
    for _ in 0..bytes_max {
        let Some((&byte, after)) = rest.split_first() else {
            return Err(nom::Err::Error(Error::new(input, ErrorKind::Eof)));
        };
        rest = after;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit only.
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok((rest, value));
        }
        shift += 7;
    }
    Err(nom::Err::Error(Error::new(input, ErrorKind::TooLarge)))
}

/// Writes an unsigned 32-bit integer.
pub fn put_uvarint(out: &mut impl BufMut, value: u32) {
    put_groups(out, value.into());
}

/// Writes a zigzag 32-bit integer.
pub fn put_varint(out: &mut impl BufMut, value: i32) {
    put_groups(out, zigzag(value.into()));
}

/// Writes a zigzag 64-bit integer.
pub fn put_varlong(out: &mut impl BufMut, value: i64) {
    put_groups(out, zigzag(value));
}

fn put_groups(out: &mut impl BufMut, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.put_u8(low & 0x7f);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

/// How many bytes [`put_varint`] and [`put_varlong`] write for a value (a 32-bit value takes the same in both).
#[must_use]
pub fn varlong_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zigzag_follows_the_table_of_the_specification() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!((&out[..], varlong_len(value.into())), (bytes, bytes.len()), "{value}");
            assert_eq!(varint(bytes), Ok((&[][..], value)));
        }
    }

    #[test]
    fn a_value_beyond_its_type_is_refused() {
        assert!(uvarint(&[0xff, 0xff, 0xff, 0xff, 0x1f]).is_err());
        assert!(uvarint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).is_err());
        assert!(varlong(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
        assert!(uvarint(&[0x80]).is_err());
    }

    proptest! {
        #[test]
        fn every_value_comes_back(long: i64, int: i32, unsigned: u32) {
            let mut out = Vec::new();
            put_varlong(&mut out, long);
            prop_assert_eq!(varlong_len(long), out.len());
            put_varint(&mut out, int);
            put_uvarint(&mut out, unsigned);
            let (rest, a) = varlong(&out).unwrap();
            let (rest, b) = varint(rest).unwrap();
            let (rest, c) = uvarint(rest).unwrap();
            prop_assert_eq!((a, b, c, rest.len()), (long, int, unsigned, 0));
        }
    }
}
