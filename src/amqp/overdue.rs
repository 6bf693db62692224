//! Deliveries that are not acknowledged in time (RabbitMQ: consumer_timeout).
//!
//! Until 4.2 the oldest one closes its channel, whatever queue it came from. Since 4.3 only quorum queues mind, and a
//! client that understands `basic.cancel` loses the consumer instead. Looked at in a regular tick, as RabbitMQ does, by
//! domain time. (rabbit_channel: evaluate_consumer_timeout.)

use std::collections::VecDeque;

use super::{
    channel::{Channel, Feed, Held, How, Phase},
    fault::Fault,
    session::Context,
    wire::basic,
};
use crate::broker::{arguments::QueueKind, queue::returns::Return};

/// Deliveries this close to each other count as one.
const GRAIN_MS: i64 = 10;

/// When a channel's deliveries were made: from a tag on, at that time.
#[derive(Debug, Default)]
pub struct DeliveryTimes(VecDeque<(u64, i64)>);

impl DeliveryTimes {
    /// A delivery that must be acknowledged.
    #[inline]
    pub fn note(&mut self, delivery_tag: u64, now_ms: i64) {
        if self.0.back().is_none_or(|&(_, at_ms)| now_ms >= at_ms + GRAIN_MS) {
            self.0.push_back((delivery_tag, now_ms));
        }
    }

    /// Forgets what lies before the oldest one that is outstanding.
    fn forget_before(&mut self, delivery_tag: Option<u64>) {
        let Some(oldest) = delivery_tag else {
            self.0.clear();
            return;
        };
        while self.0.get(1).is_some_and(|&(from, _)| from <= oldest) {
            self.0.pop_front();
        }
    }

    /// When a delivery was made, rather too late than too early.
    fn of(&self, delivery_tag: u64) -> Option<i64> {
        let after = self.0.partition_point(|&(from, _)| from <= delivery_tag);
        self.0.get(after.checked_sub(1)?).map(|&(_, at_ms)| at_ms + GRAIN_MS)
    }
}

/// What becomes of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    pub channel: u16,
    pub fault: Fault,
}

/// Looks at every channel: which must be closed. Consumers that are only cancelled are cancelled here.
pub fn check(cx: &mut Context<'_>) -> Vec<Overdue> {
    let mut numbers: Vec<u16> = cx.session.channels.keys().copied().collect();
    numbers.sort_unstable();
    let mut overdue = Vec::new();
    for number in numbers {
        let Some(mut channel) = cx.session.channels.remove(&number) else { continue };
        if channel.phase == Phase::Open {
            overdue.extend(check_channel(cx, &mut channel));
        }
        cx.session.channels.insert(number, channel);
    }
    overdue
}

fn check_channel(cx: &mut Context<'_>, channel: &mut Channel) -> Option<Overdue> {
    let oldest = channel.unacked.iter().next().map(|(tag, _)| tag);
    channel.delivered.forget_before(oldest);
    let profile = cx.session.door.broker.core.profile;
    if profile.classic_consumer_timeout {
        let timeout_ms =
            channel.unacked.iter().next().and_then(|(tag, held)| timed_out(cx, channel, tag, held))?;
        return Some(closing(channel.number, timeout_ms));
    }
    let of_quorum =
        |held: &Held| matches!(held, Held::Queue { queue, .. } if queue.kind == QueueKind::Quorum);
    let late: Vec<_> = channel
        .unacked
        .iter()
        .filter(|(_, held)| of_quorum(held))
        .filter_map(|(tag, held)| Some((tag, timed_out(cx, channel, tag, held)?)))
        .collect();
    let &(_, timeout_ms) = late.first()?;
    let cancels = profile.consumer_timeout_cancels && cx.session.capabilities.consumer_cancel_notify;
    give_back(cx, channel, &late, cancels);
    (!cancels).then(|| closing(channel.number, timeout_ms))
}

fn closing(channel: u16, timeout_ms: u64) -> Overdue {
    Overdue { channel, fault: Fault::ConsumerTimeout { channel, timeout_ms } }
}

/// The timeout that a delivery has exceeded: the consumer's own, the queue's, or everybody's.
fn timed_out(cx: &Context<'_>, channel: &Channel, tag: u64, held: &Held) -> Option<u64> {
    let own = match held {
        Held::Queue { queue, consumer, .. } => consumer
            .and_then(|id| channel.consumers.by_id(id)?.timeout_ms)
            .or_else(|| queue.consumer_timeout_ms()),
        Held::List { .. } | Held::Stream { .. } => None,
    };
    let timeout_ms = own.or(cx.session.door.settings.consumer_timeout_ms)?;
    let waited_ms = u64::try_from(cx.now_ms - channel.delivered.of(tag)?).ok()?;
    (waited_ms > timeout_ms).then_some(timeout_ms)
}

/// Late deliveries go back to their queues, and their consumers, who may be told, get nothing more.
fn give_back(cx: &mut Context<'_>, channel: &mut Channel, late: &[(u64, u64)], told: bool) {
    let mut returned = Vec::new();
    for (tag, _) in late {
        let Ok(held) = channel.unacked.take(*tag) else { continue };
        if let Held::Queue { consumer: Some(id), .. } = &held
            && let Some(consumer) = channel.consumers.by_id(*id).cloned()
            && matches!(consumer.feed, Feed::Queue(_))
        {
            cx.cancel(channel, &consumer);
            if told {
                let cancel = basic::Cancel { consumer_tag: &consumer.consumer_tag, nowait: true };
                cx.send(channel.number, &cancel);
            }
        }
        returned.push(held);
    }
    channel.settle(returned.into_iter(), How::Requeue(Return::TimedOut));
    super::handle::channel::show(channel);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_know_their_time_rather_too_late_than_too_early() {
        let mut times = DeliveryTimes::default();
        for (tag, now_ms) in [(1, 100), (2, 105), (3, 110), (7, 500)] {
            times.note(tag, now_ms);
        }
        let all: Vec<_> = [1, 2, 3, 6, 7, 9].map(|tag| times.of(tag).unwrap()).into();
        assert_eq!(all, [110, 110, 120, 120, 510, 510]);
        times.forget_before(Some(4));
        assert_eq!((times.of(2), times.of(4)), (None, Some(120)));
        times.forget_before(None);
        assert_eq!(times.of(7), None);
    }
}
