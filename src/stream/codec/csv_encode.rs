//! The `csv` format, writing: quotes where Jackson puts them. (Flink: RowDataToCsvConverters; Jackson: CsvEncoder)

use base64::Engine as _;

use crate::stream::{
    datum::{Datum, Instant},
    expr::{
        calendar, decimal,
        text::{java_double, java_single},
    },
    plan::{
        format::CsvOptions,
        types::{DataType, Type},
    },
};

/// A longer text is quoted without being looked at.
const LOOKED_AT_CHARS_MAX: usize = 24;

/// Writes records of known columns.
pub struct CsvEncoder {
    options: CsvOptions,
    /// Place in the row, type.
    fields: Vec<(usize, Type)>,
}

impl CsvEncoder {
    #[must_use]
    pub fn new(options: CsvOptions, fields: &[(String, usize, DataType)]) -> Self {
        let fields = fields.iter().map(|(_, slot, t)| (*slot, t.kind.clone())).collect();
        Self { options, fields }
    }

    /// The record, without an end of line.
    #[must_use]
    pub fn encode(&self, columns: &[Datum]) -> Vec<u8> {
        let mut out = String::with_capacity(self.fields.len() * 12);
        for (index, (slot, kind)) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push(self.options.delimiter);
            }
            let value = columns.get(*slot).unwrap_or(&Datum::Null);
            let text = self.text(value, kind);
            if is_text(value) { self.write(&mut out, &text) } else { out.push_str(&text) }
        }
        out.into_bytes()
    }

    fn text(&self, value: &Datum, kind: &Type) -> String {
        let mut out = String::new();
        match value {
            Datum::Null => out.push_str(self.options.null_literal.as_deref().unwrap_or_default()),
            Datum::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Datum::Int(n) => out = n.to_string(),
            Datum::Double(x) => out = java_double(*x),
            Datum::Float(x) => out = java_single(*x),
            Datum::Decimal(n) => {
                let (_, scale) = kind.as_decimal().unwrap_or_default();
                out = self.number((*n).into(), scale);
            }
            Datum::Str(text) => out.push_str(text),
            Datum::Bytes(bytes) => base64::prelude::BASE64_STANDARD.encode_string(bytes, &mut out),
            Datum::Date(days) => calendar::write_date(&mut out, i64::from(*days)),
            Datum::Time(ms) => {
                let at = calendar::Civil::of(Instant::from_ms(i64::from(*ms)));
                calendar::write_time(&mut out, &at, 0);
            }
            Datum::Timestamp(at) => {
                calendar::write_timestamp(&mut out, *at, ' ', 0);
                if matches!(kind, Type::TimestampLtz(_)) {
                    out.push('Z');
                }
            }
            Datum::Array(items) => {
                let Type::Array(item) = kind else { return out };
                out = self.joined(items.iter().map(|value| (value, &item.kind)));
            }
            Datum::Row(values) => {
                let Type::Row(fields) = kind else { return out };
                out = self.joined(values.iter().zip(fields.iter().map(|(_, of)| &of.kind)));
            }
            // No column of this type can be declared.
            Datum::Map(_) => {}
        }
        out
    }

    fn joined<'a>(&self, values: impl Iterator<Item = (&'a Datum, &'a Type)>) -> String {
        let texts: Vec<String> = values.map(|(value, kind)| self.text(value, kind)).collect();
        texts.join(&self.options.array_element_delimiter)
    }

    /// Zeros at the end go first, where 100 is `1E+2`.
    fn number(&self, mut unscaled: i128, scale: u8) -> String {
        if !self.options.scientific_decimals {
            return decimal::plain(unscaled, scale);
        }
        let mut scale = i64::from(scale);
        while unscaled != 0 && unscaled % 10 == 0 {
            unscaled /= 10;
            scale -= 1;
        }
        if unscaled == 0 {
            return "0".to_owned();
        }
        if let Ok(scale) = u8::try_from(scale) {
            return decimal::scientific(unscaled, scale);
        }
        let digits = unscaled.unsigned_abs().to_string();
        let exponent = digits.len() as i64 - 1 - scale;
        let (first, rest) = digits.split_at(1);
        let sign = if unscaled < 0 { "-" } else { "" };
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}E+{exponent}")
    }

    fn write(&self, out: &mut String, text: &str) {
        match self.options.quote {
            Some(quote) if self.needs_quotes(text, quote) => {
                out.push(quote);
                for c in text.chars() {
                    if c == quote || Some(c) == self.options.escape {
                        out.push(c);
                    }
                    out.push(c);
                }
                out.push(quote);
            }
            Some(_) | None => out.push_str(text),
        }
    }

    /// Jackson looks at few characters, and takes every one for special that sorts below a special one.
    fn needs_quotes(&self, text: &str, quote: char) -> bool {
        let special = [Some(self.options.delimiter), Some(quote), self.options.escape];
        let highest = special.into_iter().flatten().max().unwrap_or('\r');
        text.encode_utf16().count() > LOOKED_AT_CHARS_MAX || text.chars().any(|c| c <= highest)
    }
}

/// What Jackson hands to its encoder as a text, rather than as a number, truth value, bytes or NULL.
fn is_text(value: &Datum) -> bool {
    matches!(
        value,
        Datum::Array(_)
            | Datum::Date(_)
            | Datum::Map(_)
            | Datum::Row(_)
            | Datum::Str(_)
            | Datum::Time(_)
            | Datum::Timestamp(_)
    )
}
