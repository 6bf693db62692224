//! Opens compressed records. Never compresses: batches are stored as producers send them.
//!
//! Every codec stops at the caller's limit, whatever the compressed bytes promise; a zstd frame is also held to a
//! window limit, because its decoder keeps the whole window.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use nom::{IResult, Parser, bytes::complete::tag, number::complete::be_i32};

use super::BatchError;

/// How records are compressed (attribute bits 0-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The largest zstd window: what RFC 8878 §3.1.1.1.2 asks every decoder to support, and what levels up to 19 use.
pub const ZSTD_WINDOW_BYTES_MAX: u64 = 8 << 20;

impl Codec {
    /// The codec of an attribute number.
    pub fn from_number(number: u8) -> Result<Self, BatchError> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            unknown => Err(BatchError::Codec(unknown)),
        }
    }

    /// The records as they were before compression, at most `bytes_max`. Uncompressed ones are passed on as they are.
    pub fn decompress(self, input: Bytes, bytes_max: usize) -> Result<Bytes, BatchError> {
        match self {
            Self::None => Ok(input),
            Self::Gzip => read_all(flate2::read::MultiGzDecoder::new(&input[..]), bytes_max),
            Self::Snappy => snappy(&input, bytes_max),
            Self::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(&input[..]), bytes_max),
            Self::Zstd => zstd(&input, bytes_max),
        }
    }
}

fn read_all(decoder: impl Read, bytes_max: usize) -> Result<Bytes, BatchError> {
    let mut out = Vec::new();
    append(decoder, &mut out, bytes_max)?;
    Ok(out.into())
}

/// Appends what the decoder yields, until `out` holds `bytes_max`.
fn append(decoder: impl Read, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), BatchError> {
    let room = u64::try_from(bytes_max - out.len()).unwrap_or(u64::MAX);
    decoder.take(room.saturating_add(1)).read_to_end(out).map_err(|_: io::Error| BatchError::Compressed)?;
    if out.len() > bytes_max { Err(BatchError::TooLarge(bytes_max)) } else { Ok(()) }
}

/// Snappy comes in two forms: blocks in the frame of the Java library xerial (Java, and clients that imitate it),
/// or one raw block.
fn snappy(input: &[u8], bytes_max: usize) -> Result<Bytes, BatchError> {
    let mut out = BytesMut::new();
    match xerial_header(input) {
        Ok((mut rest, _)) => {
            while !rest.is_empty() {
                let (after, block) = xerial_block(rest).map_err(|_| BatchError::Compressed)?;
                snappy_block(block, &mut out, bytes_max)?;
                rest = after;
            }
        }
        Err(_) => snappy_block(input, &mut out, bytes_max)?,
    }
    Ok(out.freeze())
}

/// Magic, version, lowest compatible version.
fn xerial_header(input: &[u8]) -> IResult<&[u8], (&[u8], i32, i32)> {
    (tag(&b"\x82SNAPPY\0"[..]), be_i32, be_i32).parse(input)
}

fn xerial_block(input: &[u8]) -> IResult<&[u8], &[u8]> {
    nom::multi::length_data(nom::number::complete::be_u32).parse(input)
}

fn snappy_block(block: &[u8], out: &mut BytesMut, bytes_max: usize) -> Result<(), BatchError> {
    let len = snap::raw::decompress_len(block).map_err(|_| BatchError::Compressed)?;
    let start = out.len();
    let end =
        start.checked_add(len).filter(|&end| end <= bytes_max).ok_or(BatchError::TooLarge(bytes_max))?;
    // A snappy block cannot expand by more than 64 bytes per 3 (a copy element), so a length beyond that is a lie.
    if len > block.len().saturating_mul(64) {
        return Err(BatchError::Compressed);
    }
    out.resize(end, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, room).map_err(|_| BatchError::Compressed)?;
    if written == len { Ok(()) } else { Err(BatchError::Compressed) }
}

/// Frames one after another; skippable ones are skipped.
fn zstd(input: &[u8], bytes_max: usize) -> Result<Bytes, BatchError> {
    let mut out = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        if let Ok((after, _)) = zstd_skippable(rest) {
            rest = after;
            continue;
        }
        let window = zstd_window(rest).ok_or(BatchError::Compressed)?;
        if window > ZSTD_WINDOW_BYTES_MAX {
            return Err(BatchError::Window(window));
        }
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(&mut rest).map_err(|_| BatchError::Compressed)?;
        append(decoder, &mut out, bytes_max)?;
    }
    Ok(out.into())
}

/// RFC 8878 §3.1.2: magic 0x184D2A50 to 5F, size, data.
fn zstd_skippable(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let low_nibble =
        nom::combinator::verify(nom::number::complete::le_u32, |magic| magic & !0xf == 0x184D_2A50);
    nom::sequence::preceded(low_nibble, nom::multi::length_data(nom::number::complete::le_u32)).parse(input)
}

/// The window that a frame asks for (RFC 8878 §3.1.1.1): from its window descriptor, or the content size of a
/// single-segment frame.
fn zstd_window(frame: &[u8]) -> Option<u64> {
    let (&descriptor, rest) = frame.strip_prefix(&0xFD2F_B528_u32.to_le_bytes())?.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = *rest.first()?;
        let base = 1_u64 << (10 + u32::from(window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let dictionary_id_bytes = match descriptor & 3 {
        0 => 0,
        1 => 1,
        2 => 2,
        _ => 4,
    };
    let size = rest.get(dictionary_id_bytes..)?;
    match descriptor >> 6 {
        0 => size.first().copied().map(u64::from),
        1 => size.first_chunk().map(|two| u64::from(u16::from_le_bytes(*two)) + 256),
        2 => size.first_chunk().map(|four| u32::from_le_bytes(*four).into()),
        _ => size.first_chunk().map(|eight| u64::from_le_bytes(*eight)),
    }
}

/// What producers do, for tests.
#[cfg(test)]
pub(crate) mod compress {
    use std::io::Write;

    pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    pub(crate) fn lz4(data: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    pub(crate) fn snappy(data: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(data).unwrap()
    }

    pub(crate) fn xerial(data: &[u8]) -> Vec<u8> {
        let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        for block in data.chunks(32 << 10) {
            let block = snappy(block);
            out.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
            out.extend_from_slice(&block);
        }
        out
    }

    pub(crate) fn zstd(data: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Compress = fn(&[u8]) -> Vec<u8>;

    const FORMS: [(Codec, Compress); 5] = [
        (Codec::Gzip, compress::gzip),
        (Codec::Lz4, compress::lz4),
        (Codec::Snappy, compress::snappy),
        (Codec::Snappy, compress::xerial),
        (Codec::Zstd, compress::zstd),
    ];

    #[test]
    fn every_form_opens_and_stops_at_the_limit() {
        let data: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 9).to_le_bytes()).collect();
        for (codec, compress) in FORMS {
            let packed: Bytes = compress(&data).into();
            assert_eq!(codec.decompress(packed.clone(), data.len()), Ok(data.clone().into()), "{codec:?}");
            let limit = data.len() - 1;
            assert_eq!(codec.decompress(packed, limit), Err(BatchError::TooLarge(limit)), "{codec:?}");
        }
    }

    #[test]
    fn nothing_compressed_is_nothing() {
        for (codec, compress) in FORMS {
            assert_eq!(codec.decompress(compress(b"").into(), 0), Ok(Bytes::new()), "{codec:?}");
        }
    }

    #[test]
    fn a_zstd_window_over_the_limit_is_refused_before_it_is_allocated() {
        // Window descriptor 0x88: exponent 17, 128 MiB.
        let frame = Bytes::from_static(b"\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00");
        assert_eq!(Codec::Zstd.decompress(frame, 1 << 30), Err(BatchError::Window(128 << 20)));
    }

    #[test]
    fn a_snappy_length_that_cannot_be_is_refused() {
        let lie = Bytes::from_static(&[0xff, 0xff, 0xff, 0x7f, 0, 0]);
        assert_eq!(Codec::Snappy.decompress(lie, 1 << 30), Err(BatchError::Compressed));
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(5), ..ProptestConfig::default() })]
        #[test]
        fn damaged_bytes_never_panic(at in 0_usize..1_000, bit in 0_u32..8, junk in proptest::collection::vec(any::<u8>(), 0..100)) {
            for (codec, compress) in FORMS {
                let mut packed = compress(b"some words and some words and some other words");
                let at = at % packed.len();
                packed[at] ^= 1 << bit;
                if let Ok(out) = codec.decompress(packed.into(), 1 << 16) {
                    prop_assert!(out.len() <= 1 << 16);
                }
                let _ = codec.decompress(junk.clone().into(), 1 << 16);
            }
        }
    }
}
