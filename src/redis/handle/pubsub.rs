//! Channels. What is published goes on to the exchange `redis.pubsub` (`afterwards.rs`), so that AMQP's queues may be bound
//! to it, and what AMQP's clients publish there is heard here.

use std::sync::Arc;

use super::subcommand::{self, Subcommand};
use crate::{
    broker::{
        channels::{By, EXCHANGE, Heard},
        login::Login,
        refusal::Access,
        vhost::Vhost,
    },
    data::glob,
    redis::{
        call::Call,
        client::Client,
        fault::{Fault, Permission},
        wire::reply::Reply,
    },
};

fn vhost(client: &Client) -> Result<Arc<Vhost>, Fault> {
    client.login.as_ref().map(|login| login.vhost.clone()).ok_or(Fault::NoAuth)
}

/// Whether the client may do that with the channels' exchange, and with these channels.
fn allow(login: Option<&Login>, access: Access, channels: &[&[u8]]) -> Result<(), Fault> {
    let login = login.ok_or(Fault::NoAuth)?;
    let (user, vhost) = (&login.user, &*login.vhost.name);
    let may = login.unrestricted && user.topic_permissions.is_empty()
        || user.may(access, vhost, EXCHANGE)
            && channels
                .iter()
                .all(|channel| user.may_topic(access, vhost, EXCHANGE, &String::from_utf8_lossy(channel)));
    if may { Ok(()) } else { Err(Fault::NoPermission(Permission::Channel)) }
}

/// The longest routing key; longer channels are for Redis' clients only.
const ROUTING_KEY_MAX: usize = 255;

pub fn publish(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (channel, message) = (call.argument(0), call.argument(1));
    allow(call.client.login.as_ref(), Access::Write, &[channel])?;
    let vhost = vhost(call.client)?;
    if vhost.find_exchange(EXCHANGE).is_some_and(|exchange| exchange.options.internal) {
        return Err(Fault::err("the exchange redis.pubsub takes no messages"));
    }
    // Now: so what is published to a channel is heard in the order in which the keys have changed.
    let heard = vhost.channels.tell(channel, message);
    if let Ok(routing_key) = std::str::from_utf8(channel)
        && routing_key.len() <= ROUTING_KEY_MAX
    {
        call.client.afterwards.publish(&vhost, routing_key, message);
    }
    call.reply.count(heard);
    Ok(())
}

/// Listens to names or patterns, one reply for each.
fn listen(call: &mut Call<'_, '_>, by: By, word: &str) -> Result<(), Fault> {
    allow(call.client.login.as_ref(), Access::Read, call.arguments)?;
    let vhost = vhost(call.client)?;
    call.client.afterwards.need_exchange(&vhost);
    for &name in call.arguments {
        if call.client.listens(by).insert(name.to_vec()) {
            vhost.channels.listen(by, name, call.client.info.id, &call.client.outlet);
        }
        tell(&mut call.reply, word, Some(name), call.client.subscriptions());
    }
    Ok(())
}

fn tell(reply: &mut Reply<'_>, word: &str, name: Option<&[u8]>, subscriptions: usize) {
    reply.push(3);
    reply.text(word);
    reply.bulk_or_null(name);
    reply.count(subscriptions);
}

pub fn subscribe(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    listen(call, By::Channel, "subscribe")
}

pub fn psubscribe(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    listen(call, By::Pattern, "psubscribe")
}

/// Listens no more to those named, or to any.
fn listen_no_more(call: &mut Call<'_, '_>, by: By, word: &str) -> Result<(), Fault> {
    let names: Vec<Vec<u8>> = if call.arguments.is_empty() {
        call.client.listens(by).iter().cloned().collect()
    } else {
        call.arguments.iter().map(|name| name.to_vec()).collect()
    };
    if names.is_empty() {
        tell(&mut call.reply, word, None, call.client.subscriptions());
    }
    let vhost = vhost(call.client)?;
    for name in &names {
        if call.client.listens(by).remove(name) {
            vhost.channels.listen_no_more(by, name, call.client.info.id);
        }
        tell(&mut call.reply, word, Some(name), call.client.subscriptions());
    }
    Ok(())
}

pub fn unsubscribe(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    listen_no_more(call, By::Channel, "unsubscribe")
}

pub fn punsubscribe(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    listen_no_more(call, By::Pattern, "punsubscribe")
}

/// The client listens to nothing any more.
pub fn forget(client: &mut Client) {
    let (channels, patterns) = (std::mem::take(&mut client.channels), std::mem::take(&mut client.patterns));
    let Some(login) = &client.login else { return };
    for (by, names) in [(By::Channel, channels), (By::Pattern, patterns)] {
        names.iter().for_each(|name| login.vhost.channels.listen_no_more(by, name, client.info.id));
    }
}

/// What a listener hears.
pub fn heard(reply: &mut Reply<'_>, heard: &Heard) {
    match &heard.pattern {
        None => {
            reply.push(3);
            reply.text("message");
        }
        Some(pattern) => {
            reply.push(4);
            reply.text("pmessage");
            reply.bulk(pattern);
        }
    }
    reply.bulk(&heard.channel);
    reply.bulk(&heard.message);
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand("channels", -2, "[pattern]", "Channels that somebody listens to.", channels),
    Subcommand("numpat", 2, "", "How many patterns are listened to.", numpat),
    Subcommand("numsub", -2, "[channel …]", "How many listen to each of these channels.", numsub),
];

pub fn pubsub(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let vhost = vhost(call.client)?;
    if vhost.channels.any() {
        // Whoever is told that somebody listens may bind a queue to the exchange at once.
        call.client.afterwards.need_exchange(&vhost);
    }
    subcommand::run(call, "pubsub", SUBCOMMANDS)
}

fn channels(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let pattern = match *call.rest(1) {
        [] => b"*",
        [pattern] => pattern,
        _ => {
            let name = call.argument(0).to_vec();
            return Err(Fault::SubcommandSyntax { command: "pubsub", name });
        }
    };
    let names = vhost(call.client)?.channels.names();
    let names: Vec<_> = names.into_iter().filter(|name| glob::matches(pattern, name)).collect();
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name));
    Ok(())
}

fn numsub(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (vhost, names) = (vhost(call.client)?, call.rest(1));
    call.reply.array(names.len() * 2);
    for name in names {
        call.reply.bulk(name);
        call.reply.count(vhost.channels.listeners(name));
    }
    Ok(())
}

fn numpat(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let patterns = vhost(call.client)?.channels.patterns();
    call.reply.count(patterns);
    Ok(())
}
