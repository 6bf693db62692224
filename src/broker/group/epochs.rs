//! What consumer groups and share groups know of themselves, beside their members: how far they are, and which topics they
//! saw. In the store it begins with a byte that no classic group's value begins with.
//!
//! ```text
//! kind u8 | group epoch i32 | assignment epoch i32 | seen u32, (topic id 16 | partitions i32)…
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use super::{classic::Effects, topics::TopicInfo};
use crate::broker::topic::keys::{Reader, Writer};

/// A group's epochs: that of what it is, and that of the last target assignment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    pub(super) group: i32,
    pub(super) assignment: i32,
    /// The topics that it subscribes to as of the group epoch, and how many partitions they have.
    pub(super) seen: BTreeMap<Uuid, i32>,
}

impl Epochs {
    /// Of a group that takes another's place, whose last epoch or generation is known.
    pub(super) fn after(epoch: i32) -> Self {
        Self { group: epoch, assignment: epoch, seen: BTreeMap::new() }
    }

    /// What it subscribes to, as it is now: the group epoch rises if that has changed, or (`changed`) the group has.
    pub(super) fn see(
        &mut self,
        topics: impl Iterator<Item = TopicInfo>,
        changed: bool,
        effects: &mut Effects,
    ) {
        let seen: BTreeMap<Uuid, i32> = topics.map(|info| (info.id, info.partitions)).collect();
        if changed || seen != self.seen {
            self.seen = seen;
            self.bump(effects);
        }
    }

    /// The group has changed.
    pub(super) fn bump(&mut self, effects: &mut Effects) {
        self.group = self.group.saturating_add(1);
        effects.persist = true;
    }

    /// Whether the target assignment is that of the group as it is.
    pub(super) fn is_assigned(&self) -> bool {
        self.assignment >= self.group
    }

    /// The target assignment has been computed for the group as it is.
    pub(super) fn assigned(&mut self, effects: &mut Effects) {
        self.assignment = self.group;
        effects.persist = true;
    }

    pub(super) fn encode(&self, kind: u8) -> Vec<u8> {
        let mut w = Writer::default();
        w.u8(kind);
        w.i32(self.group);
        w.i32(self.assignment);
        w.count(self.seen.len());
        for (topic, partitions) in &self.seen {
            w.uuid(*topic);
            w.i32(*partitions);
        }
        w.finish()
    }

    /// `None`: it is a group of another kind, or damaged.
    pub(super) fn decode(kind: u8, value: &Bytes) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        if r.u8()? != kind {
            return None;
        }
        let (group, assignment) = (r.i32()?, r.i32()?);
        let seen = (0..r.u32()?).map(|_| Some((r.uuid()?, r.i32()?))).collect::<Option<_>>()?;
        r.is_done().then_some(Self { group, assignment, seen })
    }
}
