//! Values as Erlang prints them, which RabbitMQ's reply texts quote and test suites compare.

use super::value::Value;

/// `~ts` of a binary: the text itself.
#[must_use]
pub fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// `~p` of a binary: as a string when every octet can be printed, else as numbers.
#[must_use]
pub fn binary(octets: &[u8]) -> String {
    if !octets.is_empty() && printable(octets) { format!("<<{}>>", quoted(octets)) } else { numbers(octets) }
}

/// `~w` of a binary: always as numbers.
#[must_use]
pub fn numbers(octets: &[u8]) -> String {
    let numbers: Vec<String> = octets.iter().map(u8::to_string).collect();
    format!("<<{}>>", numbers.join(","))
}

/// `~p` of a string, which to Erlang is a list.
#[must_use]
pub fn string(octets: &[u8]) -> String {
    if printable(octets) && !octets.is_empty() {
        return quoted(octets);
    }
    let numbers: Vec<String> = octets.iter().map(u8::to_string).collect();
    format!("[{}]", numbers.join(","))
}

fn printable(octets: &[u8]) -> bool {
    octets.iter().all(|b| matches!(b, b' '..=b'~' | 8..=13 | 27))
}

fn quoted(octets: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for &octet in octets {
        match octet {
            b'"' => quoted.push_str("\\\""),
            b'\\' => quoted.push_str("\\\\"),
            8 => quoted.push_str("\\b"),
            9 => quoted.push_str("\\t"),
            10 => quoted.push_str("\\n"),
            11 => quoted.push_str("\\v"),
            12 => quoted.push_str("\\f"),
            13 => quoted.push_str("\\r"),
            27 => quoted.push_str("\\e"),
            other => quoted.push(char::from(other)),
        }
    }
    quoted.push('"');
    quoted
}

/// A field's value without its type: binaries as text at the top, as RabbitMQ's argument texts have it.
#[must_use]
pub fn value_text(value: &Value) -> String {
    value.binary().map_or_else(|| value_term(value), |octets| text(octets))
}

/// `~p` of a field's value without its type.
#[must_use]
pub fn value_term(value: &Value) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(","));
    match value {
        Value::Array(items) => {
            list(items.iter().map(|v| format!("{{{},{}}}", v.type_name(), value_term(v))).collect())
        }
        Value::Table(table) => list(
            table
                .0
                .iter()
                .map(|(k, v)| format!("{{{},{},{}}}", binary(k.as_bytes()), v.type_name(), value_term(v)))
                .collect(),
        ),
        Value::LongStr(octets) | Value::Binary(octets) => binary(octets),
        Value::Bool(bit) => bit.to_string(),
        Value::Decimal { scale, unscaled } => format!("{{{scale},{unscaled}}}"),
        Value::F32(n) => format!("{n:?}"),
        Value::F64(n) => format!("{n:?}"),
        Value::I8(n) => n.to_string(),
        Value::I16(n) => n.to_string(),
        Value::I32(n) => n.to_string(),
        Value::I64(n) => n.to_string(),
        Value::Timestamp(n) => n.to_string(),
        Value::U8(n) => n.to_string(),
        Value::U16(n) => n.to_string(),
        Value::U32(n) => n.to_string(),
        Value::Void => "undefined".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::data::value::Table;

    #[test]
    fn binaries_print_as_strings_when_they_can() {
        let check = |octets: &[u8], expected: &str| assert_eq!(binary(octets), expected);
        check(b"", "<<>>");
        check(b"zz", "<<\"zz\">>");
        check(b"a\"\r\n", "<<\"a\\\"\\r\\n\">>");
        check(&[0, 20, 0, 10], "<<0,20,0,10>>");
        assert_eq!(numbers(b"ab"), "<<97,98>>");
    }

    #[test]
    fn tables_and_arrays_print_as_typed_lists() {
        let text = |s: &'static str| Value::LongStr(Bytes::from_static(s.as_bytes()));
        let table = Value::Table(Table(vec![("k".to_owned(), Value::Array(vec![Value::I32(5), text("v")]))]));
        assert_eq!(value_term(&table), "[{<<\"k\">>,array,[{signedint,5},{longstr,<<\"v\">>}]}]");
        assert_eq!(value_text(&text("v")), "v");
    }
}
