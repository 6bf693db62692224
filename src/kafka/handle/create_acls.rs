//! CreateAcls (API key 30), versions 1–3: as Kafka answers without an authorizer.

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::create_acls::{AclCreation, AclCreationResult, CreateAclsRequest, CreateAclsResponse},
};

pub async fn handle(_call: Call, request: CreateAclsRequest) -> CreateAclsResponse {
    let refused = |_: AclCreation| AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured.".to_owned()),
    };
    CreateAclsResponse {
        results: request.creations.into_iter().map(refused).collect(),
        ..CreateAclsResponse::default()
    }
}
