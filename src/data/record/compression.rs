//! Opens compressed records, and compresses those of topics that have a `compression.type` of their own.
//!
//! Every codec stops at the caller's limit, whatever the compressed bytes promise.

use std::io::{self, Read, Write};

use bytes::{BufMut, Bytes, BytesMut};
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

/// A codec and how hard it tries (`compression.gzip.level` and its like; the scale is the codec's).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    pub codec: Codec,
    pub level: i32,
}

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

    /// As attributes have it.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
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

/// Frames one after another; skippable ones are skipped. The window may be what zstd allows by default, 128 MiB: of
/// that, only what is written to costs memory.
fn zstd(input: &[u8], bytes_max: usize) -> Result<Bytes, BatchError> {
    if input.is_empty() {
        return Ok(Bytes::new());
    }
    let decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(|_| BatchError::Compressed)?;
    read_all(decoder, bytes_max)
}

impl Compression {
    /// The records compressed, in the form in which Java clients write them.
    ///
    /// # Errors
    /// When the codec does not know the level.
    pub fn compress(self, records: Bytes) -> io::Result<Bytes> {
        match self.codec {
            Codec::None => Ok(records),
            Codec::Gzip => {
                let level = u32::try_from(self.level)
                    .map_or(flate2::Compression::default(), flate2::Compression::new);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(&records)?;
                encoder.finish().map(Bytes::from)
            }
            Codec::Snappy => xerial(&records),
            Codec::Lz4 => lz4(&records, self.level),
            Codec::Zstd => zstd::stream::encode_all(&records[..], self.level).map(Bytes::from),
        }
    }
}

/// The blocks of the Java library.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

fn xerial(records: &[u8]) -> io::Result<Bytes> {
    let mut out = BytesMut::from(&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..]);
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(block)?;
        out.put_u32(u32::try_from(block.len()).map_err(io::Error::other)?);
        out.put_slice(&block);
    }
    Ok(out.freeze())
}

/// The level of a codec if a topic says nothing of it.
#[must_use]
pub fn default_level(codec: Codec) -> i32 {
    match codec {
        Codec::None | Codec::Snappy => 0,
        Codec::Gzip => -1,
        Codec::Lz4 => LZ4_LEVEL_DEFAULT,
        Codec::Zstd => 3,
    }
}

/// Kafka's default level stands for the fast compressor, any other for the thorough one (KIP-390).
pub const LZ4_LEVEL_DEFAULT: i32 = 9;

fn lz4(records: &[u8], level: i32) -> io::Result<Bytes> {
    let level = if level == LZ4_LEVEL_DEFAULT { 0 } else { u32::try_from(level).unwrap_or(0).max(3) };
    let mut encoder = lz4::EncoderBuilder::new()
        .block_size(lz4::BlockSize::Max64KB)
        .block_mode(lz4::BlockMode::Independent)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .level(level)
        .build(Vec::new())?;
    encoder.write_all(records)?;
    let (out, finished) = encoder.finish();
    finished.map(|()| out.into())
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
        super::xerial(data).unwrap().to_vec()
    }

    pub(crate) fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(data, 3).unwrap()
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
    fn a_zstd_window_over_the_limit_is_refused() {
        // Window descriptor 0xa0: exponent 20, 1 GiB.
        let frame = Bytes::from_static(b"\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00");
        assert_eq!(Codec::Zstd.decompress(frame, 1 << 30), Err(BatchError::Compressed));
    }

    #[test]
    fn what_is_compressed_at_any_level_opens_again() {
        let data: Bytes = (0..100_000_u32).flat_map(|n| (n / 9).to_le_bytes()).collect::<Vec<u8>>().into();
        let levels = [
            (Codec::None, 0..=0),
            (Codec::Gzip, -1..=9),
            (Codec::Snappy, 0..=0),
            (Codec::Lz4, 1..=17),
            (Codec::Zstd, -7..=6),
        ];
        for (codec, levels) in levels {
            for level in levels {
                let packed = Compression { codec, level }.compress(data.clone()).unwrap();
                assert_eq!(codec.decompress(packed, data.len()), Ok(data.clone()), "{codec:?} {level}");
            }
        }
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
