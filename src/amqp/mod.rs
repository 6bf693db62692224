//! The AMQP door: AMQP 0-9-1 as RabbitMQ speaks it.
//!
//! `wire/` turns bytes into methods and back, `connection.rs` holds the protocol's state without a socket or a timer,
//! `handle/` calls the core, `fault.rs` has every reply text. Nothing here knows another door.

pub mod channel;
pub mod confirms;
pub mod connection;
pub mod copies;
pub mod expiration;
pub mod fault;
pub mod handle;
pub mod login;
pub mod prefetch;
pub mod publish;
pub mod ranges;
pub mod session;
pub mod wire;

#[cfg(test)]
mod tests;

use std::time::Duration;

/// The limits and names of the door.
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
    /// The RabbitMQ version that clients see and branch on.
    pub version: String,
    pub cluster_name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            frame_max: 131_072,
            channel_max: 2_047,
            heartbeat_s: 60,
            handshake_timeout: Duration::from_secs(10),
            message_bytes_max: 16 * 1024 * 1024,
            version: "4.2.1".to_owned(),
            cluster_name: "rabbit@localhost".to_owned(),
        }
    }
}
