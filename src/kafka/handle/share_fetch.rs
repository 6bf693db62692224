//! ShareFetch (API key 78), versions 1–2: lends a member records of the partitions in its session, waiting for them if
//! asked to, and takes its acknowledgements of others (KIP-932).
//!
//! Version 2: renewals, which fetch nothing (KIP-1222), and a mode in which `max_records` is a limit (KIP-1206). A request
//! waits for new records, for records that others give back, and for locks whose time is over.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use uuid::Uuid;

use super::sharing::{Borrower, FINAL, FIRST, RawBatch, parts, session_fault};
use crate::{
    broker::{
        group::{
            config::OffsetReset,
            offsets::TopicPartition,
            share::{
                SessionError, SharedPartition,
                partition::{Acquired, ReadBatch, Wanted},
            },
        },
        quotas::QuotaKey,
        topic::{
            Offset,
            fetch::{FetchError, Fetched, Isolation, Read},
            partition::Partition,
            waiters::Waiter,
        },
    },
    data::record::BatchHeader,
    kafka::{
        call::Call,
        fault::{ErrorCode, Fault},
        wire::{
            Records,
            share_fetch::{
                AcquiredRecords, FetchPartition, FetchTopic, PartitionData, ShareFetchRequest,
                ShareFetchResponse, ShareFetchableTopicResponse,
            },
        },
    },
};

/// `fetch.max.bytes` of the broker.
const RESPONSE_BYTES_MAX: usize = 55 * 1024 * 1024;

/// `ShareAcquireMode.RECORD_LIMIT` of Kafka.
const RECORD_LIMIT: i8 = 1;

pub async fn handle(call: Call, request: ShareFetchRequest) -> ShareFetchResponse {
    match fetch(&call, request).await {
        Ok(response) => response,
        Err(Fault { code, message }) => ShareFetchResponse {
            error_code: code.code(),
            error_message: Some(message),
            ..ShareFetchResponse::default()
        },
    }
}

async fn fetch(call: &Call, request: ShareFetchRequest) -> Result<ShareFetchResponse, Fault> {
    let wish = Wish::new(&request)?;
    let borrower = Borrower::new(call, request.group_id, request.member_id)?;
    let (group, member) = (&borrower.group, &borrower.member);
    let (mut named, mut acknowledged) = (Vec::new(), Vec::new());
    for topic in request.topics {
        for (at, batches) in partitions(topic) {
            named.push(at);
            if !batches.is_empty() {
                acknowledged.push((at, batches));
            }
        }
    }
    let forgotten = request.forgotten_topics_data.into_iter().flat_map(|topic| {
        let at = move |partition| TopicPartition { topic: topic.topic_id, partition };
        topic.partitions.into_iter().map(at)
    });
    let shares = &call.groups().shares;
    let reads = match request.share_session_epoch {
        FINAL if shares.has_session(group, member) => Vec::new(),
        FINAL => return Err(session_fault(SessionError::NotFound)),
        FIRST if !acknowledged.is_empty() => return Err(ErrorCode::InvalidRequest.into()),
        FIRST => {
            let reads = shares.open_session(group, member, named).map_err(session_fault)?;
            call.client.share_sessions.began(group, member);
            reads
        }
        epoch => {
            let forgotten: Vec<TopicPartition> = forgotten.collect();
            shares.next_in_session(group, member, epoch, &named, &forgotten).map_err(session_fault)?
        }
    };
    let outcomes = borrower.acknowledge(call, acknowledged, request.is_renew_ack).await;
    let mut answers = Answers::default();
    if !request.is_renew_ack && !reads.is_empty() {
        lend(call, &borrower, &wish, reads, &mut answers).await;
    }
    if request.share_session_epoch == FINAL {
        shares.close_session(group, member);
        call.client.share_sessions.ended(group, member);
    }
    for (at, outcome) in outcomes {
        let data = answers.of(at);
        (data.acknowledge_error_code, data.acknowledge_error_message) = parts(outcome);
    }
    let responses = answers.into_topics();
    // What has been lent must come: it is sent, and the client not heard for a while.
    let throttle_time_ms = call.throttle(QuotaKey::ConsumerByteRate, records_bytes(&responses));
    Ok(ShareFetchResponse {
        throttle_time_ms,
        acquisition_lock_timeout_ms: borrower.lock_ms(),
        responses,
        ..ShareFetchResponse::default()
    })
}

fn records_bytes(responses: &[ShareFetchableTopicResponse]) -> usize {
    let partitions = responses.iter().flat_map(|response| &response.partitions);
    partitions.filter_map(|data| data.records.as_ref()).map(Records::len).sum()
}

fn partitions(topic: FetchTopic) -> Vec<(TopicPartition, Vec<RawBatch>)> {
    let id = topic.topic_id;
    let partition = |p: FetchPartition| {
        let batches = p.acknowledgement_batches.into_iter();
        let batches = batches.map(|b| (b.first_offset, b.last_offset, b.acknowledge_types)).collect();
        (TopicPartition { topic: id, partition: p.partition_index }, batches)
    };
    topic.partitions.into_iter().map(partition).collect()
}

/// How much the member wants, and how long it waits.
struct Wish {
    max_wait: Duration,
    bytes_min: usize,
    bytes_max: usize,
    wanted: Wanted,
}

impl Wish {
    fn new(request: &ShareFetchRequest) -> Result<Self, Fault> {
        if request.is_renew_ack {
            let fields = [
                ("maxBytes", request.max_bytes),
                ("minBytes", request.min_bytes),
                ("maxRecords", request.max_records),
                ("maxWaitMs", request.max_wait_ms),
            ];
            let wrong = fields.iter().filter(|(_, value)| *value != 0);
            let text: String = wrong.map(|(name, _)| format!("{name} must be set to 0, ")).collect();
            if !text.is_empty() {
                return Err(Fault::new(ErrorCode::InvalidRequest, text + "if isRenewAck is true."));
            }
        }
        let bytes = |n: i32| usize::try_from(n).unwrap_or_default();
        let bytes_max = bytes(request.max_bytes).min(RESPONSE_BYTES_MAX);
        Ok(Self {
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default()),
            bytes_min: bytes(request.min_bytes).min(bytes_max),
            bytes_max,
            wanted: Wanted {
                records_max: request.max_records.into(),
                batch_records: request.batch_size.max(1).into(),
                strict: request.share_acquire_mode == RECORD_LIMIT,
            },
        })
    }
}

/// Answers by partition.
#[derive(Default)]
struct Answers(BTreeMap<TopicPartition, PartitionData>);

impl Answers {
    fn of(&mut self, at: TopicPartition) -> &mut PartitionData {
        self.0.entry(at).or_insert_with(|| PartitionData {
            partition_index: at.partition,
            records: Some(Records::default()),
            ..PartitionData::default()
        })
    }

    fn into_topics(self) -> Vec<ShareFetchableTopicResponse> {
        let mut topics = BTreeMap::<Uuid, Vec<PartitionData>>::new();
        for (at, data) in self.0 {
            topics.entry(at.topic).or_default().push(data);
        }
        let response = |(topic_id, partitions)| ShareFetchableTopicResponse { topic_id, partitions };
        topics.into_iter().map(response).collect()
    }
}

/// A share partition on its way to the member.
struct Source {
    at: TopicPartition,
    partition: Arc<Partition>,
    shared: Arc<SharedPartition>,
}

/// What would be read of a source.
struct Planned<'a> {
    source: &'a Source,
    from: i64,
    read: Read,
}

async fn lend(
    call: &Call,
    borrower: &Borrower,
    wish: &Wish,
    reads: Vec<TopicPartition>,
    answers: &mut Answers,
) {
    let defaults = &call.groups().settings().defaults;
    let committed_only = call.groups().config(&borrower.group).shares_committed_only(defaults);
    let isolation = if committed_only { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let mut sources = Vec::with_capacity(reads.len());
    for at in reads {
        match source(call, borrower, at).await {
            Ok(source) => sources.push(source),
            Err(error) => answers.of(at).error_code = error.code(),
        }
    }
    let until = call.now + wish.max_wait;
    loop {
        let now = call.door().broker.core.clock.now();
        let is_over = now >= until || !answers.0.is_empty();
        let (waiter, mut wake_at) = (Waiter::new(wish.bytes_min.max(1)), until);
        let (mut planned, mut bytes, mut redelivers) = (Vec::new(), 0, false);
        for source in &sources {
            let log_start = source.partition.offsets().log_start.0;
            let state = source.shared.look(now, log_start, &borrower.terms);
            wake_at = state.next_expiry().map_or(wake_at, |expiry| wake_at.min(expiry));
            let from = state.next_offset();
            if !state.has_available() && !state.has_room(&borrower.terms) {
                continue;
            }
            let left = wish.bytes_max.saturating_sub(bytes);
            if left == 0 && bytes > 0 {
                break;
            }
            match source.partition.read(Offset(from), left, isolation) {
                Ok(read) => {
                    bytes += read.bytes();
                    redelivers |= state.has_available();
                    planned.push(Planned { source, from, read });
                }
                // The log was trimmed meanwhile, and the next look sees that.
                Err(FetchError::OutOfRange(_)) => {}
                Err(error) => answers.of(source.at).error_code = ErrorCode::from(&error).code(),
            }
        }
        let is_enough = bytes > 0 && (bytes >= wish.bytes_min || redelivers);
        if is_enough || is_over {
            let lent = take(call, borrower, wish, planned, answers).await;
            if lent || is_over || !answers.0.is_empty() {
                return;
            }
            // Others were quicker, or nothing that may be seen was there: what is behind it comes next.
            if is_enough {
                continue;
            }
        } else {
            planned.iter().for_each(|p| p.source.partition.wait(Offset(p.from), isolation, &waiter));
        }
        sources.iter().for_each(|source| source.shared.wait(&waiter));
        call.client.timer.before(at_least_later(now, wake_at), waiter.fired()).await;
    }
}

/// A lock that ends at this very moment has ended with the next look.
fn at_least_later(now: Instant, wake_at: Instant) -> Instant {
    wake_at.max(now + Duration::from_millis(1))
}

/// The share partition; a group that has not read it begins where its configuration says.
async fn source(call: &Call, borrower: &Borrower, at: TopicPartition) -> Result<Source, ErrorCode> {
    let (partition, shared) = borrower.find(call, at)?;
    if let Some(shared) = shared {
        return Ok(Source { at, partition, shared });
    }
    let defaults = &call.groups().settings().defaults;
    let offsets = partition.offsets();
    let start = match call.groups().config(&borrower.group).share_offset_reset(defaults) {
        OffsetReset::Earliest => offsets.log_start,
        OffsetReset::Latest => offsets.high_watermark,
        OffsetReset::ByDuration(ms) => {
            let since = call.now_ms().saturating_sub(ms);
            let found = partition.offset_for_time(since, Isolation::ReadUncommitted).await;
            found
                .map_err(|error| ErrorCode::from(&error))?
                .map_or(offsets.high_watermark, |found| found.offset)
        }
    };
    let shared = call.groups().shares.begin(&borrower.group, at, start.0);
    Ok(Source { at, partition, shared })
}

/// Reads what was planned and lends it. Whether there was anything.
async fn take(
    call: &Call,
    borrower: &Borrower,
    wish: &Wish,
    planned: Vec<Planned<'_>>,
    answers: &mut Answers,
) -> bool {
    let mut left = wish.wanted.records_max;
    let mut any = false;
    for Planned { source, from, read } in planned {
        if left <= 0 {
            break;
        }
        let fetched = match source.partition.load(read).await {
            Ok(fetched) => fetched,
            Err(error) => {
                answers.of(source.at).error_code = ErrorCode::from(&error).code();
                continue;
            }
        };
        let batches: Vec<ReadBatch> =
            fetched.batches.iter().filter_map(|b| read_batch(b, &fetched)).collect();
        let wanted = Wanted { records_max: left, ..wish.wanted };
        let now = call.door().broker.core.clock.now();
        let acquired = source.shared.acquire(now, &borrower.member, from, &batches, wanted, &borrower.terms);
        if acquired.is_empty() {
            continue;
        }
        any = true;
        left -= acquired.iter().map(|a| a.last - a.first + 1).sum::<i64>();
        let data = answers.of(source.at);
        data.records = Some(with_any(fetched.batches, &acquired));
        data.acquired_records = acquired.iter().map(acquired_records).collect();
    }
    any
}

fn acquired_records(acquired: &Acquired) -> AcquiredRecords {
    let Acquired { first, last, delivery_count } = *acquired;
    AcquiredRecords { first_offset: first, last_offset: last, delivery_count }
}

/// The batches in which something was lent.
fn with_any(batches: Vec<Bytes>, acquired: &[Acquired]) -> Records {
    let has_any = |batch: &Bytes| {
        let header = BatchHeader::decode(batch);
        header.is_ok_and(|h| acquired.iter().any(|a| a.first <= h.last_offset() && h.base_offset <= a.last))
    };
    batches.into_iter().filter(has_any).collect()
}

/// Control batches have no records for anybody, and those of aborted transactions none for whoever reads committed.
fn read_batch(batch: &Bytes, fetched: &Fetched) -> Option<ReadBatch> {
    let header = BatchHeader::decode(batch).ok()?;
    let aborted = fetched.aborted.iter().any(|range| {
        range.producer_id == header.producer_id
            && (range.first_offset.0..range.last_offset.0).contains(&header.base_offset)
    });
    let hidden = header.attributes.is_control() || (header.attributes.is_transactional() && aborted);
    Some(ReadBatch { base: header.base_offset, last: header.last_offset(), hidden })
}
