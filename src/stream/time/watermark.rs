//! Watermarks of one source: the largest of each partition, the smallest of all of them.
//!
//! A partition that has been silent for the idle timeout is left out, so that it does not hold the others; with its
//! next record it counts again. The merged watermark never falls. Made per record and before any filter, so that it
//! depends on the order of the input only.

use std::collections::BTreeMap;

/// No record has been seen.
pub const WATERMARK_MIN: i64 = i64::MIN;
/// The input has ended.
pub const WATERMARK_MAX: i64 = i64::MAX;

/// The watermarks of a source, by partition.
#[derive(Debug, Clone)]
pub struct Watermarks<P> {
    partitions: BTreeMap<P, Partition>,
    idle_timeout_ms: Option<i64>,
    merged: i64,
}

#[derive(Debug, Clone, Copy)]
struct Partition {
    max: i64,
    /// `None` after a restart: it is given its whole time once more.
    heard_ms: Option<i64>,
    idle: bool,
}

impl<P: Ord> Watermarks<P> {
    #[must_use]
    pub fn new(idle_timeout_ms: Option<i64>) -> Self {
        Self { partitions: BTreeMap::new(), idle_timeout_ms, merged: WATERMARK_MIN }
    }

    /// Counts a partition in.
    pub fn add(&mut self, partition: P, watermark: i64, now_ms: i64) {
        let heard_ms = Some(now_ms);
        self.partitions.entry(partition).or_insert(Partition { max: watermark, heard_ms, idle: false });
    }

    /// Counts a partition in as it was before a restart.
    pub fn add_again(&mut self, partition: P, watermark: i64, idle: bool) {
        self.partitions.entry(partition).or_insert(Partition { max: watermark, heard_ms: None, idle });
    }

    /// What was merged before a restart.
    pub fn restore(&mut self, merged: i64) {
        self.merged = self.merged.max(merged);
    }

    /// A record's watermark; the merged one if it has risen.
    pub fn on_record(&mut self, partition: &P, watermark: i64, now_ms: i64) -> Option<i64> {
        let entry = self.partitions.get_mut(partition)?;
        let counts_again = std::mem::take(&mut entry.idle);
        entry.heard_ms = Some(now_ms);
        if watermark <= entry.max && !counts_again {
            return None;
        }
        entry.max = entry.max.max(watermark);
        self.merge()
    }

    /// Leaves out what has been silent too long; the merged watermark if it has risen.
    pub fn on_time(&mut self, now_ms: i64) -> Option<i64> {
        let timeout = self.idle_timeout_ms?;
        let mut changed = false;
        for entry in self.partitions.values_mut() {
            let heard_ms = *entry.heard_ms.get_or_insert(now_ms);
            if !entry.idle && now_ms.saturating_sub(heard_ms) >= timeout {
                entry.idle = true;
                changed = true;
            }
        }
        if changed { self.merge() } else { None }
    }

    /// Whether that partition has been silent too long.
    #[must_use]
    pub fn is_left_out(&self, partition: &P) -> bool {
        self.partitions.get(partition).is_some_and(|p| p.idle)
    }

    /// How many have.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.partitions.values().filter(|p| p.idle).count()
    }

    /// Whether all partitions have been silent too long.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.values().all(|p| p.idle)
    }

    /// When the next partition will have been silent too long.
    #[must_use]
    pub fn next_timeout_ms(&self) -> Option<i64> {
        let timeout = self.idle_timeout_ms?;
        let counted = self.partitions.values().filter(|p| !p.idle && p.max != WATERMARK_MAX);
        counted.filter_map(|p| Some(p.heard_ms?.saturating_add(timeout))).min()
    }

    /// A bounded partition has been read to its end.
    pub fn on_end(&mut self, partition: &P) -> Option<i64> {
        self.partitions.get_mut(partition)?.max = WATERMARK_MAX;
        self.merge()
    }

    #[must_use]
    pub fn merged(&self) -> i64 {
        self.merged
    }

    #[must_use]
    pub fn of(&self, partition: &P) -> i64 {
        self.partitions.get(partition).map_or(WATERMARK_MIN, |p| p.max)
    }

    fn merge(&mut self) -> Option<i64> {
        let least = self.partitions.values().filter(|p| !p.idle).map(|p| p.max).min()?;
        if least <= self.merged {
            return None;
        }
        self.merged = least;
        Some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_partition_holds_the_watermark() {
        let mut w = Watermarks::new(None);
        w.add(0, WATERMARK_MIN, 0);
        w.add(1, WATERMARK_MIN, 0);
        assert_eq!(w.on_record(&0, 10, 0), None);
        assert_eq!(w.on_record(&1, 5, 0), Some(5));
        assert_eq!(w.on_record(&1, 4, 0), None);
        assert_eq!(w.on_record(&1, 20, 0), Some(10));
    }

    #[test]
    fn an_idle_partition_is_left_out_until_it_speaks() {
        let mut w = Watermarks::new(Some(100));
        w.add(0, WATERMARK_MIN, 0);
        w.add(1, WATERMARK_MIN, 0);
        assert_eq!(w.on_record(&0, 10, 50), None);
        assert_eq!(w.on_time(99), None);
        assert_eq!(w.on_time(100), Some(10));
        // Late for the merged watermark, which does not fall.
        assert_eq!(w.on_record(&1, 3, 120), None);
        assert_eq!(w.on_record(&0, 30, 120), None);
        assert_eq!(w.merged(), 10);
    }

    #[test]
    fn after_a_restart_what_was_idle_is_idle_and_the_others_have_all_their_time() {
        let mut w = Watermarks::new(Some(100));
        w.add_again(0, 10, false);
        w.add_again(1, 5, true);
        w.restore(10);
        assert_eq!((w.is_left_out(&0), w.is_left_out(&1)), (false, true));
        assert_eq!(w.on_record(&0, 20, 1_000), Some(20));
        let mut w = Watermarks::new(Some(100));
        w.add_again(0, 10, false);
        w.add_again(1, 30, false);
        w.restore(10);
        assert_eq!((w.on_time(1_000), w.next_timeout_ms()), (None, Some(1_100)));
        assert_eq!(w.on_record(&1, 40, 1_050), None);
        assert_eq!(w.on_time(1_100), Some(40));
    }

    #[test]
    fn an_ended_partition_holds_nothing() {
        let mut w = Watermarks::new(None);
        w.add(0, WATERMARK_MIN, 0);
        w.add(1, 7, 0);
        assert_eq!(w.on_end(&0), Some(7));
        assert_eq!(w.on_end(&1), Some(WATERMARK_MAX));
    }
}
