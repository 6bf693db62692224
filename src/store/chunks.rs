//! The chunks of an ephemeral store: each in memory until its last release.
//!
//! A place names a block and a slot in it, so finding a chunk costs no hash of its own; a block goes when all its slots are
//! used up and released.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Place, StoreError};

const BLOCK_SLOTS: u32 = 4096;

/// Where the next chunk goes.
#[derive(Debug, Default)]
pub(super) struct NextSlot {
    block: u32,
    slot: u32,
}

impl NextSlot {
    pub(super) fn take(&mut self, len: u32) -> Place {
        let place = Place { segment: self.block, offset: self.slot, len };
        self.slot += 1;
        if self.slot == BLOCK_SLOTS {
            *self = Self { block: self.block.wrapping_add(1), slot: 0 };
        }
        place
    }
}

#[derive(Debug, Default)]
pub(super) struct Chunks(Mutex<Blocks>);

#[derive(Debug, Default)]
struct Blocks {
    by_number: HashMap<u32, Block>,
    live_bytes: u64,
}

#[derive(Debug, Default)]
struct Block {
    slots: Vec<Slot>,
    released: u32,
}

#[derive(Debug, Default)]
struct Slot {
    bytes: Bytes,
    retained: u32,
}

impl Blocks {
    fn slot(&mut self, place: Place) -> Option<&mut Slot> {
        let block = self.by_number.entry(place.segment).or_default();
        let index = usize::try_from(place.offset.min(BLOCK_SLOTS)).ok()?;
        if block.slots.len() <= index {
            block.slots.resize_with(index + 1, Slot::default);
        }
        block.slots.get_mut(index)
    }
}

impl Chunks {
    pub(super) fn keep(&self, chunks: impl Iterator<Item = (Place, Bytes)>) {
        let mut blocks = self.0.lock();
        for (place, bytes) in chunks {
            blocks.live_bytes += bytes.len() as u64;
            if let Some(slot) = blocks.slot(place) {
                slot.bytes = bytes;
            }
        }
    }

    pub(super) fn read(&self, place: Place) -> Result<Bytes, StoreError> {
        let blocks = self.0.lock();
        let block = blocks.by_number.get(&place.segment);
        match block.and_then(|block| block.slots.get(place.offset as usize)) {
            Some(slot) if slot.bytes.len() == place.len as usize => Ok(slot.bytes.clone()),
            Some(_) | None => Err(StoreError::Read { place, reason: "it was released".into() }),
        }
    }

    pub(super) fn retain(&self, place: Place) {
        if let Some(slot) = self.0.lock().slot(place) {
            slot.retained += 1;
        }
    }

    pub(super) fn release(&self, place: Place) {
        let mut blocks = self.0.lock();
        let Some(slot) = blocks.slot(place) else { return };
        slot.retained = slot.retained.saturating_sub(1);
        if slot.retained > 0 {
            return;
        }
        let bytes = std::mem::take(&mut slot.bytes);
        blocks.live_bytes -= bytes.len() as u64;
        let gone = blocks.by_number.get_mut(&place.segment).is_some_and(|block| {
            block.released += 1;
            block.released == BLOCK_SLOTS
        });
        let block = if gone { blocks.by_number.remove(&place.segment) } else { None };
        // Freeing takes longer than all of this; nobody should wait for it.
        drop(blocks);
        drop((bytes, block));
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.0.lock().live_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_goes_with_its_last_chunk() {
        let chunks = Chunks::default();
        let mut next = NextSlot::default();
        let places: Vec<_> = (0..=BLOCK_SLOTS).map(|_| next.take(1)).collect();
        chunks.keep(places.iter().map(|place| (*place, Bytes::from_static(b"x"))));
        for place in &places {
            chunks.retain(*place);
        }
        for (n, place) in places.iter().rev().enumerate() {
            assert_eq!(chunks.live_bytes(), places.len() as u64 - n as u64);
            assert_eq!(chunks.read(*place).unwrap(), "x");
            chunks.release(*place);
            assert!(chunks.read(*place).is_err());
        }
        assert_eq!(chunks.0.lock().by_number.len(), 1, "only the block that is not used up");
    }
}
