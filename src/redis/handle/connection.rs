//! The connection itself: who is there, which protocol and which name space it uses.

use std::sync::Arc;

use super::{generic::db_of, transaction};
use crate::{
    broker::auth::User,
    redis::{
        Door, VERSION,
        call::Call,
        client::{Client, Login, Silence},
        fault::Fault,
        wire::{number::integer, reply::Resp},
    },
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
    call.client.login = default_login(call.door, call.client);
    call.client.introduce(|shown| shown.name.clear());
    call.reply.resp = Resp::V2;
    call.reply.simple("RESET");
    Ok(())
}

/// Who a client is that has not said so: the default user, if it is on this machine and may be.
#[must_use]
pub fn default_login(door: &Arc<Door>, client: &Client) -> Option<Login> {
    if door.settings.login_required || !client.peer().ip().to_canonical().is_loopback() {
        return None;
    }
    let version = door.broker.users.version();
    enter(door, door.broker.users.user(&door.settings.default_user)?, "/", version)
}

/// A login again, after users have changed; `None`: it is no more.
#[must_use]
pub fn renewed(door: &Arc<Door>, login: &Login) -> Option<Login> {
    let version = door.broker.users.version();
    enter(door, door.broker.users.user(&login.user.name)?, &login.vhost.name, version)
}

fn enter(door: &Arc<Door>, user: Arc<User>, vhost: &str, users_version: u64) -> Option<Login> {
    let vhost = door.broker.vhost(vhost).ok()?;
    user.enters(&vhost.name).then(|| Login::new(user, vhost, users_version))
}

fn log_in(call: &mut Call<'_, '_>, name: &[u8], password: &[u8]) -> Result<(), Fault> {
    let door = call.door;
    let users = &door.broker.users;
    let version = users.version();
    let (name, password) = (text(name)?, text(password)?);
    let (vhost, name) = door.broker.login_name(name);
    let name = if name == "default" { door.settings.default_user.as_str() } else { name };
    let loopback = call.client.peer().ip().to_canonical().is_loopback();
    let user = users.login(name, password, loopback);
    let login = user.ok().and_then(|user| enter(door, user, vhost, version));
    let meters = &door.broker.core.meters;
    match login {
        Some(login) => {
            meters.auth_succeeded.increment();
            if call.client.login.as_ref().is_some_and(|old| !Arc::ptr_eq(&old.vhost, &login.vhost)) {
                // Channels are a vhost's own.
                super::pubsub::forget(call.client);
                call.client.publisher = None;
            }
            call.client.login = Some(login);
            Ok(())
        }
        None => {
            meters.auth_failed.increment();
            tracing::warn!(peer = %call.client.peer(), user = name, "login refused");
            Err(Fault::WrongPass)
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::WrongPass)
}

/// `AUTH [username] password`
pub fn auth(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    match *call.arguments {
        [password] => log_in(call, b"default", password)?,
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
