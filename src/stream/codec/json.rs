//! The `json` format, reading. One pass over the text: fields that are needed are cut out and converted by their
//! type, all others are skipped. (Flink 2.2: JsonParserToRowDataConverters)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use base64::Engine as _;
use serde::de::{Deserialize as _, IgnoredAny};

use super::{
    DecodeError, Field,
    json_scan::{Malformed, Scanner},
};
use crate::stream::{
    datum::{Columns, Datum},
    expr::{calendar, cast, decimal},
    plan::{
        format::JsonOptions,
        types::{DataType, Type},
    },
};

/// How much of a bad message an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// Reads objects of known fields.
pub struct JsonDecoder {
    options: JsonOptions,
    fields: Vec<Field>,
}

/// What has been seen of one object.
#[derive(Default)]
struct Seen {
    /// A bit for each field, for `fail-on-missing-field`.
    found: u128,
    /// The first field whose value is none of its type.
    failed: Option<usize>,
}

impl JsonDecoder {
    #[must_use]
    pub fn new(options: JsonOptions, fields: Vec<Field>) -> Self {
        Self { options, fields }
    }

    /// Fills the columns; `false` for a message that is to be skipped.
    pub fn decode(&self, bytes: &[u8], columns: &mut Columns) -> Result<bool, DecodeError> {
        // Checked as a whole once: every piece of it is a text then.
        let read = match std::str::from_utf8(bytes) {
            Ok(text) => self.object(text, columns).map_err(|Malformed| malformed(text)),
            Err(e) => Err(e.to_string()),
        };
        let field = |index: usize| self.fields.get(index).map_or("", |field| field.name.as_str());
        let reason = match read {
            Err(reason) => reason,
            Ok(Seen { failed: Some(index), .. }) => {
                format!("Fail to deserialize at field: {}.", field(index))
            }
            Ok(Seen { found, .. }) if self.options.fail_on_missing_field => match self.missing(found) {
                Some(index) => format!("Could not find field with name '{}'.", field(index)),
                None => return Ok(true),
            },
            Ok(_) => return Ok(true),
        };
        if self.options.ignore_parse_errors {
            return Ok(false);
        }
        let shown: String = String::from_utf8_lossy(bytes).chars().take(SHOWN_CHARS_MAX).collect();
        Err(DecodeError(format!("Failed to deserialize JSON '{shown}'. {reason}")))
    }

    fn missing(&self, found: u128) -> Option<usize> {
        (0..self.fields.len()).find(|index| *index < 128 && found & (1 << index) == 0)
    }

    /// What follows the object is not looked at, as Jackson does not.
    fn object(&self, text: &str, columns: &mut Columns) -> Result<Seen, Malformed> {
        let mut seen = Seen::default();
        let name_of = |index: usize| self.fields.get(index).map(|field| field.name.as_str());
        members(&mut Scanner::new(text), name_of, |index, scanner| {
            let Some(field) = self.fields.get(index) else { return Ok(()) };
            if index < 128 {
                seen.found |= 1 << index;
            }
            let value = match read(scanner, &field.kind, self.options)? {
                Ok(value) => value,
                // Only the field is NULL then, the row stays.
                Err(Bad) if self.options.ignore_parse_errors => Datum::Null,
                Err(Bad) => {
                    seen.failed.get_or_insert(index);
                    return Ok(());
                }
            };
            if let Some(column) = columns.get_mut(field.slot) {
                *column = value;
            }
            Ok(())
        })?;
        Ok(seen)
    }
}

/// Goes through the object that comes next. Of each member that is asked for, `value` must read the value.
fn members<'n>(
    scanner: &mut Scanner<'_>,
    name_of: impl Fn(usize) -> Option<&'n str>,
    mut value: impl FnMut(usize, &mut Scanner<'_>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    scanner.expect(b'{')?;
    let mut expected = 0;
    let mut more = !scanner.take(b'}');
    while more {
        let name = match scanner.plain() {
            Some(name) => name.into(),
            None => quoted(scanner.string()?).map_err(|Bad| Malformed)?,
        };
        // Objects mostly have their members in one order.
        let found = if name_of(expected) == Some(&*name) {
            Some(expected)
        } else {
            (0..).map_while(&name_of).position(|asked| asked == name)
        };
        scanner.expect(b':')?;
        match found {
            Some(index) => {
                expected = index + 1;
                value(index, scanner)?;
            }
            None => drop(scanner.value()?),
        }
        more = scanner.another(b'}')?;
    }
    Ok(())
}

/// What is wrong with a text that is no object, and where.
fn malformed(text: &str) -> String {
    let mut reader = serde_json::Deserializer::from_str(text);
    match IgnoredAny::deserialize(&mut reader) {
        Err(e) => e.to_string(),
        Ok(IgnoredAny) => "It is no JSON object.".to_owned(),
    }
}

/// The value that comes next, if it is one of the type. What is frequent is read where it lies; all else is cut out first.
fn read(
    scanner: &mut Scanner<'_>,
    kind: &Type,
    options: JsonOptions,
) -> Result<Result<Datum, Bad>, Malformed> {
    match kind {
        Type::TinyInt | Type::SmallInt | Type::Int | Type::BigInt => {
            if let Some(number) = scanner.small_integer() {
                return Ok(if cast::wrap(number, kind) == number {
                    Ok(Datum::Int(number))
                } else {
                    Err(Bad)
                });
            }
        }
        Type::Char(_) | Type::Varchar(_) => {
            if let Some(text) = scanner.plain() {
                return Ok(Ok(Datum::str(text)));
            }
        }
        Type::Row(fields) if scanner.peek() == Some(b'{') => return row(scanner, fields, options),
        _ => {}
    }
    Ok(convert(scanner.value()?, kind, options))
}

/// An object as a ROW. One of its values that is none of its type spoils it, but it must be JSON to its end.
fn row(
    scanner: &mut Scanner<'_>,
    fields: &[(String, DataType)],
    options: JsonOptions,
) -> Result<Result<Datum, Bad>, Malformed> {
    let mut values = vec![Datum::Null; fields.len()];
    let mut spoilt = false;
    let name_of = |index: usize| fields.get(index).map(|(name, _)| name.as_str());
    members(scanner, name_of, |index, scanner| {
        let (Some((_, of)), Some(value)) = (fields.get(index), values.get_mut(index)) else { return Ok(()) };
        if of.kind == Type::Null {
            // Nobody reads it.
            return scanner.value().map(drop);
        }
        match read(scanner, &of.kind, options)? {
            Ok(found) => *value = found,
            Err(Bad) => spoilt = true,
        }
        Ok(())
    })?;
    Ok(if spoilt { Err(Bad) } else { Ok(Datum::Row(values.into())) })
}

/// A text that is no value of its type.
struct Bad;

impl From<Malformed> for Bad {
    fn from(Malformed: Malformed) -> Self {
        Self
    }
}

/// The value that a piece of JSON is for a type.
fn convert(raw: &str, kind: &Type, options: JsonOptions) -> Result<Datum, Bad> {
    if raw == "null" {
        return Ok(Datum::Null);
    }
    match kind {
        Type::Char(_) | Type::Varchar(_) => text(raw),
        Type::Boolean => match raw {
            "true" => Ok(Datum::Bool(true)),
            "false" => Ok(Datum::Bool(false)),
            _ => Ok(Datum::Bool(scalar(raw)?.trim().eq_ignore_ascii_case("true"))),
        },
        Type::TinyInt | Type::SmallInt | Type::Int | Type::BigInt => integer(raw, kind),
        Type::Float | Type::Double => {
            let (double, single) = cast::parse_double(&scalar(raw)?).map_err(|_| Bad)?;
            Ok(if *kind == Type::Double { Datum::Double(double) } else { Datum::Float(single) })
        }
        Type::Decimal { precision, scale } => {
            let unscaled = decimal::parse(scalar(raw)?.trim(), *precision, *scale).ok_or(Bad)?;
            Ok(unscaled.map_or(Datum::Null, Datum::decimal))
        }
        Type::Binary(_) | Type::Varbinary(_) => {
            let text = quoted(raw)?;
            base64::prelude::BASE64_STANDARD.decode(text.as_bytes()).map(Datum::bytes).map_err(|_| Bad)
        }
        Type::Date => calendar::parse_date(&quoted(raw)?).map(Datum::Date).ok_or(Bad),
        Type::Time(_) => {
            let nanos = calendar::parse_time(&quoted(raw)?, true).ok_or(Bad)?;
            i32::try_from(nanos / 1_000_000).map(Datum::Time).map_err(|_| Bad)
        }
        Type::Timestamp(digits) | Type::TimestampLtz(digits) => {
            let text = quoted(raw)?;
            let text = match kind {
                Type::TimestampLtz(_) => text.strip_suffix('Z').ok_or(Bad)?,
                _ => &text,
            };
            let between = if options.iso_timestamps { 'T' } else { ' ' };
            let at = calendar::parse_timestamp(text, between, false).ok_or(Bad)?;
            Ok(Datum::Timestamp(at.truncated(*digits)))
        }
        Type::Array(item) => Ok(Datum::Array(items(raw, |raw| convert(raw, &item.kind, options))?.into())),
        Type::Map(_, value) => {
            let convert_entry =
                |key: &str, raw: &str| Ok((Datum::str(key), convert(raw, &value.kind, options)?));
            Ok(Datum::Map(entries(raw, convert_entry)?.into()))
        }
        Type::Multiset(_) => {
            let count = |key: &str, raw: &str| Ok((Datum::str(key), convert(raw, &Type::Int, options)?));
            Ok(Datum::Map(entries(raw, count)?.into()))
        }
        Type::Row(fields) => row(&mut Scanner::new(raw), fields, options)?,
        Type::IntervalDay | Type::IntervalYear | Type::Null => Err(Bad),
    }
}

/// What stands between the quotes, without a copy where nothing is escaped.
fn quoted(raw: &str) -> Result<std::borrow::Cow<'_, str>, Bad> {
    let inner = raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')).ok_or(Bad)?;
    if !inner.as_bytes().contains(&b'\\') {
        return Ok(inner.into());
    }
    serde_json::from_str::<String>(raw).map(Into::into).map_err(|_| Bad)
}

/// The text of a string, number or truth value.
fn scalar(raw: &str) -> Result<std::borrow::Cow<'_, str>, Bad> {
    match raw.as_bytes().first() {
        Some(b'"') => quoted(raw),
        Some(b'{' | b'[') | None => Err(Bad),
        Some(_) => Ok(raw.into()),
    }
}

/// STRING takes everything: objects and arrays as their own text without blanks.
fn text(raw: &str) -> Result<Datum, Bad> {
    match raw.as_bytes().first() {
        Some(b'{' | b'[') => Ok(Datum::str(compact(raw))),
        _ => scalar(raw).map(|text| Datum::str(&*text)),
    }
}

fn compact(raw: &str) -> String {
    let (mut out, mut in_text, mut escaped) = (String::with_capacity(raw.len()), false, false);
    for c in raw.chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            in_text = true;
        } else if c.is_ascii_whitespace() {
            continue;
        }
        out.push(c);
    }
    out
}

fn integer(raw: &str, kind: &Type) -> Result<Datum, Bad> {
    let text = scalar(raw)?;
    let text = text.trim();
    let n = match text.parse::<i64>() {
        Ok(n) => n,
        // A number with a fraction is cut for INT and BIGINT, as Jackson's getIntValue does.
        Err(_) if !raw.starts_with('"') && matches!(kind, Type::Int | Type::BigInt) => {
            let x: f64 = text.parse().map_err(|_| Bad)?;
            if !(-9.2e18..9.2e18).contains(&x) {
                return Err(Bad);
            }
            x as i64
        }
        Err(_) => return Err(Bad),
    };
    if cast::wrap(n, kind) == n { Ok(Datum::Int(n)) } else { Err(Bad) }
}

/// The elements of an array, up to one that is none of its type.
fn items<T>(raw: &str, mut convert: impl FnMut(&str) -> Result<T, Bad>) -> Result<Vec<T>, Bad> {
    let mut scanner = Scanner::new(raw);
    let mut items = Vec::new();
    scanner.expect(b'[')?;
    let mut more = !scanner.take(b']');
    while more {
        items.push(convert(scanner.value()?)?);
        more = scanner.another(b']')?;
    }
    Ok(items)
}

/// The members of an object.
fn entries<T>(raw: &str, mut convert: impl FnMut(&str, &str) -> Result<T, Bad>) -> Result<Vec<T>, Bad> {
    let mut scanner = Scanner::new(raw);
    let mut entries = Vec::new();
    scanner.expect(b'{')?;
    let mut more = !scanner.take(b'}');
    while more {
        let name = quoted(scanner.string()?)?;
        scanner.expect(b':')?;
        entries.push(convert(&name, scanner.value()?)?);
        more = scanner.another(b'}')?;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::datum::Instant;

    const PLAIN: JsonOptions = JsonOptions {
        ignore_parse_errors: false,
        fail_on_missing_field: false,
        iso_timestamps: false,
        ignore_null_fields: false,
        decimal_as_plain_number: false,
    };

    fn decode(options: JsonOptions, kind: Type, message: &str) -> Result<Option<Datum>, String> {
        let decoder = JsonDecoder::new(options, vec![Field { name: "a".into(), position: 0, slot: 0, kind }]);
        let mut columns = Columns::from_iter([Datum::Null]);
        match decoder.decode(message.as_bytes(), &mut columns) {
            Ok(true) => Ok(columns.pop()),
            Ok(false) => Ok(None),
            Err(e) => Err(e.0),
        }
    }

    #[test]
    fn values_are_read_by_their_type() {
        let at = |ms| Datum::Timestamp(Instant::from_ms(ms));
        let rows = [
            (Type::Int, r#"{"x": [1, {"a": 2}], "a": 7}"#, Datum::Int(7)),
            (Type::Int, r#"{"a": "7"}"#, Datum::Int(7)),
            (Type::Int, r#"{"a": 7.9}"#, Datum::Int(7)),
            (Type::Int, r#"{"a": null}"#, Datum::Null),
            (Type::Int, r#"{}"#, Datum::Null),
            (Type::Int, r#"{"a": 1, "a": 2}"#, Datum::Int(2)),
            (Type::Double, r#"{"a": 1}"#, Datum::Double(1.0)),
            (Type::Boolean, r#"{"a": "TRUE"}"#, Datum::Bool(true)),
            (Type::STRING, r#"{"a": "x\n\u00e4"}"#, Datum::str("x\nä")),
            (Type::STRING, r#"{"a": 1.50}"#, Datum::str("1.50")),
            (Type::STRING, r#"{"a": {"b": [1, "c d"]}}"#, Datum::str(r#"{"b":[1,"c d"]}"#)),
            (
                Type::Decimal { precision: 38, scale: 2 },
                r#"{"a": 123456789012345678901234567890.125}"#,
                Datum::decimal(12_345_678_901_234_567_890_123_456_789_013),
            ),
            (Type::Date, r#"{"a": "1970-01-02"}"#, Datum::Date(1)),
            (Type::Timestamp(3), r#"{"a": "1970-01-01 00:00:01.5"}"#, at(1_500)),
            (Type::TimestampLtz(3), r#"{"a": "1970-01-01 00:00:01Z"}"#, at(1_000)),
            (Type::BYTES, r#"{"a": "AAE="}"#, Datum::bytes([0, 1])),
            (
                Type::Array(Box::new(DataType::nullable(Type::Int))),
                r#"{"a": [1, null]}"#,
                Datum::Array([Datum::Int(1), Datum::Null].into()),
            ),
            (
                Type::Row(vec![("b".into(), DataType::nullable(Type::STRING))]),
                r#"{"a": {"b": "x", "c": 1}}"#,
                Datum::Row([Datum::str("x")].into()),
            ),
        ];
        for (kind, message, expected) in rows {
            assert_eq!(decode(PLAIN, kind, message), Ok(Some(expected)), "{message}");
        }
    }

    #[test]
    fn bad_messages_fail_or_are_ignored() {
        for message in ["", "nonsense", "[1]", r#"{"a": "#, "\"x\""] {
            assert!(decode(PLAIN, Type::Int, message).is_err(), "{message}");
            let ignore = JsonOptions { ignore_parse_errors: true, ..PLAIN };
            assert_eq!(decode(ignore, Type::Int, message), Ok(None), "{message}");
        }
        let field = r#"{"a": "seven"}"#;
        let text = r#"Failed to deserialize JSON '{"a": "seven"}'. Fail to deserialize at field: a."#;
        assert_eq!(decode(PLAIN, Type::Int, field), Err(text.to_owned()));
        let ignore = JsonOptions { ignore_parse_errors: true, ..PLAIN };
        assert_eq!(decode(ignore, Type::Int, field), Ok(Some(Datum::Null)));
        let strict = JsonOptions { fail_on_missing_field: true, ..PLAIN };
        assert_eq!(
            decode(strict, Type::Int, "{}"),
            Err("Failed to deserialize JSON '{}'. Could not find field with name 'a'.".to_owned())
        );
    }
}
