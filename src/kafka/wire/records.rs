//! A record set inside a message: slices of a frame or of the store, one after another, never looked into here.

use bytes::Bytes;
use smallvec::SmallVec;

/// The batches of one partition. Read from a frame it is one slice; written, as many as were stored.
#[derive(Debug, Clone, Default)]
pub struct Records(pub SmallVec<[Bytes; 1]>);

impl Records {
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    /// All of it as one slice: without a copy when it is one already, as it is after reading.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.0.len() > 1 { self.0.concat().into() } else { self.0.pop().unwrap_or_default() }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self([bytes].into())
    }
}

impl FromIterator<Bytes> for Records {
    fn from_iter<I: IntoIterator<Item = Bytes>>(slices: I) -> Self {
        Self(slices.into_iter().collect())
    }
}

/// Equal when the bytes are, however they are cut.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.0.iter().flatten().eq(other.0.iter().flatten())
    }
}

impl Eq for Records {}
