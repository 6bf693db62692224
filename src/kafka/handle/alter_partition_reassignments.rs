//! AlterPartitionReassignments (API key 45), versions 0–1: to the one node there is, where everything already lies.

use super::replicas;
use crate::kafka::{
    call::Call,
    fault::{ErrorCode, Fault},
    wire::alter_partition_reassignments::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
        ReassignablePartitionResponse, ReassignableTopic, ReassignableTopicResponse,
    },
};

pub async fn handle(
    call: Call,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let topic = |asked: ReassignableTopic| {
        let partition = |p: ReassignablePartition| {
            let outcome = reassign(&call, &asked.name, &p);
            let (code, error_message) = outcome.err().unwrap_or((ErrorCode::None, None));
            ReassignablePartitionResponse {
                partition_index: p.partition_index,
                error_code: code.code(),
                error_message,
            }
        };
        let partitions = asked.partitions.into_iter().map(partition).collect();
        ReassignableTopicResponse { name: asked.name.clone(), partitions }
    };
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        responses: request.topics.into_iter().map(topic).collect(),
        ..AlterPartitionReassignmentsResponse::default()
    }
}

fn reassign(
    call: &Call,
    name: &str,
    asked: &ReassignablePartition,
) -> Result<(), (ErrorCode, Option<String>)> {
    let topic = call
        .topic_named(name)
        .map_err(|error| (error, Some(format!("Unable to find a topic named {name}."))))?;
    let number = asked.partition_index;
    if topic.partition(number).is_none() {
        let text = format!("Unable to find partition {name}:{number}.");
        return Err((ErrorCode::UnknownTopicOrPartition, Some(text)));
    }
    match &asked.replicas {
        // Nothing is under way that could be cancelled.
        None => Err((ErrorCode::NoReassignmentInProgress, None)),
        Some(replicas) => replicas::check(replicas).map_err(|Fault { code, message }| (code, Some(message))),
    }
}
