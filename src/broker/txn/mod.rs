//! Producers and transactions. In this version: AMQP's transactions of a channel, and idempotent producers.

pub mod channel;
pub mod producer;
