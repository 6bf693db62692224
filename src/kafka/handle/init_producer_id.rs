//! InitProducerId (API key 22), versions 0–6: an id for an idempotent producer.
//!
//! Version 3: a producer may bring the id it has (KIP-360); without a transactional id it gets a new one all the same,
//! as from Kafka. Until there are transactions a transactional producer is refused with
//! TRANSACTIONAL_ID_AUTHORIZATION_FAILED, the one error that every client takes as final: librdkafka goes on asking
//! after UNSUPPORTED_VERSION.

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse},
};

pub async fn handle(call: Call, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let outcome = match request.transactional_id.as_deref() {
        None => call.door().broker.producer_ids.allocate().await.map_err(|error| {
            tracing::error!(%error, "no producer id");
            ErrorCode::CoordinatorNotAvailable
        }),
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(transactional_id) => {
            tracing::warn!(
                transactional_id,
                "a transactional producer is refused: there are no transactions"
            );
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        }
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
