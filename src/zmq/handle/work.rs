//! REP and ROUTER: workers, who take requests from the queue and answer them. (28/REQREP.)
//!
//! A worker gets a request behind an envelope of our own: a number, which comes back with the answer, and an empty part. The
//! answer goes to whoever the request's `reply_to` names, a REQ or a client over AMQP, with its `correlation_id`; a request
//! that names nobody is done with it. A request is acknowledged with its answer: if the worker is gone before, another
//! gets it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Context, Ended, Handle,
    pull::{deliveries, give_back},
    push::{headers, mapped},
};
use crate::{
    broker::{
        message::{Publish, Traits},
        outlet::Event,
        queue::{ConsumerId, Entry, Queue},
        refusal::{Access, Subject},
    },
    data::field::Properties,
    zmq::{fault::Fault, publishing::Publishing, socket::Socket},
};

struct Worker {
    queue: Arc<Queue>,
    consumer: ConsumerId,
    publishing: Publishing,
    next: u64,
    /// Requests that it has, by their numbers.
    working: BTreeMap<u64, Entry>,
    /// Nothing more is given to it; what came too late.
    late: Option<Vec<Entry>>,
}

/// Requests that a ROUTER may have; a REP does one after the other.
const ROUTER_PREFETCH: u32 = 1000;

/// A REP or ROUTER has come.
///
/// # Errors
/// What it may not.
pub fn open(cx: &mut Context<'_>) -> Result<Box<dyn Handle>, Fault> {
    let queue = cx.queue(&cx.mapping.requests, Access::Read, cx.mapping.requests_max)?;
    let prefetch_count = if cx.socket == Socket::Router { ROUTER_PREFETCH } else { 1 };
    let consumer = queue.consume(cx.consumer(prefetch_count))?;
    let publishing = Publishing::new(cx.login.vhost.clone());
    Ok(Box::new(Worker { queue, consumer, publishing, next: 1, working: BTreeMap::new(), late: None }))
}

impl Worker {
    fn give(&mut self, cx: &mut Context<'_>, entry: Entry) {
        if let Some(late) = &mut self.late {
            late.push(entry);
            return;
        }
        let number = self.next;
        self.next += 1;
        cx.line.part(cx.output, &number.to_be_bytes(), true);
        cx.line.part(cx.output, &[], true);
        super::pull::write(cx.line, cx.output, &entry.message);
        self.working.insert(number, entry);
    }

    fn answer(&mut self, cx: &Context<'_>, entry: &Entry, answer: &[&[u8]]) -> Result<(), Fault> {
        let request = Properties::decode(entry.message.properties()).unwrap_or_default();
        let Some(reply_to) = request.reply_to.and_then(|name| std::str::from_utf8(name).ok()) else {
            return Ok(());
        };
        let correlated = Properties { correlation_id: request.correlation_id, ..Properties::default() };
        let (properties, body) = mapped(answer, &correlated);
        let publish = Publish {
            exchange: "",
            routing_key: reply_to,
            properties: &properties,
            traits: Traits::default(),
        };
        // Whoever asked may be gone.
        self.publishing.put(cx.now_ms, &publish, || headers(&properties), &body)?;
        Ok(())
    }
}

impl Handle for Worker {
    fn begin(&mut self, _: &mut Context<'_>) {
        self.queue.pump();
    }

    fn allow(&self, cx: &Context<'_>) -> Result<(), Fault> {
        cx.login.allow(Access::Read, &Subject::queue(&self.queue.name))
    }

    fn on_message(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Result<(), Fault> {
        let [number, [], answer @ ..] = parts else {
            tracing::debug!(peer = %cx.peer, "an answer without its envelope");
            return Ok(());
        };
        let number = <[u8; 8]>::try_from(*number).map(u64::from_be_bytes);
        let Some(entry) = number.ok().and_then(|number| self.working.remove(&number)) else {
            tracing::debug!(peer = %cx.peer, "an answer to no request that it has");
            return Ok(());
        };
        self.answer(cx, &entry, if answer.is_empty() { &[&[]] } else { answer })?;
        // The answer first: a request that is acknowledged was answered.
        self.publishing.flush(cx);
        self.queue.settle(Some(self.consumer), std::iter::once(&entry), true);
        Ok(())
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) -> Result<(), Fault> {
        match event {
            Event::Deliver { entry, .. } => {
                self.give(cx, entry);
                Ok(())
            }
            Event::Cancelled { .. } => Err(Fault::QueueGone),
            Event::GoOn => {
                self.publishing.go_on(cx.now_ms, cx.outlet);
                Ok(())
            }
            Event::Alarm(_)
            | Event::Close { .. }
            | Event::Confirm { .. }
            | Event::Heard(_)
            | Event::Loaded
            | Event::Reject { .. }
            | Event::Served(_)
            | Event::Told(_) => Ok(()),
        }
    }

    fn waits(&self) -> bool {
        self.publishing.waits()
    }

    fn deadline(&self) -> Option<std::time::Instant> {
        self.publishing.deadline()
    }

    fn on_deadline(&mut self, now: std::time::Instant) {
        self.publishing.on_deadline(now);
    }

    fn wind_down(&mut self, _: &mut Context<'_>) {
        self.late.get_or_insert_default();
    }

    fn end(&mut self, ended: &Ended<'_>, events: Vec<Event>) {
        let working = std::mem::take(&mut self.working).into_values();
        let late = self.late.take().unwrap_or_default();
        let entries: Vec<_> = working.chain(late).chain(deliveries(events)).collect();
        give_back(ended, &self.queue, self.consumer, entries);
    }
}
