//! Files that jobs read and write: one folder of the machine, and nothing outside it.
//!
//! A file that is written is hidden (its name begins with a dot) until it is published. What a job has committed says
//! how long it is: what lies behind that is cut off, so an epoch that was not committed leaves nothing.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write as _},
    path::{Component, Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;

/// A file that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// From the root of the machine.
    pub path: String,
    pub bytes: i64,
    pub modified_ms: i64,
}

/// Where jobs have their files. Paths are as a table says them, or as [`FileInfo`] does.
pub trait Folder {
    /// The file, or all files below the folder, in the order of their paths; without the hidden ones.
    fn list(&self, path: &str) -> Result<Vec<FileInfo>, String>;

    /// Bytes of a file from a place on: as many as are asked for, unless it ends before.
    fn read(&self, path: &str, from: i64, bytes_max: usize) -> Result<Bytes, String>;

    /// Cuts the file at a place, and writes behind it. Returns when that lasts.
    fn write(&self, path: &str, from: i64, bytes: &[u8]) -> Result<(), String>;

    /// Gives a file another name of the same folder. Nothing happens if that has been done before.
    fn publish(&self, hidden: &str, visible: &str) -> Result<(), String>;
}

/// More files in one table are refused: a job's state names each of them.
pub const FILES_MAX: usize = 10_000;
/// Deeper folders are refused.
const DEPTH_MAX: usize = 64;

/// A folder of the machine's.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The folder of that path, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(root: &Path) -> Result<Self, String> {
        fs::create_dir_all(root).map_err(|error| said(root, &error))?;
        let found = root.canonicalize().map_err(|error| said(root, &error))?;
        Ok(Self { root: found })
    }

    /// The place of a path, with all links of it followed, if it lies in the folder. What does not exist yet hangs below
    /// what does.
    ///
    /// # Errors
    /// When it lies outside.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        let outside = || format!("{path} lies outside of streams.files_dir ({})", self.root.display());
        let given = self.root.join(path);
        if given.components().any(|part| part == Component::ParentDir) {
            return Err(outside());
        }
        let mut exists = given.as_path();
        while !exists.is_symlink() && !exists.exists() {
            exists = exists.parent().ok_or_else(outside)?;
        }
        let missing = given.strip_prefix(exists).map_err(|_| outside())?;
        let found = exists.canonicalize().map_err(|error| said(exists, &error))?;
        // Joined with nothing, a path ends with a slash.
        let whole = if missing.as_os_str().is_empty() { found } else { found.join(missing) };
        if whole.starts_with(&self.root) { Ok(whole) } else { Err(outside()) }
    }

    fn walk(&self, folder: &Path, depth: usize, found: &mut Vec<FileInfo>) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("{}: folders are nested too deeply", folder.display()));
        }
        for entry in fs::read_dir(folder).map_err(|error| said(folder, &error))? {
            let entry = entry.map_err(|error| said(folder, &error))?;
            let name = entry.file_name();
            if name.as_encoded_bytes().first().is_some_and(|first| matches!(first, b'.' | b'_')) {
                continue;
            }
            let path = self.resolve(&entry.path().to_string_lossy())?;
            if path.is_dir() {
                self.walk(&path, depth + 1, found)?
            } else {
                found.push(info(&path)?)
            }
            if found.len() > FILES_MAX {
                return Err(format!("there are more than {FILES_MAX} files below {}", folder.display()));
            }
        }
        Ok(())
    }
}

impl Folder for Directory {
    fn list(&self, path: &str) -> Result<Vec<FileInfo>, String> {
        let place = self.resolve(path)?;
        if !place.exists() {
            return Err(format!("File file:{} does not exist", place.display()));
        }
        let mut found = Vec::new();
        if place.is_dir() {
            self.walk(&place, 0, &mut found)?
        } else {
            found.push(info(&place)?)
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    fn read(&self, path: &str, from: i64, bytes_max: usize) -> Result<Bytes, String> {
        let place = self.resolve(path)?;
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&place)?;
            file.seek(SeekFrom::Start(u64::try_from(from).unwrap_or(0)))?;
            let mut bytes = Vec::new();
            file.take(bytes_max as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map(Bytes::from).map_err(|error| said(&place, &error))
    }

    fn write(&self, path: &str, from: i64, bytes: &[u8]) -> Result<(), String> {
        let place = self.resolve(path)?;
        let from = u64::try_from(from).unwrap_or(0);
        let write = || -> io::Result<()> {
            let folder = place.parent().unwrap_or(&self.root);
            create_folders(folder)?;
            let is_new = !place.exists();
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&place)?;
            if file.metadata()?.len() < from {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was"));
            }
            file.set_len(from)?;
            file.seek(SeekFrom::Start(from))?;
            file.write_all(bytes)?;
            file.sync_data()?;
            if is_new { File::open(folder)?.sync_all() } else { Ok(()) }
        };
        write().map_err(|error| said(&place, &error))
    }

    fn publish(&self, hidden: &str, visible: &str) -> Result<(), String> {
        let (hidden, visible) = (self.resolve(hidden)?, self.resolve(visible)?);
        let publish = || -> io::Result<()> {
            if !hidden.exists() {
                return Ok(());
            }
            fs::rename(&hidden, &visible)?;
            File::open(visible.parent().unwrap_or(&self.root))?.sync_all()
        };
        publish().map_err(|error| said(&visible, &error))
    }
}

/// Makes a folder and those that it lies in; each lasts once the one around it knows it.
fn create_folders(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(folder)?;
    missing.into_iter().filter_map(Path::parent).try_for_each(|around| File::open(around)?.sync_all())
}

fn info(path: &Path) -> Result<FileInfo, String> {
    let metadata = path.metadata().map_err(|error| said(path, &error))?;
    let modified = metadata.modified().map_err(|error| said(path, &error))?;
    let modified = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(FileInfo {
        path: path.to_str().ok_or_else(|| format!("{}: the name is no UTF-8", path.display()))?.to_owned(),
        bytes: i64::try_from(metadata.len()).unwrap_or(i64::MAX),
        modified_ms: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
    })
}

fn said(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_folder_is_reached() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("files");
        fs::create_dir_all(root.join("in")).unwrap();
        fs::write(outer.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(outer.path(), root.join("link")).unwrap();
        std::os::unix::fs::symlink(outer.path().join("absent"), root.join("dangling")).unwrap();
        std::os::unix::fs::symlink(root.join("in"), root.join("inner")).unwrap();
        let directory = Directory::open(&root).unwrap();
        for path in ["../secret", "link/secret", "in/../../secret", "/etc/passwd", "dangling", "link/new"] {
            let error = directory.read(path, 0, 10).unwrap_err();
            assert!(error.contains("outside") || error.contains("dangling"), "{path}: {error}");
            assert!(directory.write(path, 0, b"x").is_err(), "{path}");
        }
        assert!(directory.list(".").is_err(), "a link that leads out is an error, not a silent omission");
        fs::remove_file(root.join("link")).unwrap();
        fs::remove_file(root.join("dangling")).unwrap();
        directory.write("in/new/part", 0, b"abc").unwrap();
        let through = directory.read("inner/new/part", 1, 10).unwrap();
        assert_eq!(&through[..], b"bc");
        let absolute = root.join("in/new/part");
        assert_eq!(&directory.read(absolute.to_str().unwrap(), 0, 2).unwrap()[..], b"ab");
    }

    #[test]
    fn what_was_not_committed_is_cut_off_and_publishing_can_be_repeated() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        directory.write("t/.part", 0, b"one\ntwo\n").unwrap();
        directory.write("t/.part", 4, b"2\n").unwrap();
        assert!(directory.write("t/.part", 100, b"").is_err());
        assert_eq!(directory.list("t").unwrap(), []);
        for _ in 0..2 {
            directory.publish("t/.part", "t/part").unwrap();
        }
        fs::write(root.path().join("t/_done"), "").unwrap();
        let found = directory.list("t").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(&directory.read(&found[0].path, 0, 100).unwrap()[..], b"one\n2\n");
    }
}
