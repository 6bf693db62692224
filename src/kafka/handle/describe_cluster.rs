//! DescribeCluster (API key 60), versions 0–2. Version 1: endpoint types (KIP-919). Version 2: fenced brokers.

use super::authorized;
use crate::kafka::{
    NODE_ID,
    call::Call,
    fault::{ErrorCode, Fault},
    wire::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse},
};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn handle(call: Call, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let fault = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some(Fault::new(
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
        )),
        other => {
            Some(Fault::new(ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}")))
        }
    };
    if let Some(Fault { code, message }) = fault {
        return DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(message),
            ..DescribeClusterResponse::default()
        };
    }
    let node = &call.client.node;
    DescribeClusterResponse {
        cluster_id: call.door().settings.cluster_id.clone(),
        controller_id: NODE_ID,
        brokers: vec![DescribeClusterBroker {
            broker_id: NODE_ID,
            host: node.host.clone(),
            port: node.port,
            ..DescribeClusterBroker::default()
        }],
        cluster_authorized_operations: authorized::cluster(request.include_cluster_authorized_operations),
        ..DescribeClusterResponse::default()
    }
}
