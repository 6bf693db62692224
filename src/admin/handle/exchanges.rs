//! What changes exchanges: declaring and deleting. Looking at them is in `topology.rs`.

use serde_json::{Value, json};

use crate::{
    admin::{
        body::{Body, fits},
        fault,
        json::table,
        request::{Change, Done, Reply, Request},
    },
    broker::{exchange::ExchangeOptions, refusal::Access, vhost::Vhost},
};

/// The default exchange has a name where there must be one.
#[must_use]
pub(crate) fn real_name(name: &str) -> &str {
    if name == "amq.default" { "" } else { name }
}

/// What a JSON object says of an exchange.
pub(crate) fn options(body: &Body) -> Result<ExchangeOptions, Reply> {
    Ok(ExchangeOptions {
        kind: body.text("type").unwrap_or_else(|| "direct".to_owned()),
        durable: body.flag_or("durable", true)?,
        auto_delete: body.flag("auto_delete")?,
        internal: body.flag("internal")?,
        arguments: body.arguments()?,
    })
}

/// `PUT /api/exchanges/:vhost/:exchange`.
pub(crate) fn put(request: &Request) -> Change {
    let body = request.object()?;
    let (vhost, name) = (request.open_vhost()?, real_name(request.parameter(1)));
    fits("exchange", name)?;
    let existed = vhost.find_exchange(name).is_some();
    let options = options(&body)?;
    request.allow(Access::Configure, &vhost.name, name)?;
    if !existed && let Some(alternate) = options.alternate() {
        request.allow(Access::Read, &vhost.name, name)?;
        request.allow(Access::Write, &vhost.name, alternate)?;
    }
    let declared = vhost.declare_exchange(name, options);
    let pending = declared.map_err(|refusal| fault::reply(&refusal, &vhost.name))?;
    Done::put((!existed, pending))
}

/// `DELETE /api/exchanges/:vhost/:exchange`, with `if-unused`.
pub(crate) fn delete(request: &Request) -> Change {
    let (vhost, name) = (request.open_vhost()?, real_name(request.parameter(1)));
    if vhost.find_exchange(name).is_none() {
        return Err(Reply::not_found());
    }
    request.allow(Access::Configure, &vhost.name, name)?;
    let deleted = vhost.delete_exchange(name, request.query.value("if-unused") == Some("true"));
    Done::nothing(deleted.map_err(|refusal| fault::reply(&refusal, &vhost.name))?)
}

/// Exchanges as definitions have them: those that last and that somebody declared.
#[must_use]
pub(crate) fn definitions(vhost: &Vhost) -> Vec<Value> {
    let own = |name: &str| name.is_empty() || name.starts_with("amq.");
    let mut exchanges = vhost.exchanges();
    exchanges.retain(|exchange| exchange.options.durable && !own(&exchange.name));
    exchanges.sort_by(|a, b| a.name.cmp(&b.name));
    let row = |exchange: &std::sync::Arc<crate::broker::exchange::Exchange>| {
        let options = &exchange.options;
        json!({
            "name": &*exchange.name, "vhost": &*vhost.name, "type": options.kind, "durable": true,
            "auto_delete": options.auto_delete, "internal": options.internal,
            "arguments": table(&options.arguments),
        })
    };
    exchanges.iter().map(row).collect()
}
