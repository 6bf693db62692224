//! Policies and operator policies.

use serde_json::{Map, Value, json};

use crate::{
    admin::{
        fault,
        json::{table, value_of},
        listing::{list, one},
        request::{Change, Done, Reply, Request},
    },
    broker::{
        policy::{Policy, Sort},
        vhost::Vhost,
    },
};

fn row(vhost: &str, policy: &Policy) -> Value {
    json!({
        "vhost": vhost,
        "name": policy.name,
        "pattern": policy.pattern.text(),
        "apply-to": policy.apply_to.word(),
        "definition": table(&policy.definition),
        "priority": policy.priority,
    })
}

/// Policies of a vhost as the API and definitions show them.
#[must_use]
pub(crate) fn rows(vhost: &Vhost, sort: Sort) -> Vec<Value> {
    vhost.settings.policies().of(sort).values().map(|policy| row(&vhost.name, policy)).collect()
}

fn all(request: &Request, sort: Sort) -> Reply {
    let visible = request.state.broker.vhosts().into_iter().filter(|vhost| request.sees(&vhost.name));
    list(visible.flat_map(|vhost| rows(&vhost, sort)).collect(), &request.query)
}

fn in_vhost(request: &Request, sort: Sort) -> Result<Reply, Reply> {
    let vhost = request.state.broker.vhost(request.vhost()?).map_err(|_| Reply::not_found())?;
    Ok(list(rows(&vhost, sort), &request.query))
}

fn one_policy(request: &Request, sort: Sort) -> Result<Reply, Reply> {
    let vhost = request.state.broker.vhost(request.vhost()?).map_err(|_| Reply::not_found())?;
    let policies = vhost.settings.policies();
    let policy = policies.of(sort).get(request.parameter(1)).ok_or_else(Reply::not_found)?;
    Ok(one(row(&vhost.name, policy), &request.query))
}

fn put(request: &Request, sort: Sort) -> Change {
    let body = request.object_with(&["pattern", "definition"])?;
    let vhost = request.open_policies()?;
    let value = value_of(&Value::Object(fields(&body.0)));
    let set = request.state.broker.set_parameter(&vhost, sort.component(), request.parameter(1), &value);
    Done::put(set.map_err(|refusal| fault::parameter(&refusal))?)
}

/// The fields that make a policy.
#[must_use]
pub(crate) fn fields(map: &Map<String, Value>) -> Map<String, Value> {
    let known = ["pattern", "definition", "priority", "apply-to"];
    map.iter()
        .filter(|(name, _)| known.contains(&name.as_str()))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

fn delete(request: &Request, sort: Sort) -> Change {
    let vhost = request.open_policies()?;
    let cleared = request.state.broker.clear_parameter(&vhost, sort.component(), request.parameter(1));
    Done::deleted(Some(cleared.map_err(|refusal| fault::parameter(&refusal))?))
}

impl Request {
    /// The route's vhost, where who asks may set policies.
    pub(crate) fn open_policies(&self) -> Result<String, Reply> {
        let name = self.parameter(0);
        if self.state.broker.vhost(name).is_err() {
            return Err(fault::not_found("vhost_not_found"));
        }
        if self.sees(name) {
            Ok(name.to_owned())
        } else {
            Err(Reply::not_authorized("User not authorised to access object"))
        }
    }
}

/// `GET /api/policies`.
pub(crate) fn policies(request: &Request) -> Reply {
    all(request, Sort::User)
}

/// `GET /api/operator-policies`.
pub(crate) fn operator_policies(request: &Request) -> Reply {
    all(request, Sort::Operator)
}

/// `GET /api/policies/:vhost`.
pub(crate) fn policies_of_vhost(request: &Request) -> Reply {
    in_vhost(request, Sort::User).unwrap_or_else(|reply| reply)
}

/// `GET /api/operator-policies/:vhost`.
pub(crate) fn operator_policies_of_vhost(request: &Request) -> Reply {
    in_vhost(request, Sort::Operator).unwrap_or_else(|reply| reply)
}

/// `GET /api/policies/:vhost/:name`.
pub(crate) fn policy(request: &Request) -> Reply {
    one_policy(request, Sort::User).unwrap_or_else(|reply| reply)
}

/// `GET /api/operator-policies/:vhost/:name`.
pub(crate) fn operator_policy(request: &Request) -> Reply {
    one_policy(request, Sort::Operator).unwrap_or_else(|reply| reply)
}

/// `PUT /api/policies/:vhost/:name`.
pub(crate) fn put_policy(request: &Request) -> Change {
    put(request, Sort::User)
}

/// `PUT /api/operator-policies/:vhost/:name`.
pub(crate) fn put_operator_policy(request: &Request) -> Change {
    put(request, Sort::Operator)
}

/// `DELETE /api/policies/:vhost/:name`.
pub(crate) fn delete_policy(request: &Request) -> Change {
    delete(request, Sort::User)
}

/// `DELETE /api/operator-policies/:vhost/:name`.
pub(crate) fn delete_operator_policy(request: &Request) -> Change {
    delete(request, Sort::Operator)
}
