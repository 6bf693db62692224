//! Definitions going out.

use serde_json::{Value, json};

use crate::{
    admin::{
        State,
        handle::{bindings, exchanges, parameters, permissions, policies, queues, users},
        json::json_of,
    },
    broker::{policy::Sort, vhost::Vhost},
};

/// The whole broker.
pub(super) fn everything(state: &State) -> Value {
    let (broker, version) = (&state.broker, &state.identity.rabbitmq_version);
    let mut vhosts = broker.vhosts();
    vhosts.sort_by(|a, b| a.name.cmp(&b.name));
    let from_each = |rows: &dyn Fn(&Vhost) -> Vec<Value>| -> Vec<Value> {
        vhosts.iter().flat_map(|vhost| rows(vhost)).collect()
    };
    let globals = broker.global_parameters();
    json!({
        "rabbit_version": version,
        "rabbitmq_version": version,
        "product_name": "RabbitMQ",
        "product_version": version,
        "rabbitmq_definition_format": "cluster",
        "original_cluster_name": state.identity.cluster,
        "explanation": "Definitions of cluster, exported by Warren",
        "users": broker.users.all().iter().map(|user| users::row(user)).collect::<Vec<_>>(),
        "vhosts": vhosts.iter().map(|vhost| vhost_row(vhost)).collect::<Vec<_>>(),
        "permissions": permissions::all(broker),
        "topic_permissions": permissions::all_topics(broker),
        "parameters": parameters::rows(broker),
        "global_parameters":
            globals.iter().map(|(name, v)| json!({"name": name, "value": json_of(v)})).collect::<Vec<_>>(),
        "policies": from_each(&|vhost| policies::rows(vhost, Sort::User)),
        "queues": from_each(&queues::definitions),
        "exchanges": from_each(&exchanges::definitions),
        "bindings": from_each(&bindings::definitions),
    })
}

/// One vhost: rows do not name it, so that they can be imported into another.
pub(super) fn vhost(state: &State, vhost: &Vhost) -> Value {
    let version = &state.identity.rabbitmq_version;
    let here = |rows: Vec<Value>| -> Vec<Value> {
        let strip = |mut row: Value| {
            row.as_object_mut().map(|map| map.remove("vhost"));
            row
        };
        rows.into_iter().map(strip).collect()
    };
    let of_vhost = parameters::rows(&state.broker).into_iter().filter(|row| row["vhost"] == *vhost.name);
    let metadata = vhost.settings.metadata();
    json!({
        "rabbit_version": version,
        "rabbitmq_version": version,
        "product_name": "RabbitMQ",
        "product_version": version,
        "rabbitmq_definition_format": "single_virtual_host",
        "original_vhost_name": &*vhost.name,
        "explanation": "Definitions of virtual host, exported by Warren",
        "default_queue_type": metadata.default_queue_type.as_deref().unwrap_or("classic"),
        "parameters": here(of_vhost.collect()),
        "policies": here(policies::rows(vhost, Sort::User)),
        "queues": here(queues::definitions(vhost)),
        "exchanges": here(exchanges::definitions(vhost)),
        "bindings": here(bindings::definitions(vhost)),
    })
}

fn vhost_row(vhost: &Vhost) -> Value {
    let metadata = vhost.settings.metadata();
    let mut inner = json!({"description": metadata.description, "tags": metadata.tags});
    if let Some(kind) = &metadata.default_queue_type {
        inner.as_object_mut().map(|map| map.insert("default_queue_type".to_owned(), kind.as_str().into()));
    }
    json!({
        "name": &*vhost.name,
        "description": metadata.description,
        "tags": metadata.tags,
        "tracing": metadata.tracing,
        "metadata": inner,
    })
}
