//! WriteTxnMarkers (API key 27), versions 1–2: ends a producer's transaction in single partitions, whatever the
//! coordinator knows of it. Brokers of a cluster send it to each other; here only `kafka-transactions abort` does.

use crate::{
    broker::{topic::append::Refused, txn::marker},
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::write_txn_markers::{
            WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
            WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
        },
    },
};
use tokio::sync::oneshot::Receiver;

/// The one coordinator never moves.
const COORDINATOR_EPOCH: i32 = 0;

type Writing = Result<Receiver<Result<(), Refused>>, ErrorCode>;

pub async fn handle(call: Call, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut at_work = Vec::with_capacity(request.markers.len());
    for asked in request.markers {
        let mut topics = Vec::with_capacity(asked.topics.len());
        for topic in &asked.topics {
            let write = |number: &i32| (*number, write(&call, &asked, &topic.name, *number));
            let partitions: Vec<(i32, Writing)> = topic.partition_indexes.iter().map(write).collect();
            topics.push((topic.name.clone(), partitions));
        }
        at_work.push((asked.producer_id, topics));
    }
    let mut markers = Vec::with_capacity(at_work.len());
    for (producer_id, topics) in at_work {
        let mut results = Vec::with_capacity(topics.len());
        for (name, writing) in topics {
            let mut partitions = Vec::with_capacity(writing.len());
            for (partition_index, writing) in writing {
                let error = outcome(writing).await;
                partitions
                    .push(WritableTxnMarkerPartitionResult { partition_index, error_code: error.code() });
            }
            results.push(WritableTxnMarkerTopicResult { name, partitions });
        }
        markers.push(WritableTxnMarkerResult { producer_id, topics: results });
    }
    WriteTxnMarkersResponse { markers }
}

fn write(call: &Call, asked: &WritableTxnMarker, topic: &str, number: i32) -> Writing {
    let partition = call.topic_named(topic)?.partition(number).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if asked.coordinator_epoch < COORDINATOR_EPOCH {
        return Err(ErrorCode::TransactionCoordinatorFenced);
    }
    let producer = super::transactions::identity(asked.producer_id, asked.producer_epoch);
    marker::write(&call.door().broker.core, call.now_ms(), &partition, producer, asked.transaction_result)
        .map_err(|refused| ErrorCode::from(&refused))
}

async fn outcome(writing: Writing) -> ErrorCode {
    match writing {
        Err(error) => error,
        Ok(writing) => match writing.await {
            Ok(Ok(())) => ErrorCode::None,
            Ok(Err(refused)) => ErrorCode::from(&refused),
            Err(_) => ErrorCode::KafkaStorageError,
        },
    }
}
