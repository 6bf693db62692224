//! EndTxn (API key 26), versions 0–5: commit or abort.
//!
//! Version 2: PRODUCER_FENCED. Version 5: the producer goes on with the epoch it is answered (KIP-890).

use super::transactions::{error, identity, transactional_id};
use crate::{
    broker::{topic::followers::Place, txn::producer::ProducerIdentity},
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
    let producer = ended.await.map_err(|e| error(call, FENCED_FROM, e))?;
    if request.committed {
        read_by_jobs(call).await;
    }
    Ok(producer)
}

/// Jobs with `sync=true` have read what can be read now, the transaction's records among it.
async fn read_by_jobs(call: &Call) {
    let core = &call.door().broker.core;
    if !core.followers.any() {
        return;
    }
    let end = |place: Place| {
        let partition = core.topics.by_id(place.0)?.partition(place.1)?;
        Some((place, partition.offsets().last_stable_offset))
    };
    let ends: Vec<_> = core.followers.places().into_iter().filter_map(end).collect();
    core.read_by_followers(&ends).await;
}
