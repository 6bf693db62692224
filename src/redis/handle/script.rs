//! Scripts. There is no Lua here: those that the libraries of queue users send are known by their SHA-1 and done natively,
//! any other is refused.

use bytes::BytesMut;
use sha1::{Digest, Sha1};

use crate::{
    broker::keyspace::{fields::Hash, sorted::Sorted, text::Text},
    redis::{
        call::{self, Call},
        command,
        fault::Fault,
        wire::{number::integer, reply::Reply},
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
}

type Native = fn(&mut Call<'_, '_>, Given<'_>) -> Result<(), Fault>;

/// The scripts that are known: SHA-1, whose and what for, what does it.
const KNOWN: &[(&str, &str, Native)] = &[
    ("c3f8721cbb97f72bc19e972846bd7aaf91901658", "redis-py: Lock.release", lock_release),
    ("a4e8783852e6b949f9ef3a97212805108459a890", "redis-py: Lock.extend", lock_extend),
    ("1cac51482acf5858da00f6d685d68f886cd6b6b2", "redis-py: Lock.reacquire", lock_reacquire),
    ("ef7a9e205fbaf46bf959e1522ff796622fc676c7", "kombu: a binding is kept", kombu_refresh_binding),
    ("9a2b966a0a2d2d0e36ec32bc30fc89342b94a4bf", "kombu: old bindings go", kombu_sweep_bindings),
    ("5cee5213d2ee93f19f93badbfc1c8abbccde5baf", "rq: a unique job is enqueued", rq_enqueue_unique),
    ("10808fbebdc9b5ffafa2b7f5f2ce29a5bc6a1e07", "rq: a unique job is scheduled", rq_schedule_unique),
    ("4227fa753143e6f652e2e185d254964b3a7413a5", "rq: a lock is taken or kept", rq_lock),
    ("d44df6e1a0e76df1009084a91af26cc23ac035a9", "rq: a lock is let go", lock_release),
    ("b3ee5dcfdd9c987f22a7271c7eea4d326e2f58d6", "rq: Queue.empty", rq_empty),
    ("5b83f28203fe8c5d659dad4a4d9cb09dddab19fe", "rq: limited jobs go on", rq_acquire),
    ("a716b92c4190e42558ccd53d80fe6b942719be32", "rq: a limited job is done", rq_release),
    ("4ce96f07c3f3cca3ca58da6fbeb7d07ebf1e23d4", "rq: a limited job is given up", rq_release_stale),
    ("cfc2f03eedca3549565274b1b2452765456ea38c", "rq: a limit is forgotten", rq_forget_limit),
];

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
    let given = given(call.rest(1))?;
    let native = known(call.argument(0)).ok_or(Fault::NoScript)?;
    native(call, given)
}

/// `SCRIPT LOAD script | EXISTS sha1 … | FLUSH [ASYNC|SYNC]`
pub fn script(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let asked = call.argument(0);
    match (asked.to_ascii_lowercase().as_slice(), call.rest(1)) {
        (b"load", [script]) => {
            let sha1 = sha1_of(script);
            if known(sha1.as_bytes()).is_none() {
                return Err(Fault::UnknownScript(sha1));
            }
            call.reply.text(&sha1);
        }
        (b"exists", all @ [_, ..]) => {
            call.reply.array(all.len());
            all.iter().for_each(|sha1| call.reply.flag(known(sha1).is_some()));
        }
        // What is known is always known.
        (b"flush", []) => call.reply.ok(),
        (b"flush", [word]) if word.eq_ignore_ascii_case(b"async") || word.eq_ignore_ascii_case(b"sync") => {
            call.reply.ok();
        }
        (b"flush", [_]) => return Err(Fault::err("SCRIPT FLUSH only support SYNC|ASYNC option")),
        (b"load" | b"exists" | b"flush", _) => return Err(Fault::arity_of("script", asked)),
        _ => return Err(Fault::UnknownSubcommand { command: "script", name: asked.to_vec() }),
    }
    Ok(())
}

/// Does a command, as a script's `redis.call` would, and says nothing of it.
fn perform(call: &mut Call<'_, '_>, words: &[&[u8]]) -> Result<(), Fault> {
    let Some(command) = words.first().and_then(|name| command::find(name)) else { return Ok(()) };
    let mut unheard = BytesMut::new();
    let mut inner = Call {
        arguments: words.get(1..).unwrap_or_default(),
        reply: Reply { out: &mut unheard, resp: call.client.resp },
        client: call.client,
        keys: call.keys,
        door: call.door,
        now: call.now,
        alone: false,
    };
    call::admit(&inner, command, words)?;
    call::run(&mut inner, command)
}

/// Whether a key holds exactly that.
fn holds(call: &Call<'_, '_>, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
    let text = call.keys.get::<Text>(call.client.db, key)?;
    Ok(text.is_some_and(|text| text.as_bytes() == value))
}

fn lock_release(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let mine = holds(call, given.key(0), given.argument(0))?;
    if mine {
        call.keys.remove(call.client.db, given.key(0));
    }
    call.reply.flag(mine);
    Ok(())
}

/// Adds to the time left, or replaces it; a lock without one is not extended.
fn lock_extend(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let (key, more) = (given.key(0), integer(given.argument(1)).ok_or(Fault::NotInteger)?);
    let expires_at_ms = call.keys.expires_at_ms(call.client.db, key);
    let Some(at_ms) = expires_at_ms.filter(|_| holds(call, key, given.argument(0)) == Ok(true)) else {
        call.reply.flag(false);
        return Ok(());
    };
    let from_ms = if given.argument(2) == b"0" { at_ms } else { call.keys.now_ms };
    call.keys.expire(call.client.db, key, Some(from_ms.saturating_add(more)));
    call.reply.flag(true);
    Ok(())
}

fn lock_reacquire(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let mine = holds(call, given.key(0), given.argument(0))?;
    if mine {
        perform(call, &[b"pexpire", given.key(0), given.argument(1)])?;
    }
    call.reply.flag(mine);
    Ok(())
}

fn kombu_refresh_binding(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let lifetime_ms = integer(given.argument(2)).ok_or(Fault::NotInteger)?;
    let deadline = call.keys.now_ms.saturating_add(lifetime_ms).to_string();
    perform(call, &[b"sadd", given.key(0), given.argument(0)])?;
    perform(call, &[b"zadd", given.key(1), b"GT", deadline.as_bytes(), given.argument(1)])?;
    call.reply.null();
    Ok(())
}

/// Exchanges whose bindings nobody has kept lose them, unless some are for ever.
fn kombu_sweep_bindings(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let (deadlines, most) = (given.key(0), integer(given.argument(2)).ok_or(Fault::NotInteger)?);
    let now_ms = call.keys.now_ms as f64;
    let sorted = call.keys.get::<Sorted>(call.client.db, deadlines)?;
    let overdue = sorted.into_iter().flat_map(Sorted::iter).take_while(|(_, at_ms)| *at_ms <= now_ms);
    let exchanges: Vec<Vec<u8>> =
        overdue.take(usize::try_from(most).unwrap_or(usize::MAX)).map(|(name, _)| name.to_vec()).collect();
    for exchange in &exchanges {
        let permanent = [given.argument(1), exchange].concat();
        if call.keys.kind(call.client.db, &permanent).is_none() {
            perform(call, &[b"del", &[given.argument(0), exchange].concat()])?;
        }
        perform(call, &[b"zrem", deadlines, exchange])?;
    }
    call.reply.count(exchanges.len());
    Ok(())
}

/// Saves a job's hash and its time, unless there is one; whether it was new.
fn rq_save(call: &mut Call<'_, '_>, key: &[u8], ttl: &[u8], fields: &[&[u8]]) -> Result<bool, Fault> {
    if call.keys.kind(call.client.db, key).is_some() {
        return Ok(false);
    }
    if !fields.is_empty() {
        perform(call, &[&[b"hset", key], fields].concat())?;
    }
    if integer(ttl).is_some_and(|ttl| ttl > 0) {
        perform(call, &[b"expire", key, ttl])?;
    }
    Ok(true)
}

fn rq_enqueue_unique(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let fields = given.arguments.get(3..).unwrap_or_default();
    let new = rq_save(call, given.key(0), given.argument(2), fields)?;
    if new {
        match given.argument(1) {
            b"L" => perform(call, &[b"lpush", given.key(1), given.argument(0)])?,
            b"R" => perform(call, &[b"rpush", given.key(1), given.argument(0)])?,
            _ => {}
        }
    }
    call.reply.flag(new);
    Ok(())
}

fn rq_schedule_unique(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let fields = given.arguments.get(4..).unwrap_or_default();
    let new = rq_save(call, given.key(0), given.argument(1), fields)?;
    if new {
        perform(call, &[b"zadd", given.key(1), given.argument(2), given.argument(0)])?;
        perform(call, &[b"sadd", given.key(2), given.argument(3)])?;
    }
    call.reply.flag(new);
    Ok(())
}

/// 1: taken, 2: kept, 0: somebody else's.
fn rq_lock(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let (key, owner, ttl) = (given.key(0), given.argument(0), given.argument(1));
    let outcome = if call.keys.get::<Text>(call.client.db, key)?.is_none() {
        perform(call, &[b"set", key, owner, b"EX", ttl])?;
        1
    } else if holds(call, key, owner)? {
        perform(call, &[b"expire", key, ttl])?;
        2
    } else {
        0
    };
    call.reply.integer(outcome);
    Ok(())
}

/// rq's default names, which are part of the script.
const RQ_JOB: &[u8] = b"rq:job:";
const RQ_RESULTS: &[u8] = b"rq:results:";

fn rq_empty(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let mut count = 0;
    while let Some(id) = pop_first(call, given.key(0))? {
        let (job, results) = ([RQ_JOB, &id].concat(), [RQ_RESULTS, &id].concat());
        let dependents = [&job, &b":dependents"[..]].concat();
        perform(call, &[b"del", &job, &results, &dependents])?;
        count += 1;
    }
    call.reply.count(count);
    Ok(())
}

fn pop_first(call: &mut Call<'_, '_>, key: &[u8]) -> Result<Option<Box<[u8]>>, Fault> {
    let popped = call.keys.pop(call.client.db, key, crate::broker::list::End::Left, 1)?;
    Ok(popped.and_then(|mut elements| elements.pop()))
}

/// Jobs that a limit holds back go on, the oldest first, as long as there is room. Which, is the reply.
fn rq_acquire(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let concurrency = integer(given.argument(0)).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let (allowed, limited) = (given.key(0), given.key(1));
    let mut promoted: Vec<Vec<u8>> = Vec::new();
    while call.keys.get::<Sorted>(call.client.db, allowed)?.map_or(0, Sorted::len) < concurrency {
        let oldest = call.keys.get::<Sorted>(call.client.db, limited)?;
        let Some(id) = oldest.and_then(|sorted| sorted.iter().next().map(|(id, _)| id.to_vec())) else {
            break;
        };
        perform(call, &[b"zrem", limited, &id])?;
        let job = [given.argument(4), &id].concat();
        let hash = call.keys.get::<Hash>(call.client.db, &job)?;
        let field = |name: &[u8]| hash.and_then(|hash| hash.get(name)).map(<[u8]>::to_vec);
        let (origin, status) = (field(b"origin"), field(b"status"));
        let at_front = field(b"enqueue_at_front").as_deref() == Some(b"1");
        let Some(origin) = origin.filter(|_| status.as_deref() == Some(b"rate_limited")) else { continue };
        perform(call, &[b"zadd", allowed, given.argument(1), &id])?;
        let queue = [given.argument(3), &origin].concat();
        perform(call, &[if at_front { b"lpush" } else { b"rpush" }, &queue, &id])?;
        perform(call, &[b"hset", &job, b"status", b"queued", b"enqueued_at", given.argument(2)])?;
        promoted.push(id);
    }
    call.reply.array(promoted.len());
    promoted.iter().for_each(|id| call.reply.bulk(id));
    Ok(())
}

fn rq_release(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    perform(call, &[b"zrem", given.key(0), given.argument(5)])?;
    rq_acquire(call, given)
}

fn rq_release_stale(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let (db, id) = (call.db(), given.argument(5));
    let job = call.keys.get::<Hash>(db, given.key(2))?;
    let status = job.and_then(|job| job.get(b"status"));
    let is_at_work = matches!(status, Some(b"queued" | b"started"));
    let now = crate::redis::wire::number::float(given.argument(1)).unwrap_or(f64::INFINITY);
    let executions = call.keys.get::<Sorted>(db, given.key(3))?;
    let is_alive = executions.is_some_and(|all| all.iter().any(|(_, until)| until > now));
    let has_slot = call.keys.get::<Sorted>(db, given.key(0))?.is_some_and(|all| all.score(id).is_some());
    if is_at_work || is_alive || !has_slot {
        call.reply.array(0);
        return Ok(());
    }
    rq_release(call, given)
}

fn rq_forget_limit(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let len = |key| Ok::<_, Fault>(call.keys.get::<Sorted>(call.client.db, key)?.map_or(0, Sorted::len));
    let is_empty = len(given.key(0))? == 0 && len(given.key(1))? == 0;
    if is_empty {
        perform(call, &[b"srem", given.key(3), given.argument(0)])?;
        perform(call, &[b"del", given.key(0), given.key(1), given.key(2)])?;
    }
    call.reply.flag(is_empty);
    Ok(())
}
