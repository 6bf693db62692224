//! Class 50, queue: declaring, binding, purging, deleting. (AMQP 0-9-1 §1.7; RabbitMQ's server-named queues.)

use super::{consume::Source, list, reply};
use crate::{
    amqp::{
        channel::Channel,
        fault::{Fault, Resource},
        session::{Context, queue_name, stripped},
        wire::queue::{
            Bind, BindOk, Declare, DeclareOk, Delete, DeleteOk, Method, Purge, PurgeOk, Unbind, UnbindOk,
        },
    },
    broker::{
        arguments::{self, QueueKind},
        exchange::{Binding, Target},
        queue::QueueOptions,
        refusal::{Access, Kind, Refusal, Subject},
    },
    data::value::Table,
};

/// Any queue method.
///
/// # Errors
/// The fault that closes the channel or the connection.
pub fn handle(cx: &mut Context<'_>, channel: &mut Channel, method: &Method<'_>) -> Result<(), Fault> {
    match method {
        Method::Declare(m) if m.passive => declare_passive(cx, channel, m),
        Method::Declare(m) => declare(cx, channel, m),
        Method::Bind(m) => bind(cx, channel, m),
        Method::Purge(m) => purge(cx, channel, m),
        Method::Delete(m) => delete(cx, channel, m),
        Method::Unbind(m) => unbind(cx, channel, m),
        Method::DeclareOk(_)
        | Method::BindOk(_)
        | Method::PurgeOk(_)
        | Method::DeleteOk(_)
        | Method::UnbindOk(_) => Err(Fault::UnimplementedMethod),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn declare_passive(cx: &mut Context<'_>, channel: &mut Channel, method: &Declare<'_>) -> Result<(), Fault> {
    let name = stripped(&queue_name(channel, method.queue)?);
    if reply::declare(cx, channel, method, &name)? {
        return Ok(());
    }
    cx.allow_any(&Subject::queue(&name))?;
    let target = cx.target(channel, &name)?;
    let (message_count, consumer_count) = target.counts();
    channel.last_queue = Some(name.clone());
    let ok = DeclareOk {
        queue: &name,
        message_count: count(message_count),
        consumer_count: count(consumer_count),
    };
    cx.reply(None, channel.number, method.nowait, &ok);
    Ok(())
}

fn declare(cx: &mut Context<'_>, channel: &mut Channel, method: &Declare<'_>) -> Result<(), Fault> {
    let name = stripped(method.queue);
    if reply::declare(cx, channel, method, &name)? {
        return Ok(());
    }
    // Even of a queue that exists under such a name.
    if name.starts_with("amq.") {
        return Err(cx.fault(Refusal::ReservedName { kind: Kind::Queue, name }));
    }
    let vhost = cx.session.vhost.clone();
    let mut options = QueueOptions {
        durable: method.durable,
        auto_delete: method.auto_delete,
        exclusive: method.exclusive.then_some(cx.session.id),
        arguments: method.arguments.clone(),
    };
    options.arguments = vhost.arguments_of(&options);
    let kind = arguments::kind(&name, &options.arguments).map_err(|refusal| cx.fault(refusal))?;
    if !name.is_empty() {
        cx.allow(Access::Configure, &Subject::queue(&name))?;
    }
    if cx.session.vhost.find_queue(&name).is_none() {
        may_dead_letter(cx, &name, &method.arguments)?;
    }
    if let Some(list) = vhost.find_list(&name) {
        return list::declare(cx, channel, method, &list, (kind, &options));
    }
    match kind {
        QueueKind::Classic | QueueKind::Quorum => declare_queue(cx, channel, method, &name, options),
        QueueKind::Stream => declare_stream(cx, channel, method, &name, &options),
    }
}

/// A new queue's dead letters are read from it and written to an exchange, so the user must be allowed both.
fn may_dead_letter(cx: &mut Context<'_>, name: &str, arguments: &Table) -> Result<(), Fault> {
    const ARG: &str = "x-dead-letter-exchange";
    let Some(value) = arguments.field(ARG) else { return Ok(()) };
    let Some(exchange) = value.octets() else {
        let on = Resource::queue(name, &cx.session.vhost.name);
        return Err(Fault::InvalidArgType { type_name: value.type_name(), arg: ARG.to_owned(), on });
    };
    cx.allow(Access::Read, &Subject::queue(name))?;
    cx.allow(Access::Write, &Subject::exchange(&String::from_utf8_lossy(exchange)))
}

fn declare_queue(
    cx: &mut Context<'_>,
    channel: &mut Channel,
    method: &Declare<'_>,
    name: &str,
    options: QueueOptions,
) -> Result<(), Fault> {
    let (vhost, id) = (cx.session.vhost.clone(), cx.session.id);
    let transient = !method.durable && !method.exclusive;
    if transient && !cx.profile().transient_nonexcl_queues && vhost.find_queue(name).is_none() {
        return Err(Fault::DeprecatedFeature("transient_nonexcl_queues"));
    }
    let declared = vhost.declare_queue(name, id, options).map_err(|refusal| cx.fault(refusal))?;
    if declared.created && method.exclusive {
        let exclusive = &mut cx.session.exclusive;
        if exclusive.len() == exclusive.capacity() {
            // Those that were deleted with their last consumer.
            exclusive.retain(|queue| !queue.is_gone());
        }
        exclusive.push(declared.queue.clone());
    }
    let (message_count, consumer_count) = declared.queue.counts();
    let queue = &declared.queue.name;
    channel.last_queue = Some(queue.to_string());
    let ok = DeclareOk { queue, message_count: count(message_count), consumer_count: count(consumer_count) };
    cx.reply(declared.pending, channel.number, method.nowait, &ok);
    Ok(())
}

fn declare_stream(
    cx: &mut Context<'_>,
    channel: &mut Channel,
    method: &Declare<'_>,
    name: &str,
    options: &QueueOptions,
) -> Result<(), Fault> {
    let vhost = cx.session.vhost.clone();
    let declared = vhost.declare_stream(name, options).map_err(|refusal| cx.fault(refusal))?;
    channel.last_queue = Some(name.to_owned());
    let ok = DeclareOk { queue: name, message_count: count(declared.messages), consumer_count: 0 };
    cx.reply(declared.pending, channel.number, method.nowait, &ok);
    Ok(())
}

/// The two ends of a binding, and its key: with neither queue nor key given, the last queue's name is the key.
fn ends(
    cx: &mut Context<'_>,
    channel: &Channel,
    queue: &str,
    exchange: &str,
    routing_key: &str,
) -> Result<(Target, String, String), Fault> {
    let name = stripped(&queue_name(channel, queue)?);
    let routing_key =
        if queue.is_empty() && routing_key.is_empty() { name.clone() } else { routing_key.to_owned() };
    let exchange = stripped(exchange);
    if reply::is_reply_queue(&name) && cx.profile().reply_queue_binding_refused {
        return Err(Fault::VolatileQueueBinding);
    }
    cx.allow(Access::Write, &Subject::queue(&name))?;
    if exchange.is_empty() {
        return Err(Fault::DefaultExchange);
    }
    cx.allow(Access::Read, &Subject::exchange(&exchange))?;
    // With both missing, the exchange is what is reported.
    cx.session.vhost.exchange(&exchange).map_err(|refusal| cx.fault(refusal))?;
    cx.allow_topic(Access::Read, &exchange, &routing_key)?;
    let target = match cx.target(channel, &name)? {
        Source::Queue(queue) => Target::Queue(queue),
        Source::Stream(topic) => Target::Topic(topic),
        Source::List(list) => return Err(list::unsupported(cx, "binding", &list)),
    };
    Ok((target, exchange, routing_key))
}

fn bind(cx: &mut Context<'_>, channel: &Channel, method: &Bind<'_>) -> Result<(), Fault> {
    let (target, exchange, key) = ends(cx, channel, method.queue, method.exchange, method.routing_key)?;
    let binding = Binding { target, routing_key: key.into(), arguments: method.arguments.clone() };
    let pending = cx.session.vhost.bind(&exchange, binding).map_err(|refusal| cx.fault(refusal))?;
    cx.reply(pending, channel.number, method.nowait, &BindOk {});
    Ok(())
}

fn unbind(cx: &mut Context<'_>, channel: &Channel, method: &Unbind<'_>) -> Result<(), Fault> {
    match ends(cx, channel, method.queue, method.exchange, method.routing_key) {
        Ok((target, exchange, key)) => {
            let binding = Binding { target, routing_key: key.into(), arguments: method.arguments.clone() };
            let pending =
                cx.session.vhost.unbind(&exchange, &binding.id()).map_err(|refusal| cx.fault(refusal))?;
            cx.reply(pending, channel.number, false, &UnbindOk {});
        }
        // What is not there is not bound.
        Err(Fault::NotFound(_)) => cx.reply(None, channel.number, false, &UnbindOk {}),
        // Nor does it matter whose queue it is that is not bound.
        Err(Fault::Locked(_)) if !is_bound(cx, channel, method)? => {
            cx.reply(None, channel.number, false, &UnbindOk {});
        }
        Err(fault) => return Err(fault),
    }
    Ok(())
}

/// Whether a queue that is another connection's has that binding.
fn is_bound(cx: &Context<'_>, channel: &Channel, method: &Unbind<'_>) -> Result<bool, Fault> {
    let name = stripped(&queue_name(channel, method.queue)?);
    let vhost = &cx.session.vhost;
    let (queue, exchange) = (vhost.find_queue(&name), vhost.find_exchange(&stripped(method.exchange)));
    let Some((queue, exchange)) = queue.zip(exchange) else { return Ok(false) };
    let (target, routing_key) = (Target::Queue(queue), method.routing_key.into());
    let id = Binding { target, routing_key, arguments: method.arguments.clone() }.id();
    Ok(exchange.bindings().iter().any(|binding| binding.id() == id))
}

fn purge(cx: &mut Context<'_>, channel: &Channel, method: &Purge<'_>) -> Result<(), Fault> {
    let name = queue_name(channel, method.queue)?;
    cx.allow(Access::Read, &Subject::queue(&name))?;
    let (purged, pending) = match cx.target(channel, &name)? {
        Source::List(list) => list.purge(),
        Source::Queue(_) | Source::Stream(_) => (cx.classic(channel, &name, "queue.purge")?.purge(), None),
    };
    let message_count = count(purged);
    cx.reply(pending, channel.number, method.nowait, &PurgeOk { message_count });
    Ok(())
}

fn delete(cx: &mut Context<'_>, channel: &mut Channel, method: &Delete<'_>) -> Result<(), Fault> {
    let name = stripped(&queue_name(channel, method.queue)?);
    cx.allow(Access::Configure, &Subject::queue(&name))?;
    let vhost = cx.session.vhost.clone();
    let (messages, pending) = match cx.target(channel, &name) {
        Ok(Source::Queue(queue)) => vhost
            .delete_queue(&queue, method.if_unused, method.if_empty)
            .map_err(|refusal| cx.fault(refusal))?,
        Ok(Source::List(list)) => {
            list.delete(method.if_unused, method.if_empty).map_err(|refusal| cx.fault(refusal))?
        }
        Ok(Source::Stream(topic)) => {
            (0, vhost.delete_stream_queue(&topic).map_err(|refusal| cx.fault(refusal))?)
        }
        // What is not there is deleted already.
        Err(Fault::NotFound(_)) => (0, vhost.done_before()),
        Err(fault) => return Err(fault),
    };
    cx.session.exclusive.retain(|queue| *queue.name != *name);
    cx.reply(pending, channel.number, method.nowait, &DeleteOk { message_count: count(messages) });
    Ok(())
}
