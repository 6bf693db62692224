//! The ready messages against an obvious model: a list, sorted by what leaves first.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::broker::message::{Draft, Publish, Traits};
use crate::broker::queue::returns::Count;

fn entry(seq: u64, priority: u8) -> Entry {
    let mut draft = Draft::default();
    let traits = Traits { priority: Some(priority), ..Traits::default() };
    let publish = Publish { exchange: "", routing_key: "q", properties: &[0, 0], traits };
    draft.open(&publish, 0, WINDOW_BYTES / 4);
    draft.body(&vec![0; WINDOW_BYTES / 4]);
    let message = draft.seal().message(0).unwrap();
    Entry { seq: Seq(seq), message, expires_ms: i64::MAX, redelivered: false, returns: Count::default() }
}

/// One batch of messages with these priorities.
fn batch(priorities: &[u8]) -> Vec<Message> {
    let mut draft = Draft::default();
    for &priority in priorities {
        let traits = Traits { priority: Some(priority), ..Traits::default() };
        draft.open(&Publish { exchange: "", routing_key: "q", properties: &[0, 0], traits }, 0, 1);
        draft.body(&[0]);
    }
    let blob = draft.seal();
    (0..priorities.len()).map(|n| blob.message(u32::try_from(n).unwrap()).unwrap()).collect()
}

fn drain(ready: &mut Levels) -> Vec<u64> {
    std::iter::from_fn(|| ready.pop()).map(|entry| entry.seq.0).collect()
}

#[test]
fn a_run_that_begins_in_the_head_is_paged_from_where_the_head_ends() {
    let mut ready = Levels::default();
    (0..12).for_each(|n| ready.push(entry(n, 0)));
    // One run of twelve messages; some of them fitted into the head.
    ready.page_out(|_| Written::Durable { end: Seq(12) });
    let Middle { from, end, count, .. } = ready.middle(0).unwrap();
    assert!(from > Seq(0) && end == Seq(12) && ready.len() == 12);
    ready.loaded(end, count, (from.0..12).map(|n| entry(n, 0)));
    assert_eq!(drain(&mut ready), (0..12).collect::<Vec<_>>());
}

#[test]
fn what_is_put_back_comes_first_in_its_old_order_and_is_held() {
    let mut ready = Levels::default();
    (0..4).for_each(|n| ready.push(entry(n, 0)));
    let held = ready.held_bytes();
    let (a, b) = (ready.pop().unwrap(), ready.pop().unwrap());
    ready.put_back(b);
    ready.put_back(a);
    assert_eq!(ready.held_bytes(), held);
    assert_eq!(drain(&mut ready), [0, 1, 2, 3]);
    assert_eq!(ready.held_bytes(), 0);
}

#[test]
fn what_is_put_back_without_its_body_waits_for_it() {
    for quorum in [false, true] {
        let mut ready = Levels::default();
        (0..4).for_each(|n| ready.push(entry(n, 0)));
        for _ in 0..2 {
            let mut first = ready.pop().unwrap();
            first.message.forget();
            if quorum {
                ready.put_return(first);
            } else {
                ready.put_back(first);
            }
            assert!(ready.front().is_none() && ready.pop().is_none());
            let wanted = ready.returned_wanted(usize::MAX);
            assert_eq!(wanted.len(), 1);
            ready.restore(wanted[0], Seq(wanted[0].0 + 1), |seq| Some((entry(seq.0, 0).message, i64::MAX)));
            assert_eq!(ready.pop().map(|entry| entry.seq), Some(wanted[0]));
        }
        assert_eq!((ready.len(), ready.body_bytes()), (2, 2 * (WINDOW_BYTES / 4)));
    }
}

#[test]
fn durable_messages_behind_transient_ones_are_paged() {
    let mut ready = Levels::default();
    (0..40).for_each(|n| ready.push(entry(n, 0)));
    let held = ready.held_bytes();
    // Every fourth is transient, and nothing will ever write it.
    let written = |seq: Seq| match seq.0 % 4 {
        0 => Written::Never,
        n => Written::Durable { end: Seq(seq.0 - n + 4) },
    };
    ready.page_out(written);
    assert!(ready.held_bytes() < held / 2, "{} of {held}", ready.held_bytes());
    let mut order = Vec::new();
    while !ready.is_empty() {
        order.extend(drain(&mut ready));
        if let Some(from) = ready.wanted() {
            let from = if from.0 % 4 == 0 { from.0 + 1 } else { from.0 };
            let end = from - from % 4 + 4;
            ready.loaded(Seq(end), (end - from) as usize, (from..end).map(|n| entry(n, 0)));
        }
    }
    assert_eq!(order, (0..40).collect::<Vec<_>>());
}

#[test]
fn two_high_messages_go_for_each_normal_one() {
    let mut ready = Levels::new(Order::TwoWeighted);
    let high = Seq::first_of(1).0;
    (0..3).for_each(|n| ready.push(entry(n, 4)));
    (0..6).for_each(|n| ready.push(entry(high + n, 5)));
    let order = drain(&mut ready).into_iter().map(|seq| if seq < high { "normal" } else { "high" });
    let expected = ["high", "high", "normal"].repeat(3);
    assert_eq!(order.collect::<Vec<_>>(), expected);
}

#[test]
fn a_normal_message_does_not_overtake_a_high_one_that_is_older() {
    let messages = batch(&[5, 5, 5, 0, 5]);
    let mut ready = Levels::new(Order::TwoWeighted);
    for (seq, message) in messages.into_iter().enumerate() {
        let level = Seq::first_of(Order::TwoWeighted.level(message.priority())).0;
        ready.push(Entry { message, ..entry(level + seq as u64, 0) });
    }
    let order: Vec<_> = drain(&mut ready).into_iter().map(|seq| Seq(seq).in_level()).collect();
    assert_eq!(order, [0, 1, 2, 4, 3], "the third goes before the fourth, which is younger");
}

#[test]
fn a_normal_message_that_is_not_read_yet_is_waited_for_when_it_is_its_turn() {
    let high = Seq::first_of(1).0;
    let mut ready = Levels::new(Order::TwoWeighted);
    ready.push_paged(Seq(0), Seq(1), 1, WINDOW_BYTES / 4);
    (1..4).for_each(|n| ready.push(entry(high + n, 5)));
    assert_eq!(
        (ready.pop().map(|e| e.seq.0), ready.pop().map(|e| e.seq.0)),
        (Some(high + 1), Some(high + 2))
    );
    assert!(ready.front().is_none() && ready.pop().is_none());
    assert_eq!(ready.wanted(), Some(Seq(0)));
    ready.loaded(Seq(1), 1, std::iter::once(entry(0, 0)));
    assert_eq!(drain(&mut ready), [0, high + 3]);
}

#[test]
fn returns_come_before_everything_else_in_the_order_they_came_back() {
    let mut ready = Levels::new(Order::Quorum32);
    for level in 0..4 {
        ready.push(entry(Seq::first_of(level).0, u8::try_from(level).unwrap()));
    }
    let (a, b) = (ready.pop().unwrap(), ready.pop().unwrap());
    ready.put_return(b);
    ready.put_return(a);
    let order: Vec<_> = drain(&mut ready).into_iter().map(|seq| Seq(seq).level()).collect();
    assert_eq!(order, [2, 3, 1, 0]);
}

#[derive(Debug, Clone)]
enum Operation {
    /// A run of messages of one priority; transient or durable.
    Publish {
        count: u8,
        priority: u8,
        durable: bool,
    },
    Deliver,
    PutBack,
    PageOut,
    Load,
    Purge,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (1u8..8, 0u8..6, any::<bool>())
            .prop_map(|(count, priority, durable)| Operation::Publish { count, priority, durable }),
        6 => Just(Operation::Deliver),
        3 => Just(Operation::PutBack),
        3 => Just(Operation::PageOut),
        4 => Just(Operation::Load),
        1 => Just(Operation::Purge),
    ]
}

/// What is ready is a map from (turn, position).
#[derive(Default)]
struct Model {
    ready: BTreeSet<(usize, Seq)>,
    out: Vec<Seq>,
    /// By the first of a run: how many, of which priority, and whether in the log.
    runs: BTreeMap<Seq, (u32, u8, bool)>,
    next: [u64; 8],
}

impl Model {
    fn put(&mut self, seq: Seq) {
        self.ready.insert((usize::MAX - seq.level(), seq));
    }

    fn run(&self, seq: Seq) -> (Seq, u32, u8, bool) {
        let (&first, &(count, priority, durable)) = self.runs.range(..=seq).next_back().unwrap();
        (first, count, priority, durable)
    }

    fn written(&self, seq: Seq) -> Written {
        let (first, count, _, durable) = self.run(seq);
        if durable { Written::Durable { end: Seq(first.0 + u64::from(count)) } } else { Written::Never }
    }

    fn entry(&self, seq: Seq) -> Entry {
        entry(seq.0, self.run(seq).2)
    }

    /// Reads the next run back, if one is wanted.
    fn load(&self, ready: &mut Levels) {
        let Some(from) = ready.wanted() else { return };
        let durable = |&(first, run): &(&Seq, &(u32, u8, bool))| run.2 && first.0 + u64::from(run.0) > from.0;
        let level = self.runs.range(..Seq::end_of(from.level()));
        let (first, run) = level.filter(durable).find(|(first, _)| first.level() == from.level()).unwrap();
        let (from, end) = (from.0.max(first.0), first.0 + u64::from(run.0));
        ready.loaded(Seq(end), (end - from) as usize, (from..end).map(|n| self.entry(Seq(n))));
    }
}

proptest! {
    #[test]
    fn ready_is_a_list_sorted_by_priority_and_position(
        max in 0u8..5, operations in proptest::collection::vec(operation(), 0..120)
    ) {
        let order = if max == 0 { Order::Fifo } else { Order::Priorities { max } };
        let (mut ready, mut model) = (Levels::new(order), Model::default());
        for operation in operations {
            match operation {
                Operation::Publish { count, priority, durable } => {
                    let level = order.level(Some(priority));
                    let first = Seq::first_of(level).0 + model.next[level];
                    model.next[level] += u64::from(count);
                    model.runs.insert(Seq(first), (count.into(), priority, durable));
                    for seq in first..first + u64::from(count) {
                        ready.push(entry(seq, priority));
                        model.put(Seq(seq));
                    }
                }
                Operation::Deliver => {
                    let expected = model.ready.first().map(|&(_, seq)| seq);
                    let front = ready.front().map(|entry| entry.seq);
                    prop_assert!(front.is_none() || front == expected);
                    if let Some(taken) = ready.pop() {
                        prop_assert_eq!(Some(taken.seq), expected);
                        model.ready.pop_first();
                        model.out.push(taken.seq);
                    } else {
                        // What leaves next is in the log, or there is nothing.
                        prop_assert!(expected.is_none() || ready.wanted().is_some());
                    }
                }
                Operation::PutBack => if let Some(seq) = model.out.pop() {
                    ready.put_back(model.entry(seq));
                    model.put(seq);
                },
                Operation::PageOut => ready.page_out(|seq| model.written(seq)),
                Operation::Load => model.load(&mut ready),
                Operation::Purge => {
                    let (seqs, stretches) = ready.clear();
                    let paged: usize = stretches.iter().map(|paged| paged.count).sum();
                    prop_assert_eq!(seqs.len() + paged, model.ready.len());
                    model.ready.clear();
                }
            }
            prop_assert_eq!(ready.len(), model.ready.len());
            prop_assert_eq!(ready.body_bytes(), model.ready.len() * (WINDOW_BYTES / 4));
        }
        // Everything comes out in the model's order, however often it has to be read back.
        let expected: Vec<u64> = model.ready.iter().map(|&(_, seq)| seq.0).collect();
        let mut order = Vec::new();
        while !ready.is_empty() {
            order.extend(drain(&mut ready));
            model.load(&mut ready);
        }
        prop_assert_eq!(order, expected);
        prop_assert_eq!((ready.held_bytes(), ready.body_bytes()), (0, 0));
    }
}
