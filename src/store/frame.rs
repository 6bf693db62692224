//! A turn on disk: one frame.
//!
//! ```text
//!          0        8        12               20       24        28       32       36         40
//! header   | magic  | segment | turn u64      | body   | chunks  | flags  | body   | header   |
//!          | 8 B    | u32     |               | bytes  | bytes   | u32    | crc    | crc      |
//!
//! body     | len u32 | crc u32 | payload ... | len u32 | crc u32 | payload ... | deltas ...   | padding to 8
//!          '------- chunk 0 ----------------' '------ chunk 1 -----------------'
//!
//! delta    | op u8 | key bytes u16 | value bytes u32 (not for a delete) | key | value |
//!            op = kind (1 put, 2 insert, 3 delete) + 4 * space (0 meta, 1 index, 2 state)
//! ```
//!
//! All numbers are big-endian. The header's crc covers the header; the body's crc covers the chunks' heads and the deltas;
//! a chunk's crc covers its payload: so every byte is summed once on the way in, and a chunk can be checked by itself when
//! it is read. Each sum begins with the segment's id, so that what an earlier life of a recycled file left behind never
//! counts. A frame never spans segments.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    Place, Space,
    key::{KEY_BYTES_MAX, Parts},
};

const MAGIC: [u8; 8] = *b"WARRENT1";
pub(super) const HEADER_BYTES: usize = 40;
pub(super) const CHUNK_HEAD_BYTES: usize = 8;
/// Frames begin at multiples of this, which makes the search for a later frame behind a bad one cheap.
pub(super) const ALIGN: u32 = 8;
/// The turn was not synced before the next one was written (`durability = "os"`).
pub(super) const FLAG_UNSYNCED: u32 = 1;

const PUT: u8 = 1;
const INSERT: u8 = 2;
const DELETE: u8 = 3;

/// Where the sums of one segment begin.
pub(super) fn seed(segment: u32) -> u32 {
    crc32c::crc32c(&segment.to_be_bytes())
}

/// `n` rounded up to [`ALIGN`].
pub(super) fn aligned(n: u32) -> u32 {
    n.next_multiple_of(ALIGN)
}

/// One change of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delta<'a> {
    Put { space: Space, key: &'a [u8], value: &'a [u8] },
    Insert { space: Space, key: &'a [u8], value: &'a [u8] },
    Delete { space: Space, key: &'a [u8] },
}

impl Delta<'_> {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let (kind, space, key, value) = match self {
            Self::Put { space, key, value } => (PUT, space, key, Some(value)),
            Self::Insert { space, key, value } => (INSERT, space, key, Some(value)),
            Self::Delete { space, key } => (DELETE, space, key, None),
        };
        assert!(key.len() <= KEY_BYTES_MAX, "a key of {} bytes", key.len());
        out.push(kind + 4 * space.number());
        out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
        if let Some(value) = value {
            out.extend_from_slice(&len_u32(value.len()).to_be_bytes());
        }
        out.extend_from_slice(key);
        out.extend_from_slice(value.unwrap_or_default());
    }
}

/// The deltas of a frame or of a turn, in order. Ends early at what it cannot read; the sum was checked before.
pub(super) struct Deltas<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Deltas<'a> {
    type Item = Delta<'a>;

    fn next(&mut self) -> Option<Delta<'a>> {
        let mut parts = Parts(self.0);
        let op = parts.u8()?;
        let space = Space::from_number(op / 4)?;
        let key_bytes = usize::from(parts.u16()?);
        let delta = if op % 4 == DELETE {
            Delta::Delete { space, key: parts.bytes(key_bytes)? }
        } else {
            let value_bytes = usize::try_from(parts.u32()?).ok()?;
            let key = parts.bytes(key_bytes)?;
            let value = parts.bytes(value_bytes)?;
            match op % 4 {
                PUT => Delta::Put { space, key, value },
                INSERT => Delta::Insert { space, key, value },
                _ => return None,
            }
        };
        self.0 = parts.0;
        Some(delta)
    }
}

/// A frame under construction. Its buffers are kept from turn to turn.
#[derive(Debug, Default)]
pub(super) struct Frame {
    segment: u32,
    /// Where the frame begins in its segment.
    offset: u32,
    seed: u32,
    body_crc: u32,
    /// Room for the header, then the chunks without what is shared; `seal` adds the deltas and the padding.
    bytes: Vec<u8>,
    /// Payloads that are written from where they lie, and where they belong in `bytes`.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
    deltas: Vec<u8>,
}

impl Frame {
    /// Begins a new frame at that place.
    pub(super) fn begin(&mut self, segment: u32, offset: u32) {
        self.segment = segment;
        self.offset = offset;
        self.seed = seed(segment);
        self.body_crc = self.seed;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.bytes.resize(HEADER_BYTES, 0);
        self.release();
        self.deltas.clear();
        self.deltas.shrink_to(KEPT_BYTES_MAX);
    }

    /// Whether nothing has been added.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() <= HEADER_BYTES && self.deltas.is_empty()
    }

    /// How long the frame is by now.
    pub(super) fn len(&self) -> usize {
        self.sealed_len() + self.deltas.len()
    }

    pub(super) fn chunk(&mut self, parts: &[&[u8]]) -> Place {
        self.chunk_with(|frame| parts.iter().for_each(|part| frame.bytes.extend_from_slice(part)), parts)
    }

    /// As [`Frame::chunk`], but a large part is not copied: it is held until [`Frame::release`].
    pub(super) fn chunk_of(&mut self, parts: &[&Bytes]) -> Place {
        let slices: SmallVec<[&[u8]; 4]> = parts.iter().map(|part| &part[..]).collect();
        let add = |frame: &mut Self| {
            for part in parts {
                if part.len() < SHARED_BYTES_MIN {
                    frame.bytes.extend_from_slice(part);
                } else {
                    frame.shared.push((frame.bytes.len(), Bytes::clone(part)));
                    frame.shared_bytes += part.len();
                }
            }
        };
        self.chunk_with(add, &slices)
    }

    fn chunk_with(&mut self, add: impl FnOnce(&mut Self), parts: &[&[u8]]) -> Place {
        let at = self.sealed_len();
        let len = len_u32(parts.iter().map(|part| part.len()).sum());
        let crc = parts.iter().fold(self.seed, |crc, part| crc32c::crc32c_append(crc, part));
        let head = chunk_head(len, crc);
        self.bytes.extend_from_slice(&head);
        add(self);
        self.body_crc = crc32c::crc32c_append(self.body_crc, &head);
        Place { segment: self.segment, offset: self.offset.saturating_add(len_u32(at)), len }
    }

    pub(super) fn delta(&mut self, delta: Delta<'_>) {
        delta.encode(&mut self.deltas);
    }

    pub(super) fn deltas(&self) -> Deltas<'_> {
        Deltas(&self.deltas)
    }

    /// How long the sealed frame is.
    pub(super) fn sealed_len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    /// The sealed frame, piece by piece.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        let shared = self.shared.iter().flat_map(move |(at, payload)| {
            let before = self.bytes.get(from..*at).unwrap_or_default();
            from = *at;
            [before, payload]
        });
        let last = self.shared.last().map_or(0, |(at, _)| *at);
        shared.chain(self.bytes.get(last..))
    }

    /// Lets go of what is shared: the frame is written, or will not be.
    pub(super) fn release(&mut self) {
        self.shared.clear();
        self.shared_bytes = 0;
    }

    /// Writes the header and the padding to [`ALIGN`].
    pub(super) fn seal(&mut self, turn: u64, flags: u32) {
        let chunk_bytes = self.sealed_len() - HEADER_BYTES;
        self.bytes.extend_from_slice(&self.deltas);
        let body_bytes = self.sealed_len() - HEADER_BYTES;
        let header = Header {
            segment: self.segment,
            turn,
            body_bytes: len_u32(body_bytes),
            chunk_bytes: len_u32(chunk_bytes),
            flags,
            body_crc: crc32c::crc32c_append(self.body_crc, &self.deltas),
        };
        if let Some(room) = self.bytes.get_mut(..HEADER_BYTES) {
            room.copy_from_slice(&header.encode());
        }
        let padding = self.sealed_len().next_multiple_of(ALIGN as usize) - self.sealed_len();
        self.bytes.resize(self.bytes.len() + padding, 0);
    }
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) segment: u32,
    pub(super) turn: u64,
    pub(super) body_bytes: u32,
    pub(super) chunk_bytes: u32,
    pub(super) flags: u32,
    pub(super) body_crc: u32,
}

impl Header {
    fn encode(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let fields: [&[u8]; 7] = [
            &MAGIC,
            &self.segment.to_be_bytes(),
            &self.turn.to_be_bytes(),
            &self.body_bytes.to_be_bytes(),
            &self.chunk_bytes.to_be_bytes(),
            &self.flags.to_be_bytes(),
            &self.body_crc.to_be_bytes(),
        ];
        let summed = fields.concat();
        let crc = crc32c::crc32c(&summed).to_be_bytes();
        for (to, from) in out.iter_mut().zip(summed.iter().chain(&crc)) {
            *to = *from;
        }
        out
    }

    /// The header at the beginning of `bytes`, if it is whole and its sum is right.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (summed, rest) = bytes.split_at_checked(HEADER_BYTES - 4)?;
        let mut parts = Parts(summed);
        if parts.bytes(MAGIC.len())? != MAGIC || Parts(rest).u32()? != crc32c::crc32c(summed) {
            return None;
        }
        Some(Self {
            segment: parts.u32()?,
            turn: parts.u64()?,
            body_bytes: parts.u32()?,
            chunk_bytes: parts.u32()?,
            flags: parts.u32()?,
            body_crc: parts.u32()?,
        })
    }

    /// The whole frame's length with padding.
    pub(super) fn frame_bytes(&self) -> u64 {
        (HEADER_BYTES as u64 + u64::from(self.body_bytes)).next_multiple_of(ALIGN.into())
    }

    pub(super) fn is_unsynced(&self) -> bool {
        self.flags & FLAG_UNSYNCED != 0
    }

    /// Checks every sum of the body and gives its deltas.
    pub(super) fn check<'a>(&self, body: &'a [u8]) -> Option<Deltas<'a>> {
        let chunk_bytes = usize::try_from(self.chunk_bytes).ok()?;
        let (mut chunks, deltas) = body.split_at_checked(chunk_bytes)?;
        let seed = seed(self.segment);
        let mut body_crc = seed;
        while !chunks.is_empty() {
            let (head, rest) = chunks.split_at_checked(CHUNK_HEAD_BYTES)?;
            let mut parts = Parts(head);
            let (len, crc) = (parts.u32()?, parts.u32()?);
            let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            if crc32c::crc32c_append(seed, payload) != crc {
                return None;
            }
            body_crc = crc32c::crc32c_append(body_crc, head);
            chunks = rest;
        }
        (crc32c::crc32c_append(body_crc, deltas) == self.body_crc).then_some(Deltas(deltas))
    }
}

/// Whether these bytes may once have been the header of that turn: either of the two things that tell it apart from what an
/// earlier life of the file left behind is there.
pub(super) fn resembles(bytes: &[u8], segment: u32, turn: u64) -> bool {
    let mut parts = Parts(bytes);
    let magic = parts.bytes(MAGIC.len()) == Some(&MAGIC);
    let (found_segment, found_turn) = (parts.u32(), parts.u64());
    let of_turn = found_turn == Some(turn);
    of_turn && (magic || found_segment == Some(segment)) || magic && found_segment == Some(segment)
}

/// Where a frame may begin in `bytes`, which begin at a multiple of [`ALIGN`].
pub(super) fn find_magic(bytes: &[u8]) -> Option<usize> {
    /// Words looked at without a branch, so that the compiler can take several at once.
    const BLOCK: usize = 64;
    let (words, _) = bytes.as_chunks::<{ ALIGN as usize }>();
    for (n, block) in words.chunks(BLOCK).enumerate() {
        let hit = block.iter().fold(false, |hit, word| hit | (u64::from_ne_bytes(*word) == MAGIC_WORD));
        if let Some(at) = hit.then(|| block.iter().position(|word| *word == MAGIC)).flatten() {
            return Some((n * BLOCK + at) * ALIGN as usize);
        }
    }
    None
}

const MAGIC_WORD: u64 = u64::from_ne_bytes(MAGIC);

/// What precedes a chunk's payload.
fn chunk_head(len: u32, crc: u32) -> [u8; CHUNK_HEAD_BYTES] {
    ((u64::from(len) << 32) | u64::from(crc)).to_be_bytes()
}

/// Checks a chunk read with its head, and says where the payload is.
pub(super) fn check_chunk(place: Place, bytes: &[u8]) -> Option<Range<usize>> {
    let (head, payload) = bytes.split_at_checked(CHUNK_HEAD_BYTES)?;
    let crc = crc32c::crc32c_append(seed(place.segment), payload);
    (head == chunk_head(place.len, crc)).then_some(CHUNK_HEAD_BYTES..bytes.len())
}

/// A length inside a frame. Frames are far below 4 GiB: a Change has at most 32 MiB, a turn one such and 1 MiB.
pub(super) fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A part of this size is written from where it lies: a call more costs less than copying it.
const SHARED_BYTES_MIN: usize = if cfg!(test) { 512 } else { 64 << 10 };

/// How much buffer is kept after a turn with a very large Change.
const KEPT_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<u8>, Place) {
        let mut frame = Frame::default();
        frame.begin(7, 4096);
        frame.chunk(&[b"first"]);
        let place = frame.chunk(&[b"sec", b"ond"]);
        frame.delta(Delta::Put { space: Space::State, key: b"k", value: b"v" });
        frame.delta(Delta::Insert { space: Space::Index, key: b"i", value: b"" });
        frame.delta(Delta::Delete { space: Space::Meta, key: b"d" });
        frame.seal(3, 0);
        (frame.pieces().collect::<Vec<_>>().concat(), place)
    }

    fn read(bytes: &[u8]) -> Option<(Header, Vec<Delta<'_>>)> {
        let header = Header::decode(bytes)?;
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES + header.body_bytes as usize)?;
        Some((header, header.check(body)?.collect()))
    }

    #[test]
    fn a_frame_reads_back() {
        let (bytes, place) = sample();
        let (header, deltas) = read(&bytes).unwrap();
        assert_eq!((header.segment, header.turn, header.frame_bytes()), (7, 3, bytes.len() as u64));
        assert_eq!(
            deltas,
            [
                Delta::Put { space: Space::State, key: b"k", value: b"v" },
                Delta::Insert { space: Space::Index, key: b"i", value: b"" },
                Delta::Delete { space: Space::Meta, key: b"d" },
            ]
        );
        let at = place.offset as usize - 4096;
        let chunk = &bytes[at..at + CHUNK_HEAD_BYTES + place.len as usize];
        assert_eq!(&chunk[check_chunk(place, chunk).unwrap()], b"second");
        assert_eq!(check_chunk(Place { segment: 8, ..place }, chunk), None);
    }

    #[test]
    fn what_is_shared_lies_where_it_would_if_it_were_copied() {
        let (small, large) = (Bytes::from_static(b"small"), Bytes::from(vec![7; SHARED_BYTES_MIN]));
        let frames = [true, false].map(|shares| {
            let mut frame = Frame::default();
            frame.begin(7, 4096);
            let places = [&[&small, &large][..], &[&large, &small], &[&large, &large], &[]].map(|parts| {
                let slices: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
                if shares { frame.chunk_of(parts) } else { frame.chunk(&slices) }
            });
            frame.delta(Delta::Put { space: Space::State, key: b"k", value: b"v" });
            frame.seal(3, 0);
            assert_eq!(frame.pieces().count(), if shares { 9 } else { 1 });
            let bytes = frame.pieces().collect::<Vec<_>>().concat();
            assert_eq!(frame.sealed_len(), bytes.len());
            (places, bytes)
        });
        assert_eq!(frames[0], frames[1]);
        assert!(read(&frames[0].1).is_some());
    }

    #[test]
    fn the_magic_is_found_at_every_place_where_a_frame_may_begin() {
        for at in 0..2_000 {
            let mut bytes = vec![7; 2_011];
            bytes[at..at + 8].copy_from_slice(&MAGIC);
            assert_eq!(find_magic(&bytes), at.is_multiple_of(8).then_some(at), "{at}");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (bytes, _) = sample();
        let header = Header::decode(&bytes).unwrap();
        let used = HEADER_BYTES + header.body_bytes as usize;
        for bit in 0..used * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bad), None, "bit {bit}");
        }
    }
}
