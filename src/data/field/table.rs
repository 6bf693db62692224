//! Field tables (§4.2.5.5) with the type letters RabbitMQ uses, which are not the specification's.
//!
//! `s` is a 16-bit integer, not a short string; `L` is read as a signed 64-bit integer and written as `l`, as RabbitMQ
//! re-encodes it. Every element takes at least one octet, so a table is never larger in memory than a fixed multiple of
//! its bytes, and nothing is allocated by a length that has not been compared with what is there.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Malformed,
    reader::Reader,
    writer::{length_u32, short_octets},
};
use crate::data::value::{Table, Value};

/// How deep tables and arrays may nest; RabbitMQ has no limit but its stack is not ours.
pub const DEPTH_MAX: usize = 100;

/// Decodes a table's contents (without its length).
///
/// # Errors
/// When the bytes are not fields from end to end, a name is not UTF-8, or it nests too deep.
pub fn decode(bytes: &[u8]) -> Result<Table, Malformed> {
    fields(bytes, DEPTH_MAX)
}

fn fields(bytes: &[u8], depth: usize) -> Result<Table, Malformed> {
    let (mut r, mut table) = (Reader::new(bytes), Table::default());
    while !r.rest().is_empty() {
        let name = r.shortstr()?.to_owned();
        table.0.push((name, value(&mut r, depth)?));
    }
    Ok(table)
}

fn elements(bytes: &[u8], depth: usize) -> Result<Vec<Value>, Malformed> {
    let (mut r, mut array) = (Reader::new(bytes), Vec::new());
    while !r.rest().is_empty() {
        array.push(value(&mut r, depth)?);
    }
    Ok(array)
}

fn value(r: &mut Reader<'_>, depth: usize) -> Result<Value, Malformed> {
    let deeper = || depth.checked_sub(1).ok_or(Malformed::TooDeep(DEPTH_MAX));
    Ok(match r.octet()? {
        b'A' => Value::Array(elements(r.longstr()?, deeper()?)?),
        b'B' => Value::U8(r.octet()?),
        b'D' => Value::Decimal { scale: r.octet()?, unscaled: r.long()? },
        b'F' => Value::Table(fields(r.longstr()?, deeper()?)?),
        b'I' => Value::I32(r.long()?.cast_signed()),
        b'L' | b'l' => Value::I64(r.longlong()?.cast_signed()),
        b'S' => Value::LongStr(Bytes::copy_from_slice(r.longstr()?)),
        b'T' => Value::Timestamp(r.timestamp()?),
        b'V' => Value::Void,
        b'b' => Value::I8(r.octet()?.cast_signed()),
        b'd' => Value::F64(f64::from_bits(r.longlong()?)),
        b'f' => Value::F32(f32::from_bits(r.long()?)),
        b'i' => Value::U32(r.long()?),
        b's' => Value::I16(r.short()?.cast_signed()),
        b't' => Value::Bool(r.octet()? != 0),
        b'u' => Value::U16(r.short()?),
        b'x' => Value::Binary(Bytes::copy_from_slice(r.longstr()?)),
        letter => return Err(Malformed::FieldType(letter)),
    })
}

/// The first value of that name in a table's contents, without decoding the others.
///
/// # Errors
/// When the bytes before it are not fields, or its own are not a value.
pub fn find(bytes: &[u8], name: &str) -> Result<Option<Value>, Malformed> {
    let mut r = Reader::new(bytes);
    while !r.rest().is_empty() {
        if r.short_octets()? == name.as_bytes() {
            return value(&mut r, DEPTH_MAX).map(Some);
        }
        skip(&mut r)?;
    }
    Ok(None)
}

/// Whether any of `names` is a field of the table's contents, without decoding one.
///
/// # Errors
/// When the bytes before it are not fields.
pub fn names_any(bytes: &[u8], names: &[&str]) -> Result<bool, Malformed> {
    let mut r = Reader::new(bytes);
    while !r.rest().is_empty() {
        let name = r.short_octets()?;
        if names.iter().any(|n| n.as_bytes() == name) {
            return Ok(true);
        }
        skip(&mut r)?;
    }
    Ok(false)
}

fn skip(r: &mut Reader<'_>) -> Result<(), Malformed> {
    let len = match r.octet()? {
        b'A' | b'F' | b'S' | b'x' => usize::try_from(r.long()?).map_err(|_| Malformed::Length)?,
        b'B' | b'b' | b't' => 1,
        b's' | b'u' => 2,
        b'I' | b'f' | b'i' => 4,
        b'D' => 5,
        b'L' | b'T' | b'd' | b'l' => 8,
        b'V' => 0,
        letter => return Err(Malformed::FieldType(letter)),
    };
    r.octets(len).map(|_| ())
}

/// Appends a table with its length.
pub fn encode(table: &Table, out: &mut BytesMut) {
    with_length(out, |out| {
        for (name, value) in &table.0 {
            short_octets(out, name.get(..name.floor_char_boundary(255)).unwrap_or_default().as_bytes());
            put_value(value, out);
        }
    });
}

/// A table's contents, without their length: what [`decode`] reads.
#[must_use]
pub fn contents(table: &Table) -> BytesMut {
    let mut out = BytesMut::new();
    encode(table, &mut out);
    out.split_off(4)
}

fn put_value(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Array(array) => {
            out.put_u8(b'A');
            with_length(out, |out| array.iter().for_each(|v| put_value(v, out)));
        }
        Value::Binary(octets) => put_octets(out, b'x', octets),
        Value::Bool(bit) => out.put_slice(&[b't', u8::from(*bit)]),
        Value::Decimal { scale, unscaled } => {
            out.put_slice(&[b'D', *scale]);
            out.put_u32(*unscaled);
        }
        Value::F32(n) => put_number(out, b'f', n.to_be_bytes()),
        Value::F64(n) => put_number(out, b'd', n.to_be_bytes()),
        Value::I8(n) => put_number(out, b'b', n.to_be_bytes()),
        Value::I16(n) => put_number(out, b's', n.to_be_bytes()),
        Value::I32(n) => put_number(out, b'I', n.to_be_bytes()),
        Value::I64(n) => put_number(out, b'l', n.to_be_bytes()),
        Value::LongStr(octets) => put_octets(out, b'S', octets),
        Value::Table(table) => {
            out.put_u8(b'F');
            encode(table, out);
        }
        Value::Timestamp(seconds) => put_number(out, b'T', seconds.to_be_bytes()),
        Value::U8(n) => put_number(out, b'B', n.to_be_bytes()),
        Value::U16(n) => put_number(out, b'u', n.to_be_bytes()),
        Value::U32(n) => put_number(out, b'i', n.to_be_bytes()),
        Value::Void => out.put_u8(b'V'),
    }
}

fn put_number<const N: usize>(out: &mut BytesMut, letter: u8, octets: [u8; N]) {
    out.put_u8(letter);
    out.put_slice(&octets);
}

fn put_octets(out: &mut BytesMut, letter: u8, octets: &[u8]) {
    out.put_u8(letter);
    out.put_u32(length_u32(octets.len()));
    out.put_slice(octets);
}

fn with_length(out: &mut BytesMut, contents: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    contents(out);
    let len = length_u32(out.len() - at - 4);
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let octets = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let leaf = prop_oneof![
            octets.clone().prop_map(Value::Binary),
            any::<bool>().prop_map(Value::Bool),
            (any::<u8>(), any::<u32>()).prop_map(|(scale, unscaled)| Value::Decimal { scale, unscaled }),
            any::<f32>().prop_map(Value::F32),
            any::<f64>().prop_map(Value::F64),
            any::<i8>().prop_map(Value::I8),
            any::<i16>().prop_map(Value::I16),
            any::<i32>().prop_map(Value::I32),
            any::<i64>().prop_map(Value::I64),
            octets.prop_map(Value::LongStr),
            any::<u64>().prop_map(Value::Timestamp),
            any::<u8>().prop_map(Value::U8),
            any::<u16>().prop_map(Value::U16),
            any::<u32>().prop_map(Value::U32),
            Just(Value::Void),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::vec(("[a-z-]{0,9}", inner), 0..5).prop_map(|f| Value::Table(Table(f))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_table_decodes_to_what_was_encoded(fields in proptest::collection::vec((".{0,9}", any_value()), 0..6)) {
            let (table, mut out) = (Table(fields), BytesMut::new());
            encode(&table, &mut out);
            prop_assert_eq!(&decode(&out[4..]).unwrap(), &table);
            for (name, value) in &table.0 {
                if table.field(name) == Some(value) {
                    let found = find(&out[4..], name).unwrap();
                    prop_assert_eq!(found.as_ref(), Some(value));
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_what_decodes_is_stable(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(table) = decode(&bytes) {
                let mut out = BytesMut::new();
                encode(&table, &mut out);
                prop_assert_eq!(out.len(), bytes.len() + 4);
            }
            let _ = find(&bytes, "x");
        }
    }

    #[test]
    fn every_letter_comes_back_as_it_was_but_the_capital_l() {
        let check = |field: &[u8], back: &[u8]| {
            let mut out = BytesMut::new();
            encode(&decode(&[b"\x01k", field].concat()).unwrap(), &mut out);
            assert_eq!(&out[6..], back);
        };
        for field in [
            &b"S\0\0\0\x01a"[..],
            b"I\xff\xff\xff\xfe",
            b"D\x02\0\0\x01\0",
            b"T\0\0\0\0\0\0\0\x09",
            b"F\0\0\0\0",
            b"A\0\0\0\x01V",
            b"b\xff",
            b"B\xff",
            b"s\xff\xfe",
            b"u\xff\xfe",
            b"i\xff\xff\xff\xff",
            b"l\xff\xff\xff\xff\xff\xff\xff\xff",
            b"d\x40\x09\x21\xfb\x54\x44\x2d\x18",
            b"f\x40\x49\x0f\xdb",
            b"t\x01",
            b"x\0\0\0\x02\0\xff",
            b"V",
        ] {
            check(field, field);
        }
        check(b"L\0\0\0\0\0\0\0\x05", b"l\0\0\0\0\0\0\0\x05");
    }

    #[test]
    fn nesting_stops_at_the_limit() {
        let nested = |levels: usize| {
            let mut value = Value::Void;
            for _ in 0..levels {
                value = Value::Array(vec![value]);
            }
            let mut out = BytesMut::new();
            encode(&Table(vec![("k".to_owned(), value)]), &mut out);
            decode(&out[4..]).map(|_| ())
        };
        assert_eq!(nested(DEPTH_MAX), Ok(()));
        assert_eq!(nested(DEPTH_MAX + 1), Err(Malformed::TooDeep(DEPTH_MAX)));
    }

    #[test]
    fn a_length_beyond_the_bytes_is_refused() {
        for bytes in [&b"\x01kS\xff\xff\xff\xff"[..], b"\x01kA\0\0\0\x02V", b"\x05k", b"\x01k", b"\x01kI\0\0"]
        {
            assert_eq!(decode(bytes), Err(Malformed::Length));
            assert_eq!(find(bytes, "other"), Err(Malformed::Length));
        }
        assert_eq!(decode(b"\x01kz"), Err(Malformed::FieldType(b'z')));
        assert_eq!(decode(b"\x01\xffV"), Err(Malformed::Utf8));
    }
}
