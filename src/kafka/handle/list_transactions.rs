//! ListTransactions (API key 66), versions 0–2. Version 1: older than a duration (KIP-994). Version 2: with an id of
//! a pattern (KIP-1152).

use crate::{
    broker::{
        pattern::Pattern,
        txn::{coordinator::Description, transaction::State},
    },
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::list_transactions::{ListTransactionsRequest, ListTransactionsResponse, TransactionState},
    },
};

/// The states that Kafka knows.
const STATES: &[&str] = &[
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

pub async fn handle(call: Call, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let pattern = match request.transactional_id_pattern.as_deref() {
        None | Some("") => None,
        Some(text) => match Pattern::new(&format!("^(?:{text})$")) {
            Ok(pattern) => Some(pattern),
            Err(_) => {
                let error_code = ErrorCode::InvalidRegularExpression.code();
                return ListTransactionsResponse { error_code, ..ListTransactionsResponse::default() };
            }
        },
    };
    let (states, unknown): (Vec<String>, Vec<String>) =
        request.state_filters.into_iter().partition(|state| STATES.contains(&state.as_str()));
    let now_ms = call.now_ms();
    let wanted = |found: &Description| {
        let transaction = &found.transaction;
        let started_ms = match &transaction.state {
            State::Ongoing(ongoing) => ongoing.started_ms,
            State::Empty | State::CompleteCommit | State::CompleteAbort => -1,
        };
        (states.is_empty() || states.iter().any(|state| state == transaction.state.name()))
            && (request.producer_id_filters.is_empty()
                || request.producer_id_filters.contains(&transaction.producer.id))
            && (request.duration_filter < 0 || now_ms - started_ms > request.duration_filter)
            && pattern.as_ref().is_none_or(|pattern| pattern.matches(&found.id))
    };
    let state = |found: Description| TransactionState {
        transactional_id: found.id.to_string(),
        producer_id: found.transaction.producer.id,
        transaction_state: found.transaction.state.name().to_owned(),
    };
    let all = call.door().broker.transactions.list(call.vhost());
    ListTransactionsResponse {
        unknown_state_filters: unknown,
        transaction_states: all.into_iter().filter(wanted).map(state).collect(),
        ..ListTransactionsResponse::default()
    }
}
