//! Virtual hosts.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    admin::{
        State,
        body::Body,
        handle::overview::with_stats,
        listing::{list, one},
        request::{Change, Done, Reply, Request},
        source::VhostRow,
    },
    broker::{
        Broker, Pending,
        administration::{Kept, is_queue_type},
        auth::{Permissions, User},
        vhost_settings::Metadata,
    },
};

/// `GET /api/vhosts`.
pub(crate) fn vhosts(request: &Request) -> Reply {
    let rows = request.state.source.vhosts();
    let visible = rows.iter().filter(|row| request.sees(&row.name));
    list(visible.map(|v| vhost_row(&request.state, v)).collect(), &request.query)
}

/// `GET /api/vhosts/:vhost`.
pub(crate) fn vhost(request: &Request) -> Reply {
    let name = match request.vhost() {
        Ok(name) => name,
        Err(reply) => return reply,
    };
    match request.state.source.vhosts().iter().find(|v| v.name == name) {
        Some(row) => one(vhost_row(&request.state, row), &request.query),
        None => Reply::not_found(),
    }
}

/// `PUT /api/vhosts/:vhost`. Who makes one may do everything in it, as with RabbitMQ, unless the query says
/// `permissions=none`: `rabbitmqctl` gives nobody anything.
pub(crate) fn put(request: &Request) -> Change {
    let body = request.object()?;
    let (name, broker) = (request.parameter(0), &request.state.broker);
    let (new, pending) = set(broker, name, &body)?;
    let mut last = pending;
    if new && request.query.value("permissions") != Some("none") {
        let give = |user: &mut User| user.permissions.insert(name.into(), Permissions::full());
        let given = broker.users.change(&broker.core.store, &request.principal.name, give);
        if let Some((_, ticket)) = given {
            broker.tell_permission_created(&request.principal.name, name, &Permissions::full());
            last = last.max(Some(ticket));
        }
    }
    Done::put((new, last))
}

/// Makes or changes a vhost as a JSON object says; true when it is new. What is not said stays as it is.
pub(crate) fn set(broker: &Broker, name: &str, body: &Body) -> Result<(bool, Pending), Reply> {
    let tracing = body.0.contains_key("tracing").then(|| body.flag("tracing")).transpose()?;
    // Definitions have the same once more under `metadata`.
    let metadata = match body.0.get("metadata") {
        Some(Value::Object(metadata)) => Body(metadata.clone()),
        Some(_) | None => Body::default(),
    };
    let text = |name: &str| body.text(name).or_else(|| metadata.text(name));
    let default_queue_type =
        text("default_queue_type").filter(|kind| !kind.is_empty() && kind != "undefined");
    if let Some(kind) = &default_queue_type
        && !is_queue_type(kind)
    {
        return Err(Reply::bad_request(&format!("Unsupported default queue type: {kind}")));
    }
    let (description, tags) = (text("description"), body.tags().or_else(|| metadata.tags()));
    let change = |own: &Metadata| Metadata {
        description: description.unwrap_or_else(|| own.description.clone()),
        tags: tags.unwrap_or_else(|| own.tags.clone()),
        default_queue_type: default_queue_type.or_else(|| own.default_queue_type.clone()),
        tracing: tracing.unwrap_or(own.tracing),
        protected_from_deletion: own.protected_from_deletion,
    };
    let (_, new, pending) = broker.set_vhost(name, change);
    Ok((new, pending))
}

/// `DELETE /api/vhosts/:vhost`.
pub(crate) fn delete(request: &Request) -> Change {
    let name = request.parameter(0);
    match request.state.broker.delete_vhost(name) {
        Ok(pending) => Done::deleted(Some(pending)),
        Err(Kept::Absent) => Done::deleted(None),
        Err(Kept::Protected) => {
            let reason =
                format!("Refusing to delete virtual host '{name}' because it is protected from deletion");
            let refused = json!({"error": "precondition_failed", "reason": reason});
            Err(Reply::failed(StatusCode::PRECONDITION_FAILED, refused))
        }
    }
}

/// `POST` and `DELETE /api/vhosts/:vhost/deletion/protection`.
pub(crate) fn protect(request: &Request) -> Change {
    set_protection(request, true)
}

pub(crate) fn unprotect(request: &Request) -> Change {
    set_protection(request, false)
}

fn set_protection(request: &Request, protected_from_deletion: bool) -> Change {
    let change = |own: &Metadata| Metadata { protected_from_deletion, ..own.clone() };
    let changed = request.state.broker.change_vhost(request.parameter(0), change);
    Done::nothing(changed.ok_or_else(Reply::not_found)?)
}

/// `POST /api/vhosts/:vhost/start/:node`: a vhost that exists here runs.
pub(crate) fn start(request: &Request) -> Reply {
    let node = request.parameter(1);
    if request.state.broker.vhost(request.parameter(0)).is_err() {
        Reply::not_found()
    } else if node == request.state.identity.node {
        Reply::empty(StatusCode::NO_CONTENT)
    } else {
        Reply::bad_request(&format!("Request to node {node} failed with nodedown"))
    }
}

fn vhost_row(state: &State, row: &VhostRow) -> Value {
    let mut value = with_stats(state, row, &format!("vhost {}", row.name), &row.stats);
    if let Value::Object(map) = &mut value {
        map.insert("messages".to_owned(), (row.messages_ready + row.messages_unacknowledged).into());
        map.insert("cluster_state".to_owned(), json!({ state.identity.node.as_str(): "running" }));
        let metadata = json!({
            "description": row.description, "tags": row.tags, "default_queue_type": row.default_queue_type,
        });
        map.insert("metadata".to_owned(), metadata);
    }
    value
}
