//! Publisher confirms of one channel: which publishes wait, and how answers are gathered into few frames.
//!
//! Knows nothing of queues or disks: whoever does says which sequence numbers are where they must be. Answers leave as
//! RabbitMQ's do (4.x `coalesce_and_send`): one `multiple=true` up to the lowest number still waiting, then singles
//! ascending; acks before nacks; a lone ack is never `multiple`, a lone nack may be.

use super::ranges::Ranges;

/// One frame to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Ack { delivery_tag: u64, multiple: bool },
    Nack { delivery_tag: u64, multiple: bool },
}

/// A channel in confirm mode.
#[derive(Debug, Default)]
pub struct Confirms {
    published: u64,
    waiting: Ranges,
    acked: Ranges,
    nacked: Ranges,
}

impl Confirms {
    /// The sequence number of the next publish, which now waits. Numbers start at 1 with `confirm.select`.
    pub fn publish(&mut self) -> u64 {
        self.published += 1;
        self.waiting.insert(self.published, self.published);
        self.published
    }

    /// The number of the last publish.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }

    /// These are where they must be. Numbers that do not wait are passed over.
    pub fn confirm(&mut self, first: u64, last: u64) {
        self.waiting.take(first, last, &mut self.acked);
    }

    /// These will never be.
    pub fn nack(&mut self, first: u64, last: u64) {
        self.waiting.take(first, last, &mut self.nacked);
    }

    /// Whether every publish has its answer on the way.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether `next_frames` would send something.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        !self.acked.is_empty() || !self.nacked.is_empty()
    }

    /// Sends the answers gathered since the last call.
    pub fn next_frames(&mut self, mut send: impl FnMut(Answer)) {
        if !self.has_frames() {
            return;
        }
        let waiting = self.waiting.first().unwrap_or(u64::MAX);
        if let Some(delivery_tag) = only(&self.acked) {
            send(Answer::Ack { delivery_tag, multiple: false });
        } else {
            let cutoff = waiting.min(self.nacked.first().unwrap_or(u64::MAX));
            coalesce(&self.acked, cutoff, |delivery_tag, multiple| {
                send(Answer::Ack { delivery_tag, multiple })
            });
        }
        let cutoff = waiting.min(self.acked.first().unwrap_or(u64::MAX));
        coalesce(&self.nacked, cutoff, |delivery_tag, multiple| {
            send(Answer::Nack { delivery_tag, multiple })
        });
        self.acked.clear();
        self.nacked.clear();
    }
}

fn only(ranges: &Ranges) -> Option<u64> {
    let mut parts = ranges.iter();
    match (parts.next(), parts.next()) {
        (Some((first, last)), None) if first == last => Some(first),
        _ => None,
    }
}

/// Everything below `cutoff` in one, the rest one by one.
fn coalesce(answers: &Ranges, cutoff: u64, mut send: impl FnMut(u64, bool)) {
    let below = answers.iter().take_while(|&(first, _)| first < cutoff).last();
    if let Some((_, last)) = below {
        send(last.min(cutoff - 1), true);
    }
    for (first, last) in answers.iter().filter(|&(_, last)| last >= cutoff) {
        (first.max(cutoff)..=last).for_each(|n| send(n, false));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn frames(confirms: &mut Confirms) -> Vec<Answer> {
        let mut sent = Vec::new();
        confirms.next_frames(|a| sent.push(a));
        sent
    }

    fn ack(delivery_tag: u64, multiple: bool) -> Answer {
        Answer::Ack { delivery_tag, multiple }
    }

    fn nack(delivery_tag: u64, multiple: bool) -> Answer {
        Answer::Nack { delivery_tag, multiple }
    }

    #[test]
    fn answers_are_gathered_as_rabbitmq_does() {
        let check = |acks: &[(u64, u64)], nacks: &[(u64, u64)], expected: &[Answer]| {
            let mut confirms = Confirms::default();
            (1..=9).for_each(|n| assert_eq!(confirms.publish(), n));
            acks.iter().for_each(|&(f, l)| confirms.confirm(f, l));
            nacks.iter().for_each(|&(f, l)| confirms.nack(f, l));
            assert_eq!(frames(&mut confirms), expected);
            assert_eq!(frames(&mut confirms), []);
        };
        check(&[], &[], &[]);
        check(&[(1, 1)], &[], &[ack(1, false)]);
        check(&[(1, 9)], &[], &[ack(9, true)]);
        check(&[(1, 4)], &[], &[ack(4, true)]);
        check(&[(2, 3)], &[], &[ack(2, false), ack(3, false)]);
        check(&[(5, 6), (1, 3)], &[], &[ack(3, true), ack(5, false), ack(6, false)]);
        check(&[], &[(1, 1)], &[nack(1, true)]);
        check(&[], &[(3, 3)], &[nack(3, false)]);
        check(&[(1, 1), (3, 4)], &[(2, 2)], &[ack(1, true), ack(3, false), ack(4, false), nack(2, false)]);
        check(
            &[(2, 9)],
            &[(1, 1)],
            &[
                ack(2, false),
                ack(3, false),
                ack(4, false),
                ack(5, false),
                ack(6, false),
                ack(7, false),
                ack(8, false),
                ack(9, false),
                nack(1, true),
            ],
        );
    }

    /// RabbitMQ's algorithm over plain lists of numbers.
    fn naive(waiting: &BTreeSet<u64>, acks: &BTreeSet<u64>, nacks: &BTreeSet<u64>) -> Vec<Answer> {
        let gather = |these: &BTreeSet<u64>, those: &BTreeSet<u64>| {
            let cutoff =
                [waiting.first(), those.first()].into_iter().flatten().min().copied().unwrap_or(u64::MAX);
            let multiple = these.range(..cutoff).next_back().map(|&n| (n, true));
            multiple.into_iter().chain(these.range(cutoff..).map(|&n| (n, false))).collect::<Vec<_>>()
        };
        let mut acked = gather(acks, nacks);
        if let [one] = &mut acked[..]
            && acks.len() == 1
        {
            one.1 = false;
        }
        let acked = acked.into_iter().map(|(n, m)| ack(n, m));
        acked.chain(gather(nacks, acks).into_iter().map(|(n, m)| nack(n, m))).collect()
    }

    #[derive(Debug, Clone)]
    enum Operation {
        Publish(u8),
        Confirm(u64, u64),
        Nack(u64, u64),
        Send,
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (1u8..6).prop_map(Operation::Publish),
            (0u64..60, 0u64..9).prop_map(|(f, n)| Operation::Confirm(f, f + n)),
            (0u64..60, 0u64..4).prop_map(|(f, n)| Operation::Nack(f, f + n)),
            Just(Operation::Send),
        ]
    }

    proptest! {
        #[test]
        fn every_publish_is_answered_once_in_the_naive_models_frames(
            operations in proptest::collection::vec(operation(), 0..60)
        ) {
            let mut confirms = Confirms::default();
            let (mut waiting, mut acks, mut nacks) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            for operation in operations {
                let mut resolve = |range: std::ops::RangeInclusive<u64>, into: &mut BTreeSet<u64>| {
                    let taken: Vec<u64> = waiting.range(range).copied().collect();
                    taken.iter().for_each(|n| { waiting.remove(n); });
                    into.extend(taken);
                };
                match operation {
                    Operation::Publish(n) => (0..n).for_each(|_| { waiting.insert(confirms.publish()); }),
                    Operation::Confirm(f, l) => { confirms.confirm(f, l); resolve(f..=l, &mut acks); }
                    Operation::Nack(f, l) => { confirms.nack(f, l); resolve(f..=l, &mut nacks); }
                    Operation::Send => {
                        prop_assert_eq!(frames(&mut confirms), naive(&waiting, &acks, &nacks));
                        acks.clear();
                        nacks.clear();
                    }
                }
                prop_assert_eq!(confirms.all_answered(), waiting.is_empty());
            }
        }
    }
}
