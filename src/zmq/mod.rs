//! The ZeroMQ door: ZMTP 3.1, as libzmq speaks it.
//!
//! [`handshake`] greets a peer and learns who it is, [`socket`] is the table of socket types and what each is given,
//! [`handle`] has one file for each of those, [`wire`] has the bytes, [`fault`] the reasons. A peer is connected to a
//! [`Mapping`]: which queue its PUSH and PULL mean, which exchange its PUB and SUB, and who answers its REQ.

pub mod connection;
pub mod curve;
pub mod fault;
pub mod handle;
pub mod handshake;
pub mod heartbeat;
pub mod keys;
pub mod line;
pub mod login;
pub mod publishing;
pub mod session;
pub mod socket;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{sync::Arc, time::Duration};

use crate::broker::Broker;

/// How the door behaves, whatever the endpoint.
pub struct Settings {
    /// Who a peer is that has not logged in.
    pub default_user: String,
    /// Nobody is served without having logged in, even on this machine.
    pub login_required: bool,
    /// All parts of a message together.
    pub message_bytes_max: usize,
    /// What may wait for a subscriber that does not read, before it loses what comes.
    pub subscriber_bytes_max: usize,
    /// From the connection to READY (`ZMQ_HANDSHAKE_IVL`).
    pub handshake_timeout: Duration,
    /// A peer that is silent for so long is asked whether it lives (`ZMQ_HEARTBEAT_IVL`); `None`: never.
    pub heartbeat: Option<Duration>,
    /// The keys of CURVE; without them nobody can log in so.
    pub curve: Option<Curve>,
}

/// The keys of CURVE.
pub struct Curve {
    pub server: keys::Pair,
    /// Who may come, and as which user; `None`: anybody on this machine, as the default user.
    pub clients: Option<keys::Clients>,
}

/// What an endpoint's sockets mean in the vhost that a peer is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// PUSH adds to it, PULL takes from it.
    pub queue: String,
    /// How many messages it is made for; more are not read from whoever sends them. 0: any number.
    pub queue_messages_max: u64,
    /// Where PUSH publishes, with the queue's name as the routing key; empty: into the queue itself.
    pub push_exchange: String,
    /// PUB publishes to it, SUB hears what is published to it.
    pub exchange: String,
    pub mode: Mode,
    /// Where requests go.
    pub requests: String,
    /// How many requests it is made for; one more is answered with an error. 0: any number.
    pub requests_max: u64,
}

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The broker: it is stored, and lasts.
    Ack,
    /// Whoever takes it from the queue: a consumer over AMQP, by direct reply-to, or a REP.
    Reply,
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
