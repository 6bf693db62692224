//! Runs by example, and against an obvious model of what the log must say.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const PLACE: Place = Place { segment: 1, offset: 2, len: 3 };

fn staged(count: u32) -> Runs {
    let mut runs = Runs::default();
    runs.push(Run::new(Seq(10), count, Ordinals::From(0), 100));
    runs.stage(Seq(10), || PLACE).unwrap();
    runs
}

#[test]
fn a_run_is_deleted_with_its_last_message_and_rewritten_before() {
    let mut runs = staged(2);
    runs.acknowledge(Seq(11));
    assert!(matches!(&runs.flush(1024)[..], [IndexChange::Put(Seq(10), _)]));
    runs.acknowledge(Seq(10));
    assert_eq!(runs.flush(1024), [IndexChange::Delete(Seq(10), PLACE)]);
    assert!(!runs.unflushed());
}

#[test]
fn a_run_acknowledged_before_it_is_staged_leaves_nothing_in_the_log() {
    let mut runs = Runs::default();
    runs.push(Run::new(Seq(0), 1, Ordinals::From(0), 100));
    runs.acknowledge(Seq(0));
    assert!(runs.stage(Seq(0), || unreachable!("nothing is written")).is_none());
    assert!(!runs.unflushed());
}

#[test]
fn the_same_message_counts_once() {
    let mut runs = staged(2);
    runs.acknowledge(Seq(10));
    runs.acknowledge(Seq(10));
    assert_eq!(runs.of(Seq(11)).unwrap().left(), 1);
}

#[test]
fn a_packed_message_is_still_held() {
    let mut runs = Runs::default();
    for n in 0..BLOCK_RUNS as u64 {
        let mut run = Run::new(Seq(n), 1, Ordinals::From(0), 1);
        (run.place, run.durable) = (Some(PLACE), true);
        runs.push_stored(run);
    }
    runs.pack(Seq(0), Seq(BLOCK_RUNS as u64));
    assert!(runs.of(Seq(1)).is_none() && runs.holds(Seq(1)));
    assert!(!runs.holds(Seq(BLOCK_RUNS as u64)));
    runs.acknowledge(Seq(1));
    assert!(!runs.holds(Seq(1)) && runs.holds(Seq(2)));
}

#[test]
fn an_old_message_does_not_keep_the_runs_of_those_that_came_after_it() {
    let mut runs = Runs::default();
    for n in 0..10_000 {
        runs.push(Run::new(Seq(n), 1, Ordinals::From(0), 100));
        runs.stage(Seq(n), || PLACE).unwrap();
        if n > 0 {
            runs.acknowledge(Seq(n));
        }
    }
    let held = |block: &Block| if let Block::Open { runs, .. } = block { runs.len() } else { 0 };
    assert!(runs.blocks.iter().map(held).sum::<usize>() < 3 * BLOCK_RUNS);
    assert!(runs.of(Seq(0)).is_some());
}

#[test]
fn runs_that_follow_one_another_become_one_entry_and_others_stay_apart() {
    let mut runs = Runs::default();
    // A transient message, number 5, lies between the second and the third.
    for (first, count) in [(0, 2), (2, 3), (6, 1), (7, 2), (9, 1)] {
        runs.push(Run::new(Seq(first), count, Ordinals::From(0), 10));
    }
    (7..9).for_each(|seq| runs.acknowledge(Seq(seq)));
    runs.acknowledge(Seq(3));
    let parts = [(0, Some(0)), (2, Some(2)), (6, Some(5)), (7, None), (9, Some(6))];
    let parts = parts.map(|(first, before)| (Seq(first), before));
    let entries = runs.stage_joined(&parts, PLACE);
    assert_eq!(entries.iter().map(|(first, _)| first.0).collect::<Vec<_>>(), [0, 6, 9]);
    let run = runs.of(Seq(4)).unwrap();
    assert_eq!((run.first, run.count, run.left(), run.ordinals.at(4)), (Seq(0), 5, 4, 4));
    assert_eq!(runs.of(Seq(9)).unwrap().ordinals.at(0), 6);
    assert!(runs.of(Seq(8)).is_none() && runs.of(Seq(5)).is_none());
}

#[derive(Debug, Clone)]
enum Step {
    /// So many messages, a gap behind them, and whether the next joins it.
    Publish(u32, u64, bool),
    Stage,
    Acknowledge(u64),
    AcknowledgeNow(Vec<u64>),
    Purge(u64, u64),
    Pack(u64, u64),
    Flush(usize),
    Move(u32),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let seq = || 0u64..300;
    prop_oneof![
        6 => (1u32..6, 0u64..2, any::<bool>()).prop_map(|(n, gap, join)| Step::Publish(n, gap, join)),
        6 => Just(Step::Stage),
        9 => seq().prop_map(Step::Acknowledge),
        1 => prop::collection::vec(seq(), 1..9).prop_map(Step::AcknowledgeNow),
        1 => (seq(), seq()).prop_map(|(a, b)| Step::Purge(a, b)),
        4 => (0u64..50, seq()).prop_map(|(a, b)| Step::Pack(a, b)),
        2 => (0usize..2000).prop_map(Step::Flush),
        1 => (0u32..5).prop_map(Step::Move),
        1 => Just(Step::Crash),
    ]
}

/// All in memory: where each message lies, and what the log's index says.
#[derive(Default)]
struct Model {
    /// Message → chunk and ordinal; `None` before it is staged.
    live: BTreeMap<u64, Option<(Place, u32)>>,
    index: BTreeMap<Seq, Vec<u8>>,
    unstaged: Vec<(Seq, u32, bool)>,
    next: u64,
    chunks: u32,
}

impl Model {
    fn write(&mut self, changes: Vec<IndexChange>) {
        for change in changes {
            match change {
                IndexChange::Delete(first, _) => assert!(self.index.remove(&first).is_some()),
                IndexChange::Put(first, value) => assert!(self.index.insert(first, value).is_some()),
            }
        }
    }

    fn place(&mut self) -> Place {
        self.chunks += 1;
        Place { segment: self.chunks / 5, offset: self.chunks * 100, len: 50 }
    }

    fn stage(&mut self, runs: &mut Runs) {
        let mut parts = vec![];
        while let Some(&(first, count, joins)) = self.unstaged.first() {
            self.unstaged.remove(0);
            parts.push((first, count));
            if !joins {
                break;
            }
        }
        let (mut befores, mut messages) = (Vec::new(), 0);
        for &(first, count) in &parts {
            let left = runs.of_mut(first).is_some_and(|run| run.left() > 0);
            befores.push((first, left.then_some(messages)));
            messages += if left { count } else { 0 };
        }
        let place = self.place();
        for (first, value) in runs.stage_joined(&befores, place) {
            assert!(self.index.insert(first, value).is_none());
        }
        for (&(first, count), &(_, before)) in parts.iter().zip(&befores) {
            for n in 0..count {
                let seq = first.0 + u64::from(n);
                if let Some(live) = self.live.get_mut(&seq) {
                    *live = before.map(|before| (place, before + n));
                }
            }
            if let Some(run) = runs.of_mut(first) {
                run.durable = true;
            }
        }
    }

    fn check(&self, runs: &mut Runs) {
        for seq in 0..self.next + 2 {
            let found = runs.of_mut(Seq(seq)).and_then(|run| {
                let n = u32::try_from(seq - run.first.0).unwrap();
                run.has(n).then(|| run.place.map(|place| (place, run.ordinals.at(n))))
            });
            assert_eq!(found, self.live.get(&seq).copied(), "message {seq}");
        }
    }

    fn play(&mut self, runs: &mut Runs, step: &Step) {
        match *step {
            Step::Publish(count, gap, joins) => {
                let first = Seq(self.next);
                runs.push(Run::new(first, count, Ordinals::From(0), 10));
                self.live.extend((first.0..first.0 + u64::from(count)).map(|seq| (seq, None)));
                self.unstaged.push((first, count, joins));
                self.next = first.0 + u64::from(count) + gap;
            }
            Step::Stage => self.stage(runs),
            Step::Acknowledge(seq) => {
                self.live.remove(&seq);
                runs.acknowledge(Seq(seq));
            }
            // A transaction's are marked when they are staged: whatever is acknowledged then is in the log.
            Step::AcknowledgeNow(ref seqs) => {
                let known = |seq: &&u64| self.live.get(seq).is_some_and(Option::is_some);
                let seqs: Vec<u64> = seqs.iter().filter(known).copied().collect();
                self.live.retain(|seq, _| !seqs.contains(seq));
                let changes = runs.acknowledge_now(seqs.into_iter().map(Seq));
                self.write(changes);
            }
            Step::Purge(a, b) => {
                let (from, end) = (a.min(b), a.max(b));
                self.live.retain(|seq, _| !(from..end).contains(seq));
                runs.acknowledge_all(Seq(from), Seq(end));
            }
            Step::Pack(from, end) => runs.pack(Seq(from), Seq(end)),
            Step::Flush(bytes_max) => {
                let changes = runs.flush(bytes_max);
                self.write(changes);
            }
            Step::Move(segment) => {
                for (first, from) in runs.in_segment(segment) {
                    let to = self.place();
                    let run = runs.of_mut(first).unwrap();
                    assert_eq!(run.place, Some(from));
                    run.place = Some(to);
                    for n in 0..run.count {
                        let seq = run.first.0 + u64::from(n);
                        if let Some(Some((place, _))) = self.live.get_mut(&seq) {
                            assert_eq!(*place, from);
                            *place = to;
                        }
                    }
                    self.index.insert(first, runs.of_mut(first).unwrap().encode(to));
                }
            }
            Step::Crash => {
                while runs.unflushed() {
                    let changes = runs.flush(200);
                    self.write(changes);
                }
                self.live.retain(|_, place| place.is_some());
                self.unstaged.clear();
                *runs = Runs::default();
                for (&first, value) in &self.index {
                    runs.push_stored(Run::decode(first, value).unwrap());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_packed_joined_or_moved_every_message_is_where_it_was_put(
        steps in prop::collection::vec(step(), 0..150)
    ) {
        let (mut runs, mut model) = (Runs::default(), Model::default());
        for step in &steps {
            model.play(&mut runs, step);
        }
        model.check(&mut runs);
        model.play(&mut runs, &Step::Crash);
        model.check(&mut runs);
        prop_assert!(model.index.len() <= model.live.len());
    }
}

#[test]
fn a_long_queue_is_packed_but_for_its_ends() {
    let mut runs = Runs::default();
    for n in 0..100 {
        runs.push(Run::new(Seq(n), 1, Ordinals::From(0), 100));
        runs.stage(Seq(n), || PLACE).unwrap();
        runs.of_mut(Seq(n)).unwrap().durable = true;
        runs.pack(Seq(6), Seq(n.saturating_sub(10)));
    }
    assert!(runs.packed() >= (100 - 10 - 6) / BLOCK_RUNS - 2, "{}", runs.packed());
    assert_eq!(runs.next(Seq(6), 250), [Seq(6), Seq(7)]);
    runs.acknowledge_all(Seq(6), Seq(100));
    let mut deleted = 0;
    while runs.unflushed() {
        deleted += runs.flush(300).len();
    }
    assert_eq!((deleted, runs.blocks.len()), (94, 2));
}
