//! Values as bytes of the state: a tag, then the value. In a key one value has one form, so that keys can be compared.
#![expect(clippy::cast_possible_truncation, reason = "lengths were checked when they were written")]

use std::sync::Arc;

use crate::stream::{
    datum::{Datum, Instant},
    expr::EvalError,
};

const NULL: u8 = 0;
const ARRAY: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const BYTES: u8 = 4;
const DATE: u8 = 5;
const DECIMAL: u8 = 6;
const DOUBLE: u8 = 7;
const FLOAT: u8 = 8;
const INT: u8 = 9;
const MAP: u8 = 10;
const ROW: u8 = 11;
const STR: u8 = 12;
const TIME: u8 = 13;
const TIMESTAMP: u8 = 14;

/// The state cannot be read: it was not written by this version, or the store is damaged.
#[must_use]
pub fn damaged() -> EvalError {
    EvalError("the job's state cannot be read".to_owned())
}

pub fn put(out: &mut Vec<u8>, value: &Datum) {
    put_as(out, value, false);
}

/// As a part of a key: maps, which are the same in any order, have theirs by the bytes of their entries.
pub fn put_key(out: &mut Vec<u8>, value: &Datum) {
    put_as(out, value, true);
}

fn put_as(out: &mut Vec<u8>, value: &Datum, key: bool) {
    match value {
        Datum::Null => out.push(NULL),
        Datum::Array(items) => {
            out.push(ARRAY);
            put_list(out, items, key);
        }
        Datum::Bool(false) => out.push(FALSE),
        Datum::Bool(true) => out.push(TRUE),
        Datum::Bytes(bytes) => {
            out.push(BYTES);
            put_bytes(out, bytes);
        }
        Datum::Date(days) => {
            out.push(DATE);
            put_int(out, i64::from(*days));
        }
        Datum::Decimal(n) => {
            out.push(DECIMAL);
            out.extend_from_slice(&i128::from(*n).to_be_bytes());
        }
        Datum::Double(x) => {
            out.push(DOUBLE);
            out.extend_from_slice(&x.to_bits().to_be_bytes());
        }
        Datum::Float(x) => {
            out.push(FLOAT);
            out.extend_from_slice(&x.to_bits().to_be_bytes());
        }
        Datum::Int(n) => {
            out.push(INT);
            put_int(out, *n);
        }
        Datum::Map(entries) => {
            out.push(MAP);
            put_length(out, entries.len());
            let mut encoded: Vec<Vec<u8>> = Vec::with_capacity(entries.len());
            for (name, value) in entries.iter() {
                let mut entry = Vec::new();
                put_as(&mut entry, name, key);
                put_as(&mut entry, value, key);
                encoded.push(entry);
            }
            if key {
                encoded.sort_unstable();
            }
            encoded.iter().for_each(|entry| out.extend_from_slice(entry));
        }
        Datum::Row(fields) => {
            out.push(ROW);
            put_list(out, fields, key);
        }
        Datum::Str(text) => {
            out.push(STR);
            put_bytes(out, text.as_bytes());
        }
        Datum::Time(ms) => {
            out.push(TIME);
            put_int(out, i64::from(*ms));
        }
        Datum::Timestamp(at) => {
            out.push(TIMESTAMP);
            put_int(out, at.ms);
            put_length(out, at.nanos as usize);
        }
    }
}

/// A list of values, and how many.
pub fn put_all(out: &mut Vec<u8>, values: &[Datum]) {
    put_list(out, values, false);
}

fn put_list(out: &mut Vec<u8>, values: &[Datum], key: bool) {
    put_length(out, values.len());
    values.iter().for_each(|value| put_as(out, value, key));
}

/// A whole number, small ones short.
pub fn put_int(out: &mut Vec<u8>, n: i64) {
    let mut rest = ((n << 1) ^ (n >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub fn put_length(out: &mut Vec<u8>, n: usize) {
    put_int(out, i64::try_from(n).unwrap_or(i64::MAX));
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// A point in time whose bytes have the order of the times.
#[must_use]
pub fn time_key(ms: i64) -> [u8; 8] {
    (ms ^ i64::MIN).to_be_bytes()
}

type Taken<T> = Result<T, EvalError>;

/// The time at the front of the bytes.
pub fn take_time(bytes: &mut &[u8]) -> Taken<i64> {
    let (front, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
    *bytes = rest;
    Ok(i64::from_be_bytes(*front) ^ i64::MIN)
}

pub fn take_byte(bytes: &mut &[u8]) -> Taken<u8> {
    let (first, rest) = bytes.split_first().ok_or_else(damaged)?;
    *bytes = rest;
    Ok(*first)
}

pub fn take_int(bytes: &mut &[u8]) -> Taken<i64> {
    let (mut n, mut shift) = (0u64, 0u32);
    loop {
        let byte = take_byte(bytes)?;
        n |= u64::from(byte & 0x7f).checked_shl(shift).ok_or_else(damaged)?;
        if byte < 0x80 {
            return Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed());
        }
        shift += 7;
    }
}

pub fn take_length(bytes: &mut &[u8]) -> Taken<usize> {
    usize::try_from(take_int(bytes)?).map_err(|_| damaged())
}

pub fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Taken<&'a [u8]> {
    let length = take_length(bytes)?;
    let (front, rest) = bytes.split_at_checked(length).ok_or_else(damaged)?;
    *bytes = rest;
    Ok(front)
}

fn take_fixed<const N: usize>(bytes: &mut &[u8]) -> Taken<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk::<N>().ok_or_else(damaged)?;
    *bytes = rest;
    Ok(*front)
}

fn take_i32(bytes: &mut &[u8]) -> Taken<i32> {
    i32::try_from(take_int(bytes)?).map_err(|_| damaged())
}

/// A list as [`put_all`] wrote it.
pub fn take_all(bytes: &mut &[u8]) -> Taken<Vec<Datum>> {
    let length = take_length(bytes)?;
    // Each value has at least one byte.
    let mut values = Vec::with_capacity(length.min(bytes.len()));
    for _ in 0..length {
        values.push(take(bytes)?);
    }
    Ok(values)
}

/// The value at the front of the bytes.
pub fn take(bytes: &mut &[u8]) -> Taken<Datum> {
    Ok(match take_byte(bytes)? {
        NULL => Datum::Null,
        ARRAY => Datum::Array(take_all(bytes)?.into()),
        FALSE => Datum::Bool(false),
        TRUE => Datum::Bool(true),
        BYTES => Datum::bytes(take_bytes(bytes)?),
        DATE => Datum::Date(take_i32(bytes)?),
        DECIMAL => Datum::decimal(i128::from_be_bytes(take_fixed(bytes)?)),
        DOUBLE => Datum::Double(f64::from_bits(u64::from_be_bytes(take_fixed(bytes)?))),
        FLOAT => Datum::Float(f32::from_bits(u32::from_be_bytes(take_fixed(bytes)?))),
        INT => Datum::Int(take_int(bytes)?),
        MAP => {
            let length = take_length(bytes)?;
            let mut entries = Vec::with_capacity(length.min(bytes.len()));
            for _ in 0..length {
                entries.push((take(bytes)?, take(bytes)?));
            }
            Datum::Map(entries.into())
        }
        ROW => Datum::Row(take_all(bytes)?.into()),
        STR => {
            let text = std::str::from_utf8(take_bytes(bytes)?).map_err(|_| damaged())?;
            Datum::Str(Arc::from(text))
        }
        TIME => Datum::Time(take_i32(bytes)?),
        TIMESTAMP => {
            let ms = take_int(bytes)?;
            let nanos = u32::try_from(take_int(bytes)?).map_err(|_| damaged())?;
            Datum::Timestamp(Instant { ms, nanos })
        }
        _ => return Err(damaged()),
    })
}

/// All values that the bytes hold.
pub fn take_all_of(mut bytes: &[u8]) -> Taken<Vec<Datum>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(take(&mut bytes)?);
    }
    Ok(values)
}

/// The bytes of the first `count` values, and what is behind them.
pub fn split(bytes: &[u8], count: usize) -> Taken<(&[u8], &[u8])> {
    let mut rest = bytes;
    for _ in 0..count {
        take(&mut rest)?;
    }
    bytes.split_at_checked(bytes.len() - rest.len()).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_come_back() {
        let nested = Datum::Row(vec![Datum::Null, Datum::Array(vec![Datum::Bool(true)].into())].into());
        let values = [
            nested,
            Datum::str("grün"),
            Datum::bytes(vec![0, 255]),
            Datum::decimal(-(10i128.pow(37))),
            Datum::Double(-0.0),
            Datum::Float(1.5),
            Datum::Date(-3),
            Datum::Time(5),
            Datum::Timestamp(Instant { ms: -1, nanos: 999_999 }),
            Datum::Map(vec![(Datum::str("k"), Datum::Int(1))].into()),
        ];
        let mut out = Vec::new();
        put_all(&mut out, &values);
        let mut bytes = out.as_slice();
        assert_eq!((take_all(&mut bytes).unwrap(), bytes.len()), (values.to_vec(), 0));
        for cut in 0..out.len() {
            assert!(take_all(&mut out.get(..cut).unwrap()).is_err());
        }
    }

    #[test]
    fn a_map_is_one_key_whatever_its_order() {
        let entry = |key: &str, n| (Datum::str(key), Datum::Int(n));
        let row = |entries: Vec<(Datum, Datum)>| Datum::Row([Datum::Map(entries.into())].into());
        let key = |value: &Datum| {
            let mut out = Vec::new();
            put_key(&mut out, value);
            out
        };
        let (one, other) = (row(vec![entry("b", 1), entry("a", 2)]), row(vec![entry("a", 2), entry("b", 1)]));
        assert_eq!(key(&one), key(&other));
        assert_ne!(key(&one), key(&row(vec![entry("a", 1), entry("b", 2)])));
    }

    proptest! {
        #[test]
        fn numbers_come_back_and_times_keep_their_order(a: i64, b: i64) {
            let mut out = Vec::new();
            put_int(&mut out, a);
            prop_assert_eq!(take_int(&mut out.as_slice()).unwrap(), a);
            prop_assert_eq!(time_key(a).cmp(&time_key(b)), a.cmp(&b));
            prop_assert_eq!(take_time(&mut time_key(a).as_slice()).unwrap(), a);
        }
    }
}
