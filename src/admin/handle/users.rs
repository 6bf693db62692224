//! Users: who they are, and how their passwords go in and out. What they may do is in `permissions.rs`.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::{
    admin::{
        body::{Body, base64},
        handle::limits::user_limits,
        listing::{list, one},
        request::{Change, Done, Reply, Request},
    },
    broker::{
        Broker, Pending,
        auth::{
            Password, SHA256, User,
            scram::{self, ScramCredentials},
        },
        events::text,
    },
    data::value::Value::Array,
};

/// `GET /api/whoami`.
pub(crate) fn whoami(request: &Request) -> Reply {
    Reply::json(
        json!({ "name": request.principal.name, "tags": request.principal.tags, "is_internal_user": true }),
    )
}

/// `GET /api/users`.
pub(crate) fn users(request: &Request) -> Reply {
    list(request.state.broker.users.all().iter().map(|user| row(user)).collect(), &request.query)
}

/// `GET /api/users/without-permissions`.
pub(crate) fn without_permissions(request: &Request) -> Reply {
    let users = request.state.broker.users.all();
    let without = users.iter().filter(|user| user.permissions.is_empty());
    list(without.map(|user| row(user)).collect(), &request.query)
}

/// `GET /api/users/:user`.
pub(crate) fn user(request: &Request) -> Reply {
    match request.state.broker.users.user(request.parameter(0)) {
        Some(user) => one(row(&user), &request.query),
        None => Reply::not_found(),
    }
}

/// `PUT /api/users/:user`.
pub(crate) fn put(request: &Request) -> Change {
    let body = request.object()?;
    Done::put(set(&request.state.broker, request.parameter(0), &body).map_err(Reply::bad_request_json)?)
}

/// `DELETE /api/users/:user`.
pub(crate) fn delete(request: &Request) -> Change {
    Done::deleted(request.state.broker.delete_user(request.parameter(0)))
}

/// `POST /api/users/bulk-delete`: those that are there, or none.
pub(crate) fn bulk_delete(request: &Request) -> Change {
    let body = request.object_with(&["users"])?;
    let names: Vec<&str> = body
        .0
        .get("users")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let broker = &request.state.broker;
    if let Some(unknown) = names.iter().find(|name| broker.users.user(name).is_none()) {
        return Err(Reply::bad_request_json(json!(["no_such_user", unknown])));
    }
    let last = names.iter().filter_map(|name| broker.delete_user(name)).max().flatten();
    Done::nothing(last)
}

/// Makes or changes a user as a JSON object says; true when it is new.
///
/// # Errors
/// RabbitMQ's reason.
pub(crate) fn set(broker: &Broker, name: &str, body: &Body) -> Result<(bool, Pending), Value> {
    let given = given(body)?;
    let Some(tags) = body.tags() else { return Err(json!("tags_not_present")) };
    if tags.iter().any(|tag| !tag.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(json!("tags must be words"));
    }
    let mut limits = None;
    if let Some(Value::Object(given)) = body.0.get("limits") {
        limits = Some(user_limits(given).map_err(Value::String)?);
    }
    let (password, scram) = match given {
        Given::Clear(password) => (Password::new(&password), Some(scram::credentials(&password))),
        Given::Hash(password) => (password, None),
    };
    let change = |user: &mut User| {
        // SCRAM credentials cannot be made of a hash, but go on with the one that was there.
        match &scram {
            Some(made) => user.scram = made.clone(),
            None if user.password == password => {}
            None => user.scram = ScramCredentials::new(),
        }
        user.password = password.clone();
        user.tags = tags.clone();
        if let Some(limits) = &limits {
            user.limits = limits.clone();
        }
    };
    let store = &broker.core.store;
    if let Some(((), ticket)) = broker.users.change(store, name, change) {
        let locked = password.hash.is_empty();
        tell(broker, if locked { "user.password.cleared" } else { "user.password.changed" }, name);
        tell_tags(broker, name, &tags);
        return Ok((false, Some(ticket)));
    }
    let mut user = User::with_hash(name, password.clone());
    change(&mut user);
    let (new, ticket) = broker.users.set(store, user);
    tell(broker, "user.created", name);
    tell_tags(broker, name, &tags);
    Ok((new, Some(ticket)))
}

fn tell(broker: &Broker, key: &str, name: &str) {
    broker.tell(key, || vec![("name", text(name))]);
}

fn tell_tags(broker: &Broker, name: &str, tags: &[String]) {
    let list = || tags.iter().map(|tag| text(tag)).collect();
    broker.tell("user.tags.set", || vec![("name", text(name)), ("tags", Array(list()))]);
}

/// How a password is given.
enum Given {
    Clear(String),
    Hash(Password),
}

fn given(body: &Body) -> Result<Given, Value> {
    let algorithm = body.text("hashing_algorithm").unwrap_or_else(|| SHA256.to_owned());
    match (body.text("password"), body.text("password_hash")) {
        (Some(_), Some(_)) => Err(json!("both_password_and_password_hash_are_provided")),
        (Some(password), None) => Ok(Given::Clear(password)),
        (None, Some(hash)) => {
            let hash = base64(&hash).map_err(|_| json!(["not_base64", hash]))?;
            Ok(Given::Hash(Password { hash, algorithm }))
        }
        // Whoever has no password logs in by other means, of which there are none yet.
        (None, None) => Ok(Given::Hash(Password::none())),
    }
}

/// A user as the API and definitions show it.
#[must_use]
pub(crate) fn row(user: &User) -> Value {
    let limits: Map<String, Value> =
        user.limits.iter().map(|(name, n)| (name.clone(), (*n).into())).collect();
    json!({
        "name": &*user.name,
        "password_hash": STANDARD.encode(&user.password.hash),
        "hashing_algorithm": user.password.algorithm,
        "tags": user.tags,
        "limits": limits,
    })
}
