//! ElectLeaders (API key 43), versions 0–2: on one node every partition has its preferred leader.

use crate::kafka::{
    call::Call,
    fault::{ErrorCode, Fault},
    wire::elect_leaders::{
        ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult, TopicPartitions,
    },
};

/// Preferred, and unclean.
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

pub async fn handle(call: Call, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let election_type = request.election_type;
    let known = ELECTION_TYPES.contains(&election_type);
    let replica_election_results = match request.topic_partitions {
        Some(topics) => topics.into_iter().map(|asked| elect(&call, known, election_type, asked)).collect(),
        // All of them: only what has a new leader is named, and nothing has.
        None => {
            let all = call.topics().list(call.vhost());
            let none =
                |topic: &str| ReplicaElectionResult { topic: topic.to_owned(), partition_result: vec![] };
            all.iter().map(|topic| none(&topic.name)).collect()
        }
    };
    let error = if known { ErrorCode::None } else { ErrorCode::InvalidRequest };
    ElectLeadersResponse {
        error_code: error.code(),
        replica_election_results,
        ..ElectLeadersResponse::default()
    }
}

fn elect(call: &Call, known: bool, election_type: i8, asked: TopicPartitions) -> ReplicaElectionResult {
    let TopicPartitions { topic, partitions } = asked;
    let found = call.topic_named(&topic);
    let answer = |partition_id: i32| {
        let fault = if !known {
            Fault::new(ErrorCode::InvalidRequest, format!("Unknown election type {election_type}"))
        } else {
            match &found {
                Err(error) => Fault::new(*error, format!("No such topic as {topic}")),
                Ok(found) => match found.partition(partition_id) {
                    Some(_) => Fault::from(ErrorCode::ElectionNotNeeded),
                    None => Fault::new(
                        ErrorCode::UnknownTopicOrPartition,
                        format!("No such partition as {topic}-{partition_id}"),
                    ),
                },
            }
        };
        PartitionResult { partition_id, error_code: fault.code.code(), error_message: Some(fault.message) }
    };
    let partition_result = partitions.into_iter().map(answer).collect();
    ReplicaElectionResult { topic: topic.clone(), partition_result }
}
