//! Produce (API key 0), versions 3–13; 0–2 are refused in the answer.
//!
//! Version 7: zstd. Version 8: error messages. Version 9: flexible. Version 11: TRANSACTION_ABORTABLE. Version 12: a
//! batch adds its partition to its transaction (KIP-890). Version 13: topics by id. Versions 0–2 are
//! advertised for librdkafka (KAFKA-18659), and none of its releases sends them.
//!
//! Every partition's batch goes to the committer before anything is waited for, so requests that overlap append in the
//! order in which they came.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::transactions::error;
use crate::{
    broker::{
        group::offsets::TopicPartition,
        quotas::QuotaKey,
        topic::{
            Offset, Topic,
            append::{Appended, Refused},
            followers::Place,
            partition::Partition,
            validate::{RecordFault, RecordsRefused},
        },
        txn::{coordinator::TransactionalId, producer::ProducerIdentity},
    },
    data::record::{Attributes, BatchHeader, Codec},
    kafka::{
        call::{Call, Reply},
        fault::{ErrorCode, Fault},
        wire::produce::{
            BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse,
            TopicProduceResponse,
        },
    },
};

const ALL: i16 = -1;
const NO_ANSWER: i16 = 0;
const LEADER: i16 = 1;

/// Versions before this are refused.
const SERVED_FROM: i16 = 3;
const IDS_FROM: i16 = 13;
const ZSTD_FROM: i16 = 7;
const ABORTABLE_FROM: i16 = 11;
const IMPLIED_FROM: i16 = 12;

/// Why a partition's batch is refused, and because of which of its records.
struct Failure {
    fault: Fault,
    records: Vec<BatchIndexAndErrorMessage>,
}

impl<F: Into<Fault>> From<F> for Failure {
    fn from(fault: F) -> Self {
        Self { fault: fault.into(), records: Vec::new() }
    }
}

/// A partition's batch on its way to disk.
struct Appending {
    place: Place,
    outcome: oneshot::Receiver<Result<Appended, Refused>>,
    records: u64,
    bytes: u64,
    is_transactional: bool,
}

pub async fn handle(call: Call, request: ProduceRequest) -> Reply<ProduceResponse> {
    let acks = request.acks;
    let refusal = refuse_whole(&call, &request);
    let transactional_id =
        request.transactional_id.map(|id| TransactionalId { vhost: call.vhost().clone(), id: id.into() });
    let mut at_work = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let topic = call.topic(IDS_FROM, &data.name, data.topic_id);
        let mut partitions = Vec::with_capacity(data.partition_data.len());
        for p in data.partition_data {
            let appending = match (&refusal, &topic) {
                (Some(fault), _) => Err(fault.clone().into()),
                (None, Err(error)) => Err((*error).into()),
                (None, Ok(topic)) => match topic.partition(p.index) {
                    None => Err(ErrorCode::UnknownTopicOrPartition.into()),
                    Some(partition) => {
                        append(&call, topic, &partition, p.records, acks, transactional_id.as_ref())
                    }
                },
            };
            partitions.push((p.index, appending));
        }
        at_work.push((data.name, data.topic_id, partitions));
    }
    let mut responses = Vec::with_capacity(at_work.len());
    let mut ends = Vec::new();
    for (name, topic_id, partitions) in at_work {
        let mut partition_responses = Vec::with_capacity(partitions.len());
        for (index, appending) in partitions {
            partition_responses.push(outcome(&call, index, appending, &mut ends).await);
        }
        responses.push(TopicProduceResponse { name, topic_id, partition_responses });
    }
    let throttle_time_ms = call.throttle(QuotaKey::ProducerByteRate, call.bytes);
    let response = ProduceResponse { responses, throttle_time_ms, ..ProduceResponse::default() };
    // What belongs to a transaction is read when that has ended.
    if acks != NO_ANSWER && transactional_id.is_none() {
        call.door().broker.core.read_by_followers(&ends).await;
    }
    if acks == NO_ANSWER { silence(&response) } else { Reply::Answer(response) }
}

/// What is wrong with the request as a whole; each of its partitions is told.
fn refuse_whole(call: &Call, request: &ProduceRequest) -> Option<Fault> {
    if call.version < SERVED_FROM {
        Some(ErrorCode::UnsupportedVersion.into())
    } else if !matches!(request.acks, ALL | NO_ANSWER | LEADER) {
        Some(ErrorCode::InvalidRequiredAcks.into())
    } else if request.transactional_id.as_deref() == Some("") {
        Some(ErrorCode::InvalidRequest.into())
    } else {
        None
    }
}

fn append(
    call: &Call,
    topic: &Topic,
    partition: &Arc<Partition>,
    records: Option<Bytes>,
    acks: i16,
    transactional_id: Option<&TransactionalId>,
) -> Result<Appending, Failure> {
    let none = "a produce request must contain exactly one record batch per partition";
    let records = records.ok_or_else(|| Fault::new(ErrorCode::InvalidRecord, none))?;
    let bytes = records.len().try_into().unwrap_or_default();
    let (mut record_count, mut transaction) = (0, None);
    // What has no header is refused by the log, which says what is wrong with it.
    if let Ok(header) = BatchHeader::decode(&records) {
        if header.attributes.is_transactional() {
            let id = transactional_id.ok_or(ErrorCode::TransactionalIdAuthorizationFailed)?;
            let producer = ProducerIdentity { id: header.producer_id, epoch: header.producer_epoch };
            transaction = Some((id, producer));
        }
        if call.version < ZSTD_FROM && is_zstd(header.attributes) {
            return Err(ErrorCode::UnsupportedCompressionType.into());
        }
        record_count = header.record_count.try_into().unwrap_or_default();
    }
    let is_transactional = transaction.is_some();
    let checked = match partition.check(records, call.now_ms(), acks == ALL) {
        Ok(checked) => checked,
        Err(Refused::Records(refused)) => return Err(of_records(&refused, topic, partition)),
        Err(refused) => return Err(refused.into()),
    };
    if let Some((id, producer)) = transaction.filter(|_| call.version >= IMPLIED_FROM) {
        let at = TopicPartition { topic: topic.id, partition: partition.number };
        let added = call.door().broker.transactions.add_partition_of_batch(call.now_ms(), id, producer, at);
        // The producer's own epoch is over: in Kafka it is the log that says so.
        added.map_err(|e| Fault::from(error(call, i16::MAX, e)))?;
    }
    let (done, outcome) = oneshot::channel();
    // Whoever asked may be gone when it is on disk.
    partition.append(checked, move |appended| drop(done.send(appended)));
    let place = (topic.id, partition.number);
    Ok(Appending { place, outcome, records: record_count, bytes, is_transactional })
}

fn of_records(refused: &RecordsRefused, topic: &Topic, partition: &Partition) -> Failure {
    let error = |(index, fault): &(i32, RecordFault)| BatchIndexAndErrorMessage {
        batch_index: *index,
        batch_index_error_message: Some(fault.message(&topic.name, partition.number)),
    };
    let code =
        if refused.is_of_timestamps() { ErrorCode::InvalidTimestamp } else { ErrorCode::InvalidRecord };
    let message = refused.message(&topic.name, partition.number);
    Failure { fault: Fault::new(code, message), records: refused.errors.iter().map(error).collect() }
}

fn is_zstd(attributes: Attributes) -> bool {
    attributes.codec() == Ok(Codec::Zstd)
}

async fn outcome(
    call: &Call,
    index: i32,
    appending: Result<Appending, Failure>,
    ends: &mut Vec<(Place, Offset)>,
) -> PartitionProduceResponse {
    let appended = match appending {
        Ok(Appending { place, outcome, records, bytes, is_transactional }) => match outcome.await {
            Ok(Ok(appended)) => {
                let count = i64::try_from(records).unwrap_or_default();
                ends.push((place, Offset(appended.base_offset.0 + count)));
                let meters = &call.door().broker.core.meters;
                meters.kafka_records_produced.add(records);
                meters.kafka_bytes_produced.add(bytes);
                Ok(appended)
            }
            Ok(Err(refused)) => Err(refusal_of(call, refused, is_transactional).into()),
            Err(_) => Err(ErrorCode::KafkaStorageError.into()),
        },
        Err(failure) => Err(failure),
    };
    match appended {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.base_offset.0,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start_offset.0,
            ..PartitionProduceResponse::default()
        },
        Err(Failure { fault: Fault { code, message }, records }) => PartitionProduceResponse {
            index,
            record_errors: records,
            error_code: code.code(),
            base_offset: -1,
            error_message: Some(message).filter(|m| !m.is_empty()),
            ..PartitionProduceResponse::default()
        },
    }
}

fn refusal_of(call: &Call, refused: Refused, is_transactional: bool) -> Fault {
    let fault = Fault::from(refused);
    // A batch outside of its producer's transaction is the client's error, and nothing to abort for.
    if fault.code == ErrorCode::InvalidTxnState && is_transactional && call.version >= ABORTABLE_FROM {
        return Fault { code: ErrorCode::TransactionAbortable, ..fault };
    }
    fault
}

/// With acks=0 the only way to tell of an error is to hang up.
fn silence(response: &ProduceResponse) -> Reply<ProduceResponse> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match partitions.map(|p| p.error_code).find(|code| *code != ErrorCode::None.code()) {
        None => Reply::Silence,
        Some(code) => {
            let name = ErrorCode::from_code(code).map_or("an error", ErrorCode::name);
            Reply::Close(format!("a Produce with acks=0 failed: {name}"))
        }
    }
}
