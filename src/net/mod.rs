//! Sockets: one listener, one pump for every door.
//!
//! What is said over them lives in the doors; here are only bytes, time and going down.

pub mod buffers;
pub mod http;
pub mod listener;
pub mod output;
pub mod pump;
pub mod shutdown;
pub mod tls;
