//! Content headers (§2.3.5.2, §4.2.6.1).

use super::reader::Reader;

/// A header frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub class_id: u16,
    /// Unused; must be 0.
    pub weight: u16,
    pub body_bytes: u64,
    /// Property flags and list, as on the wire.
    pub properties: &'a [u8],
}

impl<'a> Header<'a> {
    #[inline]
    pub(super) fn decode(payload: &'a [u8]) -> Option<Self> {
        let r = &mut Reader::new(payload);
        Some(Self {
            class_id: r.short().ok()?,
            weight: r.short().ok()?,
            body_bytes: r.longlong().ok()?,
            properties: r.rest(),
        })
    }
}
