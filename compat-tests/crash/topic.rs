//! One topic under kills: `acks=all` records are where they were said to be, offsets have no gap, order is kept.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    sync::Mutex,
};

use crate::support::{
    Seeded,
    kafka::{Client, Produced, Record},
};

const TOPIC: &str = "crash";

/// What was sent, what was answered, and how far the log has been checked.
#[derive(Debug)]
pub(crate) struct Model {
    address: SocketAddr,
    next: u64,
    /// Number of an acknowledged record → its offset, for records that are not checked yet.
    acknowledged: BTreeMap<u64, i64>,
    /// Everything found so far, to be found again.
    log: Vec<u64>,
    confirmed_total: u64,
    round: Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    sent: u64,
    acknowledged: Vec<(u64, i64)>,
}

impl Model {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Client::connect(address)
            .and_then(|mut client| client.create_topic(TOPIC))
            .expect("the topic is made");
        Self {
            address,
            next: 0,
            acknowledged: BTreeMap::new(),
            log: Vec::new(),
            confirmed_total: 0,
            round: Mutex::default(),
        }
    }

    pub(crate) fn confirmed_total(&self) -> u64 {
        self.confirmed_total
    }

    /// Produces until the broker is gone.
    pub(crate) fn work(&self, seed: u64) {
        // The end is always an error: the kill.
        let _ = self.produce(seed);
    }

    fn produce(&self, seed: u64) -> io::Result<()> {
        let mut random = Seeded::from(seed ^ 0xCAFE);
        let mut client = Client::connect(self.address)?;
        let mut sent = 0;
        let mut under_way = VecDeque::new();
        loop {
            let count = 1 + random.below(5);
            let first = self.next + sent;
            sent += count;
            self.round.lock().expect("not poisoned").sent = sent;
            let values: Vec<Vec<u8>> = (first..first + count).map(value).collect();
            under_way.push_back((client.produce(TOPIC, &values)?, first, count));
            if under_way.len() < 5 {
                continue;
            }
            if let Some((correlation, first, count)) = under_way.pop_front() {
                let Produced { error, base_offset } = client.produced(correlation)?;
                assert_eq!(error, 0, "Produce is not refused");
                let mut round = self.round.lock().expect("not poisoned");
                round.acknowledged.extend((first..first + count).zip(base_offset..));
            }
        }
    }

    /// Reads what is new after the restart and compares.
    pub(crate) fn verify(&mut self, round: u32) {
        let seen = std::mem::take(self.round.get_mut().expect("not poisoned"));
        self.next += seen.sent;
        self.confirmed_total += seen.acknowledged.len() as u64;
        self.acknowledged.extend(seen.acknowledged);
        let from = self.log.len();
        let found = read(self.address, from);
        self.log.extend(&found);
        assert!(
            found.windows(2).all(|pair| pair[0] < pair[1])
                && from
                    .checked_sub(1)
                    .is_none_or(|last| { found.first().is_none_or(|first| self.log[last] < *first) }),
            "round {round}: records are out of order, or twice in the log"
        );
        assert!(self.log.last().is_none_or(|last| *last < self.next), "round {round}: a record from nowhere");
        for (number, offset) in std::mem::take(&mut self.acknowledged) {
            let at = usize::try_from(offset).ok().and_then(|offset| self.log.get(offset));
            assert_eq!(
                at,
                Some(&number),
                "round {round}: record {number} was acknowledged at offset {offset}"
            );
        }
    }

    /// At the end, everything once more from offset 0: nothing old has changed or gone.
    pub(crate) fn verify_from_the_start(&self) {
        assert_eq!(read(self.address, 0), self.log);
        let all: BTreeSet<_> = self.log.iter().collect();
        assert_eq!(all.len(), self.log.len(), "no record is twice in the log");
    }
}

/// The numbers of all records from an offset to the log's end; offsets must follow each other without a gap.
fn read(address: SocketAddr, from: usize) -> Vec<u64> {
    let mut client = Client::connect(address).expect("the broker is up");
    let end = client.latest_offset(TOPIC).expect("the topic is there");
    let mut next = i64::try_from(from).expect("an offset");
    assert!(next <= end, "the log ends at {end}, but {next} records were read from it before");
    let mut found = Vec::new();
    while next < end {
        let fetched = client.fetch(TOPIC, next).expect("the broker is up");
        assert_eq!((fetched.error, fetched.high_watermark), (0, end), "a fetch at {next}, from {from} on");
        let before = next;
        for Record { offset, value, .. } in fetched.records {
            // A batch may begin before the offset that was asked for.
            if offset >= next {
                assert_eq!(offset, next, "offsets have a gap");
                found.push(number(&value.expect("every record has a value")));
                next += 1;
            }
        }
        assert!(next > before, "a fetch below the log's end returned nothing");
    }
    found
}

fn value(number: u64) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.extend((0..number * 31 % 400).map(|at| (number ^ at).to_le_bytes()[0]));
    value
}

fn number(found: &[u8]) -> u64 {
    let number = u64::from_be_bytes(found[..8].try_into().expect("eight bytes"));
    assert!(found == value(number), "record {number} came back changed");
    number
}
