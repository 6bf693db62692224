//! InitProducerId (API key 22), versions 0–5: an id for an idempotent producer; for a transactional one its epoch,
//! which fences all before it.
//!
//! Version 3: a producer may bring the id it has (KIP-360); without a transactional id it gets a new one all the same,
//! as from Kafka. Version 4: PRODUCER_FENCED. Version 6, for two-phase commit (KIP-939), is none that Kafka 4.3 advertises.

use super::transactions::{TIMEOUT_MS_MAX, error, identity, transactional_id};
use crate::{
    broker::txn::producer::ProducerIdentity,
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
    },
};

const FENCED_FROM: i16 = 4;
const NONE: i64 = -1;
const NO_EPOCH: i16 = -1;

pub async fn handle(call: Call, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let outcome = match request.transactional_id.as_deref() {
        None => call.door().broker.producer_ids.allocate().await.map_err(|error| {
            tracing::error!(%error, "no producer id");
            ErrorCode::CoordinatorNotAvailable
        }),
        Some(id) => init(&call, id, &request).await,
    };
    match outcome {
        Ok(producer) => InitProducerIdResponse {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..InitProducerIdResponse::default()
        },
        Err(error) => InitProducerIdResponse {
            error_code: error.code(),
            producer_epoch: -1,
            ..InitProducerIdResponse::default()
        },
    }
}

async fn init(call: &Call, id: &str, request: &InitProducerIdRequest) -> Result<ProducerIdentity, ErrorCode> {
    let key = transactional_id(call, id)?;
    let timeout_ms = request.transaction_timeout_ms;
    if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
        return Err(ErrorCode::InvalidTransactionTimeout);
    }
    let expected = match (request.producer_id, request.producer_epoch) {
        (NONE, NO_EPOCH) => None,
        (NONE, _) | (_, NO_EPOCH) => return Err(ErrorCode::InvalidRequest),
        (id, epoch) => Some(identity(id, epoch)),
    };
    let transactions = &call.door().broker.transactions;
    let initialised = transactions.init(call.now_ms(), &key, timeout_ms, expected);
    initialised.await.map_err(|e| error(call, FENCED_FROM, e))
}
