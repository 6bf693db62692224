//! A job's messages for exchanges: published with the epoch that made them, in one Change with it.
//!
//! A job waits as a publisher does that is not read: while an alarm is on, for a queue that is ahead of its consumers, and
//! for room in one that refuses what it has none for.
//!
//! Consumers of classic queues may have seen messages of an epoch that waits, so that one cannot be made again but for a
//! crash. A job that is paused meanwhile is PAUSING until the epoch is taken, and then it is committed as PAUSED. The state
//! of the epoch before says PAUSED at once: a restart, which holds nothing, finds the job so.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use super::{
    EpochCommit, JobId, Log, OutMessage, STATE_KEY,
    bind::{Bound, state_key},
    worker::{Control, Order},
};
use crate::{
    broker::{
        message::Publish,
        outlet::Outlet,
        publish::{Ahead, Body, Headers, Publisher, Routed},
        queue::flow::PATIENCE,
        topic::writes::Writes,
        txn::epoch::EpochPublishes,
    },
    data::field::Properties,
    store::{Change, Space},
    stream::state::{JobState, Phase},
};

/// What a job publishes with.
pub struct Exchanges {
    control: Arc<Control>,
    outlet: Arc<Outlet>,
    publisher: Option<Publisher>,
    /// The job has been told to pause once the epoch is taken.
    pausing: bool,
}

/// What ended a wait.
#[derive(Clone, Copy)]
enum Heard {
    Ready,
    Order(Order),
    Stop,
}

impl Exchanges {
    /// `control` says when the job is to stop waiting.
    #[must_use]
    pub fn new(control: Arc<Control>) -> Self {
        Self { control, outlet: Arc::default(), publisher: None, pausing: false }
    }

    /// Whether the last epoch was committed as PAUSED, though it was made RUNNING.
    pub(super) fn take_paused(&mut self) -> bool {
        std::mem::take(&mut self.pausing)
    }

    /// Publishes an epoch's messages and submits its own Change with them.
    pub(super) fn publish(
        &mut self,
        bound: &Bound,
        epoch: &EpochCommit,
        own: Box<dyn Change>,
    ) -> Result<(), String> {
        self.wait_until(bound, &epoch.job, bound.broker.core.memory.cleared())?;
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
        if let Err(reason) =
            epoch.published.iter().try_for_each(|message| put(publisher, bound, now_ms, message))
        {
            publisher.discard();
            return Err(reason);
        }
        let mut publishes = publisher.hand_to_epoch(now_ms);
        if let Err(stopped) = self.offer(bound, &epoch.job, &mut publishes) {
            publishes.give_up();
            return Err(stopped);
        }
        // One that ends or fails the job is its last anyway.
        self.pausing &= epoch.state.phase == Phase::Running;
        let paused = self.pausing.then(|| {
            let state = JobState { phase: Phase::Paused, ..epoch.state.clone() };
            saving(&epoch.job, &state).into_change(drop)
        });
        publishes.submit(&core.store, [own].into_iter().chain(paused));
        Ok(())
    }

    /// Until all of it is taken.
    fn offer(&mut self, bound: &Bound, job: &JobId, publishes: &mut EpochPublishes) -> Result<(), String> {
        while !publishes.offer(bound.broker.core.clock.now_ms(), &self.outlet) {
            let outlet = self.outlet.clone();
            self.wait_until(bound, job, told(&outlet))?;
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
        // Whoever has something to say to the job finds the epoch committed.
        let _: Heard = self.hear(bound, pin!(over));
    }

    /// Waits in the middle of an epoch. Orders are carried out as far as they can be there.
    fn wait_until(
        &mut self,
        bound: &Bound,
        job: &JobId,
        ready: impl Future<Output = ()>,
    ) -> Result<(), String> {
        let mut ready = pin!(ready);
        loop {
            match self.hear(bound, ready.as_mut()) {
                Heard::Ready => return Ok(()),
                Heard::Order(order) => self.follow(bound, job, order)?,
                Heard::Stop => {
                    return Err("the job was stopped while it waited for its exchange's queues".to_owned());
                }
            }
        }
    }

    /// The job is PAUSING, or is no longer.
    fn follow(&mut self, bound: &Bound, job: &JobId, order: Order) -> Result<(), String> {
        let (saved, shown) = match order {
            Order::Pause => (Phase::Paused, Phase::Pausing),
            Order::Resume => (Phase::Running, Phase::Running),
        };
        let pausing = order == Order::Pause;
        if self.pausing != pausing {
            let before = bound.state(job, STATE_KEY)?;
            let before = before.as_deref().map(JobState::decode).transpose()?;
            let state = JobState { phase: saved, ..before.unwrap_or_else(JobState::unread) };
            let store = &bound.broker.core.store;
            let ticket = saving(job, &state).submit(store, drop);
            bound.runtime.block_on(store.durable(ticket)).map_err(|error| error.to_string())?;
            self.pausing = pausing;
        }
        self.control.done_as(shown);
        Ok(())
    }

    /// Waits until it is ready, or the job is told something.
    fn hear(&self, bound: &Bound, mut ready: Pin<&mut impl Future<Output = ()>>) -> Heard {
        let control = &self.control;
        bound.runtime.block_on(async {
            loop {
                let told = control.told();
                if control.stopping() {
                    return Heard::Stop;
                }
                if let Some(order) = control.first_order() {
                    return Heard::Order(order);
                }
                tokio::select! {
                    biased;
                    () = &mut ready => return Heard::Ready,
                    () = told => {}
                }
            }
        })
    }
}

/// A job's state, and nothing else.
fn saving(job: &JobId, state: &JobState) -> Writes {
    let mut writes = Writes::default();
    writes.put(Space::State, state_key(&job.0, STATE_KEY), state.encode());
    writes
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
