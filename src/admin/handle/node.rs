//! The node itself: what it can do, and the two limits that `rabbitmqctl` moves while it runs.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    admin::{
        listing::list,
        request::{Reply, Request},
    },
    observe::process,
};

/// `GET /api/extensions`: no pages of plugins.
pub(crate) fn extensions(_request: &Request) -> Reply {
    Reply::json(json!([{"javascript": "dispatcher.js"}]))
}

/// `GET /api/auth`: there is no OAuth here.
pub(crate) fn auth(_request: &Request) -> Reply {
    Reply::json(json!({"oauth_enabled": false}))
}

/// `DELETE /api/reset` and `/api/reset/:node`: statistics begin anew.
pub(crate) fn reset(request: &Request) -> Reply {
    request.state.rates.forget();
    Reply::empty(StatusCode::NO_CONTENT)
}

/// `POST /api/rebalance/queues`: one node has nothing to move.
pub(crate) fn rebalance(_request: &Request) -> Reply {
    Reply::empty(StatusCode::NO_CONTENT)
}

/// `GET /api/feature-flags`.
pub(crate) fn feature_flags(request: &Request) -> Reply {
    let flag = |name: &&str| {
        json!({
            "name": name, "state": "enabled", "stability": "required", "provided_by": "rabbit", "desc": "",
            "doc_url": "",
        })
    };
    list(FEATURE_FLAGS.iter().map(flag).collect(), &request.query)
}

const FEATURE_FLAGS: &[&str] = &[
    "direct_exchange_routing_v2",
    "implicit_default_bindings",
    "quorum_queue",
    "stream_queue",
    "user_limits",
    "virtual_host_metadata",
];

/// `PUT /api/nodes/:node/vm_memory_high_watermark`: Warren's own, for `rabbitmqctl set_vm_memory_high_watermark`.
pub(crate) fn set_memory_watermark(request: &Request) -> Reply {
    let set = || -> Result<Reply, Reply> {
        let body = request.object_with(&["value"])?;
        let bytes = match body.0.get("value") {
            Some(Value::Object(value)) => match (value.get("absolute"), value.get("relative")) {
                (Some(absolute), _) => absolute.as_u64(),
                (None, Some(relative)) => part_of_memory(relative),
                (None, None) => None,
            },
            Some(relative) => part_of_memory(relative),
            None => None,
        };
        let bytes = bytes
            .ok_or_else(|| Reply::bad_request("a part of the memory, or an absolute number of bytes"))?;
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        request.state.broker.core.memory.set_limit(size(bytes), size(process::resident_bytes()));
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    };
    set().unwrap_or_else(|reply| reply)
}

fn part_of_memory(part: &Value) -> Option<u64> {
    let part = part.as_f64().filter(|part| (0.0..=1.0).contains(part))?;
    Some((process::memory_total_bytes() as f64 * part) as u64)
}

/// `PUT /api/nodes/:node/disk_free_limit`: Warren's own, for `rabbitmqctl set_disk_free_limit`.
pub(crate) fn set_disk_free_limit(request: &Request) -> Reply {
    let set = || -> Result<Reply, Reply> {
        let body = request.object_with(&["value"])?;
        let bytes = match body.0.get("value") {
            Some(Value::Object(value)) => {
                let part = value.get("mem_relative").and_then(Value::as_f64);
                part.map(|part| (process::memory_total_bytes() as f64 * part) as u64)
            }
            Some(bytes) => bytes.as_u64(),
            None => None,
        };
        let bytes = bytes.ok_or_else(|| Reply::bad_request("a number of bytes, or a part of the memory"))?;
        request.state.disk_free_limit_bytes.store(bytes, Ordering::Relaxed);
        request.state.source.look_at_disk();
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    };
    set().unwrap_or_else(|reply| reply)
}
