//! `XINFO`: what a stream is, and what its groups are at.

use super::{
    stream::tell_entry,
    stream_group::no_group,
    subcommand::{self, Subcommand},
};
use crate::{
    broker::keyspace::{
        stream::{Consumer, Group, Id, Pending, Stream},
        waiters::Name,
    },
    redis::{
        call::Call,
        fault::Fault,
        wire::{number::integer, reply::Reply},
    },
};

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand("consumers", 4, "key group", "Consumers of a group.", info_consumers),
    Subcommand("groups", 3, "key", "Groups of a stream.", info_groups),
    Subcommand("stream", -3, "key [FULL [COUNT count]]", "A stream, or everything of it.", info_stream),
];

pub fn xinfo(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    subcommand::run(call, "xinfo", SUBCOMMANDS)
}

/// Entries and deliveries that `FULL` tells without a count.
const FULL_COUNT: usize = 10;

fn info_stream(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let stream = call.keys.get::<Stream>(call.client.db, call.argument(1))?.ok_or(Fault::NoSuchKey)?;
    let count = match *call.arguments.get(2..).unwrap_or_default() {
        [] => None,
        [full] if full.eq_ignore_ascii_case(b"full") => Some(FULL_COUNT),
        [full, count, n] if full.eq_ignore_ascii_case(b"full") && count.eq_ignore_ascii_case(b"count") => {
            match integer(n).ok_or(Fault::NotInteger)? {
                0 => Some(usize::MAX),
                n => Some(usize::try_from(n).unwrap_or(FULL_COUNT)),
            }
        }
        _ => {
            let name = call.arguments.first().copied().unwrap_or_default().to_vec();
            return Err(Fault::SubcommandSyntax { command: "xinfo", name });
        }
    };
    call.reply.map(if count.is_some() { 9 } else { 10 });
    tell_stream(&mut call.reply, stream);
    match count {
        Some(count) => tell_full(&mut call.reply, stream, count),
        None => tell_ends(&mut call.reply, stream),
    }
    Ok(())
}

fn tell_stream(reply: &mut Reply<'_>, stream: &Stream) {
    let first = stream.range(Id::MIN, Id::MAX).next();
    reply.text("length");
    reply.count(stream.len());
    // Of Redis' radix tree; there is none.
    reply.text("radix-tree-keys");
    reply.integer(1);
    reply.text("radix-tree-nodes");
    reply.integer(2);
    reply.text("last-generated-id");
    reply.text(&stream.last.to_string());
    reply.text("max-deleted-entry-id");
    reply.text(&stream.max_deleted.to_string());
    reply.text("entries-added");
    reply.integer(stream.added.cast_signed());
    reply.text("recorded-first-entry-id");
    reply.text(&first.map_or(Id::MIN, |(id, _)| id).to_string());
}

fn tell_ends(reply: &mut Reply<'_>, stream: &Stream) {
    reply.text("groups");
    reply.count(stream.groups.len());
    let first = stream.range(Id::MIN, Id::MAX).next();
    let last = stream.range(Id::MIN, Id::MAX).next_back();
    for (name, entry) in [("first-entry", first), ("last-entry", last)] {
        reply.text(name);
        match entry {
            Some((id, entry)) => tell_entry(reply, id, entry),
            None => reply.null(),
        }
    }
}

fn tell_full(reply: &mut Reply<'_>, stream: &Stream, count: usize) {
    let entries: Vec<_> = stream.range(Id::MIN, Id::MAX).take(count).collect();
    reply.text("entries");
    reply.array(entries.len());
    entries.iter().for_each(|(id, entry)| tell_entry(reply, *id, entry));
    reply.text("groups");
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(7);
        reply.text("name");
        reply.bulk(name);
        reply.text("last-delivered-id");
        reply.text(&group.last.to_string());
        tell_progress(reply, stream, group);
        reply.text("pel-count");
        reply.count(group.pending.len());
        let pending: Vec<_> = group.pending.iter().take(count).collect();
        reply.text("pending");
        reply.array(pending.len());
        for (id, pending) in pending {
            reply.array(4);
            reply.text(&id.to_string());
            reply.bulk(&pending.consumer);
            reply.integer(pending.delivered_at_ms);
            reply.integer(pending.deliveries.cast_signed());
        }
        reply.text("consumers");
        reply.array(group.consumers.len());
        for (name, consumer) in &group.consumers {
            tell_consumer(reply, group, (name, consumer), count);
        }
    }
}

/// A consumer with its deliveries.
fn tell_consumer(reply: &mut Reply<'_>, group: &Group, (name, consumer): (&Name, &Consumer), count: usize) {
    let pending: Vec<(&Id, &Pending)> =
        group.pending.iter().filter(|(_, pending)| pending.consumer == *name).collect();
    reply.map(4);
    reply.text("name");
    reply.bulk(name);
    reply.text("seen-time");
    reply.integer(consumer.seen_at_ms);
    reply.text("pel-count");
    reply.count(pending.len());
    reply.text("pending");
    reply.array(pending.len().min(count));
    for (id, pending) in pending.into_iter().take(count) {
        reply.array(3);
        reply.text(&id.to_string());
        reply.integer(pending.delivered_at_ms);
        reply.integer(pending.deliveries.cast_signed());
    }
}

/// How many entries a group has read, and how many are behind that.
fn tell_progress(reply: &mut Reply<'_>, stream: &Stream, group: &Group) {
    for (name, n) in [("entries-read", group.read), ("lag", stream.lag(group))] {
        reply.text(name);
        match n {
            Some(n) => reply.integer(n.cast_signed()),
            None => reply.null(),
        }
    }
}

fn info_groups(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let stream = call.keys.get::<Stream>(call.client.db, call.argument(1))?.ok_or(Fault::NoSuchKey)?;
    call.reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        call.reply.map(6);
        call.reply.text("name");
        call.reply.bulk(name);
        call.reply.text("consumers");
        call.reply.count(group.consumers.len());
        call.reply.text("pending");
        call.reply.count(group.pending.len());
        call.reply.text("last-delivered-id");
        call.reply.text(&group.last.to_string());
        tell_progress(&mut call.reply, stream, group);
    }
    Ok(())
}

fn info_consumers(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (key, name) = (call.argument(1), call.argument(2));
    let stream = call.keys.get::<Stream>(call.client.db, key)?.ok_or(Fault::NoSuchKey)?;
    let group = stream.groups.get(name).ok_or_else(|| no_group(key, name))?;
    let now_ms = call.keys.now_ms;
    call.reply.array(group.consumers.len());
    for (name, consumer) in &group.consumers {
        let pending = group.pending.values().filter(|pending| *pending.consumer == **name).count();
        call.reply.map(3);
        call.reply.text("name");
        call.reply.bulk(name);
        call.reply.text("pending");
        call.reply.count(pending);
        call.reply.text("idle");
        call.reply.integer((now_ms - consumer.seen_at_ms).max(0));
    }
    Ok(())
}
