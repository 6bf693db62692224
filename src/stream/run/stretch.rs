//! How long the epochs of a job that is behind may be.
//!
//! An epoch writes each key of the state once, however often it has changed, and a turn of the log, which is synced. So
//! with rows that share keys a longer epoch writes less for each row: a window over a thousand keys that opens and closes
//! within one is never written. Nobody waits for a job's newest record while many others lie before it. Where each row
//! has keys of its own, as in a join, a longer one would only be a larger turn.

use super::EPOCH_STRETCH_MAX;

/// How many times longer than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    times: usize,
    /// Whether the last epoch left something to read.
    behind: bool,
}

impl Default for Stretch {
    fn default() -> Self {
        Self { times: 1, behind: false }
    }
}

impl Stretch {
    pub(super) fn times(self) -> usize {
        self.times
    }

    /// The input has been read, up to its end or as far as an epoch goes.
    pub(super) fn on_read(&mut self, behind: bool) {
        self.behind = behind;
    }

    /// An epoch of so many rows has changed so many keys.
    pub(super) fn on_epoch(&mut self, rows: usize, changes: usize) {
        let pays = changes > 0 && changes <= rows / 2;
        self.times = match (self.behind, pays) {
            (true, true) => (self.times * 2).min(EPOCH_STRETCH_MAX),
            (true, false) => (self.times / 2).max(1),
            (false, _) => 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_grow_while_a_job_is_behind_and_its_rows_share_keys() {
        let mut stretch = Stretch::default();
        let mut after = |behind: bool, rows: usize, changes: usize| {
            stretch.on_read(behind);
            stretch.on_epoch(rows, changes);
            stretch.times()
        };
        assert_eq!([2, 4, 8, 8].map(|_| after(true, 8_000, 1_000)), [2, 4, 8, 8]);
        // Too many keys for the rows, and then none at all.
        assert_eq!((after(true, 8_000, 5_000), after(true, 8_000, 0)), (4, 2));
        // The end of the input.
        assert_eq!((after(true, 8_000, 1_000), after(false, 100, 10)), (4, 1));
    }
}
