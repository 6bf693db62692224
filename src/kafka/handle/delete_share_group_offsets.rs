//! DeleteShareGroupOffsets (API key 92), version 0: forgets how far a share group without members is in topics
//! (KIP-932).

use super::alter_share_group_offsets::check_empty;
use crate::kafka::{
    call::Call,
    fault::{ErrorCode, Fault},
    wire::delete_share_group_offsets::{
        DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse, DeleteShareGroupOffsetsResponseTopic,
    },
};

pub async fn handle(call: Call, request: DeleteShareGroupOffsetsRequest) -> DeleteShareGroupOffsetsResponse {
    if let Err(Fault { code, message }) = check_empty(&call, &request.group_id) {
        return DeleteShareGroupOffsetsResponse {
            error_code: code.code(),
            error_message: Some(message),
            ..DeleteShareGroupOffsetsResponse::default()
        };
    }
    let key = call.group(&request.group_id);
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = call.topic_named(&topic.topic_name);
        let outcome = match &found {
            Ok(topic) => match call.groups().shares.forget(&key, topic.id) {
                Some(durable) => durable.await.map_err(|error| Fault::from(ErrorCode::from(error))),
                None => Err(Fault::new(
                    ErrorCode::UnknownTopicOrPartition,
                    "There is no offset information to delete.",
                )),
            },
            Err(error) => Err(Fault::from(*error)),
        };
        let (error_code, error_message) = super::sharing::parts(outcome);
        responses.push(DeleteShareGroupOffsetsResponseTopic {
            topic_id: found.map(|topic| topic.id).unwrap_or_default(),
            topic_name: topic.topic_name,
            error_code,
            error_message,
        });
    }
    DeleteShareGroupOffsetsResponse { responses, ..DeleteShareGroupOffsetsResponse::default() }
}
