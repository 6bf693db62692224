//! The slow obvious model of exchanges and queues: what was done, what may be lost, what must not.
//!
//! A queue is a map of its messages by number: numbers rise with every publish of a run, so their order is the
//! queue's. What was done is durable for sure once the store is past the ticket that was the last one right after it.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::Ticket;

/// When something was done, and whether its client has the answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) ticket: Ticket,
    pub(super) answered: bool,
}

impl Mark {
    /// It must survive a crash.
    pub(super) fn holds(&self, durable: Ticket) -> bool {
        self.answered || self.ticket <= durable
    }
}

/// One message in one queue.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) persistent: bool,
    pub(super) published: Mark,
    /// The broker's life in which it was published.
    pub(super) life: u32,
    /// A client has seen it, and has not settled it.
    pub(super) held: bool,
    /// Some client has seen it.
    pub(super) delivered: bool,
    pub(super) settled: Option<Settled>,
}

impl Copy {
    pub(super) fn ready(&self) -> bool {
        !self.held && self.settled.is_none()
    }
}

/// Acknowledged, thrown away or purged. What a flush had no room for goes with the next one, which is submitted when
/// the first is committed: so it takes two tickets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    first: Ticket,
    second: Option<Ticket>,
}

impl Settled {
    fn on_turn(&mut self, durable: Ticket, submitted: Ticket) -> bool {
        if self.first <= durable {
            self.second.get_or_insert(submitted);
        }
        self.second.is_some_and(|second| second <= durable)
    }
}

/// What is known of a queue's name.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) durable: bool,
    pub(super) exists: bool,
    /// Of the last declaration or deletion.
    pub(super) changed: Mark,
    pub(super) copies: BTreeMap<u64, Copy>,
    /// What went with deleted ones: it may come back if the deletion is lost.
    pub(super) ghosts: BTreeSet<u64>,
}

/// An exchange's name, a queue's, and the key.
pub(super) type BindingKey = (&'static str, String, String);

#[derive(Debug, Clone, Copy)]
pub(super) struct Binding {
    pub(super) exists: bool,
    pub(super) changed: Mark,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) queues: BTreeMap<String, Queue>,
    pub(super) bindings: BTreeMap<BindingKey, Binding>,
    /// The number of the next message.
    pub(super) next_id: u64,
}

pub(super) const DIRECT: &str = "sim.direct";
pub(super) const FANOUT: &str = "sim.fanout";
pub(super) const TOPIC: &str = "sim.topic";

impl Model {
    pub(super) fn exists(&self, queue: &str) -> bool {
        self.queues.get(queue).is_some_and(|q| q.exists)
    }

    pub(super) fn declare(&mut self, name: &str, durable: bool, ticket: Ticket) {
        let queue = self.queues.entry(name.to_owned()).or_default();
        if !queue.exists {
            let changed = Mark { ticket, answered: false };
            let ghosts = std::mem::take(&mut queue.ghosts);
            *queue = Queue { durable, exists: true, changed, copies: BTreeMap::new(), ghosts };
        }
    }

    pub(super) fn delete(&mut self, name: &str, ticket: Ticket) {
        let changed = Mark { ticket, answered: false };
        if let Some(queue) = self.queues.get_mut(name) {
            queue.ghosts.extend(std::mem::take(&mut queue.copies).into_keys());
            (queue.exists, queue.changed) = (false, changed);
        }
        for ((_, queue, _), binding) in &mut self.bindings {
            if *queue == name && binding.exists {
                *binding = Binding { exists: false, changed };
            }
        }
    }

    pub(super) fn bind(&mut self, key: BindingKey, exists: bool, ticket: Ticket) {
        let changed = Mark { ticket, answered: false };
        let known = self.bindings.entry(key).or_insert(Binding { exists: !exists, changed });
        if known.exists != exists {
            *known = Binding { exists, changed };
        }
    }

    /// The client has its answer: what it asked for holds, unless another has changed it since.
    pub(super) fn answered(&mut self, request: &Request) {
        let known = match &request.about {
            About::Queue(name) => self.queues.get_mut(name).map(|q| (q.exists, &mut q.changed)),
            About::Binding(key) => self.bindings.get_mut(key).map(|b| (b.exists, &mut b.changed)),
        };
        if let Some((exists, changed)) = known
            && exists == request.exists
            && changed.ticket <= request.ticket
        {
            changed.answered = true;
        }
    }

    /// The queues that get a message, in any order, each once.
    pub(super) fn route(&self, exchange: &str, routing_key: &str) -> BTreeSet<String> {
        if exchange.is_empty() {
            return self
                .queues
                .keys()
                .filter(|name| *name == routing_key && self.exists(name))
                .cloned()
                .collect();
        }
        let matches = |key: &str| match exchange {
            DIRECT => key == routing_key,
            FANOUT => true,
            _ => topic_matches(
                &key.split('.').collect::<Vec<_>>(),
                &routing_key.split('.').collect::<Vec<_>>(),
            ),
        };
        self.bindings
            .iter()
            .filter(|((source, _, key), binding)| *source == exchange && binding.exists && matches(key))
            .map(|((_, queue, _), _)| queue.clone())
            .collect()
    }

    pub(super) fn publish(&mut self, id: u64, queues: &BTreeSet<String>, copy: &Copy) {
        for name in queues {
            let queue = self.queues.get_mut(name).expect("a route leads to a queue");
            queue.copies.insert(id, copy.clone());
        }
    }

    pub(super) fn confirmed(&mut self, id: u64) {
        for queue in self.queues.values_mut() {
            if let Some(copy) = queue.copies.get_mut(&id) {
                copy.published.answered = true;
            }
        }
    }

    /// That copy, if it has not been settled for good.
    pub(super) fn copy(&mut self, queue: &str, id: u64) -> Option<&mut Copy> {
        self.queues.get_mut(queue)?.copies.get_mut(&id)
    }

    pub(super) fn settle(&mut self, queue: &str, id: u64, ticket: Ticket) {
        if let Some(copy) = self.copy(queue, id) {
            copy.held = false;
            copy.settled.get_or_insert(Settled { first: ticket, second: None });
        }
    }

    /// Held messages go back.
    pub(super) fn release(&mut self, queue: &str, id: u64) {
        if let Some(copy) = self.copy(queue, id) {
            copy.held = false;
        }
    }

    /// Purged: what is ready goes.
    pub(super) fn purge(&mut self, queue: &str, ticket: Ticket) {
        for copy in self.queues.get_mut(queue).into_iter().flat_map(|q| q.copies.values_mut()) {
            if copy.ready() {
                copy.settled = Some(Settled { first: ticket, second: None });
            }
        }
    }

    /// The oldest message that is ready.
    pub(super) fn front(&self, queue: &str) -> Option<u64> {
        let copies = &self.queues.get(queue)?.copies;
        copies.iter().find(|(_, c)| c.ready()).map(|(id, _)| *id)
    }

    /// A turn has been committed: what was settled before is gone for good.
    pub(super) fn on_turn(&mut self, durable: Ticket, submitted: Ticket) {
        for queue in self.queues.values_mut() {
            queue.copies.retain(|_, copy| {
                !copy.settled.as_mut().is_some_and(|settled| settled.on_turn(durable, submitted))
            });
            if queue.changed.holds(durable) {
                queue.ghosts.clear();
            }
        }
    }
}

/// A request for something to be there, or not.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) about: About,
    pub(super) exists: bool,
    /// The last one when the request had been handled.
    pub(super) ticket: Ticket,
}

#[derive(Debug, Clone)]
pub(super) enum About {
    Queue(String),
    Binding(BindingKey),
}

/// `*` is one word, `#` any number of them. As slow and plain as can be.
pub(super) fn topic_matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((&"#", pattern_rest)), _) => {
            topic_matches(pattern_rest, key)
                || key.split_first().is_some_and(|(_, key_rest)| topic_matches(pattern, key_rest))
        }
        (Some((word, pattern_rest)), Some((first, key_rest))) => {
            (*word == "*" || word == first) && topic_matches(pattern_rest, key_rest)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}
