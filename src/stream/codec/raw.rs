//! The `raw` format: one column is the whole value. (Flink: RawFormatDeserializationSchema)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use super::DecodeError;
use crate::stream::{datum::Datum, plan::types::Type};

/// The bytes as a value of that type.
pub fn decode(bytes: &[u8], kind: &Type, big_endian: bool) -> Result<Datum, DecodeError> {
    Ok(match kind {
        // As Java's `new String(bytes, UTF_8)`: what is no UTF-8 becomes U+FFFD.
        Type::Char(_) | Type::Varchar(_) => Datum::str(String::from_utf8_lossy(bytes)),
        Type::Binary(_) | Type::Varbinary(_) => Datum::bytes(bytes),
        Type::Boolean => Datum::Bool(sized::<1>(bytes, kind)? != [0]),
        Type::TinyInt => Datum::Int(i8::from_be_bytes(sized(bytes, kind)?).into()),
        Type::SmallInt => {
            let bytes = sized(bytes, kind)?;
            Datum::Int(if big_endian { i16::from_be_bytes(bytes) } else { i16::from_le_bytes(bytes) }.into())
        }
        Type::Int => {
            let bytes = sized(bytes, kind)?;
            Datum::Int(if big_endian { i32::from_be_bytes(bytes) } else { i32::from_le_bytes(bytes) }.into())
        }
        Type::BigInt => {
            let bytes = sized(bytes, kind)?;
            Datum::Int(if big_endian { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) })
        }
        Type::Float => {
            let bytes = sized(bytes, kind)?;
            Datum::Float(if big_endian { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) })
        }
        Type::Double => {
            let bytes = sized(bytes, kind)?;
            Datum::Double(if big_endian { f64::from_be_bytes(bytes) } else { f64::from_le_bytes(bytes) })
        }
        other => {
            return Err(DecodeError(format!("The 'raw' format doesn't supports '{other}' as column type.")));
        }
    })
}

fn sized<const N: usize>(bytes: &[u8], kind: &Type) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| {
        DecodeError(format!(
            "Size of data received for deserializing {kind} type is {}, expected {N}.",
            bytes.len()
        ))
    })
}

/// The value as bytes; `None` for NULL.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the value has the width of its type")]
pub fn encode(value: &Datum, kind: &Type, big_endian: bool) -> Option<Vec<u8>> {
    macro_rules! bytes {
        ($n:expr) => {
            if big_endian { $n.to_be_bytes().to_vec() } else { $n.to_le_bytes().to_vec() }
        };
    }
    Some(match (value, kind) {
        (Datum::Str(text), _) => text.as_bytes().to_vec(),
        (Datum::Bytes(bytes), _) => bytes.to_vec(),
        (Datum::Bool(b), _) => vec![u8::from(*b)],
        (Datum::Int(n), Type::TinyInt) => bytes!((*n as i8)),
        (Datum::Int(n), Type::SmallInt) => bytes!((*n as i16)),
        (Datum::Int(n), Type::Int) => bytes!((*n as i32)),
        (Datum::Int(n), _) => bytes!(n),
        (Datum::Float(x), _) => bytes!(x),
        (Datum::Double(x), _) => bytes!(x),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_in_both_byte_orders() {
        let rows = [
            (Datum::Int(-2), Type::TinyInt),
            (Datum::Int(-300), Type::SmallInt),
            (Datum::Int(70_000), Type::Int),
            (Datum::Int(i64::MIN), Type::BigInt),
            (Datum::Double(2.5), Type::Double),
            (Datum::Float(-0.5), Type::Float),
            (Datum::Bool(true), Type::Boolean),
            (Datum::str("ä"), Type::STRING),
            (Datum::bytes([0, 255]), Type::BYTES),
        ];
        for (value, kind) in rows {
            for big_endian in [true, false] {
                let bytes = encode(&value, &kind, big_endian).unwrap();
                assert_eq!(decode(&bytes, &kind, big_endian), Ok(value.clone()), "{kind}");
            }
        }
        assert!(decode(b"abc", &Type::Int, true).is_err());
    }
}
