//! Why the core refuses a request. Each door translates these into its protocol's words, once, in its `fault.rs`.

use crate::data::value::Value;

/// A refused request: what was wrong, and with what.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The argument exists, but not with that value, for this kind of thing. `reason` as RabbitMQ prints the term.
    InvalidArgument {
        arg: String,
        on: Subject,
        reason: String,
    },
    /// A known thing is declared again, differently.
    Inequivalent {
        arg: String,
        on: Subject,
        difference: Box<Difference>,
    },
    /// The argument must be a string and is not.
    ArgumentType {
        arg: String,
        on: Subject,
        type_name: &'static str,
    },
    /// The argument belongs to queues of another type.
    ArgumentOfOtherType {
        arg: String,
        queue: String,
        kind: &'static str,
    },
    /// The property does not go with the queue's type (`non-durable`, `exclusive-owner`, `auto-delete`).
    InvalidProperty {
        property: &'static str,
        queue: String,
    },
    /// A queue of that type cannot be named by the server.
    ServerNamed(&'static str),
    NoQueue(String),
    NoExchange(String),
    NoVhost(String),
    /// The vhost has as many queues as it may.
    QueueLimit {
        queue: String,
        limit: u64,
    },
    /// The queue belongs to another connection.
    Locked(String),
    ReservedName {
        kind: Kind,
        name: String,
    },
    DefaultExchange,
    SystemExchange(String),
    UnknownExchangeType(String),
    InUse(Subject),
    NotEmpty(String),
    InternalExchange(String),
    Permission {
        access: Access,
        on: Subject,
        user: String,
    },
    TopicPermission {
        access: Access,
        routing_key: String,
        exchange: String,
        user: String,
    },
    /// Another consumer holds the queue exclusively, or this one cannot.
    ExclusiveUse(String),
    /// An exchange's or a binding's arguments make no sense to the exchange's type; why, in RabbitMQ's words.
    Binding(String),
    /// A topic binding's key has more `#` than this version of RabbitMQ takes.
    TopicWildcards {
        key: String,
        count: usize,
        count_max: usize,
    },
    /// A delayed exchange names no type that it could be.
    DelayedType,
    /// The queue's type does not do this; `what` names the method as RabbitMQ does.
    Unsupported {
        what: &'static str,
        queue: String,
    },
    /// A list does not do this; `what` names the method as AMQP does.
    UnsupportedByList {
        what: &'static str,
        queue: String,
    },
    /// A stream is asked for with a size it cannot have; RabbitMQ's words.
    Stream(&'static str),
    /// Quorum queues and streams know no limit shared by a channel's consumers.
    NoGlobalQos(String),
    /// A quorum queue minds no conditions (`if-unused`, `if-empty`) when it is deleted.
    DeleteCondition {
        flag: &'static str,
        queue: String,
    },
    /// `basic.get` from a quorum queue with a single active consumer.
    SingleActiveGet(String),
    /// A stream consumer without a prefetch count.
    NoPrefetch(String),
    /// The store takes no more writes.
    Storage(String),
}

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub kind: Kind,
    pub name: String,
}

impl Subject {
    #[must_use]
    pub fn queue(name: &str) -> Self {
        Self { kind: Kind::Queue, name: name.to_owned() }
    }

    #[must_use]
    pub fn exchange(name: &str) -> Self {
        Self { kind: Kind::Exchange, name: name.to_owned() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Exchange,
    Queue,
}

impl Kind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        }
    }
}

/// The three permissions of RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Configure,
    Read,
    Write,
}

impl Access {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// How a redeclaration differs from what exists.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// A property: both sides as RabbitMQ prints them.
    Property { received: String, current: String },
    /// An argument.
    Argument { received: Option<Value>, current: Option<Value> },
}
