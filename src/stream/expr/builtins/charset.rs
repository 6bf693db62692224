//! Bytes and texts: ENCODE, DECODE, UNHEX, and the character sets that Java always has.

use super::{
    Arg, Builtin, EvalError, Expr, Nulls, Type_, literal_text, strict, strict_with, text, typed_row,
};
use crate::stream::datum::Datum;

use Arg::{Bytes, Str};

pub(super) const TABLE: &[Builtin] = &[
    typed_row("ENCODE", &[&[Str, Str]], Type_::Bytes, Nulls::Args, |args, _| {
        known(args)?;
        strict_with(|a, _| Ok(Datum::bytes(Charset::named(text(a, 1))?.encode(text(a, 0)))))
    }),
    typed_row("DECODE", &[&[Bytes, Str]], Type_::String, Nulls::Args, |args, _| {
        known(args)?;
        strict_with(|a, _| {
            let bytes = if let Some(Datum::Bytes(bytes)) = a.first() { &**bytes } else { &[] };
            Ok(Datum::str(Charset::named(text(a, 1))?.decode(bytes)))
        })
    }),
    typed_row("UNHEX", &[&[Str]], Type_::Bytes, Nulls::Always, |_, _| strict(|a| unhex(text(a, 0)))),
];

/// A character set that is a literal is looked up before the job starts.
fn known(args: &[Expr]) -> Result<(), EvalError> {
    literal_text(args, 1).map_or(Ok(()), |name| Charset::named(name).map(|_| ()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charset {
    Ascii,
    Latin1,
    /// With a mark of the byte order.
    Utf16,
    Utf16Be,
    Utf16Le,
    Utf8,
}

impl Charset {
    fn named(name: &str) -> Result<Self, EvalError> {
        match name.to_ascii_uppercase().as_str() {
            "US-ASCII" | "ASCII" => Ok(Self::Ascii),
            "ISO-8859-1" | "LATIN1" => Ok(Self::Latin1),
            "UTF-16" => Ok(Self::Utf16),
            "UTF-16BE" => Ok(Self::Utf16Be),
            "UTF-16LE" => Ok(Self::Utf16Le),
            "UTF-8" | "UTF8" => Ok(Self::Utf8),
            _ => Err(EvalError(format!("Unsupported encoding: '{name}'"))),
        }
    }

    /// What the set does not have becomes a question mark.
    fn encode(self, text: &str) -> Vec<u8> {
        let narrow = |limit: u32| -> Vec<u8> {
            text.chars()
                .map(|c| u8::try_from(u32::from(c)).ok().filter(|b| u32::from(*b) < limit).unwrap_or(b'?'))
                .collect()
        };
        match self {
            Self::Ascii => narrow(0x80),
            Self::Latin1 => narrow(0x100),
            Self::Utf16 => {
                [0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect()
            }
            Self::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Self::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf8 => text.as_bytes().to_vec(),
        }
    }

    /// What is no text becomes U+FFFD.
    fn decode(self, bytes: &[u8]) -> String {
        let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
            let units = bytes.chunks(2).map(|pair| match pair {
                [a, b] => unit([*a, *b]),
                _ => 0xfffd,
            });
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        };
        match (self, bytes) {
            (Self::Ascii, _) => bytes
                .iter()
                .map(|b| if b.is_ascii() { char::from(*b) } else { char::REPLACEMENT_CHARACTER })
                .collect(),
            (Self::Latin1, _) => bytes.iter().map(|b| char::from(*b)).collect(),
            (Self::Utf16, [0xff, 0xfe, rest @ ..]) => wide(rest, u16::from_le_bytes),
            (Self::Utf16, [0xfe, 0xff, rest @ ..]) | (Self::Utf16 | Self::Utf16Be, rest) => {
                wide(rest, u16::from_be_bytes)
            }
            (Self::Utf16Le, _) => wide(bytes, u16::from_le_bytes),
            (Self::Utf8, _) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Of an odd number of digits the first is dropped, and the result begins with a zero byte, as Flink documents it.
fn unhex(hex: &str) -> Datum {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let bytes = hex.as_bytes();
    let (odd, pairs) = bytes.split_at(bytes.len() % 2);
    let first = odd.iter().map(|b| digit(*b).map(|_| 0));
    let rest = pairs.chunks_exact(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    first.chain(rest).collect::<Option<Vec<u8>>>().map_or(Datum::Null, Datum::bytes)
}
