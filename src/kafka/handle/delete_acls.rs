//! DeleteAcls (API key 31), versions 1–3: as Kafka answers without an authorizer.

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::delete_acls::{DeleteAclsFilter, DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse},
};

pub async fn handle(_call: Call, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = |_: DeleteAclsFilter| DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured.".to_owned()),
        ..DeleteAclsFilterResult::default()
    };
    DeleteAclsResponse {
        filter_results: request.filters.into_iter().map(refused).collect(),
        ..DeleteAclsResponse::default()
    }
}
