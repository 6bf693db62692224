//! Virtual hosts and users.

use serde_json::{Value, json};

use crate::admin::{
    State,
    listing::{list, one},
    overview::with_stats,
    request::{Reply, Request},
    source::VhostRow,
};

/// `GET /api/whoami`.
pub(crate) fn whoami(request: &Request) -> Reply {
    Reply::json(
        json!({ "name": request.principal.name, "tags": request.principal.tags, "is_internal_user": true }),
    )
}

/// `GET /api/vhosts`.
pub(crate) fn vhosts(request: &Request) -> Reply {
    let rows = request.state.source.vhosts();
    list(rows.iter().map(|v| vhost_row(&request.state, v)).collect(), &request.query)
}

/// `GET /api/vhosts/:vhost`.
pub(crate) fn vhost(request: &Request) -> Reply {
    match request.state.source.vhosts().iter().find(|v| v.name == request.parameter(0)) {
        Some(row) => one(vhost_row(&request.state, row), &request.query),
        None => Reply::not_found(),
    }
}

/// `GET /api/users`.
pub(crate) fn users(request: &Request) -> Reply {
    list(request.state.source.users().iter().map(|u| json!(u)).collect(), &request.query)
}

/// `GET /api/users/:user`.
pub(crate) fn user(request: &Request) -> Reply {
    match request.state.source.users().iter().find(|u| u.name == request.parameter(0)) {
        Some(row) => one(json!(row), &request.query),
        None => Reply::not_found(),
    }
}

fn vhost_row(state: &State, row: &VhostRow) -> Value {
    let mut value = with_stats(state, row, &format!("vhost {}", row.name), &row.stats);
    if let Value::Object(map) = &mut value {
        map.insert("messages".to_owned(), (row.messages_ready + row.messages_unacknowledged).into());
        map.insert("tracing".to_owned(), false.into());
        map.insert("cluster_state".to_owned(), json!({ state.identity.node.as_str(): "running" }));
        let metadata = json!({
            "description": row.description, "tags": row.tags, "default_queue_type": row.default_queue_type,
        });
        map.insert("metadata".to_owned(), metadata);
    }
    value
}
