//! Where a message goes: from exchange to exchange, until there are only queues, topics and what waits for later.
//!
//! (RabbitMQ `rabbit_exchange`: each exchange is asked once, so that cycles end; one that yields nothing hands over to
//! its alternate exchange; a queue gets one copy, however many ways lead to it.)

use std::{collections::HashSet, sync::Arc};

use smallvec::SmallVec;

use super::{
    channels,
    exchange::{Envelope, Exchange, Target},
    holding::Holding,
    list::queue::ListQueue,
    queue::Queue,
    reply::ReplyTo,
    topic::Topic,
    vhost::Vhost,
};
use crate::data::value::{Table, Value};

/// Where messages with one exchange and key go, and which exchanges decided it.
#[derive(Debug)]
pub struct Route {
    pub queues: SmallVec<[Arc<Queue>; 1]>,
    pub topics: SmallVec<[Arc<Topic>; 1]>,
    pub lists: Vec<Arc<ListQueue>>,
    /// Who waits for it as a reply.
    pub replies: Vec<Arc<ReplyTo>>,
    /// Where it waits before it goes on, and how long, in milliseconds.
    pub delayed: Vec<(Arc<Holding>, u64)>,
    /// Exchanges that keep it for whoever is bound later.
    pub kept_by: Vec<Arc<Exchange>>,
    /// It is heard in the channels of the vhost.
    pub heard: bool,
    /// Exchanges with subscribers of their own.
    pub told: Vec<Arc<Exchange>>,
    exchanges: SmallVec<[(Arc<Exchange>, u64); 1]>,
    pub(super) remember: bool,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            queues: SmallVec::new(),
            topics: SmallVec::new(),
            lists: Vec::new(),
            replies: Vec::new(),
            delayed: Vec::new(),
            kept_by: Vec::new(),
            heard: false,
            told: Vec::new(),
            exchanges: SmallVec::new(),
            remember: true,
        }
    }
}

/// Up to so many queues are compared one by one.
const FEW_QUEUES: usize = 16;

impl Route {
    pub(super) fn to_queue(queue: Arc<Queue>) -> Self {
        Self { queues: SmallVec::from_buf([queue]), ..Self::default() }
    }

    pub(super) fn to_topic(topic: Arc<Topic>) -> Self {
        Self { topics: SmallVec::from_buf([topic]), ..Self::default() }
    }

    /// Nothing takes the message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reaches_nobody() && self.delayed.is_empty()
    }

    /// Nothing takes the message now.
    #[must_use]
    pub fn reaches_nobody(&self) -> bool {
        self.queues.is_empty() && self.topics.is_empty() && self.replies.is_empty() && self.lists.is_empty()
    }

    fn pass(&mut self, exchange: &Arc<Exchange>) {
        self.remember &= exchange.by_key();
        self.exchanges.push((exchange.clone(), exchange.version()));
    }

    fn add_queue(&mut self, queue: Arc<Queue>) {
        // One copy per queue, however many bindings lead to it; where there are many, `once` sees to that.
        if self.queues.len() > FEW_QUEUES || !self.queues.iter().any(|q| q.id == queue.id) {
            self.queues.push(queue);
        }
    }

    fn add_topic(&mut self, topic: Arc<Topic>) {
        if !self.topics.iter().any(|t| Arc::ptr_eq(t, &topic)) {
            self.topics.push(topic);
        }
    }

    fn once(&mut self) {
        if self.queues.len() > FEW_QUEUES {
            let mut seen = HashSet::with_capacity(self.queues.len());
            self.queues.retain(|queue| seen.insert(queue.id));
        }
    }

    /// Whether no exchange on the way has changed since.
    #[must_use]
    pub fn current(&self) -> bool {
        self.exchanges.iter().all(|(exchange, version)| exchange.version() == *version)
    }
}

/// Exchanges to ask, each once.
#[derive(Default)]
struct Way {
    waiting: Vec<Arc<Exchange>>,
    seen: HashSet<Arc<str>>,
}

impl Way {
    fn visit(&mut self, from: &Exchange, exchange: Arc<Exchange>) {
        if self.seen.is_empty() {
            // Only now there is more than one exchange.
            self.seen.insert(from.name.clone());
        }
        if self.seen.insert(exchange.name.clone()) {
            self.waiting.push(exchange);
        }
    }
}

impl Vhost {
    /// Where a message goes.
    #[must_use]
    pub fn route(&self, exchange: &Arc<Exchange>, envelope: &Envelope<'_>) -> Route {
        let (mut route, mut way, mut targets) = (Route::default(), Way::default(), Vec::new());
        let mut next = Some(exchange.clone());
        while let Some(exchange) = next {
            self.ask(&exchange, envelope, &mut route, &mut targets);
            if targets.is_empty()
                && route.replies.is_empty()
                && route.lists.is_empty()
                && let Some(name) = exchange.alternate()
            {
                match self.find_exchange(&name) {
                    Some(alternate) => way.visit(&exchange, alternate),
                    // It may be declared any time.
                    None => route.remember = false,
                }
            }
            for target in targets.drain(..) {
                match target {
                    Target::Exchange(next) => way.visit(&exchange, next),
                    Target::Queue(queue) => route.add_queue(queue),
                    Target::Topic(topic) => route.add_topic(topic),
                }
            }
            next = way.waiting.pop();
        }
        route.once();
        route
    }

    fn ask(
        &self,
        exchange: &Arc<Exchange>,
        envelope: &Envelope<'_>,
        route: &mut Route,
        targets: &mut Vec<Target>,
    ) {
        route.pass(exchange);
        if exchange.name.is_empty() {
            envelope.keys.iter().for_each(|key| self.by_name(key, route, targets));
            return;
        }
        if let Some(delay_ms) = exchange.delay_ms(envelope) {
            route.delayed.extend(exchange.holding.get().map(|holding| (holding.clone(), delay_ms)));
            return;
        }
        if exchange.history.is_some() && super::exchange::recent_history::is_kept(envelope.headers) {
            route.kept_by.push(exchange.clone());
        }
        route.heard |= *exchange.name == *channels::EXCHANGE;
        if exchange.subscribers.any() {
            route.told.push(exchange.clone());
        }
        let known = targets.len();
        exchange.route(envelope, targets);
        if targets.len() == known {
            targets.extend(self.super_stream_of(exchange).map(Target::Topic));
        }
    }

    /// The default exchange: a key is a name.
    fn by_name(&self, name: &str, route: &mut Route, targets: &mut Vec<Target>) {
        if let Some(queue) = self.find_queue(name) {
            targets.push(Target::Queue(queue));
        } else if let Some(stream) = self.find_stream(name) {
            targets.push(Target::Topic(stream));
        } else if let Some(reply_to) = self.core.replies.find(name) {
            // The requester may go any time.
            route.remember = false;
            if reply_to.has_room() {
                route.replies.push(reply_to);
            }
        } else if let Some(list) = self.find_list(name) {
            // Its key may hold something else any time.
            route.remember = false;
            if !route.lists.iter().any(|other| other.name == list.name) {
                route.lists.push(list);
            }
        }
    }
}

/// Routing keys of a message besides its own, as its headers say it (`CC`, and `BCC` where that is still there).
#[must_use]
pub fn more_keys(headers: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for name in ["CC", "BCC"] {
        if let Some(Value::Array(values)) = headers.field(name) {
            let texts = values.iter().filter_map(|value| std::str::from_utf8(value.octets()?).ok());
            keys.extend(texts.map(str::to_owned));
        }
    }
    keys
}
