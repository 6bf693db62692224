//! Commands about users, permissions and user limits.

use std::io::Read as _;

use serde_json::{Value, json};

use super::{
    Context, Failure,
    client::{path, refused},
    output::Shown,
};

type Result<T = Shown> = std::result::Result<T, Failure>;

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The password: an argument, or the standard input.
fn password(context: &Context<'_>) -> Result<String> {
    if context.arguments.len() > 1 {
        return Ok(context.argument(1).to_owned());
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(64 * 1024).read_to_string(&mut text);
    read.map_err(|error| Failure::Data(format!("Error:\n{error}")))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.is_empty() { Err(Failure::Data("Error:\npassword cannot be empty".to_owned())) } else { Ok(text) }
}

fn find(context: &Context<'_>, name: &str) -> Result<Option<Value>> {
    let answer = context.client.call("GET", &path(&["users", name]), None, None)?;
    match answer.status {
        404 => Ok(None),
        _ if answer.is_ok() => Ok(Some(answer.body)),
        _ => Err(refused(&answer)),
    }
}

fn known(context: &Context<'_>) -> Result<Value> {
    let name = context.argument(0);
    let found = find(context, name)?;
    found.ok_or_else(|| Failure::NoUser(format!("Error:\nUser \"{name}\" does not exist")))
}

fn put(context: &Context<'_>, fields: &Value) -> Result {
    context.client.must("PUT", &path(&["users", context.argument(0)]), Some(fields))?;
    Ok(Shown::Nothing)
}

fn secret(context: &Context<'_>) -> Result<(&'static str, String)> {
    let field = if context.options.has("--pre-hashed-password") { "password_hash" } else { "password" };
    Ok((field, password(context)?))
}

pub(super) fn add(context: &Context<'_>) -> Result {
    let name = context.argument(0);
    if find(context, name)?.is_some() {
        if context.options.has("--skip-if-exists") {
            return Ok(Shown::Nothing);
        }
        return Err(Failure::Refused(format!("Error:\nUser \"{name}\" already exists")));
    }
    let (field, secret) = secret(context)?;
    put(context, &json!({field: secret, "tags": ""}))?;
    let done = "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help \
                set_permissions' to learn more.";
    Ok(if context.options.quiet || context.options.silent {
        Shown::Nothing
    } else {
        Shown::Text(done.to_owned())
    })
}

pub(super) fn delete(context: &Context<'_>) -> Result {
    known(context)?;
    context.client.must("DELETE", &path(&["users", context.argument(0)]), None)?;
    Ok(Shown::Nothing)
}

pub(super) fn change_password(context: &Context<'_>) -> Result {
    let user = known(context)?;
    let (field, secret) = secret(context)?;
    put(context, &json!({field: secret, "tags": user["tags"]}))
}

pub(super) fn clear_password(context: &Context<'_>) -> Result {
    let user = known(context)?;
    put(context, &json!({"password_hash": "", "tags": user["tags"]}))
}

pub(super) fn authenticate(context: &Context<'_>) -> Result {
    let name = context.argument(0);
    let as_user = context.client.acting_as(name, &password(context)?);
    let answer = as_user.call("GET", "whoami", None, None)?;
    // Whoever is known but has no tag may not use the API: the password was right.
    if answer.is_ok() || answer.reason() == "Not management user" {
        return Ok(Shown::Text("Success".to_owned()));
    }
    Err(Failure::Data(format!(
        "Error:\nError: failed to authenticate user \"{name}\"\nuser '{name}' - invalid credentials"
    )))
}

pub(super) fn set_tags(context: &Context<'_>) -> Result {
    let user = known(context)?;
    let tags: Vec<&String> = context.arguments.iter().skip(1).filter(|tag| !tag.is_empty()).collect();
    let hash = (&user["password_hash"], &user["hashing_algorithm"]);
    put(context, &json!({"password_hash": hash.0, "hashing_algorithm": hash.1, "tags": tags}))
}

pub(super) fn list(context: &Context<'_>) -> Result {
    let mut rows = context.client.rows("users")?;
    rows.iter_mut().for_each(|row| row["user"] = row["name"].clone());
    Ok(Shown::Rows(columns(&["user", "tags"]), rows))
}

pub(super) fn set_permissions(context: &Context<'_>) -> Result {
    known(context)?;
    let [configure, write, read] = [1, 2, 3].map(|at| context.argument(at));
    let body = json!({"configure": configure, "write": write, "read": read});
    let path = path(&["permissions", context.vhost(), context.argument(0)]);
    in_vhost(context, context.client.call("PUT", &path, Some(&body), None)?.is_ok(), || {
        context.client.must("PUT", &path, Some(&body))
    })
}

/// Says that a vhost is missing where that is what is wrong.
fn in_vhost(context: &Context<'_>, done: bool, again: impl FnOnce() -> Result<Value>) -> Result {
    if done {
        return Ok(Shown::Nothing);
    }
    let vhost = context.client.call("GET", &path(&["vhosts", context.vhost()]), None, None)?;
    if vhost.status == 404 {
        return Err(no_vhost(context.vhost()));
    }
    again().map(|_| Shown::Nothing)
}

pub(super) fn no_vhost(vhost: &str) -> Failure {
    Failure::Data(format!("Error:\nVirtual host '{vhost}' does not exist"))
}

pub(super) fn clear_permissions(context: &Context<'_>) -> Result {
    known(context)?;
    take(context, &path(&["permissions", context.vhost(), context.argument(0)]))
}

/// What is not there is gone.
fn take(context: &Context<'_>, path: &str) -> Result {
    let answer = context.client.call("DELETE", path, None, None)?;
    if answer.is_ok() || answer.status == 404 { Ok(Shown::Nothing) } else { Err(refused(&answer)) }
}

pub(super) fn list_permissions(context: &Context<'_>) -> Result {
    let rows = context.client.rows(&path(&["vhosts", context.vhost(), "permissions"]))?;
    Ok(Shown::Rows(columns(&["user", "configure", "write", "read"]), rows))
}

pub(super) fn list_user_permissions(context: &Context<'_>) -> Result {
    known(context)?;
    let rows = context.client.rows(&path(&["users", context.argument(0), "permissions"]))?;
    Ok(Shown::Rows(columns(&["vhost", "configure", "write", "read"]), rows))
}

pub(super) fn set_topic_permissions(context: &Context<'_>) -> Result {
    known(context)?;
    let [exchange, write, read] = [1, 2, 3].map(|at| context.argument(at));
    let body = json!({"exchange": exchange, "write": write, "read": read});
    let path = path(&["topic-permissions", context.vhost(), context.argument(0)]);
    context.client.must("PUT", &path, Some(&body))?;
    Ok(Shown::Nothing)
}

pub(super) fn clear_topic_permissions(context: &Context<'_>) -> Result {
    known(context)?;
    let mut segments = vec!["topic-permissions", context.vhost(), context.argument(0)];
    segments.extend(context.arguments.get(1).map(String::as_str));
    take(context, &path(&segments))
}

pub(super) fn list_topic_permissions(context: &Context<'_>) -> Result {
    let rows = context.client.rows(&path(&["vhosts", context.vhost(), "topic-permissions"]))?;
    Ok(Shown::Rows(columns(&["user", "exchange", "write", "read"]), rows))
}

pub(super) fn list_user_topic_permissions(context: &Context<'_>) -> Result {
    known(context)?;
    let rows = context.client.rows(&path(&["users", context.argument(0), "topic-permissions"]))?;
    Ok(Shown::Rows(columns(&["vhost", "exchange", "write", "read"]), rows))
}

pub(super) fn set_limits(context: &Context<'_>) -> Result {
    known(context)?;
    let limits: Value = serde_json::from_str(context.argument(1))
        .map_err(|_| Failure::Data("Error:\nJSON decoding error".to_owned()))?;
    for (name, value) in limits.as_object().into_iter().flatten() {
        let path = path(&["user-limits", context.argument(0), name]);
        context.client.must("PUT", &path, Some(&json!({"value": value})))?;
    }
    Ok(Shown::Nothing)
}

pub(super) fn clear_limits(context: &Context<'_>) -> Result {
    known(context)?;
    let names = match context.argument(1) {
        "" | "all" => vec!["max-connections", "max-channels"],
        name => vec![name],
    };
    for name in names {
        context.client.must("DELETE", &path(&["user-limits", context.argument(0), name]), None)?;
    }
    Ok(Shown::Nothing)
}

pub(super) fn list_limits(context: &Context<'_>) -> Result {
    let mut rows = context.client.rows("user-limits")?;
    rows.iter_mut().for_each(|row| row["limits"] = row["value"].to_string().into());
    Ok(Shown::Rows(columns(&["user", "limits"]), rows))
}
