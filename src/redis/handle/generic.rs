//! Keys, whatever they hold.

use crate::{
    broker::keyspace::{
        DBS,
        state::State,
        value::{Kind, OfKind},
        waiters::Db,
    },
    data::glob,
    redis::{
        call::Call,
        fault::Fault,
        wire::{number::integer, reply::Reply},
    },
};

/// Domain time at which something relative or absolute comes, in seconds or milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Time {
    InSeconds,
    InMs,
    AtSeconds,
    AtMs,
}

impl Time {
    /// # Errors
    /// There is no such moment; `command` is who says so.
    pub(super) fn at_ms(self, n: i64, now_ms: i64, command: &'static str) -> Result<i64, Fault> {
        let ms = match self {
            Self::InSeconds | Self::AtSeconds => n.checked_mul(1000),
            Self::InMs | Self::AtMs => Some(n),
        };
        let at = match self {
            Self::InSeconds | Self::InMs => ms.and_then(|ms| ms.checked_add(now_ms)),
            Self::AtSeconds | Self::AtMs => ms,
        };
        at.ok_or(Fault::InvalidExpire(command))
    }
}

pub fn del(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let mut removed = 0;
    for key in call.arguments {
        removed += usize::from(call.keys.remove(call.client.db, key));
    }
    call.reply.count(removed);
    Ok(())
}

pub fn unlink(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    del(call)
}

pub fn exists(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let there = |key: &&&[u8]| call.keys.kind(call.client.db, key).is_some();
    let count = call.arguments.iter().filter(there).count();
    call.reply.count(count);
    Ok(())
}

pub fn touch(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    exists(call)
}

pub fn type_of(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let kind = call.keys.kind(call.client.db, call.argument(0));
    call.reply.simple(kind.map_or("none", Kind::word));
    Ok(())
}

pub fn keys(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let pattern = call.argument(0);
    let walk = call.keys.walk(call.client.db, 0);
    let names: Vec<_> = walk.map(|(_, name, _)| name).filter(|name| glob::matches(pattern, name)).collect();
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name));
    Ok(())
}

/// What `SCAN` and its like ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) after: u64,
    pattern: &'a [u8],
    pub(super) count: usize,
    kind: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    /// `cursor [MATCH pattern] [COUNT count] [TYPE type]`
    pub(super) fn of(words: &[&'a [u8]], with_type: bool) -> Result<Self, Fault> {
        let (cursor, options) = words.split_first().ok_or(Fault::Syntax)?;
        Self::after(cursor_of(cursor)?, options, with_type)
    }

    /// `key cursor [MATCH pattern] [COUNT count]`, with what is scanned; options are looked at only where there is some.
    pub(super) fn of_key<'k, T: OfKind>(
        words: &[&'a [u8]],
        keys: &'k State,
        db: Db,
    ) -> Result<Option<(Self, &'k T)>, Fault> {
        let [key, cursor, options @ ..] = words else { return Err(Fault::Syntax) };
        let after = cursor_of(cursor)?;
        match keys.get::<T>(db, key)? {
            Some(held) => Ok(Some((Self::after(after, options, false)?, held))),
            None => Ok(None),
        }
    }

    fn after(after: u64, options: &[&'a [u8]], with_type: bool) -> Result<Self, Fault> {
        let mut scan = Self { after, pattern: b"*", count: 10, kind: None };
        for option in options.chunks(2) {
            let [word, value] = *option else { return Err(Fault::Syntax) };
            match word {
                word if word.eq_ignore_ascii_case(b"match") => scan.pattern = value,
                word if with_type && word.eq_ignore_ascii_case(b"type") => scan.kind = Some(value),
                word if word.eq_ignore_ascii_case(b"count") => {
                    let n = integer(value).ok_or(Fault::NotInteger)?;
                    scan.count = usize::try_from(n).ok().filter(|&n| n > 0).ok_or(Fault::Syntax)?;
                }
                _ => return Err(Fault::Syntax),
            }
        }
        Ok(scan)
    }

    pub(super) fn wants(&self, name: &[u8]) -> bool {
        glob::matches(self.pattern, name)
    }
}

/// A cursor, as C's `strtoul` reads it: nothing is 0, and below 0 it goes on from the other end.
fn cursor_of(word: &[u8]) -> Result<u64, Fault> {
    if word.is_empty() {
        return Ok(0);
    }
    let (negative, digits) = match word {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, word),
    };
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let n = std::str::from_utf8(digits).ok().filter(|_| is_number).and_then(|text| text.parse::<u64>().ok());
    let n = n.ok_or(Fault::err("invalid cursor"))?;
    Ok(if negative { n.wrapping_neg() } else { n })
}

/// What is told of a key's scan: all of it at once, as Redis does with small ones.
pub(super) fn tell_scan(reply: &mut Reply<'_>, found: &[&[u8]]) {
    reply.array(2);
    reply.text("0");
    reply.array(found.len());
    found.iter().for_each(|word| reply.bulk(word));
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`. The cursor is the last key's id, so that a key which is there
/// all the while is told once.
pub fn scan(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let scan = Scan::of(call.arguments, true)?;
    let mut walk = call.keys.walk(call.client.db, scan.after);
    let seen: Vec<_> = walk.by_ref().take(scan.count).collect();
    let cursor = if walk.next().is_some() { seen.last().map_or(0, |(id, _, _)| *id) } else { 0 };
    let of_kind = |of: Kind| scan.kind.is_none_or(|kind| kind.eq_ignore_ascii_case(of.word().as_bytes()));
    let wanted: Vec<_> = seen.iter().filter(|(_, name, of)| scan.wants(name) && of_kind(*of)).collect();
    call.reply.array(2);
    call.reply.text(&cursor.to_string());
    call.reply.array(wanted.len());
    wanted.iter().for_each(|(_, name, _)| call.reply.bulk(name));
    Ok(())
}

/// A key at random: the next behind a random moment.
pub fn randomkey(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let db = call.db();
    let ids = call.keys.ids(db);
    let after = ids.map(|(first, last)| rand::random_range(first..=last) - 1);
    let key = after.and_then(|after| call.keys.walk(db, after).next()).map(|(_, name, _)| name.clone());
    call.reply.bulk_or_null(key.as_deref());
    Ok(())
}

/// When a time to go may be set.
#[derive(Debug, Clone, Copy, Default)]
struct When {
    absent: bool,
    present: bool,
    later: bool,
    earlier: bool,
}

impl When {
    fn of(options: &[&[u8]]) -> Result<Self, Fault> {
        let mut when = Self::default();
        for option in options {
            match option.to_ascii_lowercase().as_slice() {
                b"nx" => when.absent = true,
                b"xx" => when.present = true,
                b"gt" => when.later = true,
                b"lt" => when.earlier = true,
                _ => {
                    let option = String::from_utf8_lossy(option);
                    return Err(Fault::Err(format!("Unsupported option {option}").into()));
                }
            }
        }
        if when.absent && (when.present || when.later || when.earlier) {
            return Err(Fault::err("NX and XX, GT or LT options at the same time are not compatible"));
        }
        if when.later && when.earlier {
            return Err(Fault::err("GT and LT options at the same time are not compatible"));
        }
        Ok(when)
    }

    /// Whether it may be set, with the one there is now. None is later than any.
    fn allows(self, now: Option<i64>, at_ms: i64) -> bool {
        (!self.absent || now.is_none())
            && (!self.present || now.is_some())
            && (!self.later || now.is_some_and(|now| at_ms > now))
            && (!self.earlier || now.is_none_or(|now| at_ms < now))
    }
}

fn expire_at(call: &mut Call<'_, '_>, time: Time, command: &'static str) -> Result<(), Fault> {
    let when = When::of(call.rest(2))?;
    let (db, key) = (call.db(), call.argument(0));
    let at_ms = time.at_ms(call.integer(1)?, call.keys.now_ms, command)?;
    let may = call.keys.kind(db, key).is_some() && when.allows(call.keys.expires_at_ms(db, key), at_ms);
    if may && at_ms <= call.keys.now_ms {
        call.keys.remove(db, key);
    } else if may {
        call.keys.expire(db, key, Some(at_ms));
    }
    call.reply.flag(may);
    Ok(())
}

pub fn expire(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    expire_at(call, Time::InSeconds, "expire")
}

pub fn pexpire(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    expire_at(call, Time::InMs, "pexpire")
}

pub fn expireat(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    expire_at(call, Time::AtSeconds, "expireat")
}

pub fn pexpireat(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    expire_at(call, Time::AtMs, "pexpireat")
}

/// -2: there is no such key; -1: it stays.
fn time_left(call: &mut Call<'_, '_>, shown: impl Fn(i64, i64) -> i64) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let n = match (call.keys.kind(db, key), call.keys.expires_at_ms(db, key)) {
        (None, _) => -2,
        (Some(_), None) => -1,
        (Some(_), Some(at_ms)) => shown(at_ms, call.keys.now_ms),
    };
    call.reply.integer(n);
    Ok(())
}

pub fn ttl(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    time_left(call, |at_ms, now_ms| (at_ms - now_ms + 500) / 1000)
}

pub fn pttl(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    time_left(call, |at_ms, now_ms| at_ms - now_ms)
}

pub fn expiretime(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    time_left(call, |at_ms, _| (at_ms + 500) / 1000)
}

pub fn pexpiretime(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    time_left(call, |at_ms, _| at_ms)
}

pub fn persist(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let expires = call.keys.expires_at_ms(db, key).is_some();
    if expires {
        call.keys.expire(db, key, None);
    }
    call.reply.flag(expires);
    Ok(())
}

pub fn rename(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, from, to) = (call.db(), call.argument(0), call.argument(1));
    if !call.keys.rename(db, from, to) {
        return Err(Fault::NoSuchKey);
    }
    call.reply.ok();
    Ok(())
}

pub fn renamenx(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, from, to) = (call.db(), call.argument(0), call.argument(1));
    if call.keys.kind(db, from).is_none() {
        return Err(Fault::NoSuchKey);
    }
    let free = call.keys.kind(db, to).is_none();
    if free {
        call.keys.rename(db, from, to);
    }
    call.reply.flag(free);
    Ok(())
}

/// A name space's number.
pub(super) fn db_of(argument: &[u8]) -> Result<u8, Fault> {
    let n = i32::try_from(integer(argument).ok_or(Fault::NotInteger)?)
        .map_err(|_| Fault::err("value is out of range, value must between -2147483648 and 2147483647"))?;
    u8::try_from(n).ok().filter(|db| *db < DBS).ok_or(Fault::err("DB index is out of range"))
}

pub fn move_key(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (from, key) = (call.db(), call.argument(0));
    let to = db_of(call.argument(1))?;
    if from == to {
        return Err(Fault::err("source and destination objects are the same"));
    }
    let moved = call.keys.move_to(from, to, key);
    call.reply.flag(moved);
    Ok(())
}

/// `FLUSHDB [ASYNC|SYNC]`
fn flush(call: &mut Call<'_, '_>, dbs: std::ops::Range<u8>) -> Result<(), Fault> {
    match call.arguments {
        [] => {}
        [word] if word.eq_ignore_ascii_case(b"async") || word.eq_ignore_ascii_case(b"sync") => {}
        _ => return Err(Fault::Syntax),
    }
    dbs.for_each(|db| call.keys.flush(db));
    call.reply.ok();
    Ok(())
}

pub fn flushdb(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let db = call.db();
    flush(call, db..db + 1)
}

pub fn flushall(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    flush(call, 0..DBS)
}

pub fn dbsize(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let len = call.keys.len(call.client.db);
    call.reply.count(len);
    Ok(())
}
