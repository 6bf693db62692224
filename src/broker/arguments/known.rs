//! Which arguments each type of queue knows, in RabbitMQ's order.
//!
//! Only these are compared when a queue is declared again; one that only another type knows is refused; one that
//! nobody knows is taken and means nothing. (rabbit_classic_queue, rabbit_quorum_queue, rabbit_stream_queue:
//! capabilities, queue_arguments and consumer_arguments.)

use super::QueueKind;
use crate::broker::profile::Profile;

const CLASSIC: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
];

const QUORUM: &[&str] = &[
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
];

/// What 4.3 adds.
const QUORUM_RETRY: &[&str] = &[
    "x-consumer-disconnected-timeout",
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
];

const STREAM: &[&str] = &[
    "x-max-length-bytes",
    "x-queue-type",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
];

/// What 4.0 adds.
const STREAM_FILTER: &[&str] = &["x-stream-filter-size-bytes"];

/// The arguments of queues of that kind.
pub(super) fn of_queues(kind: QueueKind, profile: &Profile) -> impl Iterator<Item = &'static str> {
    let (common, more) = match kind {
        QueueKind::Classic => (CLASSIC, [].as_slice()),
        QueueKind::Quorum if profile.quorum_retry_arguments => (QUORUM, QUORUM_RETRY),
        QueueKind::Quorum => (QUORUM, [].as_slice()),
        QueueKind::Stream if profile.stream_filter_arguments => (STREAM, STREAM_FILTER),
        QueueKind::Stream => (STREAM, [].as_slice()),
    };
    // Until 3.13 classic queues did not know where a leader is.
    let leaders = kind != QueueKind::Classic || profile.queue_type_assumed;
    common.iter().chain(more).copied().filter(move |arg| leaders || *arg != "x-queue-leader-locator")
}

const CLASSIC_CONSUMER: &[&str] = &["x-priority"];
/// Mirrored queues went with 4.0.
const CLASSIC_CONSUMER_MIRRORED: &[&str] = &["x-priority", "x-cancel-on-ha-failover"];
const QUORUM_CONSUMER_RETRY: &[&str] = &["x-priority", "x-consumer-timeout"];
const STREAM_CONSUMER: &[&str] = &["x-stream-offset"];
const STREAM_CONSUMER_FILTER: &[&str] = &["x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered"];

/// The arguments of consumers of queues of that kind.
pub(super) fn of_consumers(kind: QueueKind, profile: &Profile) -> &'static [&'static str] {
    match kind {
        QueueKind::Quorum if profile.quorum_retry_arguments => QUORUM_CONSUMER_RETRY,
        QueueKind::Classic if !profile.queue_type_assumed => CLASSIC_CONSUMER_MIRRORED,
        QueueKind::Classic | QueueKind::Quorum => CLASSIC_CONSUMER,
        QueueKind::Stream if profile.stream_filter_arguments => STREAM_CONSUMER_FILTER,
        QueueKind::Stream => STREAM_CONSUMER,
    }
}

/// Whether another kind of queue knows the argument, and this one does not.
pub(super) fn is_of_other_kind(arg: &str, kind: QueueKind, profile: &Profile) -> bool {
    let knows = |kind: QueueKind| of_queues(kind, profile).any(|known| known == arg);
    !knows(kind) && QueueKind::ALL.into_iter().any(knows)
}

/// The same of a consumer's argument.
pub(super) fn is_of_other_consumers(arg: &str, kind: QueueKind, profile: &Profile) -> bool {
    let knows = |kind: QueueKind| of_consumers(kind, profile).contains(&arg);
    !knows(kind) && QueueKind::ALL.into_iter().any(knows)
}
