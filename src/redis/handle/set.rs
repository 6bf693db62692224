//! Sets.

use super::{
    generic::{Scan, tell_scan},
    parts,
};
use crate::{
    broker::keyspace::fields::Set,
    redis::{call::Call, fault::Fault, wire::number::integer},
};

pub fn sadd(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, members) = (call.db(), call.argument(0), call.rest(1));
    let added = call.keys.change_or_make(db, key, |set: &mut Set, slots| {
        members.iter().filter(|member| set.add(member, slots)).count()
    })?;
    call.reply.count(added);
    Ok(())
}

pub fn srem(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    parts::remove(call, Set::remove)
}

pub fn smembers(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let set = call.keys.get::<Set>(call.client.db, call.argument(0))?;
    call.reply.set(set.map_or(0, Set::len));
    set.into_iter().flat_map(Set::iter).for_each(|member| call.reply.bulk(member));
    Ok(())
}

pub fn sismember(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let set = call.keys.get::<Set>(call.client.db, call.argument(0))?;
    call.reply.flag(set.is_some_and(|set| set.contains(call.arguments.get(1).copied().unwrap_or_default())));
    Ok(())
}

pub fn smismember(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let set = call.keys.get::<Set>(call.client.db, call.argument(0))?;
    let members = call.arguments.get(1..).unwrap_or_default();
    call.reply.array(members.len());
    members.iter().for_each(|member| call.reply.flag(set.is_some_and(|set| set.contains(member))));
    Ok(())
}

pub fn scard(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    parts::count(call, Set::len)
}

/// `SPOP key [count]`: the oldest ones, which is as good as any.
pub fn spop(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let count = match *call.rest(1) {
        [] => None,
        [count] => {
            let count = integer(count).and_then(|n| usize::try_from(n).ok());
            Some(count.ok_or(Fault::err("value is out of range, must be positive"))?)
        }
        _ => return Err(Fault::Syntax),
    };
    let popped = call.keys.change(db, key, |set: &mut Set, slots| {
        let members: Vec<Vec<u8>> = set.iter().take(count.unwrap_or(1)).map(<[u8]>::to_vec).collect();
        for member in &members {
            set.remove(member, slots);
        }
        members
    })?;
    match (count, popped.unwrap_or_default()) {
        (None, members) => call.reply.bulk_or_null(members.first().map(Vec::as_slice)),
        (Some(_), members) => {
            call.reply.set(members.len());
            members.iter().for_each(|member| call.reply.bulk(member));
        }
    }
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
pub fn sscan(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let found: Vec<&[u8]> = match Scan::of_key::<Set>(call.arguments, call.keys, call.client.db)? {
        Some((scan, set)) => set.iter().filter(|member| scan.wants(member)).collect(),
        None => Vec::new(),
    };
    tell_scan(&mut call.reply, &found);
    Ok(())
}

/// `SRANDMEMBER key [count]`: different ones, or as many as asked for when the count is negative.
pub fn srandmember(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let count = match *call.rest(1) {
        [] => None,
        [count] => match integer(count) {
            Some(i64::MIN) => return Err(Fault::err(COUNT_OUT_OF_RANGE)),
            count => Some(count.ok_or(Fault::NotInteger)?),
        },
        _ => return Err(Fault::Syntax),
    };
    let set = call.keys.get::<Set>(call.client.db, call.argument(0))?;
    let members: Vec<&[u8]> = set.into_iter().flat_map(Set::iter).collect();
    let any = || (!members.is_empty()).then(|| rand::random_range(0..members.len()));
    let Some(count) = count else {
        call.reply.bulk_or_null(any().and_then(|at| members.get(at).copied()));
        return Ok(());
    };
    let asked = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let picked: Vec<usize> = if count < 0 {
        if asked > PICKED_MAX {
            return Err(Fault::err("value is out of range"));
        }
        std::iter::from_fn(any).take(asked).collect()
    } else {
        rand::seq::index::sample(&mut rand::rng(), members.len(), asked.min(members.len())).into_vec()
    };
    call.reply.array(picked.len());
    picked.iter().filter_map(|&at| members.get(at)).for_each(|member| call.reply.bulk(member));
    Ok(())
}

const COUNT_OUT_OF_RANGE: &str =
    "value is out of range, value must between -9223372036854775807 and 9223372036854775807";

/// Members that come more than once are counted by the asker, so there is an end to it.
const PICKED_MAX: usize = 1_000_000;

/// `SMOVE source destination member`
pub fn smove(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, source, destination, member) = (call.db(), call.argument(0), call.argument(1), call.argument(2));
    let is_there = call.keys.get::<Set>(db, source)?.is_some_and(|set| set.contains(member));
    if call.keys.kind(db, source).is_some() {
        call.keys.get::<Set>(db, destination)?;
    }
    if is_there && source != destination {
        call.keys.change(db, source, |set: &mut Set, slots| set.remove(member, slots))?;
        call.keys.change_or_make(db, destination, |set: &mut Set, slots| set.add(member, slots))?;
    }
    call.reply.flag(is_there);
    Ok(())
}
