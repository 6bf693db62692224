//! AlterConfigs (API key 33), versions 0–2: a resource has the configs named, and no others any more. Clients from
//! before KIP-339 read a topic's configs and write all of them back.

use super::config_changes::{self, Asked, Change, Operation};
use crate::kafka::{
    call::Call,
    wire::alter_configs::{AlterConfigsRequest, AlterConfigsResource, AlterConfigsResponse, AlterableConfig},
};

pub async fn handle(call: Call, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let asked = request.resources.into_iter().map(asked).collect();
    let responses = config_changes::apply(&call, asked, request.validate_only).await;
    AlterConfigsResponse { responses, ..AlterConfigsResponse::default() }
}

fn asked(resource: AlterConfigsResource) -> Asked {
    let set = |config: AlterableConfig| {
        Ok(Change { name: config.name, operation: Operation::Set, value: config.value })
    };
    Asked {
        resource: config_changes::Resource { kind: resource.resource_type, name: resource.resource_name },
        changes: resource.configs.into_iter().map(set).collect(),
        replaces_all: true,
    }
}
