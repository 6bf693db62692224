//! What a message's deaths look like in its headers: `x-death`, `x-first-death-*`, `x-last-death-*`.
//!
//! ```text
//! x-death: array of tables, most recent death first; one for each queue and reason
//!   original-expiration longstr   when the message had an expiration, which it loses
//!   count long, reason longstr, queue longstr, time timestamp (of the first), exchange longstr
//!   routing-keys array of longstr: its key and those in CC
//! ```
//!
//! Pure: bytes and names in, bytes out. (RabbitMQ `mc`, `mc_amqpl`, 4.2; before 3.13 `rabbit_dead_letter`.)

use bytes::{Bytes, BytesMut};

use super::Reason;
use crate::{
    broker::{message::Message, profile::Profile, publish::Headers},
    data::{
        field::Properties,
        value::{Table, Value},
    },
};

/// One death.
#[derive(Debug, Clone, Copy)]
pub struct Death<'a> {
    /// Where it died.
    pub queue: &'a str,
    pub reason: Reason,
    pub now_ms: i64,
    /// The queue puts a routing key of its own in place of the message's.
    pub key_replaced: bool,
}

/// A message as it goes on after its death.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Property flags and list as on the wire.
    pub properties: BytesMut,
    pub headers: Table,
    /// More routing keys that it has (`CC`).
    pub copies: Vec<String>,
}

impl Letter {
    #[must_use]
    pub fn new(message: &Message, death: &Death<'_>, profile: &Profile) -> Self {
        // The door has refused what is no property list; headers it never had to decode may be broken: they are lost.
        let properties = Properties::decode(message.properties()).unwrap_or_default();
        let mut headers = properties.header_table().unwrap_or_default();
        let copies = if message.own_key_only() { Vec::new() } else { copies(&headers) };
        let expiration = expiration(&properties, message, profile);
        let first = record(expiration, message, death, &copies, profile);
        let trusted = message.has_died() || profile.client_x_death_trusted;
        let deaths = match headers.field(X_DEATH) {
            Some(Value::Array(deaths)) if trusted => Some(deaths.clone()),
            Some(_) | None => None,
        };
        let exchange = message.exchange();
        if deaths.is_none() {
            name_death(&mut headers, "first", death, exchange);
        }
        if profile.x_last_death {
            name_death(&mut headers, "last", death, exchange);
        }
        if death.key_replaced && !profile.x_last_death {
            headers.0.retain(|(name, _)| name != "CC");
        }
        let sorted = deaths.is_some() && !profile.x_last_death;
        let deaths = merge(deaths.unwrap_or_default(), first, sorted);
        set(&mut headers, X_DEATH.to_owned(), Value::Array(deaths));
        // Once RabbitMQ adds a header, it sorts them all, and drops doubles.
        headers.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        headers.0.dedup_by(|(b, _), (a, _)| a == b);
        let properties = Properties { expiration: None, ..properties }.with_headers(&headers);
        Self { properties, headers, copies }
    }

    /// Whether it died in that queue before, and has not been rejected anywhere since.
    #[must_use]
    pub fn cycles_to(&self, queue: &str) -> bool {
        let Some(Value::Array(deaths)) = self.headers.field(X_DEATH) else { return false };
        let died_there = |death: &Value| text(death, "queue") == Some(queue.as_bytes());
        let rejected = |death: &Value| text(death, "reason") == Some(Reason::Rejected.word().as_bytes());
        let Some(there) = deaths.iter().position(died_there) else { return false };
        !deaths.iter().take(there + 1).any(rejected)
    }

    /// As its properties have them.
    pub(super) fn own_headers(&self) -> Headers {
        // Flags with nothing but the headers' bit say that they are alone.
        let alone = matches!(self.properties.first_chunk(), Some([0x20, 0]));
        Headers { table: self.headers.clone(), alone }
    }
}

const X_DEATH: &str = "x-death";

/// Elements that are no strings count for nothing, in RabbitMQ too.
fn copies(headers: &Table) -> Vec<String> {
    let Some(Value::Array(keys)) = headers.field("CC") else { return Vec::new() };
    keys.iter().filter_map(|key| String::from_utf8(key.octets()?.to_vec()).ok()).collect()
}

/// Since 3.13 as a number is written, before as it came.
fn expiration(properties: &Properties<'_>, message: &Message, profile: &Profile) -> Option<Bytes> {
    let text = properties.expiration?;
    let number = message.expiration_ms().filter(|_| profile.x_last_death).map(|ms| ms.to_string());
    Some(number.map_or_else(|| Bytes::copy_from_slice(text), Bytes::from))
}

fn longstr(text: &str) -> Value {
    Value::LongStr(Bytes::copy_from_slice(text.as_bytes()))
}

/// The first death in that queue for that reason.
fn record(
    expiration: Option<Bytes>,
    message: &Message,
    death: &Death<'_>,
    copies: &[String],
    profile: &Profile,
) -> Table {
    let keys = std::iter::once(message.routing_key()).chain(copies.iter().map(String::as_str));
    let seconds = u64::try_from(death.now_ms / 1_000).unwrap_or(0);
    let mut fields = vec![
        ("count", Value::I64(1)),
        ("reason", longstr(death.reason.word())),
        ("queue", longstr(death.queue)),
        ("time", Value::Timestamp(seconds)),
        ("exchange", longstr(message.exchange())),
        ("routing-keys", Value::Array(keys.map(longstr).collect())),
    ];
    if let Some(expiration) = expiration {
        let at = if profile.x_last_death { 0 } else { fields.len() };
        fields.insert(at, ("original-expiration", Value::LongStr(expiration)));
    }
    Table(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn field<'a>(death: &'a Value, name: &str) -> Option<&'a Value> {
    if let Value::Table(fields) = death { fields.field(name) } else { None }
}

fn text<'a>(death: &'a Value, name: &str) -> Option<&'a [u8]> {
    field(death, name)?.octets()
}

/// Puts a death in front: the one of the same queue and reason counts one more, and is otherwise what it was. Before
/// 3.13 its fields were `sorted` then.
fn merge(mut deaths: Vec<Value>, first: Table, sorted: bool) -> Vec<Value> {
    let new = Value::Table(first);
    let same = |death: &Value| {
        ["queue", "reason"].iter().all(|name| text(death, name).is_some_and(|t| text(&new, name) == Some(t)))
    };
    let again = deaths.iter().position(same).map(|at| deaths.remove(at));
    let mut front = again.map_or(new, one_more);
    if let (true, Value::Table(fields)) = (sorted, &mut front) {
        fields.0.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    deaths.insert(0, front);
    deaths
}

fn one_more(death: Value) -> Value {
    let Value::Table(mut fields) = death else { return death };
    let count = fields.field("count").and_then(Value::integer).unwrap_or(0);
    set(&mut fields, "count".to_owned(), Value::I64(count.saturating_add(1)));
    Value::Table(fields)
}

fn name_death(headers: &mut Table, which: &str, death: &Death<'_>, exchange: &str) {
    for (what, value) in [("reason", death.reason.word()), ("queue", death.queue), ("exchange", exchange)] {
        set(headers, format!("x-{which}-death-{what}"), longstr(value));
    }
}

/// In its place, if it is there.
fn set(table: &mut Table, name: String, value: Value) {
    match table.0.iter_mut().find(|(other, _)| *other == name) {
        Some((_, old)) => *old = value,
        None => table.0.push((name, value)),
    }
}
