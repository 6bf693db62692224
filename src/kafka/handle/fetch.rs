//! Fetch (API key 1), versions 4–18: batches from given offsets on, waiting for them if asked to.
//!
//! Version 5: log start offset. Version 7: sessions (KIP-227). Version 9: current leader epoch. Version 10: zstd.
//! Version 12: flexible. Version 13: topics by id. Version 15: replica state.
//!
//! Batches are whole: an offset inside one gets all of it, and the first is sent however large it is.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use uuid::Uuid;

use super::check_leader_epoch;
use crate::{
    broker::{
        quotas::QuotaKey,
        topic::{
            Offset,
            fetch::{self, FetchError, Fetched, Isolation, Read},
            partition::{Offsets, Partition},
            transactions::Aborted,
            waiters::Waiter,
        },
    },
    data::record::BatchHeader,
    kafka::{
        call::Call,
        fault::ErrorCode,
        fetch_sessions::Context,
        wire::fetch::{
            AbortedTransaction, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse,
            PartitionData,
        },
    },
};

const IDS_FROM: i16 = 13;

/// `fetch.max.bytes` of the broker.
const RESPONSE_BYTES_MAX: usize = 55 * 1024 * 1024;

pub async fn handle(call: Call, request: FetchRequest) -> FetchResponse {
    let (sessions, by_id) = (&call.door().fetch_sessions, call.version >= IDS_FROM);
    let (context, request) = match sessions.open(call.now, by_id, request) {
        Ok(opened) => opened,
        Err(error) => return FetchResponse { error_code: error.code(), ..FetchResponse::default() },
    };
    // Only a new session has to remember what it was asked for.
    let remembered = if context == Context::Full { request.topics.clone() } else { Vec::new() };
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or_default().min(RESPONSE_BYTES_MAX);
    let bytes_max = bytes_max.min(call.quota_bytes_max(QuotaKey::ConsumerByteRate));
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or_default().min(bytes_max);
    let isolation =
        if request.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let asked = Asked::new(&call, request, bytes_max, isolation);
    let mut plan = asked.plan(&call);
    if plan.bytes < bytes_min && !plan.is_urgent && !max_wait.is_zero() {
        let waiter = Waiter::new(bytes_min - plan.bytes);
        asked.wait(&plan, &waiter);
        // Whether it was the records or the time: the answer is what there is now.
        call.client.timer.before(call.now + max_wait, waiter.fired()).await;
        plan = asked.plan(&call);
    }
    let throttle_time_ms = call.throttle_unless_within(QuotaKey::ConsumerByteRate, plan.bytes);
    if throttle_time_ms > 0 {
        let session_id = context.session_id();
        return FetchResponse { throttle_time_ms, session_id, ..FetchResponse::default() };
    }
    let responses = asked.answer(&call, plan).await;
    sessions.answer(call.now, by_id, context, remembered, responses)
}

/// What a request asks for: topics, and their partitions in one row.
struct Asked {
    topics: Vec<(String, Uuid)>,
    partitions: Vec<AskedPartition>,
    bytes_max: usize,
    isolation: Isolation,
    /// What a partition's error is called that is no longer there.
    unknown: ErrorCode,
}

struct AskedPartition {
    /// Its topic's place in the request.
    topic: usize,
    number: i32,
    found: Result<Arc<Partition>, ErrorCode>,
    offset: Offset,
    bytes_max: usize,
}

/// What would be answered, and what it weighs.
struct Plan {
    reads: Vec<Planned>,
    bytes: usize,
    /// Nothing to wait for: an error is told at once.
    is_urgent: bool,
}

enum Planned {
    Read(Read),
    Nothing(Offsets),
    Refused(ErrorCode),
}

impl Asked {
    fn new(call: &Call, request: FetchRequest, bytes_max: usize, isolation: Isolation) -> Self {
        let unknown = if call.version >= IDS_FROM {
            ErrorCode::UnknownTopicId
        } else {
            ErrorCode::UnknownTopicOrPartition
        };
        let (mut topics, mut partitions) = (Vec::with_capacity(request.topics.len()), Vec::new());
        for (at, asked) in request.topics.into_iter().enumerate() {
            let topic = call.topic(IDS_FROM, &asked.topic, asked.topic_id);
            partitions.extend(asked.partitions.into_iter().map(|p: FetchPartition| {
                let found = topic.as_ref().map_err(|error| *error).and_then(|topic| {
                    let partition = topic.partition(p.partition);
                    check_leader_epoch(p.current_leader_epoch)?;
                    partition.ok_or(ErrorCode::UnknownTopicOrPartition)
                });
                AskedPartition {
                    topic: at,
                    number: p.partition,
                    found,
                    offset: Offset(p.fetch_offset),
                    bytes_max: usize::try_from(p.partition_max_bytes).unwrap_or_default(),
                }
            }));
            topics.push((asked.topic, asked.topic_id));
        }
        Self { topics, partitions, bytes_max, isolation, unknown }
    }

    /// Shares the bytes out, beginning with another partition each time.
    fn plan(&self, call: &Call) -> Plan {
        let count = self.partitions.len();
        let mut plan = Plan { reads: Vec::with_capacity(count), bytes: 0, is_urgent: count == 0 };
        let mut planned: Vec<Option<Planned>> = std::iter::repeat_with(|| None).take(count).collect();
        let first =
            call.client.fetches.fetch_add(1, Ordering::Relaxed).checked_rem(count).unwrap_or_default();
        let in_turn = self.partitions.iter().zip(&mut planned).collect::<Vec<_>>();
        let (later, sooner) = {
            let mut in_turn = in_turn;
            let sooner = in_turn.split_off(first);
            (in_turn, sooner)
        };
        for (partition, slot) in sooner.into_iter().chain(later) {
            let left = self.bytes_max.saturating_sub(plan.bytes);
            let read = self.plan_one(partition, left, plan.bytes == 0);
            match &read {
                Planned::Read(read) => plan.bytes += read.bytes(),
                Planned::Nothing(_) => {}
                Planned::Refused(_) => plan.is_urgent = true,
            }
            *slot = Some(read);
        }
        plan.reads = planned.into_iter().flatten().collect();
        plan
    }

    fn plan_one(&self, asked: &AskedPartition, left: usize, is_first: bool) -> Planned {
        let partition = match &asked.found {
            Ok(partition) => partition,
            Err(error) => return Planned::Refused(*error),
        };
        match partition.read(asked.offset, asked.bytes_max.min(left), self.isolation) {
            Ok(read) if read.bytes() == 0 => Planned::Nothing(read.offsets),
            // Only the first batch of the whole answer may break its limit.
            Ok(read) if !is_first && read.bytes() > left => Planned::Nothing(read.offsets),
            Ok(read) => Planned::Read(read),
            Err(error) => Planned::Refused(self.refuse(&error)),
        }
    }

    fn refuse(&self, error: &FetchError) -> ErrorCode {
        match error {
            FetchError::OutOfRange(_) => ErrorCode::OffsetOutOfRange,
            FetchError::UnknownTopicOrPartition => self.unknown,
            FetchError::Storage(_) | FetchError::Damaged(_) => {
                tracing::error!(%error, "records cannot be read");
                ErrorCode::KafkaStorageError
            }
        }
    }

    /// Waits at every partition for what comes after what is planned.
    fn wait(&self, plan: &Plan, waiter: &Arc<Waiter>) {
        for (asked, planned) in self.partitions.iter().zip(&plan.reads) {
            let end = match planned {
                Planned::Read(read) => read.offsets.end(self.isolation),
                Planned::Nothing(offsets) => offsets.end(self.isolation),
                Planned::Refused(_) => continue,
            };
            if let Ok(partition) = &asked.found {
                partition.wait(end, self.isolation, waiter);
            }
        }
    }

    async fn answer(&self, call: &Call, plan: Plan) -> Vec<FetchableTopicResponse> {
        let response = |(topic, topic_id): &(String, Uuid)| FetchableTopicResponse {
            topic: topic.clone(),
            topic_id: *topic_id,
            partitions: Vec::new(),
        };
        let mut responses: Vec<FetchableTopicResponse> = self.topics.iter().map(response).collect();
        let mut reads = Vec::new();
        let mut without_records = Vec::with_capacity(plan.reads.len());
        for (asked, planned) in self.partitions.iter().zip(plan.reads) {
            without_records.push(match (planned, &asked.found) {
                (Planned::Read(read), Ok(partition)) => {
                    reads.push((&**partition, read));
                    None
                }
                (Planned::Nothing(offsets), _) => Some(Ok(Fetched::nothing(offsets))),
                (Planned::Refused(error), _) | (Planned::Read(_), &Err(error)) => Some(Err(error)),
            });
        }
        let mut loaded = fetch::load(reads).await.into_iter();
        for (asked, without) in self.partitions.iter().zip(without_records) {
            let loaded = without.or_else(|| Some(loaded.next()?.map_err(|error| self.refuse(&error))));
            let data = match loaded.unwrap_or(Err(self.unknown)) {
                Ok(fetched) => self.data(call, asked.number, fetched),
                Err(error) => refused_data(asked.number, error),
            };
            if let Some(response) = responses.get_mut(asked.topic) {
                response.partitions.push(data);
            }
        }
        responses
    }

    fn data(&self, call: &Call, partition_index: i32, fetched: Fetched) -> PartitionData {
        let meters = &call.door().broker.core.meters;
        let records: i64 = fetched.batches.iter().map(record_count).sum();
        meters.kafka_records_fetched.add(u64::try_from(records).unwrap_or_default());
        meters.kafka_bytes_fetched.add(u64::try_from(fetched.bytes()).unwrap_or_default());
        PartitionData {
            partition_index,
            aborted_transactions: (self.isolation == Isolation::ReadCommitted)
                .then(|| fetched.aborted.iter().map(aborted).collect()),
            records: Some(fetched.batches.into_iter().collect()),
            ..with_offsets(fetched.offsets)
        }
    }
}

fn aborted(range: &Aborted) -> AbortedTransaction {
    AbortedTransaction { producer_id: range.producer_id, first_offset: range.first_offset.0 }
}

fn record_count(batch: &Bytes) -> i64 {
    BatchHeader::decode(batch).map_or(0, |header| header.record_count.into())
}

fn with_offsets(offsets: Offsets) -> PartitionData {
    PartitionData {
        high_watermark: offsets.high_watermark.0,
        last_stable_offset: offsets.last_stable_offset.0,
        log_start_offset: offsets.log_start.0,
        ..PartitionData::default()
    }
}

/// Nothing is told of a log that gives nothing, as with Kafka 4.
fn refused_data(partition_index: i32, error: ErrorCode) -> PartitionData {
    let is_unknown = matches!(error, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId);
    PartitionData {
        partition_index,
        error_code: error.code(),
        high_watermark: -1,
        aborted_transactions: is_unknown.then(Vec::new),
        ..PartitionData::default()
    }
}
