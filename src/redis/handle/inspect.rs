//! How keys are kept: `OBJECT` and `MEMORY`. The encodings are those that Redis would have chosen, for those who look.

use super::subcommand::{self, Subcommand};
use crate::{
    broker::keyspace::{
        fields::{Hash, Set},
        sorted::Sorted,
        state::State,
        text::Text,
        value::Kind,
        waiters::Db,
    },
    redis::{call::Call, fault::Fault, wire::number::integer},
};

const OBJECT: &[Subcommand] = &[
    Subcommand("encoding", 3, "key", "What Redis would keep the value in.", object_encoding),
    Subcommand("freq", 3, "key", "Refused, as by a Redis without an LFU policy.", object_freq),
];

pub fn object(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    subcommand::run(call, "object", OBJECT)
}

fn object_encoding(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(1));
    let encoding = call.keys.kind(db, key).map(|kind| encoding(call.keys, db, key, kind));
    call.reply.bulk_or_null(encoding.map(str::as_bytes));
    Ok(())
}

fn object_freq(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    if call.keys.kind(call.client.db, call.argument(1)).is_some() {
        return Err(Fault::err(NO_LFU));
    }
    call.reply.null();
    Ok(())
}

const NO_LFU: &str = "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";

/// What Redis keeps small values in, and up to where (its defaults).
const EMBEDDED_BYTES_MAX: usize = 44;
const LISTPACK_ENTRIES_MAX: usize = 512;
const LISTPACK_MEMBERS_MAX: usize = 128;
const LISTPACK_BYTES_MAX: usize = 64;

fn encoding(keys: &State, db: Db, key: &[u8], kind: Kind) -> &'static str {
    let is_short = |bytes: &[u8]| bytes.len() <= LISTPACK_BYTES_MAX;
    match kind {
        Kind::List => "quicklist",
        Kind::Stream => "stream",
        Kind::String => match keys.get::<Text>(db, key).ok().flatten().map(Text::as_bytes) {
            Some(text) if integer(text).is_some() => "int",
            Some(text) if text.len() > EMBEDDED_BYTES_MAX => "raw",
            Some(_) | None => "embstr",
        },
        Kind::Hash => {
            let hash = keys.get::<Hash>(db, key).ok().flatten();
            let is_small = hash.is_none_or(|hash| {
                hash.len() <= LISTPACK_ENTRIES_MAX
                    && hash.iter().all(|(field, value)| is_short(field) && is_short(value))
            });
            if is_small { "listpack" } else { "hashtable" }
        }
        Kind::Set => {
            let set = keys.get::<Set>(db, key).ok().flatten();
            let is_small = set.is_none_or(|set| {
                set.len() <= LISTPACK_ENTRIES_MAX && set.iter().all(|member| integer(member).is_some())
            });
            if is_small { "intset" } else { "hashtable" }
        }
        Kind::Sorted => {
            let sorted = keys.get::<Sorted>(db, key).ok().flatten();
            let is_small = sorted.is_none_or(|sorted| {
                sorted.len() <= LISTPACK_MEMBERS_MAX && sorted.iter().all(|(member, _)| is_short(member))
            });
            if is_small { "listpack" } else { "skiplist" }
        }
    }
}

const MEMORY: &[Subcommand] =
    &[Subcommand("usage", -3, "key [SAMPLES count]", "Bytes that a key takes.", memory_usage)];

pub fn memory(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    subcommand::run(call, "memory", MEMORY)
}

/// What it takes here, which is known without samples.
fn memory_usage(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let mut options = call.rest(2);
    while let [word, count, rest @ ..] = options
        && word.eq_ignore_ascii_case(b"samples")
    {
        if integer(count).ok_or(Fault::NotInteger)? < 0 {
            return Err(Fault::Syntax);
        }
        options = rest;
    }
    if !options.is_empty() {
        return Err(Fault::Syntax);
    }
    match call.keys.key_bytes(call.client.db, call.argument(1)) {
        Some(bytes) => call.reply.count(bytes),
        None => call.reply.null(),
    }
    Ok(())
}
