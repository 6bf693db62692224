//! Sorted sets.

use std::ops::Bound;

use super::{
    generic::{Scan, tell_scan},
    parts,
};
use crate::{
    broker::{
        keyspace::sorted::{Scores, Sorted},
        list::End,
    },
    redis::{
        call::Call,
        fault::Fault,
        wire::number::{float, integer, range_end, score},
    },
};

pub use super::blocking::{bzpopmax, bzpopmin};

/// Members with their scores, as a reply gives them.
pub(super) type Members = Vec<(Vec<u8>, f64)>;

/// When `ZADD` may change what.
#[derive(Debug, Default)]
struct Conditions {
    only_new: bool,
    only_known: bool,
    greater: bool,
    less: bool,
    count_changed: bool,
    increment: bool,
}

impl Conditions {
    /// Takes the words before the first score.
    fn of<'a>(mut words: &'a [&'a [u8]]) -> Result<(Self, &'a [&'a [u8]]), Fault> {
        let mut conditions = Self::default();
        while let Some((word, rest)) = words.split_first() {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => conditions.only_new = true,
                b"xx" => conditions.only_known = true,
                b"gt" => conditions.greater = true,
                b"lt" => conditions.less = true,
                b"ch" => conditions.count_changed = true,
                b"incr" => conditions.increment = true,
                _ => break,
            }
            words = rest;
        }
        if words.is_empty() || words.len() % 2 == 1 {
            return Err(Fault::Syntax);
        }
        if conditions.only_new && conditions.only_known {
            return Err(Fault::err("XX and NX options at the same time are not compatible"));
        }
        let (greater, less) = (conditions.greater, conditions.less);
        if (conditions.only_new && (greater || less)) || (greater && less) {
            return Err(Fault::err("GT, LT, and/or NX options at the same time are not compatible"));
        }
        if conditions.increment && words.len() > 2 {
            return Err(Fault::err("INCR option supports a single increment-element pair"));
        }
        Ok((conditions, words))
    }

    fn allow(&self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.only_known,
            Some(old) => !self.only_new && (!self.greater || new > old) && (!self.less || new < old),
        }
    }
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member …`
pub fn zadd(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let (conditions, pairs) = Conditions::of(call.rest(1))?;
    let mut scored = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks(2) {
        let [score, member] = *pair else { return Err(Fault::Syntax) };
        scored.push((float(score).ok_or(Fault::NotFloat)?, member));
    }
    if conditions.increment {
        let Some((by, member)) = scored.first().copied() else { return Err(Fault::Syntax) };
        return increment(call, member, by, &conditions);
    }
    if conditions.only_known && call.keys.get::<Sorted>(db, key)?.is_none() {
        call.reply.integer(0);
        return Ok(());
    }
    let (added, changed) = call.keys.change_or_make(db, key, |sorted: &mut Sorted, slots| {
        let (mut added, mut changed) = (0, 0);
        for (score, member) in scored {
            let old = sorted.score(member);
            if conditions.allow(old, score) {
                added += usize::from(old.is_none());
                changed += usize::from(old.is_some_and(|old| old != score));
                sorted.set(member, score, slots);
            }
        }
        (added, changed)
    })?;
    call.reply.count(if conditions.count_changed { added + changed } else { added });
    Ok(())
}

fn increment(call: &mut Call<'_, '_>, member: &[u8], by: f64, conditions: &Conditions) -> Result<(), Fault> {
    let (db, key) = (call.db(), call.argument(0));
    let old = call.keys.get::<Sorted>(db, key)?.and_then(|sorted| sorted.score(member));
    let new = old.unwrap_or(0.0) + by;
    if new.is_nan() {
        return Err(Fault::err("resulting score is not a number (NaN)"));
    }
    if !conditions.allow(old, new) {
        call.reply.null();
        return Ok(());
    }
    call.keys.change_or_make(db, key, |sorted: &mut Sorted, slots| sorted.set(member, new, slots))?;
    call.reply.double(new);
    Ok(())
}

pub fn zincrby(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (by, member) = (call.float(1)?, call.argument(2));
    increment(call, member, by, &Conditions::default())
}

pub fn zrem(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    parts::remove(call, Sorted::remove)
}

pub fn zcard(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    parts::count(call, Sorted::len)
}

pub fn zscore(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let sorted = call.keys.get::<Sorted>(call.client.db, call.argument(0))?;
    match sorted.and_then(|sorted| sorted.score(call.arguments.get(1)?)) {
        Some(score) => call.reply.double(score),
        None => call.reply.null(),
    }
    Ok(())
}

fn rank(call: &mut Call<'_, '_>, from_the_end: bool) -> Result<(), Fault> {
    let sorted = call.keys.get::<Sorted>(call.client.db, call.argument(0))?;
    let rank = sorted.and_then(|sorted| Some((sorted.rank(call.arguments.get(1)?)?, sorted.len())));
    match rank {
        Some((rank, len)) => call.reply.count(if from_the_end { len - 1 - rank } else { rank }),
        None => call.reply.null(),
    }
    Ok(())
}

pub fn zrank(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    rank(call, false)
}

pub fn zrevrank(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    rank(call, true)
}

/// One end of a range of scores: a number, `(` and a number, or an infinity.
fn bound(word: &[u8]) -> Result<Bound<f64>, Fault> {
    let not_float = Fault::err("min or max is not a float");
    match word.strip_prefix(b"(") {
        Some(word) => range_end(word).map(Bound::Excluded).ok_or(not_float),
        None => range_end(word).map(Bound::Included).ok_or(not_float),
    }
}

fn scores(min: &[u8], max: &[u8]) -> Result<Scores, Fault> {
    Ok(Scores { min: bound(min)?, max: bound(max)? })
}

pub fn zcount(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let scores = scores(call.argument(1), call.argument(2))?;
    let sorted = call.keys.get::<Sorted>(call.client.db, call.argument(0))?;
    let count = sorted.map_or(0, |sorted| sorted.in_range(scores).count());
    call.reply.count(count);
    Ok(())
}

/// What a range command asks for, beside its ends.
#[derive(Debug, Default)]
struct Options {
    by_score: bool,
    reversed: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
}

impl Options {
    fn of(words: &[&[u8]], for_zrange: bool, may_limit: bool) -> Result<Self, Fault> {
        let mut options = Self::default();
        let mut words = words;
        while let Some((word, rest)) = words.split_first() {
            words = match (word.to_ascii_lowercase().as_slice(), rest) {
                (b"withscores", rest) => {
                    options.with_scores = true;
                    rest
                }
                (b"limit", [offset, count, rest @ ..]) if may_limit => {
                    let number = |word: &[u8]| integer(word).ok_or(Fault::NotInteger);
                    options.limit = Some((number(offset)?, number(count)?));
                    rest
                }
                (b"byscore", rest) if for_zrange => {
                    options.by_score = true;
                    rest
                }
                (b"rev", rest) if for_zrange => {
                    options.reversed = true;
                    rest
                }
                _ => return Err(Fault::Syntax),
            };
        }
        if options.limit.is_some() && for_zrange && !options.by_score {
            return Err(Fault::err(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        Ok(options)
    }

    /// What is left of the members by the limit.
    fn cut<'a>(&self, members: impl Iterator<Item = (&'a [u8], f64)>) -> Members {
        let (offset, count) = self.limit.unwrap_or((0, -1));
        let Ok(offset) = usize::try_from(offset) else { return Vec::new() };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        members.skip(offset).take(count).map(owned).collect()
    }
}

fn owned((member, score): (&[u8], f64)) -> (Vec<u8>, f64) {
    (member.to_vec(), score)
}

fn tell(call: &mut Call<'_, '_>, members: &Members, with_scores: bool) {
    use crate::redis::wire::reply::Resp;
    let in_pairs = with_scores && call.reply.resp == Resp::V3;
    call.reply.array(if with_scores && !in_pairs { members.len() * 2 } else { members.len() });
    for (member, score) in members {
        if in_pairs {
            call.reply.array(2);
        }
        call.reply.bulk(member);
        if with_scores {
            call.reply.double(*score);
        }
    }
}

/// Members between two ranks, both ends in it, counted from the end when negative.
fn by_rank(sorted: &Sorted, start: i64, stop: i64, reversed: bool) -> Members {
    let len = i64::try_from(sorted.len()).unwrap_or(i64::MAX);
    let from_start = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (start, stop) = (from_start(start).max(0), from_start(stop).min(len - 1));
    let count = usize::try_from(stop - start + 1).unwrap_or(0);
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    if reversed {
        sorted.iter().rev().skip(start).take(count).map(owned).collect()
    } else {
        sorted.iter().skip(start).take(count).map(owned).collect()
    }
}

fn range_by_rank(call: &mut Call<'_, '_>, options: &Options) -> Result<(), Fault> {
    let (start, stop) = (call.integer(1)?, call.integer(2)?);
    let sorted = call.keys.get::<Sorted>(call.client.db, call.argument(0))?;
    let members = sorted.map(|sorted| by_rank(sorted, start, stop, options.reversed)).unwrap_or_default();
    tell(call, &members, options.with_scores);
    Ok(())
}

fn range_by_score(call: &mut Call<'_, '_>, options: &Options) -> Result<(), Fault> {
    let (first, second) = (call.argument(1), call.argument(2));
    let scores = if options.reversed { scores(second, first)? } else { scores(first, second)? };
    let sorted = call.keys.get::<Sorted>(call.client.db, call.argument(0))?;
    let members = sorted.map(|sorted| match options.reversed {
        true => options.cut(sorted.in_range(scores).rev()),
        false => options.cut(sorted.in_range(scores)),
    });
    tell(call, &members.unwrap_or_default(), options.with_scores);
    Ok(())
}

/// `ZRANGE key start stop [BYSCORE] [REV] [LIMIT offset count] [WITHSCORES]`
pub fn zrange(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let options = Options::of(call.rest(3), true, true)?;
    if options.by_score { range_by_score(call, &options) } else { range_by_rank(call, &options) }
}

pub fn zrevrange(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let options = Options { reversed: true, ..Options::of(call.rest(3), false, false)? };
    range_by_rank(call, &options)
}

pub fn zrangebyscore(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let options = Options::of(call.rest(3), false, true)?;
    range_by_score(call, &options)
}

pub fn zrevrangebyscore(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let options = Options { reversed: true, ..Options::of(call.rest(3), false, true)? };
    range_by_score(call, &options)
}

fn remove_all(
    call: &mut Call<'_, '_>,
    key: &[u8],
    which: impl FnOnce(&Sorted) -> Members,
) -> Result<Members, Fault> {
    let removed = call.keys.change(call.client.db, key, |sorted: &mut Sorted, slots| {
        let members = which(sorted);
        for (member, _) in &members {
            sorted.remove(member, slots);
        }
        members
    })?;
    Ok(removed.unwrap_or_default())
}

pub fn zremrangebyscore(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let scores = scores(call.argument(1), call.argument(2))?;
    let removed = remove_all(call, call.argument(0), |sorted| sorted.in_range(scores).map(owned).collect())?;
    call.reply.count(removed.len());
    Ok(())
}

pub fn zremrangebyrank(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let (start, stop) = (call.integer(1)?, call.integer(2)?);
    let removed = remove_all(call, call.argument(0), |sorted| by_rank(sorted, start, stop, false))?;
    call.reply.count(removed.len());
    Ok(())
}

/// Takes members from an end: those with the least scores are at the left.
pub(super) fn pop_first(
    call: &mut Call<'_, '_>,
    key: &[u8],
    from: End,
    count: usize,
) -> Result<Members, Fault> {
    remove_all(call, key, |sorted| match from {
        End::Left => sorted.iter().take(count).map(owned).collect(),
        End::Right => sorted.iter().rev().take(count).map(owned).collect(),
    })
}

/// `ZPOPMIN key [count]`
fn pop(call: &mut Call<'_, '_>, from: End) -> Result<(), Fault> {
    let count = match *call.rest(1) {
        [] => None,
        [count] => {
            let count = integer(count).and_then(|n| usize::try_from(n).ok());
            Some(count.ok_or(Fault::err("value is out of range, must be positive"))?)
        }
        _ => return Err(Fault::Syntax),
    };
    let popped = pop_first(call, call.argument(0), from, count.unwrap_or(1))?;
    match popped.first() {
        Some((member, score)) if count.is_none() => {
            call.reply.array(2);
            call.reply.bulk(member);
            call.reply.double(*score);
        }
        Some(_) | None => tell(call, &popped, true),
    }
    Ok(())
}

pub fn zpopmin(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    pop(call, End::Left)
}

pub fn zpopmax(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    pop(call, End::Right)
}

pub fn zmscore(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let sorted = call.keys.get::<Sorted>(call.client.db, call.argument(0))?;
    let members = call.arguments.get(1..).unwrap_or_default();
    call.reply.array(members.len());
    for member in members {
        match sorted.and_then(|sorted| sorted.score(member)) {
            Some(score) => call.reply.double(score),
            None => call.reply.null(),
        }
    }
    Ok(())
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`
pub fn zscan(call: &mut Call<'_, '_>) -> Result<(), Fault> {
    let found: Vec<(&[u8], String)> = match Scan::of_key::<Sorted>(call.arguments, call.keys, call.client.db)?
    {
        Some((scan, sorted)) => {
            let wanted = sorted.iter().filter(|(member, _)| scan.wants(member));
            wanted.map(|(member, of)| (member, score(of))).collect()
        }
        None => Vec::new(),
    };
    let words: Vec<&[u8]> = found.iter().flat_map(|(member, of)| [member, of.as_bytes()]).collect();
    tell_scan(&mut call.reply, &words);
    Ok(())
}
