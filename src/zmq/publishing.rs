//! A peer's messages on their way into queues: gathered into batches, and never dropped for want of room.
//!
//! A queue that refuses what it has no room for is offered it again when it has some, and the peer is not read until then:
//! it feels its own high-water mark, as it would with a peer of its kind that does not keep up.

use std::{sync::Arc, time::Instant};

use super::{fault::Fault, handle::Context};
use crate::broker::{
    message::Publish,
    outlet::Outlet,
    publish::{Ahead, Body, Headers, Kept, Publisher, Refused, Routed},
    queue::flow::{Hold, PATIENCE},
    receipt::Receipt,
    vhost::Vhost,
};

/// Messages that a batch may gather before it leaves, in bytes.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// What a peer publishes.
pub struct Publishing {
    publisher: Publisher,
    kept: Vec<Kept>,
    /// A queue is ahead of its consumers.
    hold: Option<(Hold, Instant)>,
    /// Messages and bytes since they were counted last.
    received: u64,
}

impl Publishing {
    #[must_use]
    pub fn new(vhost: Arc<Vhost>) -> Self {
        Self { publisher: Publisher::new(vhost), kept: Vec::new(), hold: None, received: 0 }
    }

    /// Adds a message to the batch.
    ///
    /// # Errors
    /// The exchange is gone, or internal.
    pub fn put(
        &mut self,
        now_ms: i64,
        publish: &Publish<'_>,
        headers: impl Fn() -> Option<Headers>,
        body: &[u8],
    ) -> Result<Routed, Fault> {
        self.received += 1;
        Ok(self.publisher.publish(now_ms, publish, headers, &mut Body::Copied(body))?)
    }

    /// Whether the batch should leave before more is added.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.publisher.bytes_len() >= BATCH_BYTES_MAX
    }

    /// Messages in the batch.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.publisher.len()
    }

    /// Hands the batch over. What was refused is kept, to be offered again.
    pub fn flush(&mut self, cx: &Context<'_>) {
        let refused = self.hand_over(cx, None);
        self.kept.extend(refused.keep());
        self.offer(cx.now_ms, cx.outlet);
    }

    /// Hands the batch over, and says what was refused.
    pub fn hand_over(&mut self, cx: &Context<'_>, receipt: Option<&Arc<Receipt>>) -> Refused {
        let meters = &cx.door.broker.core.meters;
        if self.received > 0 {
            meters.zmq_received.add(std::mem::take(&mut self.received));
        }
        if self.publisher.is_empty() {
            return Refused::default();
        }
        let refused = self.publisher.flush(cx.now_ms, receipt);
        if let Some(Ahead { queue, messages }) = self.publisher.take_ahead()
            && self.hold.is_none()
        {
            self.hold = queue.hold_up(cx.outlet, messages).map(|hold| (hold, cx.now + PATIENCE));
        }
        refused
    }

    /// A queue has room, or is no longer ahead.
    pub fn go_on(&mut self, now_ms: i64, outlet: &Arc<Outlet>) {
        self.hold = None;
        self.offer(now_ms, outlet);
    }

    fn offer(&mut self, now_ms: i64, outlet: &Arc<Outlet>) {
        self.kept.retain_mut(|kept| !kept.offer(now_ms, outlet));
    }

    /// Whether the peer must wait.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.kept.is_empty() || self.hold.is_some()
    }

    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.hold.as_ref().map(|(_, until)| *until)
    }

    /// Nobody is held up for ever by consumers that take nothing.
    pub fn on_deadline(&mut self, now: Instant) {
        if let Some((hold, until)) = &mut self.hold
            && *until <= now
        {
            *until = now + PATIENCE;
            if !hold.goes_on() {
                self.hold = None;
            }
        }
    }

    /// Messages that were read, and that no queue has: they go with the connection.
    #[must_use]
    pub fn keeps(&self) -> bool {
        !self.kept.is_empty()
    }
}
