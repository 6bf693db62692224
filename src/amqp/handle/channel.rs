//! Class 20, channel: opening, flow, closing. (AMQP 0-9-1 §1.5; RabbitMQ refuses `flow(active=false)`.)

use std::sync::atomic::Ordering;

use crate::broker::vhost_settings::MAX_CHANNELS;
use crate::{
    amqp::{
        channel::{Channel, Phase},
        fault::Fault,
        publish,
        session::{Context, Session},
        wire::{
            access::RequestOk,
            channel::{CloseOk, Flow, FlowOk, OpenOk},
        },
    },
    broker::trace::Origin,
};

/// Whether one more channel may be: asked for any frame on a number that is free.
///
/// # Errors
/// When as many channels are open as were negotiated: `channel_max` counts them, it does not bound their numbers.
pub fn room(session: &mut Session) -> Result<(), Fault> {
    let (open, channel_max) = (session.channels.len(), session.channel_max);
    if channel_max != 0 && open >= usize::from(channel_max) {
        return Err(Fault::TooManyChannels { open, channel_max });
    }
    session.refresh_user();
    if let Some(limit) = session.user.limit(MAX_CHANNELS)
        && session.door.broker.connections.channels_of(&session.user.name) as u64 >= limit
    {
        return Err(Fault::UserChannelLimit { user: session.user.name.to_string(), limit });
    }
    Ok(())
}

/// `channel.open` of a number that is free.
pub fn open(cx: &mut Context<'_>, number: u16) {
    let session = &mut *cx.session;
    session.generations += 1;
    let origin =
        Origin { connection: session.info.name().into(), channel: number, user: session.user.name.clone() };
    let channel = Channel::new(session.generations, session.vhost.clone(), origin);
    session.tell_channel_created(&channel);
    session.info.channels.lock().insert(number, channel.info.clone());
    session.channels.insert(number, Box::new(channel));
    session.door.broker.core.meters.channels_opened.increment();
    cx.send(number, &OpenOk { reserved_1: &[] });
}

/// `channel.flow`.
///
/// # Errors
/// When it asks us to stop sending.
pub fn flow(cx: &mut Context<'_>, channel: &Channel, method: &Flow) -> Result<(), Fault> {
    if !method.active {
        return Err(Fault::FlowInactive);
    }
    cx.send(channel.number, &FlowOk { active: true });
    Ok(())
}

/// `channel.close` by the client. The channel is gone with it.
pub fn close(cx: &mut Context<'_>, channel: &mut Channel) {
    if channel.phase == Phase::Open {
        publish::flush_channel(channel, &cx.session.outlet, cx.now_ms);
        cx.wind_up(channel);
    }
    cx.send(channel.number, &CloseOk {});
}

/// Keeps the admin door's figures of a channel.
pub fn show(channel: &Channel) {
    channel.info.unacked.store(channel.unacked.len(), Ordering::Relaxed);
}

/// `access.request`, which RabbitMQ answers and otherwise ignores, as the specification deprecated it.
pub fn access(cx: &mut Context<'_>, channel: &Channel) {
    cx.send(channel.number, &RequestOk { ticket: 1 });
}
