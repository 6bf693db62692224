//! A string: bytes, in one slot.

use super::journal::Slots;

/// A string.
#[derive(Debug, Default)]
pub struct Text(Box<[u8]>);

/// The one slot.
const SLOT: u64 = 0;

impl Text {
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn set(&mut self, bytes: &[u8], slots: &mut Slots<'_>) {
        slots.put(SLOT, bytes);
        self.0 = bytes.into();
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = u64> + use<> {
        std::iter::once(SLOT)
    }

    pub(super) fn recover(&mut self, part: &[u8]) {
        self.0 = part.into();
    }
}
