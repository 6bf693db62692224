//! DeleteRecords (API key 21), versions 0–2: moves the start of a log (-1: to its end).

use tokio::sync::oneshot;

use crate::{
    broker::topic::{Offset, trim::TrimRefused},
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::delete_records::{
            DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
            DeleteRecordsTopicResult,
        },
    },
};

const TO_THE_END: i64 = -1;

type Trimming = oneshot::Receiver<Result<Offset, TrimRefused>>;

pub async fn handle(call: Call, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut at_work = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let topic = call.topic_named(&asked.name);
        let start = |partition_index, offset| match &topic {
            Err(error) => Err(*error),
            Ok(topic) => match topic.partition(partition_index) {
                None => Err(ErrorCode::UnknownTopicOrPartition),
                Some(partition) => {
                    let (done, trimming) = oneshot::channel();
                    let to = (offset != TO_THE_END).then_some(Offset(offset));
                    partition.delete_records(to, move |outcome| drop(done.send(outcome)));
                    Ok(trimming)
                }
            },
        };
        let partitions: Vec<(i32, Result<Trimming, ErrorCode>)> = asked
            .partitions
            .into_iter()
            .map(|p| (p.partition_index, start(p.partition_index, p.offset)))
            .collect();
        at_work.push((asked.name, partitions));
    }
    let mut topics = Vec::with_capacity(at_work.len());
    for (name, trimming) in at_work {
        let mut partitions = Vec::with_capacity(trimming.len());
        for (partition_index, trimming) in trimming {
            partitions.push(outcome(partition_index, trimming).await);
        }
        topics.push(DeleteRecordsTopicResult { name, partitions });
    }
    DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() }
}

async fn outcome(
    partition_index: i32,
    trimming: Result<Trimming, ErrorCode>,
) -> DeleteRecordsPartitionResult {
    let outcome = match trimming {
        Ok(trimming) => match trimming.await {
            Ok(outcome) => outcome.map_err(|refused| ErrorCode::from(&refused)),
            Err(_) => Err(ErrorCode::KafkaStorageError),
        },
        Err(error) => Err(error),
    };
    match outcome {
        Ok(low_watermark) => DeleteRecordsPartitionResult {
            partition_index,
            low_watermark: low_watermark.0,
            error_code: ErrorCode::None.code(),
        },
        Err(error) => {
            DeleteRecordsPartitionResult { partition_index, low_watermark: -1, error_code: error.code() }
        }
    }
}
