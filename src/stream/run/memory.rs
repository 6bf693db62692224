//! Topics and store in memory, for tests.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Commit, EpochCommit, JobId, Log, OutMessage, Printed, STATE_KEY,
    folder::{FileInfo, Folder},
};
use crate::{
    data::record::{Batch, BatchBuilder},
    stream::state::keyed::Entries,
};

/// Shared by clones; outlives the jobs, as a store does.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Inner>);

#[derive(Default)]
struct Inner {
    topics: Mutex<BTreeMap<(String, i32), Vec<Batch>>>,
    counts: Mutex<BTreeMap<String, i32>>,
    state: Mutex<BTreeMap<StateKey, Vec<u8>>>,
    printed: Mutex<Vec<Printed>>,
    published: Mutex<Vec<OutMessage>>,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    commits_left: Mutex<Option<usize>>,
}

/// The job, and a key of its state.
type StateKey = (String, Vec<u8>);

pub(crate) type Plain = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

impl Memory {
    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        self.0.counts.lock().insert(topic.to_owned(), partitions);
    }

    pub(crate) fn produce(&self, topic: &str, partition: i32, values: &[&str]) {
        let mut builder = BatchBuilder::new();
        for value in values {
            builder.push(1_000, None, Some(value.as_bytes()), std::iter::empty());
        }
        self.append(topic, partition, builder.build());
    }

    pub(crate) fn append(&self, topic: &str, partition: i32, batch: Batch) {
        self.0.counts.lock().entry(topic.to_owned()).or_insert(1);
        let end = self.log_end(topic, partition);
        let batch = batch.stamped(end, 0);
        self.0.topics.lock().entry((topic.to_owned(), partition)).or_default().push(batch);
    }

    /// (offset, key, value) of every record.
    pub(crate) fn records(&self, topic: &str, partition: i32) -> Vec<Plain> {
        let mut found = Vec::new();
        for batch in self.0.topics.lock().get(&(topic.to_owned(), partition)).into_iter().flatten() {
            let payload = batch.payload(1 << 26).unwrap();
            for record in &payload {
                let record = record.unwrap();
                found.push((record.offset, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec)));
            }
        }
        found
    }

    pub(crate) fn values(&self, topic: &str) -> Vec<String> {
        let records = self.records(topic, 0);
        records
            .into_iter()
            .map(|(_, _, v)| v.map_or("NULL".into(), |v| String::from_utf8(v).unwrap()))
            .collect()
    }

    pub(crate) fn printed(&self) -> Vec<String> {
        self.0.printed.lock().iter().map(|p| p.line.clone()).collect()
    }

    pub(crate) fn published(&self) -> Vec<OutMessage> {
        self.0.published.lock().clone()
    }

    pub(crate) fn state(&self, job: &str) -> Option<Vec<u8>> {
        self.0.state.lock().get(&(job.to_owned(), STATE_KEY.to_vec())).cloned()
    }

    pub(crate) fn put_file(&self, path: &str, text: &str) {
        self.0.files.lock().insert(path.to_owned(), text.as_bytes().to_vec());
    }

    pub(crate) fn remove_file(&self, path: &str) {
        self.0.files.lock().remove(path);
    }

    /// Files and what is in them.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        self.0.files.lock().iter().map(|(path, bytes)| (path.clone(), text(bytes))).collect()
    }

    /// Lets as many commits through and fails then, as a store does that dies.
    pub(crate) fn die_after(&self, commits: Option<usize>) {
        *self.0.commits_left.lock() = commits;
    }
}

impl Log for Memory {
    fn state(&self, job: &JobId, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.state.lock().get(&(job.0.clone(), key.to_vec())).cloned())
    }

    fn states(&self, job: &JobId, prefix: &[u8]) -> Result<Entries, String> {
        let state = self.0.state.lock();
        let from = (job.0.clone(), prefix.to_vec());
        let found = state.range(from..).take_while(|((j, key), _)| *j == job.0 && key.starts_with(prefix));
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn partitions(&self, topic: &str) -> Option<i32> {
        self.0.counts.lock().get(topic).copied()
    }

    fn log_start(&self, _topic: &str, _partition: i32) -> i64 {
        0
    }

    fn log_end(&self, topic: &str, partition: i32) -> i64 {
        let topics = self.0.topics.lock();
        let last = topics.get(&(topic.to_owned(), partition)).and_then(|b| b.last());
        last.map_or(0, |b| b.header().last_offset() + 1)
    }

    fn read(&self, topic: &str, partition: i32, from: i64, bytes_max: usize) -> Result<Vec<Bytes>, String> {
        let topics = self.0.topics.lock();
        let batches = topics.get(&(topic.to_owned(), partition)).into_iter().flatten();
        let mut bytes = 0;
        let wanted = batches.filter(|b| b.header().last_offset() >= from).take_while(|b| {
            let fits = bytes == 0 || bytes + b.bytes().len() <= bytes_max;
            bytes += b.bytes().len();
            fits
        });
        Ok(wanted.map(|b| b.bytes().clone()).collect())
    }

    fn folder(&self) -> Result<&dyn Folder, String> {
        Ok(self)
    }

    fn offset_for_time(&self, _topic: &str, _partition: i32, _timestamp_ms: i64) -> Option<i64> {
        None
    }

    fn exchange(&self, name: &str) -> Result<(), String> {
        let there = name.is_empty() || name.starts_with("amq.");
        if there { Ok(()) } else { Err(format!("no exchange '{name}'")) }
    }

    fn group_offset(&self, _group: &str, _topic: &str, _partition: i32) -> Option<i64> {
        None
    }
}

impl Folder for Memory {
    fn list(&self, path: &str) -> Result<Vec<FileInfo>, String> {
        let files = self.0.files.lock();
        let within = |file: &&String| {
            let rest = file.strip_prefix(path).unwrap_or(".");
            let hidden = file.rsplit('/').next().is_some_and(|name| name.starts_with(['.', '_']));
            (rest.is_empty() || rest.starts_with('/')) && !hidden
        };
        let info = |file: &String| FileInfo {
            path: file.clone(),
            bytes: i64::try_from(files[file].len()).unwrap(),
            modified_ms: 1_000,
        };
        Ok(files.keys().filter(within).map(info).collect())
    }

    fn read(&self, path: &str, from: i64, bytes_max: usize) -> Result<Bytes, String> {
        let files = self.0.files.lock();
        let rest = &files.get(path).ok_or("no such file")?[usize::try_from(from).unwrap()..];
        Ok(Bytes::copy_from_slice(&rest[..bytes_max.min(rest.len())]))
    }

    fn write(&self, path: &str, from: i64, bytes: &[u8]) -> Result<(), String> {
        let mut files = self.0.files.lock();
        let file = files.entry(path.to_owned()).or_default();
        file.truncate(usize::try_from(from).unwrap());
        file.extend_from_slice(bytes);
        Ok(())
    }

    fn publish(&self, hidden: &str, visible: &str) -> Result<(), String> {
        let mut files = self.0.files.lock();
        if let Some(file) = files.remove(hidden) {
            files.insert(visible.to_owned(), file);
        }
        Ok(())
    }
}

impl Commit for Memory {
    fn commit(&mut self, epoch: EpochCommit) -> Result<(), String> {
        for (path, from, bytes) in epoch.files.iter().flat_map(|files| &files.appends) {
            self.write(path, *from, bytes)?;
        }
        if let Some(left) = &mut *self.0.commits_left.lock() {
            if *left == 0 {
                return Err("the store has died".to_owned());
            }
            *left -= 1;
        }
        for (topic, partition, records) in epoch.appends {
            let mut builder = BatchBuilder::new();
            for r in &records {
                let headers: Vec<(&str, Option<&[u8]>)> =
                    r.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
                builder.push(r.timestamp_ms, r.key.as_deref(), r.value.as_deref(), headers);
            }
            self.append(&topic, partition, builder.build());
        }
        self.0.printed.lock().extend(epoch.printed);
        self.0.published.lock().extend(epoch.published);
        let publish: Vec<_> = epoch.files.iter().flat_map(|files| files.publish.clone()).collect();
        let mut state = self.0.state.lock();
        for key in epoch.deletes {
            state.remove(&(epoch.job.0.clone(), key));
        }
        for (key, value) in epoch.puts.into_iter().chain([(STATE_KEY.to_vec(), epoch.state.encode())]) {
            state.insert((epoch.job.0.clone(), key), value);
        }
        drop(state);
        publish.iter().try_for_each(|(hidden, visible)| Folder::publish(self, hidden, visible))
    }
}
