//! The broker's part in what groups may set: its defaults and bounds.

use crate::broker::group::consumer::Migration;

/// The broker's defaults and bounds (`group.consumer.*` of Kafka).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    pub consumer: Timeouts,
    pub consumer_members_max: usize,
    pub share: Timeouts,
    pub share_members_max: usize,
    pub lending: Lending,
    pub migration: Migration,
}

/// A newer group's timeouts, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub session_ms: i64,
    pub session_ms_min: i64,
    pub session_ms_max: i64,
    pub heartbeat_ms: i64,
    pub heartbeat_ms_min: i64,
    pub heartbeat_ms_max: i64,
    /// Kafka's default is 1 s, ours 0, as with `group.initial.rebalance.delay.ms`: nobody waits for his partitions.
    pub assignment_ms: i64,
    pub assignment_ms_max: i64,
}

/// What share groups may lend, and how long (`group.share.*` of Kafka).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lending {
    pub lock_ms: i64,
    pub lock_ms_min: i64,
    pub lock_ms_max: i64,
    pub delivery_count_limit: i64,
    pub delivery_count_limit_min: i64,
    pub delivery_count_limit_max: i64,
    pub records_max: i64,
    pub records_max_min: i64,
    pub records_max_max: i64,
}

impl Default for Lending {
    fn default() -> Self {
        Self {
            lock_ms: 30_000,
            lock_ms_min: 15_000,
            lock_ms_max: 60_000,
            delivery_count_limit: 5,
            delivery_count_limit_min: 2,
            delivery_count_limit_max: 10,
            records_max: 2_000,
            records_max_min: 100,
            records_max_max: 4_000,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            session_ms: 45_000,
            session_ms_min: 45_000,
            session_ms_max: 60_000,
            heartbeat_ms: 5_000,
            heartbeat_ms_min: 5_000,
            heartbeat_ms_max: 15_000,
            assignment_ms: 0,
            assignment_ms_max: 15_000,
        }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            consumer: Timeouts::default(),
            consumer_members_max: 10_000,
            share: Timeouts::default(),
            share_members_max: 200,
            lending: Lending::default(),
            migration: Migration::Bidirectional,
        }
    }
}
