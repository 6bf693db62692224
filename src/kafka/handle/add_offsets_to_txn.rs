//! AddOffsetsToTxn (API key 25), versions 0–4: a group whose offsets the transaction will commit.
//!
//! Version 2: PRODUCER_FENCED.

use super::{
    error_code,
    transactions::{error, identity, transactional_id},
};
use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse},
};

const FENCED_FROM: i16 = 2;

pub async fn handle(call: Call, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let error_code = error_code(add(&call, request).await);
    AddOffsetsToTxnResponse { error_code, ..AddOffsetsToTxnResponse::default() }
}

async fn add(call: &Call, request: AddOffsetsToTxnRequest) -> Result<(), ErrorCode> {
    let key = transactional_id(call, &request.transactional_id)?;
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let producer = identity(request.producer_id, request.producer_epoch);
    let transactions = &call.door().broker.transactions;
    let group = request.group_id.into();
    let added = transactions.add_group(call.now_ms(), &key, producer, &group);
    added.await.map_err(|e| error(call, FENCED_FROM, e))
}
