//! What must have come back after a crash, read from the log itself before anybody asks the broker for anything.
//!
//! - A message that was surely in a queue, and did not end there, is there; one that ended in a move is where the move
//!   brought it, or still where it was.
//! - What is in the log together is there together: never both ends of a move.
//! - What ended for sure does not come back, and nothing comes that was never there; each queue is in its order.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Fates,
    late::LATE,
    model::STREAM,
    observe,
    parts::{Copy, Letter, Place, Queue, Settings, Way},
    replies::Names,
    router,
};
use crate::{
    broker::{
        holding,
        message::Blob,
        queue::{Seq, runs::Run},
        topic::fetch::Isolation,
    },
    data::record::Batches,
    sim::{run::read_body, world::World},
    store::{Space, Ticket},
};

/// A message in the log.
#[derive(Debug)]
struct Found {
    letter: Letter,
    published_ms: i64,
    seq: Seq,
    /// How often the log knows that it came back to a quorum queue.
    returns: u32,
    /// The log knows that it is a dead letter, and why.
    dead: Option<&'static str>,
}

impl Found {
    /// A dead letter that not every target has taken may come to the others twice, each with a time of its own; what goes
    /// behind the others comes back once more often with its new place. Otherwise the last count may not be in the log,
    /// and one that the message may have died of is not.
    fn is(&self, copy: &Copy) -> bool {
        let counted = if copy.counted { self.returns == copy.returns } else { self.returns <= copy.returns };
        self.letter == copy.letter && self.published_ms == copy.published_ms && counted
    }

    fn is_twin(&self, other: &Self) -> bool {
        self.letter == other.letter
            && self.published_ms == other.published_ms
            && self.returns == other.returns
    }
}

/// Copies by queue and position.
type Places = BTreeSet<(String, u64)>;

impl Fates {
    /// Everybody has seen what there is; then the power fails.
    pub(in crate::sim) fn before_crash(&mut self, world: &World) {
        self.poll(world);
        self.peers.iter_mut().for_each(|peer| *peer = None);
    }

    /// A clean end: everything is durable.
    pub(in crate::sim) fn before_restart(&mut self, world: &World) {
        self.rest(world);
        for at in 0..self.peers.len() {
            self.disconnect(world, at);
            self.rest(world);
        }
    }

    /// `durable` is what survives for sure.
    pub(in crate::sim) fn audit(&mut self, world: &mut World, durable: Ticket) {
        self.say(world, || format!("crashed; {durable:?} was durable"));
        self.model.life = world.life;
        self.model.consumers.clear();
        self.model.forget_arriving();
        self.served.clear();
        self.model.queues.retain(|_, queue| queue.settings.durable);
        self.audit_queues(world);
        let mut log = read_log(world, &mut self.names);
        let held = read_held(world, self.model.late.id, &mut self.names);
        self.say(world, || format!("the log has {log:?}"));
        let mut places = self.match_log(&log);
        self.match_held(&held, &mut places);
        self.check_groups(&places);
        self.check_lost(&places, durable);
        self.audit_stream(world, durable);
        for (name, queue) in &mut self.model.queues {
            let found = log.remove(&queue.id).unwrap_or_default();
            queue.recovered();
            queue.copies.retain(|copy| places.contains(&(name.clone(), copy.made)));
            let positions = order_as(queue, &found);
            for (copy, at) in queue.copies.iter_mut().zip(positions) {
                let Some(found) = found.get(at) else { continue };
                let kept = matches!(copy.place, Place::Kept(_));
                assert!(found.dead.is_some() || !(kept && copy.counted), "{copy:?} has come back to life");
                copy.place = found.dead.map_or(Place::Ready, Place::Kept);
                (copy.answered, copy.by, copy.returned, copy.returns) = (true, None, 0, found.returns);
                copy.taken_by.clear();
            }
        }
        let names: Vec<String> = self.model.queues.keys().cloned().collect();
        names.iter().for_each(|name| self.model.recover_kept(name));
        let late = &mut self.model.late;
        late.copies.retain(|copy| places.contains(&(LATE.to_owned(), copy.made)));
        late.copies
            .iter_mut()
            .for_each(|copy| (copy.place, copy.answered, copy.by) = (Place::Ready, true, None));
        late.released();
        self.model.groups.clear();
        self.go_on(world);
    }

    /// Queues that last are there, and no others.
    fn audit_queues(&self, world: &World) {
        let queues = world.vhost().queues();
        let found = queues.iter().filter(|queue| queue.name.starts_with("x."));
        let found: BTreeMap<String, u64> = found.map(|queue| (queue.name.to_string(), queue.id.0)).collect();
        let known: BTreeMap<String, u64> =
            self.model.queues.iter().map(|(name, queue)| (name.clone(), queue.id)).collect();
        assert_eq!(found, known, "the queues that are there");
        let late = world.vhost().find_exchange(LATE).expect("a durable exchange is there");
        assert_eq!(late.holding.get().map(|holding| holding.id.0), Some(self.model.late.id));
    }

    /// Which of what is held is in the log: each due when it was, in its order.
    fn match_held(&self, held: &[(i64, Letter)], places: &mut Places) {
        let mut newest = None;
        for (due_ms, letter) in held {
            let mut copies = self.model.late.copies.iter();
            let copy = copies.find(|copy| {
                copy.letter == *letter
                    && copy.expires_ms == *due_ms
                    && !places.contains(&(LATE.to_owned(), copy.made))
            });
            let copy = copy.unwrap_or_else(|| panic!("{letter:?}, due at {due_ms}, is held again"));
            assert!(newest < Some((*due_ms, copy.made)), "{letter:?} is held behind {newest:?}");
            newest = Some((*due_ms, copy.made));
            places.insert((LATE.to_owned(), copy.made));
        }
    }

    /// The copies of a queue, or of what is held.
    fn copies(&self, name: &str) -> Option<&[Copy]> {
        if name == LATE {
            return Some(&self.model.late.copies);
        }
        Some(&self.model.queues.get(name)?.copies)
    }

    /// Which copies are in the log: each message there is one, in the order of its level.
    fn match_log(&self, log: &BTreeMap<u64, Vec<Found>>) -> Places {
        let mut places = Places::new();
        for (name, queue) in &self.model.queues {
            let mut newest: BTreeMap<u8, &Copy> = BTreeMap::new();
            let there = log.get(&queue.id).map(Vec::as_slice).unwrap_or_default();
            for (n, found) in there.iter().enumerate() {
                let copies = queue.copies.iter().filter(|copy| {
                    found.is(copy)
                        && self.model.lasts(name, &copy.letter)
                        && !places.contains(&(name.clone(), copy.made))
                });
                // A dead letter may be here twice: those that have not ended come first, and each in its order.
                let mut copies: Vec<&Copy> = copies.collect();
                copies.sort_by_key(|copy| (matches!(copy.place, Place::Ended(_)), copy.made));
                copies.truncate(there[n..].iter().filter(|other| found.is_twin(other)).count());
                let copy = copies.into_iter().min_by_key(|copy| copy.made);
                let copy = copy.unwrap_or_else(|| {
                    let known = queue.copies.iter().filter(|copy| copy.letter.id == found.letter.id);
                    panic!("{found:?} of {name} comes back: {:?}", known.collect::<Vec<_>>())
                });
                let before = newest.insert(queue.level(&copy.letter), copy);
                let behind = before.filter(|before| before.made > copy.made && !before.of_one_moment(copy));
                assert!(behind.is_none(), "{found:?} comes back behind {behind:?} in {name}");
                places.insert((name.clone(), copy.made));
            }
        }
        places
    }

    /// What is in the log together is there together.
    fn check_groups(&self, places: &Places) {
        let mut before: BTreeMap<usize, &Copy> = BTreeMap::new();
        let mut after: BTreeMap<usize, &Copy> = BTreeMap::new();
        for (name, made) in places {
            let copies = self.copies(name).expect("it was matched");
            let copy = copies.iter().find(|copy| copy.made == *made).expect("it was matched");
            if let Place::Ended(end) = &copy.place
                && let Some((group, targets)) = &end.moved
            {
                let both = targets.iter().find(|target| places.contains(target));
                assert!(both.is_none(), "both ends of a move are in the log: {copy:?} and {both:?}");
                before.insert(*group, copy);
            }
            if let Some(group) = copy.by {
                after.insert(group, copy);
            }
        }
        for (group, copy) in before.iter().filter(|(group, _)| self.model.groups[**group].whole) {
            let both = after.get(group);
            assert!(both.is_none(), "half of a transaction is in the log: {copy:?} and {both:?}");
        }
    }

    /// What was surely there is there, or where it went.
    fn check_lost(&self, places: &Places, durable: Ticket) {
        for name in self.model.queues.keys().map(String::as_str).chain([LATE]) {
            let copies = self.copies(name).unwrap_or_default();
            for copy in copies.iter().filter(|copy| copy.sure(durable)) {
                assert!(self.accounted_for(name, copy, places), "{name} has lost {copy:?}");
            }
        }
    }

    fn accounted_for(&self, name: &str, copy: &Copy, places: &Places) -> bool {
        if places.contains(&(name.to_owned(), copy.made)) || !self.model.lasts(name, &copy.letter) {
            return true;
        }
        let Place::Ended(end) = &copy.place else { return false };
        let Some((_, targets)) = &end.moved else { return true };
        targets.iter().all(|(target, made)| {
            let Some(copies) = self.copies(target) else { return true };
            // One that is not known any more has ended since.
            let copy = copies.iter().find(|copy| copy.made == *made);
            copy.is_none_or(|copy| self.accounted_for(target, copy, places))
        })
    }

    /// The stream has all that are sure, each once; dead letters of one way in order. What is published to it directly is gathered
    /// into batches, and may be before or after dead letters.
    fn audit_stream(&mut self, world: &World, durable: Ticket) {
        let mut known: Vec<(Letter, Ticket, bool)> =
            self.model.stream.drain(..).map(|(letter, ticket)| (letter, ticket, false)).collect();
        let mut newest: BTreeMap<Way, usize> = BTreeMap::new();
        let there = read_stream(world);
        self.say(world, || format!("the stream has {there:?}"));
        for id in there {
            let times = known.iter().filter(|(letter, ..)| letter.id == id).count();
            let at = known.iter().position(|(letter, _, found)| letter.id == id && !found);
            let at = at.unwrap_or_else(|| panic!("message {id} is in the stream once too often"));
            known[at].2 = true;
            if times == 1 && !known[at].0.deaths.is_empty() {
                let before = newest.insert(known[at].0.way(), at);
                assert!(before < Some(at), "{:?} comes behind later ones in the stream", known[at].0);
            }
        }
        let lost = known.iter().find(|(_, ticket, found)| !found && *ticket <= durable);
        assert!(lost.is_none(), "the stream has lost {lost:?}");
        let found = known.into_iter().filter(|(.., found)| *found);
        self.model.stream = found.map(|(letter, ..)| (letter, Ticket(0))).collect();
    }

    /// Each queue is looked at in turn: what has expired meanwhile goes, and what is too much now.
    fn go_on(&mut self, world: &mut World) {
        let now_ms = world.clock.now_ms();
        self.model.now_ms = now_ms;
        let mut names: Vec<(u64, String)> =
            self.model.queues.iter().map(|(name, queue)| (queue.id, name.clone())).collect();
        names.sort();
        for (_, name) in &names {
            self.model.queue(name).used_ms = now_ms;
            let Settings { ttl_ms, .. } = self.model.effective(name);
            for copy in &mut self.model.queue(name).copies {
                let ttl = ttl_ms.into_iter().chain(copy.letter.expiration_ms).min();
                copy.expires_ms = ttl.map_or(i64::MAX, |ttl| copy.published_ms + ttl);
            }
        }
        for (_, name) in names {
            // Looked at twice: what was too many may have lain before what has expired, which then goes as well.
            let queue = world.vhost().find_queue(&name).expect("it was found");
            let (ready, _) = (queue.counts(), queue.counts()).1;
            self.model.ticket = world.submitted();
            self.model.touch(&name, &router(world));
            self.model.expire(&name, &router(world));
            assert_eq!(ready, self.model.ready(&name), "ready in {name}: {:?}", self.model.queues[&name]);
        }
        // What is kept goes again before what has just died is in the log.
        self.tick(world);
        self.rest(world);
    }
}

/// Dead letters of one moment that came by several ways may lie in either order: from now on that of the log counts. Gives
/// for each copy which of the log it is.
fn order_as(queue: &mut Queue, log: &[Found]) -> Vec<usize> {
    let mut positions = vec![usize::MAX; queue.copies.len()];
    for (n, found) in log.iter().enumerate() {
        let left =
            (0..positions.len()).filter(|&at| positions[at] == usize::MAX && found.is(&queue.copies[at]));
        if let Some(at) = left.min_by_key(|&at| queue.copies[at].made) {
            positions[at] = n;
        }
    }
    let mut levels: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
    for (at, copy) in queue.copies.iter().enumerate() {
        levels.entry(queue.level(&copy.letter)).or_default().push(at);
    }
    for mut places in levels.into_values() {
        let mut mades: Vec<u64> = places.iter().map(|&at| queue.copies[at].made).collect();
        mades.sort_unstable();
        places.sort_by_key(|&at| (positions[at], at));
        places.into_iter().zip(mades).for_each(|(at, made)| queue.copies[at].made = made);
    }
    positions
}

/// Why a dead letter died that is kept, as the log has it.
const REASONS: [Option<&str>; 5] =
    [None, Some("expired"), Some("maxlen"), Some("rejected"), Some("delivery_limit")];

/// All messages of all queues in the log, by the queue's id, in their order.
fn read_log(world: &World, names: &mut Names) -> BTreeMap<u64, Vec<Found>> {
    let mut found: BTreeMap<u64, Vec<Found>> = BTreeMap::new();
    let counts: BTreeMap<Vec<u8>, (u32, Option<&'static str>)> = world
        .store
        .scan(Space::State, b"c")
        .unwrap()
        .into_iter()
        .filter(|(key, _)| key.len() == 17)
        .map(|(key, value)| {
            let returns = u16::from_be_bytes([value[0], value[1]]);
            (key[1..].to_vec(), (u32::from(returns), REASONS[usize::from(value[4])]))
        })
        .collect();
    for (key, value) in world.store.scan(Space::Index, b"q").unwrap() {
        let number = |at: usize| u64::from_be_bytes(key[at..at + 8].try_into().unwrap());
        let run = Run::decode(Seq(number(9)), &value).expect("an index entry can be read");
        let place = run.place.expect("it says where it lies");
        let blob = Blob::read(world.store.read(place).unwrap(), place).expect("a chunk is a batch");
        for n in (0..run.count).filter(|n| run.has(*n)) {
            let message = blob.message(run.ordinals.at(n)).expect("the chunk holds it");
            // Those of everyday queues have headers of their own; they are compared elsewhere.
            let (exchange, key) = (message.exchange(), message.routing_key());
            let letter = observe::letter(message.properties(), message.body(), exchange, key, names);
            let seq = Seq(run.first.0 + u64::from(n));
            let published_ms = message.published_ms();
            let counted = [number(1).to_be_bytes(), seq.0.to_be_bytes()].concat();
            let (returns, dead) = counts.get(&counted).copied().unwrap_or((0, None));
            found.entry(number(1)).or_default().push(Found { letter, published_ms, seq, returns, dead });
        }
    }
    found.values_mut().for_each(|found| found.sort_by_key(|found| found.seq));
    found
}

/// All that is held in the log, in the order in which it is due.
fn read_held(world: &World, id: u64, names: &mut Names) -> Vec<(i64, Letter)> {
    let mut held = Vec::new();
    for (key, value) in world.store.scan(Space::Index, b"y").unwrap() {
        let (holding, due, place) = holding::read_entry(&key, &value).expect("a key can be read");
        if holding.0 == id {
            let blob = Blob::read(world.store.read(place).unwrap(), place).expect("a chunk is a batch");
            let message = blob.message(0).expect("the chunk holds it");
            let (exchange, routing_key) = (message.exchange(), message.routing_key());
            let letter = observe::letter(message.properties(), message.body(), exchange, routing_key, names);
            held.push((due, (due.at_ms, letter)));
        }
    }
    held.sort_by_key(|(due, _)| *due);
    held.into_iter().map(|(_, held)| held).collect()
}

/// The numbers of the messages in the stream.
fn read_stream(world: &World) -> Vec<u64> {
    let topic = world.vhost().find_stream(STREAM).expect("a stream lasts");
    let partition = &topic.partitions()[0];
    let start = partition.offsets().log_start;
    let fetched = crate::sim::ready(partition.fetch(start, usize::MAX, Isolation::ReadUncommitted));
    let fetched = fetched.unwrap().unwrap();
    let mut ids = Vec::new();
    for batch in fetched.batches.into_iter().flat_map(Batches::new) {
        for record in &batch.unwrap().payload(1 << 20).unwrap() {
            ids.push(read_body(record.unwrap().value.unwrap()));
        }
    }
    ids
}
