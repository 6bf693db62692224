//! DescribeTransactions (API key 65), version 0.

use super::transactions::{by_name, transactional_id};
use crate::{
    broker::txn::transaction::State,
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::describe_transactions::{
            DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
        },
    },
};

pub async fn handle(call: Call, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let state = |id: String| {
        let refused = |error: ErrorCode| TransactionState {
            error_code: error.code(),
            transactional_id: id.clone(),
            ..TransactionState::default()
        };
        describe(&call, &id).unwrap_or_else(refused)
    };
    DescribeTransactionsResponse {
        transaction_states: request.transactional_ids.into_iter().map(state).collect(),
        ..DescribeTransactionsResponse::default()
    }
}

fn describe(call: &Call, id: &str) -> Result<TransactionState, ErrorCode> {
    let key = transactional_id(call, id)?;
    let found = call.door().broker.transactions.describe(&key).ok_or(ErrorCode::TransactionalIdNotFound)?;
    let transaction = found.transaction;
    let (started_ms, topics) = match &transaction.state {
        State::Ongoing(ongoing) => (ongoing.started_ms, by_name(call, &ongoing.partitions)),
        State::Empty | State::CompleteCommit | State::CompleteAbort => (-1, Vec::new()),
    };
    Ok(TransactionState {
        error_code: ErrorCode::None.code(),
        transactional_id: id.to_owned(),
        transaction_state: transaction.state.name().to_owned(),
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_start_time_ms: started_ms,
        producer_id: transaction.producer.id,
        producer_epoch: transaction.producer.epoch,
        topics: topics.into_iter().map(|(topic, partitions)| TopicData { topic, partitions }).collect(),
    })
}
