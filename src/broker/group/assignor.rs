//! The assignors of consumer groups that run here: `uniform` and `range` (KIP-848).
//!
//! Pure: who subscribes to what, and what each had, go in; what each shall have comes out. Every partition of a topic
//! that somebody subscribes to goes to exactly one of its subscribers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::{member::MemberId, offsets::TopicPartition};

/// Partitions, in order.
pub type Partitions = BTreeSet<TopicPartition>;

/// A member as an assignor sees it.
#[derive(Debug, Clone)]
pub struct Subject {
    pub id: MemberId,
    pub instance: Option<String>,
    /// Existing topics only.
    pub topics: BTreeSet<Uuid>,
    /// What it was assigned before.
    pub had: Partitions,
}

/// THE list of assignors, in Kafka's order: the first is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    Uniform,
    Range,
}

impl Assignor {
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Range];
    pub const DEFAULT: Self = Self::Uniform;

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// What each of `subjects` shall have, in their order. `counts`: the partitions of every topic subscribed to.
    #[must_use]
    pub fn assign(self, subjects: &[Subject], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
        match self {
            Self::Uniform => Uniform::new(subjects, counts).assign(subjects, counts),
            Self::Range => range(subjects, counts),
        }
    }
}

/// Members in the order of their instance ids, then those without one in the order of their ids; each gets a run of
/// each of its topics' partitions, so that topics with equally many partitions are cut alike.
fn range(subjects: &[Subject], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    order.sort_by_key(|at| {
        let subject = subjects.get(*at);
        let instance = subject.and_then(|s| s.instance.as_deref());
        (instance.is_none(), instance, subject.map(|s| &s.id))
    });
    let mut given = vec![Partitions::new(); subjects.len()];
    for (topic, count) in counts {
        let subscribes = |at: &usize| subjects.get(*at).is_some_and(|s| s.topics.contains(topic));
        let subscribers: Vec<usize> = order.iter().copied().filter(subscribes).collect();
        let Ok(members) = i32::try_from(subscribers.len()) else { continue };
        let (Some(quota), Some(extra)) = (count.checked_div(members), count.checked_rem(members)) else {
            continue;
        };
        let mut start = 0;
        for (at, nth) in subscribers.into_iter().zip(0..) {
            let end = start + quota + i32::from(nth < extra);
            let run = (start..end).map(|partition| TopicPartition { topic: *topic, partition });
            given.get_mut(at).into_iter().for_each(|given| given.extend(run.clone()));
            start = end;
        }
    }
    given
}

/// Balances the number of partitions, and moves as few of them as that takes.
///
/// Members that subscribe to the same topics are of one class, in which the least and the most loaded are at hand;
/// in most groups there is one class.
struct Uniform {
    class_of: Vec<usize>,
    /// Of each class: its members by load.
    by_load: Vec<BTreeSet<(usize, usize)>>,
    /// Of each topic: the classes that subscribe to it.
    classes: BTreeMap<Uuid, Vec<usize>>,
    given: Vec<Partitions>,
}

impl Uniform {
    fn new(subjects: &[Subject], counts: &BTreeMap<Uuid, i32>) -> Self {
        let mut classes_by_topics: HashMap<&BTreeSet<Uuid>, usize> = HashMap::new();
        let (mut class_of, mut by_load, mut classes) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (at, subject) in subjects.iter().enumerate() {
            let class = *classes_by_topics.entry(&subject.topics).or_insert_with(|| {
                for topic in &subject.topics {
                    classes.entry(*topic).or_insert_with(Vec::new).push(by_load.len());
                }
                by_load.push(BTreeSet::new());
                by_load.len() - 1
            });
            class_of.push(class);
            if let Some(loads) = by_load.get_mut(class) {
                loads.insert((0, at));
            }
        }
        let mut it = Self { class_of, by_load, classes, given: vec![Partitions::new(); subjects.len()] };
        let mut taken = Partitions::new();
        for (at, subject) in subjects.iter().enumerate() {
            for had in &subject.had {
                let exists = counts.get(&had.topic).is_some_and(|count| had.partition < *count);
                if exists && subject.topics.contains(&had.topic) && taken.insert(*had) {
                    it.give(at, *had);
                }
            }
        }
        it
    }

    fn assign(mut self, subjects: &[Subject], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
        let taken: Partitions = self.given.iter().flatten().copied().collect();
        // Topics with few subscribers first: the others can still make up for them.
        let mut topics: Vec<(&Uuid, &i32)> = counts.iter().collect();
        let subscribers = |topic: &Uuid| subjects.iter().filter(|s| s.topics.contains(topic)).count();
        topics.sort_by_cached_key(|(topic, _)| subscribers(topic));
        for (topic, count) in topics {
            for partition in 0..*count {
                let at = TopicPartition { topic: *topic, partition };
                if !taken.contains(&at)
                    && let Some(least) = self.least_loaded(topic)
                {
                    self.give(least, at);
                }
            }
        }
        while self.balance() {}
        self.given
    }

    /// Moves partitions from members to others that have fewer by two or more. Whether it moved any: each move makes
    /// the sum of the loads' squares smaller, so this comes to an end.
    fn balance(&mut self) -> bool {
        let mut moved = false;
        for from in 0..self.given.len() {
            // The last ones first, so that a member keeps the beginning of what it had.
            let mine: Vec<TopicPartition> =
                self.given.get(from).into_iter().flatten().rev().copied().collect();
            for at in mine {
                let Some(to) = self.least_loaded(&at.topic) else { continue };
                if self.load(from) > self.load(to) + 1 {
                    self.take(from, &at);
                    self.give(to, at);
                    moved = true;
                }
            }
        }
        moved
    }

    fn load(&self, at: usize) -> usize {
        self.given.get(at).map_or(0, BTreeSet::len)
    }

    fn least_loaded(&self, topic: &Uuid) -> Option<usize> {
        let classes = self.classes.get(topic)?.iter();
        classes.filter_map(|class| self.by_load.get(*class)?.first()).min().map(|(_, at)| *at)
    }

    fn give(&mut self, to: usize, at: TopicPartition) {
        self.change(to, |given| given.insert(at));
    }

    fn take(&mut self, from: usize, at: &TopicPartition) {
        self.change(from, |given| given.remove(at));
    }

    fn change(&mut self, whose: usize, change: impl FnOnce(&mut Partitions) -> bool) {
        let Some(given) = self.given.get_mut(whose) else { return };
        let before = given.len();
        change(given);
        let after = given.len();
        if let Some(loads) = self.class_of.get(whose).and_then(|class| self.by_load.get_mut(*class)) {
            loads.remove(&(before, whose));
            loads.insert((after, whose));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};

    use super::*;

    fn topic(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn partitions(of: &[(u128, &[i32])]) -> Partitions {
        let all = of.iter().flat_map(|(t, ps)| ps.iter().map(|p| (*t, *p)));
        all.map(|(t, partition)| TopicPartition { topic: topic(t), partition }).collect()
    }

    fn subject(id: &str, topics: &[u128], had: Partitions) -> Subject {
        Subject { id: id.into(), instance: None, topics: topics.iter().map(|t| topic(*t)).collect(), had }
    }

    fn counts(of: &[(u128, i32)]) -> BTreeMap<Uuid, i32> {
        of.iter().map(|(t, n)| (topic(*t), *n)).collect()
    }

    #[test]
    fn range_gives_runs_and_the_first_members_the_rest() {
        let subjects = ["b", "a", "c"].map(|id| subject(id, &[1, 2], Partitions::new()));
        let given = Assignor::Range.assign(&subjects, &counts(&[(1, 4), (2, 2)]));
        let expected: [&[(u128, &[i32])]; 3] =
            [&[(1, &[2]), (2, &[1])], &[(1, &[0, 1]), (2, &[0])], &[(1, &[3])]];
        assert_eq!(given, expected.map(partitions));
    }

    #[test]
    fn range_counts_only_a_topics_subscribers_and_static_members_come_first() {
        let mut last = subject("z", &[1], Partitions::new());
        last.instance = Some("i".to_owned());
        let subjects = [subject("a", &[1, 2], Partitions::new()), last];
        let given = Assignor::Range.assign(&subjects, &counts(&[(1, 3), (2, 2)]));
        assert_eq!(given, [partitions(&[(1, &[2]), (2, &[0, 1])]), partitions(&[(1, &[0, 1])])]);
    }

    #[test]
    fn uniform_moves_no_more_than_the_balance_takes() {
        let subjects = [
            subject("a", &[1], partitions(&[(1, &[0, 1, 2])])),
            subject("b", &[1], partitions(&[(1, &[3, 4, 5])])),
            subject("c", &[1], Partitions::new()),
        ];
        let given = Assignor::Uniform.assign(&subjects, &counts(&[(1, 6)]));
        assert_eq!(
            given,
            [partitions(&[(1, &[0, 1])]), partitions(&[(1, &[3, 4])]), partitions(&[(1, &[2, 5])])]
        );
        let kept: Vec<Subject> =
            subjects.into_iter().zip(given.clone()).map(|(s, had)| Subject { had, ..s }).collect();
        assert_eq!(Assignor::Uniform.assign(&kept, &counts(&[(1, 6)])), given);
    }

    #[test]
    fn uniform_drops_what_is_gone_or_not_subscribed_to() {
        let subjects = [subject("a", &[1], partitions(&[(1, &[0, 7]), (2, &[0])]))];
        assert_eq!(Assignor::Uniform.assign(&subjects, &counts(&[(1, 2)])), [partitions(&[(1, &[0, 1])])]);
        let nobody = [subject("a", &[], partitions(&[(1, &[0])]))];
        assert_eq!(Assignor::Uniform.assign(&nobody, &counts(&[])), [Partitions::new()]);
    }

    proptest! {
        #[test]
        fn every_partition_has_one_subscriber_and_loads_differ_by_one_at_most(
            subscriptions in proptest::collection::vec((btree_set(1..4u128, 0..4), btree_set((1..4u128, 0..9i32), 0..9)), 1..7),
            sizes in proptest::collection::vec(0..9i32, 3),
        ) {
            let all = [1u128, 2, 3].into_iter().zip(sizes).collect::<Vec<_>>();
            let subjects: Vec<Subject> = subscriptions.iter().enumerate().map(|(n, (topics, had))| {
                let topics: Vec<u128> = topics.iter().copied().collect();
                let had = had.iter().map(|(t, p)| TopicPartition { topic: topic(*t), partition: *p }).collect();
                subject(&format!("m{n}"), &topics, had)
            }).collect();
            let subscribed = |t: &u128| subjects.iter().any(|s| s.topics.contains(&topic(*t)));
            let counts = counts(&all.iter().copied().filter(|(t, _)| subscribed(t)).collect::<Vec<_>>());
            for assignor in Assignor::ALL {
                let given = assignor.assign(&subjects, &counts);
                let flat: Vec<TopicPartition> = given.iter().flatten().copied().collect();
                let once: Partitions = flat.iter().copied().collect();
                let expected: Partitions = counts.iter()
                    .flat_map(|(t, n)| (0..*n).map(|partition| TopicPartition { topic: *t, partition }))
                    .collect();
                prop_assert_eq!(flat.len(), once.len());
                prop_assert_eq!(once, expected);
                for (subject, given) in subjects.iter().zip(&given) {
                    prop_assert!(given.iter().all(|at| subject.topics.contains(&at.topic)));
                }
                let alike = subjects.windows(2).all(|w| w[0].topics == w[1].topics);
                if alike && assignor == Assignor::Uniform {
                    let loads: Vec<usize> = given.iter().map(BTreeSet::len).collect();
                    prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
                }
            }
        }
    }
}
