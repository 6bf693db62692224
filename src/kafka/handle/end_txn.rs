//! EndTxn (API key 26), versions 0–5: commit or abort.
//!
//! Version 2: PRODUCER_FENCED. Version 5: the producer goes on with the epoch it is answered (KIP-890).

use super::transactions::{error, identity, transactional_id};
use crate::{
    broker::txn::producer::ProducerIdentity,
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::end_txn::{EndTxnRequest, EndTxnResponse},
    },
};

const FENCED_FROM: i16 = 2;
const BUMPS_FROM: i16 = 5;

pub async fn handle(call: Call, request: EndTxnRequest) -> EndTxnResponse {
    match end(&call, request).await {
        Ok(producer) => EndTxnResponse {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..EndTxnResponse::default()
        },
        Err(error) => EndTxnResponse { error_code: error.code(), ..EndTxnResponse::default() },
    }
}

async fn end(call: &Call, request: EndTxnRequest) -> Result<ProducerIdentity, ErrorCode> {
    let key = transactional_id(call, &request.transactional_id)?;
    let producer = identity(request.producer_id, request.producer_epoch);
    let bump = call.version >= BUMPS_FROM;
    let transactions = &call.door().broker.transactions;
    let ended = transactions.end(call.now_ms(), &key, producer, request.committed, bump);
    ended.await.map_err(|e| error(call, FENCED_FROM, e))
}
