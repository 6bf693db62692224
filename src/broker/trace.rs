//! The firehose: copies of what is published to a vhost and delivered from it, while it is traced.
//!
//! They go to `amq.rabbitmq.trace` with the keys `publish.<exchange>` and `deliver.<queue>`; what the message was is in
//! their headers. A vhost that is not traced pays for one relaxed load. (RabbitMQ `rabbit_trace`.)

use std::sync::Arc;

use bytes::Bytes;

use super::{
    exchange::TRACE,
    message::{Message, Publish},
    routing::{self, Route},
    vhost::Vhost,
};
use crate::data::{
    field::Properties,
    value::{Table, Value},
};

/// What RabbitMQ's traces, events and API call the node.
pub const NODE: &str = "rabbit@localhost";

/// Whose publishes and deliveries they are.
#[derive(Debug)]
pub struct Origin {
    pub connection: Arc<str>,
    pub channel: u16,
    pub user: Arc<str>,
}

fn text(text: &str) -> Value {
    Value::LongStr(Bytes::copy_from_slice(text.as_bytes()))
}

/// A publish, with where it was routed to.
pub(super) fn published(
    vhost: &Arc<Vhost>,
    now_ms: i64,
    origin: Option<&Origin>,
    publish: &Publish<'_>,
    keys: &[String],
    route: &Route,
    body: &[u8],
) {
    // What the broker itself publishes has no origin, and is not traced.
    let Some(origin) = origin.filter(|_| publish.exchange != TRACE) else { return };
    let queues = route.queues.iter().map(|queue| text(&queue.name));
    let topics = route.topics.iter().map(|topic| text(&topic.name));
    let lists = route.lists.iter().map(|list| text(&list.name));
    let mut headers = described(publish.exchange, publish.routing_key, keys, publish.properties);
    headers.extend(whose(vhost, origin));
    headers.push(("routed_queues", Value::Array(queues.chain(topics).chain(lists).collect())));
    copy(vhost, now_ms, &format!("publish.{}", publish.exchange), headers, body);
}

/// A delivery, or what `basic.get` got.
pub fn delivered(
    vhost: &Arc<Vhost>,
    now_ms: i64,
    origin: &Origin,
    queue: &str,
    message: &Message,
    redelivered: bool,
) {
    if message.exchange() == TRACE {
        return;
    }
    let keys = Properties::decode(message.properties()).and_then(|properties| properties.header_table());
    let keys = keys.map(|headers| routing::more_keys(&headers)).unwrap_or_default();
    let mut headers = described(message.exchange(), message.routing_key(), &keys, message.properties());
    headers.push(("redelivered", Value::I32(redelivered.into())));
    headers.extend(whose(vhost, origin));
    copy(vhost, now_ms, &format!("deliver.{queue}"), headers, message.body());
}

type Fields = Vec<(&'static str, Value)>;

fn described(exchange: &str, routing_key: &str, keys: &[String], properties: &[u8]) -> Fields {
    let keys = std::iter::once(routing_key).chain(keys.iter().map(String::as_str)).map(text).collect();
    let properties = Properties::decode(properties).unwrap_or_default();
    vec![
        ("exchange_name", text(exchange)),
        ("routing_keys", Value::Array(keys)),
        ("properties", Value::Table(as_table(&properties))),
        ("node", text(NODE)),
    ]
}

fn whose(vhost: &Vhost, origin: &Origin) -> Fields {
    vec![
        ("vhost", text(&vhost.name)),
        ("connection", text(&origin.connection)),
        ("channel", Value::I32(origin.channel.into())),
        ("user", text(&origin.user)),
    ]
}

/// The properties that are there, by their names.
fn as_table(properties: &Properties<'_>) -> Table {
    let string = |octets: Option<&[u8]>| octets.map(|octets| Value::LongStr(Bytes::copy_from_slice(octets)));
    let small = |octet: Option<u8>| octet.map(|n| Value::I32(n.into()));
    let headers = properties.headers.and_then(|_| properties.header_table().ok()).map(Value::Table);
    let seconds = properties.timestamp.map(|n| {
        i32::try_from(n).map_or_else(|_| Value::I64(i64::try_from(n).unwrap_or(i64::MAX)), Value::I32)
    });
    let fields = [
        ("content_type", string(properties.content_type)),
        ("content_encoding", string(properties.content_encoding)),
        ("headers", headers),
        ("delivery_mode", small(properties.delivery_mode)),
        ("priority", small(properties.priority)),
        ("correlation_id", string(properties.correlation_id)),
        ("reply_to", string(properties.reply_to)),
        ("expiration", string(properties.expiration)),
        ("message_id", string(properties.message_id)),
        ("timestamp", seconds),
        ("type", string(properties.r#type)),
        ("user_id", string(properties.user_id)),
        ("app_id", string(properties.app_id)),
        ("cluster_id", string(properties.cluster_id)),
    ];
    Table(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

fn copy(vhost: &Arc<Vhost>, now_ms: i64, key: &str, headers: Fields, body: &[u8]) {
    let Some(exchange) = vhost.find_exchange(TRACE) else { return };
    let key = key.get(..key.floor_char_boundary(255)).unwrap_or_default();
    let headers = Table(headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    vhost.announce(now_ms, &exchange, key, &Properties::default(), headers, body);
}
