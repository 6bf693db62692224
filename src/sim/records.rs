//! Records: idempotent producers that retry, AMQP's gathered publishes, DeleteRecords, and a group's committed offsets.
//!
//! What a reader or a producer has seen at an offset stays there; offsets have no gap; each value is there once,
//! however often its batch was sent; a group's offset is the last one that was answered, or a later one.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use rand::Rng;
use uuid::Uuid;

use super::world::World;
use crate::{
    broker::{
        group::{
            Answer, CommitResult, Committer, GroupKey,
            offsets::{Committed, TopicPartition},
        },
        topic::{
            NewTopic, Offset, Topic,
            append::{Appended, Refused},
            config::TopicConfig,
            fetch::Isolation,
            partition::Partition,
        },
    },
    data::record::{BatchBuilder, Batches, Producer as Sequence},
    store::Ticket,
};

const PARTITIONS: u32 = 2;
const TOPIC_NAME: &str = "records";
/// As many as Kafka's producer has in flight, and as the broker remembers.
const IN_FLIGHT_MAX: usize = 5;

/// What became of a producer's batch: whose, its first sequence number, and the outcome.
type Outcomes = Arc<Mutex<Vec<(usize, i32, Result<Appended, Refused>)>>>;

struct Producer {
    id: i64,
    partition: usize,
    next_sequence: i32,
    in_flight: VecDeque<(i32, Vec<String>)>,
    /// Its last batch that was answered: a retry that comes late.
    last: Option<(i32, Vec<String>)>,
}

/// What is known of one partition.
#[derive(Default)]
struct Log {
    /// Seen by a reader or confirmed, by offset.
    seen: BTreeMap<i64, String>,
    /// Gathered publishes that are not known to be durable.
    published: Vec<(Ticket, String)>,
    /// Durable for sure, at whatever offset.
    durable: BTreeSet<String>,
    high_watermark: i64,
    trimmed_to: Arc<Mutex<i64>>,
}

/// A group's offset in one partition.
#[derive(Default)]
struct Commits {
    all: Vec<i64>,
    /// How many of them are answered.
    answered: usize,
    waiting: VecDeque<Answer<CommitResult>>,
}

pub(super) struct Records {
    topic: Uuid,
    producers: Vec<Producer>,
    ids: BTreeSet<i64>,
    logs: Vec<Log>,
    commits: Commits,
    outcomes: Outcomes,
    made: u32,
}

impl Records {
    pub(super) fn new(world: &mut World) -> Self {
        let topic = Uuid::from_u128(world.rng.random());
        let new = NewTopic {
            vhost: "/".into(),
            name: TOPIC_NAME.to_owned(),
            partitions: PARTITIONS,
            config: TopicConfig::new(std::iter::empty()).unwrap(),
            stream_arguments: None,
            id: topic,
        };
        world.broker.core.topics.create(new).unwrap();
        world.settle();
        let mut records = Self {
            topic,
            producers: Vec::new(),
            ids: BTreeSet::new(),
            logs: (0..PARTITIONS).map(|_| Log::default()).collect(),
            commits: Commits::default(),
            outcomes: Outcomes::default(),
            made: 0,
        };
        records.add_producer(world);
        records.add_producer(world);
        records
    }

    /// InitProducerId: no id is given twice, in no life.
    fn add_producer(&mut self, world: &mut World) {
        let ids = world.broker.producer_ids.clone();
        world.heal();
        let mut allocated = pin!(ids.allocate());
        let identity = loop {
            if let Poll::Ready(identity) = poll(allocated.as_mut()) {
                break identity.unwrap();
            }
            world.turn();
        };
        assert!(self.ids.insert(identity.id), "producer id {} is given twice", identity.id);
        let partition = self.producers.len() % self.logs.len();
        let (in_flight, last) = (VecDeque::new(), None);
        self.producers.push(Producer { id: identity.id, partition, next_sequence: 0, in_flight, last });
    }

    fn topic(&self, world: &World) -> Arc<Topic> {
        world.broker.core.topics.by_id(self.topic).expect("a durable topic is there")
    }

    fn partition(&self, world: &World, number: usize) -> Arc<Partition> {
        self.topic(world).partitions()[number].clone()
    }

    pub(super) fn step(&mut self, world: &mut World) {
        match world.below(100) {
            0..45 => self.produce(world),
            45..55 => self.retry(world),
            55..75 => self.publish(world),
            75..80 => self.trim(world),
            80..90 => self.commit(world),
            90..99 => self.read(world),
            _ => self.add_producer(world),
        }
    }

    fn value(&mut self) -> String {
        self.made += 1;
        format!("{}", self.made)
    }

    fn produce(&mut self, world: &mut World) {
        let at = world.below(self.producers.len());
        if self.producers[at].in_flight.len() >= IN_FLIGHT_MAX {
            return;
        }
        let values: Vec<String> = (0..=world.below(3)).map(|_| self.value()).collect();
        let producer = &mut self.producers[at];
        let sequence = producer.next_sequence;
        producer.next_sequence += i32::try_from(values.len()).unwrap();
        producer.in_flight.push_back((sequence, values.clone()));
        self.send(world, at, sequence, &values);
    }

    fn send(&self, world: &World, at: usize, sequence: i32, values: &[String]) {
        let producer = &self.producers[at];
        let now_ms = world.clock.now_ms();
        let claim = Sequence { id: producer.id, epoch: 0, base_sequence: sequence };
        let mut builder = BatchBuilder::new().producer(claim);
        values.iter().for_each(|v| builder.push(now_ms, None, Some(v.as_bytes()), []));
        let partition = self.partition(world, producer.partition);
        let checked = partition.check(builder.build().into_bytes(), now_ms, true).unwrap();
        let outcomes = self.outcomes.clone();
        partition.append(checked, move |outcome| outcomes.lock().push((at, sequence, outcome)));
    }

    /// A producer that had no answer sends all of it again, in order; or one batch that was answered comes late.
    fn retry(&mut self, world: &mut World) {
        let at = world.below(self.producers.len());
        let producer = &self.producers[at];
        // The broker remembers five batches: a sixth would be out of order.
        let last = producer.last.iter().filter(|_| producer.in_flight.len() < IN_FLIGHT_MAX);
        let again: Vec<_> = last.chain(&producer.in_flight).cloned().collect();
        for (sequence, values) in again {
            self.send(world, at, sequence, &values);
        }
    }

    fn publish(&mut self, world: &mut World) {
        let (number, value) = (world.below(self.logs.len()), self.value());
        let partition = self.partition(world, number);
        let ticket = partition.publish(world.clock.now_ms(), None, Some(value.as_bytes()), []);
        self.logs[number].published.push((ticket, value));
    }

    fn trim(&mut self, world: &mut World) {
        let number = world.below(self.logs.len());
        let partition = self.partition(world, number);
        let back = i64::try_from(world.below(20)).unwrap();
        let to = (partition.offsets().high_watermark.0 - back).max(0);
        let trimmed_to = self.logs[number].trimmed_to.clone();
        partition.delete_records(Some(Offset(to)), move |low| {
            if let Ok(low) = low {
                *trimmed_to.lock() = low.0;
            }
        });
    }

    fn group(&self) -> (GroupKey, TopicPartition) {
        (GroupKey { vhost: "/".into(), id: "g".into() }, TopicPartition { topic: self.topic, partition: 0 })
    }

    fn commit(&mut self, world: &mut World) {
        let offset =
            i64::try_from(self.commits.all.len()).unwrap() * 10 + i64::try_from(world.below(10)).unwrap();
        let (key, at) = self.group();
        let committed = Committed {
            offset: Offset(offset),
            leader_epoch: 0,
            metadata: String::new(),
            commit_ms: world.clock.now_ms(),
            expire_ms: None,
        };
        let nobody = Committer::NOBODY;
        let answer = world.broker.groups.commit(world.clock.now(), &key, nobody, vec![(at, committed)]);
        self.commits.all.push(offset);
        self.commits.waiting.push_back(answer);
    }

    /// What the turn has answered.
    pub(super) fn on_turn(&mut self, world: &World) {
        let outcomes = std::mem::take(&mut *self.outcomes.lock());
        for (at, sequence, outcome) in outcomes {
            self.on_outcome(at, sequence, outcome.unwrap());
        }
        let durable = world.store.durable_to();
        for log in &mut self.logs {
            let sure = log.published.extract_if(.., |(ticket, _)| *ticket <= durable);
            log.durable.extend(sure.map(|(_, value)| value));
        }
        while let Some(answer) = self.commits.waiting.front_mut() {
            let Poll::Ready(result) = poll(Pin::new(answer)) else { break };
            assert!(result.unwrap().iter().all(Result::is_ok));
            self.commits.answered += 1;
            self.commits.waiting.pop_front();
        }
        let committed = self.committed(world);
        let last = self.commits.answered.checked_sub(1).map(|n| self.commits.all[n]);
        assert_eq!(committed, last, "a group's offset moves with the answer only");
    }

    fn committed(&self, world: &World) -> Option<i64> {
        let (key, at) = self.group();
        world.broker.groups.committed(&key, at).map(|c| c.offset.0)
    }

    fn on_outcome(&mut self, at: usize, sequence: i32, appended: Appended) {
        let producer = &mut self.producers[at];
        let known = match producer.in_flight.front() {
            Some((front, _)) if *front == sequence => producer.in_flight.pop_front(),
            // The answer to a retry.
            Some(_) | None => producer.last.clone().filter(|(last, _)| *last == sequence),
        };
        let Some((_, values)) = known else { return };
        let log = &mut self.logs[producer.partition];
        for (offset, value) in (appended.base_offset.0..).zip(&values) {
            log.see(offset, value.clone());
        }
        producer.last = Some((sequence, values));
    }

    /// Reads all that is visible.
    fn read(&mut self, world: &World) {
        for number in 0..self.logs.len() {
            let partition = self.partition(world, number);
            self.logs[number].read(&partition);
        }
    }

    /// The broker is about to be gone; `durable` is what survives for sure.
    pub(super) fn on_crash(&mut self, durable: Ticket) {
        // The callbacks of the old store must not be heard any more.
        self.outcomes = Outcomes::default();
        self.commits.waiting.clear();
        for log in &mut self.logs {
            let sure = log.published.drain(..).filter(|(ticket, _)| *ticket <= durable);
            log.durable.extend(sure.map(|(_, value)| value));
            let trimmed_to = *log.trimmed_to.lock();
            log.trimmed_to = Arc::new(Mutex::new(trimmed_to));
        }
    }

    /// What came back.
    pub(super) fn audit(&mut self, world: &World) {
        self.read(world);
        let committed = self.committed(world);
        let Commits { all, answered, .. } = &mut self.commits;
        let kept = all.iter().rposition(|offset| Some(*offset) == committed).map_or(0, |n| n + 1);
        assert!(
            kept >= *answered,
            "a group had committed {:?} and has {committed:?}",
            all[..*answered].last()
        );
        assert!(
            committed.is_none() || kept > 0,
            "a group has an offset that nobody committed: {committed:?}"
        );
        all.truncate(kept);
        *answered = kept;
        for at in 0..self.producers.len() {
            for (sequence, values) in self.producers[at].in_flight.clone() {
                self.send(world, at, sequence, &values);
            }
        }
    }
}

impl Log {
    fn see(&mut self, offset: i64, value: String) {
        if let Some(known) = self.seen.insert(offset, value.clone()) {
            assert_eq!(known, value, "another record at offset {offset}");
        }
    }

    fn read(&mut self, partition: &Partition) {
        let offsets = partition.offsets();
        let (start, end) = (offsets.log_start.0, offsets.high_watermark.0);
        assert!(end >= self.high_watermark, "the high watermark goes back: {end}, {}", self.high_watermark);
        assert!(start >= *self.trimmed_to.lock(), "what was deleted comes back");
        self.high_watermark = end;
        let fetched =
            super::ready(partition.fetch(offsets.log_start, usize::MAX, Isolation::ReadUncommitted))
                .unwrap()
                .unwrap();
        let mut found = BTreeMap::new();
        for batch in fetched.batches.into_iter().flat_map(Batches::new) {
            for record in &batch.unwrap().payload(1 << 20).unwrap() {
                let record = record.unwrap();
                found.insert(record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        }
        found.retain(|offset, _| *offset >= start);
        assert!(found.keys().copied().eq(start..end), "a gap between {start} and {end}: {found:?}");
        let lost = self.seen.range(start..).find(|(offset, _)| !found.contains_key(offset));
        assert_eq!(lost, None, "a record that was seen is lost");
        let values: BTreeSet<&String> = found.values().collect();
        assert_eq!(values.len(), found.len(), "a record is there twice: {found:?}");
        if start == 0 {
            let lost: Vec<_> = self.durable.iter().filter(|value| !values.contains(value)).collect();
            assert!(lost.is_empty(), "durable messages are lost: {lost:?}");
        }
        for (offset, value) in found {
            self.see(offset, value);
        }
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
