//! What is no ZMTP: the connection ends.

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the peer does not speak ZMTP")]
    Signature,
    #[error("the peer speaks ZMTP {0}, and 3 is the oldest that is spoken here")]
    Version(u8),
    #[error("a mechanism's name is not text")]
    Mechanism,
    #[error("the flags {0:#04x} of a frame mean nothing")]
    Flags(u8),
    #[error("a frame of {bytes} bytes, where {bytes_max} are the most")]
    FrameTooLong { bytes: u64, bytes_max: usize },
    #[error("a command {0} that is not laid out as it should be")]
    Command(&'static str),
    #[error("metadata that are no names with values")]
    Metadata,
    #[error("a command {0} where another belongs")]
    UnexpectedCommand(&'static str),
    #[error("a message before the handshake is done")]
    UnexpectedMessage,
    #[error("a box that does not open: {0}")]
    Sealed(&'static str),
}
