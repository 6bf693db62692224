//! What each command does: one family per file, one call into the keys per command.

pub mod blocking;
pub mod client;
pub mod connection;
pub mod generic;
pub mod list;
pub mod server;
pub mod string;
pub mod transaction;
