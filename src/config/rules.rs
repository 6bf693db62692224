//! Which values make sense, beyond their type: one line per key.

use std::ops::RangeInclusive;

use toml::Value;

/// Whether the value of that key lies where it must; if not, what it must be.
///
/// # Errors
/// The rule, as a sentence to end a complaint with.
pub fn check(key: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Integer(n) => integer(key, *n),
        Value::Float(x) if key == "memory.high_watermark" && !(0.0..=1.0).contains(x) => {
            Err("it must be between 0 and 1, a part of the machine's memory".to_owned())
        }
        Value::String(text) => text_of(key, text),
        Value::Array(values) if key == "server.listen" && values.is_empty() => {
            Err("it must name at least one address".to_owned())
        }
        Value::Array(endpoints) if key == "zmq.endpoints" => endpoints.iter().try_for_each(endpoint),
        Value::Array(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Float(_) | Value::Table(_) => {
            Ok(())
        }
    }
}

/// What an endpoint of its own maps is checked as the first one's is.
fn endpoint(endpoint: &Value) -> Result<(), String> {
    let mapping = endpoint.get("mapping").and_then(Value::as_table);
    mapping.into_iter().flatten().try_for_each(|(name, value)| {
        check(&format!("zmq.mapping.{name}"), value).map_err(|reason| format!("mapping.{name}: {reason}"))
    })
}

fn integer(key: &str, n: i64) -> Result<(), String> {
    let range = RANGES.iter().find(|(k, _)| *k == key).map_or(0..=i64::MAX, |(_, range)| range.clone());
    if range.contains(&n) {
        return Ok(());
    }
    Err(match *range.end() {
        i64::MAX => format!("it must be at least {}", range.start()),
        end => format!("it must be between {} and {end}", range.start()),
    })
}

fn text_of(key: &str, text: &str) -> Result<(), String> {
    match key {
        "log.level" if !is_log_level(text) => {
            Err("it must be error, warn, info, debug or trace, or such as `info,warrenmq::kafka=debug`"
                .to_owned())
        }
        "kafka.advertised" | "kafka.tls_advertised" if !text.is_empty() && !is_advertised(text) => {
            Err("it must be HOST or HOST:PORT as clients reach it, or empty".to_owned())
        }
        "users.default_user"
        | "store.data_dir"
        | "zmq.mapping.queue"
        | "zmq.mapping.exchange"
        | "zmq.mapping.requests"
            if text.is_empty() =>
        {
            Err("it must not be empty".to_owned())
        }
        _ => Ok(()),
    }
}

/// One level for everything, and levels of single modules, with commas between.
fn is_log_level(text: &str) -> bool {
    text.split(',').all(|part| {
        let level = part.split_once('=').map_or(part, |(_module, level)| level);
        level.parse::<tracing::Level>().is_ok()
    })
}

/// `HOST` or `HOST:PORT`.
fn is_advertised(text: &str) -> bool {
    match text.rsplit_once(':') {
        None => !text.contains(char::is_whitespace),
        Some((host, port)) => !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0),
    }
}

/// The narrower ranges; any other whole number may be anything from 0.
const RANGES: &[(&str, RangeInclusive<i64>)] = &[
    // RabbitMQ takes no smaller one since 4.1, and the door refuses what it would.
    ("amqp.frame_max", 8192..=0x7fff_ffff),
    ("amqp.channel_max", 0..=65_535),
    ("amqp.heartbeat_s", 0..=65_535),
    ("amqp.handshake_timeout_ms", 100..=600_000),
    ("amqp.message_bytes_max", 0..=536_870_912),
    ("amqp.connections_max", 0..=1_000_000),
    ("amqp.consumers_per_channel_max", 0..=0xffff_ffff),
    ("amqp.channel_tick_interval_ms", 10..=3_600_000),
    ("kafka.connections_max", 1..=1_000_000),
    ("kafka.num_partitions", 1..=10_000),
    ("kafka.producer_id_expiration_ms", 1..=0x7fff_ffff),
    ("kafka.transactional_id_expiration_ms", 1..=0x7fff_ffff),
    ("kafka.login_lifetime_ms", 0..=31_536_000_000),
    ("kafka.socket_request_bytes_max", 4096..=0x7fff_ffff),
    ("kafka.message_bytes_max", 1024..=0x7fff_ffff),
    ("kafka.group.session_timeout_ms_min", 1..=86_400_000),
    ("kafka.group.session_timeout_ms_max", 1..=86_400_000),
    ("kafka.group.share_sessions_max", 1..=1_000_000),
    ("redis.connections_max", 1..=1_000_000),
    ("redis.bulk_bytes_max", 1024..=536_870_912),
    ("redis.request_bytes_max", 65_536..=1_073_741_824),
    ("zmq.connections_max", 1..=1_000_000),
    ("zmq.message_bytes_max", 1024..=536_870_912),
    ("zmq.subscriber_bytes_max", 1024..=1_073_741_824),
    ("zmq.handshake_timeout_ms", 100..=600_000),
    ("zmq.heartbeat_ms", 0..=86_400_000),
    ("admin.body_bytes_max", 1024..=1_073_741_824),
    ("store.turn_bytes_max", 65_536..=67_108_864),
    ("store.checkpoint_interval_ms", 10..=600_000),
    ("store.checkpoint_log_bytes", 1_048_576..=i64::MAX),
    ("store.segment_bytes", 4_194_304..=1_073_741_824),
    ("store.segments_spare", 1..=64),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, load};

    #[test]
    fn every_default_keeps_its_own_rule() {
        let defaults = load::flatten(&toml::Table::try_from(Config::default()).unwrap());
        for (key, value) in &defaults {
            assert_eq!(check(key, value), Ok(()), "{key}");
        }
        for (key, _) in RANGES {
            assert!(defaults.contains_key(*key), "a rule for no key: {key}");
        }
    }

    #[test]
    fn values_outside_are_refused_with_the_rule() {
        let cases: &[(&str, Value)] = &[
            ("amqp.frame_max", Value::Integer(4096)),
            ("store.disk_free_limit_bytes", Value::Integer(-1)),
            ("memory.high_watermark", Value::Float(1.5)),
            ("log.level", Value::String("loud".into())),
            ("kafka.advertised", Value::String("broker:http".into())),
            ("server.listen", Value::Array(vec![])),
            ("zmq.endpoints", toml::toml! { e = [{ mapping = { queue = "" } }] }["e"].clone()),
        ];
        for (key, value) in cases {
            assert!(check(key, value).is_err(), "{key} = {value}");
        }
    }
}
