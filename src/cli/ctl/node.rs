//! Commands about the node: its limits, its health, its definitions.

use std::{path::Path, sync::mpsc, time::Duration};

use serde_json::{Value, json};

use super::{Context, Failure, client::path, output::Shown};

type Result<T = Shown> = std::result::Result<T, Failure>;

/// Bytes with RabbitMQ's units: `k`, `kB` and `kiB`, `M`, `G`, `T` likewise.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn own(context: &Context<'_>, what: &str, value: &Value) -> Result {
    let name = context.client.get("overview")?["node"].as_str().unwrap_or_default().to_owned();
    context.client.must("PUT", &path(&["nodes", &name, what]), Some(&json!({ "value": value })))?;
    Ok(Shown::Nothing)
}

pub(super) fn set_memory_watermark(context: &Context<'_>) -> Result {
    let (first, second) = (context.argument(0), context.argument(1));
    let value = if first == "absolute" {
        bytes(second).map(|bytes| json!({ "absolute": bytes }))
    } else {
        first
            .parse::<f64>()
            .ok()
            .filter(|part| (0.0..=1.0).contains(part))
            .map(|part| json!({ "relative": part }))
    };
    let wrong = || {
        Failure::Data(
            "Error:\nThe threshold should be a fraction between 0.0 and 1.0, or `absolute <value>`"
                .to_owned(),
        )
    };
    own(context, "vm_memory_high_watermark", &value.ok_or_else(wrong)?)
}

pub(super) fn set_disk_free_limit(context: &Context<'_>) -> Result {
    let (first, second) = (context.argument(0), context.argument(1));
    let value = if first == "mem_relative" {
        second.parse::<f64>().ok().filter(|part| *part >= 0.0).map(|part| json!({ "mem_relative": part }))
    } else {
        bytes(first).map(Value::from)
    };
    let wrong = || {
        Failure::Data(
            "Error:\nThe limit should be a number of bytes, or `mem_relative <fraction>`".to_owned(),
        )
    };
    own(context, "disk_free_limit", &value.ok_or_else(wrong)?)
}

pub(super) fn status(context: &Context<'_>) -> Result {
    let overview = context.client.get("overview")?;
    let node = overview["node"].as_str().unwrap_or_default().to_owned();
    let details = context.client.get(&path(&["nodes", &node]))?;
    if context.options.formatter == super::options::Formatter::Json {
        return Ok(Shown::Text(json!({"overview": overview, "node": details}).to_string()));
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut lines = vec![
        "Runtime".to_owned(),
        String::new(),
        format!("OS PID: {}", text(&details["os_pid"])),
        format!("Uptime (seconds): {}", details["uptime"].as_f64().unwrap_or(0.0) as u64 / 1000),
        format!("RabbitMQ version: {}", text(&overview["rabbitmq_version"])),
        format!("Warren version: {}", text(&overview["warren_version"])),
        format!("Node name: {node}"),
        String::new(),
        "Memory".to_owned(),
        String::new(),
        format!("Total memory used: {} bytes", details["mem_used"]),
        format!("Memory high watermark: {} bytes", details["mem_limit"]),
        String::new(),
        "Free Disk Space".to_owned(),
        String::new(),
        format!("Low free disk space watermark: {} bytes", details["disk_free_limit"]),
        format!("Free disk space: {} bytes", details["disk_free"]),
        String::new(),
        "Totals".to_owned(),
        String::new(),
        format!("Connection count: {}", overview["object_totals"]["connections"]),
        format!("Queue count: {}", overview["object_totals"]["queues"]),
        format!("Virtual host count: {}", context.client.rows("vhosts")?.len()),
        String::new(),
        "Listeners".to_owned(),
        String::new(),
    ];
    for listener in overview["listeners"].as_array().into_iter().flatten() {
        lines.push(format!(
            "Interface: {}, port: {}, protocol: {}",
            text(&listener["ip_address"]),
            listener["port"],
            text(&listener["protocol"])
        ));
    }
    Ok(Shown::Text(lines.join("\n")))
}

pub(super) fn ping(context: &Context<'_>) -> Result {
    context.client.get("whoami")?;
    Ok(Shown::Text("Ping succeeded".to_owned()))
}

/// Asks until the server answers.
pub(super) fn await_startup(context: &Context<'_>) -> Result {
    // Nobody ever sends: it is a wait that needs no sleep.
    let (_never, pause) = mpsc::channel::<()>();
    for _ in 0..STARTUP_ATTEMPTS {
        match context.client.call("GET", "health/checks/ready-to-serve-clients", None, None) {
            Ok(answer) if answer.is_ok() => return Ok(Shown::Nothing),
            Ok(_) | Err(_) => drop(pause.recv_timeout(STARTUP_PAUSE)),
        }
    }
    Err(Failure::Unavailable(format!("Error:\nnode '{}' did not start in time", context.options.node)))
}

const STARTUP_PAUSE: Duration = Duration::from_millis(200);
const STARTUP_ATTEMPTS: u32 = 1_500;

pub(super) fn cluster_status(context: &Context<'_>) -> Result {
    let overview = context.client.get("overview")?;
    let name = context.client.get("cluster-name")?;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (node, version) = (word(&overview["node"]), word(&overview["rabbitmq_version"]));
    Ok(Shown::Text(format!(
        "Basics\n\nCluster name: {}\n\nDisk Nodes\n\n{node}\n\nRunning Nodes\n\n{node}\n\nVersions\n\n{node}: RabbitMQ {version}\n",
        word(&name["name"])
    )))
}

pub(super) fn set_cluster_name(context: &Context<'_>) -> Result {
    context.client.must("PUT", "cluster-name", Some(&json!({"name": context.argument(0)})))?;
    Ok(Shown::Nothing)
}

pub(super) fn export_definitions(context: &Context<'_>) -> Result {
    let definitions = context.client.get("definitions")?.to_string();
    let file = context.argument(0);
    if file == "-" {
        return Ok(Shown::Text(definitions));
    }
    let written = std::fs::write(Path::new(file), definitions);
    written.map_err(|error| Failure::Data(format!("Error:\n{file}: {error}")))?;
    Ok(Shown::Nothing)
}

pub(super) fn import_definitions(context: &Context<'_>) -> Result {
    let file = context.argument(0);
    let text = match file {
        "" | "-" => std::io::read_to_string(std::io::stdin().lock()),
        file => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| Failure::Data(format!("Error:\n{file}: {error}")))?;
    let document: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Data(format!("Error:\nJSON decoding error: {error}")))?;
    context.client.must("POST", "definitions", Some(&document))?;
    Ok(Shown::Text(
        "Successfully started definition import. This process is asynchronous and can take some time."
            .to_owned(),
    ))
}

pub(super) fn no_erlang(_context: &Context<'_>) -> Result {
    Err(Failure::Usage("Error:\nthis is Warren: there is no Erlang here to evaluate anything".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_rabbitmqs_units() {
        for (text, expected) in [
            ("1000", Some(1000)),
            ("2k", Some(2048)),
            ("2kB", Some(2000)),
            ("1MiB", Some(1 << 20)),
            ("3GB", Some(3_000_000_000)),
            ("x", None),
            ("1parsec", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
