//! rq: unique jobs, the scheduler's lock, emptied queues, and limits on how many jobs run at once.

use super::{Given, holds, perform};
use crate::{
    broker::{
        keyspace::{fields::Hash, sorted::Sorted, text::Text},
        list::End,
    },
    redis::{
        call::Call,
        fault::Fault,
        wire::number::{float, integer},
    },
};

/// Saves a job's hash and its time, unless there is one; whether it was new.
fn save(call: &mut Call<'_, '_>, key: &[u8], ttl: &[u8], fields: &[&[u8]]) -> Result<bool, Fault> {
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

pub(super) fn enqueue_unique(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let fields = given.arguments.get(3..).unwrap_or_default();
    let new = save(call, given.key(0), given.argument(2), fields)?;
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

pub(super) fn schedule_unique(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let fields = given.arguments.get(4..).unwrap_or_default();
    let new = save(call, given.key(0), given.argument(1), fields)?;
    if new {
        perform(call, &[b"zadd", given.key(1), given.argument(2), given.argument(0)])?;
        perform(call, &[b"sadd", given.key(2), given.argument(3)])?;
    }
    call.reply.flag(new);
    Ok(())
}

/// 1: taken, 2: kept, 0: somebody else's.
pub(super) fn lock(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
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
const JOB: &[u8] = b"rq:job:";
const RESULTS: &[u8] = b"rq:results:";

pub(super) fn empty(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let mut count = 0;
    while let Some(id) = pop_first(call, given.key(0))? {
        let (job, results) = ([JOB, &id].concat(), [RESULTS, &id].concat());
        let dependents = [&job, &b":dependents"[..]].concat();
        perform(call, &[b"del", &job, &results, &dependents])?;
        count += 1;
    }
    call.reply.count(count);
    Ok(())
}

fn pop_first(call: &mut Call<'_, '_>, key: &[u8]) -> Result<Option<Box<[u8]>>, Fault> {
    let popped = call.keys.pop(call.client.db, key, End::Left, 1)?;
    Ok(popped.and_then(|mut elements| elements.pop()))
}

/// Jobs that a limit holds back go on, the oldest first, as long as there is room. Which, is the reply.
pub(super) fn acquire(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
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

pub(super) fn release(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    perform(call, &[b"zrem", given.key(0), given.argument(5)])?;
    acquire(call, given)
}

pub(super) fn release_stale(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let (db, id) = (call.db(), given.argument(5));
    let job = call.keys.get::<Hash>(db, given.key(2))?;
    let status = job.and_then(|job| job.get(b"status"));
    let is_at_work = matches!(status, Some(b"queued" | b"started"));
    let now = float(given.argument(1)).unwrap_or(f64::INFINITY);
    let executions = call.keys.get::<Sorted>(db, given.key(3))?;
    let is_alive = executions.is_some_and(|all| all.iter().any(|(_, until)| until > now));
    let has_slot = call.keys.get::<Sorted>(db, given.key(0))?.is_some_and(|all| all.score(id).is_some());
    if is_at_work || is_alive || !has_slot {
        call.reply.array(0);
        return Ok(());
    }
    release(call, given)
}

pub(super) fn forget_limit(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let len = |key| Ok::<_, Fault>(call.keys.get::<Sorted>(call.client.db, key)?.map_or(0, Sorted::len));
    let is_empty = len(given.key(0))? == 0 && len(given.key(1))? == 0;
    if is_empty {
        perform(call, &[b"srem", given.key(3), given.argument(0)])?;
        perform(call, &[b"del", given.key(0), given.key(1), given.key(2)])?;
    }
    call.reply.flag(is_empty);
    Ok(())
}
