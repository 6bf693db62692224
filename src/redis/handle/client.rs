//! `CLIENT`: what clients say of themselves, and what is said of them.

use std::sync::Arc;

use super::subcommand::{self, Subcommand};
use crate::{
    broker::outlet::Event,
    redis::{call::Call, client::Silence, clients::ClientInfo, fault::Fault, wire::number::integer},
};

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand("getname", 2, "", "This connection's name.", getname),
    Subcommand("id", 2, "", "This connection's number.", id),
    Subcommand("info", 2, "", "This connection's line of LIST.", info),
    Subcommand(
        "kill",
        -3,
        "ip:port | [ID id] [TYPE type] [USER user] [ADDR ip:port] [LADDR ip:port] [SKIPME yes|no]",
        "Closes the connections that are meant.",
        kill,
    ),
    Subcommand("list", -2, "[TYPE type | ID id [id …]]", "A line for each connection.", list),
    Subcommand("no-evict", 3, "ON|OFF", "Nothing: nobody is evicted.", no_evict),
    Subcommand("reply", 3, "ON|OFF|SKIP", "Whether this connection is answered.", reply),
    Subcommand("setinfo", 4, "LIB-NAME|LIB-VER value", "What the client is made with.", setinfo),
    Subcommand("setname", 3, "name", "Gives this connection a name.", setname),
];

pub fn client(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    subcommand::run(call, "client", SUBCOMMANDS)
}

/// A name that may be shown in a list.
pub(super) fn name_of(bytes: &[u8]) -> Result<String, Fault> {
    match std::str::from_utf8(bytes) {
        Ok(name) if bytes.iter().all(u8::is_ascii_graphic) => Ok(name.to_owned()),
        Ok(_) | Err(_) => {
            Err(Fault::err("Client names cannot contain spaces, newlines or special characters."))
        }
    }
}

fn setname(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let name = name_of(call.argument(1))?;
    call.client.introduce(|shown| shown.name = name);
    call.reply.ok();
    Ok(())
}

fn getname(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let name = call.client.info.shown.lock().name.clone();
    call.reply.bulk_or_null((!name.is_empty()).then_some(name.as_bytes()));
    Ok(())
}

fn id(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    call.reply.integer(call.client.info.id.0.cast_signed());
    Ok(())
}

fn info(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let line = call.client.info.line(call.now) + "\n";
    call.reply.verbatim(&line);
    Ok(())
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER value` (Redis 7.2; clients send it to every server).
fn setinfo(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (attribute, value) = (call.argument(1), call.argument(2));
    let value = name_of(value).map_err(|_| {
        let attribute = String::from_utf8_lossy(attribute);
        Fault::Err(format!("{attribute} cannot contain spaces, newlines or special characters.").into())
    })?;
    match attribute.to_ascii_lowercase().as_slice() {
        b"lib-name" => call.client.introduce(|shown| shown.lib_name = value),
        b"lib-ver" => call.client.introduce(|shown| shown.lib_version = value),
        _ => {
            let attribute = String::from_utf8_lossy(attribute);
            return Err(Fault::Err(format!("Unrecognized option '{attribute}'").into()));
        }
    }
    call.reply.ok();
    Ok(())
}

/// Nobody is evicted here.
fn no_evict(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    match call.argument(1).to_ascii_lowercase().as_slice() {
        b"on" | b"off" => {
            call.reply.ok();
            Ok(())
        }
        _ => Err(Fault::Syntax),
    }
}

/// `CLIENT REPLY ON|OFF|SKIP`
fn reply(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    match call.argument(1).to_ascii_lowercase().as_slice() {
        b"on" => {
            call.client.silence = Silence::Off;
            call.reply.ok();
        }
        b"off" => call.client.silence = Silence::On,
        b"skip" if call.client.silence == Silence::Off => call.client.silence = Silence::Next,
        b"skip" => {}
        _ => return Err(Fault::Syntax),
    }
    Ok(())
}

/// Kinds of clients, as Redis names them; there are no others than the first two here.
const KINDS: &[&str] = &["normal", "pubsub", "master", "replica", "slave"];

fn kind_of(argument: &[u8]) -> Result<String, Fault> {
    let kind = String::from_utf8_lossy(argument).to_ascii_lowercase();
    if KINDS.contains(&kind.as_str()) {
        return Ok(kind);
    }
    let given = String::from_utf8_lossy(argument);
    Err(Fault::Err(format!("Unknown client type '{given}'").into()))
}

fn client_id(argument: &[u8]) -> Option<u64> {
    integer(argument).and_then(|n| u64::try_from(n).ok()).filter(|&n| n > 0)
}

/// `CLIENT LIST [TYPE type | ID id …]`
fn list(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let mut all = call.door.clients.all();
    match call.rest(1) {
        [] => {}
        [word, kind] if word.eq_ignore_ascii_case(b"type") => {
            let kind = kind_of(kind)?;
            all.retain(|info| info.kind() == kind);
        }
        [word, ids @ ..] if word.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|id| integer(id)).collect();
            let ids = ids.ok_or(Fault::err("Invalid client ID"))?;
            all.retain(|info| ids.contains(&info.id.0.cast_signed()));
        }
        _ => return Err(Fault::Syntax),
    }
    let lines: String = all.iter().map(|info| info.line(call.now) + "\n").collect();
    call.reply.verbatim(&lines);
    Ok(())
}

/// Whom `CLIENT KILL` means.
#[derive(Debug, Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<String>,
    address: Option<String>,
    local_address: Option<String>,
    user: Option<String>,
    skip_me: bool,
}

impl Filter {
    fn of(words: &[&[u8]]) -> Result<Self, Fault> {
        let mut filter = Self { skip_me: true, ..Self::default() };
        for pair in words.chunks(2) {
            let [word, value] = *pair else { return Err(Fault::Syntax) };
            let text = String::from_utf8_lossy(value).into_owned();
            match word.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = client_id(value).ok_or(Fault::err("client-id should be greater than 0"))?;
                    filter.id = Some(id);
                }
                b"type" => filter.kind = Some(kind_of(value)?),
                b"addr" => filter.address = Some(text),
                b"laddr" => filter.local_address = Some(text),
                b"user" => filter.user = Some(text),
                b"skipme" => match text.to_ascii_lowercase().as_str() {
                    "yes" => filter.skip_me = true,
                    "no" => filter.skip_me = false,
                    _ => return Err(Fault::Syntax),
                },
                _ => return Err(Fault::Syntax),
            }
        }
        Ok(filter)
    }

    fn means(&self, info: &ClientInfo, me: &ClientInfo) -> bool {
        let is = |wanted: &Option<String>, own: &str| wanted.as_deref().is_none_or(|wanted| wanted == own);
        !(self.skip_me && info.id == me.id)
            && self.id.is_none_or(|id| id == info.id.0)
            && is(&self.kind, info.kind())
            && is(&self.address, &info.ends.peer.to_string())
            && is(&self.local_address, &info.ends.local.to_string())
            && is(&self.user, &info.shown.lock().user)
    }
}

/// `CLIENT KILL address | [ID id] [TYPE type] [USER user] [ADDR address] [LADDR address] [SKIPME yes|no]`
fn kill(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (filter, old_form) = match *call.rest(1) {
        [address] => {
            let address = Some(String::from_utf8_lossy(address).into_owned());
            (Filter { address, ..Filter::default() }, true)
        }
        ref words => (Filter::of(words)?, false),
    };
    let me = call.client.info.clone();
    let meant: Vec<Arc<ClientInfo>> =
        call.door.clients.all().into_iter().filter(|info| filter.means(info, &me)).collect();
    for info in &meant {
        if info.id == me.id {
            // It hears of it first.
            call.client.closing = true;
        } else {
            info.outlet.push(Event::Close { reason: "CLIENT KILL".to_owned() });
        }
    }
    match (old_form, meant.len()) {
        (true, 0) => return Err(Fault::err("No such client")),
        (true, _) => call.reply.ok(),
        (false, n) => call.reply.count(n),
    }
    Ok(())
}
