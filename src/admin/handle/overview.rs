//! The whole broker on one page: overview, node, cluster name.

use serde_json::{Value, json};

use crate::{
    admin::{
        State,
        listing::{list, one},
        request::{Reply, Request},
        source::MessageStats,
    },
    observe::process,
};

/// `GET /api/overview`.
pub(crate) fn overview(request: &Request) -> Reply {
    let state = &*request.state;
    let figures = state.source.figures();
    let metrics = state.source.metrics();
    let now = state.clock.now();
    let lengths = [
        ("messages", figures.messages_ready + figures.messages_unacked),
        ("messages_ready", figures.messages_ready),
        ("messages_unacknowledged", figures.messages_unacked),
    ];
    let churn = [
        ("connection_created", metrics.connections_opened.total()),
        ("connection_closed", metrics.connections_closed.total()),
        ("channel_created", metrics.channels_opened.total()),
        ("channel_closed", metrics.channels_closed.total()),
        ("queue_declared", metrics.queues_declared.total()),
        ("queue_created", metrics.queues_created.total()),
        ("queue_deleted", metrics.queues_deleted.total()),
    ];
    let overview = json!({
        "management_version": state.identity.rabbitmq_version,
        "rabbitmq_version": state.identity.rabbitmq_version,
        "product_name": "RabbitMQ",
        "product_version": state.identity.rabbitmq_version,
        "warren_version": env!("CARGO_PKG_VERSION"),
        "cluster_name": state.identity.cluster,
        "node": state.identity.node,
        "erlang_version": "",
        "erlang_full_version": "",
        "release_series_support_status": "supported",
        "rates_mode": "basic",
        "sample_retention_policies": {"global": [], "basic": [], "detailed": []},
        "exchange_types": exchange_types(),
        "disable_stats": false,
        "enable_queue_totals": false,
        "statistics_db_event_queue": 0,
        "message_stats": state.rates.message_stats("overview", now, &state.source.totals()),
        "churn_rates": with_rates(state, "churn", &churn),
        "queue_totals": with_rates(state, "totals", &lengths),
        "object_totals": {
            "channels": figures.channels,
            "connections": figures.connections,
            "consumers": figures.consumers,
            "exchanges": figures.exchanges,
            "queues": figures.queues,
        },
        "listeners": listeners(state),
        "contexts": contexts(state),
    });
    one(overview, &request.query)
}

/// `GET /api/nodes`.
pub(crate) fn nodes(request: &Request) -> Reply {
    list(vec![node_row(&request.state)], &request.query)
}

/// `GET /api/nodes/:node`.
pub(crate) fn node(request: &Request) -> Reply {
    if request.parameter(0) == request.state.identity.node {
        one(node_row(&request.state), &request.query)
    } else {
        Reply::not_found()
    }
}

fn node_row(state: &State) -> Value {
    let figures = state.source.figures();
    let sockets = figures.connections;
    json!({
        "name": state.identity.node,
        "type": "disc",
        "running": true,
        "being_drained": state.shutdown.draining(),
        "uptime": (figures.uptime_s * 1000.0).round(),
        "run_queue": 0,
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "os_pid": std::process::id().to_string(),
        "fd_used": process::open_fds(),
        "fd_total": process::max_fds(),
        "sockets_used": sockets,
        "mem_used": process::resident_bytes(),
        "mem_limit": figures.memory_limit_bytes,
        "mem_alarm": figures.memory_alarm,
        "disk_free": figures.disk_free_bytes,
        "disk_free_limit": figures.disk_free_limit_bytes,
        "disk_free_alarm": figures.disk_alarm,
        "rates_mode": "basic",
        "partitions": [],
        "applications": [],
        "contexts": contexts(state),
        "auth_mechanisms": [
            {"name": "PLAIN", "description": "SASL PLAIN authentication mechanism", "enabled": true},
            {"name": "AMQPLAIN", "description": "QPid AMQPLAIN mechanism", "enabled": true},
        ],
        "exchange_types": exchange_types(),
        "enabled_plugins": ["rabbitmq_management", "rabbitmq_prometheus"],
        "metrics_gc_queue_length": {},
    })
}

/// Names and values, each with its rate.
pub(crate) fn with_rates(state: &State, object: &str, named: &[(&str, u64)]) -> Value {
    let values: Vec<u64> = named.iter().map(|(_, value)| *value).collect();
    let rates = state.rates.rates(object, state.clock.now(), &values);
    let mut map = serde_json::Map::new();
    for ((name, value), rate) in named.iter().zip(rates) {
        map.insert((*name).to_owned(), (*value).into());
        map.insert(format!("{name}_details"), json!({ "rate": rate }));
    }
    map.into()
}

/// A row as JSON, with the node's name and its `message_stats`.
pub(crate) fn with_stats<T: serde::Serialize>(
    state: &State,
    row: &T,
    object: &str,
    stats: &MessageStats,
) -> Value {
    let mut value = plain(state, row);
    if let Value::Object(map) = &mut value {
        let stats = state.rates.message_stats(object, state.clock.now(), stats);
        map.insert("message_stats".to_owned(), stats);
    }
    value
}

/// A row as JSON, with the node's name.
pub(crate) fn plain<T: serde::Serialize>(state: &State, row: &T) -> Value {
    // Rows are plain structs of texts and numbers, which always can be written as JSON.
    let mut value = serde_json::to_value(row).unwrap_or_default();
    if let Value::Object(map) = &mut value {
        map.insert("node".to_owned(), state.identity.node.clone().into());
    }
    value
}

fn exchange_types() -> Value {
    let kind = |(name, description): (&str, &str)| json!({"name": name, "description": description, "enabled": true});
    [
        ("direct", "AMQP direct exchange, as per the AMQP specification"),
        ("fanout", "AMQP fanout exchange, as per the AMQP specification"),
        ("headers", "AMQP headers exchange, as per the AMQP specification"),
        ("topic", "AMQP topic exchange, as per the AMQP specification"),
    ]
    .map(kind)
    .to_vec()
    .into()
}

fn listeners(state: &State) -> Value {
    let row = |door: &crate::admin::OpenDoor| {
        json!({
            "node": state.identity.node,
            "protocol": door.protocol,
            "ip_address": door.address.ip().to_string(),
            "port": door.address.port(),
            "socket_opts": [],
            "tls": false,
        })
    };
    state.listeners.iter().map(row).collect()
}

fn contexts(state: &State) -> Value {
    let row = |door: &crate::admin::OpenDoor| {
        let description = if door.protocol == "http" { "RabbitMQ Management" } else { "RabbitMQ Prometheus" };
        json!({
            "node": state.identity.node,
            "description": description,
            "path": "/",
            "ip": door.address.ip().to_string(),
            "port": door.address.port().to_string(),
            "cowboy_opts": "[]",
        })
    };
    state.listeners.iter().filter(|d| d.protocol.starts_with("http")).map(row).collect()
}
