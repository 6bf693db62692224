//! Rows as messages for an exchange: the body in the table's format, routing key and properties from metadata columns.

use std::sync::Arc;

use bytes::BytesMut;

use super::sink::{metadata_slot, places};
use crate::{
    broker::message::Traits,
    data::{
        expiration,
        field::{Properties, table},
        value::{Table as Headers, Value},
    },
    stream::{
        codec::Encoder,
        datum::{Datum, Row},
        expr::EvalError,
        plan::{
            catalog::Table,
            format::Format,
            rabbitmq::{Rabbitmq, SHORT_BYTES_MAX},
            types::DataType,
        },
    },
};

/// A message to be published to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutMessage {
    pub exchange: Arc<str>,
    pub routing_key: String,
    /// Property flags and list as on the wire.
    pub properties: Vec<u8>,
    pub traits: Traits,
    /// If no queue takes it, the epoch fails.
    pub mandatory: bool,
    pub body: Vec<u8>,
}

/// Makes messages of rows.
pub struct MessageSink {
    exchange: Arc<str>,
    routing_key: String,
    mandatory: bool,
    content_type: Option<&'static str>,
    body: Encoder,
    /// Where a row has its metadata, if the table has the column.
    slots: Slots,
}

struct Slots {
    app_id: Option<usize>,
    content_encoding: Option<usize>,
    content_type: Option<usize>,
    correlation_id: Option<usize>,
    delivery_mode: Option<usize>,
    expiration: Option<usize>,
    headers: Option<usize>,
    message_id: Option<usize>,
    priority: Option<usize>,
    reply_to: Option<usize>,
    routing_key: Option<usize>,
    timestamp: Option<usize>,
    kind: Option<usize>,
}

/// `delivery_mode` of a message that survives a restart.
const PERSISTENT: u8 = 2;

impl MessageSink {
    #[must_use]
    pub fn open(rabbitmq: &Rabbitmq, table: &Table, types: &[DataType]) -> Self {
        let slot = |key| metadata_slot(table, key);
        Self {
            exchange: rabbitmq.exchange.as_str().into(),
            routing_key: rabbitmq.routing_key.clone(),
            mandatory: rabbitmq.mandatory,
            content_type: match rabbitmq.value {
                Format::Csv(_) => Some("text/csv"),
                Format::Json(..) => Some("application/json"),
                Format::Raw { .. } => None,
            },
            body: Encoder::new(&rabbitmq.value, &places(table, &rabbitmq.fields, types)),
            slots: Slots {
                app_id: slot("app-id"),
                content_encoding: slot("content-encoding"),
                content_type: slot("content-type"),
                correlation_id: slot("correlation-id"),
                delivery_mode: slot("delivery-mode"),
                expiration: slot("expiration"),
                headers: slot("headers"),
                message_id: slot("message-id"),
                priority: slot("priority"),
                reply_to: slot("reply-to"),
                routing_key: slot("routing-key"),
                timestamp: slot("timestamp"),
                kind: slot("type"),
            },
        }
    }

    /// The message of a row.
    ///
    /// # Errors
    /// A value that AMQP cannot carry, such as a routing key of more than 255 bytes.
    pub fn message(&self, row: &Row) -> Result<OutMessage, EvalError> {
        let slots = &self.slots;
        let text = |slot: Option<usize>, name: &str| short(row, slot, name);
        let octet = |slot: Option<usize>, name: &str, max: u8| octet(row, slot, name, max);
        let headers = slots.headers.and_then(|slot| headers_of(row.column(slot)));
        let headers = headers.filter(|headers| !headers.is_empty()).map(|headers| table::contents(&headers));
        let expiration = text(slots.expiration, "expiration")?;
        let expiration_ms = expiration.map(|text| expiration::parse(text.as_bytes())).transpose();
        let expiration_ms = expiration_ms.map_err(|reason| {
            let given = expiration.unwrap_or_default();
            EvalError(format!("invalid expiration '{given}': {reason}"))
        })?;
        let content_type = text(slots.content_type, "content-type")?.or(self.content_type);
        let properties = Properties {
            content_type: content_type.map(str::as_bytes),
            content_encoding: text(slots.content_encoding, "content-encoding")?.map(str::as_bytes),
            headers: headers.as_deref(),
            delivery_mode: octet(slots.delivery_mode, "delivery-mode", PERSISTENT)?.or(Some(PERSISTENT)),
            priority: octet(slots.priority, "priority", u8::MAX)?,
            correlation_id: text(slots.correlation_id, "correlation-id")?.map(str::as_bytes),
            reply_to: text(slots.reply_to, "reply-to")?.map(str::as_bytes),
            expiration: expiration.map(str::as_bytes),
            message_id: text(slots.message_id, "message-id")?.map(str::as_bytes),
            timestamp: seconds(row, slots.timestamp)?,
            r#type: text(slots.kind, "type")?.map(str::as_bytes),
            user_id: None,
            app_id: text(slots.app_id, "app-id")?.map(str::as_bytes),
            cluster_id: None,
        };
        let traits =
            Traits { persistent: properties.persistent(), priority: properties.priority, expiration_ms };
        let mut list = BytesMut::new();
        properties.encode(&mut list);
        Ok(OutMessage {
            exchange: self.exchange.clone(),
            routing_key: text(slots.routing_key, "routing-key")?.unwrap_or(&self.routing_key).to_owned(),
            properties: list.to_vec(),
            traits,
            mandatory: self.mandatory,
            body: self.body.encode(&row.columns)?.unwrap_or_default(),
        })
    }
}

/// A column that AMQP has as a short string; `None` for NULL.
fn short<'a>(row: &'a Row, slot: Option<usize>, name: &str) -> Result<Option<&'a str>, EvalError> {
    let Some(Datum::Str(text)) = slot.map(|slot| row.column(slot)) else { return Ok(None) };
    if text.len() > SHORT_BYTES_MAX {
        return Err(EvalError(format!("the {name} has {} bytes, over {SHORT_BYTES_MAX}", text.len())));
    }
    Ok(Some(text))
}

fn octet(row: &Row, slot: Option<usize>, name: &str, max: u8) -> Result<Option<u8>, EvalError> {
    let Some(Datum::Int(number)) = slot.map(|slot| row.column(slot)) else { return Ok(None) };
    match u8::try_from(*number) {
        Ok(octet) if octet <= max => Ok(Some(octet)),
        Ok(_) | Err(_) => Err(EvalError(format!("the {name} {number} is not between 0 and {max}"))),
    }
}

fn seconds(row: &Row, slot: Option<usize>) -> Result<Option<u64>, EvalError> {
    let Some(Datum::Timestamp(at)) = slot.map(|slot| row.column(slot)) else { return Ok(None) };
    let seconds = u64::try_from(at.ms.div_euclid(1_000));
    seconds.map(Some).map_err(|_| EvalError("a timestamp before 1970 is none of a message".to_owned()))
}

/// A MAP as a header table; a NULL is a void.
fn headers_of(map: &Datum) -> Option<Headers> {
    let Datum::Map(entries) = map else { return None };
    let header = |(name, value): &(Datum, Datum)| {
        let Datum::Str(name) = name else { return None };
        let text = if let Datum::Bytes(bytes) = value { Some(bytes.to_vec().into()) } else { None };
        let value = text.map_or(Value::Void, Value::LongStr);
        Some((name.to_string(), value))
    };
    Some(Headers(entries.iter().filter_map(header).collect()))
}
