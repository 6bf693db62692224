//! Lists and a stream of the Redis door under kills: what was answered is on disk, and nothing is there twice.
//!
//! A pusher counts upwards with LPUSH, sometimes many at once. One worker takes with BRPOP: what it was answered is gone,
//! and of what it was about to be answered one may be gone, too. The other moves with BRPOPLPUSH and is done with LREM:
//! of its elements none is ever lost. Beside them entries go into a stream, and a group reads and acknowledges them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Mutex,
};

use crate::support::{Seeded, redis::Redis};

const QUEUE: &str = "crash";
const AT_WORK: &str = "crash-at-work";
const STREAM: &str = "crash-stream";

/// Elements that a round leaves to the next.
const LEFT_MAX: usize = 1_000;

/// What is known of an element.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Element {
    /// It was sent, and may be there.
    #[default]
    Sent,
    Pushed,
    Moved,
    /// LREM was sent.
    Leaving,
    Gone,
}

#[derive(Debug, Default)]
struct Round {
    elements: BTreeMap<u64, Element>,
    /// Numbers of the stream's entries, and whether they were answered.
    entries: BTreeMap<u64, bool>,
    /// Acknowledgements, and whether they were answered.
    acknowledged: BTreeMap<u64, bool>,
}

/// Everything that may be in the lists and in the stream.
#[derive(Debug)]
pub(crate) struct Model {
    address: SocketAddr,
    next: u64,
    answered_total: u64,
    round: Mutex<Round>,
}

impl Model {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut client = Redis::connect(address).expect("the broker is up");
        let made = client.ask(&format!("xgroup create {STREAM} workers 0 mkstream")).expect("it answers");
        assert_eq!(made, b"+OK\r\n");
        Self { address, next: 0, answered_total: 0, round: Mutex::default() }
    }

    pub(crate) fn answered_total(&self) -> u64 {
        self.answered_total
    }

    /// The clients of one round; each runs until the broker is gone.
    pub(crate) fn work(&self, seed: u64) -> [Box<dyn FnOnce() + Send + '_>; 4] {
        // The end is always an error: the kill.
        [
            Box::new(move || drop(self.push(seed))),
            Box::new(|| drop(self.pop())),
            Box::new(move || drop(self.move_and_remove(seed))),
            Box::new(|| drop(self.read_stream())),
        ]
    }

    fn note(&self, number: u64, element: Element) {
        self.round.lock().expect("not poisoned").elements.insert(number, element);
    }

    fn push(&self, seed: u64) -> io::Result<()> {
        let mut random = Seeded::from(seed);
        let mut client = Redis::connect(self.address)?;
        let mut next = self.next;
        loop {
            let numbers: Vec<u64> = (next..=next + random.below(5)).collect();
            next += numbers.len() as u64;
            for number in &numbers {
                self.note(*number, Element::Sent);
                self.round.lock().expect("not poisoned").entries.insert(*number, false);
                client.send(&[b"lpush", QUEUE.as_bytes(), number.to_string().as_bytes()])?;
                client.send(&[b"xadd", STREAM.as_bytes(), b"*", b"n", number.to_string().as_bytes()])?;
            }
            for number in numbers {
                client.reply()?;
                client.reply()?;
                let mut round = self.round.lock().expect("not poisoned");
                round.entries.insert(number, true);
                let element = round.elements.entry(number).or_default();
                if *element == Element::Sent {
                    *element = Element::Pushed;
                }
            }
        }
    }

    fn pop(&self) -> io::Result<()> {
        let mut client = Redis::connect(self.address)?;
        loop {
            let popped = client.ask(&format!("brpop {QUEUE} 0"))?;
            self.note(number(&bulks(&popped)[1]), Element::Gone);
        }
    }

    fn move_and_remove(&self, seed: u64) -> io::Result<()> {
        let mut random = Seeded::from(seed ^ 0xACED);
        let mut client = Redis::connect(self.address)?;
        let mut held = Vec::new();
        loop {
            let moved = client.ask(&format!("brpoplpush {QUEUE} {AT_WORK} 0"))?;
            let moved = number(&bulks(&moved)[0]);
            self.note(moved, Element::Moved);
            held.push(moved);
            if held.len() > 20 || random.below(3) == 0 {
                let done = held.swap_remove(usize::try_from(random.below(held.len() as u64)).unwrap_or(0));
                self.note(done, Element::Leaving);
                assert_eq!(client.ask(&format!("lrem {AT_WORK} 1 {done}"))?, b":1\r\n");
                self.note(done, Element::Gone);
            }
        }
    }

    fn read_stream(&self) -> io::Result<()> {
        let mut client = Redis::connect(self.address)?;
        loop {
            let read =
                client.ask(&format!("xreadgroup group workers me count 5 block 0 streams {STREAM} >"))?;
            for (id, number) in entries(&bulks(&read)[1..]).into_iter().skip(1) {
                self.round.lock().expect("not poisoned").acknowledged.insert(number, false);
                assert_eq!(client.ask(&format!("xack {STREAM} workers {id}"))?, b":1\r\n");
                self.round.lock().expect("not poisoned").acknowledged.insert(number, true);
            }
        }
    }

    /// Compares what is there after the restart, and begins anew with it.
    pub(crate) fn verify(&mut self, round: u32) {
        let mut client = Redis::connect(self.address).expect("the broker is up again");
        let mut seen = self.round.lock().expect("not poisoned");
        let mut wrong = wrong_lists(&mut client, &seen.elements);
        wrong.extend(wrong_stream(&mut client, &seen));
        assert!(wrong.is_empty(), "redis, round {round}:\n{}", wrong.join("\n"));
        let new = seen.elements.range(self.next..);
        self.answered_total += new.filter(|(_, element)| **element != Element::Sent).count() as u64;
        self.next = seen.elements.keys().next_back().map_or(self.next, |last| last + 1);
        // What a worker had goes back to where it is taken.
        while ask(&mut client, &format!("lmove {AT_WORK} {QUEUE} left right")) != b"$-1\r\n" {}
        // Whoever pushes is faster than they: over many rounds there would be no end to it.
        ask(&mut client, &format!("ltrim {QUEUE} -{LEFT_MAX} -1"));
        let left = numbers(&mut client, QUEUE);
        *seen = Round::default();
        seen.elements = left.into_iter().map(|number| (number, Element::Pushed)).collect();
    }
}

fn ask(client: &mut Redis, request: &str) -> Vec<u8> {
    client.ask(request).expect("the broker is up")
}

/// The strings in a reply; none of them has a line end in it.
fn bulks(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(reply).into_owned();
    let mut lines = text.split("\r\n");
    let mut bulks = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with('$') {
            bulks.extend(lines.next().map(str::to_owned));
        }
    }
    bulks
}

fn number(text: &str) -> u64 {
    text.parse().expect("elements are numbers")
}

fn numbers(client: &mut Redis, key: &str) -> Vec<u64> {
    bulks(&ask(client, &format!("lrange {key} 0 -1"))).iter().map(|text| number(text)).collect()
}

/// Ids with the numbers of their entries: id, `n`, number.
fn entries(bulks: &[String]) -> Vec<(String, u64)> {
    bulks.chunks_exact(3).map(|entry| (entry[0].clone(), number(&entry[2]))).collect()
}

fn wrong_lists(client: &mut Redis, known: &BTreeMap<u64, Element>) -> Vec<String> {
    let (queue, at_work) = (numbers(client, QUEUE), numbers(client, AT_WORK));
    let mut wrong = Vec::new();
    if !queue.is_sorted_by(|left, right| left > right) {
        wrong.push(format!("order: {queue:?}"));
    }
    let (waiting, moved): (BTreeSet<u64>, BTreeSet<u64>) =
        (queue.iter().copied().collect(), at_work.iter().copied().collect());
    if moved.len() != at_work.len() || !waiting.is_disjoint(&moved) {
        wrong.push(format!("twice: {queue:?} and {at_work:?}"));
    }
    let mut missing = Vec::new();
    for (number, element) in known {
        let (waits, is_moved) = (waiting.contains(number), moved.contains(number));
        match element {
            Element::Sent => {}
            Element::Pushed if !waits && !is_moved => missing.push(*number),
            Element::Moved if waits || !is_moved => wrong.push(format!("{number} was moved: {waits}")),
            Element::Leaving if waits => wrong.push(format!("{number} was moved and is back")),
            Element::Gone if waits || is_moved => wrong.push(format!("{number} is gone and came back")),
            Element::Pushed | Element::Moved | Element::Leaving | Element::Gone => {}
        }
    }
    // One that BRPOP was about to be answered.
    if missing.len() > 1 {
        wrong.push(format!("lost: {missing:?}"));
    }
    let surplus: Vec<_> = waiting.union(&moved).filter(|number| !known.contains_key(number)).collect();
    if !surplus.is_empty() {
        wrong.push(format!("from nowhere: {surplus:?}"));
    }
    wrong
}

fn wrong_stream(client: &mut Redis, seen: &Round) -> Vec<String> {
    let all = entries(&bulks(&ask(client, &format!("xrange {STREAM} - +"))));
    let mut wrong = Vec::new();
    if !all.is_sorted_by(|one, other| one.1 < other.1) {
        wrong.push(format!("the stream's order: {all:?}"));
    }
    let pending = bulks(&ask(client, &format!("xpending {STREAM} workers - + 1000000")));
    let pending: BTreeSet<&String> = pending.chunks_exact(2).map(|entry| &entry[0]).collect();
    let unread = ask(client, &format!("xreadgroup group workers me count 1000000 streams {STREAM} >"));
    let unread = bulks(&unread);
    let unread: BTreeSet<u64> =
        entries(unread.get(1..).unwrap_or_default()).into_iter().map(|(_, number)| number).collect();
    for (id, number) in &all {
        let places = [pending.contains(id), unread.contains(number)].into_iter().filter(|is| *is).count();
        match seen.acknowledged.get(number) {
            Some(true) if places > 0 => wrong.push(format!("{number} was acknowledged and came back")),
            None if places != 1 => wrong.push(format!("{number} is in {places} places")),
            Some(true | false) | None => {}
        }
    }
    let there: BTreeSet<u64> = all.iter().map(|(_, number)| *number).collect();
    let lost: Vec<_> =
        seen.entries.iter().filter(|(number, answered)| **answered && !there.contains(number)).collect();
    if !lost.is_empty() {
        wrong.push(format!("entries lost: {lost:?}"));
    }
    for (id, _) in &all {
        ask(client, &format!("xack {STREAM} workers {id}"));
    }
    ask(client, &format!("xtrim {STREAM} maxlen 0"));
    wrong
}
