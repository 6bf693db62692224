//! One file per class: a method comes in, one call into the broker is made, frames go out.

pub mod basic;
pub mod channel;
pub mod confirm;
pub mod connection;
pub mod consume;
pub mod deliver;
mod delivery_count;
pub mod exchange;
pub mod list;
pub mod queue;
pub mod reply;
pub mod stream;
pub mod tx;
