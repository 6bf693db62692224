//! One compacted topic under load and kills inside a compaction: of each key the last confirmed record is there, nothing
//! that was gone comes back, what is there has not changed, and offsets only rise.
//!
//! A value bears its number; a deletion (a record without value) bears none, and is known by its offset once that was
//! told. A record whose answer the kill took may be there or not.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::Mutex,
    time::Duration,
};

use crate::support::{
    Seeded, eventually,
    kafka::{Client, Pair, Produced, batch_of},
};

const TOPIC: &str = "compacted";
const KEYS: u64 = 1_000;
/// Compaction has something to do whenever so much has come, deletions go soon, and little is too young.
const CONFIGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("internal.segment.bytes", "65536"),
    ("min.cleanable.dirty.ratio", "0.001"),
    ("min.compaction.lag.ms", "1"),
    ("delete.retention.ms", "1"),
];
/// How long a compaction may be in coming: it begins a second after there is something to do.
const COMPACTION_MAX: Duration = Duration::from_secs(60);

/// A record: its key, and the number of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    key: u64,
    /// Nothing: it deletes its key.
    number: Option<u64>,
}

/// What was sent, what was answered, and what there was after the last kill.
#[derive(Debug)]
pub(crate) struct Model {
    address: SocketAddr,
    next: u64,
    /// What must be in the log unchanged, or be gone for good.
    log: BTreeMap<i64, Sent>,
    end: i64,
    gone_total: u64,
    confirmed_total: u64,
    round: Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    next: u64,
    /// In the order in which they were sent; their answers have not come.
    under_way: VecDeque<Sent>,
    acknowledged: Vec<(i64, Sent)>,
}

impl Model {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Client::connect(address)
            .and_then(|mut client| client.create_configured_topic(TOPIC, 1, &CONFIGS))
            .expect("the topic is made");
        Self {
            address,
            next: 0,
            log: BTreeMap::new(),
            end: 0,
            gone_total: 0,
            confirmed_total: 0,
            round: Mutex::default(),
        }
    }

    pub(crate) fn confirmed_total(&self) -> u64 {
        self.confirmed_total
    }

    /// Records that compactions took.
    pub(crate) fn gone_total(&self) -> u64 {
        self.gone_total
    }

    /// Produces until the broker is gone.
    pub(crate) fn work(&self, seed: u64) {
        // The end is always an error: the kill.
        let _ = self.produce(seed);
    }

    fn produce(&self, seed: u64) -> io::Result<()> {
        let mut random = Seeded::from(seed ^ 0xBEEF);
        let mut client = Client::connect(self.address)?;
        let mut next = self.next;
        let mut under_way = VecDeque::new();
        loop {
            let count = usize::try_from(1 + random.below(40)).expect("a small number");
            let batch: Vec<Sent> = (next..).take(count).map(|number| sent(&mut random, number)).collect();
            next += count as u64;
            {
                let mut round = self.round.lock().expect("not poisoned");
                round.next = next;
                round.under_way.extend(&batch);
            }
            let pairs: Vec<Pair> = batch.iter().map(|sent| sent.pair()).collect();
            under_way.push_back((client.produce_batch(TOPIC, 0, &batch_of(&pairs))?, count));
            if under_way.len() < 5 {
                continue;
            }
            if let Some((correlation, count)) = under_way.pop_front() {
                let Produced { error, base_offset } = client.produced(correlation)?;
                assert_eq!(error, 0, "Produce is not refused");
                let mut round = self.round.lock().expect("not poisoned");
                let done: Vec<Sent> = round.under_way.drain(..count).collect();
                round.acknowledged.extend((base_offset..).zip(done));
            }
        }
    }

    /// Waits until a compaction has begun: something goes from the head of the log.
    pub(crate) fn await_compaction(&self) {
        let mut client = Client::connect(self.address).expect("the broker is up");
        let mut known = BTreeSet::new();
        eventually("a compaction begins", COMPACTION_MAX, || {
            let head = client.fetch(TOPIC, 0).expect("the broker is up").records;
            let head: BTreeSet<i64> = head.iter().map(|record| record.offset).collect();
            let Some(last) = head.last() else { return false };
            let has_gone = known.range(..last).any(|offset| !head.contains(offset));
            known.extend(head);
            has_gone
        });
    }

    /// Reads everything after the restart and compares.
    pub(crate) fn verify(&mut self, round: u32) {
        let seen = std::mem::take(self.round.get_mut().expect("not poisoned"));
        self.next = self.next.max(seen.next);
        self.confirmed_total += seen.acknowledged.len() as u64;
        let before = self.end;
        let mut known = std::mem::take(&mut self.log);
        known.extend(seen.acknowledged);
        let told = known.last_key_value().map_or(before, |(offset, _)| before.max(offset + 1));
        let (found, end) = read(self.address);
        assert!(end >= told, "round {round}: the log ends at {end}, but {told} had been told");
        let mut under_way = seen.under_way.clone();
        for (offset, sent) in &found {
            if let Some(was) = known.get(offset) {
                assert_eq!(sent, was, "round {round}: the record at {offset} has changed");
                continue;
            }
            assert!(*offset >= told, "round {round}: what was gone from {offset} is back: {sent:?}");
            // Those before it were compacted already.
            let at = under_way.iter().position(|waiting| waiting == sent);
            let at = at.unwrap_or_else(|| panic!("round {round}: {sent:?} at {offset} comes from nowhere"));
            under_way.drain(..=at);
            known.insert(*offset, *sent);
        }
        let last: BTreeMap<u64, (i64, Option<u64>)> =
            known.iter().map(|(offset, sent)| (sent.key, (*offset, sent.number))).collect();
        for (key, (offset, number)) in last {
            // A deletion may have gone already with what it deleted, also one whose answer never came.
            let deletes = |sent: &Sent| *sent == Sent { key, number: None };
            let may_be_deleted = number.is_none() || seen.under_way.iter().any(deletes);
            let is_there = found.contains_key(&offset);
            assert!(is_there || may_be_deleted, "round {round}: key {key} lost its last value, at {offset}");
            let older = found.range(..offset).find(|(_, sent)| sent.key == key && !is_there);
            assert_eq!(older, None, "round {round}: key {key} was deleted at {offset}, and is back");
        }
        self.gone_total += (known.len() - found.len()) as u64;
        (self.log, self.end) = (found, end);
    }
}

fn sent(random: &mut Seeded, number: u64) -> Sent {
    let key = random.below(KEYS);
    Sent { key, number: (random.below(16) > 0).then_some(number) }
}

impl Sent {
    fn pair(self) -> Pair {
        (Some(self.key.to_be_bytes().to_vec()), self.number.map(value))
    }
}

/// Every record with its offset, and the log's end; offsets rise.
fn read(address: SocketAddr) -> (BTreeMap<i64, Sent>, i64) {
    let mut client = Client::connect(address).expect("the broker is up");
    let end = client.latest_offset(TOPIC).expect("the topic is there");
    let (mut found, mut next) = (BTreeMap::new(), 0);
    while next < end {
        let fetched = client.fetch(TOPIC, next).expect("the broker is up");
        assert_eq!((fetched.error, fetched.high_watermark), (0, end));
        let offsets = fetched.records.iter().map(|record| record.offset);
        assert!(offsets.is_sorted_by(|a, b| a < b), "offsets rise");
        // At the end there may be nothing but what is gone.
        let Some(last) = fetched.records.last() else { break };
        next = next.max(last.offset + 1);
        for record in fetched.records {
            let key = record.key.and_then(|key| key.try_into().ok()).map(u64::from_be_bytes);
            let sent = Sent { key: key.expect("a key of eight bytes"), number: record.value.map(number) };
            found.insert(record.offset, sent);
        }
    }
    (found, end)
}

/// About a KiB that can be told from any other.
fn value(number: u64) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.extend((0..500 + number * 31 % 1_000).map(|at| (number ^ at).to_le_bytes()[0]));
    value
}

fn number(found: Vec<u8>) -> u64 {
    let number = u64::from_be_bytes(found[..8].try_into().expect("eight bytes"));
    assert!(found == value(number), "record {number} came back changed");
    number
}
