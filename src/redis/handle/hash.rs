//! Hashes.

use super::{
    generic::{Scan, tell_scan},
    parts,
};
use crate::{
    broker::keyspace::fields::Hash,
    data::long_double::LongDouble,
    redis::{call::Call, fault::Fault, wire::number::integer},
};

/// Sets fields with their values; how many are new.
fn set_all(call: &mut Call<'_, '_>) -> Result<usize, Fault> {
    let (db, key, pairs) = (call.db(), call.argument(0), call.rest(1));
    let new = call.keys.change_or_make(db, key, |hash: &mut Hash, slots| {
        let mut set = |pair: &[&[u8]]| match *pair {
            [field, value] => hash.set(field, value, slots),
            _ => false,
        };
        pairs.chunks(2).filter(|pair| set(pair)).count()
    })?;
    Ok(new)
}

pub fn hset(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    if call.rest(1).len() % 2 == 1 {
        return Err(Fault::WrongArity("hset".into()));
    }
    let new = set_all(call)?;
    call.reply.count(new);
    Ok(())
}

pub fn hmset(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    if call.rest(1).len() % 2 == 1 {
        return Err(Fault::WrongArity("hmset".into()));
    }
    set_all(call)?;
    call.reply.ok();
    Ok(())
}

pub fn hsetnx(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let hash = call.keys.get::<Hash>(call.client.db, call.argument(0))?;
    let absent = hash.is_none_or(|hash| !hash.contains(call.argument(1)));
    if absent {
        set_all(call)?;
    }
    call.reply.flag(absent);
    Ok(())
}

pub fn hget(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let hash = call.keys.get::<Hash>(call.client.db, call.argument(0))?;
    call.reply.bulk_or_null(hash.and_then(|hash| hash.get(call.arguments.get(1)?)));
    Ok(())
}

pub fn hmget(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let hash = call.keys.get::<Hash>(call.client.db, call.argument(0))?;
    let fields = call.arguments.get(1..).unwrap_or_default();
    call.reply.array(fields.len());
    fields.iter().for_each(|field| call.reply.bulk_or_null(hash.and_then(|hash| hash.get(field))));
    Ok(())
}

pub fn hgetall(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let hash = call.keys.get::<Hash>(call.client.db, call.argument(0))?;
    call.reply.map(hash.map_or(0, Hash::len));
    for (field, value) in hash.into_iter().flat_map(Hash::iter) {
        call.reply.bulk(field);
        call.reply.bulk(value);
    }
    Ok(())
}

pub fn hkeys(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let hash = call.keys.get::<Hash>(call.client.db, call.argument(0))?;
    call.reply.array(hash.map_or(0, Hash::len));
    hash.into_iter().flat_map(Hash::iter).for_each(|(field, _)| call.reply.bulk(field));
    Ok(())
}

pub fn hvals(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let hash = call.keys.get::<Hash>(call.client.db, call.argument(0))?;
    call.reply.array(hash.map_or(0, Hash::len));
    hash.into_iter().flat_map(Hash::iter).for_each(|(_, value)| call.reply.bulk(value));
    Ok(())
}

pub fn hdel(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    parts::remove(call, Hash::remove)
}

pub fn hlen(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    parts::count(call, Hash::len)
}

pub fn hexists(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let hash = call.keys.get::<Hash>(call.client.db, call.argument(0))?;
    call.reply
        .flag(hash.is_some_and(|hash| hash.contains(call.arguments.get(1).copied().unwrap_or_default())));
    Ok(())
}

pub fn hincrby(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, field, by) = (call.db(), call.argument(0), call.argument(1), call.integer(2)?);
    let old = match call.keys.get::<Hash>(db, key)?.and_then(|hash| hash.get(field)) {
        Some(value) => integer(value).ok_or(Fault::err("hash value is not an integer"))?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(Fault::err("increment or decrement would overflow"))?;
    call.keys.change_or_make(db, key, |hash: &mut Hash, slots| {
        hash.set(field, new.to_string().as_bytes(), slots);
    })?;
    call.reply.integer(new);
    Ok(())
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count]`
pub fn hscan(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let found: Vec<&[u8]> = match Scan::of_key::<Hash>(call.arguments, call.keys, call.client.db)? {
        Some((scan, hash)) => {
            hash.iter().filter(|(field, _)| scan.wants(field)).flat_map(<[&[u8]; 2]>::from).collect()
        }
        None => Vec::new(),
    };
    tell_scan(&mut call.reply, &found);
    Ok(())
}

/// `HINCRBYFLOAT key field increment`
pub fn hincrbyfloat(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, field) = (call.db(), call.argument(0), call.argument(1));
    let by = LongDouble::parse(call.argument(2)).ok_or(Fault::NotFloat)?;
    if by.is_infinite() {
        return Err(Fault::err("value is NaN or Infinity"));
    }
    let old = match call.keys.get::<Hash>(db, key)?.and_then(|hash| hash.get(field)) {
        Some(value) => LongDouble::parse(value).ok_or(Fault::err("hash value is not a float"))?,
        None => LongDouble::ZERO,
    };
    let new = old.plus(by).ok_or(Fault::IncrementedToNothing)?.to_string();
    call.keys.change_or_make(db, key, |hash: &mut Hash, slots| hash.set(field, new.as_bytes(), slots))?;
    call.reply.text(&new);
    Ok(())
}

pub fn hstrlen(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let hash = call.keys.get::<Hash>(call.client.db, call.argument(0))?;
    let value = hash.and_then(|hash| hash.get(call.arguments.get(1)?));
    call.reply.count(value.map_or(0, <[u8]>::len));
    Ok(())
}
