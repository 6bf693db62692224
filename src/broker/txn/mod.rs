//! Producers and transactions: AMQP's of a channel, and Kafka's (KIP-98, KIP-890).

pub mod channel;
pub mod coordinator;
pub mod marker;
pub mod producer;
pub mod transaction;
