//! Deliveries a channel has not acknowledged.
//!
//! [`Unacked`] maps delivery tags to whatever the caller must give back to a queue. Tags are per channel, shared by
//! `basic.deliver` and `basic.get-ok`, and start at 1 (§1.8.3.13). How many more its consumers may hold is counted
//! where they are served: `broker/queue/consumers.rs`.

use std::collections::VecDeque;

/// A tag that is not outstanding: acknowledged before, or never given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownDeliveryTag(pub u64);

/// Outstanding deliveries of one channel, in the order of their tags.
#[derive(Debug)]
pub struct Unacked<T> {
    /// Ascending tags; the front is never a hole.
    slots: VecDeque<(u64, Option<T>)>,
    holes: usize,
    last_tag: u64,
}

impl<T> Default for Unacked<T> {
    fn default() -> Self {
        Self { slots: VecDeque::new(), holes: 0, last_tag: 0 }
    }
}

/// Below this many holes it is not worth moving the rest together.
const HOLES_MIN: usize = 32;

impl<T> Unacked<T> {
    /// The tag that the next delivery gets.
    #[must_use]
    pub fn next_tag(&self) -> u64 {
        self.last_tag + 1
    }

    /// The tag of a delivery that needs no acknowledgement.
    pub fn tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// The tag of a delivery that is outstanding from now on.
    pub fn push(&mut self, entry: T) -> u64 {
        let tag = self.tag();
        self.slots.push_back((tag, Some(entry)));
        tag
    }

    /// How many are outstanding.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.holes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes out one delivery.
    ///
    /// # Errors
    /// When the tag is not outstanding.
    pub fn take(&mut self, delivery_tag: u64) -> Result<T, UnknownDeliveryTag> {
        let unknown = UnknownDeliveryTag(delivery_tag);
        let index = self.index(delivery_tag).ok_or(unknown)?;
        let entry = self.slots.get_mut(index).and_then(|(_, entry)| entry.take()).ok_or(unknown)?;
        self.holes += 1;
        self.drop_front_holes();
        if self.holes > HOLES_MIN && self.holes * 2 > self.slots.len() {
            self.slots.retain(|(_, entry)| entry.is_some());
            self.holes = 0;
        }
        Ok(entry)
    }

    /// Takes out every delivery up to and including that tag, ascending; all of them for tag 0. RabbitMQ refuses a tag
    /// that is not outstanding itself, whatever lies below it.
    ///
    /// # Errors
    /// When the tag is neither 0 nor outstanding; then nothing is taken.
    pub fn take_up_to(
        &mut self,
        delivery_tag: u64,
        mut each: impl FnMut(u64, T),
    ) -> Result<(), UnknownDeliveryTag> {
        let count = match delivery_tag {
            0 => self.slots.len(),
            tag => {
                let index = self.index(tag).filter(|&i| self.slots.get(i).is_some_and(|(_, e)| e.is_some()));
                index.ok_or(UnknownDeliveryTag(tag))? + 1
            }
        };
        for (tag, entry) in self.slots.drain(..count) {
            match entry {
                Some(entry) => each(tag, entry),
                None => self.holes -= 1,
            }
        }
        self.drop_front_holes();
        Ok(())
    }

    /// Puts back what was taken, under its tags.
    pub fn restore(&mut self, taken: impl Iterator<Item = (u64, T)>) {
        let outstanding = self.slots.drain(..).filter(|(_, entry)| entry.is_some());
        let mut all: Vec<_> = outstanding.chain(taken.map(|(tag, entry)| (tag, Some(entry)))).collect();
        all.sort_unstable_by_key(|(tag, _)| *tag);
        self.slots = all.into();
        self.holes = 0;
    }

    /// What is outstanding from that tag on, ascending.
    pub fn iter_mut_from(&mut self, delivery_tag: u64) -> impl Iterator<Item = (u64, &mut T)> + '_ {
        let from = self.slots.partition_point(|(tag, _)| *tag < delivery_tag);
        self.slots.range_mut(from..).filter_map(|(tag, entry)| Some((*tag, entry.as_mut()?)))
    }

    /// What is outstanding, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> + '_ {
        self.slots.iter().filter_map(|(tag, entry)| Some((*tag, entry.as_ref()?)))
    }

    /// Dense tags lie where they are computed to; others are searched.
    fn index(&self, delivery_tag: u64) -> Option<usize> {
        let (front, _) = self.slots.front()?;
        let guess = usize::try_from(delivery_tag.checked_sub(*front)?).ok()?;
        match self.slots.get(guess) {
            Some((tag, _)) if *tag == delivery_tag => Some(guess),
            _ => self.slots.binary_search_by_key(&delivery_tag, |(tag, _)| *tag).ok(),
        }
    }

    fn drop_front_holes(&mut self) {
        while let Some((_, None)) = self.slots.front() {
            self.slots.pop_front();
            self.holes -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Operation {
        Push(u8),
        Tag,
        Take(u64),
        TakeUpTo(u64),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (1u8..20).prop_map(Operation::Push),
            Just(Operation::Tag),
            (0u64..120).prop_map(Operation::Take),
            (0u64..120).prop_map(Operation::Take),
            (0u64..120).prop_map(Operation::Take),
            (0u64..120).prop_map(Operation::TakeUpTo),
        ]
    }

    proptest! {
        #[test]
        fn unacked_is_a_map_from_tags(operations in proptest::collection::vec(operation(), 0..200)) {
            let (mut unacked, mut model, mut last) = (Unacked::default(), BTreeMap::new(), 0);
            for operation in operations {
                match operation {
                    Operation::Push(n) => for _ in 0..n {
                        last += 1;
                        prop_assert_eq!(unacked.push(last * 10), last);
                        model.insert(last, last * 10);
                    },
                    Operation::Tag => {
                        last += 1;
                        prop_assert_eq!(unacked.tag(), last);
                    }
                    Operation::Take(tag) => {
                        prop_assert_eq!(unacked.take(tag), model.remove(&tag).ok_or(UnknownDeliveryTag(tag)));
                    }
                    Operation::TakeUpTo(tag) => {
                        let mut taken = Vec::new();
                        let result = unacked.take_up_to(tag, |t, e| taken.push((t, e)));
                        let mut expected = Vec::new();
                        if tag == 0 || model.contains_key(&tag) {
                            let rest = if tag == 0 { BTreeMap::new() } else { model.split_off(&(tag + 1)) };
                            expected.extend(std::mem::replace(&mut model, rest));
                            prop_assert_eq!(result, Ok(()));
                        } else {
                            prop_assert_eq!(result, Err(UnknownDeliveryTag(tag)));
                        }
                        prop_assert_eq!(taken, expected);
                    }
                }
                prop_assert_eq!(unacked.len(), model.len());
                prop_assert!(unacked.iter().map(|(t, e)| (t, *e)).eq(model.iter().map(|(t, e)| (*t, *e))));
            }
        }
    }

    #[test]
    fn one_old_delivery_does_not_keep_room_for_all_acknowledged_since() {
        let mut unacked = Unacked::default();
        let first = unacked.push(0);
        for n in 0..10_000 {
            let tag = unacked.push(n);
            unacked.take(tag).unwrap();
            unacked.tag();
        }
        assert!(unacked.slots.len() < 3 * HOLES_MIN, "{}", unacked.slots.len());
        assert_eq!(unacked.take(first), Ok(0));
    }

    #[test]
    fn what_is_put_back_is_outstanding_under_its_tags() {
        let mut unacked = Unacked::default();
        let tags: Vec<u64> = (1..=4).map(|n| unacked.push(n * 10)).collect();
        let taken = [tags[2], tags[0]].map(|tag| (tag, unacked.take(tag).unwrap()));
        unacked.push(50);
        unacked.restore(taken.into_iter());
        let all: Vec<_> = unacked.iter().map(|(tag, entry)| (tag, *entry)).collect();
        assert_eq!(all, [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)]);
        assert_eq!(unacked.take(3), Ok(30));
    }
}
