//! Class 40, exchange: declaring, deleting, binding exchanges to exchanges. (AMQP 0-9-1 §1.6; RabbitMQ's e2e bindings.)

use crate::{
    amqp::{
        channel::Channel,
        fault::Fault,
        session::{Context, stripped},
        wire::exchange::{Bind, BindOk, Declare, DeclareOk, Delete, DeleteOk, Method, Unbind, UnbindOk},
    },
    broker::{
        exchange::{Binding, ExchangeOptions, Target, is_type},
        refusal::{Access, Refusal, Subject},
    },
};

/// Any exchange method.
///
/// # Errors
/// The fault that closes the channel or the connection.
pub fn handle(cx: &mut Context<'_>, channel: &Channel, method: &Method<'_>) -> Result<(), Fault> {
    match method {
        Method::Declare(m) => declare(cx, channel, m),
        Method::Delete(m) => delete(cx, channel, m),
        Method::Bind(m) => bind(cx, channel, m),
        Method::Unbind(m) => unbind(cx, channel, m),
        Method::DeclareOk(_) | Method::DeleteOk(_) | Method::BindOk(_) | Method::UnbindOk(_) => {
            Err(Fault::UnimplementedMethod)
        }
    }
}

fn declare(cx: &mut Context<'_>, channel: &Channel, method: &Declare<'_>) -> Result<(), Fault> {
    let name = stripped(method.exchange);
    if !method.passive && !is_type(method.r#type, cx.session.door.broker.core.profile) {
        return Err(Fault::UnknownExchangeType(method.r#type.to_owned()));
    }
    if name.is_empty() {
        return Err(Fault::DefaultExchange);
    }
    if method.passive {
        cx.allow_any(&Subject::exchange(&name))?;
        cx.session.vhost.exchange(&name).map_err(|refusal| cx.fault(refusal))?;
        cx.reply(None, channel.number, method.nowait, &DeclareOk {});
        return Ok(());
    }
    cx.allow(Access::Configure, &Subject::exchange(&name))?;
    let options = ExchangeOptions {
        kind: method.r#type.to_owned(),
        durable: method.durable,
        auto_delete: method.auto_delete,
        internal: method.internal,
        arguments: method.arguments.clone(),
    };
    if cx.session.vhost.find_exchange(&name).is_none()
        && let Some(alternate) = options.alternate()
    {
        cx.allow(Access::Read, &Subject::exchange(&name))?;
        cx.allow(Access::Write, &Subject::exchange(alternate))?;
    }
    let pending = cx.session.vhost.declare_exchange(&name, options).map_err(|refusal| cx.fault(refusal))?;
    cx.reply(pending, channel.number, method.nowait, &DeclareOk {});
    Ok(())
}

fn delete(cx: &mut Context<'_>, channel: &Channel, method: &Delete<'_>) -> Result<(), Fault> {
    let name = stripped(method.exchange);
    if name.is_empty() {
        return Err(Fault::DefaultExchange);
    }
    if name.starts_with("amq.") {
        return Err(cx.fault(Refusal::SystemExchange(name)));
    }
    cx.allow(Access::Configure, &Subject::exchange(&name))?;
    let pending =
        cx.session.vhost.delete_exchange(&name, method.if_unused).map_err(|refusal| cx.fault(refusal))?;
    cx.reply(pending, channel.number, method.nowait, &DeleteOk {});
    Ok(())
}

/// What both ends of a binding must be: the source is looked at first.
fn ends(
    cx: &mut Context<'_>,
    source: &str,
    destination: &str,
    routing_key: &str,
) -> Result<(String, Target), Fault> {
    let (source, destination) = (stripped(source), stripped(destination));
    cx.allow(Access::Write, &Subject::exchange(&destination))?;
    if source.is_empty() || destination.is_empty() {
        return Err(Fault::DefaultExchange);
    }
    cx.allow(Access::Read, &Subject::exchange(&source))?;
    cx.allow_topic(Access::Read, &source, routing_key)?;
    let vhost = &cx.session.vhost;
    vhost.exchange(&source).map_err(|refusal| cx.fault(refusal))?;
    let target = vhost.exchange(&destination).map_err(|refusal| cx.fault(refusal))?;
    Ok((source, Target::Exchange(target)))
}

fn bind(cx: &mut Context<'_>, channel: &Channel, method: &Bind<'_>) -> Result<(), Fault> {
    let (source, target) = ends(cx, method.source, method.destination, method.routing_key)?;
    let binding =
        Binding { target, routing_key: method.routing_key.into(), arguments: method.arguments.clone() };
    let pending = cx.session.vhost.bind(&source, binding).map_err(|refusal| cx.fault(refusal))?;
    cx.reply(pending, channel.number, method.nowait, &BindOk {});
    Ok(())
}

fn unbind(cx: &mut Context<'_>, channel: &Channel, method: &Unbind<'_>) -> Result<(), Fault> {
    match ends(cx, method.source, method.destination, method.routing_key) {
        Ok((source, target)) => {
            let binding = Binding {
                target,
                routing_key: method.routing_key.into(),
                arguments: method.arguments.clone(),
            };
            let pending =
                cx.session.vhost.unbind(&source, &binding.id()).map_err(|refusal| cx.fault(refusal))?;
            cx.reply(pending, channel.number, method.nowait, &UnbindOk {});
        }
        // What is not there is not bound.
        Err(Fault::NotFound(_)) => cx.reply(None, channel.number, method.nowait, &UnbindOk {}),
        Err(fault) => return Err(fault),
    }
    Ok(())
}
