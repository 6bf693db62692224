//! JSON as values: a tree, read and written as Jackson does it for Flink's JSON functions, and paths into it.
//!
//! Numbers are kept as texts, for Flink reads those with a fraction as BigDecimal. What follows the first
//! value of a text is not looked at.

mod exact;
mod filter;
mod find;
mod function;
mod operand;
pub mod path;
#[cfg(test)]
mod path_rows;

use std::{collections::HashMap, fmt::Write as _};

use crate::stream::codec::json_encode::write_text;

/// Deeper values are refused: they are walked by recursion.
const DEPTH_MAX: usize = 256;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Array(Vec<Json>),
    Bool(bool),
    /// Digits as they are written out again.
    Number(String),
    Object(Vec<(String, Json)>),
    Text(String),
}

impl Json {
    /// The first value of a text; `None` if there is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Reader { rest: text }.value(0)
    }

    /// A number as Java prints what it reads it as.
    #[must_use]
    pub fn number(digits: &str) -> Self {
        Self::Number(number(digits))
    }

    #[must_use]
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// A member of an object; of two with one name the later.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value),
            Self::Null | Self::Array(_) | Self::Bool(_) | Self::Number(_) | Self::Text(_) => None,
        }
    }

    /// The members of an object, each name once: where it is first, with its last value.
    #[must_use]
    pub fn members(&self) -> Vec<(&String, &Self)> {
        let Self::Object(all) = self else { return Vec::new() };
        let mut members: Vec<(&String, &Self)> = Vec::with_capacity(all.len());
        let mut places = HashMap::with_capacity(all.len());
        for (name, value) in all {
            let place = *places.entry(name).or_insert(members.len());
            match members.get_mut(place) {
                Some(member) => member.1 = value,
                None => members.push((name, value)),
            }
        }
        members
    }

    /// A scalar as Java's `toString` has it: texts without quotes.
    #[must_use]
    pub fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Null | Self::Array(_) | Self::Bool(_) | Self::Number(_) | Self::Object(_) => self.to_text(),
        }
    }

    /// As a text without blanks, the members of objects in the order of their names.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::Text(text) => write_text(out, text),
            Self::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                let mut sorted: Vec<&(String, Self)> = Vec::with_capacity(members.len());
                // A later member of the same name replaces the earlier one.
                for member in members {
                    match sorted.binary_search_by(|(name, _)| name.cmp(&member.0)) {
                        Ok(at) => {
                            if let Some(before) = sorted.get_mut(at) {
                                *before = member;
                            }
                        }
                        Err(at) => sorted.insert(at, member),
                    }
                }
                out.push('{');
                for (i, (name, value)) in sorted.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_text(out, name);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// A number as Java prints what it reads it as: BigInteger, or BigDecimal where there is a fraction or an exponent.
fn number(digits: &str) -> String {
    if !digits.contains(['.', 'e', 'E']) {
        return digits.to_owned();
    }
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let scale = fraction.len() as i64 - exponent;
    let all = format!("{whole}{fraction}");
    let unscaled = all.trim_start_matches('0');
    let unscaled = if unscaled.is_empty() { "0" } else { unscaled };
    let adjusted = unscaled.len() as i64 - 1 - scale;
    let mut out = String::from(if negative && unscaled != "0" { "-" } else { "" });
    if scale >= 0 && adjusted >= -6 {
        let scale = usize::try_from(scale).unwrap_or_default();
        let padded = format!("{unscaled:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        out.push_str(whole);
        if !fraction.is_empty() {
            out.push('.');
            out.push_str(fraction);
        }
        return out;
    }
    let (first, rest) = unscaled.split_at(1);
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    if adjusted != 0 {
        let _ = write!(out, "E{adjusted:+}");
    }
    out
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_blanks();
        match self.rest.bytes().next()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.text().map(Json::Text),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, c: char) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        let rest = self.rest.strip_prefix(word)?;
        if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return None;
        }
        self.rest = rest;
        Some(value)
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take('{');
        let mut members = Vec::new();
        if self.take('}') {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_blanks();
            let name = self.text()?;
            if !self.take(':') {
                return None;
            }
            members.push((name, self.value(depth + 1)?));
            if self.take('}') {
                return Some(Json::Object(members));
            }
            if !self.take(',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.take('[');
        let mut items = Vec::new();
        if self.take(']') {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(']') {
                return Some(Json::Array(items));
            }
            if !self.take(',') {
                return None;
            }
        }
    }

    /// A text in quotes; what is escaped is left to the library.
    fn text(&mut self) -> Option<String> {
        let inner = self.rest.strip_prefix('"')?;
        let mut escaped = false;
        let end = inner.bytes().position(|b| {
            let end = b == b'"' && !escaped;
            escaped = b == b'\\' && !escaped;
            end
        })?;
        let (quoted, rest) = self.rest.split_at_checked(end + 2)?;
        self.rest = rest;
        serde_json::from_str(quoted).ok()
    }

    fn number(&mut self) -> Option<Json> {
        let of_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
        let end = self.rest.find(|c| !of_number(c)).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end)?;
        // Whether it is one is the library's to say; a word behind it is an error.
        serde_json::from_str::<&serde_json::value::RawValue>(digits).ok()?;
        if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return None;
        }
        self.rest = rest;
        Some(Json::number(digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_sorted_and_without_blanks() {
        let rows = [
            (r#" { "b" : 1, "a" : [ true , null ] } "#, Some(r#"{"a":[true,null],"b":1}"#)),
            (r#"{"a":1,"a":2}"#, Some(r#"{"a":2}"#)),
            ("1.50", Some("1.50")),
            ("1e3", Some("1E+3")),
            ("0.00000012", Some("1.2E-7")),
            ("-12e-1", Some("-1.2")),
            (r#""a\"\u00e4""#, Some(r#""a\"ä""#)),
            ("[1] x", Some("[1]")),
            ("[1", None),
            ("nul", None),
            ("truex", None),
            ("{1:2}", None),
            ("01", None),
            ("-", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(Json::parse(text).map(|json| json.to_text()).as_deref(), expected, "{text}");
        }
        assert_eq!(Json::parse(&"[".repeat(100_000)), None);
    }
}
