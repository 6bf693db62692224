//! The Kafka door.
//!
//! [`connection`] cuts frames and keeps answers in order, [`api`] is the table of what is spoken, [`handle`] answers one
//! API per file, [`wire`] has the bytes, [`fault`] the error codes. Everything it serves is the core's, in vhost `/`.

#[macro_use]
pub mod api;
pub mod advertised;
pub mod call;
pub mod connection;
mod dispatch;
pub mod fault;
pub mod features;
pub mod fetch_sessions;
pub mod handle;
pub mod login;
pub mod scram;
pub mod shown;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{path::PathBuf, sync::Arc, time::Duration};

use self::{advertised::Advertised, fetch_sessions::FetchSessions};
use crate::broker::{
    Broker,
    topic::{VhostName, config::config},
};

/// The one node's id: leader of every partition, coordinator of every group, controller.
pub const NODE_ID: i32 = 1;

/// No leader ever changes, so there is one epoch.
pub const LEADER_EPOCH: i32 = 0;

/// How the door behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What clients are told to connect to; without it, the address they connected to.
    pub advertised: Option<Advertised>,
    /// The same for clients that come by TLS.
    pub tls_advertised: Option<Advertised>,
    /// `num.partitions`: of a topic made on first use, or asked for without a number.
    pub num_partitions: u32,
    /// A replication factor above 1 is taken as 1, for programs written for a cluster; else it is refused.
    pub replication_factor_clamp: bool,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `socket.request.max.bytes`
    pub request_bytes_max: usize,
    /// `message.max.bytes`: a topic's `max.message.bytes`, unless it says its own.
    pub message_bytes_max: usize,
    /// Clients must log in.
    pub sasl: bool,
    /// `connections.max.reauth.ms`: a login is good for so long; `None`: for ever.
    pub login_lifetime: Option<Duration>,
    pub cluster_id: String,
    /// Where the log lies; nowhere, when it is in memory.
    pub log_dir: PathBuf,
}

/// What all connections of the door share.
pub struct Door {
    pub broker: Arc<Broker>,
    pub settings: Settings,
    /// Kafka knows no vhosts: the topics and groups that a client sees are those of `/`, unless it logs in to another.
    pub vhost: VhostName,
    pub fetch_sessions: Arc<FetchSessions>,
}

impl Door {
    #[must_use]
    pub fn new(broker: Arc<Broker>, settings: Settings) -> Arc<Self> {
        let fetch_sessions = FetchSessions::new(fetch_sessions::SLOTS);
        if let Some(limit) = config("max.message.bytes") {
            broker.core.topics.fix_default(limit, settings.message_bytes_max.to_string());
        }
        Arc::new(Self { broker, settings, vhost: VhostName::from("/"), fetch_sessions })
    }
}
