//! A small pool of read and write buffers per worker thread, so that an idle connection holds none.
//!
//! Per thread, because a pump takes and gives back within one turn: no lock, and the block is still in that
//! core's cache. What grew large for one big frame is freed rather than kept.

use std::cell::RefCell;

use bytes::BytesMut;

/// What one read asks for. Between 16 and 256 KiB the measured rates differ by noise only.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// A buffer that grew beyond this is freed when it is given back.
const KEPT_BYTES_MAX: usize = 4 * BUFFER_BYTES;

/// Buffers kept per worker thread: the few that one turn can have in hand.
const KEPT_MAX: usize = 8;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer of at least [`BUFFER_BYTES`].
#[must_use]
pub fn take() -> BytesMut {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(BUFFER_BYTES))
}

/// Takes a buffer back. Whatever it still holds is forgotten; if slices of it live on elsewhere it is let go.
pub fn give(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() > KEPT_BYTES_MAX || !buffer.try_reclaim(BUFFER_BYTES) {
        return;
    }
    POOL.with_borrow_mut(|pool| {
        if pool.len() < KEPT_MAX {
            pool.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled() -> usize {
        POOL.with_borrow(Vec::len)
    }

    #[test]
    fn a_buffer_comes_back_whole_after_its_front_was_consumed() {
        let mut buffer = take();
        buffer.extend_from_slice(&[7; 1000]);
        drop(buffer.split_to(600));
        give(buffer);
        assert!(pooled() == 1 && take().capacity() >= BUFFER_BYTES);
    }

    #[test]
    fn a_buffer_whose_slices_live_on_is_not_kept() {
        let mut buffer = take();
        buffer.extend_from_slice(&[7; 1000]);
        let slice = buffer.split_to(600).freeze();
        let before = pooled();
        give(buffer);
        assert_eq!((pooled(), slice.len()), (before, 600));
    }

    #[test]
    fn a_buffer_that_grew_for_one_large_frame_is_freed() {
        let before = pooled();
        give(BytesMut::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(pooled(), before);
    }
}
