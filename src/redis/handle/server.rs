//! The server: what it can do (`COMMAND`) and how it is (`INFO`).

use std::fmt::Write as _;

use crate::{
    broker::keyspace::DBS,
    observe::process,
    redis::{
        VERSION,
        call::Call,
        command::{self, COMMANDS, Command},
        fault::Fault,
        wire::reply::Reply,
    },
};

/// `COMMAND [COUNT | LIST | INFO [name …] | DOCS [name …] | GETKEYS command …]`
pub fn command(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let Some((subcommand, rest)) = call.arguments.split_first() else {
        call.reply.array(COMMANDS.len());
        COMMANDS.iter().for_each(|command| describe(&mut call.reply, command));
        return Ok(());
    };
    match subcommand.to_ascii_lowercase().as_slice() {
        b"count" if rest.is_empty() => call.reply.count(COMMANDS.len()),
        b"list" if rest.is_empty() => {
            call.reply.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| call.reply.text(command.name));
        }
        b"info" if rest.is_empty() => {
            call.reply.array(COMMANDS.len());
            COMMANDS.iter().for_each(|command| describe(&mut call.reply, command));
        }
        b"info" => {
            call.reply.array(rest.len());
            for name in rest {
                match command::find(name) {
                    Some(command) => describe(&mut call.reply, command),
                    None => call.reply.null(),
                }
            }
        }
        b"docs" => docs(&mut call.reply, rest),
        b"getkeys" if rest.len() >= 2 => return getkeys(call, rest),
        b"count" | b"list" | b"getkeys" => return Err(Fault::arity_of("command", subcommand)),
        _ => return Err(Fault::UnknownSubcommand { command: "command", name: subcommand.to_vec() }),
    }
    Ok(())
}

fn describe(reply: &mut Reply<'_>, command: &Command) {
    reply.array(10);
    reply.text(command.name);
    reply.integer(command.arity.into());
    let flags: Vec<_> = command.flag_words().collect();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.simple(flag));
    let (first, last, step) = command.key_range();
    [first, last, step].into_iter().for_each(|n| reply.integer(n.into()));
    let categories = command.categories();
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(category));
    // Tips, key specifications, subcommands: who wants them can do without.
    (0..3).for_each(|_| reply.array(0));
}

/// Name by name what a command is; what this is for, people read elsewhere.
fn docs(reply: &mut Reply<'_>, names: &[&[u8]]) {
    let found: Vec<&Command> = if names.is_empty() {
        COMMANDS.iter().collect()
    } else {
        names.iter().filter_map(|name| command::find(name)).collect()
    };
    reply.map(found.len());
    for command in found {
        reply.text(command.name);
        reply.map(1);
        reply.text("group");
        reply.text(command.group_word());
    }
}

fn getkeys(call: &mut Call<'_, '_>, request: &[&[u8]]) -> Result<(), Fault> {
    let name = request.first().copied().unwrap_or_default();
    let command = command::find(name).ok_or(Fault::err("Invalid command specified"))?;
    if !command.takes(request.len()) {
        return Err(Fault::err("Invalid number of arguments specified for command"));
    }
    let keys: Vec<_> = command.keys_of(request).collect();
    if keys.is_empty() {
        return Err(Fault::err("The command has no key arguments"));
    }
    call.reply.array(keys.len());
    keys.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

type Section = fn(&Call<'_, '_>, &mut String);

/// The sections of `INFO`, in Redis' order.
const SECTIONS: &[(&str, Section)] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

/// `INFO [section …]`
pub fn info(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let all = call.arguments.iter().any(|asked| {
        ["all", "default", "everything"].iter().any(|word| asked.eq_ignore_ascii_case(word.as_bytes()))
    });
    let is_asked = |name: &str| {
        all || call.arguments.is_empty()
            || call.arguments.iter().any(|asked| asked.eq_ignore_ascii_case(name.as_bytes()))
    };
    let mut page = String::new();
    for (name, section) in SECTIONS.iter().filter(|(name, _)| is_asked(name)) {
        if !page.is_empty() {
            page.push_str("\r\n");
        }
        page.push_str(&format!("# {name}\r\n"));
        section(call, &mut page);
    }
    call.reply.verbatim(&page);
    Ok(())
}

/// One line.
fn line(page: &mut String, name: &str, value: impl std::fmt::Display) {
    // A string takes whatever is written.
    let _ = write!(page, "{name}:{value}\r\n");
}

fn server(call: &Call<'_, '_>, page: &mut String) {
    let up = call.now.saturating_duration_since(call.door.started).as_secs();
    line(page, "redis_version", VERSION);
    line(page, "redis_mode", "standalone");
    line(page, "server_name", "warren");
    line(page, "warren_version", env!("CARGO_PKG_VERSION"));
    line(page, "os", std::env::consts::OS);
    line(page, "arch_bits", usize::BITS);
    line(page, "process_id", std::process::id());
    line(page, "run_id", &call.door.broker.cluster_id);
    line(page, "tcp_port", call.door.settings.port);
    line(page, "server_time_usec", call.keys.now_ms.saturating_mul(1000));
    line(page, "uptime_in_seconds", up);
    line(page, "uptime_in_days", up / 86_400);
}

fn clients(call: &Call<'_, '_>, page: &mut String) {
    line(page, "connected_clients", call.door.clients.all().len());
    line(page, "blocked_clients", call.keys.waiting());
}

fn memory(call: &Call<'_, '_>, page: &mut String) {
    let memory = &call.door.broker.core.memory;
    line(page, "used_memory", memory.held_bytes());
    line(page, "used_memory_dataset", call.keys.held_bytes());
    line(page, "maxmemory", memory.limit_bytes());
    line(page, "maxmemory_policy", "noeviction");
    line(page, "total_system_memory", process::memory_total_bytes());
}

fn persistence(call: &Call<'_, '_>, page: &mut String) {
    let store = &call.door.broker.core.store;
    line(page, "loading", 0);
    line(page, "aof_enabled", u8::from(store.durability() != crate::store::Durability::None));
    line(page, "aof_last_write_status", if store.poisoned().is_some() { "err" } else { "ok" });
}

fn stats(call: &Call<'_, '_>, page: &mut String) {
    line(page, "total_commands_processed", call.door.broker.core.meters.redis_commands.total());
    line(page, "expired_keys", call.keys.expired());
}

fn replication(_: &Call<'_, '_>, page: &mut String) {
    line(page, "role", "master");
    line(page, "connected_slaves", 0);
}

fn cluster(_: &Call<'_, '_>, page: &mut String) {
    line(page, "cluster_enabled", 0);
}

fn keyspace(call: &Call<'_, '_>, page: &mut String) {
    for db in (0..DBS).filter(|&db| call.keys.len(db) > 0) {
        let (keys, expires) = (call.keys.len(db), call.keys.expiring(db));
        let _ = write!(page, "db{db}:keys={keys},expires={expires},avg_ttl=0\r\n");
    }
}

/// `TIME`: seconds and microseconds since the epoch.
pub fn time(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let now_ms = call.keys.now_ms;
    call.reply.array(2);
    call.reply.text(&(now_ms / 1_000).to_string());
    call.reply.text(&(now_ms % 1_000 * 1_000).to_string());
    Ok(())
}

/// `ROLE`: there is one server, and nobody follows it.
pub fn role(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    call.reply.array(3);
    call.reply.text("master");
    call.reply.integer(0);
    call.reply.array(0);
    Ok(())
}
