//! A set of numbers as ranges: what one front-to-back stream of sequence numbers needs, cheap while it has few gaps.

use std::collections::VecDeque;

/// Disjoint inclusive ranges in ascending order, none touching the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    parts: VecDeque<(u64, u64)>,
}

impl Ranges {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.parts.front().map(|&(first, _)| first)
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.parts.iter().copied()
    }

    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// Adds `first..=last`, which may overlap what is there.
    pub fn insert(&mut self, first: u64, last: u64) {
        match self.parts.back_mut() {
            Some(back) if back.1.checked_add(1) == Some(first) => back.1 = last,
            Some(back) if back.1 < first => self.parts.push_back((first, last)),
            None => self.parts.push_back((first, last)),
            Some(_) => self.insert_within(first, last),
        }
    }

    fn insert_within(&mut self, first: u64, last: u64) {
        let from = self.parts.partition_point(|&(_, l)| l.saturating_add(1) < first);
        let to = self.parts.partition_point(|&(f, _)| f <= last.saturating_add(1));
        let (mut first, mut last) = (first, last);
        for (f, l) in self.parts.drain(from..to.max(from)) {
            first = first.min(f);
            last = last.max(l);
        }
        self.parts.insert(from, (first, last));
    }

    /// Moves what is in `first..=last` from here into `into`.
    pub fn take(&mut self, first: u64, last: u64, into: &mut Self) {
        match self.parts.front_mut() {
            // The steady case: from the front.
            Some(front) if (first..=last).contains(&front.0) && last < front.1 => {
                into.insert(front.0, last);
                front.0 = last + 1;
            }
            Some(_) => self.take_within(first, last, into),
            None => {}
        }
    }

    fn take_within(&mut self, first: u64, last: u64, into: &mut Self) {
        let from = self.parts.partition_point(|&(_, l)| l < first);
        let to = self.parts.partition_point(|&(f, _)| f <= last);
        let (mut before, mut after) = (None, None);
        for (f, l) in self.parts.drain(from..to.max(from)) {
            into.insert(f.max(first), l.min(last));
            if f < first {
                before = Some((f, first - 1));
            }
            if l > last {
                after = Some((last + 1, l));
            }
        }
        for part in [after, before].into_iter().flatten() {
            self.parts.insert(from, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.iter().flat_map(|(f, l)| f..=l).collect()
    }

    proptest! {
        #[test]
        fn ranges_are_a_set(operations in proptest::collection::vec((any::<bool>(), 0u64..40, 0u64..9), 0..40)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (insert, first, len) in operations {
                let last = first + len;
                if insert {
                    ranges.insert(first, last);
                    set.extend(first..=last);
                } else {
                    let mut taken = Ranges::default();
                    ranges.take(first, last, &mut taken);
                    let expected: BTreeSet<u64> = set.range(first..=last).copied().collect();
                    prop_assert_eq!(numbers(&taken), expected);
                    set.retain(|n| !(first..=last).contains(n));
                }
                prop_assert_eq!(numbers(&ranges), set.clone());
                let parts: Vec<_> = ranges.iter().collect();
                prop_assert!(parts.windows(2).all(|w| w[0].1 + 1 < w[1].0));
            }
        }
    }
}
