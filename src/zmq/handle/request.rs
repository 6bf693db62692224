//! REQ and DEALER: every message is a request, and gets one answer. (28/REQREP.)
//!
//! A request is an envelope up to its first empty part, which comes back before the answer, and what follows it. A DEALER
//! that sends no empty part sends no envelope.
//!
//! With `mode = "ack"` the broker answers: `OK` once the request is stored, on disk if everything is. With `mode = "reply"`
//! whoever takes the request from the queue does, over AMQP by `reply_to` and `correlation_id`, or as a REP. A request
//! that the queue refuses is answered with an error, in either mode.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use smallvec::SmallVec;

use super::{
    Context, Ended, Handle,
    push::{headers, mapped},
};
use crate::{
    broker::{
        message::{Message, Publish, Traits},
        outlet::Event,
        publish::Routed,
        receipt::Receipt,
        refusal::{Access, Subject},
        reply::ReplyTo,
    },
    data::field::Properties,
    zmq::{
        Mode,
        fault::{Fault, OK, Unanswered},
        publishing::Publishing,
        socket::Socket,
    },
};

/// Requests of one peer that are not answered yet; it is not read beyond (`ZMQ_RCVHWM`).
const WAITING_MAX: usize = 1000;

/// What comes back before an answer.
type Envelope = SmallVec<[Box<[u8]>; 1]>;

struct Requester {
    publishing: Publishing,
    /// The number of the next request.
    next: u64,
    /// Requests in the batch: their numbers, by their ordinals.
    batch: Vec<u64>,
    answers: Answers,
}

/// Where answers come from.
enum Answers {
    /// The store; they leave in the order of the requests.
    Stored(VecDeque<Stored>),
    /// Whoever takes the requests, in any order.
    Replies { reply_to: Arc<ReplyTo>, waiting: BTreeMap<u64, Envelope> },
}

struct Stored {
    number: u64,
    envelope: Envelope,
    outcome: Option<Result<(), Unanswered>>,
}

/// A REQ or DEALER has come.
///
/// # Errors
/// What it may not.
pub fn open(cx: &mut Context<'_>) -> Result<Box<dyn Handle>, Fault> {
    queue(cx)?;
    let core = &cx.door.broker.core;
    let answers = match cx.mapping.mode {
        Mode::Ack => Answers::Stored(VecDeque::new()),
        Mode::Reply => {
            let reply_to = core.replies.open(core.ids.consumer(), 0, cx.outlet.clone());
            Answers::Replies { reply_to, waiting: BTreeMap::new() }
        }
    };
    let publishing = Publishing::new(cx.login.vhost.clone());
    Ok(Box::new(Requester { publishing, next: 1, batch: Vec::new(), answers }))
}

fn queue(cx: &Context<'_>) -> Result<(), Fault> {
    cx.queue(&cx.mapping.requests, Access::Write, cx.mapping.requests_max).map(drop)
}

/// Envelope and request.
fn split<'p, 'a>(parts: &'p [&'a [u8]]) -> (&'p [&'a [u8]], &'p [&'a [u8]]) {
    match parts.iter().position(|part| part.is_empty()) {
        // An empty part with nothing behind it is the request itself.
        Some(at) if at + 1 < parts.len() => parts.split_at(at + 1),
        Some(_) | None => (&[], parts),
    }
}

impl Requester {
    fn put(&mut self, cx: &Context<'_>, request: &[&[u8]], number: u64) -> Result<Routed, Fault> {
        let correlation_id = number.to_string();
        let (persistent, properties) = match &self.answers {
            Answers::Stored(_) => (true, Properties { delivery_mode: Some(2), ..Properties::default() }),
            Answers::Replies { reply_to, .. } => (
                false,
                Properties {
                    correlation_id: Some(correlation_id.as_bytes()),
                    reply_to: Some(reply_to.name.as_bytes()),
                    ..Properties::default()
                },
            ),
        };
        let (properties, body) = mapped(request, &properties);
        let traits = Traits { persistent, ..Traits::default() };
        let publish =
            Publish { exchange: "", routing_key: &cx.mapping.requests, properties: &properties, traits };
        let before = self.publishing.gathered();
        let routed = self.publishing.put(cx.now_ms, &publish, || headers(&properties), &body)?;
        if self.publishing.gathered() > before {
            self.batch.push(number);
        }
        Ok(routed)
    }

    /// A request will not be answered by anybody else.
    fn refuse(&mut self, cx: &mut Context<'_>, number: u64, why: Unanswered) {
        match &mut self.answers {
            Answers::Stored(waiting) => {
                if let Ok(at) = waiting.binary_search_by_key(&number, |request| request.number)
                    && let Some(request) = waiting.get_mut(at)
                {
                    request.outcome = Some(Err(why));
                }
                self.answer(cx);
            }
            Answers::Replies { waiting, .. } => {
                if let Some(envelope) = waiting.remove(&number) {
                    answer(cx, &envelope, why.text());
                }
            }
        }
    }

    /// Requests up to that one are stored, or will never be.
    fn resolve(&mut self, cx: &mut Context<'_>, first: u64, last: u64, outcome: Result<(), Unanswered>) {
        if let Answers::Stored(waiting) = &mut self.answers {
            let numbers = first..=last;
            let resolved = waiting.iter_mut().filter(|request| numbers.contains(&request.number));
            resolved.for_each(|request| {
                request.outcome.get_or_insert(outcome);
            });
        }
        self.answer(cx);
    }

    /// Sends the answers that are due, in order.
    fn answer(&mut self, cx: &mut Context<'_>) {
        let Answers::Stored(waiting) = &mut self.answers else { return };
        while let Some(Stored { envelope, outcome: Some(outcome), .. }) =
            waiting.pop_front_if(|request| request.outcome.is_some())
        {
            answer(cx, &envelope, outcome.map_or_else(Unanswered::text, |()| OK));
        }
    }

    /// Somebody answers.
    fn replied(&mut self, cx: &mut Context<'_>, message: &Message) {
        let Answers::Replies { waiting, .. } = &mut self.answers else { return };
        let properties = Properties::decode(message.properties()).unwrap_or_default();
        let envelope = match properties.correlation_id {
            Some(id) => {
                let number = std::str::from_utf8(id).ok().and_then(|text| text.parse().ok());
                number.and_then(|number: u64| waiting.remove(&number))
            }
            // Who answers one after the other need not say what: the oldest.
            None => waiting.pop_first().map(|(_, envelope)| envelope),
        };
        let Some(envelope) = envelope else {
            tracing::debug!(peer = %cx.peer, "a reply to no request that waits");
            return;
        };
        envelope.iter().for_each(|part| cx.line.part(cx.output, part, true));
        super::pull::write(cx.line, cx.output, message);
    }

    fn waiting(&self) -> usize {
        match &self.answers {
            Answers::Stored(waiting) => waiting.len(),
            Answers::Replies { waiting, .. } => waiting.len(),
        }
    }
}

/// One answer of one part.
fn answer(cx: &mut Context<'_>, envelope: &Envelope, text: &[u8]) {
    envelope.iter().for_each(|part| cx.line.part(cx.output, part, true));
    cx.line.part(cx.output, text, false);
}

impl Handle for Requester {
    fn allow(&self, cx: &Context<'_>) -> Result<(), Fault> {
        cx.login.allow(Access::Write, &Subject::queue(&cx.mapping.requests))
    }

    fn on_message(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Result<(), Fault> {
        let (envelope, request) = split(parts);
        let envelope = envelope.iter().map(|part| Box::from(*part)).collect();
        let number = self.next;
        self.next += 1;
        match &mut self.answers {
            Answers::Stored(waiting) => waiting.push_back(Stored { number, envelope, outcome: None }),
            Answers::Replies { waiting, .. } => {
                if cx.socket == Socket::Req {
                    // It waits for the answer to its last request only.
                    waiting.clear();
                }
                waiting.insert(number, envelope);
            }
        }
        if self.put(cx, request, number)? == Routed::Unroutable {
            // The queue was deleted: another one.
            queue(cx)?;
            if self.put(cx, request, number)? == Routed::Unroutable {
                self.refuse(cx, number, Unanswered::Unroutable);
            }
        }
        if self.publishing.is_large() {
            self.flush(cx);
        }
        Ok(())
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) -> Result<(), Fault> {
        match event {
            Event::Confirm { first, last, .. } => self.resolve(cx, first, last, Ok(())),
            Event::Reject { first, last, .. } => self.resolve(cx, first, last, Err(Unanswered::NotStored)),
            Event::Deliver { entry, .. } => self.replied(cx, &entry.message),
            Event::Alarm(_)
            | Event::Cancelled { .. }
            | Event::Close { .. }
            | Event::GoOn
            | Event::Heard(_)
            | Event::Loaded
            | Event::Served(_)
            | Event::Told(_) => {}
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        let batch = std::mem::take(&mut self.batch);
        let (Some(&first), Some(&last)) = (batch.first(), batch.last()) else {
            self.publishing.hand_over(cx, None);
            return;
        };
        let receipt = match &self.answers {
            Answers::Stored(_) => Some(Receipt::new(cx.outlet.clone(), 0, 0, (first, last))),
            Answers::Replies { .. } => None,
        };
        let refused = self.publishing.hand_over(cx, receipt.as_ref());
        for ordinal in refused.rejected {
            if let Some(&number) = batch.get(ordinal as usize) {
                self.refuse(cx, number, Unanswered::Full);
            }
        }
        if let Some(receipt) = receipt {
            receipt.done();
        }
    }

    fn publishing(&self) -> Option<&Publishing> {
        Some(&self.publishing)
    }

    fn publishing_mut(&mut self) -> Option<&mut Publishing> {
        Some(&mut self.publishing)
    }

    fn waits(&self) -> bool {
        self.publishing.waits() || self.waiting() >= WAITING_MAX
    }

    /// What is on its way to disk is still answered; nobody waits for those who answer themselves.
    fn owes(&self) -> bool {
        match &self.answers {
            Answers::Stored(waiting) => !waiting.is_empty(),
            Answers::Replies { .. } => false,
        }
    }

    fn end(&mut self, ended: &Ended<'_>, _: Vec<Event>) {
        if let Answers::Replies { reply_to, .. } = &self.answers {
            ended.door.broker.core.replies.close(reply_to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[&str], envelope: usize) {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let (before, behind) = split(&parts);
        assert_eq!((before.len(), before.len() + behind.len()), (envelope, parts.len()), "{parts:?}");
    }

    #[test]
    fn an_envelope_ends_with_its_first_empty_part() {
        check(&["", "a"], 1);
        check(&["id", "", "a", "", "b"], 2);
        check(&["a", "b"], 0);
        check(&[""], 0);
        check(&["a", ""], 0);
        check(&["", "", ""], 1);
    }
}
