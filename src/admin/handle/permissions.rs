//! Permissions and topic permissions of users in vhosts.

use serde_json::{Value, json};

use crate::{
    admin::{
        body::Body,
        listing::{list, one},
        request::{Change, Done, Reply, Request},
    },
    broker::{
        Broker, Pending,
        auth::{Permissions, TopicPermissions, User},
        events,
        pattern::BadPattern,
    },
};

fn of_user(user: &User) -> Vec<Value> {
    let row = |(vhost, p): (&std::sync::Arc<str>, &Permissions)| {
        json!({
            "user": &*user.name, "vhost": &**vhost,
            "configure": p.configure.text(), "write": p.write.text(), "read": p.read.text(),
        })
    };
    user.permissions.iter().map(row).collect()
}

fn topics_of_user(user: &User) -> Vec<Value> {
    let mut rows = Vec::new();
    for (vhost, exchanges) in &user.topic_permissions {
        rows.extend(exchanges.iter().map(|(exchange, p)| {
            json!({
                "user": &*user.name, "vhost": &**vhost, "exchange": &**exchange,
                "write": p.write, "read": p.read,
            })
        }));
    }
    rows
}

/// Every permission there is.
#[must_use]
pub(crate) fn all(broker: &Broker) -> Vec<Value> {
    broker.users.all().iter().flat_map(|user| of_user(user)).collect()
}

/// Every topic permission there is.
#[must_use]
pub(crate) fn all_topics(broker: &Broker) -> Vec<Value> {
    broker.users.all().iter().flat_map(|user| topics_of_user(user)).collect()
}

fn in_vhost(request: &Request, rows: Vec<Value>) -> Reply {
    if request.state.broker.vhost(request.parameter(0)).is_err() {
        return Reply::not_found();
    }
    let here = rows.into_iter().filter(|row| row["vhost"] == request.parameter(0));
    list(here.collect(), &request.query)
}

/// `GET /api/permissions`.
pub(crate) fn permissions(request: &Request) -> Reply {
    list(all(&request.state.broker), &request.query)
}

/// `GET /api/topic-permissions`.
pub(crate) fn topic_permissions(request: &Request) -> Reply {
    list(all_topics(&request.state.broker), &request.query)
}

/// `GET /api/vhosts/:vhost/permissions`.
pub(crate) fn of_vhost(request: &Request) -> Reply {
    in_vhost(request, all(&request.state.broker))
}

/// `GET /api/vhosts/:vhost/topic-permissions`.
pub(crate) fn topics_of_vhost(request: &Request) -> Reply {
    in_vhost(request, all_topics(&request.state.broker))
}

/// `GET /api/users/:user/permissions`.
pub(crate) fn of_one_user(request: &Request) -> Reply {
    match request.state.broker.users.user(request.parameter(0)) {
        Some(user) => list(of_user(&user), &request.query),
        None => Reply::not_found(),
    }
}

/// `GET /api/users/:user/topic-permissions`.
pub(crate) fn topics_of_one_user(request: &Request) -> Reply {
    match request.state.broker.users.user(request.parameter(0)) {
        Some(user) => list(topics_of_user(&user), &request.query),
        None => Reply::not_found(),
    }
}

fn of_pair(request: &Request, rows: impl Fn(&User) -> Vec<Value>) -> Vec<Value> {
    let user = request.state.broker.users.user(request.parameter(1));
    let rows = user.map(|user| rows(&user)).unwrap_or_default();
    rows.into_iter().filter(|row| row["vhost"] == request.parameter(0)).collect()
}

/// `GET /api/permissions/:vhost/:user`.
pub(crate) fn permission(request: &Request) -> Reply {
    match of_pair(request, of_user).pop() {
        Some(row) => one(row, &request.query),
        None => Reply::not_found(),
    }
}

/// `GET /api/topic-permissions/:vhost/:user`.
pub(crate) fn topic_permission(request: &Request) -> Reply {
    match of_pair(request, topics_of_user) {
        rows if rows.is_empty() => Reply::not_found(),
        rows => list(rows, &request.query),
    }
}

/// `PUT /api/permissions/:vhost/:user`.
pub(crate) fn put(request: &Request) -> Change {
    let body = request.object_with(&["configure", "write", "read"])?;
    let (vhost, user) = (request.parameter(0), request.parameter(1));
    Done::put(set(&request.state.broker, vhost, user, &body).map_err(Reply::bad_request_json)?)
}

/// Gives permissions as a JSON object says; true when there were none.
///
/// # Errors
/// RabbitMQ's reason.
pub(crate) fn set(broker: &Broker, vhost: &str, user: &str, body: &Body) -> Result<(bool, Pending), Value> {
    let text = |name: &str| body.text_or_empty(name);
    let permissions = Permissions::new(&text("configure"), &text("write"), &text("read"))
        .map_err(|bad| invalid(&[text("configure"), text("write"), text("read")], &bad))?;
    let changed = broker.vhost(vhost).ok().and_then(|_| {
        let change = |user: &mut User| user.permissions.insert(vhost.into(), permissions.clone()).is_none();
        broker.users.change(&broker.core.store, user, change)
    });
    let (new, ticket) = changed.ok_or_else(|| json!("vhost_or_user_not_found"))?;
    broker.tell_permission_created(user, vhost, &permissions);
    Ok((new, Some(ticket)))
}

/// `PUT /api/topic-permissions/:vhost/:user`.
pub(crate) fn put_topic(request: &Request) -> Change {
    let body = request.object_with(&["exchange", "write", "read"])?;
    let (vhost, user) = (request.parameter(0), request.parameter(1));
    Done::put(set_topic(&request.state.broker, vhost, user, &body).map_err(Reply::bad_request_json)?)
}

/// Gives topic permissions as a JSON object says; true when there were none for that exchange.
///
/// # Errors
/// RabbitMQ's reason.
pub(crate) fn set_topic(
    broker: &Broker,
    vhost: &str,
    user: &str,
    body: &Body,
) -> Result<(bool, Pending), Value> {
    let text = |name: &str| body.text_or_empty(name);
    let permissions = TopicPermissions::new(&text("write"), &text("read"), user, vhost)
        .map_err(|bad| invalid(&[text("write"), text("read")], &bad))?;
    let exchange = text("exchange");
    let changed = broker.vhost(vhost).ok().and_then(|_| {
        let change = |user: &mut User| {
            let of_vhost = user.topic_permissions.entry(vhost.into()).or_default();
            of_vhost.insert(exchange.as_str().into(), permissions).is_none()
        };
        broker.users.change(&broker.core.store, user, change)
    });
    let (new, ticket) = changed.ok_or_else(|| json!("vhost_or_user_not_found"))?;
    broker.tell("topic.permission.created", || {
        vec![
            ("user", events::text(user)),
            ("vhost", events::text(vhost)),
            ("exchange", events::text(&exchange)),
            ("write", events::text(&text("write"))),
            ("read", events::text(&text("read"))),
        ]
    });
    Ok((new, Some(ticket)))
}

fn invalid(texts: &[String], bad: &BadPattern) -> Value {
    let culprit = texts.iter().find(|text| Permissions::new(text, "", "").is_err());
    json!(["invalid_regexp", culprit, [bad.reason, bad.at]])
}

fn take<T>(request: &Request, event: &str, take: impl FnOnce(&mut User) -> Option<T>) -> Change {
    let broker = &request.state.broker;
    let (vhost, user) = (request.parameter(0), request.parameter(1));
    let taken = broker.users.change(&broker.core.store, user, take);
    let taken = taken.and_then(|(found, ticket)| found.map(|_| Some(ticket)));
    if taken.is_some() {
        broker.tell(event, || vec![("user", events::text(user)), ("vhost", events::text(vhost))]);
    }
    Done::deleted(taken)
}

/// `DELETE /api/permissions/:vhost/:user`.
pub(crate) fn delete(request: &Request) -> Change {
    take(request, "permission.deleted", |user| user.permissions.remove(request.parameter(0)))
}

/// `DELETE /api/topic-permissions/:vhost/:user`.
pub(crate) fn delete_topics(request: &Request) -> Change {
    take(request, "topic.permission.deleted", |user| user.topic_permissions.remove(request.parameter(0)))
}

/// `DELETE /api/topic-permissions/:vhost/:user/:exchange`.
pub(crate) fn delete_topic(request: &Request) -> Change {
    // RabbitMQ calls it so for a single exchange (3.10).
    take(request, "permission.deleted", |user| {
        user.topic_permissions.get_mut(request.parameter(0))?.remove(request.parameter(2))
    })
}
