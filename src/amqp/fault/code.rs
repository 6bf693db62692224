//! Reply codes: number, name, and what each closes (AMQP 0-9-1 §1.1).

/// What a reply closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Channel,
    Connection,
}

/// The reply codes of §1.1 that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    ConnectionForced,
    AccessRefused,
    NotFound,
    ResourceLocked,
    PreconditionFailed,
    FrameError,
    CommandInvalid,
    ChannelError,
    UnexpectedFrame,
    NotAllowed,
    NotImplemented,
    InternalError,
}

impl Code {
    /// The number, what it closes (soft or hard error in the specification), and its name.
    #[must_use]
    pub fn row(self) -> (u16, Level, &'static str) {
        match self {
            Self::ConnectionForced => (320, Level::Connection, "CONNECTION_FORCED"),
            Self::AccessRefused => (403, Level::Channel, "ACCESS_REFUSED"),
            Self::NotFound => (404, Level::Channel, "NOT_FOUND"),
            Self::ResourceLocked => (405, Level::Channel, "RESOURCE_LOCKED"),
            Self::PreconditionFailed => (406, Level::Channel, "PRECONDITION_FAILED"),
            Self::FrameError => (501, Level::Connection, "FRAME_ERROR"),
            Self::CommandInvalid => (503, Level::Connection, "COMMAND_INVALID"),
            Self::ChannelError => (504, Level::Connection, "CHANNEL_ERROR"),
            Self::UnexpectedFrame => (505, Level::Connection, "UNEXPECTED_FRAME"),
            Self::NotAllowed => (530, Level::Connection, "NOT_ALLOWED"),
            Self::NotImplemented => (540, Level::Connection, "NOT_IMPLEMENTED"),
            Self::InternalError => (541, Level::Connection, "INTERNAL_ERROR"),
        }
    }
}
