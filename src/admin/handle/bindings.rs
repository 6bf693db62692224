//! Bindings between two ends: looking, binding, unbinding.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    admin::{
        fault,
        handle::{
            exchanges::real_name,
            queues::{self, Named},
        },
        json::{properties_key, quote, table},
        listing::{list, one},
        request::{Change, Done, Reply, Request},
        source::BindingRow,
    },
    broker::{
        Pending,
        exchange::{Binding, Exchange, Target},
        refusal::{Access, Refusal},
        vhost::Vhost,
    },
    data::value::Table,
};

/// The target that a path or a definition names: `q` or `queue`, else an exchange.
pub(crate) fn target(vhost: &Vhost, kind: &str, name: &str) -> Result<Target, Refusal> {
    if kind.starts_with('q') {
        return match queues::find(vhost, name) {
            Some(Named::Queue(queue)) => Ok(Target::Queue(queue)),
            Some(Named::Stream(topic)) => Ok(Target::Topic(topic)),
            Some(Named::List(list)) => {
                Err(Refusal::UnsupportedByList { what: "binding", queue: list.name.to_string() })
            }
            None => Err(Refusal::NoQueue(name.to_owned())),
        };
    }
    vhost.exchange(name).map(Target::Exchange)
}

/// Binds; the key and arguments as given.
pub(crate) fn bind(
    vhost: &Vhost,
    source: &str,
    target: Target,
    routing_key: &str,
    arguments: Table,
) -> Result<Pending, Refusal> {
    vhost.bind(source, Binding { target, routing_key: routing_key.into(), arguments })
}

struct Ends {
    vhost: Arc<Vhost>,
    source: Arc<Exchange>,
    target: Target,
}

/// The two ends in `bindings/:vhost/e/:source/:kind/:destination`.
fn ends(request: &Request) -> Result<Ends, Reply> {
    request.vhost()?;
    let vhost = request.state.broker.vhost(request.parameter(0)).map_err(|_| Reply::not_found())?;
    let refuse = |refusal| fault::reply(&refusal, &vhost.name);
    let source = vhost.exchange(real_name(request.parameter(1))).map_err(refuse)?;
    let target = target(&vhost, request.parameter(2), real_name(request.parameter(3))).map_err(refuse)?;
    Ok(Ends { source, target, vhost })
}

fn rows_between(request: &Request) -> Result<Vec<BindingRow>, Reply> {
    let Ends { vhost, source, target } = ends(request)?;
    let kind = if matches!(target, Target::Exchange(_)) { "exchange" } else { "queue" };
    let mut rows = request.state.source.bindings(Some(&vhost.name));
    rows.retain(|row| {
        row.source == *source.name && row.destination == **target.name() && row.destination_type == kind
    });
    Ok(rows)
}

/// `GET /api/bindings/:vhost/e/:source/:kind/:destination`.
pub(crate) fn between(request: &Request) -> Reply {
    match rows_between(request) {
        Ok(rows) => list(rows.iter().map(|row| json!(row)).collect(), &request.query),
        Err(reply) => reply,
    }
}

/// Whether a path's last segment names a binding: as it stands in `properties_key`, or with that decoded once more.
fn is_named(row: &BindingRow, props: &str) -> bool {
    row.properties_key == props || row.properties_key == quote(props)
}

/// `GET /api/bindings/:vhost/e/:source/:kind/:destination/:props`.
pub(crate) fn binding(request: &Request) -> Reply {
    let found = rows_between(request).map(|rows| {
        rows.iter().find(|row| is_named(row, request.parameter(4))).map(|row| one(json!(row), &request.query))
    });
    match found {
        Ok(Some(reply)) => reply,
        Ok(None) => Reply::not_found(),
        Err(reply) => reply,
    }
}

/// `POST /api/bindings/:vhost/e/:source/:kind/:destination`.
pub(crate) fn post(request: &Request) -> Change {
    let body = request.object()?;
    request.open_vhost()?;
    let Ends { vhost, source, target } = ends(request)?;
    let (key, arguments) = (body.short("routing_key")?, body.arguments()?);
    allow(request, &vhost, &source, &target, &key)?;
    let properties = properties_key(&key, &arguments);
    let location = format!("{}/{}", quote(target.name()), quote(&properties));
    let bound = bind(&vhost, &source.name, target, &key, arguments);
    let pending = bound.map_err(|refusal| fault::reply(&refusal, &vhost.name))?;
    Ok(Done { pending, reply: Reply::created_at(location) })
}

/// `DELETE /api/bindings/:vhost/e/:source/:kind/:destination/:props`.
pub(crate) fn delete(request: &Request) -> Change {
    request.open_vhost()?;
    let Ends { vhost, source, target } = ends(request)?;
    let found = source.bindings().into_iter().find(|binding| {
        let row = BindingRow {
            properties_key: properties_key(&binding.routing_key, &binding.arguments),
            ..BindingRow::default()
        };
        binding.target.id() == target.id() && is_named(&row, request.parameter(4))
    });
    let binding = found.ok_or_else(Reply::not_found)?;
    allow(request, &vhost, &source, &target, &binding.routing_key)?;
    let unbound = vhost.unbind(&source.name, &binding.id());
    Done::nothing(unbound.map_err(|refusal| fault::reply(&refusal, &vhost.name))?)
}

fn allow(
    request: &Request,
    vhost: &Vhost,
    source: &Exchange,
    target: &Target,
    routing_key: &str,
) -> Result<(), Reply> {
    if let Target::Queue(queue) = target {
        queues::unlocked(vhost, &queue.name)?;
    }
    request.allow(Access::Write, &vhost.name, target.name())?;
    request.allow(Access::Read, &vhost.name, &source.name)?;
    request.allow_topics(Access::Read, vhost, &source.name, [&routing_key.to_owned()].into_iter())
}

fn of_exchange(request: &Request, mine: impl Fn(&BindingRow, &str) -> bool) -> Reply {
    let vhost = match request.vhost() {
        Ok(vhost) => vhost,
        Err(reply) => return reply,
    };
    let name = real_name(request.parameter(1));
    if request.state.broker.vhost(vhost).is_ok_and(|v| v.find_exchange(name).is_none()) {
        return Reply::not_found();
    }
    let rows = request.state.source.bindings(Some(vhost));
    list(rows.iter().filter(|row| mine(row, name)).map(|row| json!(row)).collect(), &request.query)
}

/// `GET /api/exchanges/:vhost/:exchange/bindings/source`.
pub(crate) fn from_exchange(request: &Request) -> Reply {
    of_exchange(request, |row, name| row.source == name)
}

/// `GET /api/exchanges/:vhost/:exchange/bindings/destination`.
pub(crate) fn to_exchange(request: &Request) -> Reply {
    of_exchange(request, |row, name| row.destination == name && row.destination_type == "exchange")
}

/// Bindings as definitions have them: those that last, in an order that is always the same.
#[must_use]
pub(crate) fn definitions(vhost: &Vhost) -> Vec<Value> {
    let mut rows = Vec::new();
    for exchange in vhost.exchanges().iter().filter(|e| e.options.durable && !e.name.is_empty()) {
        for binding in exchange.bindings().iter().filter(|binding| binding.target.survives()) {
            let kind = if matches!(binding.target, Target::Exchange(_)) { "exchange" } else { "queue" };
            rows.push(json!({
                "source": &*exchange.name, "vhost": &*vhost.name, "destination": &**binding.target.name(),
                "destination_type": kind, "routing_key": &*binding.routing_key,
                "arguments": table(&binding.arguments),
            }));
        }
    }
    rows.sort_by_cached_key(|row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let names = ["source", "destination_type", "destination", "routing_key"].map(text);
        (names, row["arguments"].to_string())
    });
    rows
}
