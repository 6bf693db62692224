//! Bytes on their way out of one connection: a buffer for small things, slices for large ones, in order.
//!
//! Knows no socket. The pump writes what is here; the connection stops producing when it [`is_full`](Output::is_full).

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::net::buffers::{self, BUFFER_BYTES};

/// Above this much unwritten output the pump stops reading from the peer, and deliveries must stop too.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// The queue of sealed pieces is freed, once empty, when it grew beyond this.
const SEALED_KEPT_MAX: usize = 64;

/// The open buffer is sealed at this fill, so that it is never grown by copying.
const SEAL_BYTES: usize = BUFFER_BYTES - 8 * 1024;

/// Bytes on their way out: a buffer for small things, slices for large ones, in order.
#[derive(Debug, Default)]
pub struct Output {
    sealed: VecDeque<Chunk>,
    sealed_bytes: usize,
    open: BytesMut,
    written: u64,
}

#[derive(Debug)]
enum Chunk {
    Copied(BytesMut),
    Slice(Bytes),
}

impl Output {
    /// The buffer for whatever is small enough to be copied. Append only.
    pub fn buffer(&mut self) -> &mut BytesMut {
        if self.open.len() >= SEAL_BYTES {
            let full = std::mem::replace(&mut self.open, buffers::take());
            self.seal(full);
        } else if self.open.capacity() == 0 {
            self.open = buffers::take();
        }
        &mut self.open
    }

    /// Appends a slice without copying it.
    pub fn push(&mut self, bytes: Bytes) {
        if !self.open.is_empty() {
            let before = self.open.split();
            self.seal(before);
        }
        self.sealed_bytes += bytes.len();
        self.sealed.push_back(Chunk::Slice(bytes));
    }

    /// Bytes not yet written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sealed_bytes + self.open.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the peer is so slow that nothing more should be produced for it until it has read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= OUTPUT_BYTES_MAX
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Bytes written once everything is that is here now.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.written + self.len() as u64
    }

    /// Everything as slices, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.sealed.iter().map(Chunk::bytes).chain(std::iter::once(&self.open[..])).filter(|b| !b.is_empty())
    }

    /// Forgets the first `n` bytes, which have been written. Once empty, it holds no buffer.
    pub fn advance(&mut self, mut n: usize) {
        self.written += n as u64;
        while let Some(front) = self.sealed.front_mut() {
            let step = n.min(front.bytes().len());
            front.advance(step);
            self.sealed_bytes -= step;
            n -= step;
            if !front.bytes().is_empty() {
                return;
            }
            if let Some(Chunk::Copied(buffer)) = self.sealed.pop_front() {
                buffers::give(buffer);
            }
        }
        self.open.advance(n.min(self.open.len()));
        if self.open.is_empty() {
            buffers::give(std::mem::take(&mut self.open));
            if self.sealed.capacity() > SEALED_KEPT_MAX {
                self.sealed = VecDeque::new();
            }
        }
    }

    fn seal(&mut self, bytes: BytesMut) {
        self.sealed_bytes += bytes.len();
        self.sealed.push_back(Chunk::Copied(bytes));
    }
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Slice(bytes) => bytes,
        }
    }

    fn advance(&mut self, n: usize) {
        match self {
            Self::Copied(bytes) => bytes.advance(n),
            Self::Slice(bytes) => bytes.advance(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(output: &Output) -> Vec<u8> {
        output.chunks().flatten().copied().collect()
    }

    #[test]
    fn copies_and_slices_leave_in_the_order_they_came() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"one ");
        output.push(Bytes::from_static(b"two "));
        output.buffer().extend_from_slice(b"three");
        assert_eq!((written(&output), output.len()), (b"one two three".to_vec(), 13));
    }

    #[test]
    fn an_empty_output_holds_no_buffer() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"hello");
        output.advance(5);
        assert!(output.is_empty() && output.open.capacity() == 0);
    }

    #[test]
    fn small_pieces_never_make_the_open_buffer_grow() {
        let mut output = Output::default();
        for _ in 0..2000 {
            output.buffer().extend_from_slice(&[1; 100]);
        }
        assert!(output.len() == 200_000 && output.open.capacity() <= 2 * BUFFER_BYTES);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Copy(Vec<u8>),
        Slice(Vec<u8>),
        Write(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = prop::collection::vec(any::<u8>(), 0..200);
        prop_oneof![
            bytes.clone().prop_map(Step::Copy),
            bytes.prop_map(Step::Slice),
            (0usize..300).prop_map(Step::Write)
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_written_in_whatever_steps_the_bytes_are_the_same(steps in prop::collection::vec(step(), 0..60)) {
            let (mut output, mut model) = (Output::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Copy(b) => { output.buffer().extend_from_slice(&b); model.extend(b); }
                    Step::Slice(b) => { output.push(Bytes::from(b.clone())); model.extend(b); }
                    Step::Write(n) => { let n = n.min(model.len()); output.advance(n); model.drain(..n); }
                }
                prop_assert_eq!(output.len(), model.len());
                prop_assert_eq!(written(&output), model.clone());
            }
        }
    }
}
