//! Lists as queues (`redis.<name space>.<key>`): getting from them and consuming. What they do not do is refused by
//! whoever is asked for it.

use std::sync::{Arc, atomic::Ordering};

use super::deliver::put_content;
use crate::{
    amqp::{
        channel::{Channel, Consumer, Feed, Held, Mode},
        fault::Fault,
        session::Context,
        wire::{
            basic::{Consume, ConsumeOk, GetEmpty, GetOk},
            queue::{Declare, DeclareOk},
        },
    },
    broker::{
        arguments::QueueKind,
        list::queue::ListQueue,
        queue::{QueueOptions, consumers::ConsumerSpec},
        refusal::Refusal,
        trace,
    },
};

/// The fault for what lists do not do; `what` as RabbitMQ names it.
pub fn unsupported(cx: &Context<'_>, what: &'static str, list: &ListQueue) -> Fault {
    cx.fault(Refusal::UnsupportedByList { what, queue: list.name.to_string() })
}

/// A transaction is one Change of the log, and what happens to a list is in another.
fn not_in_transaction(cx: &Context<'_>, channel: &Channel, list: &ListQueue) -> Result<(), Fault> {
    match channel.mode {
        Mode::Tx(_) => Err(unsupported(cx, "tx.select", list)),
        Mode::Plain | Mode::Confirm(_) => Ok(()),
    }
}

/// `queue.declare` of a list, which is there already whether it has an element or not.
///
/// # Errors
/// When it is asked to be anything but a durable classic queue without arguments.
pub fn declare(
    cx: &mut Context<'_>,
    channel: &mut Channel,
    method: &Declare<'_>,
    list: &ListQueue,
    (kind, options): (QueueKind, &QueueOptions),
) -> Result<(), Fault> {
    list.equivalent(kind, options, cx.profile()).map_err(|refusal| cx.fault(refusal))?;
    let figures = list.figures();
    channel.last_queue = Some(list.name.to_string());
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let ok = DeclareOk {
        queue: &list.name,
        message_count: count(figures.ready),
        consumer_count: count(figures.consumers),
    };
    cx.reply(None, channel.number, method.nowait, &ok);
    Ok(())
}

/// `basic.get` from a list.
///
/// # Errors
/// In a transaction.
pub fn get(
    cx: &mut Context<'_>,
    channel: &mut Channel,
    list: &Arc<ListQueue>,
    no_ack: bool,
) -> Result<(), Fault> {
    not_in_transaction(cx, channel, list)?;
    let meters = &cx.session.door.broker.core.meters;
    let Some((entry, ready)) = list.get(no_ack) else {
        meters.get_empty.increment();
        cx.send(channel.number, &GetEmpty { reserved_1: "" });
        return Ok(());
    };
    if no_ack { &meters.got_auto_ack } else { &meters.got_manual_ack }.increment();
    meters.redelivered.add(u64::from(entry.redelivered));
    let (vhost, message) = (&cx.session.vhost, &entry.message);
    if vhost.tracing() {
        trace::delivered(vhost, cx.now_ms, &channel.origin, &list.name, message, entry.redelivered);
    }
    let method = GetOk {
        delivery_tag: channel.unacked.next_tag(),
        redelivered: entry.redelivered,
        exchange: message.exchange(),
        routing_key: message.routing_key(),
        message_count: u32::try_from(ready).unwrap_or(u32::MAX),
    };
    put_content(cx.output, channel.number, cx.session.frame_max, &method, message, message.properties());
    if no_ack {
        channel.unacked.tag();
    } else {
        channel.delivered.note(method.delivery_tag, cx.now_ms);
        channel.keep(Held::List { list: list.clone(), consumer: None, seq: entry.seq });
    }
    Ok(())
}

/// `basic.consume` of a list.
///
/// # Errors
/// In a transaction, with arguments, or when another consumer is exclusive.
pub fn consume(
    cx: &mut Context<'_>,
    channel: &mut Channel,
    method: &Consume<'_>,
    list: &Arc<ListQueue>,
    consumer_tag: Arc<str>,
) -> Result<(), Fault> {
    not_in_transaction(cx, channel, list)?;
    if !method.arguments.0.is_empty() {
        return Err(unsupported(cx, "basic.consume with arguments", list));
    }
    let spec = ConsumerSpec {
        channel: channel.number,
        consumer_tag: consumer_tag.clone(),
        no_ack: method.no_ack,
        exclusive: method.exclusive,
        priority: 0,
        prefetch_count: channel.prefetch_count.into(),
        outlet: cx.session.outlet.clone(),
        credit: channel.credit.clone(),
    };
    let id = list.consume(spec).map_err(|refusal| cx.fault(refusal))?;
    let (no_ack, feed) = (method.no_ack, Feed::List(list.clone()));
    let consumer = Consumer { id, consumer_tag: consumer_tag.clone(), no_ack, timeout_ms: None, feed };
    cx.session.tell_consumer_created(channel, &consumer, method);
    channel.consumers.put(consumer);
    channel.info.consumers.store(channel.consumers.len(), Ordering::Relaxed);
    if !method.nowait {
        cx.send(channel.number, &ConsumeOk { consumer_tag: &consumer_tag });
    }
    // It is served from now on: its deliveries follow the consume-ok.
    list.pump(id);
    Ok(())
}
