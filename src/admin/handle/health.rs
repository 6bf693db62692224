//! Health checks: 200 with `ok`, or 503 with the reason, in RabbitMQ's words, for load balancers and test tools.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::admin::{
    request::{Reply, Request},
    source::Later,
};

/// `GET /api/health/checks/alarms` and `local-alarms`: one node, so the same.
pub(crate) fn alarms(request: &Request) -> Reply {
    let figures = request.state.source.figures();
    let alarms: Vec<&str> = [(figures.memory_alarm, "memory"), (figures.disk_alarm, "disk")]
        .into_iter()
        .filter_map(|(on, resource)| on.then_some(resource))
        .collect();
    if alarms.is_empty() {
        return ok(json!({}));
    }
    let node = &request.state.identity.node;
    let alarms: Vec<Value> = alarms.into_iter().map(|r| json!({"resource": r, "node": node})).collect();
    failed(json!({"reason": "There are alarms in effect in the cluster", "alarms": alarms}))
}

/// `GET /api/health/checks/port-listener/:port`.
pub(crate) fn port_listener(request: &Request) -> Reply {
    let Ok(port) = request.parameter(0).parse::<u16>() else {
        return Reply::bad_request("Invalid port");
    };
    let ports: Vec<u16> = request.state.listeners.iter().map(|l| l.address.port()).collect();
    if ports.contains(&port) {
        ok(json!({ "port": port }))
    } else {
        failed(json!({"reason": "No active listener", "missing": port, "ports": ports}))
    }
}

/// `GET /api/health/checks/protocol-listener/:protocol`.
pub(crate) fn protocol_listener(request: &Request) -> Reply {
    let asked = request.parameter(0);
    let wanted = match asked.to_ascii_lowercase().as_str() {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp091/tcp" => "amqp".to_owned(),
        "management" => "http".to_owned(),
        "prometheus" => "http/prometheus".to_owned(),
        other => other.to_owned(),
    };
    let protocols: Vec<&str> = request.state.listeners.iter().map(|l| l.protocol).collect();
    if protocols.contains(&wanted.as_str()) {
        ok(json!({ "protocol": asked }))
    } else {
        failed(json!({"reason": "No active listener", "missing": asked, "protocols": protocols}))
    }
}

/// `GET /api/health/checks/virtual-hosts`: a vhost that exists here also runs.
pub(crate) fn virtual_hosts(_request: &Request) -> Reply {
    ok(json!({}))
}

/// `GET /api/health/checks/ready-to-serve-clients` and `is-in-service`.
pub(crate) fn ready(request: &Request) -> Reply {
    if request.state.shutdown.draining() {
        failed(json!({"reason": "the rabbit node is currently unavailable to serve clients"}))
    } else {
        ok(json!({}))
    }
}

/// `GET /api/health/checks/node-is-quorum-critical`: nothing is replicated, so nothing loses a quorum.
pub(crate) fn quorum_critical(_request: &Request) -> Reply {
    ok(json!({"reason": "single node cluster"}))
}

/// `GET /api/healthchecks/node`, which older clients still ask.
pub(crate) fn node(request: &Request) -> Reply {
    let figures = request.state.source.figures();
    if figures.memory_alarm || figures.disk_alarm {
        failed(json!({"reason": "resource alarm(s) in effect"}))
    } else {
        ok(json!({}))
    }
}

/// `GET /api/aliveness-test/:vhost`.
pub(crate) fn aliveness(request: Request) -> Later<'static, Reply> {
    Box::pin(async move {
        let vhost = match request.vhost() {
            Ok(vhost) => vhost,
            Err(reply) => return reply,
        };
        match request.state.source.aliveness(vhost).await {
            Ok(()) => ok(json!({})),
            Err(reason) => failed(json!({ "reason": reason })),
        }
    })
}

fn ok(more: Value) -> Reply {
    Reply::json(with_status("ok", more))
}

fn failed(more: Value) -> Reply {
    Reply::failed(StatusCode::SERVICE_UNAVAILABLE, with_status("failed", more))
}

fn with_status(status: &str, mut more: Value) -> Value {
    if let Value::Object(map) = &mut more {
        map.insert("status".to_owned(), status.into());
    }
    more
}
