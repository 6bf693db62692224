//! Commands about what clients made: queues, exchanges, bindings, connections, channels, consumers.

use serde_json::{Value, json};

use super::{
    Context, Failure,
    client::{path, refused},
    output::Shown,
};

type Result<T = Shown> = std::result::Result<T, Failure>;

/// The columns that were asked for, all of which must be known.
pub(super) fn asked(context: &Context<'_>, known: &[&str], default: &[&str]) -> Result<Vec<String>> {
    let given: Vec<&str> = context.arguments.iter().flat_map(|argument| argument.split([',', ' '])).collect();
    let unknown: Vec<&str> = given.iter().copied().filter(|column| !known.contains(column)).collect();
    if !unknown.is_empty() {
        let text =
            format!("Error (argument validation): Info key(s) {} are not supported", unknown.join(","));
        return Err(Failure::Usage(text));
    }
    let chosen = if given.is_empty() { default.to_vec() } else { given };
    Ok(chosen.into_iter().map(str::to_owned).collect())
}

/// Columns that go by another name in the API: (column, where it lies there).
fn renamed(mut rows: Vec<Value>, names: &[(&str, &str)]) -> Vec<Value> {
    for row in &mut rows {
        for (column, pointer) in names {
            let value = row.pointer(pointer).cloned().unwrap_or_default();
            row[*column] = value;
        }
    }
    rows
}

pub(super) fn queues(context: &Context<'_>) -> Result {
    let known = &[
        "name",
        "durable",
        "auto_delete",
        "exclusive",
        "arguments",
        "policy",
        "operator_policy",
        "effective_policy_definition",
        "messages",
        "messages_ready",
        "messages_unacknowledged",
        "messages_ready_ram",
        "messages_unacknowledged_ram",
        "messages_ram",
        "messages_persistent",
        "messages_paged_out",
        "message_bytes",
        "message_bytes_ready",
        "message_bytes_unacknowledged",
        "message_bytes_ram",
        "message_bytes_persistent",
        "message_bytes_paged_out",
        "head_message_timestamp",
        "messages_dlx",
        "message_bytes_dlx",
        "consumers",
        "consumer_capacity",
        "consumer_utilisation",
        "memory",
        "state",
        "type",
        "leader",
        "members",
        "node",
        "owner_pid",
        "pid",
        "vhost",
        "exclusive_consumer_tag",
        "single_active_consumer_tag",
    ];
    let columns = asked(context, known, &["name", "messages"])?;
    let rows = context.client.rows(&path(&["queues", context.vhost()]))?;
    Ok(Shown::Rows(columns, renamed(rows, &[("owner_pid", "/owner_pid_details/name"), ("pid", "/node")])))
}

pub(super) fn exchanges(context: &Context<'_>) -> Result {
    let known = &[
        "name",
        "type",
        "durable",
        "auto_delete",
        "internal",
        "arguments",
        "policy",
        "user_who_performed_action",
        "vhost",
    ];
    let columns = asked(context, known, &["name", "type"])?;
    Ok(Shown::Rows(columns, context.client.rows(&path(&["exchanges", context.vhost()]))?))
}

pub(super) fn bindings(context: &Context<'_>) -> Result {
    let known = &[
        "source_name",
        "source_kind",
        "destination_name",
        "destination_kind",
        "routing_key",
        "arguments",
        "vhost",
    ];
    let columns = asked(
        context,
        known,
        &["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"],
    )?;
    let rows = context.client.rows(&path(&["bindings", context.vhost()]))?;
    let mut rows = renamed(
        rows,
        &[
            ("source_name", "/source"),
            ("destination_name", "/destination"),
            ("destination_kind", "/destination_type"),
        ],
    );
    rows.iter_mut().for_each(|row| row["source_kind"] = "exchange".into());
    Ok(Shown::Rows(columns, rows))
}

pub(super) fn connections(context: &Context<'_>) -> Result {
    let known = &[
        "pid",
        "name",
        "port",
        "host",
        "peer_port",
        "peer_host",
        "ssl",
        "state",
        "channels",
        "protocol",
        "auth_mechanism",
        "user",
        "vhost",
        "timeout",
        "frame_max",
        "channel_max",
        "client_properties",
        "connected_at",
        "user_provided_name",
        "node",
        "type",
    ];
    let columns = asked(context, known, &["user", "peer_host", "peer_port", "state"])?;
    Ok(Shown::Rows(columns, context.client.rows("connections")?))
}

pub(super) fn channels(context: &Context<'_>) -> Result {
    let known = &[
        "pid",
        "connection",
        "name",
        "number",
        "user",
        "vhost",
        "transactional",
        "confirm",
        "consumer_count",
        "messages_unacknowledged",
        "messages_uncommitted",
        "acks_uncommitted",
        "messages_unconfirmed",
        "prefetch_count",
        "global_prefetch_count",
        "state",
    ];
    let columns = asked(context, known, &["pid", "user", "consumer_count", "messages_unacknowledged"])?;
    let rows = context.client.rows("channels")?;
    Ok(Shown::Rows(columns, renamed(rows, &[("pid", "/name"), ("connection", "/connection_details/name")])))
}

pub(super) fn consumers(context: &Context<'_>) -> Result {
    let known = &[
        "queue_name",
        "channel_pid",
        "consumer_tag",
        "ack_required",
        "prefetch_count",
        "active",
        "activity_status",
        "arguments",
        "exclusive",
    ];
    let columns = asked(
        context,
        known,
        &[
            "queue_name",
            "channel_pid",
            "consumer_tag",
            "ack_required",
            "prefetch_count",
            "active",
            "arguments",
        ],
    )?;
    let rows = context.client.rows(&path(&["consumers", context.vhost()]))?;
    Ok(Shown::Rows(
        columns,
        renamed(rows, &[("queue_name", "/queue/name"), ("channel_pid", "/channel_details/name")]),
    ))
}

pub(super) fn delete_queue(context: &Context<'_>) -> Result {
    let name = context.argument(0);
    let flag = |option: &str, query: &str| {
        if context.options.has(option) { format!("{query}=true&") } else { String::new() }
    };
    let query = format!("{}{}", flag("--if-empty", "if-empty"), flag("--if-unused", "if-unused"));
    let at = path(&["queues", context.vhost(), name]);
    let messages = context.client.call("GET", &at, None, None)?.body["messages_ready"].as_u64().unwrap_or(0);
    let answer = context.client.call("DELETE", &format!("{at}?{query}"), None, None)?;
    match answer.status {
        404 => Err(Failure::Refused(format!("Error:\nqueue {name} not found"))),
        _ if answer.is_ok() => {
            Ok(Shown::Text(format!("Queue was successfully deleted with {messages} ready messages")))
        }
        _ => Err(refused(&answer)),
    }
}

/// A command of `rabbitmq-streams`.
pub(super) fn add_super_stream(context: &Context<'_>) -> Result {
    let number = |option: &str| -> std::result::Result<Option<i64>, Failure> {
        let Some(text) = context.options.value(option) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Failure::Usage(format!("{option} must be a number, not {text}")))
    };
    let mut arguments = serde_json::Map::new();
    if let Some(age) = context.options.value("--max-age") {
        arguments.insert("max-age".to_owned(), age.into());
    }
    for name in ["max-length-bytes", "stream-max-segment-size-bytes"] {
        if let Some(bytes) = number(&format!("--{name}"))? {
            arguments.insert(name.to_owned(), bytes.into());
        }
    }
    let partitions = number("--partitions")?.unwrap_or(3);
    let body = serde_json::json!({ "partitions": partitions, "arguments": arguments });
    let at = path(&["stream", "super-streams", context.vhost(), context.argument(0)]);
    let answer = context.client.call("PUT", &at, Some(&body), None)?;
    if answer.is_ok() { Ok(Shown::Nothing) } else { Err(refused(&answer)) }
}

/// A command of `rabbitmq-streams`.
pub(super) fn delete_super_stream(context: &Context<'_>) -> Result {
    let name = context.argument(0);
    let at = path(&["stream", "super-streams", context.vhost(), name]);
    let answer = context.client.call("DELETE", &at, None, None)?;
    match answer.status {
        404 => Err(Failure::Refused(format!("Error:\nsuper stream {name} not found"))),
        _ if answer.is_ok() => Ok(Shown::Nothing),
        _ => Err(refused(&answer)),
    }
}

pub(super) fn purge_queue(context: &Context<'_>) -> Result {
    let at = path(&["queues", context.vhost(), context.argument(0), "contents"]);
    let answer = context.client.call("DELETE", &at, None, None)?;
    match answer.status {
        404 => Err(Failure::Refused("Error:\n404 - queue not found".to_owned())),
        _ if answer.is_ok() => Ok(Shown::Nothing),
        _ => Err(refused(&answer)),
    }
}

fn close(context: &Context<'_>, reason: &str, which: impl Fn(&Value) -> bool) -> Result<usize> {
    let limit =
        context.options.value("--limit").and_then(|text| text.parse::<usize>().ok()).filter(|n| *n > 0);
    let connections = context.client.rows("connections")?;
    let mut closed = 0;
    for connection in connections.iter().filter(|row| which(row)).take(limit.unwrap_or(usize::MAX)) {
        let name = connection["name"].as_str().unwrap_or_default();
        let answer = context.client.call("DELETE", &path(&["connections", name]), None, Some(reason))?;
        // Gone by itself is as good.
        closed += usize::from(answer.is_ok());
    }
    Ok(closed)
}

pub(super) fn close_connection(context: &Context<'_>) -> Result {
    let pid = context.argument(0);
    match close(context, context.argument(1), |row| row["pid"] == pid || row["name"] == pid)? {
        0 => Err(Failure::Refused(format!("Error:\nConnection {pid} not found"))),
        _ => Ok(Shown::Nothing),
    }
}

pub(super) fn close_all_connections(context: &Context<'_>) -> Result {
    // Without `-p` or with `--global` it is all of them, and `-p /` cannot be told from the default.
    let vhost = Some(context.vhost()).filter(|vhost| *vhost != "/");
    let closed =
        close(context, context.argument(0), |row| vhost.is_none_or(|vhost| row["vhost"] == json!(vhost)))?;
    Ok(Shown::Text(format!("Closed {closed} connections")))
}

pub(super) fn close_all_user_connections(context: &Context<'_>) -> Result {
    close(context, context.argument(1), |row| row["user"] == context.argument(0))?;
    Ok(Shown::Nothing)
}
