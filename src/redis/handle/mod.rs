//! What each command does: one family per file, one call into the keys per command.

pub mod blocking;
pub mod client;
pub mod config;
pub mod connection;
pub mod generic;
pub mod hash;
pub mod inspect;
pub mod list;
mod parts;
pub mod pubsub;
pub mod script;
pub mod server;
pub mod set;
pub mod sorted_set;
pub mod stream;
pub mod stream_group;
pub mod stream_info;
pub mod string;
mod subcommand;
pub mod transaction;
