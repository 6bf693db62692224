//! What the commands of several kinds of values do alike: values that have parts.

use crate::{
    broker::keyspace::{journal::Slots, value::OfKind},
    redis::{call::Call, fault::Fault},
};

/// `xLEN key`: how many parts there are; none where there is no key.
pub(super) fn count<T: OfKind>(call: &mut Call<'_, '_>, len: impl FnOnce(&T) -> usize) -> Result<(), Fault> {
    let value = call.keys.get::<T>(call.client.db, call.argument(0))?;
    call.reply.count(value.map_or(0, len));
    Ok(())
}

/// `xREM key part [part …]`: how many of them were there.
pub(super) fn remove<T: OfKind>(
    call: &mut Call<'_, '_>,
    mut remove: impl FnMut(&mut T, &[u8], &mut Slots<'_>) -> bool,
) -> Result<(), Fault> {
    let (db, key, parts) = (call.db(), call.argument(0), call.rest(1));
    let removed = call.keys.change(db, key, |value: &mut T, slots| {
        parts.iter().filter(|part| remove(value, part, slots)).count()
    })?;
    call.reply.count(removed.unwrap_or(0));
    Ok(())
}
