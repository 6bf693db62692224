//! The files that a job writes for one table: `part-<uuid>-0-<number>`, as Flink names them.
//!
//! ```text
//!   rows ──> open, hidden ──(long, old, or the job ends)──> pending ──(that is committed)──> published
//! ```
//! A file is written before the epoch is committed and is published after it. The commit says how long the open file
//! is, and which files are done: a restart cuts off the rest, and publishes once more.

use sha2::{Digest, Sha256};

use super::{FileWrites, JobId};
use crate::stream::{
    plan::{
        connector::Connector,
        filesystem::Rolling,
        format::Format,
        physical::{JobPlan, NodeKind, OperatorId},
    },
    state::{FilesState, JobState, OpenFile},
};

/// One table's files.
pub struct Parts {
    id: OperatorId,
    job: JobId,
    /// The table's path.
    folder: String,
    rolling: Rolling,
    state: FilesState,
    /// Whether what is pending has been published by this process.
    published: bool,
}

/// Those of all tables that the plan writes.
#[must_use]
pub fn open_parts(job: &JobId, plan: &JobPlan, saved: Option<&JobState>) -> Vec<Parts> {
    let open = |node: &crate::stream::plan::physical::PlanNode| {
        let NodeKind::Sink(sink) = &node.kind else { return None };
        let Connector::Filesystem(table) = &sink.table.connector else { return None };
        let id = node.id.to_string();
        let saved = saved.and_then(|s| s.files.iter().find(|f| f.id == id)).cloned();
        let fresh = || FilesState { id, uuid: String::new(), number: 0, open: None, pending: Vec::new() };
        let mut rolling = table.rolling;
        if let (Format::Csv(_), Some(every)) = (&table.format, plan.checkpoint_ms) {
            // On Flink csv is a format whose files end with each checkpoint.
            rolling.interval_ms = rolling.interval_ms.min(every);
        }
        let state = saved.unwrap_or_else(fresh);
        Some(Parts {
            id: node.id,
            job: job.clone(),
            folder: table.path.clone(),
            rolling,
            state,
            published: false,
        })
    };
    plan.nodes.iter().filter_map(open).collect()
}

impl Parts {
    /// Whether files wait for being published.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.state.pending.is_empty()
    }

    /// When the open file will be old enough.
    #[must_use]
    pub fn due_ms(&self) -> Option<i64> {
        self.state.open.as_ref().map(|open| open.since_ms.saturating_add(self.rolling.interval_ms))
    }

    #[must_use]
    pub fn state(&self) -> FilesState {
        self.state.clone()
    }

    /// What an epoch with these lines does. What the last one published is done with.
    pub fn commit(&mut self, written: &[(OperatorId, Vec<u8>)], now_ms: i64, ends: bool) -> FileWrites {
        if std::mem::replace(&mut self.published, true) {
            self.state.pending.clear();
        }
        let lines = written.iter().filter(|(id, _)| *id == self.id).map(|(_, line)| line.as_slice());
        let bytes = lines.collect::<Vec<_>>().concat();
        let append = (!bytes.is_empty()).then(|| self.append(bytes, now_ms));
        let is_done = |open: &OpenFile| {
            let old = open.since_ms.saturating_add(self.rolling.interval_ms) <= now_ms;
            ends || old || u64::try_from(open.bytes).unwrap_or(0) >= self.rolling.bytes_max
        };
        if let Some(done) = self.state.open.take_if(|open| is_done(open)) {
            self.state.pending.push(done.name);
        }
        let path = |name: &String| (hidden(&self.folder, name), format!("{}/{name}", self.folder));
        FileWrites { append, publish: self.state.pending.iter().map(path).collect() }
    }

    fn append(&mut self, bytes: Vec<u8>, now_ms: i64) -> (String, i64, Vec<u8>) {
        if self.state.uuid.is_empty() {
            self.state.uuid = name_of(&self.job, self.id, now_ms);
        }
        let (uuid, number) = (&self.state.uuid, &mut self.state.number);
        let open = self.state.open.get_or_insert_with(|| {
            let name = format!("part-{uuid}-0-{number}");
            *number += 1;
            OpenFile { name, bytes: 0, since_ms: now_ms }
        });
        let from = open.bytes;
        open.bytes += i64::try_from(bytes.len()).unwrap_or(0);
        (hidden(&self.folder, &open.name), from, bytes)
    }
}

fn hidden(folder: &str, name: &str) -> String {
    format!("{folder}/.{name}.inprogress")
}

/// No other job, and no other run of this one, has it. A hash and not chance, so that a simulation can be run again.
fn name_of(job: &JobId, id: OperatorId, now_ms: i64) -> String {
    let mut hasher = Sha256::new();
    hasher.update(&job.0);
    hasher.update([0]);
    hasher.update(id.0.to_be_bytes());
    hasher.update(now_ms.to_be_bytes());
    let digest = hasher.finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
