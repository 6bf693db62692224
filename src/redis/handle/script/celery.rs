//! celery's chords with their results in Redis: parts are counted as they come, and one worker goes on with them.
//!
//! Keys: the parts' results, what the number of parts grew by, that number, the parts that are done, the group's result,
//! and who goes on.

use super::{Given, holds, perform};
use crate::{
    broker::{
        keyspace::{fields::Set, sorted::Sorted, text::Text},
        list::List,
    },
    redis::{
        call::Call,
        fault::Fault,
        wire::number::{float, score},
    },
};

/// Replaces the claim once the chord is over, so that a part that is done twice begins nothing anew.
const DONE: &[u8] = b"done";

/// A number of the script's, and how it says it to a command.
fn number(argument: &[u8]) -> Result<(f64, Vec<u8>), Fault> {
    let number = float(argument).ok_or(Fault::NotFloat)?;
    Ok((number, score(number).into_bytes()))
}

/// A part is done. Says how many are, how many there were to be, and whether this worker goes on with them.
pub(super) fn part_return(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let [results, grown, size, done, group, claim] = given.keys();
    let [task, value, ordered, place, expires, group_expires, claim_expires, token] = given.arguments();
    if holds(call, claim, DONE)? {
        call.reply.array(4);
        [-1, 0, 0, 0].into_iter().for_each(|n| call.reply.integer(n));
        return Ok(());
    }
    let (db, ordered) = (call.db(), ordered == b"1");
    let part = [task, b":", place].concat();
    if !call.keys.get::<Set>(db, done)?.is_some_and(|parts| parts.contains(&part)) {
        if ordered {
            perform(call, &[b"zadd", results, place, value])?;
        } else {
            perform(call, &[b"rpush", results, value])?;
        }
        perform(call, &[b"sadd", done, &part])?;
    }
    let ready = if ordered {
        call.keys.get::<Sorted>(db, results)?.map_or(0, Sorted::len)
    } else {
        call.keys.get::<List>(db, results)?.map_or(0, List::len)
    };
    let ((expires, expires_text), (group_expires, group_expires_text)) =
        (number(expires)?, number(group_expires)?);
    if expires > 0.0 {
        for key in [results, grown, size, done] {
            perform(call, &[b"expire", key, &expires_text])?;
        }
        if group_expires > 0.0 {
            perform(call, &[b"expire", group, &group_expires_text])?;
        }
    }
    let text = |key| Ok::<_, Fault>(call.keys.get::<Text>(db, key)?.map(|text| text.as_bytes().to_vec()));
    let (grown, size) = (text(grown)?, text(size)?);
    let is_whole = match &size {
        Some(size) => {
            let grown = grown.as_deref().map_or(Ok(0.0), |grown| number(grown).map(|(n, _)| n))?;
            ready as f64 == number(size)?.0 + grown
        }
        None => false,
    };
    let claims = is_whole && call.keys.kind(db, claim).is_none();
    if claims {
        perform(call, &[b"set", claim, token, b"NX", b"EX", &number(claim_expires)?.1])?;
    }
    call.reply.array(4);
    call.reply.count(ready);
    call.reply.bulk_or_null(grown.as_deref());
    call.reply.bulk_or_null(size.as_deref());
    call.reply.flag(claims);
    Ok(())
}

/// Whoever goes on with the chord needs longer, or begins again after its claim has expired.
pub(super) fn extend_claim(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let [claim, size] = given.keys();
    let [token, expires] = given.arguments();
    let is_mine = holds(call, claim, token)?;
    let is_free = call.keys.kind(call.client.db, claim).is_none();
    if is_mine {
        perform(call, &[b"expire", claim, &number(expires)?.1])?;
    } else if is_free && call.keys.kind(call.client.db, size).is_some() {
        perform(call, &[b"set", claim, token, b"EX", &number(expires)?.1, b"NX"])?;
    } else {
        call.reply.flag(false);
        return Ok(());
    }
    call.reply.flag(true);
    Ok(())
}

/// The chord is over: what was counted goes.
pub(super) fn clean_up(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let [claim, rest @ ..] = given.keys::<5>();
    let [token, done_expires] = given.arguments();
    let is_mine = holds(call, claim, token)?;
    if is_mine {
        for key in rest {
            call.keys.remove(call.client.db, key);
        }
        if let Ok((seconds, text)) = number(done_expires)
            && seconds > 0.0
        {
            perform(call, &[b"set", claim, DONE, b"EX", &text])?;
        }
    }
    call.reply.flag(is_mine);
    Ok(())
}
