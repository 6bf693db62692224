//! The limits of one queue: length, bytes and time to live (RabbitMQ: `x-max-length`, `x-max-length-bytes`,
//! `x-overflow`, `x-message-ttl`, `x-expires`).
//!
//! Lengths count ready messages, and of a quorum queue what is neither ready nor with a consumer; bytes are bodies only. A message expires at the head of its queue.

/// What happens to a publish that finds the queue full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverflowMode {
    #[default]
    DropHead,
    RejectPublish,
    /// As `RejectPublish`, and what is rejected is dead-lettered.
    RejectPublishDlx,
}

/// The limits; absent ones do not limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    pub max_length: Option<u64>,
    pub max_length_bytes: Option<u64>,
    pub overflow: OverflowMode,
    pub message_ttl_ms: Option<u64>,
    /// The queue is deleted when nobody has used it for so long.
    pub unused_ms_max: Option<u64>,
}

impl Limits {
    /// Whether these are too many messages, and the oldest ready ones go. A queue that refuses publishes keeps what comes
    /// back to it, and what it has when a policy makes it shorter (rabbit_amqqueue_process: maybe_drop_head).
    #[must_use]
    #[inline]
    pub fn exceeded(&self, messages: usize, body_bytes: impl Fn() -> usize) -> bool {
        match self.overflow {
            OverflowMode::DropHead => self.are_too_small(messages, body_bytes),
            OverflowMode::RejectPublish | OverflowMode::RejectPublishDlx => false,
        }
    }

    /// Whether a queue with so many messages refuses another, with which there would be so many bytes.
    #[must_use]
    #[inline]
    pub fn refuses(&self, messages: usize, body_bytes: impl Fn() -> usize) -> bool {
        match self.overflow {
            OverflowMode::DropHead => false,
            OverflowMode::RejectPublish | OverflowMode::RejectPublishDlx => {
                self.max_length.is_some_and(|max| messages as u64 >= max)
                    || self.max_length_bytes.is_some_and(|max| body_bytes() as u64 > max)
            }
        }
    }

    /// Whether a quorum queue that has this refuses more. It takes what is too much first, as RabbitMQ's does; that goes on
    /// to refuse a channel's publishes until it is four fifths full, and this one takes them as soon as there is room.
    /// (rabbit_fifo: is_over_limit, is_below_soft_limit.)
    #[must_use]
    #[inline]
    pub fn refuses_more(&self, messages: usize, body_bytes: impl Fn() -> usize) -> bool {
        match self.overflow {
            OverflowMode::DropHead => false,
            OverflowMode::RejectPublish | OverflowMode::RejectPublishDlx => {
                self.are_too_small(messages, body_bytes)
            }
        }
    }

    fn are_too_small(&self, messages: usize, body_bytes: impl Fn() -> usize) -> bool {
        self.max_length.is_some_and(|max| messages as u64 > max)
            || self.max_length_bytes.is_some_and(|max| body_bytes() as u64 > max)
    }

    /// When a message published at `now_ms` expires; `i64::MAX` = never.
    #[must_use]
    pub fn expires_ms(&self, now_ms: i64, expiration_ms: Option<u64>) -> i64 {
        let ttl = match (self.message_ttl_ms, expiration_ms) {
            (None, None) => return i64::MAX,
            (Some(ttl), None) | (None, Some(ttl)) => ttl,
            (Some(a), Some(b)) => a.min(b),
        };
        now_ms.saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_of_both_times_to_live_counts() {
        let limits = Limits { message_ttl_ms: Some(50), ..Limits::default() };
        for (limits, expiration, expected) in [
            (Limits::default(), None, i64::MAX),
            (Limits::default(), Some(30), 130),
            (limits, None, 150),
            (limits, Some(30), 130),
            (limits, Some(80), 150),
        ] {
            assert_eq!(limits.expires_ms(100, expiration), expected);
        }
    }
}
