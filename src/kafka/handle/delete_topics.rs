//! DeleteTopics (API key 20), versions 1–6. Version 5: error messages. Version 6: topics by name or by id (KIP-516).
//!
//! With a topic go its bindings to exchanges, and what groups have committed in it.

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use crate::{
    broker::{Pending, topic::Topic},
    kafka::{
        call::Call,
        fault::{ErrorCode, Fault},
        wire::delete_topics::{
            DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
        },
    },
};

pub async fn handle(call: Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let asked: Vec<DeleteTopicState> = if call.version >= 6 {
        request.topics
    } else {
        let named = |name| DeleteTopicState { name: Some(name), ..DeleteTopicState::default() };
        request.topic_names.into_iter().map(named).collect()
    };
    let mut named: HashMap<(Option<String>, Uuid), usize> = HashMap::new();
    for topic in &asked {
        *named.entry((topic.name.clone(), topic.topic_id)).or_default() += 1;
    }
    let (mut responses, mut pending) = (Vec::with_capacity(asked.len()), None);
    for topic in asked {
        // What stands there twice is answered once.
        let found = match named.remove(&(topic.name.clone(), topic.topic_id)) {
            None => continue,
            Some(1) => find(&call, &topic),
            Some(_) => {
                let what = if topic.name.is_some() { "name" } else { "id" };
                Err(Fault::new(ErrorCode::InvalidRequest, format!("Duplicate topic {what}.")))
            }
        };
        let name = found.as_ref().map(|t| t.name.to_string()).ok().or(topic.name);
        let topic_id = found.as_ref().map_or(topic.topic_id, |t| t.id);
        let outcome = found.and_then(|topic| delete(&call, &topic, &mut pending));
        let result = DeletableTopicResult { name, topic_id, ..DeletableTopicResult::default() };
        responses.push(with_outcome(result, outcome));
    }
    if let Err(error) = call.durable(pending).await {
        for response in &mut responses {
            response.error_code = error.code();
        }
    }
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

fn find(call: &Call, asked: &DeleteTopicState) -> Result<Arc<Topic>, Fault> {
    match &asked.name {
        Some(_) if !asked.topic_id.is_nil() => {
            Err(Fault::new(ErrorCode::InvalidRequest, "You may not specify both topic name and topic id."))
        }
        Some(name) => call.topic_named(name).map_err(Fault::from),
        None if asked.topic_id.is_nil() => {
            Err(Fault::new(ErrorCode::InvalidRequest, "Neither topic name nor id were specified."))
        }
        None => call.topic_of_id(asked.topic_id).map_err(Fault::from),
    }
}

fn delete(call: &Call, topic: &Arc<Topic>, pending: &mut Pending) -> Result<(), Fault> {
    let vhost = call.door().broker.vhost(&call.vhost().0);
    let vhost = vhost.map_err(|_| Fault::from(ErrorCode::UnknownTopicOrPartition))?;
    *pending = vhost.delete_stream(topic).or(*pending);
    call.groups().topic_deleted(topic.id);
    tracing::info!(topic = %topic.name, "deleted");
    Ok(())
}

fn with_outcome(result: DeletableTopicResult, outcome: Result<(), Fault>) -> DeletableTopicResult {
    match outcome {
        Ok(()) => result,
        Err(fault) => DeletableTopicResult {
            error_code: fault.code.code(),
            error_message: Some(fault.message),
            ..result
        },
    }
}
