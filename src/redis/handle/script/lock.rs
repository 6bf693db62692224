//! redis-py's `Lock`: a key with a token that only its owner knows.

use super::{Given, holds, perform};
use crate::redis::{call::Call, fault::Fault, wire::number::integer};

pub(super) fn release(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let mine = holds(call, given.key(0), given.argument(0))?;
    if mine {
        call.keys.remove(call.client.db, given.key(0));
    }
    call.reply.flag(mine);
    Ok(())
}

/// Adds to the time left, or replaces it; a lock without one is not extended.
pub(super) fn extend(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let (key, more) = (given.key(0), integer(given.argument(1)).ok_or(Fault::NotInteger)?);
    let expires_at_ms = call.keys.expires_at_ms(call.client.db, key);
    let Some(at_ms) = expires_at_ms.filter(|_| holds(call, key, given.argument(0)) == Ok(true)) else {
        call.reply.flag(false);
        return Ok(());
    };
    let from_ms = if given.argument(2) == b"0" { at_ms } else { call.keys.now_ms };
    call.keys.expire(call.client.db, key, Some(from_ms.saturating_add(more)));
    call.reply.flag(true);
    Ok(())
}

pub(super) fn reacquire(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let mine = holds(call, given.key(0), given.argument(0))?;
    if mine {
        perform(call, &[b"pexpire", given.key(0), given.argument(1)])?;
    }
    call.reply.flag(mine);
    Ok(())
}
