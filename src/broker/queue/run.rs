//! One run of a durable queue: what one publish batch put into it, or several that were written together.
//!
//! A run is consecutive sequence numbers, and where in which chunk they lie. It is an entry of the log's index, in one
//! of two forms: by itself as the log holds it ([`Run::encode`]), or packed behind others in memory ([`Run::pack`]),
//! where it says only how it differs from what one would expect.

use smallvec::SmallVec;

use super::Seq;
use crate::{
    data::record::varint::{put_varlong, varlong},
    store::Place,
};

/// Bytes of an index entry with its key besides its ordinals and marks, as a frame holds it; rather too many.
pub const ENTRY_BYTES: usize = 96;

/// The ordinals of a run's messages in their chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordinals {
    /// `start`, `start + 1`, …
    From(u32),
    Listed(Box<[u32]>),
}

impl Ordinals {
    #[must_use]
    pub fn at(&self, n: u32) -> u32 {
        match self {
            Self::From(start) => start + n,
            Self::Listed(list) => list.get(n as usize).copied().unwrap_or(u32::MAX),
        }
    }
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    pub first: Seq,
    pub count: u32,
    pub ordinals: Ordinals,
    /// Known once the committer has staged the run's Change.
    pub place: Option<Place>,
    /// The turn that holds it is durable: its messages may be forgotten in memory.
    pub durable: bool,
    /// Its chunk is being written to another place, where it cannot be read yet.
    pub moving: bool,
    /// Bytes of its bodies, all together.
    pub body_bytes: usize,
    /// It is among those that the next flush rewrites.
    pub(super) dirty: bool,
    left: u32,
    gone: SmallVec<[u64; 1]>,
}

impl Run {
    #[must_use]
    pub fn new(first: Seq, count: u32, ordinals: Ordinals, body_bytes: usize) -> Self {
        Self {
            first,
            count,
            ordinals,
            place: None,
            durable: false,
            moving: false,
            body_bytes,
            left: count,
            gone: SmallVec::new(),
            dirty: false,
        }
    }

    /// How many of its messages have not been acknowledged.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The sequence number behind its last message.
    #[must_use]
    pub fn end(&self) -> Seq {
        Seq(self.first.0 + u64::from(self.count))
    }

    #[must_use]
    pub fn has(&self, n: u32) -> bool {
        n < self.count && self.gone.get((n / 64) as usize).is_none_or(|word| word & (1 << (n % 64)) == 0)
    }

    /// The message is gone; false when it was before.
    pub fn mark(&mut self, n: u32) -> bool {
        if !self.has(n) {
            return false;
        }
        let word = (n / 64) as usize;
        if self.gone.len() <= word {
            self.gone.resize(word + 1, 0);
        }
        if let Some(bits) = self.gone.get_mut(word) {
            *bits |= 1 << (n % 64);
        }
        self.left -= 1;
        true
    }

    /// All of its messages are gone.
    pub fn kill(&mut self) {
        self.left = 0;
    }

    /// What writing its entry costs, at most.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        let ordinals = match &self.ordinals {
            Ordinals::From(_) => 4,
            Ordinals::Listed(list) => list.len() * 4,
        };
        ENTRY_BYTES + self.gone.len() * 8 + ordinals
    }

    /// Its chunk begins with the messages of others, so many.
    pub fn shift(&mut self, ordinals: u32) {
        match &mut self.ordinals {
            Ordinals::From(start) => *start += ordinals,
            Ordinals::Listed(list) => list.iter_mut().for_each(|n| *n += ordinals),
        }
    }

    /// Takes in the run that follows it, in the queue and in the chunk.
    pub fn absorb(&mut self, next: &Self) {
        let joint = match (&self.ordinals, &next.ordinals) {
            (Ordinals::From(a), Ordinals::From(b)) if *a + self.count == *b => Ordinals::From(*a),
            (a, b) => {
                let ours = (0..self.count).map(|n| a.at(n));
                Ordinals::Listed(ours.chain((0..next.count).map(|n| b.at(n))).collect())
            }
        };
        let before = self.count;
        self.ordinals = joint;
        self.count += next.count;
        self.left += next.count;
        self.body_bytes += next.body_bytes;
        (0..next.count).filter(|&n| !next.has(n)).for_each(|n| {
            self.mark(before + n);
        });
    }

    /// The index entry's value:
    ///
    /// ```text
    /// segment u32 | offset u32 | len u32 | count u32 | bodies u32 | words u16, gone u64 … | 0, start u32  or  1, ordinal u32 …
    /// ```
    #[must_use]
    pub fn encode(&self, place: Place) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        let body_bytes = u32::try_from(self.body_bytes).unwrap_or(u32::MAX);
        for word in [place.segment, place.offset, place.len, self.count, body_bytes] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&u16::try_from(self.gone.len()).unwrap_or(u16::MAX).to_be_bytes());
        for word in &self.gone {
            out.extend_from_slice(&word.to_be_bytes());
        }
        match &self.ordinals {
            Ordinals::From(start) => {
                out.push(0);
                out.extend_from_slice(&start.to_be_bytes());
            }
            Ordinals::Listed(list) => {
                out.push(1);
                list.iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
            }
        }
        out
    }

    /// Reads an index entry back.
    #[must_use]
    pub fn decode(first: Seq, value: &[u8]) -> Option<Self> {
        let mut at = Cursor(value);
        let place = Place { segment: at.u32()?, offset: at.u32()?, len: at.u32()? };
        let count = at.u32()?;
        let body_bytes = at.u32()? as usize;
        let words = at.u16()?;
        let gone = (0..words).map(|_| at.u64()).collect::<Option<SmallVec<_>>>()?;
        let ordinals = match at.u8()? {
            0 => Ordinals::From(at.u32()?),
            1 => Ordinals::Listed((0..count).map(|_| at.u32()).collect::<Option<Box<[_]>>>()?),
            _ => return None,
        };
        Self::stored(first, count, ordinals, place, body_bytes, gone)
    }
}

/// What the next packed run is like, if it is as one would expect: behind the last one, and as long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    seq: u64,
    place: Place,
    body_bytes: usize,
}

impl Expected {
    pub(super) fn first(seq: Seq) -> Self {
        Self { seq: seq.0, place: Place { segment: 0, offset: 0, len: 0 }, body_bytes: 0 }
    }

    fn next(&mut self, run: &Run, place: Place) {
        self.seq = run.end().0;
        // A turn writes one chunk right behind the other, each behind its head.
        let offset = place.offset.saturating_add(place.len).saturating_add(CHUNK_HEAD_BYTES);
        self.place = Place { offset, ..place };
        self.body_bytes = run.body_bytes;
    }
}

const CHUNK_HEAD_BYTES: u32 = 8;

const LISTED: i64 = 1;
const SOME_GONE: i64 = 2;

impl Run {
    /// Appends the run in few bytes: seven for a message that is a run by itself. Only for one that is staged.
    ///
    /// ```text
    /// count * 4 + (1: ordinals listed) + (2: some gone) | first | segment | offset | len | bodies, as differences
    /// | start  or  ordinal …, as differences | words, gone …          (each a zigzag varint)
    /// ```
    pub(super) fn pack(&self, expected: &mut Expected, out: &mut Vec<u8>) {
        let Some(place) = self.place else { return };
        let (listed, some_gone) = (matches!(self.ordinals, Ordinals::Listed(_)), !self.gone.is_empty());
        let flags = if listed { LISTED } else { 0 } + if some_gone { SOME_GONE } else { 0 };
        put_varlong(out, i64::from(self.count) * 4 + flags);
        put_varlong(out, self.first.0.wrapping_sub(expected.seq).cast_signed());
        let differs = |a: u32, b: u32| i64::from(a) - i64::from(b);
        put_varlong(out, differs(place.segment, expected.place.segment));
        put_varlong(out, differs(place.offset, expected.place.offset));
        put_varlong(out, differs(place.len, expected.place.len));
        put_varlong(out, self.body_bytes.cast_signed() as i64 - expected.body_bytes.cast_signed() as i64);
        match &self.ordinals {
            Ordinals::From(start) => put_varlong(out, i64::from(*start)),
            Ordinals::Listed(list) => {
                let before = std::iter::once(0).chain(list.iter().copied());
                list.iter().zip(before).for_each(|(&n, before)| put_varlong(out, differs(n, before)));
            }
        }
        if some_gone {
            put_varlong(out, i64::try_from(self.gone.len()).unwrap_or(0));
            self.gone.iter().for_each(|word| put_varlong(out, word.cast_signed()));
        }
        expected.next(self, place);
    }

    /// Takes the next packed run.
    pub(super) fn unpack(expected: &mut Expected, packed: &mut &[u8]) -> Option<Self> {
        let mut next = || {
            let (rest, n) = varlong(packed).ok()?;
            *packed = rest;
            Some(n)
        };
        let plus = |a: u32, n: i64| u32::try_from(i64::from(a).checked_add(n)?).ok();
        let head = next()?;
        let count = u32::try_from(head / 4).ok()?;
        let first = Seq(expected.seq.wrapping_add(next()?.cast_unsigned()));
        let place = Place {
            segment: plus(expected.place.segment, next()?)?,
            offset: plus(expected.place.offset, next()?)?,
            len: plus(expected.place.len, next()?)?,
        };
        let body_bytes =
            usize::try_from(i64::try_from(expected.body_bytes).ok()?.checked_add(next()?)?).ok()?;
        let ordinals = if head & LISTED == 0 {
            Ordinals::From(u32::try_from(next()?).ok()?)
        } else {
            let mut last = 0;
            let mut ordinal = || {
                last = plus(last, next()?)?;
                Some(last)
            };
            Ordinals::Listed((0..count).map(|_| ordinal()).collect::<Option<_>>()?)
        };
        let words = if head & SOME_GONE == 0 { 0 } else { next()? };
        let gone: SmallVec<[u64; 1]> =
            (0..words).map(|_| next().map(i64::cast_unsigned)).collect::<Option<_>>()?;
        let run = Self::stored(first, count, ordinals, place, body_bytes, gone)?;
        expected.next(&run, place);
        Some(run)
    }

    /// A run that the log holds.
    fn stored(
        first: Seq,
        count: u32,
        ordinals: Ordinals,
        place: Place,
        body_bytes: usize,
        gone: SmallVec<[u64; 1]>,
    ) -> Option<Self> {
        let dead: u32 = gone.iter().map(|word| word.count_ones()).sum();
        let left = count.checked_sub(dead)?;
        let place = Some(place);
        Some(Self { place, durable: true, left, gone, ..Self::new(first, count, ordinals, body_bytes) })
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_at_checked(N)?;
        self.0 = tail;
        head.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[b]| b)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place = Place { segment: 1, offset: 2, len: 3 };

    #[test]
    fn an_entry_reads_back_as_it_was() {
        for ordinals in [Ordinals::From(7), Ordinals::Listed(Box::from([1, 5, 9]))] {
            let mut run = Run::new(Seq(10), 3, ordinals.clone(), 100);
            run.mark(1);
            let again = Run::decode(Seq(10), &run.encode(PLACE)).unwrap();
            assert_eq!((again.left(), again.ordinals.clone(), again.place), (2, ordinals, Some(PLACE)));
            assert_eq!((again.has(0), again.has(1), again.has(2), again.has(3)), (true, false, true, false));
        }
    }

    #[test]
    fn a_single_message_takes_few_bytes() {
        let (mut expected, mut out) = (Expected::first(Seq(0)), Vec::new());
        for n in 0..1000 {
            let mut run = Run::new(Seq(n), 1, Ordinals::From(0), 100);
            // Each in a turn of its own: its entry and the next frame's header lie between them.
            run.place = Some(Place { segment: 3, offset: u32::try_from(n * 264).unwrap(), len: 150 });
            run.pack(&mut expected, &mut out);
        }
        assert!(out.len() < 9 * 1000, "{}", out.len());
    }

    fn run() -> impl Strategy<Value = Run> {
        let ordinals = prop_oneof![
            (1u32..200, 0u32..9).prop_map(|(count, start)| (count, Ordinals::From(start))),
            prop::collection::vec(0u32..1000, 1..100)
                .prop_map(|list| (u32::try_from(list.len()).unwrap(), Ordinals::Listed(list.into())))
        ];
        let place = (any::<u32>(), any::<u32>(), any::<u32>());
        (0u64..1000, ordinals, place, 0usize..100_000, prop::collection::vec(0u32..200, 0..20)).prop_map(
            |(first, (count, ordinals), (segment, offset, len), body_bytes, gone)| {
                let mut run = Run::new(Seq(first), count, ordinals, body_bytes);
                run.place = Some(Place { segment, offset, len });
                gone.into_iter().for_each(|n| {
                    run.mark(n);
                });
                run
            },
        )
    }

    proptest! {
        #[test]
        fn packed_runs_come_back_as_they_were(runs in prop::collection::vec(run(), 0..20)) {
            let (mut expected, mut out) = (Expected::first(Seq(5)), Vec::new());
            runs.iter().for_each(|run| run.pack(&mut expected, &mut out));
            let (mut expected, mut packed) = (Expected::first(Seq(5)), &out[..]);
            for run in runs {
                let again = Run::unpack(&mut expected, &mut packed).unwrap();
                let place = run.place.unwrap();
                prop_assert_eq!((again.first, again.left(), again.place), (run.first, run.left(), run.place));
                prop_assert_eq!(again.encode(place), run.encode(place));
            }
            prop_assert!(packed.is_empty());
        }

        #[test]
        fn joined_runs_are_those_they_were_made_of(a in run(), mut b in run()) {
            b.first = a.end();
            let mut joined = a.clone();
            joined.absorb(&b);
            let of = |run: &Run| (0..run.count).map(|n| (run.has(n), run.ordinals.at(n))).collect::<Vec<_>>();
            prop_assert_eq!(of(&joined), [of(&a), of(&b)].concat());
            prop_assert_eq!((joined.left(), joined.body_bytes), (a.left() + b.left(), a.body_bytes + b.body_bytes));
        }
    }
}
