//! One command on its way to its handler: who asks, with which arguments, and what a handler may reach.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;

use super::{
    Door,
    client::{Client, Silence},
    command::{self, Command, DENYOOM, Group, NO_AUTH, PUBSUB, WRITE},
    fault::{self, Fault, Permission},
    handle::transaction,
    wire::{
        number::{float, integer},
        reply::{Reply, Resp},
    },
};
use crate::broker::{
    keyspace::{Access, state::WrongType, value::OfKind, waiters::Db},
    refusal,
};

/// A command, and everything it may touch. `'k` is the visit to the keys.
pub struct Call<'a, 'k> {
    /// Behind the command's name.
    pub arguments: &'a [&'a [u8]],
    pub client: &'a mut Client,
    pub keys: &'a mut Access<'k>,
    pub reply: Reply<'a>,
    pub door: &'a Arc<Door>,
    pub now: Instant,
    /// It comes by itself, not in a transaction, so it may wait.
    pub alone: bool,
}

impl<'a, 'k> Call<'a, 'k> {
    /// A request that came by itself: its name and its arguments. Replies are appended to `out`.
    pub fn new(
        request: &'a [&'a [u8]],
        out: &'a mut BytesMut,
        client: &'a mut Client,
        keys: &'a mut Access<'k>,
        (door, now): (&'a Arc<Door>, Instant),
    ) -> Self {
        let arguments = request.get(1..).unwrap_or_default();
        let reply = Reply { out, resp: client.resp };
        Self { arguments, client, keys, reply, door, now, alone: true }
    }

    /// One of several: a transaction's, or a script's. Its reply is one of this one's.
    pub fn inner<'b>(&'b mut self, request: &'b [&'b [u8]]) -> Call<'b, 'k>
    where
        'a: 'b,
    {
        let to = (self.door, self.now);
        Call { alone: false, ..Call::new(request, self.reply.out, self.client, self.keys, to) }
    }

    /// An argument; nothing where there is none, which the command's arity rules out.
    #[must_use]
    pub fn argument(&self, at: usize) -> &'a [u8] {
        self.arguments.get(at).copied().unwrap_or_default()
    }

    /// The arguments from there on.
    #[must_use]
    pub fn rest(&self, from: usize) -> &'a [&'a [u8]] {
        self.arguments.get(from..).unwrap_or_default()
    }

    /// # Errors
    /// The argument is no whole number.
    pub fn integer(&self, at: usize) -> Result<i64, Fault> {
        integer(self.argument(at)).ok_or(Fault::NotInteger)
    }

    /// # Errors
    /// The argument is no number.
    pub fn float(&self, at: usize) -> Result<f64, Fault> {
        float(self.argument(at)).ok_or(Fault::NotFloat)
    }

    /// What a key holds. A request that waited and is done again goes on waiting for what it can use: to it a value of
    /// another type is none.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn awaited<T: OfKind>(&self, key: &[u8]) -> Result<Option<&T>, Fault> {
        match self.keys.get::<T>(self.client.db, key) {
            Err(WrongType) if self.client.again_until.is_some() => Ok(None),
            found => Ok(found?),
        }
    }

    #[must_use]
    pub fn db(&self) -> Db {
        self.client.db
    }
}

/// Handles a request: its reply is written, whatever becomes of it. Returns the command's name, if it is one.
pub fn handle(call: &mut Call<'_, '_>, request: &[&[u8]]) -> Option<&'static str> {
    let (name, arguments) = request.split_first()?;
    let silence = call.client.silence;
    let before = call.reply.out.len();
    let meters = &call.door.broker.core.meters;
    let found = command::find_numbered(name);
    let refused = match found {
        None if is_http(name) => {
            tracing::warn!(
                peer = %call.client.peer(),
                "HTTP at the Redis door: somebody may be made to talk to it; the connection is closed"
            );
            call.client.dropped = true;
            return None;
        }
        None => {
            fail_transaction(call);
            let arguments =
                arguments.iter().take(SHOWN_ARGUMENTS).map(|argument| argument.to_vec()).collect();
            Err(Fault::UnknownCommand { name: name.to_vec(), arguments })
        }
        Some((number, command)) => {
            meters.redis_calls.count(number);
            run_or_queue(call, command, request)
        }
    };
    if let Err(fault) = refused {
        let text = fault.to_string();
        call.door.broker.core.meters.redis_errors.count(fault::code_number(&text));
        call.reply.error(&text);
    }
    if silence != Silence::Off {
        call.reply.out.truncate(before);
        if silence == Silence::Next && call.client.silence == Silence::Next {
            call.client.silence = Silence::Off;
        }
    }
    found.map(|(_, command)| command.name)
}

/// What a browser says first, made by somebody else to speak to a Redis on its machine.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

fn run_or_queue(call: &mut Call<'_, '_>, command: &'static Command, request: &[&[u8]]) -> Result<(), Fault> {
    if let Err(refused) = admit(call, command, request) {
        if command.name == "exec" {
            transaction::forget(call.client);
            return Err(Fault::ExecRefused(refused.into()));
        }
        fail_transaction(call);
        return Err(refused);
    }
    match &call.client.transaction {
        Some(_) if !command.runs_in_transaction() => {
            transaction::queue(call, request)?;
            call.reply.simple("QUEUED");
            Ok(())
        }
        Some(_) | None => run(call, command),
    }
}

/// A command was refused before it was done: `EXEC` will refuse them all.
fn fail_transaction(call: &mut Call<'_, '_>) {
    if let Some(transaction) = &mut call.client.transaction {
        transaction.failed = true;
    }
}

/// Calls the command's handler.
///
/// # Errors
/// What the handler refuses.
pub fn run(call: &mut Call<'_, '_>, command: &'static Command) -> Result<(), Fault> {
    (command.handler)(call)
}

/// Redis' checks before a command, in its order.
///
/// # Errors
/// What the command is refused for.
pub(super) fn admit(call: &Call<'_, '_>, command: &'static Command, request: &[&[u8]]) -> Result<(), Fault> {
    if !command.takes(request.len()) {
        return Err(Fault::WrongArity(command.name.into()));
    }
    let Some(login) = &call.client.login else {
        return if command.has(NO_AUTH) { Ok(()) } else { Err(Fault::NoAuth) };
    };
    if !login.unrestricted {
        let access = if command.has(WRITE) || command.group == Group::Scripting {
            refusal::Access::Write
        } else {
            refusal::Access::Read
        };
        if !command.keys_of(request).all(|key| login.may(access, call.client.db, key)) {
            return Err(Fault::NoPermission(Permission::Key));
        }
    }
    let core = &call.door.broker.core;
    if command.has(WRITE)
        && let Some(error) = core.store.poisoned()
    {
        return Err(Fault::Persistence(error.to_string()));
    }
    if command.has(DENYOOM)
        && let Some(reason) = core.memory.reason()
    {
        return Err(if reason.contains("memory") {
            Fault::OutOfMemory
        } else {
            Fault::Persistence("No space left on device".to_owned())
        });
    }
    let listens = call.client.resp == Resp::V2 && call.client.subscriptions() > 0;
    if listens && !(command.has(PUBSUB) && command.name.ends_with("subscribe")) && !command.is_for_listeners()
    {
        return Err(Fault::Subscribed(command.name.to_owned()));
    }
    Ok(())
}

/// Arguments looked at for the text of an unknown command.
const SHOWN_ARGUMENTS: usize = 64;
