//! Groups of consumers that share a stream: who got what, and who has acknowledged it.

use super::{
    stream::{Read, end_of, id_of, owned},
    subcommand::{self, Subcommand},
};
use crate::{
    broker::keyspace::{
        journal::Slots,
        stream::{Group, Id, Stream},
    },
    redis::{call::Call, fault::Fault, wire::number::integer},
};

/// Who reads: a group and one of its consumers.
type Reader<'a> = (&'a [u8], &'a [u8]);

/// Delivers what the group has not had yet.
pub(super) fn deliver_new(
    stream: &mut Stream,
    (group, consumer): Reader<'_>,
    (count, no_ack): (usize, bool),
    now_ms: i64,
    slots: &mut Slots<'_>,
) -> Vec<Read> {
    let Some(from) = stream.groups.get(group).and_then(|group| group.last.next()) else { return Vec::new() };
    let entries: Vec<Read> = stream.range(from, Id::MAX).take(count).map(owned).collect();
    if entries.is_empty() {
        return entries;
    }
    for (id, _) in &entries {
        stream.advance(group, *id);
    }
    stream.note_group(group, slots);
    if !no_ack {
        for (id, _) in &entries {
            stream.deliver(group, *id, (consumer, now_ms, 1), slots);
        }
    }
    entries
}

/// What a consumer has had and not acknowledged; what was deleted since has no fields.
pub(super) fn pending_of(
    stream: &Stream,
    (group, consumer): Reader<'_>,
    after: Id,
    count: usize,
) -> Vec<Read> {
    let (Some(group), Some(from)) = (stream.groups.get(group), after.next()) else { return Vec::new() };
    let mine = group.pending.range(from..).filter(|(_, pending)| *pending.consumer == *consumer);
    let read = |(id, _): (&Id, _)| match stream.get(*id) {
        Some(entry) => owned((*id, entry)),
        None => (*id, Vec::new()),
    };
    mine.take(count).map(read).collect()
}

const KEY_NEEDED: Fault = Fault::err(
    "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
);

pub(super) fn no_group(key: &[u8], group: &[u8]) -> Fault {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Fault::NoGroup(format!("No such consumer group '{group}' for key name '{key}'"))
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand("create", -5, "key group id|$ [MKSTREAM] [ENTRIESREAD n]", "Makes a group.", create),
    Subcommand("createconsumer", 5, "key group consumer", "Makes a consumer of a group.", create_consumer),
    Subcommand("delconsumer", 5, "key group consumer", "Removes a consumer of a group.", delete_consumer),
    Subcommand("destroy", 4, "key group", "Removes a group.", destroy),
    Subcommand("setid", -5, "key group id|$ [ENTRIESREAD n]", "Sets what a group has had last.", set_id),
];

pub fn xgroup(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    subcommand::run(call, "xgroup", SUBCOMMANDS)
}

/// Where a group begins: `$` is the end.
fn begins_at(word: &[u8], stream: Option<&Stream>) -> Result<Id, Fault> {
    if word == b"$" { Ok(stream.map_or(Id::MIN, |stream| stream.last)) } else { id_of(word, 0) }
}

/// `[MKSTREAM] [ENTRIESREAD n]`
fn options(name: &[u8], mut words: &[&[u8]], may_make: bool) -> Result<(bool, Option<u64>), Fault> {
    let (mut makes, mut read) = (false, None);
    while let Some((word, rest)) = words.split_first() {
        words = match rest {
            rest if may_make && word.eq_ignore_ascii_case(b"mkstream") => {
                makes = true;
                rest
            }
            [n, rest @ ..] if word.eq_ignore_ascii_case(b"entriesread") => {
                let n = integer(n).ok_or(Fault::NotInteger)?;
                if n < -1 {
                    return Err(Fault::err("value for ENTRIESREAD must be positive or -1"));
                }
                read = u64::try_from(n).ok();
                rest
            }
            _ => return Err(Fault::SubcommandSyntax { command: "xgroup", name: name.to_vec() }),
        };
    }
    Ok((makes, read))
}

/// `CREATE key group id|$ [MKSTREAM] [ENTRIESREAD n]`
fn create(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, group) = (call.db(), call.argument(1), call.argument(2));
    let (makes, read) = options(call.argument(0), call.rest(4), true)?;
    let stream = call.keys.get::<Stream>(db, key)?;
    if stream.is_none() && !makes {
        return Err(KEY_NEEDED);
    }
    let last = begins_at(call.argument(3), stream)?;
    let made = call.keys.change_or_make(db, key, |stream: &mut Stream, slots| {
        stream.note(slots);
        stream.make_group(group, last, read, slots)
    })?;
    if !made {
        return Err(Fault::BusyGroup);
    }
    call.reply.ok();
    Ok(())
}

/// The stream's group of that name must be there.
fn need_group(call: &Call<'_, '_>) -> Result<(), Fault> {
    let (key, group) = (call.argument(1), call.argument(2));
    let stream = call.keys.get::<Stream>(call.client.db, key)?.ok_or(KEY_NEEDED)?;
    if stream.groups.contains_key(group) { Ok(()) } else { Err(no_group(key, group)) }
}

/// `SETID key group id|$ [ENTRIESREAD n]`
fn set_id(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, name) = (call.db(), call.argument(1), call.argument(2));
    let (_, read) = options(call.argument(0), call.rest(4), false)?;
    need_group(call)?;
    let last = match call.argument(3) {
        word @ (b"-" | b"+") => end_of(word, true)?,
        word => begins_at(word, call.keys.get::<Stream>(db, key)?)?,
    };
    call.keys.change(db, key, |stream: &mut Stream, slots| {
        if let Some(group) = stream.groups.get_mut(name) {
            (group.last, group.read) = (last, read);
        }
        stream.note_group(name, slots);
    })?;
    call.reply.ok();
    Ok(())
}

fn destroy(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, group) = (call.db(), call.argument(1), call.argument(2));
    let destroyed =
        call.keys.change(db, key, |stream: &mut Stream, slots| stream.remove_group(group, slots))?;
    call.reply.flag(destroyed.ok_or(KEY_NEEDED)?);
    Ok(())
}

fn create_consumer(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    need_group(call)?;
    let (db, key, group, name) = (call.db(), call.argument(1), call.argument(2), call.argument(3));
    let now_ms = call.keys.now_ms;
    let new = call
        .keys
        .change(db, key, |stream: &mut Stream, slots| stream.see_consumer(group, name, now_ms, slots))?;
    call.reply.flag(new == Some(true));
    Ok(())
}

fn delete_consumer(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    need_group(call)?;
    let (db, key, group, name) = (call.db(), call.argument(1), call.argument(2), call.argument(3));
    let pending =
        call.keys.change(db, key, |stream: &mut Stream, slots| stream.remove_consumer(group, name, slots))?;
    call.reply.count(pending.unwrap_or(0));
    Ok(())
}

/// `XACK key group id …`
pub fn xack(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key, group) = (call.db(), call.argument(0), call.argument(1));
    let stream = call.keys.get::<Stream>(db, key)?;
    if stream.is_none_or(|stream| !stream.groups.contains_key(group)) {
        call.reply.count(0);
        return Ok(());
    }
    let ids: Vec<Id> = call.rest(2).iter().map(|id| id_of(id, 0)).collect::<Result<_, _>>()?;
    let acknowledged = call.keys.change(db, key, |stream: &mut Stream, slots| {
        ids.iter().filter(|&&id| stream.acknowledge(group, id, slots)).count()
    })?;
    call.reply.count(acknowledged.unwrap_or(0));
    Ok(())
}

/// The group that `XPENDING`, `XCLAIM` and `XAUTOCLAIM` name.
fn group_of<'a>(call: &'a Call<'_, '_>) -> Result<(&'a Stream, &'a Group), Fault> {
    let (key, group) = (call.argument(0), call.argument(1));
    let stream = call.keys.get::<Stream>(call.client.db, key)?;
    stream.and_then(|stream| Some((stream, stream.groups.get(group)?))).ok_or_else(|| {
        let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
        Fault::NoGroup(format!("No such key '{key}' or consumer group '{group}'"))
    })
}

/// `XPENDING key group [[IDLE ms] start end count [consumer]]`
pub fn xpending(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let mut words = call.rest(2);
    if words.is_empty() {
        return summary(call);
    }
    if !(3..=6).contains(&words.len()) {
        return Err(Fault::Syntax);
    }
    let mut idle_ms = 0;
    if let [word, ms, rest @ ..] = words
        && word.eq_ignore_ascii_case(b"idle")
    {
        idle_ms = integer(ms).ok_or(Fault::NotInteger)?;
        words = rest;
    }
    let [start, end, count, consumer @ ..] = words else { return Err(Fault::Syntax) };
    // Whatever stands behind the consumer is not looked at.
    let consumer = consumer.first().copied();
    let count = integer(count).ok_or(Fault::NotInteger)?;
    let (from, to) = (end_of(start, true)?, end_of(end, false)?);
    let now_ms = call.keys.now_ms;
    let rows: Vec<(Id, Vec<u8>, i64, u64)> = {
        let (_, group) = group_of(call)?;
        let range = (from <= to).then(|| group.pending.range(from..=to)).into_iter().flatten();
        let wanted = range.filter(|(_, pending)| {
            consumer.is_none_or(|consumer| *pending.consumer == *consumer)
                && now_ms - pending.delivered_at_ms >= idle_ms
        });
        let row = |(id, pending): (&Id, &crate::broker::keyspace::stream::Pending)| {
            let idle = (now_ms - pending.delivered_at_ms).max(0);
            (*id, pending.consumer.to_vec(), idle, pending.deliveries)
        };
        wanted.take(usize::try_from(count).unwrap_or(0)).map(row).collect()
    };
    call.reply.array(rows.len());
    for (id, consumer, idle, deliveries) in rows {
        call.reply.array(4);
        call.reply.text(&id.to_string());
        call.reply.bulk(&consumer);
        call.reply.integer(idle);
        call.reply.integer(deliveries.cast_signed());
    }
    Ok(())
}

/// How many, from where to where, and whose.
fn summary(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (ends, count, consumers) = {
        let (_, group) = group_of(call)?;
        let first = group.pending.first_key_value().map(|(id, _)| *id);
        let last = group.pending.last_key_value().map(|(id, _)| *id);
        let of = |name: &[u8]| group.pending.values().filter(|pending| *pending.consumer == *name).count();
        let consumers: Vec<(Vec<u8>, usize)> =
            group.consumers.keys().map(|name| (name.to_vec(), of(name))).filter(|(_, n)| *n > 0).collect();
        (first.zip(last), group.pending.len(), consumers)
    };
    call.reply.array(4);
    call.reply.count(count);
    let Some((first, last)) = ends else {
        call.reply.null();
        call.reply.null();
        call.reply.null_array();
        return Ok(());
    };
    call.reply.text(&first.to_string());
    call.reply.text(&last.to_string());
    call.reply.array(consumers.len());
    for (name, count) in consumers {
        call.reply.array(2);
        call.reply.bulk(&name);
        call.reply.text(&count.to_string());
    }
    Ok(())
}

/// How a delivery is taken over.
#[derive(Debug, Default)]
struct Claim {
    idle_ms: Option<i64>,
    at_ms: Option<i64>,
    retries: Option<u64>,
    force: bool,
    ids_only: bool,
    last: Option<Id>,
}

impl Claim {
    fn of(mut words: &[&[u8]]) -> Result<Self, Fault> {
        let mut claim = Self::default();
        while let Some((word, rest)) = words.split_first() {
            words = match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"force", rest) => {
                    claim.force = true;
                    rest
                }
                (b"justid", rest) => {
                    claim.ids_only = true;
                    rest
                }
                (b"idle", [ms, rest @ ..]) => {
                    let bad = Fault::err("Invalid IDLE option argument for XCLAIM");
                    claim.idle_ms = Some(integer(ms).ok_or(bad)?);
                    rest
                }
                (b"time", [ms, rest @ ..]) => {
                    let bad = Fault::err("Invalid TIME option argument for XCLAIM");
                    claim.at_ms = Some(integer(ms).ok_or(bad)?);
                    rest
                }
                (b"retrycount", [n, rest @ ..]) => {
                    let bad = Fault::err("Invalid RETRYCOUNT option argument for XCLAIM");
                    // Less than none is not asked for.
                    claim.retries = u64::try_from(integer(n).ok_or(bad)?).ok();
                    rest
                }
                (b"lastid", [id, rest @ ..]) => {
                    claim.last = Some(id_of(id, 0)?);
                    rest
                }
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(Fault::Err(format!("Unrecognized XCLAIM option '{word}'").into()));
                }
            };
        }
        Ok(claim)
    }

    fn delivered_at_ms(&self, now_ms: i64) -> i64 {
        match (self.at_ms, self.idle_ms) {
            // One that is before all times, or to come, is now.
            (Some(at_ms), _) if (0..=now_ms).contains(&at_ms) => at_ms,
            (None, Some(idle_ms)) => {
                now_ms.checked_sub(idle_ms).filter(|at| (0..=now_ms).contains(at)).unwrap_or(now_ms)
            }
            (Some(_) | None, _) => now_ms,
        }
    }
}

/// Takes a delivery over; what was deleted since is acknowledged instead. `None`: it is not taken.
fn claim_one(
    stream: &mut Stream,
    (group, consumer): Reader<'_>,
    (id, min_idle_ms): (Id, i64),
    (claim, now_ms): (&Claim, i64),
    slots: &mut Slots<'_>,
) -> Option<Read> {
    let pending = stream.groups.get(group).and_then(|group| group.pending.get(&id));
    let deliveries = match pending {
        Some(pending) if now_ms - pending.delivered_at_ms < min_idle_ms => return None,
        Some(pending) => pending.deliveries,
        None if claim.force => 0,
        None => return None,
    };
    let Some(entry) = stream.get(id) else {
        stream.acknowledge(group, id, slots);
        return None;
    };
    let read = owned((id, entry));
    let deliveries = claim.retries.unwrap_or(deliveries + u64::from(!claim.ids_only));
    stream.deliver(group, id, (consumer, claim.delivered_at_ms(now_ms), deliveries), slots);
    Some(read)
}

fn tell_claimed(call: &mut Call<'_, '_>, claimed: &[Read], ids_only: bool) {
    call.reply.array(claimed.len());
    for (id, fields) in claimed {
        if ids_only {
            call.reply.text(&id.to_string());
        } else {
            call.reply.array(2);
            call.reply.text(&id.to_string());
            call.reply.array(fields.len());
            fields.iter().for_each(|field| call.reply.bulk(field));
        }
    }
}

/// `XCLAIM key group consumer min-idle-ms id … [IDLE ms] [TIME ms] [RETRYCOUNT n] [FORCE] [JUSTID] [LASTID id]`
pub fn xclaim(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    group_of(call)?;
    let (db, key, group, consumer) = (call.db(), call.argument(0), call.argument(1), call.argument(2));
    let bad = Fault::err("Invalid min-idle-time argument for XCLAIM");
    let min_idle_ms = integer(call.argument(3)).ok_or(bad)?.max(0);
    let words = call.rest(4);
    let ids: Vec<Id> = words.iter().map_while(|word| id_of(word, 0).ok()).collect();
    let claim = Claim::of(words.get(ids.len()..).unwrap_or_default())?;
    let now_ms = call.keys.now_ms;
    let claimed = call.keys.change(db, key, |stream: &mut Stream, slots| {
        stream.see_consumer(group, consumer, now_ms, slots);
        if let Some(last) = claim.last
            && let Some(of) = stream.groups.get_mut(group)
            && last > of.last
        {
            of.last = last;
            stream.note_group(group, slots);
        }
        let mut one = |id| claim_one(stream, (group, consumer), (id, min_idle_ms), (&claim, now_ms), slots);
        ids.into_iter().filter_map(&mut one).collect::<Vec<_>>()
    })?;
    tell_claimed(call, &claimed.unwrap_or_default(), claim.ids_only);
    Ok(())
}

/// Deliveries that one `XAUTOCLAIM` looks at, for each that it may take.
const LOOKED_AT: usize = 10;

/// What one may take at most: Redis' limit, which has room for an id of each.
const CLAIMED_MAX: usize = i64::MAX as usize / 16;

/// `XAUTOCLAIM key group consumer min-idle-ms start [COUNT count] [JUSTID]`
pub fn xautoclaim(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let bad = Fault::err("Invalid min-idle-time argument for XAUTOCLAIM");
    let min_idle_ms = integer(call.argument(3)).ok_or(bad)?.max(0);
    let start = end_of(call.argument(4), true)?;
    let (mut count, mut claim, mut words) = (100, Claim::default(), call.rest(5));
    while let Some((word, rest)) = words.split_first() {
        words = match rest {
            rest if word.eq_ignore_ascii_case(b"justid") => {
                claim.ids_only = true;
                rest
            }
            [n, rest @ ..] if word.eq_ignore_ascii_case(b"count") => {
                let n = integer(n).and_then(|n| usize::try_from(n).ok());
                let n = n.filter(|n| (1..=CLAIMED_MAX).contains(n));
                count = n.ok_or(Fault::err("COUNT must be > 0"))?;
                rest
            }
            _ => return Err(Fault::Syntax),
        };
    }
    group_of(call)?;
    let (db, key, group, consumer) = (call.db(), call.argument(0), call.argument(1), call.argument(2));
    let now_ms = call.keys.now_ms;
    let outcome = call.keys.change(db, key, |stream: &mut Stream, slots| {
        stream.see_consumer(group, consumer, now_ms, slots);
        let of_group = stream.groups.get(group).into_iter().flat_map(|group| group.pending.range(start..));
        let looked: Vec<Id> = of_group.map(|(id, _)| *id).take(count * LOOKED_AT + 1).collect();
        let (mut claimed, mut deleted, mut next) = (Vec::new(), Vec::new(), Id::MIN);
        for (at, id) in looked.into_iter().enumerate() {
            if claimed.len() + deleted.len() >= count || at >= count * LOOKED_AT {
                next = id;
                break;
            }
            let is_deleted = stream.get(id).is_none();
            if is_deleted {
                stream.acknowledge(group, id, slots);
                deleted.push(id);
            } else {
                let by = (group, consumer);
                claimed.extend(claim_one(stream, by, (id, min_idle_ms), (&claim, now_ms), slots));
            }
        }
        (next, claimed, deleted)
    })?;
    let (next, claimed, deleted) = outcome.unwrap_or_default();
    call.reply.array(3);
    call.reply.text(&next.to_string());
    tell_claimed(call, &claimed, claim.ids_only);
    call.reply.array(deleted.len());
    deleted.iter().for_each(|id| call.reply.text(&id.to_string()));
    Ok(())
}
