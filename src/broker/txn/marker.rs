//! End markers that no coordinator has decided on: an operator's, for a transaction that hangs in one partition.
//!
//! The partition's readers see the transaction ended; the coordinator's own end, should it come, is another marker that
//! ends nothing.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{coordinator::COORDINATOR_EPOCH, producer::ProducerIdentity};
use crate::{
    broker::{
        Core,
        topic::{
            append::{Refused, append_markers},
            partition::Partition,
        },
    },
    data::record::{BatchBuilder, ControlType, Producer},
};

/// Writes one; what comes of it is told once it is durable.
///
/// # Errors
/// [`Refused::InvalidProducerEpoch`] when the producer is in a later epoch.
pub fn write(
    core: &Core,
    now_ms: i64,
    partition: &Arc<Partition>,
    producer: ProducerIdentity,
    committed: bool,
) -> Result<oneshot::Receiver<Result<(), Refused>>, Refused> {
    let known = partition.active_producers().into_iter().find(|active| active.id == producer.id);
    if known.is_some_and(|known| known.epoch > producer.epoch) {
        return Err(Refused::InvalidProducerEpoch);
    }
    let kind = if committed { ControlType::Commit } else { ControlType::Abort };
    let ended = Producer { id: producer.id, epoch: producer.epoch, base_sequence: -1 };
    let batch = BatchBuilder::control(kind, ended, COORDINATOR_EPOCH, now_ms);
    let marker = partition.check_built(vec![batch], now_ms);
    let (sender, receiver) = oneshot::channel();
    let nothing = (0, Box::new(|_: &mut crate::store::Turn| {}) as _);
    append_markers(&core.store, vec![(partition.clone(), marker)], committed, nothing, move |outcome| {
        drop(sender.send(outcome.map(drop)));
    });
    Ok(receiver)
}
