//! ListConfigResources (API key 74), versions 0–1: what has configs, by kind (KIP-1142). Version 0 knew client metrics
//! alone.

use super::config_resource::{self, ResourceType};
use crate::kafka::{
    NODE_ID,
    call::Call,
    fault::ErrorCode,
    wire::list_config_resources::{ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse},
};

/// In the order in which Kafka lists them.
const ALL: &[ResourceType] = &[
    ResourceType::Group,
    ResourceType::ClientMetrics,
    ResourceType::BrokerLogger,
    ResourceType::Broker,
    ResourceType::Topic,
];

pub async fn handle(call: Call, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    let kind = |number: &i8| config_resource::resource_type(*number);
    let asked: Option<Vec<ResourceType>> = match request.resource_types.as_slice() {
        _ if call.version == 0 => Some(vec![ResourceType::ClientMetrics]),
        [] => Some(ALL.to_vec()),
        numbers => numbers.iter().map(kind).collect(),
    };
    let Some(asked) = asked else {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return ListConfigResourcesResponse { error_code, ..ListConfigResourcesResponse::default() };
    };
    let mut config_resources = Vec::new();
    for kind in ALL.iter().filter(|kind| asked.contains(kind)) {
        let resource_type = config_resource::number(*kind);
        let named = |resource_name| ConfigResource { resource_name, resource_type };
        config_resources.extend(names(&call, *kind).into_iter().map(named));
    }
    ListConfigResourcesResponse { config_resources, ..ListConfigResourcesResponse::default() }
}

fn names(call: &Call, kind: ResourceType) -> Vec<String> {
    match kind {
        ResourceType::Topic => {
            call.topics().list(call.vhost()).iter().map(|topic| topic.name.to_string()).collect()
        }
        ResourceType::Broker | ResourceType::BrokerLogger => vec![NODE_ID.to_string()],
        ResourceType::Group => {
            call.groups().configured(call.vhost()).iter().map(ToString::to_string).collect()
        }
        ResourceType::ClientMetrics => Vec::new(),
    }
}
