//! A job's messages for exchanges: published with the epoch that made them, in one Change with it.
//!
//! A job waits as a publisher does that is not read: while an alarm is on, for a queue that is ahead of its consumers, and
//! for room in one that refuses what it has none for.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use super::{OutMessage, bind::Bound, worker::Control};
use crate::{
    broker::{
        message::Publish,
        outlet::Outlet,
        publish::{Ahead, Body, Headers, Publisher, Routed},
        queue::flow::PATIENCE,
        txn::epoch::EpochPublishes,
    },
    data::field::Properties,
    store::Change,
};

/// What a job publishes with.
pub struct Exchanges {
    control: Arc<Control>,
    outlet: Arc<Outlet>,
    publisher: Option<Publisher>,
}

impl Exchanges {
    /// `control` says when the job is to stop waiting.
    #[must_use]
    pub fn new(control: Arc<Control>) -> Self {
        Self { control, outlet: Arc::default(), publisher: None }
    }

    /// Publishes an epoch's messages and submits its own Change with them.
    pub(super) fn publish(
        &mut self,
        bound: &Bound,
        messages: &[OutMessage],
        own: Box<dyn Change>,
    ) -> Result<(), String> {
        self.wait_until(bound, bound.broker.core.memory.cleared())?;
        let publisher = match &mut self.publisher {
            Some(publisher) => publisher,
            None => {
                let vhost = bound.home()?;
                let publisher = self.publisher.insert(Publisher::new(vhost));
                publisher.hold_back();
                publisher
            }
        };
        let core = &bound.broker.core;
        let now_ms = core.clock.now_ms();
        if let Err(reason) = messages.iter().try_for_each(|message| put(publisher, bound, now_ms, message)) {
            publisher.discard();
            return Err(reason);
        }
        let mut publishes = publisher.hand_to_epoch(now_ms);
        if let Err(stopped) = self.offer(bound, &mut publishes) {
            publishes.give_up();
            return Err(stopped);
        }
        publishes.submit(&core.store, own);
        Ok(())
    }

    /// Until all of it is taken.
    fn offer(&self, bound: &Bound, publishes: &mut EpochPublishes) -> Result<(), String> {
        while !publishes.offer(bound.broker.core.clock.now_ms(), &self.outlet) {
            self.wait_until(bound, told(&self.outlet))?;
        }
        Ok(())
    }

    /// Waits for the consumers of a queue that the job is far ahead of; called once an epoch is committed.
    pub(super) fn hold_up(&mut self, bound: &Bound) {
        let ahead = self.publisher.as_mut().and_then(Publisher::take_ahead);
        let Some(Ahead { queue, messages }) = ahead else { return };
        let Some(mut hold) = queue.hold_up(&self.outlet, messages) else { return };
        let over = async {
            while tokio::time::timeout(PATIENCE, told(&self.outlet)).await.is_err() && hold.goes_on() {}
        };
        // Whoever stops the job finds the epoch committed.
        let _ = self.wait_until(bound, over);
    }

    fn wait_until(&self, bound: &Bound, ready: impl Future<Output = ()>) -> Result<(), String> {
        let stopped = || "the job was stopped while it waited for its exchange's queues".to_owned();
        let control = &self.control;
        bound.runtime.block_on(async {
            let mut ready = pin!(ready);
            loop {
                let told = control.told();
                if control.stopping() {
                    return Err(stopped());
                }
                tokio::select! {
                    biased;
                    () = &mut ready => return Ok(()),
                    () = told => {}
                }
            }
        })
    }
}

/// Adds a message to what is held back.
fn put(publisher: &mut Publisher, bound: &Bound, now_ms: i64, message: &OutMessage) -> Result<(), String> {
    let OutMessage { exchange, routing_key, properties, traits, mandatory, body } = message;
    let publish = Publish { exchange, routing_key, properties, traits: *traits };
    let headers = || {
        let table = Properties::decode(properties).ok()?.header_table().ok()?;
        Some(Headers { table, alone: false })
    };
    let routed = publisher.publish(now_ms, &publish, headers, &mut Body::Copied(body));
    let meters = &publisher.core().meters;
    match routed.map_err(|refusal| bound.refusal(&refusal))? {
        Routed::Taken | Routed::Delayed => Ok(()),
        Routed::Unroutable if *mandatory => {
            meters.unroutable_returned.increment();
            Err(format!("NO_ROUTE: exchange '{exchange}' takes no message with routing key '{routing_key}'"))
        }
        Routed::Unroutable => {
            meters.unroutable_dropped.increment();
            Ok(())
        }
    }
}

/// Ready when the outlet has heard something.
async fn told(outlet: &Outlet) {
    poll_fn(|cx| {
        let mut events = Vec::new();
        outlet.drain(&mut events, cx.waker());
        if events.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}
