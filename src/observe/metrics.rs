//! The one table of counters: what the core increments, under RabbitMQ's names where RabbitMQ has them.
//!
//! Plain relaxed atomics: whoever handles a batch adds once per batch. Gauges are no counters: they are taken from
//! the broker when somebody asks ([`expose::Figures`](crate::observe::expose::Figures)).

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn increment(&self) {
        self.add(1);
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter as it is exposed.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub name: &'static str,
    pub help: &'static str,
    /// The protocol it counts, as a label; none for a counter of the whole server.
    pub protocol: Option<&'static str>,
    pub value: u64,
}

macro_rules! counters {
    ($($field:ident $name:literal $protocol:expr, $help:literal;)*) => {
        /// Every counter of the server.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: Counter,)*
            /// Sizes of published bodies.
            pub message_sizes: Sizes,
            /// Redis' commands, those that are unknown not.
            pub redis_calls: ByName,
            /// Redis' error replies, by their code.
            pub redis_errors: ByName,
        }

        impl Metrics {
            fn table(&self) -> impl Iterator<Item = Sample> {
                [$(Sample { name: $name, help: $help, protocol: $protocol, value: self.$field.total() },)*].into_iter()
            }
        }
    };
}

const AMQP: Option<&str> = Some("amqp091");
const KAFKA: Option<&str> = Some("kafka");
const REDIS: Option<&str> = Some("redis");
const ZMQ: Option<&str> = Some("zmq");

counters! {
    connections_opened "rabbitmq_connections_opened_total" None, "Total number of connections opened";
    connections_closed "rabbitmq_connections_closed_total" None, "Total number of connections closed or terminated";
    channels_opened "rabbitmq_channels_opened_total" None, "Total number of channels opened";
    channels_closed "rabbitmq_channels_closed_total" None, "Total number of channels closed";
    queues_declared "rabbitmq_queues_declared_total" None, "Total number of queues declared";
    queues_created "rabbitmq_queues_created_total" None, "Total number of queues created";
    queues_deleted "rabbitmq_queues_deleted_total" None, "Total number of queues deleted";
    auth_succeeded "rabbitmq_auth_attempts_succeeded_total" None, "Total number of successful authentication attempts";
    auth_failed "rabbitmq_auth_attempts_failed_total" None, "Total number of failed authentication attempts";
    received "rabbitmq_global_messages_received_total" AMQP, "Total number of messages received from publishers";
    received_confirm "rabbitmq_global_messages_received_confirm_total" AMQP, "Total number of messages received from publishers expecting confirmations";
    confirmed "rabbitmq_global_messages_confirmed_total" AMQP, "Total number of messages confirmed to publishers";
    routed "rabbitmq_global_messages_routed_total" AMQP, "Total number of messages routed to queues or streams";
    unroutable_dropped "rabbitmq_global_messages_unroutable_dropped_total" AMQP, "Total number of messages published as non-mandatory into an exchange and dropped as unroutable";
    unroutable_returned "rabbitmq_global_messages_unroutable_returned_total" AMQP, "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable";
    acknowledged "rabbitmq_global_messages_acknowledged_total" AMQP, "Total number of messages acknowledged by consumers";
    redelivered "rabbitmq_global_messages_redelivered_total" AMQP, "Total number of messages redelivered to consumers";
    delivered_auto_ack "rabbitmq_global_messages_delivered_consume_auto_ack_total" AMQP, "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment";
    delivered_manual_ack "rabbitmq_global_messages_delivered_consume_manual_ack_total" AMQP, "Total number of messages delivered to consumers using basic.consume with manual acknowledgment";
    got_auto_ack "rabbitmq_global_messages_delivered_get_auto_ack_total" AMQP, "Total number of messages delivered to consumers using basic.get with automatic acknowledgment";
    got_manual_ack "rabbitmq_global_messages_delivered_get_manual_ack_total" AMQP, "Total number of messages delivered to consumers using basic.get with manual acknowledgment";
    get_empty "rabbitmq_global_messages_get_empty_total" AMQP, "Total number of times basic.get operations fetched no message";
    dead_lettered_expired "rabbitmq_global_messages_dead_lettered_expired_total" AMQP, "Total number of messages dead-lettered due to message TTL exceeded";
    dead_lettered_rejected "rabbitmq_global_messages_dead_lettered_rejected_total" AMQP, "Total number of messages dead-lettered due to basic.reject or basic.nack";
    dead_lettered_maxlen "rabbitmq_global_messages_dead_lettered_maxlen_total" AMQP, "Total number of messages dead-lettered due to overflow drop-head or reject-publish-dlx";
    dead_lettered_delivery_limit "rabbitmq_global_messages_dead_lettered_delivery_limit_total" AMQP, "Total number of messages dead-lettered due to delivery-limit exceeded";
    kafka_records_produced "warren_records_produced_total" KAFKA, "Total number of records appended by producers";
    kafka_records_fetched "warren_records_fetched_total" KAFKA, "Total number of records sent to consumers";
    kafka_bytes_produced "warren_record_bytes_produced_total" KAFKA, "Total size of record batches appended by producers";
    kafka_bytes_fetched "warren_record_bytes_fetched_total" KAFKA, "Total size of record batches sent to consumers";
    kafka_requests "warren_requests_total" KAFKA, "Total number of requests handled";
    redis_commands "warren_commands_total" REDIS, "Total number of commands handled";
    zmq_received "warren_messages_received_total" ZMQ, "Total number of messages received from peers";
    zmq_sent "warren_messages_sent_total" ZMQ, "Total number of messages sent to peers";
    subscribers_missed "warren_messages_missed_total" ZMQ, "Total number of messages that subscribers lost because they did not read";
    jobs_records_in "warren_stream_records_in_total" None, "Total number of records read by stream jobs";
    jobs_records_out "warren_stream_records_out_total" None, "Total number of records written by stream jobs";
    jobs_records_late "warren_stream_records_late_total" None, "Total number of records that came too late for a window of a stream job";
    jobs_records_failed "warren_stream_records_failed_total" None, "Total number of records that a stream job could not read or compute";
    jobs_sync_timeouts "warren_stream_sync_timeouts_total" None, "Total number of producers' answers that did not wait until the jobs with sync=true had read the records";
    jobs_epochs "warren_stream_epochs_total" None, "Total number of epochs committed by stream jobs";
}

impl Metrics {
    /// Messages delivered, however they were asked for.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered_auto_ack.total()
            + self.delivered_manual_ack.total()
            + self.got_auto_ack.total()
            + self.got_manual_ack.total()
    }

    /// All counters, in the order of the table.
    pub fn samples(&self) -> impl Iterator<Item = Sample> {
        let delivered = Sample {
            name: "rabbitmq_global_messages_delivered_total",
            help: "Total number of messages delivered to consumers",
            protocol: AMQP,
            value: self.delivered(),
        };
        self.table().chain([delivered])
    }
}

/// Counters under names that whoever counts knows, and gives once.
#[derive(Debug, Default)]
pub struct ByName(OnceLock<Box<[(&'static str, Counter)]>>);

impl ByName {
    /// The names, in the order of the numbers they are counted under. What was counted before them is lost.
    pub fn name(&self, names: impl Iterator<Item = &'static str>) {
        self.0.get_or_init(|| names.map(|name| (name, Counter::default())).collect());
    }

    #[inline]
    pub fn count(&self, number: usize) {
        if let Some((_, counter)) = self.0.get().and_then(|counters| counters.get(number)) {
            counter.increment();
        }
    }

    /// Names with what was counted, where that is something.
    pub fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counters = self.0.get().into_iter().flatten();
        counters.map(|(name, counter)| (*name, counter.total())).filter(|(_, total)| *total > 0)
    }
}

/// A histogram of message sizes in RabbitMQ's buckets.
#[derive(Debug, Default)]
pub struct Sizes {
    buckets: [Counter; SIZE_BOUNDS.len() + 1],
    sum: Counter,
}

impl Sizes {
    /// Counts `n` messages of that size.
    pub fn observe(&self, body_bytes: u64, n: u64) {
        let at = SIZE_BOUNDS.iter().position(|bound| body_bytes <= *bound).unwrap_or(SIZE_BOUNDS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.add(n);
        }
        self.sum.add(body_bytes.saturating_mul(n));
    }

    /// Upper bounds with how many were at most that large; the last bound is infinite and counts all.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = SIZE_BOUNDS.into_iter().map(Some).chain([None]);
        self.buckets.iter().zip(bounds).scan(0, |total, (bucket, bound)| {
            *total += bucket.total();
            Some((bound, *total))
        })
    }

    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.total()
    }
}

/// RabbitMQ's bounds of `rabbitmq_message_size_bytes`.
const SIZE_BOUNDS: [u64; 8] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_counters_share_a_name() {
        let metrics = Metrics::default();
        let names: BTreeSet<_> = metrics.samples().map(|s| s.name).collect();
        assert_eq!(names.len(), metrics.samples().count());
        assert!(names.iter().all(|n| n.ends_with("_total")));
    }

    #[test]
    fn sizes_fall_into_the_bucket_that_holds_them() {
        let sizes = Sizes::default();
        for (bytes, n) in [(100, 1), (101, 2), (200_000_000, 1)] {
            sizes.observe(bytes, n);
        }
        let counts: Vec<u64> = sizes.cumulative().map(|(_, n)| n).collect();
        assert_eq!(counts, [1, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(sizes.sum(), 100 + 202 + 200_000_000);
    }
}
