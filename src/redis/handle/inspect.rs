//! How keys are kept: `OBJECT` and `MEMORY`. The encodings are those that Redis would have chosen, for those who look.

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

/// `OBJECT ENCODING key | FREQ key`
pub fn object(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (asked, key) = (call.argument(0), call.argument(1));
    let kind = call.keys.kind(call.client.db, key);
    match (asked.to_ascii_lowercase().as_slice(), call.arguments.len()) {
        (b"encoding" | b"freq", n) if n != 2 => return Err(Fault::arity_of("object", asked)),
        (b"encoding", _) => {
            let encoding = kind.map(|kind| encoding(call.keys, call.client.db, key, kind));
            call.reply.bulk_or_null(encoding.map(str::as_bytes));
        }
        (b"freq", _) if kind.is_none() => call.reply.null(),
        (b"freq", _) => return Err(Fault::err(NO_LFU)),
        _ => return Err(Fault::UnknownSubcommand { command: "object", name: asked.to_vec() }),
    }
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

/// `MEMORY USAGE key [SAMPLES count]`: what it takes here, which is known without samples.
pub fn memory(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let asked = call.argument(0);
    if !asked.eq_ignore_ascii_case(b"usage") {
        return Err(Fault::UnknownSubcommand { command: "memory", name: asked.to_vec() });
    }
    match *call.rest(2) {
        [] if call.arguments.len() < 2 => return Err(Fault::arity_of("memory", asked)),
        [] => {}
        [word, count] if word.eq_ignore_ascii_case(b"samples") => {
            let count = integer(count).ok_or(Fault::NotInteger)?;
            if count < 0 {
                return Err(Fault::Syntax);
            }
        }
        _ => return Err(Fault::Syntax),
    }
    match call.keys.key_bytes(call.client.db, call.argument(1)) {
        Some(bytes) => call.reply.count(bytes),
        None => call.reply.null(),
    }
    Ok(())
}
