//! Strings, and numbers in them.

use super::generic::Time;
use crate::{
    broker::keyspace::{Access, text::Text, waiters::Db},
    data::long_double::LongDouble,
    redis::{call::Call, fault::Fault, wire::number::integer},
};

/// Sets a key, whatever it holds; it stays, unless it is to go.
pub(super) fn put(keys: &mut Access<'_>, db: Db, key: &[u8], value: &[u8], expires_at_ms: Option<i64>) {
    if keys.get::<Text>(db, key).is_err() {
        keys.remove(db, key);
    }
    // Nothing else is there any more.
    let set = keys.change_or_make(db, key, |text: &mut Text, slots| text.set(value, slots));
    debug_assert!(set.is_ok(), "what held something else was removed");
    if keys.expires_at_ms(db, key) != expires_at_ms {
        keys.expire(db, key, expires_at_ms);
    }
}

pub fn get(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let text = call.keys.get::<Text>(call.client.db, call.argument(0))?;
    call.reply.bulk_or_null(text.map(Text::as_bytes));
    Ok(())
}

pub fn mget(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    call.reply.array(call.arguments.len());
    for key in call.arguments {
        // What holds something else has no string.
        let text = call.keys.get::<Text>(call.client.db, key).ok().flatten();
        call.reply.bulk_or_null(text.map(Text::as_bytes));
    }
    Ok(())
}

/// The options of `SET` and `GETEX`.
#[derive(Debug, Default)]
struct Options<'a> {
    only_absent: bool,
    only_present: bool,
    get: bool,
    keep: bool,
    persist: bool,
    /// When it goes, and the number as it was given.
    time: Option<(Time, &'a [u8])>,
}

impl<'a> Options<'a> {
    /// Whether it says already when the key goes.
    fn has_time(&self) -> bool {
        self.keep || self.persist || self.time.is_some()
    }

    fn of(words: &[&'a [u8]], for_set: bool) -> Result<Self, Fault> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" if for_set && !options.only_present => options.only_absent = true,
                b"xx" if for_set && !options.only_absent => options.only_present = true,
                b"get" if for_set => options.get = true,
                b"keepttl" if for_set && !options.has_time() => options.keep = true,
                b"persist" if !for_set && !options.has_time() => options.persist = true,
                word @ (b"ex" | b"px" | b"exat" | b"pxat") if !options.has_time() => {
                    let time = match word {
                        b"ex" => Time::InSeconds,
                        b"px" => Time::InMs,
                        b"exat" => Time::AtSeconds,
                        _ => Time::AtMs,
                    };
                    options.time = Some((time, words.next().ok_or(Fault::Syntax)?));
                }
                _ => return Err(Fault::Syntax),
            }
        }
        Ok(options)
    }

    fn at_ms(&self, now_ms: i64, command: &'static str) -> Result<Option<i64>, Fault> {
        let Some((time, number)) = self.time else { return Ok(None) };
        let n = integer(number).ok_or(Fault::NotInteger)?;
        if n <= 0 {
            return Err(Fault::InvalidExpire(command));
        }
        time.at_ms(n, now_ms, command).map(Some)
    }
}

/// `SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`
pub fn set(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, value) = (call.db(), call.argument(0), call.argument(1));
    let options = Options::of(call.rest(2), true)?;
    let mut at_ms = options.at_ms(call.keys.now_ms, "set")?;
    if options.get {
        let old = call.keys.get::<Text>(db, key)?;
        call.reply.bulk_or_null(old.map(Text::as_bytes));
    }
    let there = call.keys.kind(db, key).is_some();
    if (options.only_absent && there) || (options.only_present && !there) {
        if !options.get {
            call.reply.null();
        }
        return Ok(());
    }
    if options.keep {
        at_ms = call.keys.expires_at_ms(db, key);
    }
    set_or_let_go(call.keys, db, key, value, at_ms);
    if !options.get {
        call.reply.ok();
    }
    Ok(())
}

/// Sets a key; one whose time has come already goes.
fn set_or_let_go(keys: &mut Access<'_>, db: Db, key: &[u8], value: &[u8], at_ms: Option<i64>) {
    if at_ms.is_some_and(|at| at <= keys.now_ms) {
        keys.remove(db, key);
    } else {
        put(keys, db, key, value, at_ms);
    }
}

fn set_for(call: &mut Call<'_, '_>, time: Time, command: &'static str) -> Result<(), Fault> {
    let (db, key, value) = (call.db(), call.argument(0), call.argument(2));
    let n = call.integer(1)?;
    if n <= 0 {
        return Err(Fault::InvalidExpire(command));
    }
    let at_ms = time.at_ms(n, call.keys.now_ms, command)?;
    put(call.keys, db, key, value, Some(at_ms));
    call.reply.ok();
    Ok(())
}

pub fn setex(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    set_for(call, Time::InSeconds, "setex")
}

pub fn psetex(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    set_for(call, Time::InMs, "psetex")
}

pub fn setnx(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, value) = (call.db(), call.argument(0), call.argument(1));
    let absent = call.keys.kind(db, key).is_none();
    if absent {
        put(call.keys, db, key, value, None);
    }
    call.reply.flag(absent);
    Ok(())
}

pub fn mset(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    if call.arguments.len() % 2 == 1 {
        return Err(Fault::WrongArity("mset".into()));
    }
    put_all(call);
    call.reply.ok();
    Ok(())
}

pub fn msetnx(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    if call.arguments.len() % 2 == 1 {
        return Err(Fault::WrongArity("msetnx".into()));
    }
    let absent = call.arguments.iter().step_by(2).all(|key| call.keys.kind(call.client.db, key).is_none());
    if absent {
        put_all(call);
    }
    call.reply.flag(absent);
    Ok(())
}

fn put_all(call: &mut Call<'_, '_>) {
    for pair in call.arguments.chunks(2) {
        if let [key, value] = pair {
            put(call.keys, call.client.db, key, value, None);
        }
    }
}

pub fn getset(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, value) = (call.db(), call.argument(0), call.argument(1));
    let old = call.keys.get::<Text>(db, key)?;
    call.reply.bulk_or_null(old.map(Text::as_bytes));
    put(call.keys, db, key, value, None);
    Ok(())
}

pub fn getdel(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let old = call.keys.get::<Text>(db, key)?;
    call.reply.bulk_or_null(old.map(Text::as_bytes));
    call.keys.remove(db, key);
    Ok(())
}

/// `GETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]`
pub fn getex(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let options = Options::of(call.rest(1), false)?;
    let Some(text) = call.keys.get::<Text>(db, key)? else {
        call.reply.null();
        return Ok(());
    };
    let at_ms = options.at_ms(call.keys.now_ms, "getex")?;
    call.reply.bulk(text.as_bytes());
    match at_ms {
        Some(at_ms) if at_ms <= call.keys.now_ms => drop(call.keys.remove(db, key)),
        Some(_) => drop(call.keys.expire(db, key, at_ms)),
        None if options.persist && call.keys.expires_at_ms(db, key).is_some() => {
            call.keys.expire(db, key, None);
        }
        None => {}
    }
    Ok(())
}

pub fn strlen(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let text = call.keys.get::<Text>(call.client.db, call.argument(0))?;
    let len = text.map_or(0, |text| text.as_bytes().len());
    call.reply.count(len);
    Ok(())
}

pub fn append(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, tail) = (call.db(), call.argument(0), call.argument(1));
    let old = call.keys.get::<Text>(db, key)?.map(Text::as_bytes).unwrap_or_default();
    if old.len() + tail.len() > call.door.settings.bulk_bytes_max {
        return Err(Fault::err("string exceeds maximum allowed size (proto-max-bulk-len)"));
    }
    let value = [old, tail].concat();
    call.keys.change_or_make(db, key, |text: &mut Text, slots| text.set(&value, slots))?;
    call.reply.count(value.len());
    Ok(())
}

fn add(call: &mut Call<'_, '_>, n: i64) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let old = match call.keys.get::<Text>(db, key)? {
        Some(text) => integer(text.as_bytes()).ok_or(Fault::NotInteger)?,
        None => 0,
    };
    let new = old.checked_add(n).ok_or(Fault::err("increment or decrement would overflow"))?;
    let value = new.to_string();
    call.keys.change_or_make(db, key, |text: &mut Text, slots| text.set(value.as_bytes(), slots))?;
    call.reply.integer(new);
    Ok(())
}

pub fn incr(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    add(call, 1)
}

pub fn decr(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    add(call, -1)
}

pub fn incrby(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let n = call.integer(1)?;
    add(call, n)
}

pub fn decrby(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let n = call.integer(1)?.checked_neg().ok_or(Fault::err("decrement would overflow"))?;
    add(call, n)
}

/// `INCRBYFLOAT key increment`
pub fn incrbyfloat(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let old = match call.keys.get::<Text>(db, key)? {
        Some(text) => LongDouble::parse(text.as_bytes()).ok_or(Fault::NotFloat)?,
        None => LongDouble::ZERO,
    };
    let by = LongDouble::parse(call.argument(1)).ok_or(Fault::NotFloat)?;
    let new = old.plus(by).ok_or(Fault::IncrementedToNothing)?.to_string();
    call.keys.change_or_make(db, key, |text: &mut Text, slots| text.set(new.as_bytes(), slots))?;
    call.reply.text(&new);
    Ok(())
}

/// `GETRANGE key start end`: both ends in it, negative ones counted from the end.
pub fn getrange(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (start, end) = (call.integer(1)?, call.integer(2)?);
    let text = call.keys.get::<Text>(call.client.db, call.argument(0))?;
    let bytes = text.map(Text::as_bytes).unwrap_or_default();
    let len = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let from_start = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (from, to) = (from_start(start), from_start(end).min(len - 1));
    // Both counted from the end, and the wrong way round: there is nothing, even of one byte.
    let is_range = !(start < 0 && end < 0 && start > end) && from <= to;
    let range = usize::try_from(from).ok().zip(usize::try_from(to).ok()).filter(|_| is_range);
    call.reply.bulk(range.and_then(|(from, to)| bytes.get(from..=to)).unwrap_or_default());
    Ok(())
}

/// `SETRANGE key offset value`: what lies between is filled with zeros.
pub fn setrange(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, value) = (call.db(), call.argument(0), call.argument(2));
    let offset = call.integer(1)?;
    let from = usize::try_from(offset).map_err(|_| Fault::err("offset is out of range"))?;
    let mut bytes = call.keys.get::<Text>(db, key)?.map(Text::as_bytes).unwrap_or_default().to_vec();
    if !value.is_empty() {
        let to = from.saturating_add(value.len());
        if to > call.door.settings.bulk_bytes_max {
            return Err(Fault::err("string exceeds maximum allowed size (proto-max-bulk-len)"));
        }
        bytes.resize(bytes.len().max(to), 0);
        if let Some(place) = bytes.get_mut(from..to) {
            place.copy_from_slice(value);
        }
        call.keys.change_or_make(db, key, |text: &mut Text, slots| text.set(&bytes, slots))?;
    }
    call.reply.count(bytes.len());
    Ok(())
}
