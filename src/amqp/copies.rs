//! The headers `CC` and `BCC`: more routing keys for one message (RabbitMQ's sender-selected distribution).
//!
//! Both are arrays of long strings and case-sensitive. Receivers see `CC`, never `BCC`; the routing key they see is the
//! publish's own.

use bytes::BytesMut;

use super::{fault::Fault, wire::Properties};
use crate::data::value::{Table, Value};

/// More keys, and the properties that receivers see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// Of `CC`.
    pub keys: Vec<String>,
    /// Of `BCC`.
    pub hidden: Vec<String>,
    pub properties: BytesMut,
}

/// What the headers ask for; `None`, at little cost, for all messages that do not.
///
/// # Errors
/// When one of the headers is no array, or the headers are no table.
pub fn of(properties: &Properties<'_>) -> Result<Option<Copies>, Fault> {
    let Some(contents) = properties.headers else { return Ok(None) };
    // Not exact, but what is not found is not there.
    let named = |name: &[u8]| contents.windows(name.len()).any(|window| window == name);
    if !named(b"\x02CC") && !named(b"\x03BCC") {
        return Ok(None);
    }
    let mut headers = properties.header_table().map_err(|e| Fault::Malformed(e.into()))?;
    let (keys, hidden) = (keys_in(&headers, "CC")?, keys_in(&headers, "BCC")?);
    if keys.is_empty() && headers.field("BCC").is_none() {
        return Ok(None);
    }
    headers.0.retain(|(name, _)| name != "BCC");
    Ok(Some(Copies { keys, hidden, properties: properties.with_headers(&headers) }))
}

/// Elements that are no strings count for nothing, in RabbitMQ too.
fn keys_in(headers: &Table, header: &'static str) -> Result<Vec<String>, Fault> {
    match headers.field(header) {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => Ok(values.iter().filter_map(key).collect()),
        Some(other) => Err(Fault::HeaderType { header, type_name: other.type_name() }),
    }
}

fn key(value: &Value) -> Option<String> {
    let Value::LongStr(octets) = value else { return None };
    String::from_utf8(octets.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::field::table;

    fn properties(headers: &[(&str, Value)]) -> BytesMut {
        let headers =
            Table(headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect());
        let (mut encoded, mut out) = (BytesMut::new(), BytesMut::new());
        table::encode(&headers, &mut encoded);
        Properties { headers: Some(&encoded[4..]), delivery_mode: Some(2), ..Properties::default() }
            .encode(&mut out);
        out
    }

    fn text(s: &str) -> Value {
        Value::LongStr(s.to_owned().into())
    }

    #[test]
    fn keys_come_from_both_headers_and_only_one_is_shown() {
        let list = |keys: &[&str]| Value::Array(keys.iter().map(|key| text(key)).collect());
        let sent = properties(&[("CC", list(&["a", "b"])), ("x", text("y")), ("BCC", list(&["c"]))]);
        let copies = of(&Properties::decode(&sent).unwrap()).unwrap().unwrap();
        assert_eq!(
            (&copies.keys[..], &copies.hidden[..]),
            (&["a", "b"].map(String::from)[..], &["c".to_owned()][..])
        );
        assert_eq!(copies.properties, properties(&[("CC", list(&["a", "b"])), ("x", text("y"))]));
    }

    #[test]
    fn other_messages_are_left_alone_and_wrong_types_refused() {
        let check = |name: &str, value: Value, expected: Result<Option<Copies>, Fault>| {
            let sent = properties(&[(name, value)]);
            assert_eq!(of(&Properties::decode(&sent).unwrap()), expected);
        };
        check("cc", text("a"), Ok(None));
        check("x", text("CC"), Ok(None));
        check("CC", Value::Array(Vec::new()), Ok(None));
        let refused = |header, type_name| Err(Fault::HeaderType { header, type_name });
        check("CC", text("a"), refused("CC", "longstr"));
        check("BCC", Value::I32(1), refused("BCC", "signedint"));
    }
}
