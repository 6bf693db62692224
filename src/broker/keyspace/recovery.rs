//! Rebuilding the keys of all vhosts from the store.

use std::{collections::HashMap, sync::Arc};

use super::{
    Keyspace,
    journal::{self, JournalChange, Record, ValueId},
    waiters::{Db, Name},
};
use crate::{
    broker::{topic::writes::Writes, vhost::Vhost},
    store::{Space, Store, StoreError},
};

/// Parts without a value that one Change removes.
const ORPHANS_MAX: usize = 4_096;

/// Rebuilds all keys. What belongs to no vhost, or to no record, is removed.
///
/// # Errors
/// When the store cannot be read, or the first key that makes no sense.
pub(in crate::broker) fn recover(
    store: &Store,
    vhosts: &[Arc<Vhost>],
) -> Result<Result<(), Vec<u8>>, StoreError> {
    let mut homes: HashMap<ValueId, (Arc<Keyspace>, (Db, Name))> = HashMap::new();
    let mut homeless = Writes::default();
    for (key, value) in store.scan(Space::State, journal::RECORDS)? {
        let (Some(id), Some(record)) = (journal::record_id(&key), Record::decode(&value)) else {
            return Ok(Err(key.to_vec()));
        };
        match vhosts.iter().find(|vhost| *vhost.name == *record.vhost) {
            Some(vhost) => {
                let keyspace = vhost.keyspace.clone();
                keyspace.inner.lock().state.recover(id, &record);
                homes.insert(id, (keyspace, (record.db, record.name.into())));
            }
            None => homeless.delete(Space::State, key.to_vec()),
        }
    }
    homeless.submit_unwatched(store);
    let (mut orphans, mut unreadable) = (Vec::new(), None);
    store.scan_each(Space::State, journal::PARTS, &mut |key, part| match journal::part_id(key) {
        None => unreadable = Some(key.to_vec()),
        Some((id, slot)) => match homes.get(&id) {
            Some((keyspace, place)) => keyspace.inner.lock().state.recover_part(place, slot, part),
            None => orphans.push((id, slot)),
        },
    })?;
    if let Some(key) = unreadable {
        return Ok(Err(key));
    }
    for parts in orphans.chunks(ORPHANS_MAX) {
        store.submit(Box::new(JournalChange::orphans(parts)));
    }
    for vhost in vhosts {
        let mut keys = vhost.keyspace.enter(vhost.core.clock.now_ms());
        keys.take_back_all();
        keys.leave();
    }
    Ok(Ok(()))
}
