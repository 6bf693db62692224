//! Direct reply-to: `amq.rabbitmq.reply-to` as a queue that is none. (RabbitMQ; amqp.md rows 58-61.)
//!
//! A channel has one such consumer. Replies come through the outlet like other deliveries, acknowledged by themselves.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    amqp::{
        channel::{Channel, Consumer, Feed},
        fault::{Fault, Resource},
        session::Context,
        wire::{
            basic::{Consume, ConsumeOk},
            queue::{Declare, DeclareOk},
        },
    },
    broker::{reply::QUEUE, vhost::server_name},
};

/// Whether a name stands for direct replies.
#[must_use]
pub fn is_reply_queue(name: &str) -> bool {
    name.starts_with(QUEUE)
}

/// `queue.declare`, passive or not, of a name that stands for direct replies; false for other names.
///
/// # Errors
/// [`Fault::NotFound`] when nobody waits under that name.
pub fn declare(
    cx: &mut Context<'_>,
    channel: &mut Channel,
    method: &Declare<'_>,
    name: &str,
) -> Result<bool, Fault> {
    match cx.session.door.broker.core.replies.declared(name) {
        None => Ok(false),
        Some(false) => Err(Fault::NotFound(Resource::queue(name, &cx.session.vhost.name))),
        Some(true) => {
            channel.last_queue = Some(name.to_owned());
            let ok = DeclareOk { queue: name, message_count: 0, consumer_count: 1 };
            cx.reply(None, channel.number, method.nowait, &ok);
            Ok(true)
        }
    }
}

/// `basic.consume` of [`QUEUE`].
///
/// # Errors
/// When the channel has such a consumer, or this one wants to acknowledge.
pub fn consume(cx: &mut Context<'_>, channel: &mut Channel, method: &Consume<'_>) -> Result<(), Fault> {
    if channel.consumers.has_tag(method.consumer_tag) {
        return Err(Fault::ConsumerTagReuse(method.consumer_tag.to_owned()));
    }
    if !method.no_ack {
        return Err(Fault::ReplyConsumerAcknowledges);
    }
    if channel.reply_to.is_some() {
        return Err(Fault::ReplyConsumerTwice);
    }
    let consumer_tag: Arc<str> = match method.consumer_tag {
        "" => server_name("amq.ctag-").into(),
        tag => tag.into(),
    };
    let core = &cx.session.door.broker.core;
    let id = core.ids.consumer();
    let reply_to = core.replies.open(id, channel.number, cx.session.outlet.clone());
    channel.reply_to = Some(reply_to.clone());
    let (no_ack, feed) = (true, Feed::Replies(reply_to));
    channel.consumers.put(Consumer {
        id,
        consumer_tag: consumer_tag.clone(),
        no_ack,
        timeout_ms: None,
        feed,
    });
    channel.info.consumers.store(channel.consumers.len(), Ordering::Relaxed);
    if !method.nowait {
        cx.send(channel.number, &ConsumeOk { consumer_tag: &consumer_tag });
    }
    Ok(())
}
