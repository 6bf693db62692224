//! The server: what it can do (`COMMAND`) and how it is (`INFO`).

use std::fmt::Write as _;

use super::subcommand::{self, Subcommand};
use crate::{
    broker::keyspace::DBS,
    data::glob,
    observe::process,
    redis::{
        VERSION,
        call::Call,
        command::{self, COMMANDS, Command},
        fault::Fault,
        wire::reply::Reply,
    },
};

/// There is no `DOCS` among them: `redis-cli` then shows what it knows itself, which is more than names.
const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand("count", 2, "", "How many commands there are.", count),
    Subcommand("getkeys", -4, "command [argument …]", "The keys among a command's words.", getkeys),
    Subcommand("info", -2, "[command …]", "What these commands are, or all.", info_of),
    Subcommand("list", -2, "[FILTERBY ACLCAT category | PATTERN pattern]", "Names of commands.", list),
];

/// `COMMAND [subcommand]`
pub fn command(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    if !call.arguments.is_empty() {
        return subcommand::run(call, "command", SUBCOMMANDS);
    }
    describe_all(&mut call.reply);
    Ok(())
}

fn describe_all(reply: &mut Reply<'_>) {
    reply.array(COMMANDS.len());
    COMMANDS.iter().for_each(|command| describe(reply, command));
}

fn count(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    call.reply.count(COMMANDS.len());
    Ok(())
}

fn list(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let mut all: Vec<&Command> = COMMANDS.iter().collect();
    match *call.rest(1) {
        [] => {}
        [word, by, which] if word.eq_ignore_ascii_case(b"filterby") => {
            let which = which.to_ascii_lowercase();
            match by.to_ascii_lowercase().as_slice() {
                // There are no modules.
                b"module" => all.clear(),
                b"aclcat" => all.retain(|command| {
                    command.categories().iter().any(|category| category.as_bytes().get(1..) == Some(&which))
                }),
                b"pattern" => all.retain(|command| glob::matches(&which, command.name.as_bytes())),
                _ => return Err(Fault::Syntax),
            }
        }
        _ => return Err(Fault::Syntax),
    }
    call.reply.array(all.len());
    all.iter().for_each(|command| call.reply.text(command.name));
    Ok(())
}

fn info_of(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let names = call.rest(1);
    if names.is_empty() {
        describe_all(&mut call.reply);
        return Ok(());
    }
    call.reply.array(names.len());
    for name in names {
        match command::find(name) {
            Some(command) => describe(&mut call.reply, command),
            None => call.reply.null(),
        }
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

fn getkeys(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let request = call.rest(1);
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
    line(page, "used_memory_human", human(memory.held_bytes()));
    line(page, "used_memory_dataset", call.keys.held_bytes());
    line(page, "maxmemory", memory.limit_bytes());
    line(page, "maxmemory_policy", "noeviction");
    line(page, "total_system_memory", process::memory_total_bytes());
}

/// Bytes as Redis shows them to people.
fn human(bytes: usize) -> String {
    let units = [(1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, letter)) => format!("{:.2}{letter}", bytes as f64 / unit as f64),
        None => format!("{bytes}B"),
    }
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

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        let shown = [0, 1_023, 1_024, 1_536, 5 << 20, 3 << 30].map(human);
        assert_eq!(shown, ["0B", "1023B", "1.00K", "1.50K", "5.00M", "3.00G"]);
    }
}
