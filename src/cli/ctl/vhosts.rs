//! Commands about vhosts and their limits.

use serde_json::{Map, Value, json};

use super::{Context, Failure, client::path, listing::asked, output::Shown, users::no_vhost};

type Result<T = Shown> = std::result::Result<T, Failure>;

/// What the options say of a vhost.
fn metadata(context: &Context<'_>) -> Value {
    let options = [
        ("description", "--description"),
        ("tags", "--tags"),
        ("default_queue_type", "--default-queue-type"),
    ];
    let given = options.iter().filter_map(|(field, option)| {
        context.options.value(option).map(|value| ((*field).to_owned(), Value::from(value)))
    });
    given.collect::<Map<_, _>>().into()
}

fn exists(context: &Context<'_>, name: &str) -> Result<bool> {
    Ok(context.client.call("GET", &path(&["vhosts", name]), None, None)?.is_ok())
}

fn must_exist(context: &Context<'_>, name: &str) -> Result<()> {
    if exists(context, name)? { Ok(()) } else { Err(no_vhost(name)) }
}

pub(super) fn add(context: &Context<'_>) -> Result {
    let name = context.argument(0);
    if exists(context, name)? {
        return Err(Failure::Refused(format!("Error:\nVirtual host '{name}' already exists")));
    }
    let path = format!("{}?permissions=none", path(&["vhosts", name]));
    context.client.must("PUT", &path, Some(&metadata(context)))?;
    Ok(Shown::Nothing)
}

pub(super) fn update(context: &Context<'_>) -> Result {
    must_exist(context, context.argument(0))?;
    context.client.must("PUT", &path(&["vhosts", context.argument(0)]), Some(&metadata(context)))?;
    Ok(Shown::Nothing)
}

pub(super) fn delete(context: &Context<'_>) -> Result {
    must_exist(context, context.argument(0))?;
    context.client.must("DELETE", &path(&["vhosts", context.argument(0)]), None)?;
    Ok(Shown::Nothing)
}

pub(super) fn list(context: &Context<'_>) -> Result {
    let known = &["name", "description", "tags", "default_queue_type", "tracing", "cluster_state"];
    Ok(Shown::Rows(asked(context, known, &["name"])?, context.client.rows("vhosts")?))
}

pub(super) fn set_limits(context: &Context<'_>) -> Result {
    must_exist(context, context.vhost())?;
    let limits: Value = serde_json::from_str(context.argument(0))
        .map_err(|_| Failure::Data("Error:\nJSON decoding error".to_owned()))?;
    let path = path(&["parameters", "vhost-limits", context.vhost(), "limits"]);
    context.client.must("PUT", &path, Some(&json!({"value": limits})))?;
    Ok(Shown::Nothing)
}

pub(super) fn clear_limits(context: &Context<'_>) -> Result {
    must_exist(context, context.vhost())?;
    for name in ["max-connections", "max-queues"] {
        context.client.must("DELETE", &path(&["vhost-limits", context.vhost(), name]), None)?;
    }
    Ok(Shown::Nothing)
}

pub(super) fn list_limits(context: &Context<'_>) -> Result {
    let mut rows = context.client.rows("vhost-limits")?;
    if !context.options.has("--global") {
        rows.retain(|row| row["vhost"] == context.vhost());
    }
    rows.iter_mut().for_each(|row| row["limits"] = row["value"].to_string().into());
    Ok(Shown::Rows(vec!["vhost".to_owned(), "limits".to_owned()], rows))
}

fn trace(context: &Context<'_>, on: bool) -> Result {
    must_exist(context, context.vhost())?;
    context.client.must("PUT", &path(&["vhosts", context.vhost()]), Some(&json!({ "tracing": on })))?;
    let word = if on { "enabled" } else { "disabled" };
    Ok(Shown::Text(format!("Trace {word} for vhost {}", context.vhost())))
}

pub(super) fn trace_on(context: &Context<'_>) -> Result {
    trace(context, true)
}

pub(super) fn trace_off(context: &Context<'_>) -> Result {
    trace(context, false)
}
