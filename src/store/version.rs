//! Whose data directory this is, of which format, and that nobody else has it open.
//!
//! A new directory gets `warren.creating` first; it is renamed to `warren.version` when everything else is in place. So a
//! directory whose making was interrupted is recognised, and made anew: nothing in it was ever confirmed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use super::error::OpenError;

/// The format this program reads and writes.
const FORMAT: u32 = 1;
const PREFIX: &str = "warren data format ";
const VERSION: &str = "warren.version";
const CREATING: &str = "warren.creating";
const LOCK: &str = "lock";
const LOG: &str = "log";
const CATALOG: &str = "catalog";
const MAKING_CATALOG: &str = "catalog.making";

/// A data directory that is ours while this lives.
#[derive(Debug)]
pub(super) struct DataDir {
    _lock: File,
    /// Nothing is in it yet; [`finish`] ends the making.
    pub(super) is_new: bool,
}

/// Takes the directory, and prepares it when it is new.
pub(super) fn claim(dir: &Path) -> Result<DataDir, OpenError> {
    fs::create_dir_all(dir).map_err(OpenError::io(dir))?;
    refuse_foreign(dir)?;
    let lock = lock(dir)?;
    let is_new = !dir.join(VERSION).exists();
    if is_new {
        for old in [LOG, CATALOG] {
            let old = dir.join(old);
            if old.exists() {
                fs::remove_dir_all(&old).map_err(OpenError::io(&old))?;
            }
        }
        let creating = dir.join(CREATING);
        // Nothing is synced yet (each sync is a millisecond of the first start): `finish` does it for all.
        fs::write(&creating, format!("{PREFIX}{FORMAT}\n")).map_err(OpenError::io(&creating))?;
        let log = dir.join(LOG);
        fs::create_dir(&log).map_err(OpenError::io(&log))?;
    } else {
        check_format(dir)?;
    }
    Ok(DataDir { _lock: lock, is_new })
}

/// Everything of a new directory is in place.
pub(super) fn finish(dir: &Path) -> Result<(), OpenError> {
    let creating = dir.join(CREATING);
    File::open(&creating).and_then(|file| file.sync_all()).map_err(OpenError::io(&creating))?;
    fs::rename(&creating, dir.join(VERSION)).map_err(OpenError::io(dir))?;
    sync_dir(dir)
}

pub(super) fn log_dir(dir: &Path) -> PathBuf {
    dir.join(LOG)
}

pub(super) fn catalog_dir(dir: &Path) -> PathBuf {
    dir.join(CATALOG)
}

/// Whether there is a catalog. One whose making was interrupted is removed: nothing was ever written into it.
pub(super) fn has_catalog(dir: &Path) -> Result<bool, OpenError> {
    let catalog = catalog_dir(dir);
    if dir.join(MAKING_CATALOG).exists() && catalog.exists() {
        fs::remove_dir_all(&catalog).map_err(OpenError::io(&catalog))?;
    }
    Ok(catalog.exists())
}

/// The catalog is about to be made.
pub(super) fn making_catalog(dir: &Path) -> Result<(), OpenError> {
    let making = dir.join(MAKING_CATALOG);
    File::create(&making).map_err(OpenError::io(&making))?;
    sync_dir(dir)
}

/// The catalog is whole.
pub(super) fn made_catalog(dir: &Path) -> Result<(), OpenError> {
    let making = dir.join(MAKING_CATALOG);
    fs::remove_file(&making).map_err(OpenError::io(&making))?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(OpenError::io(dir))
}

/// A directory with files but without our version file is somebody else's.
fn refuse_foreign(dir: &Path) -> Result<(), OpenError> {
    if dir.join(VERSION).exists() || dir.join(CREATING).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir).map_err(OpenError::io(dir))? {
        let name = entry.map_err(OpenError::io(dir))?.file_name();
        // `lost+found` is in the root of every fresh ext4 volume.
        if name != LOCK && name != "lost+found" {
            return Err(OpenError::Foreign { dir: dir.into(), found: name.to_string_lossy().into_owned() });
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(OpenError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.into() }),
        Err(TryLockError::Error(reason)) => Err(OpenError::Io { path, reason }),
    }
}

fn check_format(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(VERSION);
    let text = fs::read_to_string(&path).map_err(OpenError::io(&path))?;
    let found = text.trim_end().strip_prefix(PREFIX).and_then(|n| n.parse::<u32>().ok());
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(OpenError::Newer { dir: dir.into(), found, known: FORMAT }),
        Some(_) | None => Err(OpenError::Corrupt {
            file: path,
            position: 0,
            reason: format!("it should say \"{PREFIX}{FORMAT}\""),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_error(dir: &Path) -> String {
        claim(dir).unwrap_err().to_string()
    }

    #[test]
    fn each_reason_is_one_clear_line() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("photo.jpg"), "").unwrap();
        assert!(open_error(dir.path()).contains("not Warren's (photo.jpg)"));

        let dir = tempfile::tempdir().unwrap();
        let held = claim(dir.path()).unwrap();
        assert!(held.is_new);
        assert!(open_error(dir.path()).contains("in use by another process"));
        drop(held);
        assert!(claim(dir.path()).unwrap().is_new, "an interrupted making begins anew");
        finish(dir.path()).unwrap();
        assert!(!claim(dir.path()).unwrap().is_new);

        fs::write(dir.path().join(VERSION), "warren data format 2\n").unwrap();
        assert!(open_error(dir.path()).contains("newer Warren (format 2, this one knows 1)"));
        fs::write(dir.path().join(VERSION), "something").unwrap();
        assert!(open_error(dir.path()).contains("is corrupt at byte 0"));
    }
}
