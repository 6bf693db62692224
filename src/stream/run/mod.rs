//! Running a job: an epoch reads, computes, and commits positions and outputs as one.
//!
//! Everything here is pure: topics and store are the two traits below, time is an argument. Whoever binds them makes
//! ONE atomic change of an [`EpochCommit`]; then a job is exactly once, without a transaction protocol, and a
//! restart is [`job::Job::restore`] with the last state that was committed.

pub mod bind;
mod crew;
pub mod exchanges;
pub mod folder;
pub mod graph;
pub mod input;
pub mod job;
mod later;
mod made;
pub mod partitioner;
pub mod parts;
mod poll;
pub mod shard;
pub mod shards;
mod stretch;
pub mod sync;
pub mod table;
pub mod worker;

#[cfg(test)]
mod csv_rows;
#[cfg(test)]
mod files;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod functions;
#[cfg(test)]
mod golden;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod model;
#[cfg(test)]
mod nested;
#[cfg(test)]
mod sharded;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use folder::Folder;
use shard::Share;

pub use super::operator::{OutMessage, OutRecord, Printed};
use super::{
    expr::EvalError,
    plan::physical::OperatorId,
    state::{
        JobState,
        keyed::{Entries, StateRead},
    },
};

/// Rows in one epoch, at most, for each shard. A batch is read on in the next one. About what [`EPOCH_MS_MAX`] is enough
/// for: each epoch costs a turn of the log, and writes a key of the state once, however often it has changed.
pub const EPOCH_ROWS_MAX: usize = 8_192;
/// Rows that each of several shards may have in an epoch, however long they take: fewer are not worth their threads.
pub const EPOCH_ROWS_MIN: usize = 1_024;
/// Bytes that are read in one epoch, about: what goes out mostly is no more, and a turn of the log should not be larger.
pub const EPOCH_BYTES_MAX: usize = 1 << 20;
/// How long an epoch may gather before it commits, by the liveness clock.
pub const EPOCH_MS_MAX: u64 = 5;
/// How many times longer an epoch may be while a job is behind and its rows share keys: each key is written once in it.
pub const EPOCH_STRETCH_MAX: usize = 8;
/// Bytes asked of the log at once.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// What a job reads. All positions are of committed records.
pub trait Log: Sync {
    /// A key of the job's state.
    fn state(&self, job: &JobId, key: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// All keys of the job's state with this prefix, in order.
    fn states(&self, job: &JobId, prefix: &[u8]) -> Result<Entries, String>;

    /// How many partitions a topic has; `None` if there is no such topic.
    fn partitions(&self, topic: &str) -> Option<i32>;

    /// The first offset that can be read.
    fn log_start(&self, topic: &str, partition: i32) -> i64;

    /// The offset behind the last one that can be read: the high watermark, or the last stable offset if lower.
    fn log_end(&self, topic: &str, partition: i32) -> i64;

    /// Whole record batches from the one that holds `from`, up to about `bytes_max` but at least one; empty at the
    /// end. Batches of aborted transactions must be left out; control batches may be there.
    fn read(&self, topic: &str, partition: i32, from: i64, bytes_max: usize) -> Result<Vec<Bytes>, String>;

    /// The first offset with a timestamp of at least this; `None` if there is none.
    fn offset_for_time(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Option<i64>;

    /// Where files are.
    ///
    /// # Errors
    /// When jobs may not have any.
    fn folder(&self) -> Result<&dyn Folder, String>;

    /// Whether an exchange takes messages of jobs.
    ///
    /// # Errors
    /// When there is none of that name, or it is internal.
    fn exchange(&self, name: &str) -> Result<(), String>;

    /// What a consumer group has committed.
    fn group_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64>;
}

/// Where an epoch goes.
pub trait Commit {
    /// Makes the whole of it durable or none of it. After an error the job must be made anew from its last state.
    fn commit(&mut self, epoch: EpochCommit) -> Result<(), String>;
}

/// Everything an epoch changes.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochCommit {
    pub job: JobId,
    /// What [`job::Job::restore`] wants back, for [`STATE_KEY`].
    pub state: JobState,
    /// The next offset to read of each partition: (topic, partition, offset). For consumer group `stream.<job>`, so
    /// that lag can be seen.
    pub offsets: Vec<(String, i32, i64)>,
    pub watermarks: Vec<(OperatorId, i64)>,
    /// Keys below the job's own prefix, after the deletes: what is deleted may be there anew. The job's state is not among them.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    pub deletes: Vec<Vec<u8>>,
    /// (topic, partition, records). A topic that does not exist yet is to be created.
    pub appends: Vec<(String, i32, Vec<OutRecord>)>,
    /// In the order in which they were made.
    pub published: Vec<OutMessage>,
    pub printed: Vec<Printed>,
    /// Before all else: what is written lies hidden until [`FileWrites::publish`] is done, which is last.
    pub files: Vec<FileWrites>,
}

/// What an epoch does to the files of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWrites {
    /// (path, how long it is, what comes behind).
    pub appends: Vec<(String, i64, Vec<u8>)>,
    /// Files that are done, (hidden, visible): only after the epoch is committed, and again after a restart.
    pub publish: Vec<(String, String)>,
}

/// The key, below the job's prefix, of the job's state.
pub const STATE_KEY: &[u8] = b"job";

/// Names a job in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub String);

/// A job's state in the store.
#[derive(Clone, Copy)]
pub(crate) struct State<'a> {
    pub(crate) log: &'a dyn Log,
    pub(crate) job: &'a JobId,
    /// Whose of it.
    pub(crate) share: Share,
}

impl StateRead for State<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EvalError> {
        self.log.state(self.job, key).map_err(EvalError)
    }

    fn scan(&self, prefix: &[u8]) -> Result<Entries, EvalError> {
        self.log.states(self.job, prefix).map_err(EvalError)
    }

    fn owns(&self, key: &[u8]) -> bool {
        self.share.owns(key)
    }
}
