//! The connection itself: who is there, which protocol and which name space it uses.

use std::sync::Arc;

use super::{generic::db_of, transaction};
use crate::redis::{
    VERSION,
    call::Call,
    client::Silence,
    fault::Fault,
    login::DEFAULT,
    wire::{number::integer, reply::Resp},
};

pub fn ping(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let message = match call.arguments {
        [] => None,
        [message] => Some(*message),
        _ => return Err(Fault::WrongArity("ping".into())),
    };
    if call.client.resp == Resp::V2 && call.client.subscriptions() > 0 {
        call.reply.array(2);
        call.reply.text("pong");
        call.reply.bulk(message.unwrap_or_default());
    } else {
        match message {
            Some(message) => call.reply.bulk(message),
            None => call.reply.simple("PONG"),
        }
    }
    Ok(())
}

pub fn echo(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    call.reply.bulk(call.argument(0));
    Ok(())
}

pub fn select(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    call.client.db = db_of(call.argument(0))?;
    call.reply.ok();
    Ok(())
}

pub fn quit(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    call.reply.ok();
    call.client.closing = true;
    Ok(())
}

/// As if the client had just come.
pub fn reset(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    transaction::forget(call.client);
    super::pubsub::forget(call.client);
    call.client.db = 0;
    call.client.resp = Resp::V2;
    call.client.silence = Silence::Off;
    call.client.login = call.door.default_login(call.client.peer());
    call.client.introduce(|shown| shown.name.clear());
    call.reply.resp = Resp::V2;
    call.reply.simple("RESET");
    Ok(())
}

fn log_in(call: &mut Call<'_, '_>, name: &[u8], password: &[u8]) -> Result<(), Fault> {
    let login = call.door.log_in(name, password, call.client.peer())?;
    if call.client.login.as_ref().is_some_and(|old| !Arc::ptr_eq(&old.vhost, &login.vhost)) {
        // Channels are a vhost's own.
        super::pubsub::forget(call.client);
    }
    call.client.login = Some(login);
    Ok(())
}

/// `AUTH [username] password`
pub fn auth(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    match *call.arguments {
        [password] => log_in(call, DEFAULT, password)?,
        [user, password] => log_in(call, user, password)?,
        _ => return Err(Fault::Syntax),
    }
    call.reply.ok();
    Ok(())
}

/// `HELLO [protover [AUTH username password] [SETNAME name]]`
pub fn hello(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let resp = match call.arguments.first() {
        None => call.client.resp,
        Some(version) => match integer(version) {
            None => return Err(Fault::err("Protocol version is not an integer or out of range")),
            Some(2) => Resp::V2,
            Some(3) => Resp::V3,
            Some(_) => return Err(Fault::NoProtocol),
        },
    };
    let (mut options, mut name) = (call.rest(1), None);
    while let Some((word, rest)) = options.split_first() {
        options = match (word.to_ascii_lowercase().as_slice(), rest) {
            (b"auth", [user, password, rest @ ..]) => {
                log_in(call, user, password)?;
                rest
            }
            (b"setname", [client, rest @ ..]) => {
                name = Some(super::client::name_of(client)?);
                rest
            }
            _ => {
                let word = String::from_utf8_lossy(word);
                return Err(Fault::Err(format!("Syntax error in HELLO option '{word}'").into()));
            }
        };
    }
    if call.client.login.is_none() {
        return Err(Fault::HelloWithoutAuth);
    }
    if let Some(name) = name {
        call.client.introduce(|shown| shown.name = name);
    }
    call.client.resp = resp;
    call.reply.resp = resp;
    call.reply.map(7);
    call.reply.text("server");
    call.reply.text("redis");
    call.reply.text("version");
    call.reply.text(VERSION);
    call.reply.text("proto");
    call.reply.integer(if resp == Resp::V3 { 3 } else { 2 });
    call.reply.text("id");
    call.reply.integer(call.client.info.id.0.cast_signed());
    call.reply.text("mode");
    call.reply.text("standalone");
    call.reply.text("role");
    call.reply.text("master");
    call.reply.text("modules");
    call.reply.array(0);
    Ok(())
}
