//! IncrementalAlterConfigs (API key 44), versions 0–1: sets, deletes, appends to and subtracts from single configs
//! (KIP-339).

use super::config_changes::{self, Asked, Change, Operation};
use crate::kafka::{
    call::Call,
    fault::ErrorCode,
    wire::incremental_alter_configs::{
        AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse,
    },
};

pub async fn handle(call: Call, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let asked = request.resources.into_iter().map(asked).collect();
    let responses = config_changes::apply(&call, asked, request.validate_only).await;
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}

fn asked(resource: AlterConfigsResource) -> Asked {
    let change = |config: AlterableConfig| {
        let operation = operation(config.config_operation)?;
        Ok(Change { name: config.name, operation, value: config.value })
    };
    Asked {
        resource: config_changes::Resource { kind: resource.resource_type, name: resource.resource_name },
        changes: resource.configs.into_iter().map(change).collect(),
        replaces_all: false,
    }
}

/// `AlterConfigOp.OpType`
fn operation(number: i8) -> Result<Operation, ErrorCode> {
    match number {
        0 => Ok(Operation::Set),
        1 => Ok(Operation::Delete),
        2 => Ok(Operation::Append),
        3 => Ok(Operation::Subtract),
        _ => Err(ErrorCode::UnknownServerError),
    }
}
