//! Configuration: every key with its type and default, in one place.
//!
//! `config/warren.toml` shows them all with a comment each (a test holds the two together). Where values come from
//! is [`load`]'s, which of them are sensible is [`rules`]'.

pub mod address;
pub mod load;
pub mod rules;

use std::{net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use address::Address;
pub use load::{Loaded, Problem, Source};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: Server,
    pub amqp: Amqp,
    pub kafka: Kafka,
    pub redis: Redis,
    pub zmq: Zmq,
    pub admin: Admin,
    pub metrics: Metrics,
    pub tls: Tls,
    pub store: Store,
    pub streams: Streams,
    pub memory: Memory,
    pub users: Users,
    pub log: Log,
}

/// What concerns every door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    pub listen: Vec<IpAddr>,
    pub compat: Compat,
    pub shutdown_grace_ms: u64,
    pub load_definitions: PathBuf,
}

/// Which RabbitMQ the AMQP and admin doors behave as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Compat {
    #[serde(rename = "3.12")]
    V3_12,
    #[serde(rename = "3.13")]
    V3_13,
    #[default]
    #[serde(rename = "4.2")]
    V4_2,
    #[serde(rename = "4.3")]
    V4_3,
}

/// The AMQP 0-9-1 door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Amqp {
    pub address: Address,
    pub tls_address: Address,
    pub connections_max: usize,
    pub frame_max: u32,
    pub channel_max: u16,
    pub heartbeat_s: u16,
    pub handshake_timeout_ms: u64,
    pub message_bytes_max: usize,
    pub consumers_per_channel_max: u32,
    pub consumer_timeout_ms: u64,
    pub channel_tick_interval_ms: u64,
    pub anonymous_user: String,
    pub anonymous_pass: String,
    pub ssl_cert_login_from: CertLoginFrom,
}

/// What of a client's certificate names its user (RabbitMQ's `ssl_cert_login_from`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertLoginFrom {
    /// Certificates log nobody in.
    #[default]
    Off,
    DistinguishedName,
    CommonName,
}

/// The Kafka door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    pub address: Address,
    pub tls_address: Address,
    pub connections_max: usize,
    pub advertised: String,
    pub tls_advertised: String,
    pub num_partitions: u32,
    pub replication_factor_clamp: bool,
    pub sasl: bool,
    pub login_lifetime_ms: u64,
    pub auto_create_topics: bool,
    pub socket_request_bytes_max: usize,
    pub message_bytes_max: usize,
    pub producer_id_expiration_ms: i64,
    pub transactional_id_expiration_ms: i64,
    pub group: KafkaGroup,
}

/// Kafka's consumer groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaGroup {
    pub initial_rebalance_delay_ms: u64,
    pub session_timeout_ms_min: u64,
    pub session_timeout_ms_max: u64,
    pub share_sessions_max: usize,
    pub consumer: KafkaNewGroup,
}

/// A newer type of group (`group.consumer.*` of Kafka): the timeouts that a group has unless it sets its own, and
/// between which bounds it may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaNewGroup {
    pub session_timeout_ms: u32,
    pub session_timeout_ms_min: u32,
    pub session_timeout_ms_max: u32,
    pub heartbeat_interval_ms: u32,
    pub heartbeat_interval_ms_min: u32,
    pub heartbeat_interval_ms_max: u32,
}

/// The Redis door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    pub address: Address,
    pub tls_address: Address,
    pub connections_max: usize,
    pub login_required: bool,
    pub bulk_bytes_max: usize,
    pub request_bytes_max: usize,
}

/// The ZeroMQ door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Zmq {
    pub address: Address,
    pub connections_max: usize,
    pub login_required: bool,
    pub message_bytes_max: usize,
    pub subscriber_bytes_max: usize,
    pub handshake_timeout_ms: u64,
    pub heartbeat_ms: u64,
    pub curve_key_file: PathBuf,
    pub curve_clients_dir: PathBuf,
    pub mapping: ZmqMapping,
    pub endpoints: Vec<ZmqEndpoint>,
}

/// One more address of the ZeroMQ door, with a mapping of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZmqEndpoint {
    pub address: Address,
    #[serde(default)]
    pub mapping: ZmqMapping,
}

/// What sockets mean at an address of the ZeroMQ door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZmqMapping {
    pub queue: String,
    pub queue_messages_max: u64,
    pub push_exchange: String,
    pub exchange: String,
    pub mode: ZmqMode,
    pub requests: String,
    pub requests_max: u64,
}

/// Who answers a REQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZmqMode {
    #[default]
    Ack,
    Reply,
}

/// The admin door: RabbitMQ's management HTTP API and our own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    pub address: Address,
    pub tls_address: Address,
    pub body_bytes_max: usize,
}

/// Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    pub address: Address,
    pub tls_address: Address,
}

/// The certificates behind the doors' `tls_address`: without any, those doors stay closed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub ca_file: PathBuf,
    pub client_auth: ClientAuth,
    /// Instead of files: a folder of certificates made for tests.
    pub dev_dir: PathBuf,
}

/// What a client must show (Kafka's `ssl.client.auth`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    #[default]
    None,
    Requested,
    Required,
}

/// Durability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    pub data_dir: PathBuf,
    pub ephemeral: bool,
    pub durability: Durability,
    pub turn_bytes_max: usize,
    pub checkpoint_interval_ms: u64,
    pub checkpoint_log_bytes: u64,
    pub segment_bytes: u64,
    pub segments_spare: usize,
    pub disk_free_limit_bytes: u64,
}

/// What a confirm waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    #[default]
    Fsync,
    Os,
}

/// Stream jobs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Streams {
    /// Empty: jobs have no files.
    pub files_dir: PathBuf,
}

/// Memory and its alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    pub high_watermark: f64,
    pub high_watermark_bytes: u64,
}

/// The user that exists from the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    pub default_user: String,
    pub default_pass: String,
    pub guest_loopback_only: bool,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Compact,
    #[default]
    Full,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()],
            compat: Compat::default(),
            shutdown_grace_ms: 5_000,
            load_definitions: PathBuf::new(),
        }
    }
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            address: Address::port(5672),
            tls_address: Address::port(5671),
            connections_max: 0,
            frame_max: 131_072,
            channel_max: 2_047,
            heartbeat_s: 60,
            handshake_timeout_ms: 10_000,
            message_bytes_max: 0,
            consumers_per_channel_max: 0,
            consumer_timeout_ms: 1_800_000,
            channel_tick_interval_ms: 60_000,
            anonymous_user: "guest".into(),
            anonymous_pass: "guest".into(),
            ssl_cert_login_from: CertLoginFrom::Off,
        }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            address: Address::port(9092),
            tls_address: Address::port(9093),
            connections_max: 10_000,
            advertised: String::new(),
            tls_advertised: String::new(),
            num_partitions: 1,
            replication_factor_clamp: false,
            sasl: false,
            login_lifetime_ms: 0,
            auto_create_topics: true,
            socket_request_bytes_max: 100 * MIB,
            message_bytes_max: 1_048_588,
            producer_id_expiration_ms: 24 * 3_600 * 1_000,
            transactional_id_expiration_ms: 7 * 24 * 3_600 * 1_000,
            group: KafkaGroup::default(),
        }
    }
}

impl Default for KafkaGroup {
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 0,
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            share_sessions_max: 2_000,
            consumer: KafkaNewGroup::default(),
        }
    }
}

impl Default for KafkaNewGroup {
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            session_timeout_ms_min: 45_000,
            session_timeout_ms_max: 60_000,
            heartbeat_interval_ms: 5_000,
            heartbeat_interval_ms_min: 5_000,
            heartbeat_interval_ms_max: 15_000,
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            address: Address::port(6379),
            tls_address: Address::port(6380),
            connections_max: 10_000,
            login_required: false,
            bulk_bytes_max: 128 * MIB,
            request_bytes_max: 256 * MIB,
        }
    }
}

impl Default for Zmq {
    fn default() -> Self {
        Self {
            address: Address::port(5555),
            connections_max: 10_000,
            login_required: false,
            message_bytes_max: 128 * MIB,
            subscriber_bytes_max: 16 * MIB,
            handshake_timeout_ms: 30_000,
            heartbeat_ms: 0,
            curve_key_file: PathBuf::new(),
            curve_clients_dir: PathBuf::new(),
            mapping: ZmqMapping::default(),
            endpoints: Vec::new(),
        }
    }
}

impl Default for ZmqMapping {
    fn default() -> Self {
        Self {
            queue: "zmq.queue".into(),
            queue_messages_max: 0,
            push_exchange: String::new(),
            exchange: "zmq.pubsub".into(),
            mode: ZmqMode::default(),
            requests: "zmq.req".into(),
            requests_max: 100_000,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: Address::port(15672), tls_address: Address::port(15671), body_bytes_max: 10 * MIB }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { address: Address::port(15692), tls_address: Address::port(15691) }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("warren-data"),
            ephemeral: false,
            durability: Durability::default(),
            turn_bytes_max: MIB,
            checkpoint_interval_ms: 500,
            checkpoint_log_bytes: 64 * MIB as u64,
            segment_bytes: 64 * MIB as u64,
            segments_spare: 4,
            disk_free_limit_bytes: 50_000_000,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { high_watermark: 0.6, high_watermark_bytes: 0 }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self { default_user: "guest".into(), default_pass: "guest".into(), guest_loopback_only: true }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::default() }
    }
}

const MIB: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_shows_every_key_with_its_default() {
        let file: toml::Table = include_str!("../../config/warren.toml").parse().unwrap();
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        let (file, defaults) = (load::flatten(&file), load::flatten(&defaults));
        let missing: Vec<_> = defaults.keys().filter(|k| !file.contains_key(*k)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "not in config/warren.toml");
        assert_eq!(file, defaults);
    }
}
