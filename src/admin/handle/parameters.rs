//! Runtime parameters by component, and global parameters.

use serde_json::{Value, json};

use crate::{
    admin::{
        fault,
        json::{json_of, value_of},
        listing::{list, one},
        request::{Change, Done, Reply, Request},
    },
    broker::{Broker, parameters::Parameter},
};

fn row(parameter: &Parameter) -> Value {
    json!({
        "value": json_of(&parameter.value),
        "vhost": &*parameter.vhost,
        "component": parameter.component,
        "name": parameter.name,
    })
}

/// All but policies, which have a place of their own.
#[must_use]
pub(crate) fn rows(broker: &Broker) -> Vec<Value> {
    broker.parameters().iter().filter(|p| p.component != "policy").map(row).collect()
}

fn matching(request: &Request, wanted: &[(&str, &str)]) -> Vec<Value> {
    let matches = |row: &Value| wanted.iter().all(|(field, value)| row[*field] == *value);
    let visible = |row: &Value| row["vhost"].as_str().is_some_and(|vhost| request.sees(vhost));
    rows(&request.state.broker).into_iter().filter(|row| matches(row) && visible(row)).collect()
}

/// `GET /api/parameters`.
pub(crate) fn parameters(request: &Request) -> Reply {
    list(matching(request, &[]), &request.query)
}

/// `GET /api/parameters/:component`.
pub(crate) fn of_component(request: &Request) -> Reply {
    list(matching(request, &[("component", request.parameter(0))]), &request.query)
}

/// `GET /api/parameters/:component/:vhost`.
pub(crate) fn of_vhost(request: &Request) -> Reply {
    let vhost = request.parameter(1);
    if request.state.broker.vhost(vhost).is_err() {
        return Reply::not_found();
    }
    list(matching(request, &[("component", request.parameter(0)), ("vhost", vhost)]), &request.query)
}

/// `GET /api/parameters/:component/:vhost/:name`.
pub(crate) fn parameter(request: &Request) -> Reply {
    let wanted = [
        ("component", request.parameter(0)),
        ("vhost", request.parameter(1)),
        ("name", request.parameter(2)),
    ];
    match matching(request, &wanted).pop() {
        Some(row) => one(row, &request.query),
        None => Reply::not_found(),
    }
}

/// `PUT /api/parameters/:component/:vhost/:name`.
pub(crate) fn put(request: &Request) -> Change {
    let body = request.object_with(&["value"])?;
    let value = value_of(body.0.get("value").unwrap_or(&Value::Null));
    let (component, vhost, name) = (request.parameter(0), request.parameter(1), request.parameter(2));
    may_set(request, component)?;
    let set = request.state.broker.set_parameter(vhost, component, name, &value);
    Done::put(set.map_err(|refusal| fault::parameter(&refusal))?)
}

/// `DELETE /api/parameters/:component/:vhost/:name`.
pub(crate) fn delete(request: &Request) -> Change {
    let (component, vhost, name) = (request.parameter(0), request.parameter(1), request.parameter(2));
    may_set(request, component)?;
    let cleared = request.state.broker.clear_parameter(vhost, component, name);
    Done::deleted(Some(cleared.map_err(|refusal| fault::parameter(&refusal))?))
}

/// Limits and operator policies are not for policymakers, by whatever path.
fn may_set(request: &Request, component: &str) -> Result<(), Reply> {
    let allowed =
        request.principal.is_administrator() || (component == "policy" && request.sees(request.parameter(1)));
    if allowed { Ok(()) } else { Err(Reply::not_authorized("Not administrator user")) }
}

/// The global parameters, with the one that the node has by itself.
fn globals(request: &Request) -> Vec<Value> {
    let identity = &request.state.identity;
    let mut globals = request.state.broker.global_parameters();
    let mut own = |name: &str, value: &str| {
        globals.entry(name.to_owned()).or_insert_with(|| value_of(&Value::from(value)));
    };
    own("cluster_name", &identity.cluster);
    own("internal_cluster_id", &format!("rabbitmq-cluster-id-{}", identity.cluster_id));
    globals.iter().map(|(name, value)| json!({"name": name, "value": json_of(value)})).collect()
}

/// `GET /api/global-parameters`.
pub(crate) fn global_parameters(request: &Request) -> Reply {
    list(globals(request), &request.query)
}

/// `GET /api/global-parameters/:name`.
pub(crate) fn global_parameter(request: &Request) -> Reply {
    match globals(request).into_iter().find(|row| row["name"] == request.parameter(0)) {
        Some(row) => one(row, &request.query),
        None => Reply::not_found(),
    }
}

/// `PUT /api/global-parameters/:name`.
pub(crate) fn put_global(request: &Request) -> Change {
    let body = request.object_with(&["value"])?;
    let value = value_of(body.0.get("value").unwrap_or(&Value::Null));
    Done::put(request.state.broker.set_global_parameter(request.parameter(0), value))
}

/// `DELETE /api/global-parameters/:name`.
pub(crate) fn delete_global(request: &Request) -> Change {
    Done::deleted(request.state.broker.clear_global_parameter(request.parameter(0)))
}

/// `PUT /api/cluster-name`.
pub(crate) fn put_cluster_name(request: &Request) -> Change {
    let body = request.object_with(&["name"])?;
    let name = value_of(&Value::from(body.text_or_empty("name")));
    let (_, pending) = request.state.broker.set_global_parameter("cluster_name", name);
    Done::nothing(pending)
}

/// `GET /api/cluster-name`.
pub(crate) fn cluster_name(request: &Request) -> Reply {
    let set = request.state.broker.global_parameters().remove("cluster_name");
    let name =
        set.map_or_else(|| Value::from(request.state.identity.cluster.clone()), |value| json_of(&value));
    Reply::json(json!({ "name": name }))
}
