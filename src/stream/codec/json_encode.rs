//! The `json` format, writing: fields in the table's order, texts escaped as Jackson does.
//! (Flink: RowDataToJsonConverters)

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;

use crate::stream::{
    datum::Datum,
    expr::{
        EvalError, calendar, decimal,
        text::{java_double, java_single},
    },
    plan::{
        format::{JsonOptions, NullKeys},
        types::{DataType, Type},
    },
};

/// Room that an object gets beyond the length of the one before.
const LENGTH_SPARE: usize = 16;

/// Writes objects of known fields.
pub struct JsonEncoder {
    options: JsonOptions,
    null_keys: NullKeys,
    /// `"name":`, place in the row, type.
    fields: Vec<(String, usize, Type)>,
    /// How long the last object was: the next is as long, or nearly.
    length: AtomicUsize,
}

impl JsonEncoder {
    #[must_use]
    pub fn new(options: JsonOptions, null_keys: NullKeys, fields: &[(String, usize, DataType)]) -> Self {
        let fields = fields.iter().map(|(name, slot, t)| {
            let mut key = String::new();
            write_text(&mut key, name);
            key.push(':');
            (key, *slot, t.kind.clone())
        });
        Self { options, null_keys, fields: fields.collect(), length: AtomicUsize::new(0) }
    }

    /// The object.
    ///
    /// # Errors
    /// When a NULL is a key, and the table does not say what becomes of it.
    pub fn encode(&self, columns: &[Datum]) -> Result<Vec<u8>, EvalError> {
        let mut out = String::with_capacity(self.length.load(Ordering::Relaxed) + LENGTH_SPARE);
        out.push('{');
        for (key, slot, kind) in &self.fields {
            let value = columns.get(*slot).unwrap_or(&Datum::Null);
            if value.is_null() && self.options.ignore_null_fields {
                continue;
            }
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(key);
            self.write(&mut out, value, kind)?;
        }
        out.push('}');
        self.length.store(out.len(), Ordering::Relaxed);
        Ok(out.into_bytes())
    }

    fn write(&self, out: &mut String, value: &Datum, kind: &Type) -> Result<(), EvalError> {
        match value {
            Datum::Null => out.push_str("null"),
            Datum::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Datum::Int(n) => write_int(out, *n),
            // What is no number in JSON is a text there, as Jackson writes it.
            Datum::Double(x) if !x.is_finite() => write_text(out, &java_double(*x)),
            Datum::Float(x) if !x.is_finite() => write_text(out, &java_single(*x)),
            Datum::Double(x) => out.push_str(&java_double(*x)),
            Datum::Float(x) => out.push_str(&java_single(*x)),
            Datum::Decimal(n) => {
                let scale = kind.as_decimal().map_or(0, |(_, scale)| scale);
                let write =
                    if self.options.decimal_as_plain_number { decimal::plain } else { decimal::scientific };
                out.push_str(&write((*n).into(), scale));
            }
            Datum::Str(text) => write_text(out, text),
            Datum::Bytes(bytes) => {
                out.push('"');
                base64::prelude::BASE64_STANDARD.encode_string(bytes, out);
                out.push('"');
            }
            Datum::Date(days) => {
                out.push('"');
                calendar::write_date(out, i64::from(*days));
                out.push('"');
            }
            Datum::Time(ms) => {
                let at = crate::stream::datum::Instant::from_ms(i64::from(*ms));
                out.push('"');
                calendar::write_time(out, &calendar::Civil::of(at), 0);
                out.push('"');
            }
            Datum::Timestamp(at) => {
                out.push('"');
                calendar::write_timestamp(out, *at, if self.options.iso_timestamps { 'T' } else { ' ' }, 0);
                out.push_str(if matches!(kind, Type::TimestampLtz(_)) { "Z\"" } else { "\"" });
            }
            Datum::Array(items) => return self.write_array(out, items, kind),
            Datum::Map(entries) => return self.write_map(out, entries, kind),
            Datum::Row(values) => return self.write_row(out, values, kind),
        }
        Ok(())
    }

    fn write_array(&self, out: &mut String, items: &[Datum], kind: &Type) -> Result<(), EvalError> {
        let Type::Array(item) = kind else {
            out.push_str("null");
            return Ok(());
        };
        out.push('[');
        for (i, value) in items.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            self.write(out, value, &item.kind)?;
        }
        out.push(']');
        Ok(())
    }

    fn write_map(&self, out: &mut String, entries: &[(Datum, Datum)], kind: &Type) -> Result<(), EvalError> {
        // A multiset says how often each text is there.
        let of = kind.entry().map_or(&Type::Int, |(_, of)| &of.kind);
        out.push('{');
        for (i, (name, value)) in self.named(entries)?.into_iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            write_text(out, name);
            out.push(':');
            self.write(out, value, of)?;
        }
        out.push('}');
        Ok(())
    }

    /// The members of a map's object. The name that a NULL gets may be that of another key: then the last value counts, and
    /// stands where the first did, as in Jackson's objects.
    fn named<'a>(&'a self, entries: &'a [(Datum, Datum)]) -> Result<Vec<(&'a str, &'a Datum)>, EvalError> {
        let mut named: Vec<(&str, &Datum)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let name = match (key, &self.null_keys) {
                (Datum::Str(key), _) => key,
                (_, NullKeys::Named(name)) => name.as_str(),
                (_, NullKeys::Drop) => continue,
                // Flink's words.
                (_, NullKeys::Fail) => {
                    return Err(EvalError(
                        "JSON format doesn't support to serialize map data with null keys. You can drop null key \
                         entries or encode null in literals by specifying map-null-key.mode option."
                            .to_owned(),
                    ));
                }
            };
            let may_be_there = matches!(&self.null_keys, NullKeys::Named(null) if null == name);
            match named.iter_mut().find(|(own, _)| may_be_there && *own == name) {
                Some(before) => before.1 = value,
                None => named.push((name, value)),
            }
        }
        Ok(named)
    }

    fn write_row(&self, out: &mut String, values: &[Datum], kind: &Type) -> Result<(), EvalError> {
        let Type::Row(fields) = kind else {
            out.push_str("null");
            return Ok(());
        };
        out.push('{');
        let mut first = true;
        for (value, (name, of)) in values.iter().zip(fields) {
            if value.is_null() && self.options.ignore_null_fields {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            write_text(out, name);
            out.push(':');
            self.write(out, value, &of.kind)?;
        }
        out.push('}');
        Ok(())
    }
}

fn write_int(out: &mut String, n: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        out.push('-');
    }
    out.push_str(digits.get(at..).and_then(|d| std::str::from_utf8(d).ok()).unwrap_or_default());
}

/// A text in quotes. Runs that need no escape are copied whole.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            b'\t' => "\\t",
            b'\n' => "\\n",
            0x0c => "\\f",
            b'\r' => "\\r",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(text.get(from..at).unwrap_or_default());
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04X}"));
        } else {
            out.push_str(escape);
        }
        from = at + 1;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::datum::Instant;

    #[test]
    fn objects_are_written_as_flink_writes_them() {
        let options = JsonOptions::default();
        let rows = [
            (Datum::Int(i64::MIN), Type::BigInt, "-9223372036854775808"),
            (Datum::Double(100.0), Type::Double, "100.0"),
            (Datum::Double(1e10), Type::Double, "1.0E10"),
            (Datum::decimal(1), Type::Decimal { precision: 10, scale: 7 }, "1E-7"),
            (Datum::str("a\"\\\n\u{1f}ä"), Type::STRING, r#""a\"\\\n\u001Fä""#),
            (Datum::Null, Type::Int, "null"),
            (Datum::bytes([0, 1]), Type::BYTES, r#""AAE=""#),
            (Datum::Timestamp(Instant::from_ms(1_500)), Type::Timestamp(3), r#""1970-01-01 00:00:01.5""#),
            (Datum::Timestamp(Instant::from_ms(1_000)), Type::TimestampLtz(3), r#""1970-01-01 00:00:01Z""#),
            (Datum::Date(1), Type::Date, r#""1970-01-02""#),
            (Datum::Time(3_661_000), Type::Time(0), r#""01:01:01""#),
        ];
        for (value, kind, expected) in rows {
            let encoder =
                JsonEncoder::new(options, NullKeys::Fail, &[("a".to_owned(), 0, DataType::nullable(kind))]);
            let got = String::from_utf8(encoder.encode(&[value]).unwrap()).unwrap();
            assert_eq!(got, format!("{{\"a\":{expected}}}"));
        }
    }

    #[test]
    fn a_null_among_the_keys_fails_goes_or_has_a_name() {
        let item = |kind: Type| Box::new(DataType::nullable(kind));
        let kind = DataType::nullable(Type::Map(item(Type::STRING), item(Type::Int)));
        let entry = |key: Datum, value: i64| (key, Datum::Int(value));
        let entries = [entry(Datum::str("a"), 1), entry(Datum::Null, 2), entry(Datum::str("b"), 3)];
        let options = JsonOptions::default();
        let written = |null_keys: NullKeys| {
            let encoder = JsonEncoder::new(options, null_keys, &[("m".to_owned(), 0, kind.clone())]);
            let bytes = encoder.encode(&[Datum::Map(entries.to_vec().into())]);
            bytes.map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert!(written(NullKeys::Fail).is_err_and(|e| e.0.contains("map-null-key.mode")));
        assert_eq!(written(NullKeys::Drop).unwrap(), r#"{"m":{"a":1,"b":3}}"#);
        assert_eq!(written(NullKeys::Named("c".into())).unwrap(), r#"{"m":{"a":1,"c":2,"b":3}}"#);
        assert_eq!(written(NullKeys::Named("a".into())).unwrap(), r#"{"m":{"a":2,"b":3}}"#);
        assert_eq!(written(NullKeys::Named("b".into())).unwrap(), r#"{"m":{"a":1,"b":3}}"#);
    }
}
