//! Random histories with crashes: what was confirmed is there, at its offset, and offsets have no gap.

use std::sync::Arc;

use parking_lot::Mutex;
use proptest::{collection::vec, prelude::*};

use super::{NOW_MS, World, batch_at, commit};
use crate::{
    broker::topic::{Offset, fetch::Isolation},
    clock,
    data::record::Producer,
    store::{Options, Store},
};

#[derive(Debug, Clone)]
enum Op {
    Append { records: usize, idempotent: bool },
    Publish,
    DeleteRecords(i64),
    Turn,
    Retry,
    Crash(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..4usize, any::<bool>()).prop_map(|(records, idempotent)| Op::Append { records, idempotent }),
        3 => Just(Op::Publish),
        1 => (0..20i64).prop_map(Op::DeleteRecords),
        4 => Just(Op::Turn),
        1 => Just(Op::Retry),
        1 => any::<u64>().prop_map(Op::Crash),
    ]
}

/// First offset and values of each confirmed append.
type Confirmed = Arc<Mutex<Vec<(i64, Vec<String>)>>>;

struct History {
    world: World,
    confirmed: Confirmed,
    published: Vec<(crate::store::Ticket, String)>,
    trimmed_to: Arc<Mutex<i64>>,
    sequence: i32,
    last: Option<(Vec<String>, i32)>,
    made: usize,
}

impl History {
    fn append(&self, values: Vec<String>, producer: Producer) {
        let p = self.world.found();
        let refs: Vec<&str> = values.iter().map(String::as_str).collect();
        let checked = p.check(batch_at(NOW_MS, &refs, producer).into_bytes(), NOW_MS, true).unwrap();
        let confirmed = self.confirmed.clone();
        p.append(checked, move |result| confirmed.lock().push((result.unwrap().base_offset.0, values)));
    }

    fn apply(&mut self, op: &Op) {
        self.made += 1;
        match *op {
            Op::Append { records, idempotent } => {
                let values: Vec<String> = (0..records).map(|n| format!("{}.{n}", self.made)).collect();
                let mut producer = Producer::NONE;
                if idempotent {
                    producer = Producer { id: 5, epoch: 0, base_sequence: self.sequence };
                    self.last = Some((values.clone(), self.sequence));
                    self.sequence += i32::try_from(records).unwrap();
                }
                self.append(values, producer);
            }
            Op::Publish => {
                let value = format!("{}", self.made);
                let ticket = self.world.found().publish(NOW_MS, None, Some(value.as_bytes()), []);
                self.published.push((ticket, value));
            }
            Op::DeleteRecords(back) => {
                let p = self.world.found();
                let offset = (p.offsets().high_watermark.0 - back).max(0);
                let trimmed_to = self.trimmed_to.clone();
                p.delete_records(Some(Offset(offset)), move |low| *trimmed_to.lock() = low.unwrap().0);
            }
            Op::Turn => {
                self.world.store.step(clock::epoch());
            }
            Op::Retry => {
                if let Some((values, base_sequence)) = self.last.clone() {
                    self.append(values, Producer { id: 5, epoch: 0, base_sequence });
                }
            }
            Op::Crash(seed) => self.crash(seed),
        }
    }

    fn crash(&mut self, seed: u64) {
        let durable = self.world.store.durable_to();
        let kept: Vec<String> =
            self.published.drain(..).filter(|(t, _)| *t <= durable).map(|(_, value)| value).collect();
        let image = self.world.store.crash(seed).unwrap();
        let store = Store::open_on(image, Options::small_disk()).unwrap();
        self.world = World::on(store, if seed.is_multiple_of(2) { 0 } else { usize::MAX });
        self.check(&kept);
        // A client that lost its answers begins a new sequence under a new id; here: where the log says.
        (self.sequence, self.last) = (0, None);
        let p = self.world.found();
        p.expire_producers(i64::MAX);
    }

    fn check(&self, published: &[String]) {
        let p = self.world.found();
        let offsets = p.offsets();
        assert!(offsets.log_start.0 >= *self.trimmed_to.lock(), "what was deleted comes back");
        let fetched =
            super::ready(p.fetch(offsets.log_start, usize::MAX, Isolation::ReadUncommitted)).unwrap();
        let all = super::records(&fetched.batches);
        let seen: Vec<i64> = all.iter().map(|(o, _)| *o).filter(|o| *o >= offsets.log_start.0).collect();
        assert_eq!(seen, (offsets.log_start.0..offsets.high_watermark.0).collect::<Vec<_>>());
        for (base, values) in self.confirmed.lock().iter() {
            for (offset, value) in (*base..).zip(values).filter(|(o, _)| *o >= offsets.log_start.0) {
                let found = all.iter().find(|(o, _)| *o == offset).map(|(_, v)| v);
                assert_eq!(found, Some(value), "a confirmed record at {offset}");
            }
        }
        if offsets.log_start.0 == 0 {
            for value in published {
                assert_eq!(all.iter().filter(|(_, v)| v == value).count(), 1, "a confirmed message {value}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: proptest::test_runner::RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn confirmed_records_survive_at_their_offsets_without_gaps(ops in vec(op(), 1..60)) {
        let world = World::durable();
        world.partition(&[]);
        let mut history = History {
            world,
            confirmed: Confirmed::default(),
            published: Vec::new(),
            trimmed_to: Arc::default(),
            sequence: 0,
            last: None,
            made: 0,
        };
        ops.iter().for_each(|op| history.apply(op));
        commit(&history.world.store);
        history.crash(1);
    }
}
