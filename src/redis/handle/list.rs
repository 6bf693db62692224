//! Lists. What waits for an element is in `blocking.rs`.

pub use super::blocking::{blmove, blmpop, blpop, brpop, brpoplpush};

use super::parts;
use crate::{
    broker::list::{End, List, Search, Side},
    redis::{call::Call, client::end, fault::Fault, wire::number::integer},
};

fn push(call: &mut Call<'_, '_>, to: End, only_existing: bool) -> Result<(), Fault> {
    let (db, key, elements) = (call.db(), call.argument(0), call.rest(1));
    if only_existing && call.keys.get::<List>(db, key)?.is_none() {
        call.reply.integer(0);
        return Ok(());
    }
    let len = call.keys.push(db, key, to, elements.iter().copied())?;
    call.reply.count(len);
    Ok(())
}

pub fn lpush(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    push(call, End::Left, false)
}

pub fn rpush(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    push(call, End::Right, false)
}

pub fn lpushx(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    push(call, End::Left, true)
}

pub fn rpushx(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    push(call, End::Right, true)
}

/// `LPOP key [count]`
fn pop(call: &mut Call<'_, '_>, command: &'static str, from: End) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let count = match *call.rest(1) {
        [] => None,
        [count] => {
            let count = integer(count).and_then(|n| usize::try_from(n).ok());
            Some(count.ok_or(Fault::err("value is out of range, must be positive"))?)
        }
        _ => return Err(Fault::WrongArity(command.into())),
    };
    if count == Some(0) && call.keys.get::<List>(db, key)?.is_some() {
        call.reply.array(0);
        return Ok(());
    }
    match (call.keys.pop(db, key, from, count.unwrap_or(1))?, count) {
        (None, None) => call.reply.null(),
        (None, Some(_)) => call.reply.null_array(),
        (Some(elements), None) => call.reply.bulk_or_null(elements.first().map(|element| &**element)),
        (Some(elements), Some(_)) => {
            call.reply.array(elements.len());
            elements.iter().for_each(|element| call.reply.bulk(element));
        }
    }
    Ok(())
}

pub fn lpop(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    pop(call, "lpop", End::Left)
}

pub fn rpop(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    pop(call, "rpop", End::Right)
}

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`
pub fn lmove(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let from = end(call.argument(2)).ok_or(Fault::Syntax)?;
    let to = end(call.argument(3)).ok_or(Fault::Syntax)?;
    move_now(call, from, to).map(drop)
}

pub fn rpoplpush(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    move_now(call, End::Right, End::Left).map(drop)
}

fn move_now(call: &mut Call<'_, '_>, from: End, to: End) -> Result<(), Fault> {
    let (source, destination) = (call.argument(0), call.argument(1));
    let moved = call.keys.move_element(call.client.db, (source, from), (destination, to))?;
    call.reply.bulk_or_null(moved.as_deref());
    Ok(())
}

/// What `LMPOP` and `BLMPOP` ask for.
pub(super) struct ManyKeys<'a> {
    pub(super) keys: &'a [&'a [u8]],
    pub(super) from: End,
    pub(super) count: usize,
}

fn positive(word: &[u8]) -> Option<usize> {
    integer(word).and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0)
}

/// `numkeys key … LEFT|RIGHT [COUNT count]`
pub(super) fn many_keys<'a>(arguments: &'a [&'a [u8]]) -> Result<ManyKeys<'a>, Fault> {
    let (first, rest) = arguments.split_first().ok_or(Fault::Syntax)?;
    let number = positive(first).ok_or(Fault::err("numkeys should be greater than 0"))?;
    let (keys, rest) = rest.split_at_checked(number).ok_or(Fault::Syntax)?;
    let (which, options) = rest.split_first().ok_or(Fault::Syntax)?;
    let from = end(which).ok_or(Fault::Syntax)?;
    let (count, rest) = match *options {
        [word, count, ref rest @ ..] if word.eq_ignore_ascii_case(b"count") => {
            (positive(count).ok_or(Fault::err("count should be greater than 0"))?, rest)
        }
        ref rest => (1, rest),
    };
    if rest.is_empty() { Ok(ManyKeys { keys, from, count }) } else { Err(Fault::Syntax) }
}

pub fn lmpop(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let asked = many_keys(call.arguments)?;
    if !pop_of_any(call, &asked)? {
        call.reply.null_array();
    }
    Ok(())
}

/// Elements of the first of these lists that has some; false when none has.
pub(super) fn pop_of_any(call: &mut Call<'_, '_>, asked: &ManyKeys<'_>) -> Result<bool, Fault> {
    for key in asked.keys {
        if let Some(elements) = call.keys.pop(call.client.db, key, asked.from, asked.count)? {
            call.reply.array(2);
            call.reply.bulk(key);
            call.reply.array(elements.len());
            elements.iter().for_each(|element| call.reply.bulk(element));
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn llen(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    parts::count(call, List::len)
}

pub fn lrange(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (start, stop) = (call.integer(1)?, call.integer(2)?);
    let Some(list) = call.keys.get::<List>(call.client.db, call.argument(0))? else {
        call.reply.array(0);
        return Ok(());
    };
    let elements = list.range(start, stop);
    call.reply.array(elements.len());
    elements.for_each(|element| call.reply.bulk(element));
    Ok(())
}

pub fn lindex(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let list = call.keys.get::<List>(call.client.db, call.argument(0))?;
    let Some(list) = list else {
        call.reply.null();
        return Ok(());
    };
    let index = integer(call.arguments.get(1).copied().unwrap_or_default()).ok_or(Fault::NotInteger)?;
    call.reply.bulk_or_null(list.get(index));
    Ok(())
}

pub fn lset(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, element) = (call.db(), call.argument(0), call.argument(2));
    if call.keys.get::<List>(db, key)?.is_none() {
        return Err(Fault::NoSuchKey);
    }
    let index = call.integer(1)?;
    match call.keys.change(db, key, |list: &mut List, slots| list.set(index, element, slots))? {
        Some(true) => {
            call.reply.ok();
            Ok(())
        }
        Some(false) | None => Err(Fault::err("index out of range")),
    }
}

/// `LINSERT key BEFORE|AFTER pivot element`
pub fn linsert(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, pivot, element) = (call.db(), call.argument(0), call.argument(2), call.argument(3));
    let side = match call.argument(1) {
        word if word.eq_ignore_ascii_case(b"before") => Side::Before,
        word if word.eq_ignore_ascii_case(b"after") => Side::After,
        _ => return Err(Fault::Syntax),
    };
    let inserted = call.keys.change(db, key, |list: &mut List, slots| {
        list.insert(side, pivot, element, slots).then(|| list.len())
    })?;
    match inserted {
        None => call.reply.integer(0),
        Some(None) => call.reply.integer(-1),
        Some(Some(len)) => call.reply.count(len),
    }
    Ok(())
}

pub fn lrem(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, count, element) = (call.db(), call.argument(0), call.integer(1)?, call.argument(2));
    let removed = call.keys.change(db, key, |list: &mut List, slots| list.remove(count, element, slots))?;
    call.reply.count(removed.unwrap_or(0));
    Ok(())
}

pub fn ltrim(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, start, stop) = (call.db(), call.argument(0), call.integer(1)?, call.integer(2)?);
    call.keys.change(db, key, |list: &mut List, slots| list.trim(start, stop, slots))?;
    call.reply.ok();
    Ok(())
}

/// `LPOS key element [RANK rank] [COUNT count] [MAXLEN len]`
pub fn lpos(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (search, all) = search(call.rest(2))?;
    let list = call.keys.get::<List>(call.client.db, call.argument(0))?;
    let found = list.map(|list| list.positions(call.argument(1), search)).unwrap_or_default();
    if all {
        call.reply.array(found.len());
        found.iter().for_each(|&at| call.reply.count(at));
    } else {
        match found.first() {
            Some(&at) => call.reply.count(at),
            None => call.reply.null(),
        }
    }
    Ok(())
}

/// What to look for, and whether the answer is a list.
fn search(options: &[&[u8]]) -> Result<(Search, bool), Fault> {
    let mut search = Search { rank: 1, count: 1, compared_max: 0 };
    let mut all = false;
    for option in options.chunks(2) {
        let [word, value] = *option else { return Err(Fault::Syntax) };
        let count = integer(value).and_then(|n| usize::try_from(n).ok());
        match word {
            word if word.eq_ignore_ascii_case(b"rank") => {
                search.rank = integer(value).ok_or(Fault::NotInteger)?;
                if search.rank == 0 {
                    return Err(Fault::err(RANK_ZERO));
                }
            }
            word if word.eq_ignore_ascii_case(b"count") => {
                search.count = count.ok_or(Fault::err("COUNT can't be negative"))?;
                all = true;
            }
            word if word.eq_ignore_ascii_case(b"maxlen") => {
                search.compared_max = count.ok_or(Fault::err("MAXLEN can't be negative"))?;
            }
            _ => return Err(Fault::Syntax),
        }
    }
    Ok((search, all))
}

const RANK_ZERO: &str = "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list";
