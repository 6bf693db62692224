//! What changes queues: declaring, deleting, purging. Looking at them is in `topology.rs`, their messages in
//! `messages.rs`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    admin::{
        body::fits,
        fault,
        json::table,
        request::{Change, Done, Reply, Request},
    },
    broker::{
        Pending,
        arguments::{self, QueueKind},
        list::queue::ListQueue,
        queue::{ConnectionId, Queue, QueueOptions},
        refusal::{Access, Refusal},
        topic::Topic,
        vhost::Vhost,
    },
    data::value::Table,
};

/// Connection ids begin with 1: this one is nobody's, and owns no exclusive queue.
pub(crate) const NOBODY: ConnectionId = ConnectionId(0);

/// What a name stands for among queues.
pub(crate) enum Named {
    Queue(Arc<Queue>),
    Stream(Arc<Topic>),
    /// One that has an element, or a consumer.
    List(Arc<ListQueue>),
}

/// The queue, stream or list of that name.
pub(crate) fn find(vhost: &Vhost, name: &str) -> Option<Named> {
    let queue = vhost.find_queue(name).map(Named::Queue);
    let other = queue.or_else(|| vhost.find_stream(name).map(Named::Stream));
    other.or_else(|| {
        let list = vhost.find_list(name)?;
        list.figures().in_use().then(|| Named::List(list))
    })
}

/// As [`find`], for what changes the queue: an exclusive one is its connection's alone, over HTTP as on a channel.
pub(crate) fn unlocked(vhost: &Vhost, name: &str) -> Result<Named, Reply> {
    let found = find(vhost, name).ok_or_else(Reply::not_found)?;
    match &found {
        Named::Queue(queue) if queue.options.exclusive.is_some() => {
            Err(fault::reply(&Refusal::Locked(name.to_owned()), &vhost.name))
        }
        Named::Queue(_) | Named::Stream(_) | Named::List(_) => Ok(found),
    }
}

/// How to declare a queue.
pub(crate) struct Declaration {
    pub durable: bool,
    pub auto_delete: bool,
    pub arguments: Table,
}

/// Declares a queue of whatever type its arguments name; true when it is new.
pub(crate) fn declare(vhost: &Vhost, name: &str, given: Declaration) -> Result<(bool, Pending), Refusal> {
    let Declaration { durable, auto_delete, arguments } = given;
    let mut options = QueueOptions { durable, auto_delete, exclusive: None, arguments };
    options.arguments = vhost.arguments_of(&options);
    let kind = arguments::kind(name, &options.arguments)?;
    if let Some(list) = vhost.find_list(name) {
        list.equivalent(kind, &options, vhost.core.profile)?;
        return Ok((false, None));
    }
    match kind {
        QueueKind::Stream => {
            let existed = vhost.find_stream(name).is_some();
            let declared = vhost.declare_stream(name, &options)?;
            Ok((!existed, declared.pending))
        }
        QueueKind::Classic | QueueKind::Quorum => {
            let declared = vhost.declare_queue(name, NOBODY, options)?;
            Ok((declared.created, declared.pending))
        }
    }
}

/// `PUT /api/queues/:vhost/:queue`.
pub(crate) fn put(request: &Request) -> Change {
    let body = request.object()?;
    let (vhost, name) = (request.open_vhost()?, request.parameter(1));
    fits("queue", name)?;
    if let Some(node) = body.text("node")
        && node != request.state.identity.node
    {
        return Err(Reply::bad_request(&format!("Node {node} could not be contacted")));
    }
    let given = Declaration {
        durable: body.flag_or("durable", false)?,
        auto_delete: body.flag("auto_delete")?,
        arguments: body.arguments()?,
    };
    if name.starts_with("amq.") && find(&vhost, name).is_none() {
        return Err(Reply::not_authorized("Access refused."));
    }
    request.allow(Access::Configure, &vhost.name, name)?;
    if let Some(exchange) = given.arguments.field("x-dead-letter-exchange").and_then(|value| value.octets())
        && find(&vhost, name).is_none()
    {
        request.allow(Access::Read, &vhost.name, name)?;
        request.allow(Access::Write, &vhost.name, &String::from_utf8_lossy(exchange))?;
    }
    Done::put(declare(&vhost, name, given).map_err(|refusal| fault::reply(&refusal, &vhost.name))?)
}

/// `DELETE /api/queues/:vhost/:queue`, with `if-empty` and `if-unused`.
pub(crate) fn delete(request: &Request) -> Change {
    let (vhost, name) = (request.open_vhost()?, request.parameter(1));
    let asked = |flag: &str| request.query.value(flag) == Some("true");
    let found = unlocked(&vhost, name)?;
    request.allow(Access::Configure, &vhost.name, name)?;
    let deleted = match found {
        Named::Queue(queue) => vhost.delete_queue(&queue, asked("if-unused"), asked("if-empty")),
        Named::Stream(topic) => vhost.delete_stream_queue(&topic).map(|pending| (0, pending)),
        Named::List(list) => list.delete(asked("if-unused"), asked("if-empty")),
    };
    let (_, pending) = deleted.map_err(|refusal| fault::reply(&refusal, &vhost.name))?;
    Done::nothing(pending)
}

/// `DELETE /api/queues/:vhost/:queue/contents`.
pub(crate) fn purge(request: &Request) -> Change {
    let (vhost, name) = (request.open_vhost()?, request.parameter(1));
    request.allow(Access::Read, &vhost.name, name)?;
    match unlocked(&vhost, name)? {
        Named::Queue(queue) => {
            queue.purge();
            Done::nothing(None)
        }
        Named::List(list) => Done::nothing(list.purge().1),
        Named::Stream(_) => Err(Reply::bad_request(&format!(
            "540 NOT_IMPLEMENTED - queue.purge not supported by stream queues queue '{name}' in vhost '{}'",
            vhost.name
        ))),
    }
}

/// `POST /api/queues/:vhost/:queue/actions`: nothing is mirrored, so there is nothing to synchronise.
pub(crate) fn actions(request: &Request) -> Reply {
    let act = || -> Result<Reply, Reply> {
        let body = request.object_with(&["action"])?;
        let vhost = request.open_vhost()?;
        find(&vhost, request.parameter(1)).ok_or_else(Reply::not_found)?;
        match body.text_or_empty("action").as_str() {
            "sync" | "cancel_sync" => Ok(Reply::empty(axum::http::StatusCode::NO_CONTENT)),
            other => Err(Reply::bad_request_json(json!(["unknown", other]))),
        }
    };
    act().unwrap_or_else(|reply| reply)
}

/// Queues as definitions have them: those that last and are nobody's.
#[must_use]
pub(crate) fn definitions(vhost: &Vhost) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    for queue in vhost.queues().iter().filter(|queue| queue.survives()) {
        rows.push(json!({
            "name": &*queue.name, "vhost": &*vhost.name, "durable": true,
            "auto_delete": queue.options.auto_delete,
            "arguments": table(&queue.options.arguments),
        }));
    }
    for (name, arguments) in vhost.defined_streams() {
        rows.push(json!({
            "name": &*name, "vhost": &*vhost.name, "durable": true, "auto_delete": false,
            "arguments": table(&arguments),
        }));
    }
    rows.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    rows
}
