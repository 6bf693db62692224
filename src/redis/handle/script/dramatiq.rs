//! dramatiq's broker, which is one script with a word for each thing to do.
//!
//! ```text
//! <namespace>:<queue>                       the ids of messages that wait
//! <namespace>:<queue>.msgs                  the messages by id, those that are worked at too
//! <namespace>:<queue>.XQ, .XQ.msgs          the dead ones by their time, and by id
//! <namespace>:__acks__.<worker>.<queue>     what a worker has
//! <namespace>:__heartbeats__                workers by the time they were last heard of
//! ```

use std::ops::Bound;

use super::{Given, perform};
use crate::{
    broker::{
        keyspace::{
            fields::{Hash, Set},
            sorted::{Scores, Sorted},
            waiters::Db,
        },
        list::End,
    },
    data::glob,
    redis::{call::Call, fault::Fault, wire::number::float},
};

/// As many words as Lua puts into one command, which dramatiq asks for (Redis 7.0.15).
pub(super) fn words_max(call: &mut Call<'_, '_>, _: Given<'_>) -> Result<(), Fault> {
    call.reply.integer(WORDS_MAX);
    Ok(())
}

const WORDS_MAX: i64 = 7992;

/// The keys of a queue, and what is asked for.
struct Asked<'a> {
    db: Db,
    namespace: &'a [u8],
    queue: &'a [u8],
    /// Ids of what waits.
    ids: Vec<u8>,
    messages: Vec<u8>,
    dead: Vec<u8>,
    dead_messages: Vec<u8>,
    heartbeats: Vec<u8>,
    /// What the asking worker has.
    at_work: Vec<u8>,
    timestamp: &'a [u8],
    /// Behind those that every request has.
    rest: &'a [&'a [u8]],
}

/// `command timestamp queue worker heartbeat_timeout dead_message_ttl maintain words_max …`
pub(super) fn dispatch(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let [command, timestamp, queue, worker, heartbeat_timeout, dead_ttl, maintain, words_max] =
        given.arguments();
    let namespace = given.key(0);
    // There are no dead letters of delayed ones: they are their queue's.
    let own = queue.strip_suffix(b".DQ").unwrap_or(queue);
    let (ids, dead) = ([namespace, b":", queue].concat(), [namespace, b":", own, b".XQ"].concat());
    let asked = Asked {
        db: call.db(),
        namespace,
        queue,
        messages: [&ids, &b".msgs"[..]].concat(),
        ids,
        dead_messages: [&dead, &b".msgs"[..]].concat(),
        dead,
        heartbeats: [namespace, b":__heartbeats__"].concat(),
        at_work: at_work(namespace, worker, queue),
        timestamp,
        rest: given.arguments.get(8..).unwrap_or_default(),
    };
    perform(call, &[b"zadd", &asked.heartbeats, timestamp, worker])?;
    if maintain == b"1" {
        maintain_queue(call, &asked, number(heartbeat_timeout)?, number(dead_ttl)?)?;
    }
    let id = asked.rest.first().copied().unwrap_or_default();
    match command {
        b"enqueue" => enqueue(call, &asked)?,
        b"fetch" => return fetch(call, &asked, number(id)?.min(number(words_max)?)),
        b"requeue" => {
            for id in asked.rest {
                if take_from_worker(call, &asked, id)? {
                    put_back(call, &asked, id)?;
                }
            }
        }
        b"ack" => acknowledge(call, &asked, id)?,
        b"nack" => bury(call, &asked, id)?,
        b"purge" => {
            let Asked { ids, at_work, messages, dead, dead_messages, .. } = &asked;
            perform(call, &[b"del", ids, at_work, messages, dead, dead_messages])?;
        }
        b"qsize" => return size(call, &asked, worker, own),
        // Nothing but having been heard of.
        _ => {}
    }
    call.reply.null();
    Ok(())
}

fn number(argument: &[u8]) -> Result<f64, Fault> {
    float(argument).ok_or(Fault::NotFloat)
}

fn at_work(namespace: &[u8], worker: &[u8], queue: &[u8]) -> Vec<u8> {
    [namespace, b":__acks__.", worker, b".", queue].concat()
}

/// What has a score from 0 up to that.
fn up_to(call: &Call<'_, '_>, key: &[u8], max: f64) -> Result<Vec<Vec<u8>>, Fault> {
    let scores = Scores { min: Bound::Included(0.0), max: Bound::Included(max) };
    let sorted = call.keys.get::<Sorted>(call.client.db, key)?;
    Ok(sorted.into_iter().flat_map(|sorted| sorted.in_range(scores)).map(|(name, _)| name.to_vec()).collect())
}

/// What workers had that are not heard of any more goes back; what has been dead for long goes.
fn maintain_queue(
    call: &mut Call<'_, '_>,
    asked: &Asked<'_>,
    heartbeat_timeout: f64,
    dead_ttl: f64,
) -> Result<(), Fault> {
    let now = number(asked.timestamp)?;
    for worker in up_to(call, &asked.heartbeats, now - heartbeat_timeout)? {
        let had = at_work(asked.namespace, &worker, asked.queue);
        let set = call.keys.get::<Set>(asked.db, &had)?;
        let ids: Vec<Vec<u8>> = set.into_iter().flat_map(Set::iter).map(<[u8]>::to_vec).collect();
        for id in &ids {
            put_back(call, asked, id)?;
        }
        call.keys.remove(asked.db, &had);
        let all = [asked.namespace, b":__acks__.", &worker, b"*"].concat();
        if !call.keys.walk(asked.db, 0).any(|(_, name, _)| glob::matches(&all, name)) {
            perform(call, &[b"zrem", &asked.heartbeats, &worker])?;
        }
    }
    for id in up_to(call, &asked.dead, now - dead_ttl)? {
        perform(call, &[b"zrem", &asked.dead, &id])?;
        perform(call, &[b"hdel", &asked.dead_messages, &id])?;
    }
    Ok(())
}

fn enqueue(call: &mut Call<'_, '_>, asked: &Asked<'_>) -> Result<(), Fault> {
    let (Some(id), Some(message)) = (asked.rest.first(), asked.rest.get(1)) else {
        return Err(Fault::Syntax);
    };
    perform(call, &[b"hset", &asked.messages, id, message])?;
    perform(call, &[b"rpush", &asked.ids, id])
}

/// Up to so many messages, which are the worker's from now on; null for one that has been purged.
fn fetch(call: &mut Call<'_, '_>, asked: &Asked<'_>, prefetch: f64) -> Result<(), Fault> {
    // A float that is none of a count becomes 0, or as many as there are.
    let popped = call.keys.pop(asked.db, &asked.ids, End::Left, prefetch as usize)?;
    let ids = popped.unwrap_or_default();
    for id in &ids {
        perform(call, &[b"sadd", &asked.at_work, id])?;
    }
    let messages = call.keys.get::<Hash>(asked.db, &asked.messages)?;
    call.reply.array(ids.len());
    ids.iter().for_each(|id| call.reply.bulk_or_null(messages.and_then(|messages| messages.get(id))));
    Ok(())
}

/// Whether the worker had it.
fn take_from_worker(call: &mut Call<'_, '_>, asked: &Asked<'_>, id: &[u8]) -> Result<bool, Fault> {
    let taken = call.keys.change(asked.db, &asked.at_work, |set: &mut Set, slots| set.remove(id, slots))?;
    Ok(taken == Some(true))
}

fn acknowledge(call: &mut Call<'_, '_>, asked: &Asked<'_>, id: &[u8]) -> Result<(), Fault> {
    if take_from_worker(call, asked, id)? {
        perform(call, &[b"hdel", &asked.messages, id])?;
    }
    Ok(())
}

/// It waits again, if its message is still there.
fn put_back(call: &mut Call<'_, '_>, asked: &Asked<'_>, id: &[u8]) -> Result<(), Fault> {
    if call.keys.get::<Hash>(asked.db, &asked.messages)?.is_some_and(|messages| messages.contains(id)) {
        perform(call, &[b"rpush", &asked.ids, id])?;
    }
    Ok(())
}

/// What the worker gives up is dead.
fn bury(call: &mut Call<'_, '_>, asked: &Asked<'_>, id: &[u8]) -> Result<(), Fault> {
    if !take_from_worker(call, asked, id)? {
        return Ok(());
    }
    let messages = call.keys.get::<Hash>(asked.db, &asked.messages)?;
    if let Some(message) = messages.and_then(|messages| messages.get(id)).map(<[u8]>::to_vec) {
        perform(call, &[b"zadd", &asked.dead, asked.timestamp, id])?;
        perform(call, &[b"hset", &asked.dead_messages, id, &message])?;
        perform(call, &[b"hdel", &asked.messages, id])?;
    }
    Ok(())
}

/// Messages of the queue and of those that are delayed for it, and what the worker has of both.
fn size(call: &mut Call<'_, '_>, asked: &Asked<'_>, worker: &[u8], own: &[u8]) -> Result<(), Fault> {
    let mut sum = 0;
    for queue in [own.to_vec(), [own, b".DQ"].concat()] {
        let messages = [asked.namespace, b":", &queue, b".msgs"].concat();
        let at_work = at_work(asked.namespace, worker, &queue);
        sum += call.keys.get::<Hash>(asked.db, &messages)?.map_or(0, Hash::len);
        sum += call.keys.get::<Set>(asked.db, &at_work)?.map_or(0, Set::len);
    }
    call.reply.count(sum);
    Ok(())
}
