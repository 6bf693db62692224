//! Commands that wait for a key to have something.
//!
//! In a transaction nobody waits: they answer at once that there is nothing, as Redis does.

use std::time::{Duration, Instant};

use super::{
    list::{many_keys, pop_of_any},
    sorted_set,
};
use crate::{
    broker::{
        keyspace::{
            sorted::Sorted,
            value::Kind,
            waiters::{ServedWith, Wants},
        },
        list::{End, List},
    },
    data::long_double::LongDouble,
    redis::{
        call::Call,
        client::{Blocked, Shape, end},
        fault::Fault,
        wire::reply::Reply,
    },
};

/// How long to wait, in seconds; 0 is for ever. `None`: for ever.
fn timeout(argument: &[u8]) -> Result<Option<Duration>, Fault> {
    let seconds =
        LongDouble::parse(argument).ok_or(Fault::err("timeout is not a float or out of range"))?.to_f64();
    let ms = (seconds * 1000.0).ceil();
    // What does not fit comes out negative, in Redis too.
    if ms < 0.0 || ms >= i64::MAX as f64 {
        return Err(Fault::err("timeout is negative"));
    }
    let timeout = Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX);
    Ok((!timeout.is_zero()).then_some(timeout))
}

/// Waits, or says at once that there is nothing.
fn block(call: &mut Call<'_, '_>, keys: &[&[u8]], timeout: Option<Duration>, (wants, shape): (Wants, Shape)) {
    if !call.alone {
        match shape {
            Shape::KeyAndElement | Shape::KeyAndElements | Shape::Again(_) => call.reply.null_array(),
            Shape::Element => call.reply.null(),
        }
        return;
    }
    let until = timeout.and_then(|timeout| call.now.checked_add(timeout));
    wait(call, keys, until, (wants, shape));
}

/// Waits for one of these keys to hold something new of that kind; then the request is done again. One that finds nothing
/// then, because others were faster, waits as long as it would have.
pub(super) fn ask_again(
    call: &mut Call<'_, '_>,
    keys: &[&[u8]],
    timeout: Option<Duration>,
    (kind, request): (Kind, Vec<Box<[u8]>>),
) {
    let until = match call.client.again_until.take() {
        Some(until) => until,
        None => timeout.and_then(|timeout| call.now.checked_add(timeout)),
    };
    wait(call, keys, until, (Wants::News(kind), Shape::Again(request)));
}

fn wait(call: &mut Call<'_, '_>, keys: &[&[u8]], until: Option<Instant>, (wants, shape): (Wants, Shape)) {
    let keys = keys.iter().map(|&key| key.into()).collect();
    let waiter = call.keys.wait(call.client.db, keys, wants, call.client.outlet.clone());
    call.client.blocked = Some(Blocked { waiter, until, shape });
}

/// What a client waited for has come.
pub fn served(reply: &mut Reply<'_>, shape: &Shape, with: &ServedWith) {
    match with {
        ServedWith::Elements { key, elements, .. } => {
            reply.array(2);
            reply.bulk(key);
            match shape {
                Shape::KeyAndElements => {
                    reply.array(elements.len());
                    elements.iter().for_each(|element| reply.bulk(element));
                }
                Shape::KeyAndElement | Shape::Element | Shape::Again(_) => {
                    reply.bulk_or_null(elements.first().map(|element| &**element));
                }
            }
        }
        ServedWith::Moved(element) => reply.bulk(element),
        // The request itself is the answer.
        ServedWith::News => {}
        ServedWith::WrongType => reply.error(&Fault::WrongType.to_string()),
    }
}

/// `BLPOP key … timeout`
fn pop(call: &mut Call<'_, '_>, from: End) -> Result<(), Fault> {
    let (last, keys) = call.arguments.split_last().ok_or(Fault::Syntax)?;
    let timeout = timeout(last)?;
    for key in keys {
        let popped = call.keys.pop(call.client.db, key, from, 1)?;
        if let Some(element) = popped.and_then(|mut elements| elements.pop()) {
            call.reply.array(2);
            call.reply.bulk(key);
            call.reply.bulk(&element);
            return Ok(());
        }
    }
    block(call, keys, timeout, (Wants::Elements { from, count: 1 }, Shape::KeyAndElement));
    Ok(())
}

pub fn blpop(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    pop(call, End::Left)
}

pub fn brpop(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    pop(call, End::Right)
}

/// `BZPOPMIN key … timeout`
fn pop_scored(call: &mut Call<'_, '_>, name: &'static [u8], from: End) -> Result<(), Fault> {
    let (last, keys) = call.arguments.split_last().ok_or(Fault::Syntax)?;
    let timeout = timeout(last)?;
    for key in keys {
        if call.awaited::<Sorted>(key)?.is_none() {
            continue;
        }
        if let Some((member, score)) = sorted_set::pop_first(call, key, from, 1)?.pop() {
            call.reply.array(3);
            call.reply.bulk(key);
            call.reply.bulk(&member);
            call.reply.double(score);
            return Ok(());
        }
    }
    if !call.alone {
        call.reply.null_array();
        return Ok(());
    }
    let request = std::iter::once(name).chain(call.arguments.iter().copied()).map(Into::into).collect();
    ask_again(call, keys, timeout, (Kind::Sorted, request));
    Ok(())
}

pub fn bzpopmin(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    pop_scored(call, b"bzpopmin", End::Left)
}

pub fn bzpopmax(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    pop_scored(call, b"bzpopmax", End::Right)
}

/// `BLMPOP timeout numkeys key … LEFT|RIGHT [COUNT count]`
pub fn blmpop(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (first, rest) = call.arguments.split_first().ok_or(Fault::Syntax)?;
    let asked = many_keys(rest)?;
    let timeout = timeout(first)?;
    if !pop_of_any(call, &asked)? {
        let wants = Wants::Elements { from: asked.from, count: asked.count };
        block(call, asked.keys, timeout, (wants, Shape::KeyAndElements));
    }
    Ok(())
}

/// `BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout`
pub fn blmove(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let from = end(call.argument(2)).ok_or(Fault::Syntax)?;
    let to = end(call.argument(3)).ok_or(Fault::Syntax)?;
    move_or_wait(call, from, to, call.argument(4))
}

pub fn brpoplpush(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    move_or_wait(call, End::Right, End::Left, call.argument(2))
}

fn move_or_wait(call: &mut Call<'_, '_>, from: End, to: End, last: &[u8]) -> Result<(), Fault> {
    let timeout = timeout(last)?;
    let (db, source, destination) = (call.db(), call.argument(0), call.argument(1));
    if call.keys.get::<List>(db, source)?.is_some() {
        let moved = call.keys.move_element(db, (source, from), (destination, to))?;
        call.reply.bulk_or_null(moved.as_deref());
        return Ok(());
    }
    let wants = Wants::Move { from, to, destination: destination.into() };
    block(call, &[source], timeout, (wants, Shape::Element));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_in_seconds_and_zero_is_for_ever() {
        assert_eq!(timeout(b"0"), Ok(None));
        assert_eq!(timeout(b"0.5"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(timeout(b"0.0001"), Ok(Some(Duration::from_millis(1))));
        assert_eq!(timeout(b"-1").unwrap_err().to_string(), "ERR timeout is negative");
        assert_eq!(timeout(b"1e400").unwrap_err().to_string(), "ERR timeout is negative");
        assert_eq!(timeout(b"x").unwrap_err().to_string(), "ERR timeout is not a float or out of range");
    }
}
