//! What the core put into the connection's outlet: deliveries, confirms, cancellations, alarms.

use std::sync::{Arc, atomic::Ordering};

use super::delivery_count;
use crate::{
    amqp::{
        channel::{Channel, Feed, Held, Mode, Phase, StreamFeed},
        channels::Channels,
        confirms::Answer,
        session::{Alarm, Context, Waiting},
        wire::{basic, connection, content, frame},
    },
    broker::{
        meters::Meters,
        outlet::Event,
        profile::Profile,
        queue::{ConsumerId, Entry},
        trace,
        vhost::Vhost,
    },
    net::pump::Output,
};

/// Bodies up to this size are copied into the output; larger ones go as slices of the message.
const COPIED_BODY_BYTES_MAX: usize = 4 * 1024;

/// Takes everything out of the outlet. `held`: the channel that a handler has in hand, which is not in the session's
/// table meanwhile.
pub fn drain(cx: &mut Context<'_>, mut held: Option<&mut Channel>) {
    let mut events = Vec::new();
    let outlet = cx.session.outlet.clone();
    let resumed = outlet.drain(&mut events, &cx.session.waker);
    let mut counts = Counts::default();
    for event in events {
        on_event(cx, held.as_deref_mut(), event, &mut counts);
    }
    counts.tell(&cx.session.door.broker.core.meters);
    for server in resumed {
        server.resume(&outlet);
    }
}

/// Deliveries of one drain, counted here first, because an atomic for each would show.
#[derive(Debug, Default)]
struct Counts {
    auto_ack: u64,
    manual_ack: u64,
    redelivered: u64,
    confirmed: u64,
}

impl Counts {
    fn tell(&self, meters: &Meters) {
        for (counter, n) in [
            (&meters.delivered_auto_ack, self.auto_ack),
            (&meters.delivered_manual_ack, self.manual_ack),
            (&meters.redelivered, self.redelivered),
            (&meters.confirmed, self.confirmed),
        ] {
            if n > 0 {
                counter.add(n);
            }
        }
    }
}

fn on_event(cx: &mut Context<'_>, held: Option<&mut Channel>, event: Event, counts: &mut Counts) {
    match event {
        Event::Deliver { channel, consumer, entry } => {
            let (frame_max, output) = (cx.session.frame_max, &mut *cx.output);
            let at = (cx.session.door.broker.core.profile, cx.now_ms);
            let tracing = cx.session.vhost.tracing().then(|| cx.session.vhost.clone());
            match pick(&mut cx.session.channels, held, channel) {
                Some(channel) => {
                    if let Some(vhost) = tracing {
                        trace(&vhost, cx.now_ms, channel, consumer, &entry);
                    }
                    deliver(output, frame_max, channel, consumer, entry, at, counts);
                }
                None => tracing::debug!(channel, "a delivery for a channel that is gone"),
            }
        }
        Event::Cancelled { channel, consumer } => {
            let notify = cx.session.capabilities.consumer_cancel_notify;
            let Some(target) = pick(&mut cx.session.channels, held, channel) else { return };
            let removed = target.consumers.remove(consumer);
            target.info.consumers.store(target.consumers.len(), Ordering::Relaxed);
            if let Some(consumer) = removed
                && notify
                && target.phase == Phase::Open
            {
                let cancel = basic::Cancel { consumer_tag: &consumer.consumer_tag, nowait: true };
                // Behind the delete-ok that may wait for the log.
                let buffer = match &mut cx.session.waiting {
                    Some(Waiting::Durable { reply, .. }) => reply,
                    Some(Waiting::Get { .. }) | None => cx.output.buffer(),
                };
                frame::put_method(buffer, channel, &cancel);
            }
        }
        Event::Confirm { channel, generation, first, last } => {
            let target = pick(&mut cx.session.channels, held, channel);
            if let Some(Channel { mode: Mode::Confirm(batch), .. }) =
                target.filter(|c| c.generation == generation)
            {
                counts.confirmed += last - first + 1;
                batch.confirms.confirm(first, last);
            }
        }
        Event::Reject { channel, generation, first, last } => {
            let target = pick(&mut cx.session.channels, held, channel);
            if let Some(Channel { mode: Mode::Confirm(batch), .. }) =
                target.filter(|c| c.generation == generation)
            {
                batch.confirms.nack(first, last);
            }
        }
        Event::Loaded => super::basic::get_again(cx),
        Event::GoOn => cx.session.hold = None,
        Event::Alarm(reason) => alarm(cx, reason),
        // Nobody here waits at a key, listens to a channel, or subscribes.
        Event::Heard(_) | Event::Served(_) | Event::Told(_) => {}
        Event::Close { reason } => cx.session.close_asked = Some(reason),
    }
}

fn pick<'c>(
    channels: &'c mut Channels,
    held: Option<&'c mut Channel>,
    number: u16,
) -> Option<&'c mut Channel> {
    match held {
        Some(channel) if channel.number == number => Some(channel),
        Some(_) | None => channels.get_mut(&number).map(Box::as_mut),
    }
}

/// Tells the firehose of a delivery.
fn trace(vhost: &Arc<Vhost>, now_ms: i64, channel: &Channel, id: ConsumerId, entry: &Entry) {
    let Some(consumer) = channel.consumers.by_id(id) else { return };
    let (queue, redelivered) = (consumer.queue_name(), entry.redelivered);
    trace::delivered(vhost, now_ms, &channel.origin, queue, &entry.message, redelivered);
}

fn deliver(
    output: &mut Output,
    frame_max: u32,
    channel: &mut Channel,
    id: ConsumerId,
    entry: Entry,
    (profile, now_ms): (&Profile, i64),
    counts: &mut Counts,
) {
    let Some(consumer) = channel.consumers.by_id(id) else { return };
    let (tag, message) = (&consumer.consumer_tag, &entry.message);
    let delivery_tag = channel.unacked.next_tag();
    let method = basic::Deliver {
        consumer_tag: tag,
        delivery_tag,
        redelivered: entry.redelivered,
        exchange: message.exchange(),
        routing_key: message.routing_key(),
    };
    let properties = match &consumer.feed {
        Feed::Queue(queue) => delivery_count::properties(queue, &entry, delivery_count::By::Deliver, profile),
        Feed::List(_) | Feed::Stream(_) | Feed::Replies(_) => None,
    };
    let shown = properties.as_deref().unwrap_or_else(|| message.properties());
    put_content(output, channel.number, frame_max, &method, message, shown);
    counts.redelivered += u64::from(entry.redelivered);
    if consumer.no_ack {
        counts.auto_ack += 1;
        channel.unacked.tag();
    } else {
        counts.manual_ack += 1;
        channel.delivered.note(delivery_tag, now_ms);
        let held = match &consumer.feed {
            Feed::Queue(queue) => Held::Queue { queue: queue.clone(), consumer: Some(id), entry },
            Feed::List(list) => Held::List { list: list.clone(), consumer: Some(id), seq: entry.seq },
            Feed::Stream(StreamFeed { topic, credit, .. }) => {
                Held::Stream { topic: topic.clone(), credit: credit.clone() }
            }
            // They are acknowledged by themselves.
            Feed::Replies(_) => return,
        };
        channel.keep(held);
    }
}

/// A method with a message's content.
pub fn put_content<'m, M: crate::amqp::wire::Arguments<'m>>(
    output: &mut Output,
    channel: u16,
    frame_max: u32,
    method: &M,
    message: &crate::broker::message::Message,
    properties: &[u8],
) {
    if message.body_len() <= COPIED_BODY_BYTES_MAX {
        content::encode(output.buffer(), channel, method, properties, message.body(), frame_max);
        return;
    }
    let buffer = output.buffer();
    content::encode_heads(buffer, channel, method, properties, message.body_len());
    let mut body = message.body_bytes();
    while !body.is_empty() {
        let part = body.split_to(body.len().min(frame::body_part_bytes_max(frame_max)));
        frame::put_body_head(output.buffer(), channel, part.len());
        output.push(part);
        output.buffer().extend_from_slice(&[frame::END]);
    }
}

/// Sends the confirms that are due on every channel.
pub fn confirm(cx: &mut Context<'_>) {
    let Context { session, output, .. } = cx;
    for channel in session.channels.values_mut() {
        let (number, Mode::Confirm(batch)) = (channel.number, &mut channel.mode) else { continue };
        if !batch.confirms.has_frames() || channel.phase != Phase::Open {
            continue;
        }
        let out = output.buffer();
        batch.confirms.next_frames(|answer| match answer {
            Answer::Ack { delivery_tag, multiple } => {
                frame::put_method(out, number, &basic::Ack { delivery_tag, multiple })
            }
            Answer::Nack { delivery_tag, multiple } => {
                frame::put_method(out, number, &basic::Nack { delivery_tag, multiple, requeue: false });
            }
        });
    }
}

fn alarm(cx: &mut Context<'_>, reason: Option<&'static str>) {
    let notify = cx.session.capabilities.connection_blocked;
    match (cx.session.alarm, reason) {
        // Only the next publish blocks: who has only consumed since must go on doing so.
        (Alarm::Clear | Alarm::Raised(_), Some(reason)) => cx.session.alarm = Alarm::Raised(reason),
        (Alarm::Raised(_), None) => cx.session.alarm = Alarm::Clear,
        (Alarm::Blocked, None) => {
            cx.session.alarm = Alarm::Clear;
            cx.session.info.blocked.store(false, Ordering::Relaxed);
            if notify {
                cx.send(0, &connection::Unblocked {});
            }
        }
        (Alarm::Blocked | Alarm::Unconcerned, Some(_)) | (Alarm::Clear | Alarm::Unconcerned, None) => {}
    }
}
