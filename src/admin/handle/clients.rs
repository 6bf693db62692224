//! Connections, channels and consumers.

use axum::http::StatusCode;
use serde_json::Value;

use crate::admin::{
    State,
    handle::overview::{plain, with_stats},
    listing::{list, one},
    request::{Reply, Request},
    source::{ChannelRow, ConnectionRow, Principal},
};

/// `GET /api/connections`.
pub(crate) fn connections(request: &Request) -> Reply {
    let rows = request.state.source.connections();
    let visible = rows.iter().filter(|c| may_see(&request.principal, &c.user));
    list(visible.map(|c| connection_row(&request.state, c)).collect(), &request.query)
}

/// `GET /api/connections/:name`.
pub(crate) fn connection(request: &Request) -> Reply {
    match find_connection(request) {
        Ok(row) => one(connection_row(&request.state, &row), &request.query),
        Err(reply) => reply,
    }
}

/// `DELETE /api/connections/:name`, with the reason in `X-Reason`.
pub(crate) fn close_connection(request: &Request) -> Reply {
    let row = match find_connection(request) {
        Ok(row) => row,
        Err(reply) => return reply,
    };
    let reason = request.reason.as_deref().unwrap_or(CLOSED_HERE);
    if request.state.source.close_connection(&row.name, reason) {
        Reply::empty(StatusCode::NO_CONTENT)
    } else {
        Reply::not_found()
    }
}

/// `GET /api/connections/username/:user`.
pub(crate) fn connections_of_user(request: &Request) -> Reply {
    let rows = request.state.source.connections();
    let of_user =
        rows.iter().filter(|c| c.user == request.parameter(0) && may_see(&request.principal, &c.user));
    list(of_user.map(|c| connection_row(&request.state, c)).collect(), &request.query)
}

/// `DELETE /api/connections/username/:user`, with the reason in `X-Reason`.
pub(crate) fn close_connections_of_user(request: &Request) -> Reply {
    let user = request.parameter(0);
    if !may_see(&request.principal, user) {
        return Reply::not_authorized("Not administrator user");
    }
    let reason = request.reason.as_deref().unwrap_or(CLOSED_HERE);
    request.state.broker.close_connections(reason, |info| *info.user == *user);
    Reply::empty(StatusCode::NO_CONTENT)
}

/// `GET /api/vhosts/:vhost/connections`.
pub(crate) fn connections_of_vhost(request: &Request) -> Reply {
    let vhost = match request.vhost() {
        Ok(vhost) => vhost,
        Err(reply) => return reply,
    };
    let rows = request.state.source.connections();
    let here = rows.iter().filter(|c| c.vhost == vhost && may_see(&request.principal, &c.user));
    list(here.map(|c| connection_row(&request.state, c)).collect(), &request.query)
}

/// `GET /api/vhosts/:vhost/channels`.
pub(crate) fn channels_of_vhost(request: &Request) -> Reply {
    let vhost = match request.vhost() {
        Ok(vhost) => vhost,
        Err(reply) => return reply,
    };
    let rows = request.state.source.channels();
    let here = rows.iter().filter(|c| c.vhost == vhost && may_see(&request.principal, &c.user));
    list(here.map(|c| channel_row(&request.state, c)).collect(), &request.query)
}

/// What a closed connection is told when nobody gives a reason.
const CLOSED_HERE: &str = "Closed via management plugin";

/// `GET /api/connections/:name/channels`.
pub(crate) fn channels_of_connection(request: &Request) -> Reply {
    let connection = match find_connection(request) {
        Ok(connection) => connection,
        Err(reply) => return reply,
    };
    let rows = request.state.source.channels();
    let of_connection = rows.iter().filter(|c| c.connection_details.name == connection.name);
    list(of_connection.map(|c| channel_row(&request.state, c)).collect(), &request.query)
}

/// `GET /api/channels`.
pub(crate) fn channels(request: &Request) -> Reply {
    let rows = request.state.source.channels();
    let visible = rows.iter().filter(|c| may_see(&request.principal, &c.user));
    list(visible.map(|c| channel_row(&request.state, c)).collect(), &request.query)
}

/// `GET /api/channels/:name`.
pub(crate) fn channel(request: &Request) -> Reply {
    let rows = request.state.source.channels();
    let found = rows.iter().find(|c| c.name == request.parameter(0) && may_see(&request.principal, &c.user));
    match found {
        Some(row) => one(channel_row(&request.state, row), &request.query),
        None => Reply::not_found(),
    }
}

/// `GET /api/consumers`.
pub(crate) fn consumers(request: &Request) -> Reply {
    let rows = request.state.source.consumers(None);
    list(
        rows.iter().filter(|c| request.sees(&c.queue.vhost)).map(|c| plain(&request.state, c)).collect(),
        &request.query,
    )
}

/// `GET /api/consumers/:vhost`.
pub(crate) fn consumers_of_vhost(request: &Request) -> Reply {
    match request.vhost() {
        Ok(vhost) => {
            let rows = request.state.source.consumers(Some(vhost));
            list(rows.iter().map(|c| plain(&request.state, c)).collect(), &request.query)
        }
        Err(reply) => reply,
    }
}

/// RabbitMQ shows other users' connections only to those who monitor.
fn may_see(principal: &Principal, user: &str) -> bool {
    principal.may_monitor() || principal.name == user
}

fn find_connection(request: &Request) -> Result<ConnectionRow, Reply> {
    let rows = request.state.source.connections();
    let row = rows.into_iter().find(|c| c.name == request.parameter(0)).ok_or_else(Reply::not_found)?;
    if may_see(&request.principal, &row.user) {
        Ok(row)
    } else {
        Err(Reply::not_authorized("Not_Authorized"))
    }
}

fn connection_row(state: &State, row: &ConnectionRow) -> Value {
    let mut value = plain(state, row);
    if let Value::Object(map) = &mut value {
        map.insert("type".to_owned(), "network".into());
    }
    value
}

fn channel_row(state: &State, row: &ChannelRow) -> Value {
    with_stats(state, row, &format!("channel {}", row.name), &row.stats)
}
