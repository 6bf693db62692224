//! Recovery: the frames behind the catalog's position are read, checked and applied again.
//!
//! ```text
//!      catalog's position
//!              ▼
//!  ...| 17 | 18 | 19 | 20 | ✗            a torn last frame: dropped (it was never confirmed)
//!  ...| 17 | 18 | ✗  | 20 |              a bad frame with a later one behind it: corruption, unless the later one was
//!                                        written without waiting for a sync (`os`): there the first bad frame ends the log
//!  ...| 17 | 18 |   segment 7  ┐
//!     | 21 |        segment 8  ┘         a gap: corruption
//! ```
//!
//! Stale frames of recycled files never count: the segment's id is in every sum, and turns must follow without a gap.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use super::{
    disk::{Disk, MAKING},
    error::OpenError,
    frame::{self, ALIGN, Deltas, HEADER_BYTES, Header},
    log::Pos,
    pool::{Name, Pool, Segment, parse_name},
};

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Turns read from the log and applied again.
    pub replayed_turns: u64,
    pub replayed_bytes: u64,
    /// Where a frame was dropped that is not whole: file and position.
    pub dropped: Option<(PathBuf, u64)>,
    /// Where the catalog's journal was cut behind its last whole batch.
    pub catalog_cut: Option<(PathBuf, u64)>,
}

/// Replays the log behind `pos`, and gives the end of it. All segments end up in the pool.
pub(super) fn replay(
    pool: &Pool,
    pos: Pos,
    clean: bool,
    recovered: &mut Recovered,
    mut apply: impl FnMut(Deltas<'_>, Pos),
) -> Result<Pos, OpenError> {
    let disk = pool.disk();
    let segments = find_segments(pool)?;
    let behind = segments.iter().filter(|s| s.id >= pos.segment);
    let mut scan = Scan { disk, at: pos, stops: Vec::new(), ended: false, checked: Vec::new() };
    if pos.turn > 0 && segments.iter().all(|s| s.id != pos.segment) {
        scan.stops.push((format!("{:010}", pos.segment), pos.offset));
    }
    for segment in behind {
        scan.segment(segment, pos, recovered, &mut apply)?;
    }
    let end = scan.end(pos, clean, recovered)?;
    // What was read may still be only in the page cache. The turns to come build on it.
    for (segment, _) in &scan.checked {
        segment.file.sync().map_err(|e| io_error(disk, segment, e))?;
    }
    // Segments without a frame hold nothing, and what lies behind the end of the log does not count.
    pool.skip_ids(segments.iter().map(|s| s.id).max().unwrap_or_default().max(end.segment));
    for segment in segments {
        if segment.id <= end.segment {
            pool.found(segment);
        } else {
            let bytes = segment.file.len().map_err(|e| io_error(disk, &segment, e))?;
            pool.found_spare(&segment.name, bytes).map_err(|e| io_error(disk, &segment, e))?;
        }
    }
    Ok(end)
}

fn io_error(disk: &Disk, segment: &Segment, reason: io::Error) -> OpenError {
    OpenError::Io { path: disk.path(&segment.name), reason }
}

/// The segments of the directory in order; spares go to the pool.
fn find_segments(pool: &Pool) -> Result<Vec<Arc<Segment>>, OpenError> {
    let disk = pool.disk();
    let files = disk.list().map_err(OpenError::io(disk.path("")))?;
    let mut segments = Vec::new();
    for (name, bytes) in files {
        match parse_name(&name) {
            Some(Name::Segment { bytes: full, .. }) if bytes < full.into() => {
                let reason = format!("the file was cut short, it should have {full} bytes");
                return Err(OpenError::Corrupt { file: disk.path(&name), position: bytes, reason });
            }
            Some(Name::Segment { id, .. }) => {
                let file = disk.open(&name).map_err(OpenError::io(disk.path(&name)))?;
                let end = u32::try_from(bytes).unwrap_or(u32::MAX);
                segments.push(Arc::new(Segment::new(id, name, file, end)));
            }
            Some(Name::Spare(_)) => {
                pool.found_spare(&name, bytes).map_err(OpenError::io(disk.path(&name)))?;
            }
            None if name == MAKING => disk.remove(&name).map_err(OpenError::io(disk.path(&name)))?,
            None => {}
        }
    }
    segments.sort_by_key(|segment| segment.id);
    Ok(segments)
}

struct Scan<'a> {
    disk: &'a Disk,
    /// The last good turn.
    at: Pos,
    /// Where good frames stopped, in the segment of the last good turn and in those behind it.
    stops: Vec<(String, u32)>,
    /// The log ended; what follows is from turns that were never promised.
    ended: bool,
    /// Each with the end of what was ever written to it.
    checked: Vec<(Arc<Segment>, u64)>,
}

impl Scan<'_> {
    fn segment(
        &mut self,
        segment: &Arc<Segment>,
        pos: Pos,
        recovered: &mut Recovered,
        apply: &mut impl FnMut(Deltas<'_>, Pos),
    ) -> Result<(), OpenError> {
        let io = |e| io_error(self.disk, segment, e);
        let mut offset = if segment.id == pos.segment { pos.offset } else { 0 };
        let begin = offset;
        // Asked before anything is read: then what was never written has pages in memory, and counts as written.
        let data_end = segment.file.data_end(offset.into()).map_err(io)?;
        let mut window = Window::new(segment, data_end).map_err(io)?;
        if u64::from(offset) > window.bytes {
            return Err(self.corrupt(
                &segment.name,
                window.bytes,
                "the file ends before the catalog's position",
            ));
        }
        if self.ended {
            return Ok(());
        }
        while let Some((header, body)) = window.frame(offset).map_err(io)? {
            if header.turn != self.at.turn + 1 {
                return self.gap(&segment.name, offset, header);
            }
            let Some(deltas) = header.check(body) else { break };
            let frame_bytes = header.frame_bytes();
            offset = u32::try_from(u64::from(offset) + frame_bytes).unwrap_or(u32::MAX);
            self.at = Pos { turn: header.turn, segment: segment.id, offset };
            apply(deltas, self.at);
            recovered.replayed_turns += 1;
            recovered.replayed_bytes += frame_bytes;
        }
        if offset > begin {
            self.stops.clear();
        }
        self.stops.push((segment.name.clone(), offset));
        segment.end.store(offset, Ordering::Relaxed);
        self.checked.push((segment.clone(), data_end));
        Ok(())
    }

    /// A good header of a turn that is not the next.
    fn gap(&mut self, name: &str, offset: u32, header: Header) -> Result<(), OpenError> {
        if header.is_unsynced() && header.turn > self.at.turn {
            self.ended = true;
            return Ok(());
        }
        let here = (name.to_owned(), offset);
        let (file, position) = self.stops.first().unwrap_or(&here);
        let reason = format!(
            "turn {} is missing or damaged, but turn {} follows in {name} at byte {offset}",
            self.at.turn + 1,
            header.turn,
        );
        Err(self.corrupt(file, (*position).into(), &reason))
    }

    /// Looks at what is behind the last good frame.
    fn end(&self, pos: Pos, clean: bool, recovered: &mut Recovered) -> Result<Pos, OpenError> {
        for (name, offset) in &self.stops {
            let Some((segment, data_end)) = self.checked.iter().find(|(s, _)| s.name == *name) else {
                let reason = "the segment of the catalog's position is missing";
                return Err(self.corrupt(name, (*offset).into(), reason));
            };
            // Nothing was written behind the place where the store was closed, so there is nothing to look for.
            if clean && self.at == pos {
                continue;
            }
            let window = Window::new(segment, *data_end).map_err(|e| io_error(self.disk, segment, e))?;
            self.behind(window, *offset, recovered)?;
        }
        Ok(self.at)
    }

    /// What is behind the last good frame of one segment: nothing, a torn frame, or proof of damage.
    fn behind(
        &self,
        mut window: Window<'_>,
        offset: u32,
        recovered: &mut Recovered,
    ) -> Result<(), OpenError> {
        let segment = window.segment;
        let io = |e| io_error(self.disk, segment, e);
        let mut dropped = window.began(offset, self.at.turn + 1).map_err(io)?;
        if let Some((position, header)) = window.later(offset, self.at.turn + 2).map_err(io)? {
            if !header.is_unsynced() {
                let (missing, found) = (self.at.turn + 1, header.turn);
                let reason =
                    format!("turn {missing} is damaged, but turn {found} follows at byte {position}");
                return Err(self.corrupt(&segment.name, offset.into(), &reason));
            }
            dropped = true;
        }
        if dropped {
            let file = self.disk.path(&segment.name);
            tracing::warn!(file = %file.display(), position = offset, "the last turn is not whole and was dropped");
            recovered.dropped = Some((file, offset.into()));
        }
        Ok(())
    }

    fn corrupt(&self, name: &str, position: u64, reason: &str) -> OpenError {
        OpenError::Corrupt { file: self.disk.path(name), position, reason: reason.into() }
    }
}

/// A segment read through a buffer.
struct Window<'a> {
    segment: &'a Segment,
    bytes: u64,
    /// What lies behind is zeros, and is not looked at.
    data_end: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(segment: &'a Segment, data_end: u64) -> io::Result<Self> {
        Ok(Self { segment, bytes: segment.file.len()?, data_end, start: 0, buffer: Vec::new() })
    }

    /// `len` bytes at `offset`, or `None` when the file is not that long.
    fn at(&mut self, offset: u64, len: u64) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(len).is_none_or(|end| end > self.bytes) {
            return Ok(None);
        }
        let have = self.start + self.buffer.len() as u64;
        if offset < self.start || offset + len > have {
            let fill = len.max(READ_BYTES.min(self.data_end.saturating_sub(offset)));
            self.buffer.resize(usize::try_from(fill).unwrap_or(usize::MAX), 0);
            self.start = offset;
            self.segment.file.read_exact_at(&mut self.buffer, offset)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(self.buffer.get(from..from.saturating_add(len)))
    }

    /// The header at `offset`, if it belongs to this segment.
    fn header(&mut self, offset: u32) -> io::Result<Option<Header>> {
        let id = self.segment.id;
        let bytes = self.at(offset.into(), HEADER_BYTES as u64)?;
        Ok(bytes.and_then(Header::decode).filter(|header| header.segment == id))
    }

    /// Whether that turn's frame was begun at `offset`, whatever became of it.
    fn began(&mut self, offset: u32, turn: u64) -> io::Result<bool> {
        let id = self.segment.id;
        let bytes = self.at(offset.into(), HEADER_BYTES as u64)?;
        Ok(bytes.is_some_and(|bytes| frame::resembles(bytes, id, turn)))
    }

    /// The header and the body at `offset`; the body is not checked yet.
    fn frame(&mut self, offset: u32) -> io::Result<Option<(Header, &[u8])>> {
        let Some(header) = self.header(offset)? else { return Ok(None) };
        let body = u64::from(offset) + HEADER_BYTES as u64;
        Ok(self.at(body, header.body_bytes.into())?.map(|body| (header, body)))
    }

    /// The first header behind `offset` of a turn no lower than `turn`, wherever it may be.
    fn later(&mut self, offset: u32, turn: u64) -> io::Result<Option<(u64, Header)>> {
        let mut offset = u64::from(offset) + u64::from(ALIGN);
        while offset + HEADER_BYTES as u64 <= self.data_end {
            let len = READ_BYTES.min(self.data_end - offset);
            let id = self.segment.id;
            let Some(bytes) = self.at(offset, len)? else { break };
            let mut from = 0;
            while let Some(at) = bytes.get(from..).and_then(frame::find_magic).map(|at| from + at) {
                let header = bytes.get(at..).and_then(Header::decode);
                if let Some(header) = header.filter(|header| header.segment == id && header.turn >= turn) {
                    return Ok(Some((offset + at as u64, header)));
                }
                from = at + ALIGN as usize;
            }
            if len < READ_BYTES {
                break;
            }
            // A header that begins at the end of this piece is looked at in the next.
            offset += len - HEADER_BYTES as u64 + u64::from(ALIGN);
        }
        Ok(None)
    }
}

/// How much is read at once.
const READ_BYTES: u64 = 1 << 20;
