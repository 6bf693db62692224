//! Lists against a plain deque, and against what would lie in the store.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::{End, List, Search, Side};
use crate::broker::{keyspace::journal::Journal, queue::QueueId};

#[derive(Debug, Clone)]
enum Step {
    Push(End, Vec<u8>),
    Pop(End),
    Set(i64, Vec<u8>),
    Insert(Side, Vec<u8>, Vec<u8>),
    Remove(i64, Vec<u8>),
    Trim(i64, i64),
    Restart,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Left), Just(End::Right)]
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(b"a".to_vec()), Just(b"b".to_vec()), Just(b"c".to_vec()), Just(Vec::new())]
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(Side::Before), Just(Side::After)];
    prop_oneof![
        4 => (end(), element()).prop_map(|(end, bytes)| Step::Push(end, bytes)),
        2 => end().prop_map(Step::Pop),
        1 => (-5i64..5, element()).prop_map(|(at, bytes)| Step::Set(at, bytes)),
        3 => (side, element(), element()).prop_map(|(side, pivot, bytes)| Step::Insert(side, pivot, bytes)),
        1 => (-3i64..3, element()).prop_map(|(count, bytes)| Step::Remove(count, bytes)),
        1 => (-9i64..9, -9i64..9).prop_map(|(start, stop)| Step::Trim(start, stop)),
        1 => Just(Step::Restart),
    ]
}

/// An index of the model, from one that may count from the right.
fn at(model: &VecDeque<Vec<u8>>, index: i64) -> Option<usize> {
    let len = model.len() as i64;
    usize::try_from(if index < 0 { index + len } else { index }).ok().filter(|&at| at < model.len())
}

fn model_step(model: &mut VecDeque<Vec<u8>>, step: &Step) {
    match step {
        Step::Push(End::Left, bytes) => model.push_front(bytes.clone()),
        Step::Push(End::Right, bytes) => model.push_back(bytes.clone()),
        Step::Pop(End::Left) => drop(model.pop_front()),
        Step::Pop(End::Right) => drop(model.pop_back()),
        Step::Set(index, bytes) => {
            if let Some(at) = at(model, *index) {
                model[at] = bytes.clone();
            }
        }
        Step::Insert(side, pivot, bytes) => {
            if let Some(found) = model.iter().position(|element| element == pivot) {
                model.insert(if *side == Side::Before { found } else { found + 1 }, bytes.clone());
            }
        }
        Step::Remove(count, bytes) => {
            let mut left = if *count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
            let mut goes = vec![false; model.len()];
            let all: Vec<usize> = (0..model.len()).collect();
            for at in if *count < 0 { all.into_iter().rev().collect() } else { all } {
                if left > 0 && model[at] == *bytes {
                    goes[at] = true;
                    left -= 1;
                }
            }
            let mut goes = goes.into_iter();
            model.retain(|_| !goes.next().unwrap());
        }
        Step::Trim(start, stop) => {
            let len = model.len() as i64;
            let from_left = |n: i64| if n < 0 { n + len } else { n };
            let (start, stop) = (from_left(*start), from_left(*stop));
            let mut index = -1;
            model.retain(|_| {
                index += 1;
                index >= start && index <= stop
            });
        }
        Step::Restart => {}
    }
}

fn list_step(list: &mut List, journal: &mut Journal, stored: &BTreeMap<u64, Vec<u8>>, step: &Step) {
    let slots = &mut journal.slots(QueueId(1));
    match step {
        Step::Push(end, bytes) => list.push(*end, bytes, slots),
        Step::Pop(end) => drop(list.pop(*end, slots)),
        Step::Set(index, bytes) => drop(list.set(*index, bytes, slots)),
        Step::Insert(side, pivot, bytes) => drop(list.insert(*side, pivot, bytes, slots)),
        Step::Remove(count, bytes) => drop(list.remove(*count, bytes, slots)),
        Step::Trim(start, stop) => list.trim(*start, *stop, slots),
        Step::Restart => {
            *list = List::default();
            stored.iter().for_each(|(slot, bytes)| list.recover(*slot, bytes));
        }
    }
}

proptest! {
    #[test]
    fn a_list_is_what_a_deque_would_be_and_so_is_what_lies_in_the_store(steps in prop::collection::vec(step(), 0..80)) {
        let (mut list, mut model) = (List::default(), VecDeque::new());
        let mut stored = BTreeMap::new();
        for step in &steps {
            let mut journal = Journal::default();
            list_step(&mut list, &mut journal, &stored, step);
            model_step(&mut model, step);
            for (slot, part) in journal.parts() {
                match part {
                    Some((new, bytes)) => {
                        prop_assert!(!new || !stored.contains_key(&slot), "a slot is new only once");
                        stored.insert(slot, bytes);
                    }
                    None => prop_assert!(stored.remove(&slot).is_some(), "what goes was there"),
                }
            }
            let elements: Vec<&[u8]> = list.range(0, -1).collect();
            prop_assert_eq!(&elements, &model.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(&stored.values().map(Vec::as_slice).collect::<Vec<_>>(), &elements);
        }
        while list.pop(End::Left, &mut Journal::default().slots(QueueId(1))).is_some() {}
        prop_assert_eq!(list.bytes(), 0);
    }
}

#[test]
fn a_search_counts_from_either_end() {
    let (mut list, mut journal) = (List::default(), Journal::default());
    for bytes in [b"a", b"b", b"c", b"a", b"b", b"a"] {
        list.push(End::Right, bytes, &mut journal.slots(QueueId(1)));
    }
    let search = |rank, count, compared_max| list.positions(b"a", Search { rank, count, compared_max });
    assert_eq!(search(1, 0, 0), [0, 3, 5]);
    assert_eq!(search(2, 1, 0), [3]);
    assert_eq!(search(-1, 2, 0), [5, 3]);
    assert_eq!(search(-2, 0, 0), [3, 0]);
    assert_eq!(search(1, 0, 3), [0]);
    assert_eq!(search(5, 0, 0), [0usize; 0]);
}
