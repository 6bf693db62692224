//! The slow obvious model of what becomes of messages: lists of copies, looked through from the front each time.
//!
//! It is exact: after each operation it says which messages are ready in which order, how many are on their way to
//! consumers, and which died of what and went where. A death is a move of one copy to others, which the log holds
//! whole or not at all ([`Group`]). What it says of a crash is `check.rs`'s to ask.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    late::{LATE, Late},
    parts::{Consumer, Copy, Dead, End, Group, Letter, Place, Policy, Queue, Settings},
};
use crate::{sim::model::topic_matches, store::Ticket};

/// In which order an exchange serves queues for a key: the one thing the model asks the broker.
pub(super) type Router<'a> = &'a dyn Fn(&str, &str) -> Vec<String>;

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) queues: BTreeMap<String, Queue>,
    pub(super) policies: BTreeMap<String, Policy>,
    pub(super) consumers: Vec<Consumer>,
    pub(super) groups: Vec<Group>,
    pub(super) late: Late,
    /// Dead letters in the stream, in order; with the ticket.
    pub(super) stream: Vec<(Letter, Ticket)>,
    pub(super) now_ms: i64,
    pub(super) life: u32,
    /// Of what is done now.
    pub(super) ticket: Ticket,
    made: u64,
    returned: u64,
    /// What quorum queues wait for, in order.
    arriving: VecDeque<Arrival>,
    /// How many died, by reason: a simulation in which nothing dies proves nothing.
    pub(super) died: BTreeMap<&'static str, u64>,
}

/// A batch on its way into the log.
#[derive(Debug)]
struct Arrival {
    queue: String,
    mades: Vec<u64>,
    /// The consumer, of that client, that gives them back: it has no room before they are there.
    holder: Option<(usize, String)>,
}

/// Two high messages of a quorum queue go for each normal one (4.0).
const HIGH_WEIGHT: u8 = 2;

/// The stream that takes dead letters.
pub(super) const STREAM: &str = "x.s";
/// The exchange that leads to several queues.
pub(super) const FAN: &str = "x.fan";

/// How queues and the stream are bound to the fan and to the delayed exchange, as long as they are there.
pub(super) const BINDINGS: [(&str, &str); 6] =
    [("x.0", "k.*"), ("x.1", "k.1"), ("x.2", "#"), ("x.3", "k.2"), ("x.5", "*.s"), (STREAM, "*.s")];

impl Model {
    /// The queues, and the stream, that an exchange leads to.
    pub(super) fn targets(&self, exchange: &str, key: &str, route: Router<'_>) -> Vec<String> {
        let there = |name: &str| name == STREAM || self.queues.contains_key(name);
        match exchange {
            "" => Some(key.to_owned()).filter(|name| there(name)).into_iter().collect(),
            FAN | LATE => {
                let words: Vec<&str> = key.split('.').collect();
                let bound = BINDINGS.iter().filter(|(name, pattern)| {
                    there(name) && topic_matches(&pattern.split('.').collect::<Vec<_>>(), &words)
                });
                let mut names: Vec<String> = bound.map(|(name, _)| (*name).to_owned()).collect();
                let order = route(exchange, key);
                names.sort_by_key(|name| order.iter().position(|other| other == name));
                names
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn queue(&mut self, name: &str) -> &mut Queue {
        self.queues.get_mut(name).expect("the queue is there")
    }

    /// The arguments with the policy: the smaller limit; the argument's dead-letter exchange and key.
    pub(super) fn effective(&self, name: &str) -> Settings {
        let mut settings = self.queues[name].settings.clone();
        let policy = self.policies.get(name).cloned().unwrap_or_default();
        settings.max_length = settings.max_length.into_iter().chain(policy.max_length).min();
        settings.dlx = settings.dlx.or(policy.dlx);
        settings.dlrk = settings.dlrk.or(policy.dlrk);
        settings
    }

    /// The place of the message that leaves next.
    fn front_at(&self, name: &str) -> Option<usize> {
        let queue = &self.queues[name];
        let ready = || queue.copies.iter().enumerate().filter(|(_, copy)| copy.place == Place::Ready);
        // What came back to a quorum queue goes first, in that order.
        let returned = ready().filter(|(_, copy)| copy.returned > 0).min_by_key(|(_, copy)| copy.returned);
        if let Some((at, _)) = returned {
            return Some(at);
        }
        // Then the oldest of the highest level.
        let level = |copy: &Copy| queue.level(&copy.letter);
        let (top, front) = ready().min_by_key(|(_, copy)| (u8::MAX - level(copy), copy.made))?;
        if !queue.settings.quorum || queue.left < HIGH_WEIGHT || level(front) == 0 {
            return Some(top);
        }
        // Two of the high ones went: now a normal one, unless it is younger.
        let normal = ready().filter(|(_, copy)| level(copy) == 0).min_by_key(|(_, copy)| copy.made);
        let normal = normal.filter(|(_, copy)| copy.made < front.made);
        Some(normal.map_or(top, |(at, _)| at))
    }

    /// Takes the message that leaves next.
    pub(super) fn take(&mut self, name: &str) -> Option<&mut Copy> {
        let at = self.front_at(name)?;
        let queue = self.queue(name);
        if queue.copies[at].returned == 0 {
            queue.left = if queue.left == HIGH_WEIGHT { 0 } else { queue.left + 1 };
        }
        Some(&mut queue.copies[at])
    }

    /// Dead letters of one moment that come by several ways may change places: which way is the faster depends on what of
    /// a queue must be read first. Lets this one go before the first of the others.
    pub(super) fn change_places(&mut self, name: &str, letter: &Letter) -> Option<()> {
        let queue = self.queues.get_mut(name)?;
        let ready = |copy: &Copy| copy.place == Place::Ready && copy.letter == *letter && copy.by.is_some();
        let at = queue.copies.iter().position(ready)?;
        let late = queue.copies[at].clone();
        let others = queue.copies.iter().enumerate().filter(|(_, copy)| {
            matches!(copy.place, Place::Ready | Place::Handed) && copy.made < late.made && {
                copy.of_one_moment(&late) && queue.level(&copy.letter) == queue.level(&late.letter)
            }
        });
        let (first, early) = others.min_by_key(|(_, copy)| (copy.place == Place::Ready, copy.made))?;
        let (made, place) = (early.made, early.place.clone());
        (queue.copies[at].made, queue.copies[at].place) = (made, place);
        (queue.copies[first].made, queue.copies[first].place) = (late.made, late.place);
        Some(())
    }

    /// The message that leaves next.
    pub(super) fn front(&self, name: &str) -> Option<&Copy> {
        Some(&self.queues.get(name)?.copies[self.front_at(name)?])
    }

    pub(super) fn ready(&self, name: &str) -> usize {
        self.queues[name].copies.iter().filter(|copy| copy.place == Place::Ready).count()
    }

    /// How many messages the consumers of a queue would take.
    fn credit(&mut self, name: &str) -> usize {
        self.elect(name);
        let queue = &self.queues[name];
        let handed = queue.copies.iter().filter(|copy| copy.place == Place::Handed).count();
        let active = |c: &&Consumer| !queue.settings.single_active || queue.is_active(c);
        let consumers = self.consumers.iter().filter(|c| c.queue == name);
        let highest = consumers.clone().map(|c| c.priority).max();
        // An active consumer that a higher one waits for gets no more.
        let waited_for = queue.settings.single_active && queue.settings.quorum;
        let served = consumers.filter(active).filter(|c| !waited_for || Some(c.priority) == highest);
        served.map(Consumer::room).sum::<usize>().saturating_sub(handed)
    }

    /// Who is served where only one is: the first, until it is gone; then the first of the highest. In a quorum queue
    /// a higher one takes over once the active one has nothing.
    fn elect(&mut self, name: &str) {
        let queue = &self.queues[name];
        if !queue.settings.single_active {
            return;
        }
        let consumers = || self.consumers.iter().filter(|c| c.queue == name);
        let highest = consumers().map(|c| c.priority).max();
        let first = consumers().find(|c| Some(c.priority) == highest);
        let active = consumers().find(|c| queue.is_active(c));
        let handed = queue.copies.iter().any(|copy| copy.place == Place::Handed);
        let stays = active.is_some_and(|active| {
            !queue.settings.quorum || Some(active.priority) == highest || active.held > 0 || handed
        });
        if !stays {
            let first = first.map(|c| (c.client, c.tag.clone()));
            self.queue(name).active = first;
        }
    }

    /// Whatever touched a queue: its consumers are served, its limits kept, and what died moves on.
    pub(super) fn touch(&mut self, name: &str, route: Router<'_>) {
        self.serve(name);
        self.keep(name);
        self.move_all(name, route);
    }

    /// A consumer with room is served before anything is dropped; what has expired before now is not served.
    fn serve(&mut self, name: &str) {
        while self.credit(name) > 0 {
            self.drop_expired(name, self.now_ms - 1);
            let Some(front) = self.take(name) else { return };
            front.place = Place::Handed;
        }
    }

    pub(super) fn expire(&mut self, name: &str, route: Router<'_>) {
        self.drop_expired(name, self.now_ms);
        self.move_all(name, route);
    }

    fn drop_expired(&mut self, name: &str, by_ms: i64) {
        while self.front(name).is_some_and(|copy| copy.expires_ms <= by_ms) {
            let made = self.take(name).expect("there is a front").made;
            self.let_go(name, made, "expired");
        }
    }

    /// From the head goes what has expired, and what is too much, unless the queue refuses publishes. But all that is too
    /// much for new limits dies of that.
    fn keep(&mut self, name: &str) {
        let Settings { max_length, max_bodies, reject, .. } = self.effective(name);
        let max = max_length.into_iter().chain(max_bodies).filter(|_| reject.is_none()).min();
        loop {
            let exceeded = max.is_some_and(|max| self.ready(name) > max);
            self.queue(name).shortened &= exceeded;
            let shortened = self.queues[name].shortened;
            let expired = self.front(name).is_some_and(|copy| copy.expires_ms <= self.now_ms) && !shortened;
            if !expired && !exceeded {
                return;
            }
            let made = self.take(name).expect("something is ready").made;
            self.let_go(name, made, if expired { "expired" } else { "maxlen" });
        }
    }

    pub(super) fn copy(&mut self, name: &str, made: u64) -> Option<&mut Copy> {
        self.queues.get_mut(name)?.copies.iter_mut().find(|copy| copy.made == made)
    }

    pub(super) fn let_go(&mut self, name: &str, made: u64, reason: &'static str) {
        let dies = self.effective(name).dlx.is_some();
        *self.died.entry(reason).or_default() += 1;
        let ticket = self.ticket;
        let Some(copy) = self.copy(name, made) else { return };
        copy.place = Place::Ended(End { first: ticket, ..End::default() });
        let letter = copy.letter.clone();
        if dies {
            self.queue(name).drops.push_back(Dead { letter, reason, copy: Some(made) });
        }
    }

    /// Messages enter a queue: gives those that it took. `reject-publish` refuses what finds it full.
    pub(super) fn enter(&mut self, name: &str, letters: Vec<Letter>, by: Option<usize>) -> Vec<Option<u64>> {
        let taken: Vec<_> = letters.into_iter().map(|letter| self.enter_one(name, letter, by)).collect();
        if self.queues[name].settings.quorum {
            self.arriving(name, taken.iter().flatten().copied().collect(), None);
        }
        self.serve(name);
        self.keep(name);
        taken
    }

    /// What went to quorum queues is in the log, in its order: it is there now, one after the other.
    pub(super) fn arrive(&mut self, route: Router<'_>) {
        while let Some(Arrival { queue: name, mades, holder }) = self.arriving.pop_front() {
            for made in mades {
                self.released(holder.as_ref(), 1);
                let Some(copy) = self.copy(&name, made) else { continue };
                copy.place = Place::Ready;
                self.serve(&name);
                self.keep(&name);
            }
            if self.queues.contains_key(&name) {
                self.touch(&name, route);
            }
        }
    }

    /// A batch is on its way into the log; the queue shows it then.
    pub(super) fn arriving(&mut self, name: &str, mades: Vec<u64>, holder: Option<(usize, String)>) {
        self.arriving.push_back(Arrival { queue: name.to_owned(), mades, holder });
    }

    /// A consumer of that client has room for so many more.
    pub(super) fn released(&mut self, holder: Option<&(usize, String)>, count: usize) {
        let Some((client, tag)) = holder else { return };
        if let Some(consumer) = self.consumers.iter_mut().find(|c| c.client == *client && c.tag == *tag) {
            consumer.held -= count;
        }
    }

    pub(super) fn forget_arriving(&mut self) {
        self.arriving.clear();
    }

    fn enter_one(&mut self, name: &str, letter: Letter, by: Option<usize>) -> Option<u64> {
        let Settings { max_length, max_bodies, reject, ttl_ms, dlx, quorum, .. } = self.effective(name);
        let max = max_length.into_iter().chain(max_bodies).min().unwrap_or(usize::MAX);
        if let Some(dead_letters) = reject {
            // A quorum queue takes one more.
            let max = if quorum { max.saturating_add(1) } else { max };
            let full = |model: &Self| model.ready(name) + model.queues[name].kept.mades.len() >= max;
            if full(self) {
                self.serve(name);
                self.drop_expired(name, self.now_ms);
            }
            if full(self) {
                if dead_letters && dlx.is_some() {
                    self.queue(name).drops.push_back(Dead { letter, reason: "maxlen", copy: None });
                }
                return None;
            }
        }
        let ttl = ttl_ms.into_iter().chain(letter.expiration_ms).min();
        let mut copy = self.new_copy(letter, by);
        copy.expires_ms = ttl.map_or(i64::MAX, |ttl| self.now_ms + ttl);
        if quorum {
            copy.place = Place::Arriving;
        }
        self.queue(name).copies.push(copy);
        Some(self.made)
    }

    pub(super) fn new_copy(&mut self, letter: Letter, by: Option<usize>) -> Copy {
        self.made += 1;
        Copy {
            letter,
            made: self.made,
            published: self.ticket,
            answered: false,
            by,
            place: Place::Ready,
            delivered: false,
            life: self.life,
            published_ms: self.now_ms,
            expires_ms: i64::MAX,
            returns: 0,
            returned: 0,
            counted: true,
            taken_by: BTreeSet::new(),
        }
    }

    /// Whether a copy of that queue, or of what is held, is in the log.
    pub(super) fn lasts(&self, name: &str, letter: &Letter) -> bool {
        if name == LATE {
            return true;
        }
        let Some(queue) = self.queues.get(name) else { return false };
        queue.settings.durable && (letter.persistent || queue.settings.quorum)
    }

    /// Acknowledged, or purged: it ends without going anywhere.
    pub(super) fn end(&mut self, name: &str, made: u64) {
        let first = self.ticket;
        if let Some(copy) = self.copy(name, made) {
            copy.place = Place::Ended(End { first, ..End::default() });
        }
    }

    /// A delivery comes back: to its place; in a quorum queue it counts, and once too often it dies.
    pub(super) fn give_back(&mut self, name: &str, made: u64) {
        let Some(queue) = self.queues.get(name) else { return };
        let (quorum, limit) = (queue.settings.quorum, queue.settings.delivery_limit);
        let Some(copy) = self.copy(name, made) else { return };
        copy.place = Place::Ready;
        copy.delivered = true;
        if !quorum {
            return;
        }
        copy.returns += 1;
        let returns = copy.returns;
        self.returned += 1;
        let returned = self.returned;
        if let Some(copy) = self.copy(name, made) {
            (copy.returned, copy.counted) = (returned, false);
        }
        if limit.is_some_and(|limit| returns > limit) {
            self.let_go(name, made, "delivery_limit");
        }
    }

    /// When a queue must be looked at: its head expires, or nobody has used it for too long.
    fn deadline(&self, name: &str) -> Option<i64> {
        let queue = &self.queues[name];
        let head = self.front(name).map(|copy| copy.expires_ms).filter(|&at| at != i64::MAX);
        head.into_iter().chain(self.unused_at(queue, name)).chain(queue.kept.retry_ms).min()
    }

    fn unused_at(&self, queue: &Queue, name: &str) -> Option<i64> {
        let used = self.consumers.iter().any(|consumer| consumer.queue == name);
        Some(queue.used_ms + queue.settings.unused_ms.filter(|_| !used)?)
    }

    /// The time has come: heads expire, unused queues go, and what is held goes on, the one with the lowest id first. Gives
    /// the queues that went.
    pub(super) fn on_time(&mut self, route: Router<'_>) -> Vec<String> {
        let mut gone = Vec::new();
        loop {
            let due = self.queues.iter().filter_map(|(name, queue)| {
                let at = self.deadline(name).filter(|&at| at <= self.now_ms)?;
                Some(((at, queue.id), name.clone()))
            });
            let late = self.late.due_ms().filter(|&at| at <= self.now_ms);
            let late = late.map(|at| ((at, self.late.id), LATE.to_owned()));
            let Some((_, name)) = due.chain(late).min() else { return gone };
            if name == LATE {
                self.release(route);
            } else if self.unused_at(&self.queues[&name], &name).is_some_and(|at| at <= self.now_ms) {
                self.queues.remove(&name);
                gone.push(name);
            } else {
                self.touch(&name, route);
                self.retry_all(&name, route);
            }
        }
    }

    /// Nothing moves any more: what ended is gone, and what is there is there for sure.
    pub(super) fn at_rest(&mut self) {
        self.late.released();
        let late = std::iter::once(&mut self.late.copies);
        for copies in self.queues.values_mut().map(|queue| &mut queue.copies).chain(late) {
            copies.retain(|copy| !matches!(copy.place, Place::Ended(_)));
            copies.iter_mut().for_each(|copy| (copy.answered, copy.counted) = (true, true));
        }
    }

    /// Queues whose time has come, and which are as they were; and the delayed exchange.
    pub(super) fn overdue(&self) -> Vec<&str> {
        let due = |at: Option<i64>| at.is_some_and(|at| at <= self.now_ms);
        let queues = self.queues.keys().map(String::as_str).filter(|name| due(self.deadline(name)));
        queues.chain(Some(LATE).filter(|_| due(self.late.due_ms()))).collect()
    }

    /// A turn was committed: what ended before is gone for good.
    pub(super) fn on_turn(&mut self, durable: Ticket, submitted: Ticket) {
        let groups = &self.groups;
        let late = std::iter::once(&mut self.late.copies);
        for copies in self.queues.values_mut().map(|queue| &mut queue.copies).chain(late) {
            copies.retain_mut(|copy| {
                let Place::Ended(end) = &mut copy.place else { return true };
                if let Some((group, _)) = &end.moved {
                    return groups[*group].ticket > durable;
                }
                if end.first <= durable {
                    end.second.get_or_insert(submitted);
                }
                end.second.is_none_or(|second| second > durable)
            });
        }
    }
}
