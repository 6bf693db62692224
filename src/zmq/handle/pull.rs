//! PULL: messages of the queue, each to one peer. (30/PIPELINE.)
//!
//! A message leaves the queue when it is written to the peer's socket; one that is not by the time the peer is gone goes
//! back to its place, and to another peer. What lies between the socket and the peer's `recv` is ZeroMQ's own risk.

use std::{collections::VecDeque, sync::Arc};

use super::{Context, Ended, Handle};
use crate::{
    broker::{
        message::Message,
        outlet::Event,
        queue::{ConsumerId, Entry, Queue, returns::Return},
        refusal::{Access, Subject},
    },
    data::multipart::{Part, Parts},
    net::pump::Output,
    zmq::{fault::Fault, line::Line},
};

struct Pull {
    queue: Arc<Queue>,
    consumer: ConsumerId,
    /// What is not written yet, with where it ends in the output.
    unwritten: VecDeque<(u64, Entry)>,
    /// Once nothing more is given out: what came too late for that.
    late: Option<Vec<Entry>>,
}

/// A PULL has come.
///
/// # Errors
/// What it may not.
pub fn open(cx: &mut Context<'_>) -> Result<Box<dyn Handle>, Fault> {
    let queue = cx.queue(&cx.mapping.queue, Access::Read, cx.mapping.queue_messages_max)?;
    let consumer = queue.consume(cx.consumer(0))?;
    Ok(Box::new(Pull { queue, consumer, unwritten: VecDeque::new(), late: None }))
}

/// Writes a message as its parts.
pub(super) fn write(line: &mut Line, output: &mut Output, message: &Message) {
    let body_bytes = message.body_len();
    let parts = Parts::of(message.properties(), body_bytes);
    let count = parts.count();
    for (at, part) in parts.iter(body_bytes).enumerate() {
        let more = at + 1 < count;
        match part {
            Part::Head(head) => line.part(output, head, more),
            Part::Body(range) if range.len() <= SMALL_BYTES => {
                line.part(output, message.body().get(range).unwrap_or_default(), more);
            }
            Part::Body(range) => line.part_of(output, message.body_bytes().slice(range), more),
        }
    }
}

/// A part that is copied at once, without a handle of its own.
const SMALL_BYTES: usize = 1024;

/// Takes a consumer away from its queue, which may go with it, and gives back what it has of `entries`.
pub(super) fn give_back(ended: &Ended<'_>, queue: &Arc<Queue>, consumer: ConsumerId, entries: Vec<Entry>) {
    if queue.cancel(consumer) {
        // Unless somebody has come to consume meanwhile.
        let _ = ended.login.vhost.delete_queue(queue, true, false);
    }
    if !entries.is_empty() {
        queue.requeue(Some(consumer), entries.into_iter(), Return::Lost);
    }
}

/// The deliveries among events that nobody has seen.
pub(super) fn deliveries(events: Vec<Event>) -> impl Iterator<Item = Entry> {
    events.into_iter().filter_map(|event| match event {
        Event::Deliver { entry, .. } => Some(entry),
        Event::Alarm(_)
        | Event::Cancelled { .. }
        | Event::Close { .. }
        | Event::Confirm { .. }
        | Event::GoOn
        | Event::Heard(_)
        | Event::Loaded
        | Event::Reject { .. }
        | Event::Served(_)
        | Event::Told(_) => None,
    })
}

impl Handle for Pull {
    /// The queue serves it from now on: its deliveries follow READY.
    fn begin(&mut self, _: &mut Context<'_>) {
        self.queue.pump();
    }

    fn allow(&self, cx: &Context<'_>) -> Result<(), Fault> {
        cx.login.allow(Access::Read, &Subject::queue(&self.queue.name))
    }

    fn on_message(&mut self, cx: &mut Context<'_>, _: &[&[u8]]) -> Result<(), Fault> {
        Err(Fault::NoMessages(cx.socket.name()))
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) -> Result<(), Fault> {
        match event {
            Event::Deliver { entry, .. } => {
                if let Some(late) = &mut self.late {
                    late.push(entry);
                    return Ok(());
                }
                write(cx.line, cx.output, &entry.message);
                self.unwritten.push_back((cx.output.end(), entry));
                Ok(())
            }
            Event::Cancelled { .. } => Err(Fault::QueueGone),
            Event::Alarm(_)
            | Event::Close { .. }
            | Event::Confirm { .. }
            | Event::GoOn
            | Event::Heard(_)
            | Event::Loaded
            | Event::Reject { .. }
            | Event::Served(_)
            | Event::Told(_) => Ok(()),
        }
    }

    fn on_written(&mut self, written: u64) {
        let count = self.unwritten.partition_point(|(end, _)| *end <= written);
        if count > 0 {
            let written: Vec<_> = self.unwritten.drain(..count).map(|(_, entry)| entry).collect();
            self.queue.settle(Some(self.consumer), written.iter(), true);
        }
    }

    fn on_peer_closed(&mut self) {
        let unwritten = self.unwritten.drain(..).map(|(_, entry)| entry);
        self.late.get_or_insert_default().extend(unwritten);
    }

    fn wind_down(&mut self, _: &mut Context<'_>) {
        self.late.get_or_insert_default();
    }

    fn owes(&self) -> bool {
        !self.unwritten.is_empty()
    }

    fn end(&mut self, ended: &Ended<'_>, events: Vec<Event>) {
        let unwritten = std::mem::take(&mut self.unwritten).into_iter().map(|(_, entry)| entry);
        let late = self.late.take().unwrap_or_default();
        let entries: Vec<_> = unwritten.chain(late).chain(deliveries(events)).collect();
        give_back(ended, &self.queue, self.consumer, entries);
    }
}
