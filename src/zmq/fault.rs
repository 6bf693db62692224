//! Why a connection ends, and what a peer is told: during the handshake by an ERROR command, whose reasons are the status
//! codes of ZAP (27/ZAP) where libzmq has them, later by a close. What a request is answered with when it is not stored.

use super::wire::Malformed;
use crate::broker::refusal::{Access, Refusal, Subject};

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the peer asks for the mechanism {0}, which is not offered")]
    Mechanism(String),
    #[error("the peer wants to be the server")]
    TwoServers,
    #[error("the peer says ERROR: {0}")]
    Told(String),
    #[error("login refused")]
    Denied,
    #[error("{} to {} {} refused for user {user}", access.word(), on.kind.word(), on.name)]
    Access { access: Access, on: Subject, user: String },
    #[error("{} of {topic} in exchange {exchange} refused for user {user}", access.word())]
    TopicAccess { access: Access, topic: String, exchange: String, user: String },
    #[error("{0} is no socket type that is served")]
    SocketType(String),
    #[error("the vhost or the user has as many connections as it may")]
    TooMany,
    #[error("{0:?}")]
    Refused(Refusal),
    #[error("the handshake took too long")]
    HandshakeTimeout,
    #[error("nothing was heard of the peer for too long")]
    Silent,
    #[error("a message of more than {0} parts")]
    TooManyParts(usize),
    #[error("subscriptions of more than {0} bytes")]
    TooManySubscriptions(usize),
    #[error("a {0} sends no messages")]
    NoMessages(&'static str),
    #[error("its queue was deleted")]
    QueueGone,
    #[error("{0}")]
    Asked(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Fault {
    /// The reason of an ERROR command. libzmq knows three digits, and gives up on anything else alike.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooMany => "300",
            Self::Denied | Self::Access { .. } | Self::TopicAccess { .. } => "400",
            Self::Refused(_) | Self::Asked(_) => "500",
            Self::SocketType(_) => "Invalid socket type",
            Self::Mechanism(_) => "Unsupported mechanism",
            Self::Malformed(_)
            | Self::HandshakeTimeout
            | Self::TwoServers
            | Self::Told(_)
            | Self::Silent
            | Self::TooManyParts(_)
            | Self::TooManySubscriptions(_)
            | Self::NoMessages(_)
            | Self::QueueGone => "Protocol error",
        }
    }
}

/// The answer to a request that is stored.
pub const OK: &[u8] = b"OK";

/// Why a request is not, or cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    Full,
    Unroutable,
    NotStored,
}

impl Unanswered {
    /// The answer.
    #[must_use]
    pub fn text(self) -> &'static [u8] {
        match self {
            Self::Full => b"ERR the queue of requests is full",
            Self::Unroutable => b"ERR there is no queue of requests",
            Self::NotStored => b"ERR the request could not be stored",
        }
    }
}
