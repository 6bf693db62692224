//! The seam below the log: files of a real directory, or of memory, both with faults that tests switch on.
//!
//! The memory disk knows what was synced. After [`Disk::crash`] it holds that, and of what was not synced a part chosen by
//! the seed: each 512-byte sector of an unsynced write may be there or not, and directory changes are lost from some point.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::{buffer::spare_capacity, fs::SeekFrom, io::Errno};

/// What a power loss tears: a disk writes whole sectors.
const SECTOR_BYTES: usize = 512;

/// What a file is called until it has its length; whoever finds one was stopped in the middle, and removes it.
pub(super) const MAKING: &str = "making";

/// A directory of files; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    kind: Kind,
    pub(super) faults: Arc<Faults>,
}

#[derive(Debug, Clone)]
enum Kind {
    Memory(Arc<Mutex<MemoryDir>>),
    Real(Arc<Path>),
}

/// Faults that tests switch on, and counts of what was asked.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Every sync fails with EIO.
    pub(super) sync_fails: AtomicBool,
    /// Every write and every new file fails with ENOSPC.
    pub(super) no_space: AtomicBool,
    /// How many times file contents were synced.
    pub(super) syncs: AtomicU64,
}

impl Faults {
    fn write(&self) -> io::Result<()> {
        if self.no_space.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.sync_fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("injected EIO"));
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Disk {
    /// The files of that directory, which exists.
    pub(super) fn real(dir: &Path) -> Self {
        Self { kind: Kind::Real(dir.into()), faults: Arc::default() }
    }

    pub(super) fn memory() -> Self {
        Self { kind: Kind::Memory(Arc::default()), faults: Arc::default() }
    }

    /// Where a file is, for messages.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        match &self.kind {
            Kind::Memory(_) => Path::new("memory").join(name),
            Kind::Real(dir) => dir.join(name),
        }
    }

    /// The files' names and lengths, in order of names.
    pub(super) fn list(&self) -> io::Result<Vec<(String, u64)>> {
        match &self.kind {
            Kind::Memory(dir) => {
                let dir = dir.lock();
                Ok(dir.now.iter().map(|(name, file)| (name.clone(), file.lock().now.len() as u64)).collect())
            }
            Kind::Real(dir) => {
                let mut found = Vec::new();
                for entry in fs::read_dir(dir)? {
                    let entry = entry?;
                    if let Ok(name) = entry.file_name().into_string() {
                        found.push((name, entry.metadata()?.len()));
                    }
                }
                found.sort();
                Ok(found)
            }
        }
    }

    /// A new file whose blocks are reserved but not written. It has its name only when it has its length.
    pub(super) fn create(&self, name: &str, bytes: u64) -> io::Result<DiskFile> {
        self.faults.write()?;
        let kind = match &self.kind {
            Kind::Memory(dir) => FileKind::Memory(dir.lock().create(name, bytes)),
            Kind::Real(dir) => {
                let making = dir.join(MAKING);
                let file =
                    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&making)?;
                // The length must be durable before the name is: a shorter file is taken for a damaged one.
                let made = reserve(&file, bytes)
                    .and_then(|()| file.sync_all())
                    .and_then(|()| fs::rename(&making, dir.join(name)));
                if let Err(error) = made {
                    // What was created in vain takes room of a disk that may be full.
                    let _ = fs::remove_file(&making);
                    return Err(error);
                }
                FileKind::Real(file)
            }
        };
        Ok(DiskFile { kind, faults: self.faults.clone() })
    }

    pub(super) fn open(&self, name: &str) -> io::Result<DiskFile> {
        let kind = match &self.kind {
            Kind::Memory(dir) => FileKind::Memory(
                dir.lock().now.get(name).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?,
            ),
            Kind::Real(dir) => {
                FileKind::Real(OpenOptions::new().read(true).write(true).open(dir.join(name))?)
            }
        };
        Ok(DiskFile { kind, faults: self.faults.clone() })
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match &self.kind {
            Kind::Memory(dir) => dir.lock().change(DirChange::Rename(from.into(), to.into())),
            Kind::Real(dir) => fs::rename(dir.join(from), dir.join(to))?,
        }
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match &self.kind {
            Kind::Memory(dir) => dir.lock().change(DirChange::Remove(name.into())),
            Kind::Real(dir) => fs::remove_file(dir.join(name))?,
        }
        Ok(())
    }

    /// Makes the names durable.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Memory(dir) => {
                let mut dir = dir.lock();
                dir.durable = dir.now.clone();
                dir.unsynced.clear();
            }
            Kind::Real(dir) => File::open(dir)?.sync_all()?,
        }
        Ok(())
    }

    /// What is left of a memory disk after a loss of power. `None` for a real one.
    pub(super) fn crash(&self, seed: u64) -> Option<Self> {
        let Kind::Memory(dir) = &self.kind else { return None };
        let mut rng = StdRng::seed_from_u64(seed);
        let mut dir = dir.lock();
        let kept = rng.random_range(0..=dir.unsynced.len());
        let changes: Vec<_> = dir.unsynced.drain(..).take(kept).collect();
        let mut names = std::mem::take(&mut dir.durable);
        for change in changes {
            change.apply(&mut names);
        }
        let now: BTreeMap<_, _> = names
            .into_iter()
            .map(|(name, file)| (name, Arc::new(Mutex::new(file.lock().after_crash(&mut rng)))))
            .collect();
        let after = MemoryDir { durable: now.clone(), now, unsynced: Vec::new() };
        Some(Self { kind: Kind::Memory(Arc::new(Mutex::new(after))), faults: Arc::default() })
    }
}

/// Reserves the blocks of a file where the file system can; elsewhere only its length.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP) => file.set_len(bytes),
        Err(error) => Err(error.into()),
    }
}

/// One open file.
#[derive(Debug)]
pub(super) struct DiskFile {
    kind: FileKind,
    faults: Arc<Faults>,
}

#[derive(Debug)]
enum FileKind {
    Memory(Arc<Mutex<MemoryFile>>),
    Real(File),
}

impl DiskFile {
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.write()?;
        match &self.kind {
            FileKind::Memory(file) => file.lock().write(bytes, index(offset)),
            FileKind::Real(file) => file.write_all_at(bytes, offset)?,
        }
        Ok(())
    }

    pub(super) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.kind {
            FileKind::Memory(file) => {
                let file = file.lock();
                let range = index(offset)..index(offset).saturating_add(bytes.len());
                let from =
                    file.now.get(range).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
                bytes.copy_from_slice(from);
                Ok(())
            }
            FileKind::Real(file) => file.read_exact_at(bytes, offset),
        }
    }

    /// The `len` bytes at `offset`. Their room is not written with zeros first.
    pub(super) fn read_at(&self, len: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        let FileKind::Real(file) = &self.kind else {
            bytes.resize(len, 0);
            return self.read_exact_at(&mut bytes, offset).map(|()| bytes);
        };
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            match rustix::io::pread(file, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // There may have been more room than was asked for.
        bytes.truncate(len);
        Ok(bytes)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        match &self.kind {
            FileKind::Memory(file) => Ok(file.lock().now.len() as u64),
            FileKind::Real(file) => Ok(file.metadata()?.len()),
        }
    }

    /// The end of what was ever written at or behind `offset`: what lies behind it reads as zeros.
    pub(super) fn data_end(&self, offset: u64) -> io::Result<u64> {
        let FileKind::Real(file) = &self.kind else { return self.len() };
        let mut end = offset;
        loop {
            let next = rustix::fs::seek(file, SeekFrom::Data(end))
                .and_then(|data| rustix::fs::seek(file, SeekFrom::Hole(data)));
            match next {
                Ok(hole) => end = hole,
                Err(Errno::NXIO) => return Ok(end),
                // A file system that does not know.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return self.len(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// fdatasync.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.faults.sync()?;
        match &self.kind {
            FileKind::Memory(file) => file.lock().sync(),
            FileKind::Real(file) => file.sync_data()?,
        }
        Ok(())
    }

    /// Cuts a file that grew beyond its usual length.
    pub(super) fn cut(&self, bytes: u64) -> io::Result<()> {
        match &self.kind {
            FileKind::Memory(file) => file.lock().now.truncate(index(bytes)),
            FileKind::Real(file) => file.set_len(bytes)?,
        }
        Ok(())
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

#[derive(Debug, Default)]
struct MemoryDir {
    now: BTreeMap<String, Arc<Mutex<MemoryFile>>>,
    durable: BTreeMap<String, Arc<Mutex<MemoryFile>>>,
    /// What happened to the names since they were synced.
    unsynced: Vec<DirChange>,
}

#[derive(Debug)]
enum DirChange {
    Create(String, Arc<Mutex<MemoryFile>>),
    Remove(String),
    Rename(String, String),
}

impl DirChange {
    fn apply(&self, names: &mut BTreeMap<String, Arc<Mutex<MemoryFile>>>) {
        match self {
            Self::Create(name, file) => {
                names.insert(name.clone(), file.clone());
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl MemoryDir {
    fn change(&mut self, change: DirChange) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }

    fn create(&mut self, name: &str, bytes: u64) -> Arc<Mutex<MemoryFile>> {
        let zeros = vec![0; index(bytes)];
        let file =
            Arc::new(Mutex::new(MemoryFile { durable: zeros.clone(), now: zeros, unsynced: Vec::new() }));
        self.change(DirChange::Create(name.into(), file.clone()));
        file
    }
}

#[derive(Debug, Default)]
struct MemoryFile {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What was written since the last sync.
    unsynced: Vec<Range<usize>>,
}

impl MemoryFile {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset.saturating_add(bytes.len());
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        if let Some(room) = self.now.get_mut(offset..end) {
            room.copy_from_slice(bytes);
        }
        self.unsynced.push(offset..end);
    }

    fn sync(&mut self) {
        for range in std::mem::take(&mut self.unsynced) {
            self.keep(range);
        }
    }

    fn keep(&mut self, range: Range<usize>) {
        self.durable.resize(self.durable.len().max(range.end).min(self.now.len()), 0);
        if let (Some(to), Some(from)) = (self.durable.get_mut(range.clone()), self.now.get(range)) {
            to.copy_from_slice(from);
        }
    }

    fn after_crash(&mut self, rng: &mut StdRng) -> Self {
        for range in std::mem::take(&mut self.unsynced) {
            // All of a write, nothing of it, or any of its sectors: each must be met often.
            let odds = *[0.0, 0.5, 0.9, 1.0].get(rng.random_range(0..4_usize)).unwrap_or(&0.5);
            let mut at = range.start;
            while at < range.end {
                let end = (at + 1).next_multiple_of(SECTOR_BYTES).min(range.end);
                if rng.random_bool(odds) {
                    self.keep(at..end);
                }
                at = end;
            }
        }
        Self { now: self.durable.clone(), durable: self.durable.clone(), unsynced: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let disk = Disk::memory();
        let file = disk.create("a", 4096).unwrap();
        disk.sync_names().unwrap();
        file.write_all_at(&[1; 1024], 0).unwrap();
        file.sync().unwrap();
        file.write_all_at(&[2; 1024], 1024).unwrap();
        let after = disk.crash(1).unwrap().open("a").unwrap();
        let mut bytes = [9; 2048];
        after.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes[..1024], [1; 1024]);
        assert!(bytes[1024..].iter().all(|b| [0, 2].contains(b)));
    }
}
