//! What is no request: Redis says so, and closes the connection.

use std::fmt;

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    BulkCountTooLong,
    BulkLength,
    BulkLengthUnauthenticated,
    ExpectedBulk(u8),
    InlineTooLong,
    MultibulkCountTooLong,
    MultibulkLength,
    MultibulkLengthUnauthenticated,
    RequestTooLong,
    UnbalancedQuotes,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            Self::BulkCountTooLong => f.write_str("too big bulk count string"),
            Self::BulkLength => f.write_str("invalid bulk length"),
            Self::BulkLengthUnauthenticated => f.write_str("unauthenticated bulk length"),
            Self::ExpectedBulk(got) => write!(f, "expected '$', got '{}'", char::from(*got)),
            Self::InlineTooLong => f.write_str("too big inline request"),
            Self::MultibulkCountTooLong => f.write_str("too big mbulk count string"),
            Self::MultibulkLength => f.write_str("invalid multibulk length"),
            Self::MultibulkLengthUnauthenticated => f.write_str("unauthenticated multibulk length"),
            Self::RequestTooLong => f.write_str("too big request"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
        }
    }
}
