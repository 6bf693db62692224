//! Messages over HTTP: publishing one, and taking some out of a queue. For looking into things, not for traffic.

use std::{future::poll_fn, sync::Arc, task::Poll};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use serde_json::{Map, Value, json};

use crate::{
    admin::{
        body::{Body, base64},
        exchanges::real_name,
        json::{table, table_of},
        queues::{self, Named},
        refused,
        request::{Reply, Request},
        source::Later,
    },
    broker::{
        message::{Publish, Traits},
        outlet::Outlet,
        publish::{Publisher, Routed},
        queue::{Entry, Queue, state::Got},
        refusal::Access,
        vhost::Vhost,
    },
    data::field::{Properties, table as field_table},
};

/// `POST /api/exchanges/:vhost/:exchange/publish`.
pub(crate) fn publish(request: &Request) -> Reply {
    publish_one(request).unwrap_or_else(|reply| reply)
}

fn publish_one(request: &Request) -> Result<Reply, Reply> {
    let body = request.object_with(&["payload", "payload_encoding", "properties", "routing_key"])?;
    let (vhost, exchange) = (request.open_vhost()?, real_name(request.parameter(1)));
    let payload = body.text_or_empty("payload");
    let payload = match body.text_or_empty("payload_encoding").as_str() {
        "string" => payload.into_bytes(),
        "base64" => base64(&payload)?,
        other => return Err(Reply::bad_request_json(json!(["unsupported_encoding", other]))),
    };
    let (properties, traits) = properties(&body)?;
    request.allow(Access::Write, &vhost.name, exchange)?;
    let routing_key = body.text_or_empty("routing_key");
    let publish = Publish { exchange, routing_key: &routing_key, properties: &properties, traits };
    let headers = || {
        let decoded = Properties::decode(&properties).ok()?.header_table().ok()?;
        Some(crate::broker::publish::Headers { table: decoded, alone: false })
    };
    let now_ms = request.state.broker.core.clock.now_ms();
    let mut publisher = Publisher::new(vhost.clone());
    let routed = publisher.publish(now_ms, &publish, headers, &payload);
    let routed = routed.map_err(|refusal| {
        let text = refused::text(&refusal, &vhost.name);
        let code = if text.starts_with("no ") { "404 NOT_FOUND" } else { "403 ACCESS_REFUSED" };
        Reply::bad_request(&format!("{code} - {text}"))
    })?;
    publisher.flush(now_ms, None);
    Ok(Reply::json(json!({ "routed": matches!(routed, Routed::Taken) })))
}

/// The property list that a JSON object asks for, and what of it concerns queues.
fn properties(body: &Body) -> Result<(BytesMut, Traits), Reply> {
    let given = match body.0.get("properties") {
        Some(Value::Object(map)) => Body(map.clone()),
        Some(_) | None => Body::default(),
    };
    let text = |name: &str| given.text(name).map(String::into_bytes);
    let number = |name: &'static str| -> Result<Option<u64>, Reply> {
        match given.0.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| Reply::bad_request_json(json!(["not_int", name])))
            }
        }
    };
    let octet = |name| number(name).map(|n| n.map(|n| u8::try_from(n).unwrap_or(u8::MAX)));
    let mut headers = BytesMut::new();
    let has_headers = match given.0.get("headers") {
        Some(Value::Object(map)) => {
            field_table::encode(&table_of(map), &mut headers);
            true
        }
        Some(_) | None => false,
    };
    let texts: [Option<Vec<u8>>; 9] = [
        "content_type",
        "content_encoding",
        "correlation_id",
        "reply_to",
        "expiration",
        "message_id",
        "type",
        "app_id",
        "cluster_id",
    ]
    .map(text);
    if texts.iter().flatten().any(|text| text.len() > 255) {
        return Err(Reply::bad_request("a property has more than 255 bytes"));
    }
    let [
        content_type,
        content_encoding,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        kind,
        app_id,
        cluster_id,
    ] = &texts;
    let properties = Properties {
        content_type: content_type.as_deref(),
        content_encoding: content_encoding.as_deref(),
        // The list writes the length itself.
        headers: headers.get(4..).filter(|_| has_headers),
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: correlation_id.as_deref(),
        reply_to: reply_to.as_deref(),
        expiration: expiration.as_deref(),
        message_id: message_id.as_deref(),
        timestamp: number("timestamp")?,
        r#type: kind.as_deref(),
        app_id: app_id.as_deref(),
        cluster_id: cluster_id.as_deref(),
        ..Properties::default()
    };
    let expiration_ms = match given.text("expiration") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Reply::bad_request(&format!("406 PRECONDITION_FAILED - invalid expiration '{text}': no_integer"))
        })?),
    };
    let traits = Traits {
        persistent: properties.persistent(),
        priority: properties.priority.unwrap_or(0),
        expiration_ms,
    };
    let mut list = BytesMut::new();
    properties.encode(&mut list);
    Ok((list, traits))
}

/// What becomes of the messages that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Acknowledge,
    Reject,
    Requeue,
}

/// `POST /api/queues/:vhost/:queue/get`.
pub(crate) fn get(request: Request) -> Later<'static, Reply> {
    Box::pin(async move { get_some(&request).await.unwrap_or_else(|reply| reply) })
}

async fn get_some(request: &Request) -> Result<Reply, Reply> {
    let body = request.object_with(&["ackmode", "count", "encoding"])?;
    let (vhost, name) = (request.open_vhost()?, request.parameter(1));
    let mode = match body.text_or_empty("ackmode").as_str() {
        "ack_requeue_false" => Mode::Acknowledge,
        "reject_requeue_false" => Mode::Reject,
        "ack_requeue_true" | "reject_requeue_true" => Mode::Requeue,
        other => return Err(Reply::bad_request_json(json!(["unknown_ackmode", other]))),
    };
    let base64_always = match body.text_or_empty("encoding").as_str() {
        "auto" => false,
        "base64" => true,
        _ => return Err(Reply::bad_request("Unsupported encoding. Please use auto or base64.")),
    };
    let count = body.integer("count")?.unwrap_or(0).clamp(0, GET_MAX);
    let truncate = body.integer("truncate")?.and_then(|n| usize::try_from(n).ok());
    request.allow(Access::Read, &vhost.name, name)?;
    let queue = the_queue(&vhost, name)?;
    let (mut rows, mut held) = (Vec::new(), Vec::new());
    while (rows.len() as i64) < count {
        let Some((entry, left)) = next(&queue).await else { break };
        rows.push(row(&entry, left, truncate, base64_always));
        held.push(entry);
    }
    match mode {
        Mode::Requeue => queue.requeue(None, held.into_iter(), false),
        Mode::Acknowledge => queue.settle(None, held.into_iter().map(|entry| entry.seq), true),
        Mode::Reject => queue.settle(None, held.into_iter().map(|entry| entry.seq), false),
    }
    Ok(Reply::json(rows.into()))
}

fn the_queue(vhost: &Vhost, name: &str) -> Result<Arc<Queue>, Reply> {
    match queues::find(vhost, name) {
        Some(Named::Queue(queue)) if queue.options.exclusive.is_some() => Err(Reply::bad_request(&format!(
            "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '{}'",
            vhost.name
        ))),
        Some(Named::Queue(queue)) => Ok(queue),
        Some(Named::Stream(_)) => Err(Reply::bad_request(&format!(
            "540 NOT_IMPLEMENTED - basic.get not supported by stream queues queue '{name}' in vhost '{}'",
            vhost.name
        ))),
        None => Err(refused::not_found(&format!("NOT_FOUND - no queue '{name}' in vhost '{}'", vhost.name))),
    }
}

/// The next message and how many are left; waits while it is read back from the log.
async fn next(queue: &Arc<Queue>) -> Option<(Entry, usize)> {
    let outlet = Arc::<Outlet>::default();
    loop {
        match queue.get(false, &outlet) {
            Got::Message { entry, ready } => return Some((entry, ready)),
            Got::Empty => return None,
            Got::Wait => {
                let loaded = |cx: &mut std::task::Context<'_>| {
                    let mut events = Vec::new();
                    outlet.drain(&mut events, cx.waker());
                    if events.is_empty() { Poll::Pending } else { Poll::Ready(()) }
                };
                poll_fn(loaded).await;
            }
        }
    }
}

fn row(entry: &Entry, left: usize, truncate: Option<usize>, base64_always: bool) -> Value {
    let message = &entry.message;
    let body = message.body();
    let shown = body.get(..truncate.unwrap_or(body.len()).min(body.len())).unwrap_or_default();
    let (payload, encoding) = match std::str::from_utf8(shown) {
        Ok(text) if !base64_always => (text.to_owned(), "string"),
        _ => (STANDARD.encode(shown), "base64"),
    };
    json!({
        "payload_bytes": body.len(),
        "redelivered": entry.redelivered,
        "exchange": message.exchange(),
        "routing_key": message.routing_key(),
        "message_count": left,
        "properties": properties_json(message.properties()),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

fn properties_json(list: &[u8]) -> Value {
    let Ok(p) = Properties::decode(list) else { return json!([]) };
    let mut map = Map::new();
    let texts = [
        ("content_type", p.content_type),
        ("content_encoding", p.content_encoding),
        ("correlation_id", p.correlation_id),
        ("reply_to", p.reply_to),
        ("expiration", p.expiration),
        ("message_id", p.message_id),
        ("type", p.r#type),
        ("user_id", p.user_id),
        ("app_id", p.app_id),
        ("cluster_id", p.cluster_id),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            map.insert(name.to_owned(), String::from_utf8_lossy(text).into());
        }
    }
    let numbers = [
        ("delivery_mode", p.delivery_mode.map(u64::from)),
        ("priority", p.priority.map(u64::from)),
        ("timestamp", p.timestamp),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            map.insert(name.to_owned(), number.into());
        }
    }
    if p.headers.is_some()
        && let Ok(headers) = p.header_table()
    {
        map.insert("headers".to_owned(), Value::Object(table(&headers)));
    }
    // RabbitMQ's empty object is an empty list, and its clients know.
    if map.is_empty() { json!([]) } else { map.into() }
}

/// One answer shows no more than this.
const GET_MAX: i64 = 10_000;
