//! kombu's Redis transport: bindings of exchanges that nobody keeps any more.

use super::{Given, perform};
use crate::{
    broker::keyspace::sorted::Sorted,
    redis::{call::Call, fault::Fault, wire::number::integer},
};

pub(super) fn refresh_binding(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
    let lifetime_ms = integer(given.argument(2)).ok_or(Fault::NotInteger)?;
    let deadline = call.keys.now_ms.saturating_add(lifetime_ms).to_string();
    perform(call, &[b"sadd", given.key(0), given.argument(0)])?;
    perform(call, &[b"zadd", given.key(1), b"GT", deadline.as_bytes(), given.argument(1)])?;
    call.reply.null();
    Ok(())
}

/// Exchanges whose bindings nobody has kept lose them, unless some are for ever.
pub(super) fn sweep_bindings(call: &mut Call<'_, '_>, given: Given<'_>) -> Result<(), Fault> {
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
