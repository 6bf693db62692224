//! The state of a job as a whole: positions, watermarks and its phase, as one value under the job's key.

use serde::{Deserialize, Serialize};

/// Of the layout below; another is refused.
pub const STATE_VERSION: u32 = 1;

/// The state of a job after an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    pub version: u32,
    /// Epochs committed so far.
    pub epoch: u64,
    pub phase: Phase,
    pub sources: Vec<SourceState>,
    /// Ids, in hexadecimal, of the operators whose state is in the store. A job that was edited opens the others empty.
    #[serde(default)]
    pub operators: Vec<String>,
    /// Tables of files that are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FilesState>,
}

/// What a job has written of one table of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesState {
    /// The operator's id, in hexadecimal.
    pub id: String,
    /// In the names of all its files.
    pub uuid: String,
    /// Of the next file.
    pub number: u64,
    /// The files that are being written, which are hidden: one, or one in each partition.
    pub open: Vec<OpenFile>,
    /// Files that are done, and that nobody may have seen yet.
    pub pending: Vec<String>,
    /// Partitions that nobody has said to be whole, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<(String, i64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFile {
    /// Below the table's folder.
    pub name: String,
    pub bytes: i64,
    pub since_ms: i64,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The operator's id, in hexadecimal.
    pub id: String,
    pub watermark: i64,
    pub partitions: Vec<PartitionState>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// Or the path of a file. Empty for a source without either.
    pub topic: String,
    pub partition: i32,
    /// The next offset to read; of a file, the next byte.
    pub position: i64,
    /// Where a bounded source stops.
    pub end: Option<i64>,
    pub watermark: i64,
    /// It has been silent too long, and nobody waits for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// Of a file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub modified_ms: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// Where a job stands.
///
/// ```text
///             pause            bad record
///   PAUSED <─────── RUNNING ─────────────> FAILED
///     ^└──────────────^ │ ^──────────────────┘ resume
///     │     resume    ^ ├─> FINISHED   (every source is bounded and read)
///     │               │ v pause, while a full queue holds up an epoch
///     └───────────── PAUSING
///       it is taken
/// ```
///
/// The store never says PAUSING: there a job is PAUSED from then on, as no epoch is held up after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "UPPERCASE")]
pub enum Phase {
    Failed(Failure),
    Finished,
    Paused,
    Pausing,
    Running,
}

/// The record that stopped a job, which is the next it would read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub reason: String,
}

impl JobState {
    /// Of a job that has not committed anything.
    #[must_use]
    pub fn unread() -> Self {
        let (sources, operators, files) = (Vec::new(), Vec::new(), Vec::new());
        Self { version: STATE_VERSION, epoch: 0, phase: Phase::Running, sources, operators, files }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers alone always make JSON")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let state: Self =
            serde_json::from_slice(bytes).map_err(|e| format!("the job's state is unreadable: {e}"))?;
        if state.version != STATE_VERSION {
            return Err(format!("the job's state has version {}, not {STATE_VERSION}", state.version));
        }
        Ok(state)
    }
}
