//! What the admin door needs to know of the broker: rows in RabbitMQ's field names, and the few things it can do.
//!
//! The broker is looked at only when somebody asks. The binding to it is `admin/live.rs`; tests have their own.

use std::{future::Future, net::IpAddr, pin::Pin};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::data::tls::Session;
use crate::observe::{
    Metrics,
    expose::{Figures, JobFigures, OperatorFigures},
};

/// An answer that takes time.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The broker, as the admin door sees it.
pub trait Source: Send + Sync + 'static {
    /// Who that is, when name and password are right and that user may come from there.
    fn authenticate(&self, user: &str, password: &str, from: IpAddr) -> Option<Principal>;

    fn vhosts(&self) -> Vec<VhostRow>;
    /// Of one vhost, or of all.
    fn queues(&self, vhost: Option<&str>) -> Vec<QueueRow>;
    fn exchanges(&self, vhost: Option<&str>) -> Vec<ExchangeRow>;
    fn bindings(&self, vhost: Option<&str>) -> Vec<BindingRow>;
    fn consumers(&self, vhost: Option<&str>) -> Vec<ConsumerRow>;
    fn connections(&self) -> Vec<ConnectionRow>;
    fn channels(&self) -> Vec<ChannelRow>;
    fn topics(&self, vhost: Option<&str>) -> Vec<TopicRow>;

    /// Closes a connection in its protocol's words; false when there is none of that name.
    fn close_connection(&self, name: &str, reason: &str) -> bool;

    /// Looks at once how much of the disk is free, and raises or clears the alarm.
    fn look_at_disk(&self);

    /// What the whole broker has counted.
    fn totals(&self) -> MessageStats;
    /// Every counter.
    fn metrics(&self) -> &Metrics;
    /// Gauges, for the overview, the node and the metrics.
    fn figures(&self) -> Figures;

    /// Publishes a message to a queue of that vhost and gets it back.
    fn aliveness(&self, vhost: &str) -> Later<'_, Result<(), String>>;

    /// What runs SQL.
    fn jobs(&self) -> &dyn Jobs;
}

/// Stream jobs, as the admin door sees them.
pub trait Jobs: Send + Sync + 'static {
    /// Starts the jobs of that SQL text; answers once they run. An error says where and what, `line:column` first.
    /// With `replace`, jobs that exist under the same names are edited and keep the state of unchanged operators.
    fn run(&self, vhost: &str, sql: String, replace: bool) -> Later<'_, Result<Vec<JobRow>, String>>;
    /// Stops a job after its epoch, or lets it go on; `None` when there is none of that name.
    fn pause(&self, name: &str, pause: bool) -> Later<'_, Option<JobRow>>;
    /// A job forgets what it has done and begins again: as its text says, or at `earliest`, `latest` or a time in
    /// milliseconds.
    fn reset(&self, name: &str, to: Option<String>) -> Later<'_, Result<Option<JobRow>, String>>;
    /// What a text says that starts nothing (EXPLAIN, DESCRIBE, SHOW); empty if nothing does.
    fn show(&self, vhost: &str, sql: String) -> Later<'_, Result<String, String>>;
    /// What would be run, as text.
    fn explain(&self, vhost: &str, sql: String) -> Later<'_, Result<String, String>>;
    fn all(&self) -> Vec<JobRow>;
    /// Stops a job and forgets its state; false when there is none of that name.
    fn remove(&self, name: &str) -> Later<'_, Result<bool, String>>;
    /// What `print` tables received after that position, or (`None`) where the next line will be. Waits up to some
    /// seconds when there is nothing yet.
    fn printed(&self, after: Option<u64>) -> Later<'_, Printed>;
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub name: String,
    pub tags: Vec<String>,
}

impl Principal {
    /// Whether that user may use the admin door at all: RabbitMQ wants one of these tags.
    #[must_use]
    pub fn may_manage(&self) -> bool {
        self.tags
            .iter()
            .any(|t| ["administrator", "monitoring", "policymaker", "management"].contains(&t.as_str()))
    }

    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.tags.iter().any(|t| t == "administrator")
    }

    /// Whether that user may set policies and parameters.
    #[must_use]
    pub fn makes_policies(&self) -> bool {
        self.is_administrator() || self.tags.iter().any(|t| t == "policymaker")
    }

    /// Whether that user may see other users' connections.
    #[must_use]
    pub fn may_monitor(&self) -> bool {
        self.is_administrator() || self.tags.iter().any(|t| t == "monitoring")
    }
}

/// Counters of messages, of whatever they were counted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageStats {
    pub publish: u64,
    pub publish_in: u64,
    pub publish_out: u64,
    pub confirm: u64,
    pub return_unroutable: u64,
    pub drop_unroutable: u64,
    /// Delivered to consumers that acknowledge.
    pub deliver: u64,
    pub deliver_no_ack: u64,
    pub get: u64,
    pub get_no_ack: u64,
    pub get_empty: u64,
    pub ack: u64,
    pub redeliver: u64,
}

impl MessageStats {
    /// Names and values, as RabbitMQ gives them in `message_stats`.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 14] {
        [
            ("ack", self.ack),
            ("confirm", self.confirm),
            ("deliver", self.deliver),
            ("deliver_get", self.deliver + self.deliver_no_ack + self.get + self.get_no_ack),
            ("deliver_no_ack", self.deliver_no_ack),
            ("drop_unroutable", self.drop_unroutable),
            ("get", self.get),
            ("get_empty", self.get_empty),
            ("get_no_ack", self.get_no_ack),
            ("publish", self.publish),
            ("publish_in", self.publish_in),
            ("publish_out", self.publish_out),
            ("redeliver", self.redeliver),
            ("return_unroutable", self.return_unroutable),
        ]
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct VhostRow {
    pub name: String,
    pub description: String,
    pub default_queue_type: String,
    pub tags: Vec<String>,
    pub tracing: bool,
    pub protected_from_deletion: bool,
    pub messages_ready: u64,
    pub messages_unacknowledged: u64,
    #[serde(skip)]
    pub stats: MessageStats,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct QueueRow {
    pub name: String,
    pub vhost: String,
    /// `classic`, `quorum` or `stream`.
    #[serde(rename = "type")]
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub exclusive: bool,
    pub owner_pid_details: Option<ConnectionDetails>,
    pub arguments: Map<String, Value>,
    pub messages_ready: u64,
    pub messages_unacknowledged: u64,
    pub message_bytes_ready: u64,
    /// Of all but streams.
    #[serde(flatten)]
    pub lengths: Option<QueueLengths>,
    /// Dead letters of a quorum queue that wait for their targets, and their bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_dlx: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_bytes_dlx: Option<u64>,
    /// Of quorum queues since 4.3.
    #[serde(flatten)]
    pub delayed: Option<DelayedRow>,
    pub memory: u64,
    pub consumers: u64,
    pub exclusive_consumer_tag: Option<String>,
    /// Who is served where one is; streams do not say (`None`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub single_active_consumer_tag: Option<Option<String>>,
    pub policy: Option<String>,
    pub operator_policy: Option<String>,
    pub effective_policy_definition: Map<String, Value>,
    /// How long messages that left had waited, in the mean.
    pub mean_time_in_queue_ms: Option<f64>,
    #[serde(skip)]
    pub stats: MessageStats,
}

/// What RabbitMQ shows of the bodies of a queue that is no stream, in bytes, and of what is in memory or lasts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QueueLengths {
    /// Ready, unacknowledged and kept.
    pub message_bytes: u64,
    pub message_bytes_unacknowledged: u64,
    pub message_bytes_persistent: u64,
    pub message_bytes_ram: u64,
    pub messages_persistent: u64,
    pub messages_ram: u64,
    #[serde(flatten)]
    pub classic: Option<ClassicLengths>,
}

/// What came back and waits until it is delivered again.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DelayedRow {
    pub messages_delayed: u64,
    /// When the first is due, in milliseconds since the epoch, and when the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_delayed_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_delayed_at: Option<i64>,
    /// `disabled`, or the type and its delays.
    pub delayed_retry: String,
}

/// What it shows of classic queues only.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClassicLengths {
    pub messages_ready_ram: u64,
    pub messages_unacknowledged_ram: u64,
    /// Seconds, as the publisher of the message that leaves next says; of one that is in memory.
    pub head_message_timestamp: Option<u64>,
    /// Transient messages on disk: a transient message is never there.
    pub messages_paged_out: u64,
    pub message_bytes_paged_out: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ExchangeRow {
    pub name: String,
    pub vhost: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Map<String, Value>,
    pub policy: Option<String>,
    pub user_who_performed_action: String,
    #[serde(skip)]
    pub stats: MessageStats,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct BindingRow {
    pub source: String,
    pub vhost: String,
    pub destination: String,
    /// `queue` or `exchange`.
    pub destination_type: String,
    pub routing_key: String,
    pub arguments: Map<String, Value>,
    pub properties_key: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ConnectionDetails {
    pub name: String,
    pub peer_host: String,
    pub peer_port: u16,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ChannelDetails {
    pub name: String,
    pub number: u16,
    pub connection_name: String,
    pub node: String,
    pub peer_host: String,
    pub peer_port: u16,
    pub user: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct NamedQueue {
    pub name: String,
    pub vhost: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ConsumerRow {
    pub consumer_tag: String,
    pub queue: NamedQueue,
    pub channel_details: ChannelDetails,
    pub ack_required: bool,
    pub prefetch_count: u32,
    pub exclusive: bool,
    pub active: bool,
    pub activity_status: String,
    pub arguments: Map<String, Value>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ConnectionRow {
    /// `peer:port -> host:port`, as RabbitMQ names it.
    pub name: String,
    /// As `rabbitmqctl close_connection` names it.
    pub pid: String,
    pub vhost: String,
    pub user: String,
    pub user_who_performed_action: String,
    pub user_provided_name: Option<String>,
    /// `AMQP 0-9-1` or `Kafka`.
    pub protocol: String,
    pub auth_mechanism: String,
    /// `running`, `blocked`, `flow`, `closing`.
    pub state: String,
    pub ssl: bool,
    #[serde(flatten)]
    pub tls: TlsRow,
    pub host: String,
    pub port: u16,
    pub peer_host: String,
    pub peer_port: u16,
    pub channels: u64,
    pub channel_max: u16,
    pub frame_max: u32,
    /// The heartbeat, in seconds.
    pub timeout: u16,
    /// Milliseconds since the epoch.
    pub connected_at: i64,
    pub client_properties: Map<String, Value>,
}

/// What was agreed on by TLS: `null` without it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TlsRow {
    pub ssl_protocol: Option<&'static str>,
    pub ssl_key_exchange: Option<&'static str>,
    pub ssl_cipher: Option<&'static str>,
    pub ssl_hash: Option<&'static str>,
    pub peer_cert_subject: Option<String>,
    pub peer_cert_issuer: Option<String>,
    pub peer_cert_validity: Option<String>,
}

impl TlsRow {
    #[must_use]
    pub fn of(session: Option<&Session>) -> Self {
        let Some(session) = session else { return Self::default() };
        let peer = session.peer.as_ref();
        Self {
            ssl_protocol: Some(session.protocol),
            ssl_key_exchange: Some(session.key_exchange),
            ssl_cipher: Some(session.cipher),
            ssl_hash: Some(session.hash),
            peer_cert_subject: peer.map(|peer| peer.subject.clone()),
            peer_cert_issuer: peer.map(|peer| peer.issuer.clone()),
            peer_cert_validity: peer.map(|peer| peer.validity.clone()),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct ChannelRow {
    /// `<connection's name> (<number>)`.
    pub name: String,
    pub number: u16,
    pub vhost: String,
    pub user: String,
    pub user_who_performed_action: String,
    pub connection_details: ConnectionDetails,
    pub state: String,
    pub confirm: bool,
    pub consumer_count: u64,
    pub messages_unacknowledged: u64,
    pub prefetch_count: u32,
    #[serde(skip)]
    pub stats: MessageStats,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct TopicRow {
    pub name: String,
    pub vhost: String,
    pub topic_id: String,
    pub bytes: u64,
    pub configuration: Map<String, Value>,
    pub partitions: Vec<PartitionRow>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct PartitionRow {
    pub partition: i32,
    pub log_start_offset: i64,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobRow {
    pub name: String,
    pub vhost: String,
    /// `running`, `pausing`, `paused`, `finished` or `failed`.
    pub state: String,
    pub sql: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Whether an output is a `print` table, for `--follow`.
    pub prints: bool,
    pub epoch: u64,
    pub records_in: u64,
    pub records_out: u64,
    /// Rows that came too late for a window.
    pub records_late: u64,
    /// Records that could not be read or computed: they are among the dead letters, or the job stands at one.
    pub records_failed: u64,
    /// Records that are there and have not been read.
    pub lag: i64,
    pub operators: Vec<OperatorRow>,
    pub error: Option<String>,
}

/// An operator of a job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OperatorRow {
    pub id: String,
    pub name: String,
    /// Since the job was opened.
    pub records_in: u64,
    pub records_out: u64,
    pub records_late: u64,
    /// Of a source.
    pub records_failed: u64,
    /// Keys of its state that are in memory.
    pub keys: u64,
    /// In milliseconds since 1970, once there has been one.
    pub watermark: Option<i64>,
    /// Whether it went on with the state it had when the job was opened.
    pub kept: bool,
}

impl JobRow {
    /// For Prometheus.
    #[must_use]
    pub fn figures(&self) -> JobFigures {
        let operator = |o: &OperatorRow| OperatorFigures {
            id: o.id.clone(),
            name: o.name.clone(),
            records_in: o.records_in,
            records_out: o.records_out,
            records_late: o.records_late,
            records_failed: o.records_failed,
            state_keys: o.keys,
            watermark_ms: o.watermark,
        };
        JobFigures {
            name: self.name.clone(),
            state: self.state.clone(),
            lag: self.lag,
            operators: self.operators.iter().map(operator).collect(),
        }
    }
}

/// Lines of `print` tables, and where to go on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Printed {
    pub next: u64,
    pub lines: Vec<String>,
}
