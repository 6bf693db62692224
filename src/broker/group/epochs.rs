//! What consumer groups and share groups have in the store of themselves; their members have values of their own. It
//! begins with a byte that no classic group's value begins with.
//!
//! ```text
//! kind u8 | group epoch i32 | assignment epoch i32 | seen u32, (topic id 16 | partitions i32)…
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use crate::broker::topic::keys::{Reader, Writer};

/// `seen`: topics that it subscribes to as of the group epoch, and how many partitions they have.
pub(super) fn encode(
    kind: u8,
    group_epoch: i32,
    assignment_epoch: i32,
    seen: &BTreeMap<Uuid, i32>,
) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(kind);
    w.i32(group_epoch);
    w.i32(assignment_epoch);
    w.count(seen.len());
    for (topic, partitions) in seen {
        w.uuid(*topic);
        w.i32(*partitions);
    }
    w.finish()
}

/// Group epoch, assignment epoch, and what was seen. `None`: it is a group of another kind, or damaged.
pub(super) fn decode(kind: u8, value: &Bytes) -> Option<(i32, i32, BTreeMap<Uuid, i32>)> {
    let r = &mut Reader::new(value.clone());
    if r.u8()? != kind {
        return None;
    }
    let (group_epoch, assignment_epoch) = (r.i32()?, r.i32()?);
    let seen = (0..r.u32()?).map(|_| Some((r.uuid()?, r.i32()?))).collect::<Option<_>>()?;
    r.is_done().then_some((group_epoch, assignment_epoch, seen))
}
