//! The slow obvious model of some logs: every record that was ever sent, in which transaction, and where it lies.

use std::collections::{BTreeMap, BTreeSet};

use super::{KEYS, LOGS, Policy};

/// A transaction, or what stands for one: a batch without a transaction is one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Txn(usize);

/// What is known of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody may read it.
    Open,
    Committed,
    Aborted,
    /// A batch without a transaction whose answer has not come: it may be there.
    Perhaps,
}

/// A record that was sent; its number is in a header of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) log: usize,
    pub(super) key: usize,
    /// It marks its key as deleted.
    pub(super) marks: bool,
    pub(super) txn: Txn,
    /// Once an answer or a reader has told.
    offset: Option<i64>,
}

/// A record as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) offset: i64,
    pub(super) number: u64,
    pub(super) key: usize,
    pub(super) marks: bool,
}

/// What a log has shown of its offsets: none of them ever goes back.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    log_start: i64,
    last_stable_offset: i64,
    high_watermark: i64,
}

#[derive(Default)]
pub(super) struct Model {
    sent: BTreeMap<u64, Sent>,
    fates: Vec<Fate>,
    marks: [Marks; LOGS],
}

impl Model {
    pub(super) fn begin(&mut self, fate: Fate) -> Txn {
        self.fates.push(fate);
        Txn(self.fates.len() - 1)
    }

    /// A new record; its number is its own for ever.
    pub(super) fn send(&mut self, log: usize, key: usize, marks: bool, txn: Txn) -> u64 {
        let number = u64::try_from(self.sent.len()).unwrap();
        self.sent.insert(number, Sent { log, key, marks, txn, offset: None });
        number
    }

    pub(super) fn sent(&self, number: u64) -> Sent {
        self.sent[&number]
    }

    pub(super) fn fate(&self, txn: Txn) -> Fate {
        self.fates[txn.0]
    }

    pub(super) fn decide(&mut self, txn: Txn, committed: bool) {
        let fate = if committed { Fate::Committed } else { Fate::Aborted };
        let known = std::mem::replace(&mut self.fates[txn.0], fate);
        assert!(known == Fate::Open || known == fate, "{txn:?} was {known:?} and is {fate:?}");
    }

    /// Somebody was told where it lies.
    pub(super) fn lies(&mut self, number: u64, offset: i64) {
        let sent = self.sent.get_mut(&number).expect("what comes was sent");
        let known = *sent.offset.get_or_insert(offset);
        assert_eq!(known, offset, "record {number} lies at {known}, and at {offset}: {sent:?}");
        let fate = &mut self.fates[sent.txn.0];
        if *fate == Fate::Perhaps {
            *fate = Fate::Committed;
        }
    }

    /// The offsets of a log, at any moment.
    pub(super) fn offsets(
        &mut self,
        log: usize,
        log_start: i64,
        last_stable_offset: i64,
        high_watermark: i64,
    ) {
        let now = Marks { log_start, last_stable_offset, high_watermark };
        let known = std::mem::replace(&mut self.marks[log], now);
        let rises = known.log_start <= now.log_start
            && known.last_stable_offset <= now.last_stable_offset
            && known.high_watermark <= now.high_watermark;
        assert!(rises, "the offsets of log {log} go back: {now:?} after {known:?}");
        let ordered = now.log_start <= now.last_stable_offset && last_stable_offset <= now.high_watermark;
        assert!(ordered, "the offsets of log {log} make no sense: {now:?}");
    }

    /// What a reader sees of a log under `read_committed` from `from` to before `end`: all of it.
    pub(super) fn check(&mut self, log: usize, policy: Policy, from: i64, end: i64, seen: &[Seen]) {
        assert!(seen.is_sorted_by(|a, b| a.offset < b.offset), "offsets do not rise: {seen:?}");
        for seen in seen {
            let sent = self.sent[&seen.number];
            assert_eq!(
                (sent.log, sent.key, sent.marks),
                (log, seen.key, seen.marks),
                "{seen:?} is not {sent:?}"
            );
            self.lies(seen.number, seen.offset);
            let fate = self.fate(sent.txn);
            assert_eq!(fate, Fate::Committed, "{seen:?} of {sent:?} is read");
        }
        let numbers: BTreeSet<u64> = seen.iter().map(|seen| seen.number).collect();
        assert_eq!(numbers.len(), seen.len(), "a record is there twice: {seen:?}");
        let within = |sent: &Sent| sent.offset.filter(|offset| (from..end).contains(offset));
        let all =
            self.sent.iter().filter(|(_, sent)| sent.log == log && self.fate(sent.txn) == Fate::Committed);
        let all: BTreeMap<i64, (u64, Sent)> =
            all.filter_map(|(number, sent)| Some((within(sent)?, (*number, *sent)))).collect();
        if !policy.compacts() {
            let lost: Vec<_> = all.values().filter(|(number, _)| !numbers.contains(number)).collect();
            assert!(lost.is_empty(), "log {log} has lost {lost:?}");
            return;
        }
        for key in 0..KEYS {
            let Some((offset, (number, last))) = all.iter().rfind(|(_, (_, sent))| sent.key == key) else {
                continue;
            };
            if numbers.contains(number) {
                continue;
            }
            assert!(last.marks, "log {log} has lost the last of key {key}, at {offset}: {last:?}");
            let back = seen.iter().find(|seen| seen.key == key);
            assert_eq!(back, None, "key {key} of log {log} was deleted at {offset}, and comes back");
        }
    }
}
