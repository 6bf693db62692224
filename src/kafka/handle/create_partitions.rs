//! CreatePartitions (API key 37), versions 0–3: more partitions for topics that there are.

use std::collections::HashMap;

use super::replicas;
use crate::{
    broker::{
        Pending,
        topic::table::{GrowRefused, check_growth},
    },
    kafka::{
        call::Call,
        fault::{ErrorCode, Fault},
        wire::create_partitions::{
            CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
            CreatePartitionsTopicResult,
        },
    },
};

pub async fn handle(call: Call, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut named: HashMap<String, usize> = HashMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.clone()).or_default() += 1;
    }
    let (mut results, mut pending) = (Vec::with_capacity(named.len()), None);
    for asked in request.topics {
        // A name that stands there twice is answered once.
        let outcome = match named.remove(&asked.name) {
            None => continue,
            Some(1) => grow(&call, &asked, request.validate_only, &mut pending),
            Some(_) => Err((ErrorCode::InvalidRequest, Some("Duplicate topic name.".to_owned()))),
        };
        results.push((asked.name, outcome));
    }
    let durable = call.durable(pending).await;
    let answer = |(name, outcome): (String, Result<(), (ErrorCode, Option<String>)>)| {
        let outcome = outcome.and_then(|()| durable.map_err(|error| (error, None)));
        let (code, error_message) = outcome.err().unwrap_or((ErrorCode::None, None));
        CreatePartitionsTopicResult { name, error_code: code.code(), error_message }
    };
    let results = results.into_iter().map(answer).collect();
    CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }
}

fn grow(
    call: &Call,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
    pending: &mut Pending,
) -> Result<(), (ErrorCode, Option<String>)> {
    let topic = call.topic_named(&asked.name).map_err(|error| (error, None))?;
    let refused = |fault: Fault| (fault.code, Some(fault.message));
    let now = topic.partitions().len();
    check_growth(&topic, now, asked.count.into()).map_err(|r| refused(r.into()))?;
    let count = u32::try_from(asked.count).map_err(|_| (ErrorCode::InvalidPartitions, None))?;
    if let Some(assignments) = &asked.assignments {
        let additional = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(now);
        if assignments.len() != additional {
            let text = format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err((ErrorCode::InvalidReplicaAssignment, Some(text)));
        }
        for assignment in assignments {
            replicas::check(&assignment.broker_ids).map_err(refused)?;
        }
    }
    if !validate_only {
        *pending = Some(call.topics().add_partitions(&topic, count).map_err(|r| refused(r.into()))?);
    }
    Ok(())
}

impl From<GrowRefused> for Fault {
    fn from(refused: GrowRefused) -> Self {
        let code = match refused {
            GrowRefused::Gone => ErrorCode::UnknownTopicOrPartition,
            GrowRefused::Already(_)
            | GrowRefused::Fewer { .. }
            | GrowRefused::TooMany
            | GrowRefused::Stream(_) => ErrorCode::InvalidPartitions,
        };
        Self::new(code, refused.to_string())
    }
}
