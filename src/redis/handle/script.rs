//! Scripts. There is no Lua here: those that the libraries of queue users send are known by their SHA-1 and done natively,
//! any other is refused. Each library has its file in `script/`.

mod celery;
mod dramatiq;
mod huey;
mod kombu;
mod lock;
mod rq;

use bytes::BytesMut;
use sha1::{Digest, Sha1};

use super::subcommand::{self, Subcommand};
use crate::{
    broker::keyspace::text::Text,
    redis::{
        call::{self, Call},
        command,
        fault::Fault,
        wire::number::integer,
    },
};

/// A script's keys and arguments.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    keys: &'a [&'a [u8]],
    arguments: &'a [&'a [u8]],
}

impl<'a> Given<'a> {
    fn key(&self, at: usize) -> &'a [u8] {
        self.keys.get(at).copied().unwrap_or_default()
    }

    fn argument(&self, at: usize) -> &'a [u8] {
        self.arguments.get(at).copied().unwrap_or_default()
    }

    /// The first so many keys.
    fn keys<const N: usize>(&self) -> [&'a [u8]; N] {
        std::array::from_fn(|at| self.key(at))
    }

    /// The first so many arguments.
    fn arguments<const N: usize>(&self) -> [&'a [u8]; N] {
        std::array::from_fn(|at| self.argument(at))
    }
}

type Native = fn(&mut Call<'_, '_>, Given<'_>) -> Result<(), Fault>;

/// The scripts that are known: SHA-1, whose and what for, what does it.
const KNOWN: &[(&str, &str, Native)] = &[
    ("c3f8721cbb97f72bc19e972846bd7aaf91901658", "redis-py: Lock.release", lock::release),
    ("a4e8783852e6b949f9ef3a97212805108459a890", "redis-py: Lock.extend", lock::extend),
    ("1cac51482acf5858da00f6d685d68f886cd6b6b2", "redis-py: Lock.reacquire", lock::reacquire),
    ("b8fc152c83a7e634103ccebd49dcd3146a8f4366", "celery: a chord's part is done", celery::part_return),
    ("dc87180d6bcb7f73c7275eb0fe7a70baf0a8b7c7", "celery: who goes on with a chord", celery::extend_claim),
    ("59d7aab41242d82196947ba8926cab712416da4f", "celery: a chord is over", celery::clean_up),
    ("ef7a9e205fbaf46bf959e1522ff796622fc676c7", "kombu: a binding is kept", kombu::refresh_binding),
    ("9a2b966a0a2d2d0e36ec32bc30fc89342b94a4bf", "kombu: old bindings go", kombu::sweep_bindings),
    ("fdacc359c79a5adc3b8eeb53ff5772d7c42144e3", "dramatiq: everything of its broker", dramatiq::dispatch),
    ("63a257ff9edcee2888529b5d51c86f83444f91e4", "dramatiq: words of a command", dramatiq::words_max),
    ("4f30a2b0c2d7759adb15efd0d270a583531c67e2", "huey: what is due", huey::pop_due),
    ("88e0ad130d43a138d9a49c94534e6295326e3bbc", "huey: RedisSemaphore.acquire", huey::acquire),
    ("7fa455bebd62656de6babbbc824b8d61d51651b4", "huey: RedisSemaphore.renew", huey::renew),
    ("5cee5213d2ee93f19f93badbfc1c8abbccde5baf", "rq: a unique job is enqueued", rq::enqueue_unique),
    ("10808fbebdc9b5ffafa2b7f5f2ce29a5bc6a1e07", "rq: a unique job is scheduled", rq::schedule_unique),
    ("4227fa753143e6f652e2e185d254964b3a7413a5", "rq: a lock is taken or kept", rq::lock),
    ("d44df6e1a0e76df1009084a91af26cc23ac035a9", "rq: a lock is let go", lock::release),
    ("b3ee5dcfdd9c987f22a7271c7eea4d326e2f58d6", "rq: Queue.empty", rq::empty),
    ("5b83f28203fe8c5d659dad4a4d9cb09dddab19fe", "rq: limited jobs go on", rq::acquire),
    ("a716b92c4190e42558ccd53d80fe6b942719be32", "rq: a limited job is done", rq::release),
    ("4ce96f07c3f3cca3ca58da6fbeb7d07ebf1e23d4", "rq: a limited job is given up", rq::release_stale),
    ("cfc2f03eedca3549565274b1b2452765456ea38c", "rq: a limit is forgotten", rq::forget_limit),
];

/// Of a SHA-1 in hexadecimal digits.
const SHA1_CHARS: usize = 40;

fn known(sha1: &[u8]) -> Option<Native> {
    KNOWN
        .iter()
        .find(|(known, _, _)| sha1.eq_ignore_ascii_case(known.as_bytes()))
        .map(|(_, _, native)| *native)
}

fn sha1_of(script: &[u8]) -> String {
    Sha1::digest(script).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `numkeys key … argument …`
fn given<'a>(words: &'a [&'a [u8]]) -> Result<Given<'a>, Fault> {
    let (count, rest) = words.split_first().ok_or(Fault::Syntax)?;
    let count = integer(count).ok_or(Fault::NotInteger)?;
    let count = usize::try_from(count).map_err(|_| Fault::err("Number of keys can't be negative"))?;
    let (keys, arguments) = rest
        .split_at_checked(count)
        .ok_or(Fault::err("Number of keys can't be greater than number of args"))?;
    Ok(Given { keys, arguments })
}

/// `EVAL script numkeys key … argument …`
pub fn eval(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let given = given(call.rest(1))?;
    let sha1 = sha1_of(call.argument(0));
    let native = known(sha1.as_bytes()).ok_or(Fault::UnknownScript(sha1))?;
    native(call, given)
}

/// `EVALSHA sha1 numkeys key … argument …`
pub fn evalsha(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let sha1 = call.argument(0);
    if sha1.len() != SHA1_CHARS {
        return Err(Fault::NoScript);
    }
    let given = given(call.rest(1))?;
    let native = known(sha1).ok_or(Fault::NoScript)?;
    native(call, given)
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand("exists", -3, "sha1 [sha1 …]", "Which of these scripts are known.", exists),
    Subcommand("flush", -2, "[ASYNC|SYNC]", "Nothing: known scripts stay known.", flush),
    Subcommand("load", 3, "script", "A known script's SHA-1.", load),
];

pub fn script(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    subcommand::run(call, "script", SUBCOMMANDS)
}

fn load(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let sha1 = sha1_of(call.argument(1));
    if known(sha1.as_bytes()).is_none() {
        return Err(Fault::UnknownScript(sha1));
    }
    call.reply.text(&sha1);
    Ok(())
}

fn exists(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let all = call.rest(1);
    call.reply.array(all.len());
    all.iter().for_each(|sha1| call.reply.flag(known(sha1).is_some()));
    Ok(())
}

fn flush(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let is_way = |word: &[u8]| word.eq_ignore_ascii_case(b"async") || word.eq_ignore_ascii_case(b"sync");
    match *call.rest(1) {
        [] => {}
        [word] if is_way(word) => {}
        _ => return Err(Fault::err("SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    call.reply.ok();
    Ok(())
}

/// Does a command, as a script's `redis.call` would, and says nothing of it.
fn perform(call: &mut Call<'_, '_>, words: &[&[u8]]) -> Result<(), Fault> {
    let Some(command) = words.first().and_then(|name| command::find(name)) else { return Ok(()) };
    let mut unheard = BytesMut::new();
    let mut inner = call.inner(words);
    inner.reply.out = &mut unheard;
    call::admit(&inner, command, words)?;
    call::run(&mut inner, command)
}

/// Whether a key holds exactly that.
fn holds(call: &Call<'_, '_>, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
    let text = call.keys.get::<Text>(call.client.db, key)?;
    Ok(text.is_some_and(|text| text.as_bytes() == value))
}
