//! Producers and transactions: AMQP's of a channel, and Kafka's (KIP-98, KIP-890).

pub mod channel;
pub mod coordinator;
pub mod epoch;
pub mod marker;
pub mod producer;
mod saved;
pub mod transaction;

/// How long those are remembered who do nothing.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// `producer.id.expiration.ms`: what partitions remember of a producer.
    pub producer_id_expiration_ms: i64,
    /// `transactional.id.expiration.ms`.
    pub transactional_id_expiration_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { producer_id_expiration_ms: DAY_MS, transactional_id_expiration_ms: 7 * DAY_MS }
    }
}

const DAY_MS: i64 = 24 * 3_600 * 1_000;
