//! DeleteGroups (API key 42), versions 0–2: groups without members, with all they have committed.

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    handle::error_code,
    wire::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse},
};

pub async fn handle(call: Call, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let delete = |group_id: String| (call.groups().delete(&call.group(&group_id)), group_id);
    let deleting: Vec<_> = request.groups_names.into_iter().map(delete).collect();
    let mut results = Vec::with_capacity(deleting.len());
    for (deleted, group_id) in deleting {
        let error_code = error_code(deleted.await.map_err(ErrorCode::from));
        results.push(DeletableGroupResult { group_id, error_code });
    }
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}
