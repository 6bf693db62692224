//! The Redis door.
//!
//! [`connection`] cuts requests and keeps replies in order, [`command`] is the table of what is spoken, [`handle`] has one
//! family of commands per file, [`wire`] has the bytes, [`fault`] the texts of errors. What it serves are the keys of a
//! vhost (`broker/keyspace`), `/` unless a client logs in as `vhost:user`.

pub mod afterwards;
pub mod call;
pub mod client;
pub mod clients;
pub mod command;
pub mod connection;
pub mod fault;
pub mod handle;
pub mod login;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{sync::Arc, time::Instant};

use self::clients::Clients;
use crate::broker::Broker;

/// The Redis that we behave as.
pub const VERSION: &str = "7.0.15";

/// How the door behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who a client is that has not logged in, or gives a password only.
    pub default_user: String,
    /// Nobody is served without having logged in, even on this machine.
    pub login_required: bool,
    /// `proto-max-bulk-len`
    pub bulk_bytes_max: usize,
    /// `client-query-buffer-limit`: one request, and what a transaction holds back.
    pub request_bytes_max: usize,
    pub port: u16,
}

/// What all connections of the door share.
pub struct Door {
    pub broker: Arc<Broker>,
    pub settings: Settings,
    pub clients: Clients,
    pub started: Instant,
}

impl Door {
    #[must_use]
    pub fn new(broker: Arc<Broker>, settings: Settings, started: Instant) -> Arc<Self> {
        let meters = &broker.core.meters;
        meters.redis_calls.name(command::COMMANDS.iter().map(|command| command.name));
        meters.redis_errors.name(fault::CODES.iter().copied());
        Arc::new(Self { broker, settings, clients: Clients::default(), started })
    }
}
