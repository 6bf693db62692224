//! Commands about policies and parameters.

use serde_json::{Value, json};

use super::{Context, Failure, client::path, output::Shown};

type Result<T = Shown> = std::result::Result<T, Failure>;

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn decoded(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|_| Failure::Data("Error:\nJSON decoding error".to_owned()))
}

fn set_at(context: &Context<'_>, place: &str) -> Result {
    let mut body = json!({"pattern": context.argument(1), "definition": decoded(context.argument(2))?});
    if let Some(priority) = context.options.value("--priority") {
        body["priority"] = decoded(priority)?;
    }
    if let Some(apply_to) = context.options.value("--apply-to") {
        body["apply-to"] = apply_to.into();
    }
    context.client.must("PUT", &path(&[place, context.vhost(), context.argument(0)]), Some(&body))?;
    Ok(Shown::Nothing)
}

fn clear_at(context: &Context<'_>, place: &str, what: &str) -> Result {
    let name = context.argument(0);
    let answer = context.client.call("DELETE", &path(&[place, context.vhost(), name]), None, None)?;
    match answer.status {
        404 => Err(Failure::Refused(format!("Error:\n{what} does not exist"))),
        _ if answer.is_ok() => Ok(Shown::Nothing),
        _ => Err(super::client::refused(&answer)),
    }
}

fn list_at(context: &Context<'_>, place: &str) -> Result {
    let mut rows = context.client.rows(&path(&[place, context.vhost()]))?;
    rows.iter_mut().for_each(|row| row["definition"] = row["definition"].to_string().into());
    Ok(Shown::Rows(columns(&["vhost", "name", "pattern", "apply-to", "definition", "priority"]), rows))
}

pub(super) fn set(context: &Context<'_>) -> Result {
    set_at(context, "policies")
}

pub(super) fn set_operator(context: &Context<'_>) -> Result {
    set_at(context, "operator-policies")
}

pub(super) fn clear(context: &Context<'_>) -> Result {
    clear_at(context, "policies", "Policy")
}

pub(super) fn clear_operator(context: &Context<'_>) -> Result {
    clear_at(context, "operator-policies", "Operator policy")
}

pub(super) fn list(context: &Context<'_>) -> Result {
    list_at(context, "policies")
}

pub(super) fn list_operator(context: &Context<'_>) -> Result {
    list_at(context, "operator-policies")
}

pub(super) fn set_parameter(context: &Context<'_>) -> Result {
    let path = path(&["parameters", context.argument(0), context.vhost(), context.argument(1)]);
    context.client.must("PUT", &path, Some(&json!({"value": decoded(context.argument(2))?})))?;
    Ok(Shown::Nothing)
}

pub(super) fn clear_parameter(context: &Context<'_>) -> Result {
    let path = path(&["parameters", context.argument(0), context.vhost(), context.argument(1)]);
    let answer = context.client.call("DELETE", &path, None, None)?;
    match answer.status {
        404 => Err(Failure::Refused("Error:\nParameter does not exist".to_owned())),
        _ if answer.is_ok() => Ok(Shown::Nothing),
        _ => Err(super::client::refused(&answer)),
    }
}

pub(super) fn list_parameters(context: &Context<'_>) -> Result {
    let mut rows = context.client.rows("parameters")?;
    rows.retain(|row| row["vhost"] == context.vhost());
    rows.iter_mut().for_each(|row| row["value"] = row["value"].to_string().into());
    Ok(Shown::Rows(columns(&["component", "name", "value"]), rows))
}

pub(super) fn set_global(context: &Context<'_>) -> Result {
    let path = path(&["global-parameters", context.argument(0)]);
    context.client.must("PUT", &path, Some(&json!({"value": decoded(context.argument(1))?})))?;
    Ok(Shown::Nothing)
}

pub(super) fn clear_global(context: &Context<'_>) -> Result {
    let answer =
        context.client.call("DELETE", &path(&["global-parameters", context.argument(0)]), None, None)?;
    match answer.status {
        404 => Err(Failure::Refused("Error:\nParameter does not exist".to_owned())),
        _ if answer.is_ok() => Ok(Shown::Nothing),
        _ => Err(super::client::refused(&answer)),
    }
}

pub(super) fn list_globals(context: &Context<'_>) -> Result {
    let mut rows = context.client.rows("global-parameters")?;
    rows.iter_mut().for_each(|row| row["value"] = row["value"].to_string().into());
    Ok(Shown::Rows(columns(&["name", "value"]), rows))
}
