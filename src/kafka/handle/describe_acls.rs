//! DescribeAcls (API key 29), versions 1–3: as Kafka answers without an authorizer.

use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::describe_acls::{DescribeAclsRequest, DescribeAclsResponse},
};

pub async fn handle(_call: Call, _request: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some("No Authorizer is configured on the broker".to_owned()),
        ..DescribeAclsResponse::default()
    }
}
