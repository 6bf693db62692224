//! Limits of vhosts (`max-connections`, `max-queues`) and of users (`max-connections`, `max-channels`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    admin::{
        fault,
        json::{table_of, value_of},
        listing::list,
        request::{Change, Done, Reply, Request},
    },
    broker::{
        auth::User,
        events::{Fields, text},
        policy::terms,
        vhost::Vhost,
        vhost_settings::{MAX_CHANNELS, MAX_CONNECTIONS, VhostLimits, numbers},
    },
    data::value::Table,
};

fn vhost_row(vhost: &Vhost) -> Option<Value> {
    let limits = vhost.settings.limits.read().clone()?;
    Some(json!({"vhost": &*vhost.name, "value": limits.0}))
}

/// `GET /api/vhost-limits`.
pub(crate) fn vhost_limits(request: &Request) -> Reply {
    let visible = request.state.broker.vhosts().into_iter().filter(|vhost| request.sees(&vhost.name));
    list(visible.filter_map(|vhost| vhost_row(&vhost)).collect(), &request.query)
}

/// `GET /api/vhost-limits/:vhost`.
pub(crate) fn limits_of_vhost(request: &Request) -> Reply {
    let name = match request.vhost() {
        Ok(name) => name,
        Err(reply) => return reply,
    };
    let row = request.state.broker.vhost(name).ok().and_then(|vhost| vhost_row(&vhost));
    list(row.into_iter().collect(), &request.query)
}

/// `PUT /api/vhost-limits/:vhost/:limit`.
pub(crate) fn put_vhost_limit(request: &Request) -> Change {
    let body = request.object_with(&["value"])?;
    let vhost = request.open_vhost()?;
    let value = value_of(body.0.get("value").unwrap_or(&Value::Null));
    let one = Table(vec![(request.parameter(1).to_owned(), value)]);
    let set = VhostLimits::from_table(&one).map_err(|text| Reply::bad_request(&fault::validation(&text)))?;
    let mut limits = vhost.settings.limits.read().clone().unwrap_or_default();
    limits.0.extend(set.0);
    Done::nothing(vhost.set_limits(limits).1)
}

/// `DELETE /api/vhost-limits/:vhost/:limit`.
pub(crate) fn delete_vhost_limit(request: &Request) -> Change {
    let vhost = request.open_vhost()?;
    let own = vhost.settings.limits.read().clone();
    let Some(mut limits) = own else { return Done::nothing(None) };
    limits.0.remove(request.parameter(1));
    let pending =
        if limits.0.is_empty() { vhost.clear_limits().flatten() } else { vhost.set_limits(limits).1 };
    Done::nothing(pending)
}

fn user_row(user: &User) -> Option<Value> {
    (!user.limits.is_empty()).then(|| json!({"user": &*user.name, "value": user.limits}))
}

/// `GET /api/user-limits`.
pub(crate) fn user_limits_of_all(request: &Request) -> Reply {
    let users = request.state.broker.users.all();
    list(users.iter().filter_map(|user| user_row(user)).collect(), &request.query)
}

/// `GET /api/user-limits/:user`.
pub(crate) fn limits_of_user(request: &Request) -> Reply {
    match request.state.broker.users.user(request.parameter(0)) {
        Some(user) => list(user_row(&user).into_iter().collect(), &request.query),
        None => Reply::not_found(),
    }
}

/// `PUT /api/user-limits/:user/:limit`.
pub(crate) fn put_user_limit(request: &Request) -> Change {
    let body = request.object_with(&["value"])?;
    let value = body.0.get("value").cloned().unwrap_or(Value::Null);
    let one = Map::from_iter([(request.parameter(1).to_owned(), value)]);
    let limits = user_limits(&one).map_err(|text| Reply::bad_request(&text))?;
    let set = change(request, |user| user.limits.extend(limits))?;
    request.state.broker.tell("user.limits.set", || {
        let known = [MAX_CONNECTIONS, MAX_CHANNELS].into_iter().filter(|name| *name == request.parameter(1));
        let value = value_of(body.0.get("value").unwrap_or(&Value::Null));
        let mut fields = of_user(request);
        fields.extend(known.map(|name| (name, value.clone())));
        fields
    });
    Ok(set)
}

fn of_user(request: &Request) -> Fields {
    vec![("name", text("limits")), ("username", text(request.parameter(0)))]
}

/// `DELETE /api/user-limits/:user/:limit`.
pub(crate) fn delete_user_limit(request: &Request) -> Change {
    let cleared = change(request, |user| {
        user.limits.remove(request.parameter(1));
    })?;
    request.state.broker.tell("user.limits.cleared", || of_user(request));
    Ok(cleared)
}

fn change(request: &Request, change: impl FnOnce(&mut User)) -> Change {
    let (broker, name) = (&request.state.broker, request.parameter(0));
    match broker.users.change(&broker.core.store, name, change) {
        Some(((), ticket)) => Done::nothing(Some(ticket)),
        None => Err(Reply::bad_request_json(json!(["no_such_user", name]))),
    }
}

/// Limits of a user from JSON.
///
/// # Errors
/// RabbitMQ's text for what is not a limit.
pub(crate) fn user_limits(map: &Map<String, Value>) -> Result<BTreeMap<String, i64>, String> {
    let table = table_of(map);
    let unknown: Vec<_> = table
        .0
        .iter()
        .filter(|(name, _)| ![MAX_CONNECTIONS, MAX_CHANNELS].contains(&name.as_str()))
        .collect();
    if !unknown.is_empty() {
        return Err(format!("Unrecognised terms {} in user-limits", terms(&unknown)));
    }
    numbers(&table)
}
