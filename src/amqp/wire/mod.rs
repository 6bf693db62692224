//! Bytes to values and back: frames, methods, properties, field tables (AMQP 0-9-1 §2.3, §4.2).
//!
//! Decoding borrows from the read buffer and never believes a length; nothing here holds state or knows a rule about
//! when a frame may come. Each class of methods is one file whose table is the specification's; [`Method`] is over all.

pub mod access;
pub mod basic;
pub mod channel;
pub mod confirm;
pub mod connection;
pub mod content;
pub mod exchange;
pub mod frame;
pub mod header;
pub mod malformed;
mod method;
pub mod queue;
pub mod tx;

pub use crate::data::field::{Properties, reader, table, writer};
pub use malformed::{Malformed, Snippet};
pub use method::{Arguments, METHODS, Method, MethodId, Side};
