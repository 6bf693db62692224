//! Between the core's typed values and JSON, and what names a binding in a URL.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value as Json, json};

use crate::data::value::{Table, Value};

/// A table as an object.
#[must_use]
pub fn table(table: &Table) -> Map<String, Json> {
    table.0.iter().map(|(name, value)| (name.clone(), json_of(value))).collect()
}

/// A value as JSON.
#[must_use]
pub fn json_of(value: &Value) -> Json {
    match value {
        Value::Array(values) => values.iter().map(json_of).collect(),
        Value::Binary(bytes) | Value::LongStr(bytes) => String::from_utf8_lossy(bytes).into(),
        Value::Bool(b) => (*b).into(),
        Value::Decimal { scale, unscaled } => {
            json!(f64::from(*unscaled) / 10_f64.powi(i32::from(*scale)))
        }
        Value::F32(x) => json!(x),
        Value::F64(x) => json!(x),
        Value::I8(n) => (*n).into(),
        Value::I16(n) => (*n).into(),
        Value::I32(n) => (*n).into(),
        Value::I64(n) => (*n).into(),
        Value::Table(inner) => Json::Object(table(inner)),
        Value::Timestamp(seconds) => (*seconds).into(),
        Value::U8(n) => (*n).into(),
        Value::U16(n) => (*n).into(),
        Value::U32(n) => (*n).into(),
        Value::Void => Json::Null,
    }
}

/// JSON as a value: whole numbers are `long`, others `double`, as RabbitMQ makes them.
#[must_use]
pub fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::Void,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => n.as_i64().map_or_else(|| Value::F64(n.as_f64().unwrap_or_default()), Value::I64),
        Json::String(text) => Value::LongStr(text.clone().into_bytes().into()),
        Json::Array(items) => Value::Array(items.iter().map(value_of).collect()),
        Json::Object(map) => Value::Table(table_of(map)),
    }
}

/// An object as a table.
#[must_use]
pub fn table_of(map: &Map<String, Json>) -> Table {
    Table(map.iter().map(|(name, value)| (name.clone(), value_of(value))).collect())
}

/// What names a binding between its two ends in a URL: the routing key, quoted, and a hash of the arguments behind `~`.
#[must_use]
pub fn properties_key(routing_key: &str, arguments: &Table) -> String {
    let key = quote(routing_key);
    if arguments.is_empty() {
        return if key.is_empty() { "~".to_owned() } else { key };
    }
    let hash = crc32c::crc32c(Json::Object(table(arguments)).to_string().as_bytes());
    format!("{key}~{}", URL_SAFE_NO_PAD.encode(hash.to_be_bytes()))
}

/// Percent-encodes all that RabbitMQ does.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'~' | b'_' => {
                quoted.push(char::from(byte))
            }
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_was() {
        let json = json!({"a": [1, "b", null, true, 1.5], "o": {}});
        assert_eq!(json_of(&value_of(&json)), json);
    }

    #[test]
    fn a_binding_is_named_by_its_key_and_arguments() {
        let arguments = Table(vec![("x".to_owned(), Value::I64(1))]);
        assert_eq!(properties_key("a.#", &Table::default()), "a.%23");
        assert_eq!(properties_key("", &Table::default()), "~");
        let with = properties_key("k", &arguments);
        assert!(with.starts_with("k~") && with.len() == 8, "{with}");
    }
}
