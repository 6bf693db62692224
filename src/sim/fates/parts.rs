//! What the model is made of: messages and their deaths, copies of them, queues and consumers.

use std::collections::{BTreeSet, VecDeque};

use super::kept::Kept;
use crate::store::Ticket;

/// A death, as `x-death` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) queue: String,
    pub(super) reason: &'static str,
    pub(super) count: i64,
}

/// What a receiver sees of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) id: u64,
    pub(super) persistent: bool,
    pub(super) priority: u8,
    pub(super) expiration_ms: Option<i64>,
    pub(super) exchange: String,
    pub(super) key: String,
    /// The header `x-delay`.
    pub(super) delay_ms: Option<i64>,
    /// Which requester it asks for a reply to.
    pub(super) reply_to: Option<u32>,
    /// The most recent first.
    pub(super) deaths: Vec<Death>,
}

/// How a message came to where it is: the queues in which it died, how often; its priority, and its delay.
pub(super) type Way = (Vec<(String, i64)>, u8, Option<i64>);

impl Letter {
    pub(super) fn way(&self) -> Way {
        let deaths = self.deaths.iter().map(|death| (death.queue.clone(), death.count));
        (deaths.collect(), self.priority, self.delay_ms)
    }

    /// As it goes on after one more death: the same queue and reason counts one more, and comes to the front.
    pub(super) fn after(&self, queue: &str, reason: &'static str) -> Self {
        let mut deaths = self.deaths.clone();
        let known = deaths.iter().position(|d| d.queue == queue && d.reason == reason);
        let count = known.map_or(0, |at| deaths.remove(at).count) + 1;
        deaths.insert(0, Death { queue: queue.to_owned(), reason, count });
        Self { expiration_ms: None, deaths, ..self.clone() }
    }

    /// Whether it died in that queue before, and nobody has rejected it since.
    pub(super) fn cycles_to(&self, queue: &str) -> bool {
        for death in &self.deaths {
            if death.reason == "rejected" {
                return false;
            }
            if death.queue == queue {
                return true;
            }
        }
        false
    }
}

/// Where a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In a quorum queue, which shows it once it is in the log.
    Arriving,
    Ready,
    /// On its way to a consumer of the queue, who has not seen it.
    Handed,
    Held,
    /// A dead letter that not every target has taken, and why it died.
    Kept(&'static str),
    Ended(End),
}

/// It is gone once the log knows. What a flush had no room for goes with the next one: so it takes two tickets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct End {
    pub(super) first: Ticket,
    pub(super) second: Option<Ticket>,
    /// It went with a group, and lives on in these copies.
    pub(super) moved: Option<(usize, Vec<(String, u64)>)>,
}

/// One message in one queue.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) letter: Letter,
    /// Its position: rises with everything that enters any queue.
    pub(super) made: u64,
    pub(super) published: Ticket,
    pub(super) answered: bool,
    /// The group that made it.
    pub(super) by: Option<usize>,
    pub(super) place: Place,
    /// A client has seen it.
    pub(super) delivered: bool,
    pub(super) life: u32,
    pub(super) published_ms: i64,
    pub(super) expires_ms: i64,
    /// A quorum queue's: how often it came back, and when last (0: never).
    pub(super) returns: u32,
    pub(super) returned: u64,
    /// The log knows how often, and whether it is a dead letter.
    pub(super) counted: bool,
    /// Queues, by name and id, and the stream, that have taken the dead letter.
    pub(super) taken_by: BTreeSet<(String, u64)>,
}

impl Copy {
    /// Both are dead letters of one moment, and came by different ways. How many go at once, and so what others do between,
    /// depends on what of a queue must be read first; RabbitMQ promises an order for one way only. Messages of one priority
    /// that died in the same queues keep theirs.
    pub(super) fn of_one_moment(&self, other: &Self) -> bool {
        self.by.is_some()
            && other.by.is_some()
            && self.published_ms == other.published_ms
            && self.letter.way() != other.letter.way()
    }

    pub(super) fn sure(&self, durable: Ticket) -> bool {
        self.answered || self.published <= durable
    }
}

/// What is in the log together or not at all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) ticket: Ticket,
    /// A transaction's. Dead letters of one moment may go in several parts, as they are read back from the log.
    pub(super) whole: bool,
}

/// What a queue was declared with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Settings {
    pub(super) durable: bool,
    pub(super) quorum: bool,
    pub(super) max_priority: Option<u8>,
    pub(super) ttl_ms: Option<i64>,
    pub(super) max_length: Option<usize>,
    pub(super) max_bodies: Option<usize>,
    /// `reject-publish`, or `reject-publish-dlx`: `Some(true)`.
    pub(super) reject: Option<bool>,
    pub(super) dlx: Option<String>,
    pub(super) dlrk: Option<String>,
    pub(super) unused_ms: Option<i64>,
    pub(super) single_active: bool,
    /// Of a quorum queue without one: none, and what a client gives back goes behind the others.
    pub(super) delivery_limit: Option<u32>,
    /// A dead letter stays until every target has taken it; only with `reject-publish`.
    pub(super) at_least_once: bool,
}

/// What a policy says of one queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Policy {
    pub(super) max_length: Option<usize>,
    pub(super) dlx: Option<String>,
    pub(super) dlrk: Option<String>,
}

/// A message that a queue let go, on its way to the dead-letter exchange.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) letter: Letter,
    pub(super) reason: &'static str,
    /// `None`: a publish that the queue refused.
    pub(super) copy: Option<u64>,
}

impl Queue {
    pub(super) fn new(settings: Settings, id: u64, used_ms: i64) -> Self {
        Self { settings, id, used_ms, ..Self::default() }
    }

    /// The level of a message: `x-max-priority` of them and one, or a quorum queue's two.
    pub(super) fn level(&self, letter: &Letter) -> u8 {
        match self.settings.max_priority {
            Some(max) => letter.priority.min(max),
            None => u8::from(self.settings.quorum && letter.priority > 4),
        }
    }

    pub(super) fn is_active(&self, consumer: &Consumer) -> bool {
        self.active.as_ref().is_some_and(|(client, tag)| *client == consumer.client && *tag == consumer.tag)
    }

    /// After a crash nobody consumes.
    pub(super) fn recovered(&mut self) {
        (self.active, self.left, self.moving, self.shortened) = (None, 0, false, false);
        self.drops.clear();
        self.kept = Kept::default();
    }

    /// Whether the log holds what a client gave back as one more message.
    pub(super) fn puts_behind(&self) -> bool {
        self.settings.quorum && self.settings.delivery_limit.is_none()
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) settings: Settings,
    pub(super) copies: Vec<Copy>,
    pub(super) used_ms: i64,
    /// The broker's id: of several queues whose time has come, the lowest is first.
    pub(super) id: u64,
    pub(super) drops: VecDeque<Dead>,
    pub(super) moving: bool,
    pub(super) kept: Kept,
    /// It has new limits, and what is too much by them has not gone yet.
    pub(super) shortened: bool,
    /// The one that is served, with `x-single-active-consumer`.
    pub(super) active: Option<(usize, String)>,
    /// Of two levels: messages that left since the last chance for a normal one.
    pub(super) left: u8,
}

/// A consumer of a queue.
#[derive(Debug, Clone)]
pub(super) struct Consumer {
    pub(super) client: usize,
    pub(super) tag: String,
    pub(super) queue: String,
    /// 0: it acknowledges nothing, and takes all.
    pub(super) prefetch: usize,
    pub(super) held: usize,
    pub(super) priority: i32,
    /// The newest that was not delivered before.
    pub(super) newest: u64,
}

impl Consumer {
    /// How many messages it would take.
    pub(super) fn room(&self) -> usize {
        if self.prefetch == 0 { 1_000_000 } else { self.prefetch - self.held }
    }
}
