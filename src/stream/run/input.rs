//! The inputs of a job: which partitions, how far each has been read, where reading begins.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;

use super::{
    Log,
    folder::{FILES_MAX, FileInfo},
};
use crate::{
    data::record::Batches,
    stream::{
        codec::split::Splitter,
        expr::{EvalError, Now},
        operator::{datagen::Generator, metadata::Place, source::RecordReader},
        plan::{
            connector::{Connector, Kafka, Reset, Startup},
            filesystem::Filesystem,
            physical::{OperatorId, PlanNode, Source},
        },
        state::{Failure, PartitionState, SourceState},
        time::watermark::Watermarks,
    },
};

/// Topic and partition, or a file. Empty for a source without either.
pub type Key = (Arc<str>, i32);

/// Whose watermark that of all files of a table is.
pub static FILES: LazyLock<Key> = LazyLock::new(|| ("".into(), 0));

/// A longer record of a file is refused.
const FILE_RECORD_BYTES_MAX: usize = 64 << 20;

/// One source of a job.
pub struct Input {
    pub id: OperatorId,
    /// Its node in the graph.
    pub node: usize,
    pub kind: InputKind,
    pub cursors: BTreeMap<Key, Cursor>,
    pub watermarks: Watermarks<Key>,
    /// What the operators behind it have been told: that nothing is to be expected.
    pub idle: bool,
    /// Whether where to begin has been decided.
    placed: bool,
}

pub enum InputKind {
    Datagen(Box<Generator>),
    Files(Box<FileInput>),
    Kafka { kafka: Box<Kafka>, reader: Box<RecordReader> },
}

/// Files of one table.
pub struct FileInput {
    pub table: Filesystem,
    pub reader: RecordReader,
    pub splitter: Splitter,
    /// When to look for new ones.
    look_ms: Option<i64>,
}

/// How far a partition or a file has been read.
pub struct Cursor {
    /// The next offset to read; of a file, the next byte.
    pub position: i64,
    /// Where a bounded source, or a file, stops.
    pub end: Option<i64>,
    /// Read and not yet worked off.
    pub pending: VecDeque<Bytes>,
    pub place: Place,
}

impl Cursor {
    fn new(key: &Key, position: i64, end: Option<i64>) -> Self {
        let place = Place { topic: key.0.clone(), partition: key.1, ..Place::default() };
        Self { position, end, pending: VecDeque::new(), place }
    }

    fn of_file(file: &FileInfo) -> (Key, Self) {
        let key: Key = (file.path.as_str().into(), 0);
        let mut cursor = Self::new(&key, 0, Some(file.bytes));
        (cursor.place.bytes, cursor.place.modified_ms) = (file.bytes, file.modified_ms);
        (key, cursor)
    }

    #[must_use]
    pub fn ended(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }
}

impl Input {
    pub fn open(
        index: usize,
        node: &PlanNode,
        source: &Source,
        saved: Option<&SourceState>,
    ) -> Result<Self, EvalError> {
        let (kind, idle_timeout_ms) = match &source.table.connector {
            Connector::Datagen(datagen) => {
                (InputKind::Datagen(Box::new(Generator::open(node.id, source, datagen)?)), None)
            }
            Connector::Filesystem(table) => {
                let reader = RecordReader::of_files(source, table)?;
                let (table, splitter) = (table.clone(), Splitter::new(&table.format));
                (InputKind::Files(Box::new(FileInput { table, reader, splitter, look_ms: None })), None)
            }
            Connector::Kafka(kafka) => {
                let reader = Box::new(RecordReader::open(source, kafka)?);
                (InputKind::Kafka { kafka: Box::new(kafka.clone()), reader }, kafka.idle_timeout_ms)
            }
            Connector::Blackhole | Connector::Print(_) | Connector::Rabbitmq(_) => {
                return Err(EvalError(format!("'{}' cannot be read", source.table.path)));
            }
        };
        let watermarks = Watermarks::new(idle_timeout_ms);
        let mut input = Self {
            id: node.id,
            node: index,
            kind,
            cursors: BTreeMap::new(),
            watermarks,
            idle: false,
            placed: saved.is_some(),
        };
        if let Some(saved) = saved {
            input.watermarks.restore(saved.watermark);
            for p in &saved.partitions {
                let key = (Arc::from(p.topic.as_str()), p.partition);
                input.watermarks.add_again(key.clone(), p.watermark, p.idle);
                let mut cursor = Cursor::new(&key, p.position, p.end);
                (cursor.place.bytes, cursor.place.modified_ms) = (p.end.unwrap_or(0), p.modified_ms);
                input.cursors.insert(key.clone(), cursor);
            }
            if let InputKind::Files(_) = input.kind {
                input.watermarks = Watermarks::new(None);
                input.watermarks.restore(saved.watermark);
                input.watermarks.add_again(FILES.clone(), saved.watermark, false);
            }
        }
        Ok(input)
    }

    #[must_use]
    pub fn state(&self) -> SourceState {
        let partitions = self.cursors.iter().map(|(key, cursor)| PartitionState {
            topic: key.0.to_string(),
            partition: key.1,
            position: cursor.position,
            end: cursor.end,
            watermark: self.watermarks.of(key),
            idle: self.watermarks.is_left_out(key),
            modified_ms: cursor.place.modified_ms,
        });
        let watermark = self.watermarks.merged();
        SourceState { id: self.id.to_string(), watermark, partitions: partitions.collect() }
    }

    /// Finds partitions that are new. Those of the start begin where the table says; later ones at their start, so
    /// that nothing is missed.
    pub fn discover(&mut self, log: &dyn Log, now: Now) -> Result<(), Failure> {
        if let InputKind::Files(_) = self.kind {
            return self.discover_files(log, now);
        }
        let first = !std::mem::replace(&mut self.placed, true);
        match &self.kind {
            InputKind::Datagen(generator) => {
                if first {
                    let key: Key = ("".into(), 0);
                    self.cursors.insert(key.clone(), Cursor::new(&key, 0, generator.end()));
                    self.watermarks.add(key, i64::MIN, now.ms);
                }
            }
            InputKind::Files(_) => {}
            InputKind::Kafka { kafka, .. } => {
                for topic in &kafka.topics {
                    let count = log.partitions(topic);
                    if count.is_none() && kafka.bounded && first {
                        self.placed = false;
                        return Err(failure(
                            topic,
                            -1,
                            "a bounded source needs its topic, and there is none",
                        ));
                    }
                    for partition in 0..count.unwrap_or(0) {
                        let key: Key = (topic.as_str().into(), partition);
                        if self.cursors.contains_key(&key) {
                            continue;
                        }
                        let position = if first {
                            start(log, kafka, topic, partition)
                        } else {
                            Ok(log.log_start(topic, partition))
                        };
                        let position = match position {
                            Ok(position) => position,
                            Err(failure) => {
                                self.placed = !first;
                                return Err(failure);
                            }
                        };
                        let end = kafka.bounded.then(|| log.log_end(topic, partition));
                        self.watermarks.add(key.clone(), i64::MIN, now.ms);
                        self.cursors.insert(key.clone(), Cursor::new(&key, position, end));
                    }
                }
            }
        }
        Ok(())
    }

    /// Files that are new: once, or as often as the table says.
    fn discover_files(&mut self, log: &dyn Log, now: Now) -> Result<(), Failure> {
        let InputKind::Files(files) = &mut self.kind else { return Ok(()) };
        let wanted = if self.placed { files.table.monitor_ms.is_some() } else { true };
        if !wanted || files.look_ms.is_some_and(|at| at > now.ms) {
            return Ok(());
        }
        files.look_ms = files.table.monitor_ms.map(|every| now.ms.saturating_add(every.max(1)));
        let path = &files.table.path;
        let found = log.folder().and_then(|folder| folder.list(path)).map_err(|e| failure(path, -1, &e))?;
        if found.len() + self.cursors.len() > 2 * FILES_MAX {
            return Err(failure(path, -1, &format!("more than {FILES_MAX} files have been read")));
        }
        // Of a table with partitions, what lies in none is not the table's.
        let partitioned = files.table.partitions.clone();
        let depth = |file: &FileInfo| partitioned.as_ref().is_none_or(|p| p.has_folders(&file.path));
        for (key, cursor) in found.iter().filter(|file| depth(file)).map(Cursor::of_file) {
            self.cursors.entry(key).or_insert(cursor);
        }
        if !std::mem::replace(&mut self.placed, true) {
            self.watermarks.add(FILES.clone(), i64::MIN, now.ms);
        }
        Ok(())
    }

    /// When the table wants to be looked at again, though nobody says that something has come.
    #[must_use]
    pub fn next_look_ms(&self) -> Option<i64> {
        if let InputKind::Files(files) = &self.kind { files.look_ms } else { None }
    }

    #[must_use]
    pub fn ended(&self) -> bool {
        if let InputKind::Files(files) = &self.kind {
            let all = self.placed && files.table.monitor_ms.is_none();
            return all && self.cursors.values().all(Cursor::ended);
        }
        self.placed && !self.cursors.is_empty() && self.cursors.values().all(Cursor::ended)
    }

    /// Fetches a partition's next batches if none are at hand; `false` if there is nothing to read.
    pub fn fill(&mut self, key: &Key, log: &dyn Log, bytes_max: usize) -> Result<bool, Failure> {
        if let InputKind::Files(_) = self.kind {
            return self.fill_file(key, log, bytes_max);
        }
        let InputKind::Kafka { kafka, .. } = &self.kind else { return Ok(false) };
        let Some(cursor) = self.cursors.get_mut(key) else { return Ok(false) };
        if cursor.ended() {
            return Ok(false);
        }
        if !cursor.pending.is_empty() {
            return Ok(true);
        }
        let (topic, partition) = (&*key.0, key.1);
        if cursor.position >= log.log_end(topic, partition) {
            return Ok(false);
        }
        let log_start = log.log_start(topic, partition);
        if cursor.position < log_start {
            if kafka.startup == Startup::Group(Reset::None) {
                let reason = format!("offset out of range: the log begins at {log_start}");
                return Err(failure_at(key, cursor.position, reason));
            }
            cursor.position = log_start;
        }
        let read = log.read(topic, partition, cursor.position, bytes_max);
        let read = read.map_err(|reason| failure_at(key, cursor.position, reason))?;
        for bytes in read {
            // What was handed over may be several batches in a row.
            for batch in Batches::stored(bytes) {
                let batch = batch.map_err(|e| failure_at(key, cursor.position, e.to_string()))?;
                if batch.header().last_offset() >= cursor.position {
                    cursor.pending.push_back(batch.into_bytes());
                }
            }
        }
        if cursor.pending.is_empty() {
            // Nothing but aborted records up to the end.
            cursor.position = log.log_end(topic, partition);
        }
        Ok(!cursor.pending.is_empty())
    }

    /// The next bytes of a file: more and more of them, until a whole record is there.
    fn fill_file(&mut self, key: &Key, log: &dyn Log, bytes_max: usize) -> Result<bool, Failure> {
        let InputKind::Files(files) = &self.kind else { return Ok(false) };
        let Some(cursor) = self.cursors.get_mut(key) else { return Ok(false) };
        if !cursor.pending.is_empty() {
            return Ok(true);
        }
        let failed = |reason: String| failure_at(key, cursor.position, reason);
        let folder = log.folder().map_err(failed)?;
        let left = usize::try_from(cursor.end.unwrap_or(0) - cursor.position).unwrap_or(0);
        let mut wanted = bytes_max.min(left);
        loop {
            let bytes = folder.read(&key.0, cursor.position, wanted).map_err(failed)?;
            if bytes.len() < wanted {
                return Err(failed("the file has become shorter".to_owned()));
            }
            if wanted == left || files.splitter.next(&bytes, false).is_some() {
                cursor.pending.push_back(bytes);
                return Ok(true);
            }
            if wanted >= FILE_RECORD_BYTES_MAX {
                return Err(failed(format!("a record is longer than {FILE_RECORD_BYTES_MAX} bytes")));
            }
            wanted = (wanted * 2).min(left);
        }
    }
}

/// Where reading of a partition begins.
fn start(log: &dyn Log, kafka: &Kafka, topic: &str, partition: i32) -> Result<i64, Failure> {
    let group = || kafka.group_id.as_deref().and_then(|group| log.group_offset(group, topic, partition));
    let by_group = |reset: Reset| match (group(), reset) {
        (Some(offset), _) => Ok(offset),
        (None, Reset::Earliest) => Ok(log.log_start(topic, partition)),
        (None, Reset::Latest) => Ok(log.log_end(topic, partition)),
        (None, Reset::None) => {
            let reason =
                format!("Undefined offset with no reset policy for partitions: [{topic}-{partition}]");
            Err(failure(topic, partition, &reason))
        }
    };
    match &kafka.startup {
        Startup::Earliest => Ok(log.log_start(topic, partition)),
        Startup::Latest => Ok(log.log_end(topic, partition)),
        Startup::Group(reset) => by_group(*reset),
        Startup::TimestampMs(at) => {
            let found = log.offset_for_time(topic, partition, *at);
            Ok(found.unwrap_or_else(|| log.log_end(topic, partition)))
        }
        Startup::Specific(offsets) => match offsets.iter().find(|(p, _)| *p == partition) {
            Some((_, offset)) => Ok(*offset),
            None => by_group(Reset::Earliest),
        },
    }
}

fn failure(topic: &str, partition: i32, reason: &str) -> Failure {
    Failure { topic: topic.to_owned(), partition, offset: -1, reason: reason.to_owned() }
}

pub(super) fn failure_at(key: &Key, offset: i64, reason: impl Into<String>) -> Failure {
    Failure { topic: key.0.to_string(), partition: key.1, offset, reason: reason.into() }
}
