//! What can go wrong in the store: at opening ([`OpenError`]) and in use ([`StoreError`]).

use std::path::PathBuf;

use super::Place;

/// Why the store cannot do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("cannot read the catalog: {0}")]
    Catalog(String),
    #[error("the store is closed")]
    Closed,
    #[error("the store takes no more writes since a sync failed: {0}")]
    Poisoned(String),
    #[error("cannot read {place:?}: {reason}")]
    Read { place: Place, reason: String },
}

/// Why a data directory cannot be opened. Each is one line that names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "data directory {dir}: the catalog cannot be opened ({reason}); restore the directory from a copy, or move it away to begin anew"
    )]
    Catalog { dir: PathBuf, reason: String },
    #[error(
        "{file} is corrupt at byte {position}: {reason}; restore the data directory from a copy, or move it away to begin anew"
    )]
    Corrupt { file: PathBuf, position: u64, reason: String },
    #[error(
        "data directory {dir} holds files that are not Warren's ({found}); choose an empty directory with --data-dir"
    )]
    Foreign { dir: PathBuf, found: String },
    #[error("data directory {path}: {reason}")]
    Io { path: PathBuf, reason: std::io::Error },
    #[error(
        "data directory {dir} is in use by another process; stop that one, or choose another directory with --data-dir"
    )]
    Locked { dir: PathBuf },
    #[error(
        "data directory {dir} was written by a newer Warren (format {found}, this one knows {known}); use that version, or another directory with --data-dir"
    )]
    Newer { dir: PathBuf, found: u32, known: u32 },
}

impl OpenError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |reason| Self::Io { path, reason }
    }
}
