//! AddPartitionsToTxn (API key 24), versions 0–5.
//!
//! Version 2: PRODUCER_FENCED. Version 4: several transactions, and looking only; Kafka's clients stay below it.
//! Version 5: TRANSACTION_ABORTABLE for a partition that is looked for and not there.

use super::transactions::{error, find, identity, transactional_id};
use crate::{
    broker::group::offsets::TopicPartition,
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::add_partitions_to_txn::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
            AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
        },
    },
};

const MANY_FROM: i16 = 4;
const FENCED_FROM: i16 = 2;
const ABORTABLE_FROM: i16 = 5;

pub async fn handle(call: Call, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    if call.version < MANY_FROM {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        let results_by_topic_v3_and_below = add(&call, &transaction).await;
        return AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below,
            ..AddPartitionsToTxnResponse::default()
        };
    }
    let mut results_by_transaction = Vec::with_capacity(request.transactions.len());
    for transaction in request.transactions {
        let topic_results = add(&call, &transaction).await;
        let transactional_id = transaction.transactional_id;
        results_by_transaction.push(AddPartitionsToTxnResult { transactional_id, topic_results });
    }
    AddPartitionsToTxnResponse { results_by_transaction, ..AddPartitionsToTxnResponse::default() }
}

async fn add(call: &Call, asked: &AddPartitionsToTxnTransaction) -> Vec<AddPartitionsToTxnTopicResult> {
    let found: Vec<Vec<Result<TopicPartition, ErrorCode>>> = asked
        .topics
        .iter()
        .map(|topic| topic.partitions.iter().map(|p| find(call, &topic.name, *p)).collect())
        .collect();
    let all: Result<Vec<TopicPartition>, ErrorCode> = found.iter().flatten().copied().collect();
    let outcome = match all {
        Ok(partitions) => one(call, asked, &partitions).await,
        // None of them is added when one is not there.
        Err(_) => Ok(Box::new(|found: Result<TopicPartition, ErrorCode>| match found {
            Ok(_) => ErrorCode::OperationNotAttempted,
            Err(error) => error,
        }) as Tell),
    };
    let tell = outcome.unwrap_or_else(|error| Box::new(move |_| error));
    let result = |(partition, found): (&i32, &Result<TopicPartition, ErrorCode>)| {
        let partition_error_code = tell(*found).code();
        AddPartitionsToTxnPartitionResult { partition_index: *partition, partition_error_code }
    };
    let topics = asked.topics.iter().zip(&found);
    topics
        .map(|(topic, found)| AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: topic.partitions.iter().zip(found).map(result).collect(),
        })
        .collect()
}

/// What each partition is told.
type Tell = Box<dyn Fn(Result<TopicPartition, ErrorCode>) -> ErrorCode + Send>;

async fn one(
    call: &Call,
    asked: &AddPartitionsToTxnTransaction,
    partitions: &[TopicPartition],
) -> Result<Tell, ErrorCode> {
    let key = transactional_id(call, &asked.transactional_id)?;
    let producer = identity(asked.producer_id, asked.producer_epoch);
    let transactions = &call.door().broker.transactions;
    let refused = |e| error(call, FENCED_FROM, e);
    if !asked.verify_only {
        transactions.add_partitions(call.now_ms(), &key, producer, partitions).await.map_err(refused)?;
        return Ok(Box::new(|_| ErrorCode::None));
    }
    let open = transactions.verify(&key, producer).map_err(refused)?;
    let is_newer = call.version >= ABORTABLE_FROM;
    let missing = if is_newer { ErrorCode::TransactionAbortable } else { ErrorCode::InvalidTxnState };
    Ok(Box::new(move |found| match found {
        Ok(at) if open.contains(&at) => ErrorCode::None,
        Ok(_) => missing,
        Err(error) => error,
    }))
}
