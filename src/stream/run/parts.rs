//! The files that a job writes for one table: `part-<uuid>-0-<number>`, as Flink names them, in a folder for each
//! partition if the table has them.
//!
//! ```text
//!   rows ──> open, hidden ──(long, old, or the job ends)──> pending ──(that is committed)──> published
//! ```
//! What says that a partition is whole is a file too, published behind those that it speaks of.
//! A file is written before the epoch is committed and is published after it. The commit says how long the open file
//! is, and which files are done: a restart cuts off the rest, and publishes once more.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{FileWrites, JobId};
use crate::stream::{
    operator::ForFile,
    plan::{
        connector::Connector,
        filesystem::Rolling,
        format::Format,
        partitions::{PartitionCommit, Trigger},
        physical::{JobPlan, NodeKind, OperatorId},
    },
    state::{FilesState, JobState, OpenFile},
};

/// With more open files the oldest is done.
const OPEN_MAX: usize = 1_000;

/// One table's files.
pub struct Parts {
    id: OperatorId,
    job: JobId,
    /// The table's path.
    folder: String,
    rolling: Rolling,
    /// How partitions are said to be whole.
    whole: Option<PartitionCommit>,
    watermark_ms: Option<i64>,
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
        let fresh = || FilesState {
            id,
            uuid: String::new(),
            number: 0,
            open: Vec::new(),
            pending: Vec::new(),
            waiting: Vec::new(),
        };
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
            whole: table.partitions.as_ref().and_then(|p| p.commit.clone()),
            watermark_ms: None,
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

    /// When a file will be old enough, or a partition.
    #[must_use]
    pub fn due_ms(&self) -> Option<i64> {
        let files = self.state.open.iter().map(|open| open.since_ms.saturating_add(self.rolling.interval_ms));
        let delay = self.whole.as_ref().filter(|w| w.trigger == Trigger::ProcessTime && w.delay_ms > 0);
        let folders = delay.into_iter().flat_map(|whole| {
            self.state.waiting.iter().map(|(_, since_ms)| since_ms.saturating_add(whole.delay_ms) + 1)
        });
        files.chain(folders).min()
    }

    #[must_use]
    pub fn state(&self) -> FilesState {
        self.state.clone()
    }

    /// What an epoch with these lines does. What the last one published is done with.
    pub fn commit(&mut self, written: &[(OperatorId, ForFile)], now_ms: i64, ends: bool) -> FileWrites {
        if std::mem::replace(&mut self.published, true) {
            self.state.pending.clear();
        }
        let mut folders: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (_, what) in written.iter().filter(|(id, _)| *id == self.id) {
            match what {
                ForFile::Line { folder, bytes } => {
                    folders.entry(folder).or_default().extend_from_slice(bytes)
                }
                ForFile::Watermark(ms) => self.watermark_ms = Some(*ms),
            }
        }
        let mut appends: Vec<_> =
            folders.into_iter().map(|(folder, bytes)| self.append(folder, bytes, now_ms)).collect();
        let whole = self.whole_partitions(now_ms, ends);
        let mut done = self.close(&whole, now_ms, ends);
        self.state.pending.append(&mut done);
        for name in self.successes(whole) {
            appends.push((hidden(&self.folder, &name), 0, Vec::new()));
            self.state.pending.push(name);
        }
        let path = |name: &String| (hidden(&self.folder, name), format!("{}/{name}", self.folder));
        FileWrites { appends, publish: self.state.pending.iter().map(path).collect() }
    }

    /// Takes out the open files that are long or old enough, or whose partition is whole.
    fn close(&mut self, whole: &[String], now_ms: i64, ends: bool) -> Vec<String> {
        let Rolling { bytes_max, interval_ms } = self.rolling;
        let is_done = |open: &OpenFile| {
            let old = open.since_ms.saturating_add(interval_ms) <= now_ms;
            let long = u64::try_from(open.bytes).unwrap_or(0) >= bytes_max;
            ends || old || long || whole.iter().any(|folder| folder == folder_of(&open.name))
        };
        let (done, open) = std::mem::take(&mut self.state.open).into_iter().partition(is_done);
        self.state.open = open;
        let done: Vec<OpenFile> = done;
        done.into_iter().map(|file| file.name).collect()
    }

    /// The partitions whose time has come, before their files are done. Without a delay it has come with each file.
    fn whole_partitions(&self, now_ms: i64, ends: bool) -> Vec<String> {
        let Some(PartitionCommit { delay_ms, trigger, .. }) = &self.whole else { return Vec::new() };
        let due = |folder: &str, since_ms: i64| match trigger {
            Trigger::ProcessTime => *delay_ms > 0 && now_ms > since_ms.saturating_add(*delay_ms),
            Trigger::PartitionTime { pattern } => {
                let time = PartitionCommit::time_of(pattern.as_deref(), folder);
                let passed =
                    |time: i64| self.watermark_ms.is_some_and(|w| w > time.saturating_add(*delay_ms));
                time.is_some_and(passed)
            }
        };
        let waiting = self.state.waiting.iter();
        waiting
            .filter(|(folder, since_ms)| ends || due(folder, *since_ms))
            .map(|(folder, _)| folder.clone())
            .collect()
    }

    /// The files that say so. A partition with an open file is not whole.
    fn successes(&mut self, mut whole: Vec<String>) -> Vec<String> {
        let Some(PartitionCommit { success_file, delay_ms, trigger }) = &self.whole else {
            return Vec::new();
        };
        if *trigger == Trigger::ProcessTime && *delay_ms == 0 {
            whole = self.state.waiting.iter().map(|(folder, _)| folder.clone()).collect();
        }
        whole.retain(|folder| !self.state.open.iter().any(|open| folder_of(&open.name) == folder));
        self.state.waiting.retain(|(folder, _)| !whole.contains(folder));
        whole.into_iter().map(|folder| format!("{folder}/{success_file}")).collect()
    }

    fn append(&mut self, folder: &str, bytes: Vec<u8>, now_ms: i64) -> (String, i64, Vec<u8>) {
        if self.state.uuid.is_empty() {
            self.state.uuid = name_of(&self.job, self.id, now_ms);
        }
        if self.whole.is_some() && !self.state.waiting.iter().any(|(waiting, _)| waiting == folder) {
            self.state.waiting.push((folder.to_owned(), now_ms));
        }
        let index = match self.state.open.iter().position(|open| folder_of(&open.name) == folder) {
            Some(index) => index,
            None => self.begin(folder, now_ms),
        };
        let Some(open) = self.state.open.get_mut(index) else { return (String::new(), 0, bytes) };
        let from = open.bytes;
        open.bytes += i64::try_from(bytes.len()).unwrap_or(0);
        (hidden(&self.folder, &open.name), from, bytes)
    }

    /// A new file; where it is among the open ones.
    fn begin(&mut self, folder: &str, now_ms: i64) -> usize {
        if self.state.open.len() >= OPEN_MAX {
            let oldest = self.state.open.remove(0);
            self.state.pending.push(oldest.name);
        }
        let (uuid, number) = (&self.state.uuid, self.state.number);
        let between = if folder.is_empty() { "" } else { "/" };
        let name = format!("{folder}{between}part-{uuid}-0-{number}");
        self.state.number += 1;
        self.state.open.push(OpenFile { name, bytes: 0, since_ms: now_ms });
        self.state.open.len() - 1
    }
}

/// The partition that a file lies in.
fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn hidden(folder: &str, name: &str) -> String {
    match name.rsplit_once('/') {
        Some((partition, name)) => format!("{folder}/{partition}/.{name}.inprogress"),
        None => format!("{folder}/.{name}.inprogress"),
    }
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
