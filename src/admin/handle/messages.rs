//! Messages over HTTP: publishing one, and taking some out of a queue. For looking into things, not for traffic.

use std::{future::poll_fn, sync::Arc, task::Poll};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use serde_json::{Map, Value, json};

use crate::{
    admin::{
        body::{Body, base64},
        fault,
        handle::{
            exchanges::real_name,
            queues::{self, Named},
        },
        json::{table, table_of},
        request::{Reply, Request},
        source::Later,
    },
    broker::{
        message::{Publish, Traits},
        outlet::{Event, Outlet},
        publish::{self, Headers, Publisher, Routed},
        queue::{Entry, Queue, returns::Return, serving::Got},
        receipt::Receipt,
        refusal::{Access, Refusal},
        reply,
        trace::Origin,
        vhost::Vhost,
    },
    data::{
        expiration,
        field::{Properties, table as field_table},
        term,
        value::{Table, Value as Typed},
    },
};

/// `POST /api/exchanges/:vhost/:exchange/publish`: answered once the message is where a confirm would say it is.
pub(crate) fn publish(request: Request) -> Later<'static, Reply> {
    Box::pin(async move {
        match publish_one(&request) {
            Ok((routed, outlet)) => match settled(&outlet).await {
                true => Reply::json(json!({ "routed": routed })),
                false => Reply::bad_request("rejected"),
            },
            Err(reply) => reply,
        }
    })
}

/// Hands one message to its queues; the outlet hears whether they took it.
fn publish_one(request: &Request) -> Result<(bool, Arc<Outlet>), Reply> {
    let body = request.object_with(&["payload", "payload_encoding", "properties", "routing_key"])?;
    let (vhost, exchange) = (request.open_vhost()?, real_name(request.parameter(1)));
    let payload = body.text_or_empty("payload");
    let payload = match body.text_or_empty("payload_encoding").as_str() {
        "string" => payload.into_bytes(),
        "base64" => base64(&payload)?,
        other => return Err(Reply::bad_request_json(json!(["unsupported_encoding", other]))),
    };
    let routing_key = body.short("routing_key")?;
    let asked = properties(&body, &request.principal.name)?;
    request.allow(Access::Write, &vhost.name, exchange)?;
    let keys = std::iter::once(&routing_key).chain(&asked.keys).chain(&asked.hidden);
    request.allow_topics(Access::Write, &vhost, exchange, keys)?;
    let publish =
        Publish { exchange, routing_key: &routing_key, properties: &asked.list, traits: asked.traits };
    let headers = || Some(Headers { table: asked.headers.clone()?, alone: false });
    let now_ms = request.state.broker.core.clock.now_ms();
    let (connection, user) = ("management".into(), request.principal.name.as_str().into());
    let mut publisher = Publisher::of(vhost.clone(), Arc::new(Origin { connection, channel: 1, user }));
    let body = &mut publish::Body::Copied(&payload);
    let routed = if asked.keys.is_empty() && asked.hidden.is_empty() {
        publisher.publish(now_ms, &publish, headers, body)
    } else {
        publisher.publish_copies(now_ms, &publish, (&asked.keys, &asked.hidden), headers, body)
    };
    let routed = routed.map_err(|refusal| {
        let text = fault::text(&refusal, &vhost.name);
        let code = if text.starts_with("no ") { "404 NOT_FOUND" } else { "403 ACCESS_REFUSED" };
        Reply::bad_request(&format!("{code} - {text}"))
    })?;
    let outlet = Arc::<Outlet>::default();
    let receipt = Receipt::new(outlet.clone(), 1, 0, (1, 1));
    if publisher.flush(now_ms, Some(&receipt)).rejected.is_empty() {
        receipt.done();
    } else {
        receipt.refuse();
    }
    Ok((routed == Routed::Taken, outlet))
}

/// What the receipt of one message says.
async fn settled(outlet: &Outlet) -> bool {
    let told = |cx: &mut std::task::Context<'_>| {
        let mut events = Vec::new();
        outlet.drain(&mut events, cx.waker());
        match events.first() {
            Some(event) => Poll::Ready(matches!(event, Event::Confirm { .. })),
            None => Poll::Pending,
        }
    };
    poll_fn(told).await
}

/// What a publish asks for besides its payload.
struct Asked {
    /// The property list, without what nobody is to see.
    list: BytesMut,
    traits: Traits,
    headers: Option<Table>,
    /// Of `CC` and of `BCC`.
    keys: Vec<String>,
    hidden: Vec<String>,
}

/// The properties that a JSON object asks for, checked as those of a channel of that user.
fn properties(body: &Body, user: &str) -> Result<Asked, Reply> {
    let given = match body.0.get("properties") {
        Some(Value::Object(map)) => Body(map.clone()),
        Some(_) | None => Body::default(),
    };
    let number = |name: &'static str| -> Result<Option<u64>, Reply> {
        match given.0.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| Reply::bad_request_json(json!(["not_int", name])))
            }
        }
    };
    let octet = |name| number(name).map(|n| n.map(|n| u8::try_from(n).unwrap_or(u8::MAX)));
    let mut headers = match given.0.get("headers") {
        Some(Value::Object(map)) => Some(table_of(map)),
        Some(_) | None => None,
    };
    let (keys, hidden) = match &mut headers {
        Some(headers) => more_keys(headers)?,
        None => Default::default(),
    };
    let contents = headers.as_ref().map(field_table::contents);
    let mut texts = [const { None::<String> }; 10];
    for (text, name) in texts.iter_mut().zip(TEXTS) {
        *text = match given.0.get(name) {
            None => None,
            Some(Value::String(_)) => Some(given.short(name)?),
            Some(_) => return Err(Reply::bad_request_json(json!(["not_string", name]))),
        };
    }
    let [
        content_type,
        content_encoding,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        kind,
        user_id,
        app_id,
        cluster_id,
    ] = texts.each_ref().map(|text| text.as_deref().map(str::as_bytes));
    let properties = Properties {
        content_type,
        content_encoding,
        headers: contents.as_deref(),
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        timestamp: number("timestamp")?,
        r#type: kind,
        user_id,
        app_id,
        cluster_id,
    };
    let traits = judge(&properties, user)?;
    let mut list = BytesMut::new();
    properties.encode(&mut list);
    Ok(Asked { list, traits, headers, keys, hidden })
}

/// What of the properties concerns queues, in a user's name.
fn judge(properties: &Properties<'_>, user: &str) -> Result<Traits, Reply> {
    let refused = |reason: String| Reply::bad_request(&format!("406 PRECONDITION_FAILED - {reason}"));
    if let Some(claimed) = properties.user_id.filter(|claimed| *claimed != user.as_bytes()) {
        let claimed = String::from_utf8_lossy(claimed);
        let reason = format!("user_id property set to '{claimed}' but authenticated user was '{user}'");
        return Err(refused(reason));
    }
    if properties.reply_to == Some(reply::QUEUE.as_bytes()) {
        return Err(refused("fast reply consumer does not exist".to_owned()));
    }
    let expiration_ms = properties.expiration.map(expiration::parse).transpose().map_err(|reason| {
        let given = String::from_utf8_lossy(properties.expiration.unwrap_or_default());
        refused(format!("invalid expiration '{given}': {reason}"))
    })?;
    Ok(Traits { persistent: properties.persistent(), priority: properties.priority, expiration_ms })
}

/// The keys of `CC` and of `BCC`, which is taken out: nobody is to see it.
fn more_keys(headers: &mut Table) -> Result<(Vec<String>, Vec<String>), Reply> {
    let keys = |header: &str| -> Result<Vec<String>, Reply> {
        match headers.field(header) {
            None => Ok(Vec::new()),
            Some(Typed::Array(values)) => {
                let texts = values.iter().filter_map(|value| std::str::from_utf8(value.octets()?).ok());
                Ok(texts.map(str::to_owned).collect())
            }
            Some(other) => {
                let (header, kind) = (term::string(header.as_bytes()), other.type_name());
                let reason = format!("invalid message: {{unacceptable_type_in_header,{header},{kind}}}");
                Err(Reply::bad_request(&format!("406 PRECONDITION_FAILED - {reason}")))
            }
        }
    };
    let found = (keys("CC")?, keys("BCC")?);
    headers.0.retain(|(name, _)| name != "BCC");
    Ok(found)
}

/// Properties that are text.
const TEXTS: [&str; 10] = [
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
];

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
    let mut taken = Taken { queue: the_queue(&vhost, name)?, entries: Vec::new() };
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while (rows.len() as i64) < count && bytes < GET_BYTES_MAX {
        let Some((entry, left)) = next(&taken.queue).await else { break };
        let body_bytes = entry.message.body().len();
        bytes += truncate.unwrap_or(body_bytes).min(body_bytes);
        rows.push(row(&entry, left, truncate, base64_always));
        taken.entries.push(entry);
    }
    taken.become_of(mode);
    Ok(Reply::json(rows.into()))
}

/// Messages that were taken out. They go back when nobody waits for the answer any more.
struct Taken {
    queue: Arc<Queue>,
    entries: Vec<Entry>,
}

impl Taken {
    fn become_of(&mut self, mode: Mode) {
        let entries = std::mem::take(&mut self.entries);
        match mode {
            Mode::Requeue => self.queue.requeue(None, entries.into_iter(), Return::GivenBack),
            Mode::Acknowledge => self.queue.settle(None, entries.iter(), true),
            Mode::Reject => self.queue.reject(None, entries.into_iter()),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.entries.is_empty() {
            self.become_of(Mode::Requeue);
        }
    }
}

fn the_queue(vhost: &Vhost, name: &str) -> Result<Arc<Queue>, Reply> {
    match queues::find(vhost, name) {
        Some(Named::Queue(queue)) if queue.options.exclusive.is_some() => {
            let text = fault::text(&Refusal::Locked(name.to_owned()), &vhost.name);
            Err(Reply::bad_request(&format!("405 RESOURCE_LOCKED - {text}")))
        }
        Some(Named::Queue(queue)) => Ok(queue),
        Some(Named::Stream(_)) => Err(Reply::bad_request(&format!(
            "540 NOT_IMPLEMENTED - basic.get not supported by stream queues queue '{name}' in vhost '{}'",
            vhost.name
        ))),
        Some(Named::List(_)) => Err(Reply::bad_request(&format!(
            "540 NOT_IMPLEMENTED - getting over HTTP not supported by list queue '{name}' in vhost '{}'",
            vhost.name
        ))),
        None => Err(fault::not_found(&format!("NOT_FOUND - no queue '{name}' in vhost '{}'", vhost.name))),
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

/// Nor does it take a message more once it has bodies of this size: an answer is made whole, in memory.
const GET_BYTES_MAX: usize = 64 * 1024 * 1024;
