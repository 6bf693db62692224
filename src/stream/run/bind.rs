//! A job's input and output over the broker: topics are read in-process, an epoch is one Change.
//!
//! Calls block their thread: a job has one of its own.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{runtime::Handle, sync::oneshot};
use uuid::Uuid;

use super::{
    Commit, EpochCommit, JobId, Log, OutRecord, STATE_KEY,
    exchanges::Exchanges,
    folder::{Directory, Folder},
};
use crate::{
    broker::{
        Broker,
        group::{Committer, GroupKey, offsets},
        refusal::Refusal,
        topic::{
            NewTopic, Offset, Topic, VhostName,
            append::{Checked, change_all},
            config::TopicConfig,
            fetch::Isolation,
            followers::Place,
            partition::Partition,
        },
        vhost::Vhost,
    },
    data::record::BatchBuilder,
    store::{Space, Ticket},
    stream::state::keyed::Entries,
};

/// Records that a job reads and writes.
#[derive(Clone)]
pub struct Bound {
    pub broker: Arc<Broker>,
    pub vhost: VhostName,
    pub runtime: Handle,
    /// `streams.files_dir`.
    pub files: Option<Arc<Directory>>,
}

/// Bytes that a key in a turn costs besides its own.
const OVERHEAD_BYTES: usize = 32;
/// Bytes of a record in a batch besides those of its key, value and headers, and of the length of one of them, at the most
/// but for large ones.
const RECORD_BYTES: usize = 8;
const LENGTH_BYTES: usize = 2;

impl Bound {
    pub(super) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.broker.core.topics.find(&self.vhost, name)
    }

    /// The vhost with its exchanges.
    pub(super) fn home(&self) -> Result<Arc<Vhost>, String> {
        self.broker.vhost(&self.vhost.0).map_err(|refusal| self.refusal(&refusal))
    }

    /// Why an exchange takes nothing, as far as RabbitMQ has words for it.
    pub(super) fn refusal(&self, refusal: &Refusal) -> String {
        let vhost = &self.vhost.0;
        if let Refusal::NoExchange(name) = refusal {
            return format!("no exchange '{name}' in vhost '{vhost}'");
        }
        if let Refusal::InternalExchange(name) = refusal {
            return format!("cannot publish to internal exchange '{name}' in vhost '{vhost}'");
        }
        if let Refusal::NoVhost(name) = refusal {
            return format!("vhost '{name}' not found");
        }
        format!("vhost '{vhost}' refused a message: {refusal:?}")
    }

    fn partition(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        self.topic(topic)?.partition(partition)
    }

    /// The topic, made with one partition if it is not there.
    ///
    /// # Errors
    /// When the name is no topic's.
    pub fn find_or_make(&self, name: &str) -> Result<(Arc<Topic>, Option<Ticket>), String> {
        if let Some(topic) = self.topic(name) {
            return Ok((topic, None));
        }
        let new = NewTopic {
            vhost: self.vhost.clone(),
            name: name.to_owned(),
            partitions: 1,
            config: TopicConfig::new([]).map_err(|error| error.to_string())?,
            stream_arguments: None,
            id: Uuid::new_v4(),
        };
        match self.broker.core.topics.create(new) {
            Ok((topic, ticket)) => Ok((topic, Some(ticket))),
            // Somebody was quicker.
            Err(refused) => self.topic(name).map(|topic| (topic, None)).ok_or_else(|| refused.to_string()),
        }
    }

    fn checked(
        &self,
        topic: &str,
        number: i32,
        records: &[OutRecord],
    ) -> Result<(Arc<Partition>, Checked), String> {
        let (topic, _) = self.find_or_make(topic)?;
        let partition =
            topic.partition(number).ok_or_else(|| format!("{topic} has no partition {number}"))?;
        let mut builder = BatchBuilder::with_room(records.iter().map(bytes_max_of).sum());
        for record in records {
            let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
            builder.push(record.timestamp_ms, record.key.as_deref(), record.value.as_deref(), headers);
        }
        let now_ms = self.broker.core.clock.now_ms();
        let checked = partition.check_built(vec![builder.build()], now_ms);
        Ok((partition, checked))
    }

    /// The group under which a job's lag can be seen.
    fn group(&self, job: &str) -> GroupKey {
        GroupKey { vhost: self.vhost.clone(), id: format!("stream.{job}").into() }
    }

    /// Shows how far a job has read, as the offsets of its group. Nobody waits for it: what a restart goes by lies in
    /// the job's state.
    pub fn show_offsets(&self, job: &str, positions: &[(String, i32, i64)]) {
        let commit_ms = self.broker.core.clock.now_ms();
        let offset = |(topic, partition, offset): &(String, i32, i64)| {
            let at = offsets::TopicPartition { topic: self.topic(topic)?.id, partition: *partition };
            let metadata = String::new();
            let offset = Offset(*offset);
            Some((at, offsets::Committed { offset, leader_epoch: -1, metadata, commit_ms, expire_ms: None }))
        };
        let committed = positions.iter().filter_map(offset).collect();
        let by = Committer::NOBODY;
        drop(self.broker.groups.commit(self.broker.core.clock.now(), &self.group(job), by, committed));
    }
}

impl Log for Bound {
    fn state(&self, job: &JobId, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let found = self.broker.core.store.get(Space::State, &state_key(&job.0, key));
        Ok(found.map_err(|error| error.to_string())?.map(|value| value.to_vec()))
    }

    fn states(&self, job: &JobId, prefix: &[u8]) -> Result<Entries, String> {
        let own = state_key(&job.0, b"").len();
        let found = self.broker.core.store.scan(Space::State, &state_key(&job.0, prefix));
        let found = found.map_err(|error| error.to_string())?;
        let relative =
            |(key, value): (Bytes, Bytes)| (key.get(own..).unwrap_or_default().to_vec(), value.to_vec());
        Ok(found.into_iter().map(relative).collect())
    }

    fn partitions(&self, topic: &str) -> Option<i32> {
        self.topic(topic).and_then(|topic| i32::try_from(topic.partitions().len()).ok())
    }

    fn log_start(&self, topic: &str, partition: i32) -> i64 {
        self.partition(topic, partition).map_or(0, |p| p.offsets().log_start.0)
    }

    fn log_end(&self, topic: &str, partition: i32) -> i64 {
        self.partition(topic, partition).map_or(0, |p| p.offsets().last_stable_offset.0)
    }

    fn read(&self, topic: &str, partition: i32, from: i64, bytes_max: usize) -> Result<Vec<Bytes>, String> {
        let gone = || format!("topic {topic} has no partition {partition}");
        let partition = self.partition(topic, partition).ok_or_else(gone)?;
        let read = partition
            .read(Offset(from), bytes_max, Isolation::ReadCommitted)
            .map_err(|error| error.to_string())?;
        let fetched = match read.into_cached() {
            Ok(fetched) => fetched,
            Err(read) => self.runtime.block_on(partition.load(read)).map_err(|error| error.to_string())?,
        };
        Ok(fetched.without_aborted().map_err(|error| error.to_string())?.batches)
    }

    fn folder(&self) -> Result<&dyn Folder, String> {
        let files = self.files.as_deref().map(|directory| directory as &dyn Folder);
        files.ok_or_else(|| "streams.files_dir is not set, so jobs have no files".to_owned())
    }

    fn exchange(&self, name: &str) -> Result<(), String> {
        let exchange = self.home()?.exchange(name).map_err(|refusal| self.refusal(&refusal))?;
        if exchange.options.internal {
            return Err(self.refusal(&Refusal::InternalExchange(name.to_owned())));
        }
        Ok(())
    }

    fn offset_for_time(&self, topic: &str, partition: i32, timestamp_ms: i64) -> Option<i64> {
        let partition = self.partition(topic, partition)?;
        let found = self.runtime.block_on(partition.offset_for_time(timestamp_ms, Isolation::ReadCommitted));
        found.ok().flatten().map(|timed| timed.offset.0)
    }

    fn group_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let key = GroupKey { vhost: self.vhost.clone(), id: group.into() };
        let at = offsets::TopicPartition { topic: self.topic(topic)?.id, partition };
        self.broker.groups.committed(&key, at).map(|committed| committed.offset.0)
    }
}

impl Bound {
    /// Commits an epoch; where the partitions that it has written to end now.
    pub fn commit_to(
        &self,
        mut epoch: EpochCommit,
        exchanges: &mut Exchanges,
    ) -> Result<Vec<(Place, Offset)>, String> {
        let mut parts = Vec::with_capacity(epoch.appends.len());
        for (topic, partition, records) in &epoch.appends {
            parts.push(self.checked(topic, *partition, records)?);
        }
        let place =
            |(topic, partition, _): &(String, i32, Vec<OutRecord>)| Some((self.topic(topic)?.id, *partition));
        let places: Vec<Place> = epoch.appends.iter().filter_map(place).collect();
        let (puts, deletes) = (std::mem::take(&mut epoch.puts), std::mem::take(&mut epoch.deletes));
        let prefix = state_key(&epoch.job.0, b"");
        let each = prefix.len() + OVERHEAD_BYTES;
        let own = epoch.state.encode();
        let bytes_max = own.len()
            + STATE_KEY.len()
            + each
            + puts.iter().map(|(key, value)| key.len() + value.len() + each).sum::<usize>()
            + deletes.iter().map(|key| key.len() + each).sum::<usize>();
        let mut full = prefix.clone();
        let state = Box::new(move |turn: &mut crate::store::Turn| {
            let mut under = |key: &[u8], act: &mut dyn FnMut(&[u8])| {
                full.truncate(prefix.len());
                full.extend_from_slice(key);
                act(&full);
            };
            deletes.iter().for_each(|key| under(key, &mut |key| turn.delete(Space::State, key)));
            puts.iter().for_each(|(key, value)| under(key, &mut |key| turn.put(Space::State, key, value)));
            under(STATE_KEY, &mut |key| turn.put(Space::State, key, &own));
        });
        for (path, from, bytes) in epoch.files.iter().flat_map(|files| &files.appends) {
            self.folder()?.write(path, *from, bytes)?;
        }
        let (sender, done) = oneshot::channel();
        let change = change_all(parts, Some((bytes_max, state)), |result| drop(sender.send(result)));
        if epoch.published.is_empty() {
            self.broker.core.store.submit(change);
        } else {
            exchanges.publish(self, &epoch, change)?;
        }
        let counts = epoch.appends.iter().map(|(_, _, records)| i64::try_from(records.len()).unwrap_or(0));
        match self.runtime.block_on(done) {
            Ok(Ok(appended)) => {
                for (hidden, visible) in epoch.files.iter().flat_map(|files| &files.publish) {
                    self.folder()?.publish(hidden, visible)?;
                }
                let ends = appended.iter().zip(counts).map(|(a, count)| Offset(a.base_offset.0 + count));
                Ok(places.into_iter().zip(ends).collect())
            }
            Ok(Err(refused)) => Err(refused.to_string()),
            Err(_) => Err("the store was closed".to_owned()),
        }
    }
}

impl Commit for Bound {
    fn commit(&mut self, epoch: EpochCommit) -> Result<(), String> {
        self.commit_to(epoch, &mut Exchanges::new(Arc::default())).map(drop)
    }
}

/// What a record takes in a batch, about: one whose lengths are short is a few bytes shorter.
fn bytes_max_of(record: &OutRecord) -> usize {
    let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len) + LENGTH_BYTES;
    let headers = record.headers.iter().map(|(name, value)| name.len() + LENGTH_BYTES + of(value));
    of(&record.key) + of(&record.value) + RECORD_BYTES + headers.sum::<usize>()
}

/// `J` job, 0, key: what a job keeps in `Space::State`.
pub(super) fn state_key(job: &str, key: &[u8]) -> Vec<u8> {
    [b"J", job.as_bytes(), b"\0", key].concat()
}
