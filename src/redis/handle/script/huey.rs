//! huey: tasks that wait for their time, and semaphores, whose holders are members with the time they were seen last.

use std::ops::Bound;

use super::Given;
use crate::{
    broker::keyspace::{
        journal::Slots,
        sorted::{Scores, Sorted},
    },
    redis::{call::Call, fault::Fault, wire::number::float},
};

/// Takes a place, if fewer than so many have one; who was not seen for so many seconds has none any more.
pub(super) fn acquire(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let [timeout_s, places, holder] = given.arguments();
    let now_s = seconds(call);
    let gone = now_s - float(timeout_s).ok_or(Fault::NotFloat)?;
    let places = float(places).ok_or(Fault::NotFloat)?;
    let until = Scores { min: Bound::Unbounded, max: Bound::Included(gone) };
    let acquired =
        call.keys.change_or_make(call.client.db, given.key(0), |holders: &mut Sorted, slots| {
            take(holders, until, slots);
            let has_place = holders.score(holder).is_some() || (holders.len() as f64) < places;
            if has_place {
                holders.set(holder, now_s, slots);
            }
            has_place
        })?;
    call.reply.flag(acquired);
    Ok(())
}

/// Is seen, if it has a place.
pub(super) fn renew(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let (holder, now_s) = (given.argument(0), seconds(call));
    let renewed = call.keys.change(call.client.db, given.key(0), |holders: &mut Sorted, slots| {
        let has_place = holders.score(holder).is_some();
        if has_place {
            holders.set(holder, now_s, slots);
        }
        has_place
    })?;
    call.reply.flag(renewed == Some(true));
    Ok(())
}

/// Since the epoch.
fn seconds(call: &Call<'_, '_>) -> f64 {
    call.keys.now_ms as f64 / 1000.0
}

/// Takes what is due out of the schedule.
pub(super) fn pop_due(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let schedule = given.key(0);
    let now = float(given.argument(0)).ok_or(Fault::NotFloat)?;
    let due_by = Scores { min: Bound::Unbounded, max: Bound::Included(now) };
    let take = |sorted: &mut Sorted, slots: &mut Slots<'_>| take(sorted, due_by, slots);
    let due = call.keys.change(call.client.db, schedule, take)?.unwrap_or_default();
    call.reply.array(due.len());
    due.iter().for_each(|task| call.reply.bulk(task));
    Ok(())
}

/// Takes out whoever has such a score.
fn take(sorted: &mut Sorted, scores: Scores, slots: &mut Slots<'_>) -> Vec<Vec<u8>> {
    let members: Vec<Vec<u8>> = sorted.in_range(scores).map(|(member, _)| member.to_vec()).collect();
    for member in &members {
        sorted.remove(member, slots);
    }
    members
}
