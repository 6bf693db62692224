//! The AMQP door: AMQP 0-9-1 as RabbitMQ speaks it.
//!
//! [`connection`] holds the protocol's state without a socket or a timer, [`handle`] calls the core, one class per file,
//! [`wire`] turns bytes into methods and back, [`fault`] has every reply text. Nothing here knows another door.

pub mod channel;
pub mod channels;
pub mod confirms;
pub mod connection;
pub mod copies;
pub mod events;
pub mod fault;
pub mod handle;
pub mod login;
pub mod overdue;
pub mod prefetch;
pub mod publish;
pub mod ranges;
pub mod session;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{sync::Arc, time::Duration};

use self::login::{CertName, Credentials};
use crate::broker::{Broker, profile::Profile};

/// How the door behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the server proposes, in bytes; 0 = no limit.
    pub frame_max: u32,
    /// What the server proposes; 0 = no limit.
    pub channel_max: u16,
    /// What the server proposes, in seconds.
    pub heartbeat_s: u16,
    pub handshake_timeout: Duration,
    pub message_bytes_max: u64,
    /// Open connections of the node; 0 = no limit.
    pub connections_max: usize,
    /// 0 = no limit.
    pub consumers_per_channel_max: u32,
    /// Who the mechanism ANONYMOUS logs in; without, it is not offered.
    pub anonymous: Option<Credentials>,
    /// What of its certificate names the user whom the mechanism EXTERNAL logs in; without, it is not offered.
    pub cert_login_from: Option<CertName>,
    /// How long a delivery may stay unacknowledged; `None`: for ever.
    pub consumer_timeout_ms: Option<u64>,
    /// How often that is looked at.
    pub consumer_tick: Duration,
    pub cluster_name: String,
}

impl Settings {
    /// RabbitMQ's defaults in that version.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        Self {
            frame_max: 131_072,
            channel_max: 2_047,
            heartbeat_s: 60,
            handshake_timeout: Duration::from_secs(10),
            message_bytes_max: profile.message_bytes_max,
            connections_max: 0,
            consumers_per_channel_max: 0,
            anonymous: None,
            cert_login_from: None,
            consumer_timeout_ms: Some(1_800_000),
            consumer_tick: Duration::from_secs(60),
            cluster_name: "rabbit@localhost".to_owned(),
        }
    }
}

/// What all connections of the door share.
pub struct Door {
    pub broker: Arc<Broker>,
    pub settings: Settings,
}

impl Door {
    #[must_use]
    pub fn new(broker: Arc<Broker>, settings: Settings) -> Arc<Self> {
        Arc::new(Self { broker, settings })
    }
}
