//! `CONFIG GET`: what of the server's settings has a name in Redis. They are changed elsewhere.

use super::subcommand::{self, Subcommand};
use crate::{
    broker::keyspace::DBS,
    data::glob,
    redis::{Door, call::Call, fault::Fault},
    store::Durability,
};

type Setting = fn(&Door) -> String;

/// Names with their values.
const SETTINGS: &[(&str, Setting)] = &[
    ("appendfsync", |door| {
        match door.broker.core.store.durability() {
            Durability::Fsync => "always",
            Durability::None | Durability::Os => "no",
        }
        .to_owned()
    }),
    ("appendonly", |door| {
        let durable = door.broker.core.store.durability() != Durability::None;
        if durable { "yes" } else { "no" }.to_owned()
    }),
    ("client-query-buffer-limit", |door| door.settings.request_bytes_max.to_string()),
    ("databases", |_| DBS.to_string()),
    ("maxmemory", |door| door.broker.core.memory.limit_bytes().to_string()),
    ("maxmemory-policy", |_| "noeviction".to_owned()),
    ("port", |door| door.settings.port.to_string()),
    ("proto-max-bulk-len", |door| door.settings.bulk_bytes_max.to_string()),
    // Everything is in the log, and nothing in snapshots.
    ("save", |_| String::new()),
    // Nobody is cut off for being idle.
    ("timeout", |_| "0".to_owned()),
];

const SUBCOMMANDS: &[Subcommand] =
    &[Subcommand("get", -3, "pattern [pattern …]", "Settings with their values.", get)];

pub fn config(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    subcommand::run(call, "config", SUBCOMMANDS)
}

fn get(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let patterns = call.rest(1);
    let by = |name: &str| {
        let matches = |pattern: &&&[u8]| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes());
        patterns.iter().find(matches).copied()
    };
    let found: Vec<_> = SETTINGS.iter().filter_map(|(name, value)| Some((by(name)?, *name, value))).collect();
    call.reply.map(found.len());
    for (pattern, name, value) in found {
        // One that is named, and not only matched, is told under the name that it was given.
        let is_named = pattern.eq_ignore_ascii_case(name.as_bytes());
        call.reply.bulk(if is_named { pattern } else { name.as_bytes() });
        call.reply.text(&value(call.door));
    }
    Ok(())
}
