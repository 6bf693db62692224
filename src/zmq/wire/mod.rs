//! ZMTP 3.1, the ZeroMQ Message Transport Protocol (37/ZMTP): greeting, frames, commands, metadata, and what the security
//! mechanisms PLAIN (24) and CURVE (25, 26) send.

pub mod command;
pub mod curve;
pub mod frame;
pub mod greeting;
pub mod malformed;
pub mod metadata;
pub mod plain;
#[cfg(test)]
mod tests;
pub mod z85;

pub use malformed::Malformed;
