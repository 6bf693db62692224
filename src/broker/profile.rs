//! Which RabbitMQ we behave as: THE table of what differs between versions, one field for each difference.
//!
//! Rules that hold in every version are where they are applied; what a version changes is asked of the [`Profile`] in
//! [`Core`](super::Core), and nothing else looks at version numbers. `3.12` stands for 3.12 and older. (RabbitMQ's
//! release notes; the deprecated features of 4.3.)

/// The differences. A door or the core asks for the field, never for the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Told to clients, who branch on it.
    pub version: &'static str,

    // The connection.
    /// SASL mechanisms, in the order in which `connection.start` lists them.
    pub mechanisms: &'static [&'static str],
    /// What a client hears that begins with something else than AMQP.
    pub junk_header_answer: [u8; 8],
    /// The smallest `frame_max` that a client may ask for, in bytes; also the limit before tuning.
    pub frame_max_min: u32,
    /// The largest body, unless it is configured.
    pub message_bytes_max: u64,
    /// A content header that promises more than any message may have, or a body frame longer than what is left of the
    /// content, closes the connection (501); before, the content is taken as it comes.
    pub content_size_checked: bool,

    /// `user_id` is looked at before `expiration` and CC; since 4.0 after them.
    pub user_id_checked_first: bool,

    // Texts.
    /// `unknown exchange type` closes the connection (503) rather than the channel (406).
    pub unknown_exchange_type_closes_connection: bool,
    /// Types of exchanges that this version does not have.
    pub exchange_types_missing: &'static [&'static str],
    /// The limit in the text about a user's channels is in brackets.
    pub user_channel_limit_in_brackets: bool,
    /// A refused permission names what was wanted: `configure access to queue …`.
    pub access_named: bool,
    /// `x-queue-type` of a queue that was declared without one is known to be `classic` when it is declared again.
    pub queue_type_assumed: bool,
    /// What an error about a stream calls it: `stream queues queue 'q' …` or `stream queue 'q' …`.
    pub stream_texts: StreamTexts,

    // What is allowed.
    /// A passive declare needs one of the three permissions on the name.
    pub passive_declare_needs_access: bool,
    /// Transient queues that are not exclusive may be declared.
    pub transient_nonexcl_queues: bool,
    /// `basic.qos` with `global=true` is one limit for the channel; otherwise it is read as `global=false`.
    pub global_qos: bool,
    /// `x-queue-version=1` is taken (and changes nothing).
    pub queue_version_1: bool,
    /// The most `#` in a topic binding's key.
    pub topic_wildcards_max: Option<usize>,
    /// A queue of direct reply-to cannot be bound (403); before, it is not there (404).
    pub reply_queue_binding_refused: bool,

    /// What a durable `x-recent-history` exchange has kept outlives a restart.
    pub exchange_history_lasts: bool,

    // Queues and messages.
    /// Of a quorum queue that names none.
    pub delivery_limit: Option<u64>,
    /// Classic queues, too, cancel consumers that do not acknowledge in time.
    pub classic_consumer_timeout: bool,
    /// A consumer that does not acknowledge in time is cancelled if the client understands that, instead of losing the
    /// channel.
    pub consumer_timeout_cancels: bool,
    /// `x-death` of a message that a client publishes goes on being counted.
    pub client_x_death_trusted: bool,
    /// `x-last-death-*`, and all headers sorted by name once the broker adds one.
    pub x_last_death: bool,
    /// `x-delivery-count` is there from the first `basic.get`, as 0; otherwise from the second delivery.
    pub delivery_count_from_first_get: bool,
    /// What a message's priority means in a quorum queue.
    pub quorum_priorities: QuorumPriorities,
    /// Of a quorum queue with a single active consumer, the one with the highest `x-priority` becomes active.
    pub single_active_follows_priority: bool,
    /// Quorum queues tell deliveries (`x-acquired-count`) from failed ones (`x-delivery-count`), and only failed ones
    /// count against the limit: `basic.reject` and lost consumers, not `basic.nack`.
    pub delivery_failures_counted: bool,
    /// What a stream delivered can only be acknowledged; since 3.13 it does not matter how it is settled.
    pub stream_rejects_refused: bool,
    /// `x-stream-filter-size-bytes`, `x-stream-filter` and `x-stream-match-unfiltered` are arguments of streams, and no other
    /// queue's; before, nobody looks at them where they mean nothing.
    pub stream_filter_arguments: bool,
    /// Quorum queues take `x-consumer-timeout` and `x-delayed-retry-*`, and policies have those keys.
    pub quorum_retry_arguments: bool,
}

/// Priorities in quorum queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuorumPriorities {
    /// None, until 3.13.
    None,
    /// Above 4 is high; two high ones go for each normal one.
    TwoWeighted,
    /// 32 levels, strictly.
    Strict,
}

/// What error texts call a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamTexts {
    /// Until 3.13: the resource with quotes around it, and `stream queues`.
    Old,
    New,
}

/// 3.12 and older.
pub static V3_12: Profile = Profile {
    version: "3.12.14",
    mechanisms: &["AMQPLAIN", "PLAIN"],
    junk_header_answer: *b"AMQP\x00\x00\x09\x01",
    frame_max_min: 4_096,
    message_bytes_max: 128 * MIB,
    content_size_checked: false,
    user_id_checked_first: true,
    unknown_exchange_type_closes_connection: true,
    exchange_types_missing: &["x-local-random"],
    user_channel_limit_in_brackets: true,
    access_named: false,
    queue_type_assumed: false,
    stream_texts: StreamTexts::Old,
    passive_declare_needs_access: false,
    transient_nonexcl_queues: true,
    global_qos: true,
    queue_version_1: true,
    topic_wildcards_max: None,
    reply_queue_binding_refused: false,
    exchange_history_lasts: false,
    delivery_limit: None,
    classic_consumer_timeout: true,
    consumer_timeout_cancels: false,
    client_x_death_trusted: true,
    x_last_death: false,
    delivery_count_from_first_get: true,
    quorum_priorities: QuorumPriorities::None,
    single_active_follows_priority: false,
    delivery_failures_counted: false,
    stream_rejects_refused: true,
    stream_filter_arguments: false,
    quorum_retry_arguments: false,
};

/// 3.13.
pub static V3_13: Profile = Profile {
    version: "3.13.7",
    unknown_exchange_type_closes_connection: false,
    stream_rejects_refused: false,
    access_named: true,
    x_last_death: true,
    ..V3_12
};

/// 4.2, the default.
pub static V4_2: Profile = Profile {
    version: "4.2.9",
    mechanisms: &["PLAIN", "AMQPLAIN", "ANONYMOUS"],
    junk_header_answer: *b"AMQP\x03\x01\x00\x00",
    frame_max_min: 8_192,
    message_bytes_max: 16 * MIB,
    content_size_checked: true,
    user_id_checked_first: false,
    exchange_types_missing: &[],
    user_channel_limit_in_brackets: false,
    queue_type_assumed: true,
    stream_texts: StreamTexts::New,
    passive_declare_needs_access: true,
    reply_queue_binding_refused: true,
    exchange_history_lasts: true,
    delivery_limit: Some(20),
    client_x_death_trusted: false,
    delivery_count_from_first_get: false,
    quorum_priorities: QuorumPriorities::TwoWeighted,
    stream_filter_arguments: true,
    single_active_follows_priority: true,
    ..V3_13
};

/// 4.3.
pub static V4_3: Profile = Profile {
    version: "4.3.5",
    // The plugin kept its messages in Mnesia.
    exchange_types_missing: &["x-delayed-message"],
    transient_nonexcl_queues: false,
    global_qos: false,
    queue_version_1: false,
    topic_wildcards_max: Some(2),
    classic_consumer_timeout: false,
    consumer_timeout_cancels: true,
    quorum_priorities: QuorumPriorities::Strict,
    delivery_failures_counted: true,
    quorum_retry_arguments: true,
    ..V4_2
};

const MIB: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_its_predecessor_with_what_it_changed() {
        let rows = |of: fn(&Profile) -> String| [&V3_12, &V3_13, &V4_2, &V4_3].map(of);
        let yes = |of: fn(&Profile) -> bool| [&V3_12, &V3_13, &V4_2, &V4_3].map(of);
        assert_eq!(rows(|p| p.version.to_owned()), ["3.12.14", "3.13.7", "4.2.9", "4.3.5"]);
        assert_eq!(rows(|p| p.frame_max_min.to_string()), ["4096", "4096", "8192", "8192"]);
        assert_eq!(rows(|p| (p.message_bytes_max >> 20).to_string()), ["128", "128", "16", "16"]);
        assert_eq!(
            rows(|p| p.delivery_limit.map_or_else(String::new, |n| n.to_string())),
            ["", "", "20", "20"]
        );
        assert_eq!(yes(|p| p.unknown_exchange_type_closes_connection), [true, false, false, false]);
        assert_eq!(
            rows(|p| p.exchange_types_missing.join(" ")),
            ["x-local-random", "x-local-random", "", "x-delayed-message"]
        );
        assert_eq!(yes(|p| p.x_last_death), [false, true, true, true]);
        assert_eq!(yes(|p| p.client_x_death_trusted), [true, true, false, false]);
        assert_eq!(yes(|p| p.transient_nonexcl_queues), [true, true, true, false]);
        assert_eq!(yes(|p| p.global_qos), [true, true, true, false]);
        assert_eq!(yes(|p| p.queue_version_1), [true, true, true, false]);
        assert_eq!(yes(|p| p.classic_consumer_timeout), [true, true, true, false]);
        assert_eq!(yes(|p| p.junk_header_answer[4] == 3), [false, false, true, true]);
        assert_eq!(yes(|p| p.mechanisms.contains(&"ANONYMOUS")), [false, false, true, true]);
    }
}
