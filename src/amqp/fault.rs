//! THE table from what went wrong to RabbitMQ's reply: code, level and text, word for word; where versions differ, the
//! profile says which.
//!
//! Clients and test suites compare these texts, so they are here and nowhere else, and `fixtures/amqp/faults.tsv` holds
//! them, as transcribed from our compatibility list. Which method is to blame is the caller's knowledge.
//! (AMQP 0-9-1 §1.1 constants, §2.2.1.)

mod code;
mod malformed;
#[cfg(test)]
mod tests;

pub use code::{Code, Level};

use super::wire::Malformed;
use crate::{
    broker::profile::{Profile, StreamTexts},
    data::{term, value::Value},
};

/// What goes into `connection.close` or `channel.close`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub level: Level,
    pub text: String,
}

/// `basic.return` of an unroutable mandatory publish: code and text.
pub const NO_ROUTE: (u16, &str) = (312, "NO_ROUTE");

/// A queue or an exchange in a reply text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `queue` or `exchange`.
    pub kind: &'static str,
    pub name: String,
    pub vhost: String,
}

impl Resource {
    #[must_use]
    pub fn queue(name: &str, vhost: &str) -> Self {
        Self { kind: "queue", name: name.to_owned(), vhost: vhost.to_owned() }
    }

    #[must_use]
    pub fn exchange(name: &str, vhost: &str) -> Self {
        Self { kind: "exchange", name: name.to_owned(), vhost: vhost.to_owned() }
    }

    /// As permission texts say it, where the default exchange has a name.
    fn named(&self) -> String {
        match (self.kind, self.name.as_str()) {
            ("exchange", "") => format!("exchange 'amq.default' in vhost '{}'", self.vhost),
            _ => self.to_string(),
        }
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} '{}' in vhost '{}'", self.kind, self.name, self.vhost)
    }
}

/// How a redeclaration differs: both sides as they are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub received: String,
    pub current: String,
}

impl Difference {
    /// Of a property such as `durable`.
    #[must_use]
    pub fn property(received: &str, current: &str) -> Self {
        Self { received: format!("'{received}'"), current: format!("'{current}'") }
    }

    /// Of an argument: types are told only when one side has none.
    #[must_use]
    pub fn argument(received: Option<&Value>, current: Option<&Value>) -> Self {
        if let (Some(received), Some(current)) = (received, current) {
            return Self::property(&term::value_text(received), &term::value_text(current));
        }
        let typed = |v: Option<&Value>| {
            v.map_or_else(
                || "none".to_owned(),
                |v| format!("the value '{}' of type '{}'", term::value_text(v), v.type_name()),
            )
        };
        Self { received: typed(received), current: typed(current) }
    }
}

/// Which bound a `tune-ok` broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Minimum(u32),
    Maximum(u32),
}

/// Everything that closes a channel or a connection, by situation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    // Names, declarations, access.
    NotFound(Resource),
    NoPreviousQueue,
    Inequivalent {
        arg: String,
        on: Box<Resource>,
        difference: Difference,
    },
    Locked(Resource),
    ReservedName {
        kind: &'static str,
        name: String,
    },
    DefaultExchange,
    SystemExchange(Resource),
    UnknownExchangeType(String),
    InUse(Resource),
    NotEmpty(Resource),
    InternalExchange(Resource),
    AccessRefused {
        access: &'static str,
        on: Resource,
        user: String,
    },
    TopicAccessRefused {
        access: &'static str,
        routing_key: String,
        on: Box<Resource>,
        user: String,
    },
    InvalidArg {
        arg: String,
        on: Resource,
        reason: String,
    },
    InvalidArgType {
        type_name: &'static str,
        arg: String,
        on: Resource,
    },
    ArgNotForType {
        arg: String,
        on: Resource,
        queue_type: String,
    },
    InvalidProperty {
        property: &'static str,
        on: Resource,
    },
    ServerNamed {
        queue_type: String,
    },
    /// A binding's arguments make no sense to the exchange's type, which says why in RabbitMQ's words.
    Binding(String),
    TopicWildcards {
        key: String,
        count: usize,
        count_max: usize,
    },
    BadDelayedType,
    VhostQueueLimit {
        queue: String,
        vhost: String,
        limit: u64,
    },
    // Consuming and acknowledging.
    UnknownDeliveryTag(u64),
    ConsumerTagReuse(String),
    ExclusiveUse(Resource),
    PrefetchSize(u32),
    RecoverWithoutRequeue,
    FlowInactive,
    NoPrefetch(Resource),
    AutoAckOfStream(Resource),
    UnsupportedByStream {
        what: &'static str,
        on: Resource,
    },
    /// Our own: RabbitMQ has no lists.
    UnsupportedByList {
        what: &'static str,
        on: Resource,
    },
    NoGlobalQos(Resource),
    QuorumDeleteFlag {
        flag: &'static str,
        on: Resource,
    },
    QuorumSacGet(Resource),
    ConsumerTimeout {
        channel: u16,
        timeout_ms: u64,
    },
    MaxConsumers(u32),
    NoFastReplyConsumer,
    ReplyConsumerAcknowledges,
    ReplyConsumerTwice,
    VolatileQueueBinding,
    // Publishing.
    Immediate,
    Expiration {
        value: String,
        reason: String,
    },
    UserId {
        claimed: String,
        user: String,
    },
    HeaderType {
        header: &'static str,
        type_name: &'static str,
    },
    MessageSize {
        bytes: u64,
        bytes_max: u64,
    },
    ContentSize {
        bytes: u64,
        bytes_max: u64,
    },
    BodyBeyondContentSize,
    ConfirmToTx,
    TxToConfirm,
    NotTransactional,
    PartialTx,
    /// Ours: RabbitMQ lets a transaction grow until its memory is gone.
    TxSize {
        bytes: usize,
        bytes_max: usize,
    },
    DuringCommit,
    // Frames and methods where they may not be.
    Malformed(Malformed),
    HeaderExpected {
        class: u16,
    },
    HeaderOfOtherClass {
        expected: u16,
        got: u16,
    },
    BodyExpected,
    MethodExpected,
    ChannelNotOpen,
    SecondChannelOpen,
    ConnectionState(&'static str),
    UnimplementedMethod,
    // The connection as a whole.
    TooManyChannels {
        open: usize,
        channel_max: u16,
    },
    Negotiation {
        field: &'static str,
        value: u32,
        bound: Bound,
    },
    NoVhost(String),
    VhostRefused {
        vhost: String,
        user: String,
    },
    VhostConnectionLimit {
        vhost: String,
        user: String,
        limit: u64,
    },
    UserConnectionLimit {
        user: String,
        limit: u64,
    },
    NodeConnectionLimit(u64),
    UserChannelLimit {
        user: String,
        limit: u64,
    },
    LoginRefused {
        mechanism: String,
    },
    SecretRefused,
    Forced(String),
    Shutdown,
    /// A feature that is denied by default.
    DeprecatedFeature(&'static str),
    Internal,
}

impl Fault {
    /// Code, level and text, as that RabbitMQ has them.
    #[must_use]
    pub fn reply(&self, profile: &Profile) -> Reply {
        let (code, explanation) = self.row(profile);
        let (code, level, name) = code.row();
        let text = match explanation {
            Some(explanation) => cut(format!("{name} - {explanation}")),
            None => name.to_owned(),
        };
        Reply { code, level, text }
    }

    /// The table, in the order of the enum.
    fn row(&self, profile: &Profile) -> (Code, Option<String>) {
        use Code::{
            AccessRefused, ChannelError, CommandInvalid, ConnectionForced, FrameError, InternalError,
            NotAllowed, NotFound, NotImplemented, PreconditionFailed, ResourceLocked, UnexpectedFrame,
        };
        let (code, explanation) = match self {
            Self::NotFound(what) => (NotFound, format!("no {what}")),
            Self::NoPreviousQueue => (NotFound, "no previously declared queue".to_owned()),
            Self::Inequivalent { arg, on, difference: Difference { received, current } } => (
                PreconditionFailed,
                format!("inequivalent arg '{arg}' for {on}: received {received} but current is {current}"),
            ),
            Self::Locked(queue) => (
                ResourceLocked,
                format!(
                    "cannot obtain exclusive access to locked {queue}. It could be originally declared on another \
                     connection or the exclusive property value does not match that of the original declaration."
                ),
            ),
            Self::ReservedName { kind, name } => {
                (AccessRefused, format!("{kind} name '{name}' contains reserved prefix 'amq.*'"))
            }
            Self::DefaultExchange => {
                (AccessRefused, "operation not permitted on the default exchange".to_owned())
            }
            Self::SystemExchange(what) => (AccessRefused, format!("deletion of system {what} not allowed")),
            Self::UnknownExchangeType(name) => {
                let closes_connection = profile.unknown_exchange_type_closes_connection;
                let code = if closes_connection { CommandInvalid } else { PreconditionFailed };
                (code, format!("unknown exchange type '{name}'"))
            }
            Self::InUse(what) => (PreconditionFailed, format!("{what} in use")),
            Self::NotEmpty(what) => (PreconditionFailed, format!("{what} not empty")),
            Self::InternalExchange(what) => (AccessRefused, format!("cannot publish to internal {what}")),
            Self::AccessRefused { access, on, user } => {
                let (access, on) = (access_text(access, profile), on.named());
                (AccessRefused, format!("{access}access to {on} refused for user '{user}'"))
            }
            Self::TopicAccessRefused { access, routing_key, on, user } => (
                AccessRefused,
                format!(
                    "{}access to topic '{routing_key}' in {on} refused for user '{user}'",
                    access_text(access, profile)
                ),
            ),
            Self::InvalidArg { arg, on, reason } => {
                (PreconditionFailed, format!("invalid arg '{arg}' for {on}: {reason}"))
            }
            Self::InvalidArgType { type_name, arg, on } => {
                (PreconditionFailed, format!("invalid type '{type_name}' for arg '{arg}' in {on}"))
            }
            Self::ArgNotForType { arg, on, queue_type } => {
                (PreconditionFailed, format!("invalid arg '{arg}' for {on} of queue type {queue_type}"))
            }
            Self::InvalidProperty { property, on } => {
                (PreconditionFailed, format!("invalid property '{property}' for {on}"))
            }
            Self::ServerNamed { queue_type } => {
                (PreconditionFailed, format!("Cannot declare a server-named queue for type {queue_type}"))
            }
            Self::Binding(why) => (PreconditionFailed, why.clone()),
            Self::TopicWildcards { key, count, count_max } => (
                PreconditionFailed,
                format!(
                    "Topic binding key '{key}' uses {count} '#' wildcards, at most {count_max} are allowed"
                ),
            ),
            Self::BadDelayedType => (
                PreconditionFailed,
                "Invalid argument, 'x-delayed-type' must be an existing exchange type".to_owned(),
            ),
            Self::VhostQueueLimit { queue, vhost, limit } => (
                PreconditionFailed,
                format!(
                    "cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({limit}) is reached"
                ),
            ),

            Self::UnknownDeliveryTag(tag) => (PreconditionFailed, format!("unknown delivery tag {tag}")),
            Self::ConsumerTagReuse(tag) => (NotAllowed, format!("attempt to reuse consumer tag '{tag}'")),
            Self::ExclusiveUse(queue) => (AccessRefused, format!("{queue} in exclusive use")),
            Self::PrefetchSize(size) => (NotImplemented, format!("prefetch_size!=0 ({size})")),
            Self::RecoverWithoutRequeue => (NotImplemented, "requeue=false".to_owned()),
            Self::FlowInactive => (NotImplemented, "active=false".to_owned()),
            Self::NoPrefetch(queue) => {
                let of = match profile.stream_texts {
                    StreamTexts::Old => format!("'{queue}'"),
                    StreamTexts::New => format!("stream {queue}"),
                };
                (PreconditionFailed, format!("consumer prefetch count is not set for {of}"))
            }
            Self::AutoAckOfStream(queue) => {
                let by = match profile.stream_texts {
                    StreamTexts::Old => "stream queues",
                    StreamTexts::New => "stream",
                };
                (NotImplemented, format!("automatic acknowledgement not supported by {by} {queue}"))
            }
            Self::UnsupportedByStream { what, on } => {
                (NotImplemented, format!("{what} not supported by stream queues {on}"))
            }
            Self::UnsupportedByList { what, on } => {
                (PreconditionFailed, format!("{what} not supported by list {on}"))
            }
            Self::NoGlobalQos(queue) => (NotImplemented, format!("{queue} does not support global qos")),
            Self::QuorumDeleteFlag { flag, on } => (
                NotImplemented,
                format!(
                    "cannot delete {on}. queue.delete operations with {flag} flag set are not supported by quorum queues"
                ),
            ),
            Self::QuorumSacGet(queue) => (
                ResourceLocked,
                format!(
                    "cannot obtain access to locked {queue}. basic.get operations are not supported by quorum queues \
                     with single active consumer"
                ),
            ),
            Self::ConsumerTimeout { channel, timeout_ms } => (
                PreconditionFailed,
                format!(
                    "delivery acknowledgement on channel {channel} timed out. Timeout value used: {timeout_ms} ms. This \
                     timeout value can be configured, see consumers doc guide to learn more"
                ),
            ),
            Self::MaxConsumers(count_max) => {
                (NotAllowed, format!("reached maximum ({count_max}) of consumers per channel"))
            }
            Self::NoFastReplyConsumer => {
                (PreconditionFailed, "fast reply consumer does not exist".to_owned())
            }
            Self::ReplyConsumerAcknowledges => {
                (PreconditionFailed, "reply consumer cannot acknowledge".to_owned())
            }
            Self::ReplyConsumerTwice => (PreconditionFailed, "reply consumer already set".to_owned()),
            Self::VolatileQueueBinding => {
                (AccessRefused, "cannot bind or unbind to a volatile (direct reply-to) queue".to_owned())
            }

            Self::Immediate => (NotImplemented, "immediate=true".to_owned()),
            Self::Expiration { value, reason } => {
                (PreconditionFailed, format!("invalid expiration '{value}': {reason}"))
            }
            Self::UserId { claimed, user } => (
                PreconditionFailed,
                format!("user_id property set to '{claimed}' but authenticated user was '{user}'"),
            ),
            Self::HeaderType { header, type_name } => (
                PreconditionFailed,
                format!("invalid message: {{unacceptable_type_in_header,\"{header}\",{type_name}}}"),
            ),
            Self::MessageSize { bytes, bytes_max } => (
                PreconditionFailed,
                format!("message size {bytes} is larger than configured max size {bytes_max}"),
            ),
            Self::ContentSize { bytes, bytes_max } => {
                (FrameError, format!("content body size {bytes} exceeds maximum allowed size {bytes_max}"))
            }
            Self::BodyBeyondContentSize => {
                (FrameError, "content body frame exceeds remaining content size".to_owned())
            }
            Self::ConfirmToTx => (PreconditionFailed, "cannot switch from confirm to tx mode".to_owned()),
            Self::TxToConfirm => (PreconditionFailed, "cannot switch from tx to confirm mode".to_owned()),
            Self::NotTransactional => (PreconditionFailed, "channel is not transactional".to_owned()),
            Self::PartialTx => (PreconditionFailed, "partial tx completion".to_owned()),
            Self::TxSize { bytes, bytes_max } => (
                PreconditionFailed,
                format!("transaction of {bytes} bytes is larger than the maximum of {bytes_max}"),
            ),
            Self::DuringCommit => {
                (ChannelError, "unexpected command while processing 'tx.commit'".to_owned())
            }

            Self::Malformed(malformed) => malformed::row(malformed),
            Self::HeaderExpected { class } => (
                UnexpectedFrame,
                format!("expected content header for class {class}, got non content header frame instead"),
            ),
            Self::HeaderOfOtherClass { expected, got } => (
                UnexpectedFrame,
                format!("expected content header for class {expected}, got one for class {got} instead"),
            ),
            Self::BodyExpected => {
                (UnexpectedFrame, "expected content body, got non content body frame instead".to_owned())
            }
            Self::MethodExpected => {
                (UnexpectedFrame, "expected method frame, got non method frame instead".to_owned())
            }
            Self::ChannelNotOpen => (ChannelError, "expected 'channel.open'".to_owned()),
            Self::SecondChannelOpen => (ChannelError, "second 'channel.open' seen".to_owned()),
            Self::ConnectionState(state) => {
                (ChannelError, format!("unexpected method in connection state {state}"))
            }
            Self::UnimplementedMethod => (CommandInvalid, "unimplemented method".to_owned()),

            Self::TooManyChannels { open, channel_max } => (
                NotAllowed,
                format!(
                    "number of channels opened ({open}) has reached the negotiated channel_max ({channel_max})"
                ),
            ),
            Self::Negotiation { field, value, bound } => {
                (NotAllowed, negotiation_text(field, *value, *bound))
            }
            Self::NoVhost(vhost) => (NotAllowed, format!("vhost {vhost} not found")),
            Self::VhostRefused { vhost, user } => {
                (NotAllowed, format!("access to vhost '{vhost}' refused for user '{user}'"))
            }
            Self::VhostConnectionLimit { vhost, user, limit } => (
                NotAllowed,
                format!(
                    "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached"
                ),
            ),
            Self::UserConnectionLimit { user, limit } => (
                NotAllowed,
                format!("connection refused for user '{user}': user connection limit ({limit}) is reached"),
            ),
            Self::NodeConnectionLimit(limit) => {
                (NotAllowed, format!("connection refused: node connection limit ({limit}) is reached"))
            }
            Self::UserChannelLimit { user, limit } => {
                let limit = if profile.user_channel_limit_in_brackets {
                    format!("({limit})")
                } else {
                    limit.to_string()
                };
                let has = format!("number of channels opened for user '{user}' has reached");
                (NotAllowed, format!("{has} the maximum allowed user limit of {limit}"))
            }
            Self::LoginRefused { mechanism } => (
                AccessRefused,
                format!(
                    "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
                ),
            ),
            Self::SecretRefused => (NotAllowed, "New secret was refused by one of the backends".to_owned()),
            Self::Forced(reason) => (ConnectionForced, reason.clone()),
            Self::Shutdown => {
                (ConnectionForced, "broker forced connection closure with reason 'shutdown'".to_owned())
            }
            // RabbitMQ goes on to say how it can be permitted all the same, which is cut.
            Self::DeprecatedFeature(feature) => (
                InternalError,
                format!(
                    "Feature `{feature}` is deprecated.\nBy default, this feature is not permitted anymore.\nThe feature \
                     will be removed from a future major RabbitMQ version, regardless of the configuration; actual \
                     version to be determined.\nTo continue using this feature when it is not permitted by default, \
                     set the following parameter in your configuration:"
                ),
            ),
            Self::Internal => return (InternalError, None),
        };
        (code, Some(explanation))
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// What was wanted, where the version says it.
fn access_text(access: &str, profile: &Profile) -> String {
    if profile.access_named { format!("{access} ") } else { String::new() }
}

fn negotiation_text(field: &str, value: u32, bound: Bound) -> String {
    let detail = if field == "channel_max" && value == 0 { " (no limit)" } else { "" };
    let (comparison, extreme, limit) = match bound {
        Bound::Minimum(limit) => ("lower", "minimum", limit),
        Bound::Maximum(limit) => ("higher", "maximum", limit),
    };
    format!("negotiated {field} = {value}{detail} is {comparison} than the {extreme} allowed value ({limit})")
}

/// A reply text is a short string; RabbitMQ shows where it cut.
fn cut(mut text: String) -> String {
    if text.len() > REPLY_TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(REPLY_TEXT_BYTES_MAX - 3));
        text.push_str("...");
    }
    text
}

const REPLY_TEXT_BYTES_MAX: usize = 255;
