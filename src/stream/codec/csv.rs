//! The `csv` format, reading: a record is texts between delimiters, each a column in the table's order.
//! (Flink 2.2: CsvToRowDataConverters over Jackson's CSV)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use std::borrow::Cow;

use base64::Engine as _;

use super::{DecodeError, Field};
use crate::stream::{
    datum::{Columns, Datum},
    expr::{calendar, cast, decimal},
    plan::{
        format::CsvOptions,
        types::{DataType, Type},
    },
};

/// How much of a bad record an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// Reads records of so many columns.
pub struct CsvDecoder {
    options: CsvOptions,
    fields: Vec<Field>,
    width: usize,
}

impl CsvDecoder {
    /// `width` counts all columns of a record, `fields` are those that are needed.
    #[must_use]
    pub fn new(options: CsvOptions, fields: Vec<Field>, width: usize) -> Self {
        Self { options, fields, width }
    }

    /// Fills the columns; `false` for a record that makes no row.
    pub fn decode(&self, bytes: &[u8], columns: &mut Columns) -> Result<bool, DecodeError> {
        let text = String::from_utf8_lossy(bytes);
        let reason = match self.read(&text, columns) {
            Ok(is_row) => return Ok(is_row),
            Err(_) if self.options.ignore_parse_errors => return Ok(false),
            Err(reason) => reason,
        };
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        Err(DecodeError(format!("Failed to deserialize CSV row '{shown}'. {reason}")))
    }

    fn read(&self, text: &str, columns: &mut Columns) -> Result<bool, String> {
        let mut rest = text;
        while self.options.allow_comments && rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        }
        if rest.is_empty() {
            return Err("No content to map due to end-of-input".to_owned());
        }
        let cells = cells(rest, &self.options)?;
        let known = cells.len() <= self.width;
        if !known {
            return Err(format!("Too many entries: expected at most {}", self.width));
        }
        if cells.len() != self.width && !self.options.ignore_parse_errors {
            let (expected, found) = (self.width, cells.len());
            return Err(format!("Row length mismatch. {expected} fields expected but was {found}."));
        }
        for field in &self.fields {
            let Some(cell) = cells.get(field.position) else { continue };
            let value = match convert(cell, &field.kind, &self.options) {
                Ok(value) => value,
                // Only the field is NULL then, the row stays.
                Err(Bad) if self.options.ignore_parse_errors => Datum::Null,
                Err(Bad) => return Err(format!("Fail to deserialize at field: {}.", field.name)),
            };
            if let Some(column) = columns.get_mut(field.slot) {
                *column = value;
            }
        }
        Ok(true)
    }
}

/// The texts of the first record.
fn cells<'a>(text: &'a str, options: &CsvOptions) -> Result<Vec<Cow<'a, str>>, String> {
    let mut cells = Vec::new();
    let mut rest = text;
    loop {
        let (cell, after) = match options.quote.and_then(|quote| rest.strip_prefix(quote)) {
            Some(inner) => quoted(inner, options)?,
            None => plain(rest, options)?,
        };
        cells.push(cell);
        match after.strip_prefix(options.delimiter) {
            Some(next) => rest = next,
            None => return Ok(cells),
        }
    }
}

type Cell<'a> = (Cow<'a, str>, &'a str);

/// A text up to the delimiter or the end of the line, and what follows.
fn plain<'a>(text: &'a str, options: &CsvOptions) -> Result<Cell<'a>, String> {
    let ends = |c: char| c == options.delimiter || c == '\n' || c == '\r';
    let stops = |c: char| ends(c) || Some(c) == options.escape;
    let mut cell = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let (before, after) = rest.split_at(rest.find(stops).unwrap_or(rest.len()));
        if cell.is_empty() {
            cell = before.into()
        } else {
            cell.to_mut().push_str(before)
        }
        match after.chars().next() {
            Some(c) if !ends(c) => rest = escaped(after, cell.to_mut())?,
            _ => return Ok((cell, after)),
        }
    }
}

/// A text up to its closing quote, and what follows behind blanks.
fn quoted<'a>(text: &'a str, options: &CsvOptions) -> Result<Cell<'a>, String> {
    let stops = |c: char| Some(c) == options.quote || Some(c) == options.escape;
    let mut cell = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let Some(at) = rest.find(stops) else {
            return Err("Missing closing quote for value".to_owned());
        };
        let (before, after) = rest.split_at(at);
        if cell.is_empty() {
            cell = before.into()
        } else {
            cell.to_mut().push_str(before)
        }
        if options.escape.is_some_and(|escape| after.starts_with(escape)) {
            rest = escaped(after, cell.to_mut())?;
            continue;
        }
        let mut behind = after.chars();
        let quote = behind.next();
        let behind = behind.as_str();
        match quote.and_then(|quote| behind.strip_prefix(quote).map(|more| (quote, more))) {
            Some((quote, more)) => {
                cell.to_mut().push(quote);
                rest = more;
            }
            None => {
                let after = behind.trim_start_matches(|c| c == ' ' || (c == '\t' && options.delimiter != c));
                let ends = |c: char| c == options.delimiter || c == '\n' || c == '\r';
                return match after.chars().next() {
                    Some(c) if !ends(c) => Err(format!(
                        "Unexpected character ('{c}'): Expected column separator character ('{}') or end-of-line",
                        options.delimiter
                    )),
                    _ => Ok((cell, after)),
                };
            }
        }
    }
}

/// Adds the character that an escape stands for; what follows it.
fn escaped<'a>(text: &'a str, cell: &mut String) -> Result<&'a str, String> {
    let mut chars = text.chars();
    let escaped = chars.by_ref().nth(1).ok_or("Unexpected end of input in an escaped character")?;
    cell.push(match escaped {
        '0' => '\0',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        c => c,
    });
    Ok(chars.as_str())
}

/// A text that is no value of its type.
struct Bad;

fn convert(text: &str, kind: &Type, options: &CsvOptions) -> Result<Datum, Bad> {
    if options.null_literal.as_deref() == Some(text) {
        return Ok(Datum::Null);
    }
    Ok(match kind {
        Type::Char(_) | Type::Varchar(_) => Datum::str(text),
        Type::Boolean => Datum::Bool(text.trim().eq_ignore_ascii_case("true")),
        Type::TinyInt | Type::SmallInt | Type::Int | Type::BigInt => {
            let n: i64 = text.trim().parse().map_err(|_| Bad)?;
            if cast::wrap(n, kind) != n {
                return Err(Bad);
            }
            Datum::Int(n)
        }
        Type::Float | Type::Double => {
            cast::cast(&Datum::str(text.trim()), &Type::STRING, kind).map_err(|_| Bad)?
        }
        Type::Decimal { precision, scale } => {
            decimal::parse(text, *precision, *scale).ok_or(Bad)?.map_or(Datum::Null, Datum::decimal)
        }
        Type::Binary(_) | Type::Varbinary(_) => {
            base64::prelude::BASE64_STANDARD.decode(text).map(Datum::bytes).map_err(|_| Bad)?
        }
        Type::Date => calendar::parse_date(text).map(Datum::Date).ok_or(Bad)?,
        Type::Time(_) => {
            let nanos = calendar::parse_time(text, true).ok_or(Bad)?;
            // Of a TIME only whole seconds are shown, and kept.
            i32::try_from(nanos / 1_000_000_000 * 1_000).map(Datum::Time).map_err(|_| Bad)?
        }
        Type::Timestamp(digits) => timestamp(text, *digits)?,
        Type::TimestampLtz(digits) => timestamp(text.strip_suffix('Z').ok_or(Bad)?, *digits)?,
        Type::Array(item) => {
            let convert = |text: &str| convert(text, &item.kind, options);
            let items: Result<Vec<_>, _> = elements(text, options).into_iter().map(convert).collect();
            Datum::Array(items?.into())
        }
        Type::Row(fields) => row(text, fields, options)?,
        _ => return Err(Bad),
    })
}

fn timestamp(text: &str, digits: u8) -> Result<Datum, Bad> {
    let at = calendar::parse_timestamp(text, ' ', false).ok_or(Bad)?;
    Ok(Datum::Timestamp(at.truncated(digits)))
}

/// Nested rows are written as arrays are.
fn row(text: &str, fields: &[(String, DataType)], options: &CsvOptions) -> Result<Datum, Bad> {
    let elements = elements(text, options);
    if elements.is_empty() {
        return Ok(Datum::Null);
    }
    // What is too much is left out.
    if elements.len() < fields.len() && !options.ignore_parse_errors {
        return Err(Bad);
    }
    let mut values = Vec::with_capacity(fields.len());
    for (index, (_, of)) in fields.iter().enumerate() {
        values.push(match elements.get(index) {
            Some(text) => convert(text, &of.kind, options)?,
            None => Datum::Null,
        });
    }
    Ok(Datum::Row(values.into()))
}

fn elements<'a>(text: &'a str, options: &CsvOptions) -> Vec<&'a str> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(options.array_element_delimiter.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(options: &CsvOptions, kinds: &[Type], record: &str) -> Result<Option<Vec<Datum>>, String> {
        let field = |(i, kind): (usize, &Type)| Field {
            name: format!("c{i}"),
            position: i,
            slot: i,
            kind: kind.clone(),
        };
        let fields = kinds.iter().enumerate().map(field).collect();
        let decoder = CsvDecoder::new(options.clone(), fields, kinds.len());
        let mut columns = Columns::from_iter(kinds.iter().map(|_| Datum::Null));
        match decoder.decode(record.as_bytes(), &mut columns) {
            Ok(true) => Ok(Some(columns.to_vec())),
            Ok(false) => Ok(None),
            Err(e) => Err(e.0),
        }
    }

    fn texts(options: &CsvOptions, record: &str, expected: &[&str]) {
        let kinds = vec![Type::STRING; expected.len()];
        let expected: Vec<Datum> = expected.iter().map(|text| Datum::str(*text)).collect();
        assert_eq!(decode(options, &kinds, record), Ok(Some(expected)), "{record}");
    }

    #[test]
    fn records_are_cut_as_flink_cuts_them() {
        let plain = CsvOptions::default();
        texts(&plain, "1,hello", &["1", "hello"]);
        texts(&plain, "1,\"a \"\"q\"\" b, c\"\r\n", &["1", "a \"q\" b, c"]);
        texts(&plain, "3, spaced ", &["3", " spaced "]);
        texts(&plain, "4,\"multi\nline\"\n", &["4", "multi\nline"]);
        texts(&plain, "7,a\"b", &["7", "a\"b"]);
        texts(&plain, ",", &["", ""]);
        let other = CsvOptions {
            delimiter: ';',
            quote: Some('\''),
            escape: Some('\\'),
            allow_comments: true,
            ..plain.clone()
        };
        texts(&other, "1;'a;b';'don''t'", &["1", "a;b", "don't"]);
        texts(&other, "# nothing\n2;'it\\'s';x\\;y", &["2", "it's", "x;y"]);
        texts(&other, "\\n\\tx;\\0\\\\\"y", &["\n\tx", "\0\\\"y"]);
        let bare = CsvOptions { quote: None, ..plain };
        texts(&bare, "\"a\",b", &["\"a\"", "b"]);
    }

    #[test]
    fn bad_records_fail_or_are_ignored() {
        let strict = CsvOptions::default();
        let ignore = CsvOptions { ignore_parse_errors: true, ..CsvOptions::default() };
        let kinds = [Type::Int, Type::STRING];
        let rows = [
            (
                "1",
                "Row length mismatch. 2 fields expected but was 1.",
                Some(vec![Datum::Int(1), Datum::Null]),
            ),
            ("1,a,b", "Too many entries: expected at most 2", None),
            ("1,\"a", "Missing closing quote for value", None),
            (
                "1,\"a\"b",
                "Unexpected character ('b'): Expected column separator character (',') or end-of-line",
                None,
            ),
            ("x,a", "Fail to deserialize at field: c0.", Some(vec![Datum::Null, Datum::str("a")])),
            (",a", "Fail to deserialize at field: c0.", Some(vec![Datum::Null, Datum::str("a")])),
        ];
        for (record, reason, ignored) in rows {
            let text = format!("Failed to deserialize CSV row '{record}'. {reason}");
            assert_eq!(decode(&strict, &kinds, record), Err(text));
            assert_eq!(decode(&ignore, &kinds, record), Ok(ignored), "{record}");
        }
        assert!(decode(&strict, &kinds, "").is_err());
    }

    #[test]
    fn values_are_read_by_their_type() {
        use crate::stream::datum::Instant;
        let ints = Type::Array(Box::new(DataType::nullable(Type::Int)));
        let fields = vec![
            ("x".to_owned(), DataType::nullable(Type::Int)),
            ("y".to_owned(), DataType::nullable(Type::STRING)),
        ];
        let rows = [
            (Type::Int, " 6 ", Datum::Int(6)),
            (Type::Double, "1e3", Datum::Double(1_000.0)),
            (Type::Boolean, " TRUE", Datum::Bool(true)),
            (Type::Boolean, "xyz", Datum::Bool(false)),
            (Type::Timestamp(3), "1970-01-01 00:00:01.123456", Datum::Timestamp(Instant::from_ms(1_123))),
            (Type::TimestampLtz(3), "1970-01-01 00:00:01.5Z", Datum::Timestamp(Instant::from_ms(1_500))),
            (Type::BYTES, "AAE=", Datum::bytes([0, 1])),
            (Type::Decimal { precision: 10, scale: 2 }, "1.5", Datum::decimal(150)),
            (Type::Date, "1970-01-02", Datum::Date(1)),
            (Type::Time(0), "01:01:01", Datum::Time(3_661_000)),
            (ints.clone(), "1; 2", Datum::Array([Datum::Int(1), Datum::Int(2)].into())),
            (ints, "", Datum::Array([].into())),
            (Type::Row(fields), "1;q", Datum::Row([Datum::Int(1), Datum::str("q")].into())),
            (Type::STRING, "n/a", Datum::Null),
        ];
        let options = CsvOptions { null_literal: Some("n/a".to_owned()), ..CsvOptions::default() };
        for (kind, text, expected) in rows {
            // With something behind it, so that an empty text is a cell and not an empty record.
            let got = decode(&options, &[kind, Type::STRING], &format!("{text},"));
            assert_eq!(got, Ok(Some(vec![expected, Datum::str("")])), "{text}");
        }
    }
}
