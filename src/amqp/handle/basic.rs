//! Class 60, basic: qos, get, acknowledging. Publishing is in `publish.rs`, consuming in `consume.rs`.
//! (AMQP 0-9-1 §1.8; RabbitMQ's nack, multiple acks and meaning of `global`.)

use std::sync::{Arc, atomic::Ordering};

use super::{
    consume::{self, Source},
    deliver::put_content,
    delivery_count, list,
};
use crate::{
    amqp::{
        channel::{Channel, Consumer, Held, How, Mode, Settlement},
        fault::{Fault, Resource},
        session::{Context, Waiting, queue_name},
        wire::basic::{Ack, Get, GetEmpty, GetOk, Method, Nack, Qos, QosOk, RecoverOk, Reject},
    },
    broker::{
        arguments::QueueKind,
        queue::{Queue, returns::Return, serving::Got},
        refusal::{Access, Refusal, Subject},
        trace,
    },
};

/// Any basic method but `publish`.
///
/// # Errors
/// The fault that closes the channel or the connection.
pub fn handle(cx: &mut Context<'_>, channel: &mut Channel, method: &Method<'_>) -> Result<(), Fault> {
    match method {
        Method::Qos(m) => qos(cx, channel, m),
        Method::Consume(m) => consume::consume(cx, channel, m),
        Method::Cancel(m) => {
            consume::cancel(cx, channel, m);
            Ok(())
        }
        Method::Get(m) => get(cx, channel, m),
        Method::Ack(Ack { delivery_tag, multiple }) => {
            settle(cx, channel, *delivery_tag, *multiple, How::Acknowledge)
        }
        Method::Reject(Reject { delivery_tag, requeue }) => {
            settle(cx, channel, *delivery_tag, false, How::rejected(*requeue))
        }
        Method::Nack(Nack { delivery_tag, multiple, requeue }) => {
            settle(cx, channel, *delivery_tag, *multiple, How::nacked(*requeue))
        }
        Method::RecoverAsync(m) => recover(channel, m.requeue),
        Method::Recover(m) => {
            recover(channel, m.requeue)?;
            cx.send(channel.number, &RecoverOk {});
            Ok(())
        }
        // Our own cancel asks for no answer.
        Method::CancelOk(_)
        | Method::Publish(_)
        | Method::QosOk(_)
        | Method::ConsumeOk(_)
        | Method::Return(_)
        | Method::Deliver(_)
        | Method::GetOk(_)
        | Method::GetEmpty(_)
        | Method::RecoverOk(_) => Err(Fault::UnimplementedMethod),
    }
}

/// `global=false` is the limit of each new consumer, `global=true` one limit shared by all of the channel's.
fn qos(cx: &mut Context<'_>, channel: &mut Channel, method: &Qos) -> Result<(), Fault> {
    if method.prefetch_size != 0 {
        return Err(Fault::PrefetchSize(method.prefetch_size));
    }
    if method.global && cx.profile().global_qos {
        channel.credit.set_limit(method.prefetch_count.into());
        channel.consumers.all().iter().for_each(Consumer::pump);
    } else {
        channel.prefetch_count = method.prefetch_count;
        channel.info.prefetch_count.store(method.prefetch_count.into(), Ordering::Relaxed);
    }
    cx.send(channel.number, &QosOk {});
    Ok(())
}

fn get(cx: &mut Context<'_>, channel: &mut Channel, method: &Get<'_>) -> Result<(), Fault> {
    let name = queue_name(channel, method.queue)?;
    cx.allow(Access::Read, &Subject::queue(&name))?;
    if let Source::List(list) = cx.target(channel, &name)? {
        return list::get(cx, channel, &list, method.no_ack);
    }
    let queue = cx.classic(channel, &name, "basic.get")?;
    if queue.kind == QueueKind::Quorum && queue.single_active() {
        return Err(cx.fault(Refusal::SingleActiveGet(name)));
    }
    get_from(cx, channel, &queue, method.no_ack);
    Ok(())
}

fn get_from(cx: &mut Context<'_>, channel: &mut Channel, queue: &Arc<Queue>, no_ack: bool) {
    let meters = &cx.session.door.broker.core.meters;
    match queue.get(no_ack, &cx.session.outlet) {
        Got::Wait => {
            let (number, queue) = (channel.number, queue.clone());
            cx.session.waiting = Some(Waiting::Get { channel: number, queue, no_ack });
        }
        Got::Empty => {
            meters.get_empty.increment();
            cx.send(channel.number, &GetEmpty { reserved_1: "" });
        }
        Got::Message { entry, ready } => {
            if no_ack { &meters.got_auto_ack } else { &meters.got_manual_ack }.increment();
            meters.redelivered.add(u64::from(entry.redelivered));
            let message = &entry.message;
            let vhost = &cx.session.vhost;
            if vhost.tracing() {
                let (origin, redelivered) = (&channel.origin, entry.redelivered);
                trace::delivered(vhost, cx.now_ms, origin, &queue.name, message, redelivered);
            }
            let method = GetOk {
                delivery_tag: channel.unacked.next_tag(),
                redelivered: entry.redelivered,
                exchange: message.exchange(),
                routing_key: message.routing_key(),
                message_count: u32::try_from(ready).unwrap_or(u32::MAX),
            };
            let profile = cx.session.door.broker.core.profile;
            let properties = delivery_count::properties(queue, &entry, delivery_count::By::Get, profile);
            let shown = properties.as_deref().unwrap_or_else(|| message.properties());
            put_content(cx.output, channel.number, cx.session.frame_max, &method, message, shown);
            if no_ack {
                channel.unacked.tag();
            } else {
                channel.delivered.note(method.delivery_tag, cx.now_ms);
                channel.keep(Held::Queue { queue: queue.clone(), consumer: None, entry });
            }
        }
    }
}

/// The message that a `basic.get` waits for may be in memory now.
pub fn get_again(cx: &mut Context<'_>) {
    let (channel, queue, no_ack) = match &cx.session.waiting {
        Some(Waiting::Get { channel, queue, no_ack }) => (*channel, queue.clone(), *no_ack),
        Some(Waiting::Durable { .. }) | None => return,
    };
    cx.session.waiting = None;
    let Some(mut taken) = cx.session.channels.remove(&channel) else { return };
    get_from(cx, &mut taken, &queue, no_ack);
    cx.session.channels.insert(channel, taken);
}

fn take(channel: &mut Channel, delivery_tag: u64, multiple: bool) -> Result<Vec<(u64, Held)>, Fault> {
    let mut taken = Vec::new();
    let result = if multiple {
        channel.unacked.take_up_to(delivery_tag, |tag, held| taken.push((tag, held)))
    } else {
        channel.unacked.take(delivery_tag).map(|held| taken.push((delivery_tag, held)))
    };
    result.map_err(|unknown| Fault::UnknownDeliveryTag(unknown.0))?;
    super::channel::show(channel);
    Ok(taken)
}

/// Acknowledges or rejects, now or with the channel's transaction.
fn settle(
    cx: &Context<'_>,
    channel: &mut Channel,
    delivery_tag: u64,
    multiple: bool,
    how: How,
) -> Result<(), Fault> {
    let deliveries = take(channel, delivery_tag, multiple)?;
    if let Mode::Tx(tx) = &mut channel.mode {
        tx.settlements.push(Settlement { deliveries, how });
        return Ok(());
    }
    let rejected = |(_, held): &(u64, Held)| match held {
        Held::Stream { topic, .. } if how != How::Acknowledge => Some(topic.clone()),
        Held::Queue { .. } | Held::List { .. } | Held::Stream { .. } => None,
    };
    if cx.profile().stream_rejects_refused
        && let Some(topic) = deliveries.iter().find_map(rejected)
    {
        let on = Resource::queue(&topic.name, &cx.session.vhost.name);
        return Err(Fault::UnsupportedByStream { what: "basic.nack and basic.reject", on });
    }
    if how == How::Acknowledge {
        cx.session.door.broker.core.meters.acknowledged.add(deliveries.len() as u64);
    }
    channel.settle(deliveries.into_iter().map(|(_, held)| held), how);
    Ok(())
}

fn recover(channel: &mut Channel, requeue: bool) -> Result<(), Fault> {
    if !requeue {
        return Err(Fault::RecoverWithoutRequeue);
    }
    let deliveries = take(channel, 0, true)?;
    channel.settle(deliveries.into_iter().map(|(_, held)| held), How::Requeue(Return::GivenBack));
    Ok(())
}
