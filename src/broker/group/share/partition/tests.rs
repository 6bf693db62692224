//! What is lent to whom, and what becomes of it.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::clock;

const LOCK: Duration = Duration::from_secs(30);

fn terms() -> ShareTerms {
    ShareTerms { lock: LOCK, delivery_count_limit: 3, records_max: 100 }
}

const WANTED: Wanted = Wanted { records_max: 500, batch_records: 500, strict: false };

fn batches(of: &[(i64, i64)]) -> Vec<ReadBatch> {
    of.iter().map(|(base, last)| ReadBatch { base: *base, last: *last, hidden: false }).collect()
}

struct Bench {
    partition: SharePartition,
    now: Instant,
    log: Vec<ReadBatch>,
    limit: i16,
}

impl Bench {
    fn new(log: &[(i64, i64)]) -> Self {
        Self { partition: SharePartition::new(0), now: clock::epoch(), log: batches(log), limit: 3 }
    }

    fn terms(&self) -> ShareTerms {
        ShareTerms { delivery_count_limit: self.limit, ..terms() }
    }

    fn acquire_as(&mut self, member: &str, wanted: Wanted) -> Vec<(i64, i64, i16)> {
        let from = self.partition.next_offset();
        let read: Vec<ReadBatch> = self.log.iter().filter(|b| b.last >= from).copied().collect();
        let acquired = self.partition.acquire(self.now, &member.into(), from, &read, wanted, &self.terms());
        acquired.iter().map(|a| (a.first, a.last, a.delivery_count)).collect()
    }

    fn acquire(&mut self, member: &str) -> Vec<(i64, i64, i16)> {
        self.acquire_as(member, WANTED)
    }

    fn acknowledge(
        &mut self,
        member: &str,
        first: i64,
        last: i64,
        types: &[Acknowledge],
    ) -> Result<(), NotAcknowledged> {
        let each = Acknowledgement { first, last, types: types.to_vec() };
        self.partition.acknowledge(self.now, &member.into(), &[each], &self.terms())
    }

    fn expire(&mut self) {
        self.now += LOCK;
        self.partition.expire(self.now, &self.terms());
    }
}

use Acknowledge::*;

#[test]
fn what_one_member_has_another_has_not_until_it_is_given_back() {
    let mut bench = Bench::new(&[(0, 4), (5, 9)]);
    let five = Wanted { records_max: 5, ..WANTED };
    assert_eq!(bench.acquire_as("a", five), [(0, 4, 1)]);
    assert_eq!(bench.acquire_as("b", five), [(5, 9, 1)]);
    assert_eq!(bench.acquire("c"), []);
    bench.acknowledge("a", 0, 4, &[Accept, Release, Accept, Reject, Gap]).unwrap();
    assert_eq!((bench.partition.start(), bench.partition.done_ahead()), (1, 3));
    assert_eq!(bench.acquire("c"), [(1, 1, 2)]);
    bench.acknowledge("c", 1, 1, &[Accept]).unwrap();
    assert_eq!(bench.partition.start(), 5);
    bench.acknowledge("b", 5, 9, &[Accept]).unwrap();
    assert_eq!((bench.partition.start(), bench.partition.next_offset()), (10, 10));
}

#[test]
fn a_lock_ends_and_a_record_lent_too_often_is_archived() {
    let mut bench = Bench::new(&[(0, 0)]);
    for count in 1..=3 {
        assert_eq!(bench.acquire("a"), [(0, 0, count)]);
        assert_eq!(bench.partition.next_expiry(), Some(bench.now + LOCK));
        bench.expire();
    }
    assert_eq!((bench.acquire("a"), bench.partition.start()), (vec![], 1));
}

#[test]
fn a_renewed_lock_lasts_longer() {
    let mut bench = Bench::new(&[(0, 0)]);
    bench.acquire("a");
    bench.now += LOCK / 2;
    bench.acknowledge("a", 0, 0, &[Renew]).unwrap();
    bench.now += LOCK / 2;
    assert!(!bench.partition.expire(bench.now, &terms()));
    bench.acknowledge("a", 0, 0, &[Accept]).unwrap();
    assert_eq!(bench.partition.start(), 1);
}

#[test]
fn an_acknowledgement_of_what_one_has_not_is_refused_whole() {
    let mut bench = Bench::new(&[(0, 9)]);
    bench.acquire_as("a", Wanted { records_max: 5, strict: true, ..WANTED });
    bench.acquire("b");
    assert_eq!(bench.acknowledge("a", 3, 6, &[Accept]), Err(NotAcknowledged::NotTheOwner));
    assert_eq!(bench.acknowledge("a", 0, 10, &[Accept]), Err(NotAcknowledged::PastTheEnd));
    bench.acknowledge("a", 1, 2, &[Accept]).unwrap();
    assert_eq!(bench.acknowledge("a", 0, 4, &[Accept]), Err(NotAcknowledged::NotAcquired));
    assert_eq!(bench.partition.start(), 0);
    bench.acknowledge("a", 0, 0, &[Accept]).unwrap();
    assert_eq!(bench.acknowledge("a", 0, 2, &[Accept]), Ok(()), "it is done with already");
}

#[test]
fn a_member_that_goes_away_gives_all_back_as_if_it_had_never_had_it() {
    let mut bench = Bench::new(&[(0, 9)]);
    bench.acquire("a");
    assert!(bench.partition.release(&"a".into()) && !bench.partition.release(&"a".into()));
    assert_eq!(bench.acquire("b"), [(0, 9, 1)]);
}

#[test]
fn a_strict_limit_cuts_batches_and_a_full_partition_lends_nothing_fresh() {
    let mut bench = Bench::new(&[(0, 59), (60, 119), (120, 179)]);
    assert_eq!(bench.acquire_as("a", Wanted { records_max: 7, strict: true, ..WANTED }), [(0, 6, 1)]);
    assert_eq!(bench.acquire("b"), [(7, 119, 1)]);
    assert!(!bench.partition.has_room(&terms()));
    assert_eq!(bench.acquire("c"), []);
    let ranges =
        Bench::new(&[(0, 4), (5, 9), (10, 14)]).acquire_as("a", Wanted { batch_records: 6, ..WANTED });
    assert_eq!(ranges, [(0, 9, 1), (10, 14, 1)]);
}

#[test]
fn gaps_and_aborted_records_are_done_with_and_a_log_that_begins_later_takes_its_part() {
    let mut bench = Bench::new(&[(2, 4), (8, 9)]);
    bench.log.insert(1, ReadBatch { base: 5, last: 6, hidden: true });
    assert_eq!(bench.acquire("a"), [(2, 4, 1), (8, 9, 1)]);
    bench.acknowledge("a", 2, 4, &[Accept]).unwrap();
    assert_eq!(bench.partition.start(), 8);
    assert!(bench.partition.trim(9) && !bench.partition.trim(9));
    bench.acknowledge("a", 8, 9, &[Release]).unwrap();
    assert_eq!((bench.partition.start(), bench.partition.next_offset()), (9, 9));
}

#[test]
fn a_restart_ends_the_locks_and_remembers_how_often() {
    let mut bench = Bench::new(&[(0, 5)]);
    bench.acquire("a");
    bench.acknowledge("a", 1, 2, &[Accept]).unwrap();
    bench.partition = SharePartition::decode(&bench.partition.encode().into()).unwrap();
    assert_eq!(bench.acquire("b"), [(0, 0, 2), (3, 5, 2)]);
    assert_eq!(SharePartition::decode(&Bytes::from_static(b"x")), None);
}

proptest! {
    /// Members acquire, acknowledge, leave; locks end; the broker restarts. Every record is accepted once, at most
    /// one member has it at a time, and the start never falls.
    #[test]
    fn every_record_is_accepted_once(ops in vec((0..6u8, 0..3usize, 1..20i64), 1..120)) {
        let mut bench = Bench::new(&[(0, 4), (5, 5), (6, 19), (20, 39)]);
        let limit = i16::MAX;
        let terms = ShareTerms { delivery_count_limit: limit, ..terms() };
        let mut held: [Vec<(i64, i64)>; 3] = Default::default();
        let mut accepted = std::collections::BTreeSet::new();
        let mut start = 0;
        for (op, who, n) in ops {
            let member = MemberId::from(["a", "b", "c"][who]);
            match op {
                0 | 1 => {
                    let from = bench.partition.next_offset();
                    let read: Vec<ReadBatch> = bench.log.iter().filter(|b| b.last >= from).copied().collect();
                    let wanted = Wanted { records_max: n, batch_records: n, strict: op == 1 };
                    for a in bench.partition.acquire(bench.now, &member, from, &read, wanted, &terms) {
                        prop_assert!(!held.iter().flatten().any(|(f, l)| *f <= a.last && a.first <= *l));
                        prop_assert!((a.first..=a.last).all(|offset| !accepted.contains(&offset)));
                        held[who].push((a.first, a.last));
                    }
                }
                2 | 3 => if let Some((first, last)) = held[who].pop() {
                    let how = if op == 2 { Acknowledge::Accept } else { Acknowledge::Release };
                    let each = Acknowledgement { first, last, types: vec![how] };
                    bench.partition.acknowledge(bench.now, &member, &[each], &terms).unwrap();
                    if op == 2 { accepted.extend(first..=last); }
                }
                4 => {
                    bench.partition.release(&member);
                    held[who].clear();
                }
                _ => {
                    if n % 2 == 0 {
                        bench.now += LOCK;
                        bench.partition.expire(bench.now, &terms);
                    } else {
                        bench.partition = SharePartition::decode(&bench.partition.encode().into()).unwrap();
                    }
                    held.iter_mut().for_each(Vec::clear);
                }
            }
            prop_assert!(bench.partition.start() >= start);
            start = bench.partition.start();
            prop_assert!((0..start).all(|offset| accepted.contains(&offset)));
        }
    }
}

/// A batch of 16 that its consumers cannot take, under a limit of six deliveries: half is lent of it from the third
/// on, then a quarter; the last time each record comes alone. What follows waits.
#[test]
fn a_batch_that_comes_back_is_lent_in_ever_smaller_parts_and_at_last_record_by_record() {
    let mut bench = Bench::new(&[(0, 15), (16, 19)]);
    bench.limit = 6;
    let sixteen = Wanted { records_max: 16, ..WANTED };
    assert_eq!(bench.acquire_as("a", sixteen), [(0, 15, 1)]);
    bench.expire();
    for count in 2..=3 {
        assert_eq!(bench.acquire_as("a", sixteen), [(0, 15, count)]);
        bench.expire();
    }
    // Three deliveries are half of six.
    assert_eq!(bench.acquire("a"), [(0, 7, 4)]);
    assert_eq!(bench.acquire("b"), [(8, 15, 4)]);
    bench.expire();
    assert_eq!(bench.acquire("a"), [(0, 3, 5)]);
    bench.expire();
    assert_eq!(bench.acquire("a"), [(0, 0, 6)]);
    assert_eq!(bench.acquire("b"), [(1, 1, 6)]);
    bench.expire();
    assert_eq!(bench.partition.start(), 2, "what was lent too often is archived, and nothing else");
    bench.acquire("c");
    bench.acknowledge("c", 2, 2, &[Accept]).unwrap();
    assert_eq!(bench.acquire("c"), [(3, 3, 6)]);
}

#[test]
fn a_suspect_batch_is_not_lent_behind_others_and_nothing_behind_it() {
    let mut bench = Bench::new(&[(0, 3), (4, 7), (8, 11)]);
    bench.limit = 4;
    let four = Wanted { records_max: 4, ..WANTED };
    for _ in 0..2 {
        assert_eq!(bench.acquire_as("a", four)[0].0, 0);
        assert_eq!(bench.acquire_as("b", four)[0].0, 4);
        bench.acknowledge("a", 0, 3, &[Release]).unwrap();
        bench.expire();
        if bench.partition.next_offset() == 0 {
            bench.partition.ranges.get_mut(&0).into_iter().for_each(|range| range.delivery_count = 0);
        }
    }
    // The first batch is as if it had never been lent; the second was, twice.
    assert_eq!(bench.acquire("c"), [(0, 3, 1)]);
    assert_eq!(bench.acquire("c"), [(4, 5, 3)]);
    assert_eq!(bench.acquire("c"), [(6, 7, 3)]);
    assert_eq!(bench.acquire("c"), [(8, 11, 1)]);
}

#[test]
fn with_a_limit_of_two_nothing_comes_alone() {
    let mut bench = Bench::new(&[(0, 9)]);
    bench.limit = 2;
    bench.acquire("a");
    bench.expire();
    assert_eq!(bench.acquire("a"), [(0, 9, 2)]);
}
