//! Checks fjall's journals before fjall opens them, and cuts a torn tail.
//!
//! fjall 3.1 refuses to open when a page of its last, never synced batch is missing (as after a loss of power), and cuts the
//! journal in silence where a tag is damaged, even in the middle. So every batch is checked here first:
//!
//! ```text
//! start | 1 | items u32 | seqno u64 |                                          little-endian
//! item  | 2 | type u8 | compression u8 | keyspace u64 | key u16 | value u32 | stored u32 | key | value |
//! clear | 4 | keyspace u64 |
//! end   | 3 | xxh3 of the items u64 | "FJL" 3 |
//! ```
//!
//! The active journal (the one of the highest number) ends at its last whole batch; what follows is cut. Each keyspace then
//! knows the position of the log it has come to, and recovery replays from there, or reports that the log no longer has it.
//! A sealed journal was synced whole: damage in it is corruption, since later journals build on it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

use rustix::fs::SeekFrom;

use super::error::OpenError;

/// Where a journal was cut, and how much of it was not zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) file: PathBuf,
    pub(super) position: u64,
}

/// Checks all journals in fjall's directory.
pub(super) fn check(dir: &Path) -> Result<Option<Cut>, OpenError> {
    let mut journals = Vec::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(OpenError::io(dir)(e)),
    };
    for entry in entries {
        let path = entry.map_err(OpenError::io(dir))?.path();
        if path.extension().is_some_and(|ext| ext == "jnl")
            && let Some(number) =
                path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok())
        {
            journals.push((number, path));
        }
    }
    journals.sort();
    let active = journals.pop();
    let mut seqno = 0;
    for (_, path) in journals {
        let bytes = read_data(&path).map_err(OpenError::io(&path))?;
        let (end, clean) = whole_batches(&bytes, &mut seqno);
        if !clean {
            let reason = "a batch of fjall's sealed journal is damaged".into();
            return Err(OpenError::Corrupt { file: path, position: end as u64, reason });
        }
    }
    let Some((_, path)) = active else { return Ok(None) };
    let bytes = read_data(&path).map_err(OpenError::io(&path))?;
    let (end, clean) = whole_batches(&bytes, &mut seqno);
    if clean {
        return Ok(None);
    }
    let cut = |file: File| {
        file.set_len(end as u64)?;
        file.sync_all()
    };
    OpenOptions::new().write(true).open(&path).and_then(cut).map_err(OpenError::io(&path))?;
    Ok(Some(Cut { file: path, position: end as u64 }))
}

/// A file without the hole at its end: a journal is made 64 MiB long and mostly not written.
fn read_data(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut end = 0;
    // A file system that knows no holes calls all of it data.
    while let Ok(data) = rustix::fs::seek(&file, SeekFrom::Data(end)) {
        end = rustix::fs::seek(&file, SeekFrom::Hole(data))?;
    }
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(end).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where the last whole batch ends, and whether nothing but zeros follows. `seqno` is that of the last batch: they rise.
fn whole_batches(bytes: &[u8], seqno: &mut u64) -> (usize, bool) {
    let mut reader = Reader { rest: bytes };
    loop {
        let end = bytes.len() - reader.rest.len();
        match reader.batch() {
            Some(next) if next >= *seqno => *seqno = next,
            Some(_) | None => {
                let tail = bytes.get(end..).unwrap_or_default();
                return (end, is_zero(tail));
            }
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // In words first: the file is 64 MiB long from its making.
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// One whole batch with the right sum; gives its sequence number.
    fn batch(&mut self) -> Option<u64> {
        if self.u8()? != 1 {
            return None;
        }
        let items = self.u32()?;
        let seqno = self.u64()?;
        let body = self.rest;
        for _ in 0..items {
            match self.u8()? {
                2 => {
                    self.bytes(2 + 8)?;
                    let key_bytes = usize::from(self.u16()?);
                    let (_, stored) = (self.u32()?, self.u32()?);
                    self.bytes(key_bytes)?;
                    self.bytes(usize::try_from(stored).ok()?)?;
                }
                4 => {
                    self.bytes(8)?;
                }
                _ => return None,
            }
        }
        let (body, _) = body.split_at_checked(body.len() - self.rest.len())?;
        let whole = self.u8()? == 3
            && self.u64()? == xxhash_rust::xxh3::xxh3_64(body)
            && self.bytes(4)? == b"FJL\x03";
        whole.then_some(seqno)
    }
}
