//! What an AMQP message is as a record, and a record as a message. Written once, tested both ways.
//!
//! | AMQP | record |
//! |---|---|
//! | exchange | record header `amqp.exchange` (none for the default exchange) |
//! | routing key | key (empty ↔ null) |
//! | body | value (null ↔ empty body and header `x-kafka-null: true`) |
//! | header | record header of the same name; a string's bytes, void ↔ null, an array of those ↔ repeated names |
//! | encoded property list | record header `amqp.properties`, unless the headers say everything |
//!
//! AMQP → AMQP is exact, because `amqp.properties` holds the list as it was; the record headers beside it are for Kafka
//! clients to read (numbers and booleans as text; nested tables not). Kafka → Kafka is exact, because what a header
//! table cannot say goes into headers of ours: `x-kafka-key` holds a key that is no routing key (empty, over 255
//! bytes, not UTF-8), `x-kafka-headers` all record headers when their names or order do not fit a table.

use bytes::Bytes;

use crate::data::value::{Table, Value};

/// An AMQP message. The codec of property lists belongs to the AMQP door.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub exchange: Bytes,
    pub routing_key: Bytes,
    pub properties: Properties,
    pub headers: Table,
    pub body: Bytes,
}

/// The encoded property list, in relation to [`Message::headers`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Properties {
    /// There is nothing but the headers. The list is as the door encoded it; empty if it still has to.
    HeadersOnly(Bytes),
    /// The list, with these headers in it.
    Whole(Bytes),
    /// The list, whose headers are to be replaced: a Kafka client has changed them.
    Stale(Bytes),
}

/// A record, apart from its offset and time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
}

/// A record's headers in order.
pub type Headers = Vec<(String, Option<Bytes>)>;

const EXCHANGE: &str = "amqp.exchange";
const PROPERTIES: &str = "amqp.properties";
const NULL: &str = "x-kafka-null";
const KEY: &str = "x-kafka-key";
const HEADERS: &str = "x-kafka-headers";
/// Names that a header table uses for what records say otherwise.
const OURS: [&str; 5] = [EXCHANGE, PROPERTIES, NULL, KEY, HEADERS];
/// An AMQP short string.
const SHORT_BYTES_MAX: usize = 255;

impl Record {
    #[must_use]
    pub fn from_message(message: &Message) -> Self {
        let mut record = Self::from_content(message);
        if !message.exchange.is_empty() {
            record.headers.push((EXCHANGE.to_owned(), Some(message.exchange.clone())));
        }
        record
    }

    /// All but the exchange.
    fn from_content(message: &Message) -> Self {
        let key = match message.headers.field(KEY) {
            Some(Value::LongStr(key)) if message.routing_key.is_empty() && !is_routing_key(key) => {
                Some(key.clone())
            }
            Some(_) | None => Some(message.routing_key.clone()).filter(|key| !key.is_empty()),
        };
        let is_null = message.body.is_empty() && message.headers.field(NULL) == Some(&Value::Bool(true));
        let value = (!is_null).then(|| message.body.clone());
        match &message.properties {
            Properties::HeadersOnly(_) if message.headers.is_empty() => {
                return Self { key, value, headers: Vec::new() };
            }
            Properties::HeadersOnly(_) => {
                // Left out only if exactly this table comes back.
                if let Some(headers) = headers_of(&message.headers) {
                    let record = Self { key: key.clone(), value: value.clone(), headers };
                    if record.table() == message.headers {
                        return record;
                    }
                }
            }
            Properties::Whole(_) | Properties::Stale(_) => {}
        }
        let (Properties::HeadersOnly(list) | Properties::Whole(list) | Properties::Stale(list)) =
            &message.properties;
        let mut headers = vec![(PROPERTIES.to_owned(), Some(list.clone()))];
        headers.extend(message.headers.0.iter().flat_map(|(name, value)| copies(name, value)));
        Self { key, value, headers }
    }

    /// The header table of a record that has no property list.
    fn table(&self) -> Table {
        let mut fields = Vec::new();
        for (name, _) in &self.headers {
            let fits = name.len() <= SHORT_BYTES_MAX && !OURS.contains(&name.as_str());
            if fits && !fields.iter().any(|(n, _)| n == name) {
                fields.push((name.clone(), self.values_of(name)));
            }
        }
        let said: usize =
            fields.iter().map(|(name, _)| self.headers.iter().filter(|(n, _)| n == name).count()).sum();
        let in_order = self.headers.iter().zip(self.headers.iter().skip(1)).all(|((a, _), (b, _))| {
            let place = |name: &String| fields.iter().position(|(n, _)| n == name);
            place(a) <= place(b)
        });
        if said < self.headers.len() || !in_order {
            let pair = |(name, value): &(String, Option<Bytes>)| {
                Value::Array(vec![
                    Value::LongStr(Bytes::copy_from_slice(name.as_bytes())),
                    to_value(value.as_ref()),
                ])
            };
            fields.push((HEADERS.to_owned(), Value::Array(self.headers.iter().map(pair).collect())));
        }
        if let Some(key) = self.key.as_ref().filter(|key| !is_routing_key(key)) {
            fields.push((KEY.to_owned(), Value::LongStr(key.clone())));
        }
        if self.value.is_none() {
            fields.push((NULL.to_owned(), Value::Bool(true)));
        }
        Table(fields)
    }

    fn values_of(&self, name: &str) -> Value {
        let mut values: Vec<Value> =
            self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| to_value(v.as_ref())).collect();
        match (values.len(), values.pop()) {
            (1, Some(only)) => only,
            (_, last) => Value::Array(values.into_iter().chain(last).collect()),
        }
    }
}

impl Message {
    /// The record as a message. `decode` gives the headers of an encoded property list; `None`: it is not one.
    pub fn from_record(record: &Record, decode: impl FnOnce(&Bytes) -> Option<Table>) -> Self {
        // Last, and once: anything else is a Kafka client's own.
        let exchange = match record.headers.split_last() {
            Some(((name, Some(exchange)), others))
                if name == EXCHANGE
                    && is_routing_key(exchange)
                    && !others.iter().any(|(n, _)| n == EXCHANGE) =>
            {
                exchange.clone()
            }
            Some(_) | None => return Self::from_content(record, decode),
        };
        let mut content = record.clone();
        content.headers.pop();
        Self { exchange, ..Self::from_content(&content, decode) }
    }

    /// All but the exchange.
    fn from_content(record: &Record, decode: impl FnOnce(&Bytes) -> Option<Table>) -> Self {
        let routing_key = record.key.clone().filter(|key| is_routing_key(key)).unwrap_or_default();
        let body = record.value.clone().unwrap_or_default();
        let list = record.headers.iter().find(|(name, _)| name == PROPERTIES).and_then(|(_, v)| v.as_ref());
        let Some((list, original)) = list.and_then(|list| Some((list, decode(list)?))) else {
            let properties = Properties::HeadersOnly(Bytes::new());
            return Self { exchange: Bytes::new(), routing_key, properties, headers: record.table(), body };
        };
        let beside = record.headers.iter().filter(|(name, _)| name != PROPERTIES);
        let expected = original.0.iter().flat_map(|(name, value)| copies(name, value));
        if expected.eq(beside.cloned()) {
            return Self {
                exchange: Bytes::new(),
                routing_key,
                properties: Properties::Whole(list.clone()),
                headers: original,
                body,
            };
        }
        let headers = merged(original, record);
        Self {
            exchange: Bytes::new(),
            routing_key,
            properties: Properties::Stale(list.clone()),
            headers,
            body,
        }
    }
}

/// The list's headers, but with what a Kafka client has made of them since.
fn merged(original: Table, record: &Record) -> Table {
    let now = |name: &str| {
        record.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect::<Vec<_>>()
    };
    let mut fields: Vec<(String, Value)> = Vec::new();
    for (name, value) in original.0 {
        let then: Vec<_> = copies(&name, &value).into_iter().map(|(_, v)| v).collect();
        let now = now(&name);
        if then == now {
            fields.push((name, value));
        } else if !now.is_empty() {
            let value = record.values_of(&name);
            fields.push((name, value));
        }
    }
    for (name, _) in &record.headers {
        let known = fields.iter().any(|(n, _)| n == name);
        if !known && name.len() <= SHORT_BYTES_MAX && !OURS.contains(&name.as_str()) {
            fields.push((name.clone(), record.values_of(name)));
        }
    }
    Table(fields)
}

/// The record headers that a table stands for, if it may stand for any.
fn headers_of(table: &Table) -> Option<Headers> {
    if let Some(all) = table.field(HEADERS) {
        let Value::Array(pairs) = all else { return None };
        return pairs.iter().map(pair_of).collect();
    }
    let mut headers = Vec::new();
    for (name, value) in table.0.iter().filter(|(name, _)| name != NULL && name != KEY) {
        for value in one_or_more(value) {
            headers.push((name.clone(), from_value(value)?));
        }
    }
    Some(headers)
}

fn pair_of(pair: &Value) -> Option<(String, Option<Bytes>)> {
    let Value::Array(pair) = pair else { return None };
    let [Value::LongStr(name), value] = &pair[..] else { return None };
    Some((std::str::from_utf8(name).ok()?.to_owned(), from_value(value)?))
}

/// What a Kafka client sees of an AMQP header: nothing of tables, and of what is ours.
fn copies(name: &str, value: &Value) -> Headers {
    if OURS.contains(&name) {
        return Vec::new();
    }
    let all = if let Value::Array(values) = value { values } else { std::slice::from_ref(value) };
    all.iter().filter_map(|value| Some((name.to_owned(), text_of(value)?))).collect()
}

/// The values of a repeated name; an array of one stands for no record header.
fn one_or_more(value: &Value) -> &[Value] {
    if let Value::Array(values) = value
        && values.len() > 1
    {
        return values;
    }
    std::slice::from_ref(value)
}

fn text_of(value: &Value) -> Option<Option<Bytes>> {
    let text = match value {
        Value::LongStr(bytes) | Value::Binary(bytes) => return Some(Some(bytes.clone())),
        Value::Void => return Some(None),
        Value::Array(_) | Value::Table(_) => return None,
        Value::Bool(b) => b.to_string(),
        Value::Decimal { scale, unscaled } => format!("{unscaled}e-{scale}"),
        Value::F32(n) => n.to_string(),
        Value::F64(n) => n.to_string(),
        Value::I8(n) => n.to_string(),
        Value::I16(n) => n.to_string(),
        Value::I32(n) => n.to_string(),
        Value::I64(n) => n.to_string(),
        Value::Timestamp(n) => n.to_string(),
        Value::U8(n) => n.to_string(),
        Value::U16(n) => n.to_string(),
        Value::U32(n) => n.to_string(),
    };
    Some(Some(text.into()))
}

fn to_value(value: Option<&Bytes>) -> Value {
    value.map_or(Value::Void, |bytes| Value::LongStr(bytes.clone()))
}

fn from_value(value: &Value) -> Option<Option<Bytes>> {
    match value {
        Value::LongStr(bytes) => Some(Some(bytes.clone())),
        Value::Void => Some(None),
        Value::Array(_)
        | Value::Binary(_)
        | Value::Bool(_)
        | Value::Decimal { .. }
        | Value::F32(_)
        | Value::F64(_)
        | Value::I8(_)
        | Value::I16(_)
        | Value::I32(_)
        | Value::I64(_)
        | Value::Table(_)
        | Value::Timestamp(_)
        | Value::U8(_)
        | Value::U16(_)
        | Value::U32(_) => None,
    }
}

fn is_routing_key(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= SHORT_BYTES_MAX && std::str::from_utf8(key).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn long(text: &str) -> Value {
        Value::LongStr(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn message(properties: Properties, headers: Vec<(&str, Value)>) -> Message {
        let headers = Table(headers.into_iter().map(|(n, v)| (n.to_owned(), v)).collect());
        Message { exchange: Bytes::new(), routing_key: "rk".into(), properties, headers, body: "body".into() }
    }

    #[test]
    fn a_kafka_client_sees_key_value_and_headers_of_an_amqp_message() {
        let whole = Properties::Whole("list".into());
        let headers = vec![
            ("a", long("1")),
            ("n", Value::I32(-5)),
            ("t", Value::Table(Table::default())),
            ("v", Value::Void),
        ];
        let record = Record::from_message(&message(whole, headers));
        assert_eq!((record.key, record.value), (Some("rk".into()), Some("body".into())));
        let expected: Headers = vec![
            (PROPERTIES.into(), Some("list".into())),
            ("a".into(), Some("1".into())),
            ("n".into(), Some("-5".into())),
            ("v".into(), None),
        ];
        assert_eq!(record.headers, expected);
    }

    #[test]
    fn a_message_of_plain_headers_needs_no_property_list() {
        let only = Properties::HeadersOnly("encoded".into());
        let record = Record::from_message(&message(only.clone(), vec![("a", long("1"))]));
        assert_eq!(record.headers, [("a".to_owned(), Some("1".into()))]);
        let record = Record::from_message(&message(only, vec![("a", Value::Bool(true))]));
        assert_eq!(record.headers[0].0, PROPERTIES);
    }

    #[test]
    fn an_amqp_client_sees_null_repeated_and_odd_things_of_a_record() {
        let headers: Headers =
            vec![("a".into(), Some("1".into())), ("a".into(), None), ("b".into(), Some("2".into()))];
        let record = Record { key: Some(Bytes::from_static(&[0xff])), value: None, headers };
        let message = Message::from_record(&record, |_| None);
        assert_eq!((&message.routing_key[..], &message.body[..]), (&b""[..], &b""[..]));
        assert_eq!(message.headers.field("a"), Some(&Value::Array(vec![long("1"), Value::Void])));
        assert_eq!(message.headers.field("b"), Some(&long("2")));
        assert_eq!(message.headers.field(NULL), Some(&Value::Bool(true)));
        assert_eq!(message.headers.field(KEY), Some(&Value::LongStr(Bytes::from_static(&[0xff]))));
        assert_eq!(Record::from_message(&message), record);
    }

    #[test]
    fn what_a_kafka_client_changes_is_seen_and_the_rest_keeps_its_type() {
        let whole = Properties::Whole("list".into());
        let sent = message(
            whole,
            vec![("a", long("1")), ("n", Value::I32(5)), ("t", Value::Table(Table::default()))],
        );
        let mut record = Record::from_message(&sent);
        record.headers.retain(|(name, _)| name != "a");
        record.headers.push(("new".into(), Some("x".into())));
        let seen = Message::from_record(&record, |_| Some(sent.headers.clone()));
        assert_eq!(seen.properties, Properties::Stale("list".into()));
        let names: Vec<_> = seen.headers.0.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["n", "t", "new"]);
        assert_eq!(seen.headers.field("n"), Some(&Value::I32(5)));
    }

    fn bytes() -> impl Strategy<Value = Bytes> {
        vec(any::<u8>(), 0..6).prop_map(Bytes::from)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            bytes().prop_map(Value::LongStr),
            Just(Value::Void),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::I32),
            any::<u64>().prop_map(Value::Timestamp),
            bytes().prop_map(Value::Binary),
        ];
        leaf.prop_recursive(2, 12, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::Array),
                vec((name(), inner), 0..3).prop_map(|fields| Value::Table(Table(fields))),
            ]
        })
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("a".to_owned()),
            Just("b".to_owned()),
            Just(NULL.to_owned()),
            Just(KEY.to_owned()),
            Just(HEADERS.to_owned()),
            Just(PROPERTIES.to_owned()),
            Just(EXCHANGE.to_owned()),
            Just("n".repeat(300)),
        ]
    }

    fn routing_key() -> impl Strategy<Value = Bytes> {
        prop_oneof![Just(String::new()), Just("k".to_owned()), Just("k".repeat(255))].prop_map(Bytes::from)
    }

    proptest! {
        #[test]
        fn amqp_to_amqp_is_exact(
            exchange in routing_key(),
            routing_key in routing_key(),
            headers in vec((name(), value()), 0..5),
            others in any::<bool>(),
            body in bytes(),
        ) {
            let headers = Table(headers);
            let list = Bytes::from_static(b"encoded list");
            let properties = if others { Properties::Whole(list) } else { Properties::HeadersOnly(list) };
            let sent = Message { exchange, routing_key, properties, headers: headers.clone(), body };
            let record = Record::from_message(&sent);
            let got = Message::from_record(&record, |_| Some(headers.clone()));
            prop_assert_eq!((&got.exchange, &got.routing_key), (&sent.exchange, &sent.routing_key));
            prop_assert_eq!((&got.headers, &got.body), (&sent.headers, &sent.body));
            let exact = match (&sent.properties, &got.properties) {
                // Left out because the table says everything, or kept.
                (Properties::HeadersOnly(_), Properties::HeadersOnly(_)) => true,
                (Properties::HeadersOnly(a) | Properties::Whole(a), Properties::Whole(b)) => a == b,
                _ => false,
            };
            prop_assert!(exact, "{:?} became {:?}", sent.properties, got.properties);
        }

        #[test]
        fn kafka_to_kafka_is_exact(
            key in option::of(prop_oneof![bytes(), routing_key(), Just(Bytes::from("k".repeat(256)))]),
            value in option::of(bytes()),
            headers in vec((name(), option::of(bytes())), 0..6),
        ) {
            let sent = Record { key, value, headers };
            // No property list decodes: whatever is called so is a Kafka client's own.
            let message = Message::from_record(&sent, |_| None);
            prop_assert!(matches!(message.properties, Properties::HeadersOnly(_)));
            prop_assert!(message.headers.0.iter().all(|(name, _)| name.len() <= SHORT_BYTES_MAX));
            prop_assert_eq!(Record::from_message(&message), sent);
        }
    }
}
