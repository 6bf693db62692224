//! Streams: adding, reading, trimming. Their groups are in `stream_group.rs`.
//!
//! What is added is also a record of topic `redis.<database>.<key>`, in the same turn of the log, so that Kafka's clients
//! read it: the id as its key, the fields as headers, and as its value a JSON object of them.

use std::time::Duration;

use super::{
    blocking::ask_again,
    parts,
    stream_group::{deliver_new, pending_of},
};
use crate::{
    broker::keyspace::{
        place,
        stream::{Entry, Id, Stream},
        value::Kind,
    },
    redis::{
        call::Call,
        fault::Fault,
        wire::{
            number::integer,
            reply::{Reply, Resp},
        },
    },
};

const BAD_ID: Fault = Fault::err("Invalid stream ID specified as stream command argument");

/// `ms-seq`, or `ms` with that sequence number.
pub(super) fn id_of(word: &[u8], seq: u64) -> Result<Id, Fault> {
    let text = std::str::from_utf8(word).map_err(|_| BAD_ID)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| BAD_ID);
    match text.split_once('-') {
        None => Ok(Id { ms: number(text)?, seq }),
        Some((ms, seq)) => Ok(Id { ms: number(ms)?, seq: number(seq)? }),
    }
}

/// One end of a range: `-`, `+`, an id, or `(` and an id that is not in it.
pub(super) fn end_of(word: &[u8], is_start: bool) -> Result<Id, Fault> {
    match word {
        b"-" => return Ok(Id::MIN),
        b"+" => return Ok(Id::MAX),
        _ => {}
    }
    let seq = if is_start { 0 } else { u64::MAX };
    match word.strip_prefix(b"(") {
        None => id_of(word, seq),
        Some(word) => {
            let id = id_of(word, seq)?;
            let next = if is_start { id.next() } else { id.previous() };
            next.ok_or(Fault::err(if is_start {
                "invalid start ID for the interval"
            } else {
                "invalid end ID for the interval"
            }))
        }
    }
}

/// What `XADD` and `XTRIM` keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Newest(usize),
    From(Id),
}

/// `MAXLEN|MINID [=|~] threshold [LIMIT count]`; with the words behind it. Trimming is always exact, which `~` allows.
fn keep<'a>(word: &[u8], rest: &'a [&'a [u8]]) -> Result<(Keep, &'a [&'a [u8]]), Fault> {
    let (about, rest) = match rest {
        [b"~", rest @ ..] if !rest.is_empty() => (true, rest),
        [b"=", rest @ ..] if !rest.is_empty() => (false, rest),
        rest => (false, rest),
    };
    let (threshold, rest) = rest.split_first().ok_or(Fault::Syntax)?;
    let keep = if word.eq_ignore_ascii_case(b"maxlen") {
        let len = integer(threshold).ok_or(Fault::NotInteger)?;
        Keep::Newest(usize::try_from(len).map_err(|_| Fault::err("The MAXLEN argument must be >= 0."))?)
    } else {
        Keep::From(id_of(threshold, 0)?)
    };
    match rest {
        [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"limit") => {
            let count = integer(count).ok_or(Fault::NotInteger)?;
            if count < 0 {
                return Err(Fault::err("The LIMIT argument must be >= 0."));
            }
            if !about {
                return Err(Fault::err("syntax error, LIMIT cannot be used without the special ~ option"));
            }
            Ok((keep, rest))
        }
        rest => Ok((keep, rest)),
    }
}

fn is_keep(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"maxlen") || word.eq_ignore_ascii_case(b"minid")
}

/// The id that an entry gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Now,
    /// The next of that moment.
    At(u64),
    Exactly(Id),
}

impl Asked {
    fn of(word: &[u8]) -> Result<Self, Fault> {
        if word == b"*" {
            return Ok(Self::Now);
        }
        match word.strip_suffix(b"-*") {
            Some(ms) => {
                let ms = std::str::from_utf8(ms).ok().and_then(|ms| ms.parse().ok());
                Ok(Self::At(ms.ok_or(BAD_ID)?))
            }
            None => id_of(word, 0).map(Self::Exactly),
        }
    }

    fn above(self, last: Id, now_ms: i64) -> Result<Id, Fault> {
        const TOO_SMALL: Fault =
            Fault::err("The ID specified in XADD is equal or smaller than the target stream top item");
        let now = u64::try_from(now_ms).unwrap_or(0);
        match self {
            Self::Now if now > last.ms => Ok(Id { ms: now, seq: 0 }),
            Self::Now => last.next().ok_or(TOO_SMALL),
            Self::At(ms) if ms > last.ms => Ok(Id { ms, seq: 0 }),
            Self::At(ms) if ms == last.ms => {
                last.seq.checked_add(1).map(|seq| Id { ms, seq }).ok_or(TOO_SMALL)
            }
            Self::At(_) => Err(TOO_SMALL),
            Self::Exactly(Id::MIN) => Err(Fault::err("The ID specified in XADD must be greater than 0-0")),
            Self::Exactly(id) if id > last => Ok(id),
            Self::Exactly(_) => Err(TOO_SMALL),
        }
    }
}

/// `XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value …`
pub fn xadd(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let (mut kept, mut makes, mut words) = (None, true, call.rest(1));
    let asked = loop {
        let Some((word, rest)) = words.split_first() else { return Err(Fault::WrongArity("xadd".into())) };
        if is_keep(word) {
            let (keep, rest) = keep(word, rest)?;
            (kept, words) = (Some(keep), rest);
        } else if word.eq_ignore_ascii_case(b"nomkstream") {
            (makes, words) = (false, rest);
        } else {
            words = rest;
            break Asked::of(word)?;
        }
    };
    if words.is_empty() || words.len() % 2 == 1 {
        return Err(Fault::WrongArity("xadd".into()));
    }
    let last = match call.keys.get::<Stream>(db, key)? {
        None if !makes => {
            call.reply.null();
            return Ok(());
        }
        stream => stream.map_or(Id::MIN, |stream| stream.last),
    };
    let id = asked.above(last, call.keys.now_ms)?;
    mirror(call, id, words)?;
    call.keys.change_or_make(db, key, |stream: &mut Stream, slots| {
        stream.add(id, words, slots);
        match kept {
            Some(Keep::Newest(len)) => stream.trim_to_len(len, slots),
            Some(Keep::From(min)) => stream.trim_to_id(min, slots),
            None => 0,
        }
    })?;
    call.keys.look_at(db, key);
    call.reply.text(&id.to_string());
    Ok(())
}

/// Appends an entry to the topic that Kafka's clients read.
fn mirror(call: &Call<'_, '_>, id: Id, fields: &[&[u8]]) -> Result<(), Fault> {
    let Some(login) = &call.client.login else { return Ok(()) };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = fields.chunks(2).filter_map(|pair| pair.first().zip(pair.get(1)));
    let headers: Vec<(String, &[u8])> = pairs.clone().map(|(name, value)| (text(name), *value)).collect();
    let object: serde_json::Map<String, serde_json::Value> =
        pairs.map(|(name, value)| (text(name), text(value).into())).collect();
    let key = id.to_string();
    let record = login.vhost.append_to_topic(
        &place::name_of(call.client.db, call.argument(0)),
        call.keys.now_ms,
        (key.as_bytes(), serde_json::Value::Object(object).to_string().as_bytes()),
        &headers,
    );
    record.map_err(|refusal| Fault::Err(format!("the stream's topic cannot be made: {refusal:?}").into()))
}

pub fn xlen(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    parts::count(call, Stream::len)
}

/// An entry: its id and its fields.
pub(super) fn tell_entry(reply: &mut Reply<'_>, id: Id, entry: &Entry) {
    reply.array(2);
    reply.text(&id.to_string());
    reply.array(entry.fields().count());
    entry.fields().for_each(|field| reply.bulk(field));
}

fn range(call: &mut Call<'_, '_>, reversed: bool) -> Result<(), Fault> {
    let (first, second) = (call.argument(1), call.argument(2));
    let (start, end) = if reversed { (second, first) } else { (first, second) };
    let (from, to) = (end_of(start, true)?, end_of(end, false)?);
    let (mut count, mut options) = (None, call.rest(3));
    while let [word, n, rest @ ..] = options
        && word.eq_ignore_ascii_case(b"count")
    {
        (count, options) = (Some(integer(n).ok_or(Fault::NotInteger)?), rest);
    }
    if !options.is_empty() {
        return Err(Fault::Syntax);
    }
    let stream = call.keys.get::<Stream>(call.client.db, call.argument(0))?;
    let Some(stream) = stream else {
        call.reply.array(0);
        return Ok(());
    };
    if count.is_some_and(|count| count <= 0) {
        call.reply.null_array();
        return Ok(());
    }
    let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let entries: Vec<_> = match reversed {
        true => stream.range(from, to).rev().take(count).collect(),
        false => stream.range(from, to).take(count).collect(),
    };
    call.reply.array(entries.len());
    entries.iter().for_each(|(id, entry)| tell_entry(&mut call.reply, *id, entry));
    Ok(())
}

pub fn xrange(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    range(call, false)
}

pub fn xrevrange(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    range(call, true)
}

pub fn xdel(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    if call.keys.get::<Stream>(db, key)?.is_none() {
        call.reply.count(0);
        return Ok(());
    }
    let ids: Vec<Id> = call.rest(1).iter().map(|id| id_of(id, 0)).collect::<Result<_, _>>()?;
    let deleted = call.keys.change(db, key, |stream: &mut Stream, slots| {
        let deleted = ids.iter().filter(|&&id| stream.delete(id, slots)).count();
        stream.note(slots);
        deleted
    })?;
    call.reply.count(deleted.unwrap_or(0));
    Ok(())
}

/// `XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]`
pub fn xtrim(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let (word, rest) = call.rest(1).split_first().ok_or(Fault::Syntax)?;
    if !is_keep(word) {
        return Err(Fault::Syntax);
    }
    let (kept, rest) = keep(word, rest)?;
    if !rest.is_empty() {
        return Err(Fault::Syntax);
    }
    let deleted = call.keys.change(db, key, |stream: &mut Stream, slots| match kept {
        Keep::Newest(len) => stream.trim_to_len(len, slots),
        Keep::From(min) => stream.trim_to_id(min, slots),
    })?;
    call.reply.count(deleted.unwrap_or(0));
    Ok(())
}

/// What `XREAD` and `XREADGROUP` ask for.
#[derive(Debug, Default)]
struct Reading<'a> {
    group: Option<(&'a [u8], &'a [u8])>,
    count: Option<usize>,
    /// `None`: do not wait; for ever when zero.
    block: Option<Duration>,
    no_ack: bool,
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
}

impl<'a> Reading<'a> {
    fn of(words: &'a [&'a [u8]], with_group: bool) -> Result<Self, Fault> {
        let mut reading = Self::default();
        let mut words = words;
        loop {
            words = match words {
                [word, group, consumer, rest @ ..] if with_group && word.eq_ignore_ascii_case(b"group") => {
                    reading.group = Some((group, consumer));
                    rest
                }
                [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"count") => {
                    let count = integer(count).ok_or(Fault::NotInteger)?;
                    reading.count = usize::try_from(count).ok().filter(|&count| count > 0);
                    rest
                }
                [word, ms, rest @ ..] if word.eq_ignore_ascii_case(b"block") => {
                    let ms = integer(ms).ok_or(Fault::err("timeout is not an integer or out of range"))?;
                    let ms = u64::try_from(ms).map_err(|_| Fault::err("timeout is negative"))?;
                    reading.block = Some(Duration::from_millis(ms));
                    rest
                }
                [word, rest @ ..] if with_group && word.eq_ignore_ascii_case(b"noack") => {
                    reading.no_ack = true;
                    rest
                }
                [word, rest @ ..] if word.eq_ignore_ascii_case(b"streams") && !rest.is_empty() => {
                    if rest.len() % 2 == 1 {
                        return Err(Fault::err(UNBALANCED));
                    }
                    (reading.keys, reading.ids) = rest.split_at(rest.len() / 2);
                    return if with_group && reading.group.is_none() {
                        Err(Fault::err("Missing GROUP option for XREADGROUP"))
                    } else {
                        Ok(reading)
                    };
                }
                _ => return Err(Fault::Syntax),
            };
        }
    }
}

const UNBALANCED: &str =
    "Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.";

/// A stream with what is read of it.
pub(super) type Read = (Id, Vec<Vec<u8>>);

fn tell_streams(reply: &mut Reply<'_>, found: &[(&[u8], Vec<Read>)]) {
    match reply.resp {
        Resp::V2 => reply.array(found.len()),
        Resp::V3 => reply.map(found.len()),
    }
    for (key, entries) in found {
        if reply.resp == Resp::V2 {
            reply.array(2);
        }
        reply.bulk(key);
        reply.array(entries.len());
        for (id, fields) in entries {
            reply.array(2);
            reply.text(&id.to_string());
            if fields.is_empty() {
                // Delivered once, and deleted since.
                reply.null_array();
            } else {
                reply.array(fields.len());
                fields.iter().for_each(|field| reply.bulk(field));
            }
        }
    }
}

pub(super) fn owned((id, entry): (Id, &Entry)) -> Read {
    (id, entry.fields().map(<[u8]>::to_vec).collect())
}

/// Answers with what was found, or waits for it: then the request is done again, with the ids that were meant.
fn answer_or_wait(
    call: &mut Call<'_, '_>,
    reading: &Reading<'_>,
    found: &[(&[u8], Vec<Read>)],
    meant: &[Vec<u8>],
    words_before: &[&[u8]],
) {
    if !found.is_empty() {
        tell_streams(&mut call.reply, found);
        return;
    }
    let Some(block) = reading.block.filter(|_| call.alone) else {
        call.reply.null_array();
        return;
    };
    let meant = meant.iter().map(Vec::as_slice);
    let again = words_before.iter().copied().chain(reading.keys.iter().copied()).chain(meant);
    let again = again.map(Into::into).collect();
    ask_again(call, reading.keys, (!block.is_zero()).then_some(block), (Kind::Stream, again));
}

/// Everything of a request up to the word before its keys, with its name.
fn words_before<'a>(call: &Call<'a, '_>, name: &'static [u8], reading: &Reading<'_>) -> Vec<&'a [u8]> {
    let count = call.arguments.len() - reading.keys.len() - reading.ids.len();
    std::iter::once(name).chain(call.arguments.iter().copied().take(count)).collect()
}

/// `XREAD [COUNT count] [BLOCK ms] STREAMS key … id …`
pub fn xread(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let reading = Reading::of(call.arguments, false)?;
    let (mut found, mut meant) = (Vec::new(), Vec::new());
    for (&key, id) in reading.keys.iter().zip(reading.ids) {
        let stream = call.awaited::<Stream>(key)?;
        let after = match *id {
            b"$" => stream.map_or(Id::MIN, |stream| stream.last),
            b">" => {
                return Err(Fault::err(
                    "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            id => id_of(id, 0)?,
        };
        meant.push(after.to_string().into_bytes());
        let (Some(stream), Some(from)) = (stream, after.next()) else { continue };
        let entries: Vec<Read> =
            stream.range(from, Id::MAX).take(reading.count.unwrap_or(usize::MAX)).map(owned).collect();
        if !entries.is_empty() {
            found.push((key, entries));
        }
    }
    let words = words_before(call, b"xread", &reading);
    answer_or_wait(call, &reading, &found, &meant, &words);
    Ok(())
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK ms] [NOACK] STREAMS key … id …`
pub fn xreadgroup(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let reading = Reading::of(call.arguments, true)?;
    let (group, consumer) = reading.group.ok_or(Fault::Syntax)?;
    let db = call.db();
    for (&key, id) in reading.keys.iter().zip(reading.ids) {
        let stream = call.keys.get::<Stream>(db, key)?;
        if stream.is_none_or(|stream| !stream.groups.contains_key(group)) {
            let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
            return Err(Fault::NoGroup(format!(
                "No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option"
            )));
        }
        match *id {
            b"$" => {
                return Err(Fault::err(
                    "The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
                ));
            }
            b">" => {}
            id => drop(id_of(id, 0)?),
        }
    }
    let count = reading.count.unwrap_or(usize::MAX);
    let (mut found, mut meant) = (Vec::new(), Vec::new());
    for (&key, &id) in reading.keys.iter().zip(reading.ids) {
        meant.push(id.to_vec());
        let now_ms = call.keys.now_ms;
        let read = call.keys.change(db, key, |stream: &mut Stream, slots| {
            stream.see_consumer(group, consumer, now_ms, slots);
            match id {
                b">" => deliver_new(stream, (group, consumer), (count, reading.no_ack), now_ms, slots),
                id => pending_of(stream, (group, consumer), id_of(id, 0).unwrap_or_default(), count),
            }
        })?;
        let entries = read.unwrap_or_default();
        // What a consumer has is told even if it is nothing.
        if !entries.is_empty() || id != b">" {
            found.push((key, entries));
        }
    }
    let words = words_before(call, b"xreadgroup", &reading);
    answer_or_wait(call, &reading, &found, &meant, &words);
    Ok(())
}
