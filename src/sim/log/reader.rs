//! A reader under `read_committed`, as Kafka's consumer is: it leaves out what the list of aborted transactions names, up
//! to their end markers.

use std::collections::{BTreeSet, VecDeque};

use rand::Rng;

use super::{Run, model::Seen};
use crate::{
    broker::topic::{
        Offset,
        fetch::{Fetched, Isolation},
    },
    data::record::Batch,
};

impl Run {
    /// All of a log from `from` on.
    pub(super) fn read(&mut self, log: usize, from: i64) -> Vec<Seen> {
        let partition = self.partition(log);
        let (mut seen, mut next) = (Vec::new(), from);
        loop {
            let bytes_max = self.world.rng.random_range(1..8_192);
            let read = partition.fetch(Offset(next), bytes_max, Isolation::ReadCommitted);
            let fetched = super::super::ready(read).expect("nothing to wait for").unwrap();
            if fetched.batches.is_empty() {
                return seen;
            }
            // Readers that are no Kafka clients are told of no aborted transactions.
            let fetched = if self.world.chance(30) { fetched.without_aborted().unwrap() } else { fetched };
            next = records(fetched, next, &mut seen);
        }
    }
}

/// What a client makes of an answer to a Fetch from `from`; gives where it goes on.
fn records(fetched: Fetched, from: i64, seen: &mut Vec<Seen>) -> i64 {
    let mut aborted: VecDeque<_> = fetched.aborted.into();
    let (mut ignored, mut next) = (BTreeSet::new(), from);
    for bytes in fetched.batches {
        let batch = Batch::decode(bytes).unwrap();
        batch.check_crc().unwrap();
        let header = *batch.header();
        while let Some(begun) = aborted.pop_front_if(|a| a.first_offset.0 <= header.last_offset()) {
            ignored.insert(begun.producer_id);
        }
        next = next.max(header.last_offset() + 1);
        let payload = batch.payload(1 << 20).unwrap();
        let mut all = payload.iter().map(Result::unwrap);
        if header.attributes.is_control() {
            if all.next().is_some_and(|record| record.key == Some(&[0, 0, 0, 0])) {
                ignored.remove(&header.producer_id);
            }
            continue;
        }
        if header.attributes.is_transactional() && ignored.contains(&header.producer_id) {
            continue;
        }
        for record in all.filter(|record| record.offset >= from) {
            let (_, number) = record.headers().next().expect("every record says which it is");
            let number = u64::from_be_bytes(number.unwrap().try_into().unwrap());
            let &[key] = record.key.unwrap() else { panic!("not a key of ours") };
            seen.push(Seen { offset: record.offset, number, key: key.into(), marks: record.value.is_none() });
        }
    }
    next
}
