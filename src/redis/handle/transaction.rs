//! `MULTI` … `EXEC`: commands that are done together, nobody else's between them, as one Change of the log.

use std::sync::{Arc, atomic::AtomicBool};

use crate::redis::{
    call::{self, Call},
    client::{Client, Transaction},
    command,
    fault::Fault,
};

pub fn multi(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    if call.client.transaction.is_some() {
        return Err(Fault::err("MULTI calls can not be nested"));
    }
    call.client.transaction = Some(Transaction::default());
    call.reply.ok();
    Ok(())
}

/// Holds a command back until `EXEC`.
///
/// # Errors
/// When that is more than may be held back for one client.
pub fn queue(call: &mut Call<'_, '_>, request: &[&[u8]]) -> Result<(), Fault> {
    let bytes_max = call.door.settings.request_bytes_max;
    let Some(transaction) = &mut call.client.transaction else { return Ok(()) };
    let words = request.iter().map(|word| word.len() + WORD_BYTES).sum::<usize>();
    if transaction.bytes + words > bytes_max {
        transaction.failed = true;
        return Err(Fault::err("the transaction is larger than redis.request_bytes_max"));
    }
    transaction.bytes += words;
    transaction.commands.push(request.iter().map(|&word| word.into()).collect());
    Ok(())
}

/// What a word costs beside its bytes.
const WORD_BYTES: usize = 32;

pub fn discard(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    if call.client.transaction.is_none() {
        return Err(Fault::err("DISCARD without MULTI"));
    }
    forget(call.client);
    call.reply.ok();
    Ok(())
}

pub fn exec(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let Some(transaction) = call.client.transaction.take() else {
        return Err(Fault::err("EXEC without MULTI"));
    };
    let touched = call.client.watched_was_touched();
    unwatch_all(call.client);
    if transaction.failed {
        return Err(Fault::ExecAbort);
    }
    if touched {
        call.reply.null_array();
        return Ok(());
    }
    call.reply.array(transaction.commands.len());
    for request in &transaction.commands {
        let words: Vec<&[u8]> = request.iter().map(|word| &**word).collect();
        perform(call, &words);
    }
    Ok(())
}

/// One command of several; its reply is one of theirs.
fn perform(call: &mut Call<'_, '_>, words: &[&[u8]]) {
    let Some(command) = words.first().and_then(|name| command::find(name)) else { return };
    let mut inner = call.inner(words);
    if let Err(fault) = call::run(&mut inner, command) {
        inner.reply.error(&fault.to_string());
    }
}

pub fn watch(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    if call.client.transaction.is_some() {
        return Err(Fault::err("WATCH inside MULTI is not allowed"));
    }
    let watch = call.client.watch.get_or_insert_with(|| Arc::new(AtomicBool::new(false))).clone();
    for key in call.arguments {
        call.keys.watch(call.client.db, key, &watch);
    }
    call.reply.ok();
    Ok(())
}

pub fn unwatch(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    unwatch_all(call.client);
    call.reply.ok();
    Ok(())
}

/// Nothing is held back any more, and nothing watched.
pub fn forget(client: &mut Client) {
    client.transaction = None;
    unwatch_all(client);
}

/// The client watches nothing any more.
pub(super) fn unwatch_all(client: &mut Client) {
    client.watch = None;
}
