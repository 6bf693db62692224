//! huey: tasks that wait for their time.

use std::ops::Bound;

use super::Given;
use crate::{
    broker::keyspace::sorted::{Scores, Sorted},
    redis::{call::Call, fault::Fault, wire::number::float},
};

/// Takes what is due out of the schedule.
pub(super) fn pop_due(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let schedule = given.key(0);
    let now = float(given.argument(0)).ok_or(Fault::NotFloat)?;
    let due_by = Scores { min: Bound::Unbounded, max: Bound::Included(now) };
    let due = call.keys.change(call.client.db, schedule, |sorted: &mut Sorted, slots| {
        let due: Vec<Vec<u8>> = sorted.in_range(due_by).map(|(task, _)| task.to_vec()).collect();
        for task in &due {
            sorted.remove(task, slots);
        }
        due
    })?;
    let due = due.unwrap_or_default();
    call.reply.array(due.len());
    due.iter().for_each(|task| call.reply.bulk(task));
    Ok(())
}
