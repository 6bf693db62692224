//! The clock that a window goes by. In another zone than UTC a window begins and ends by what clocks there show, while
//! rows and watermarks are points in time; on the days when clocks are set a window is longer or shorter.
//!
//! Operators keep the bounds as a clock shows them, in milliseconds. (Flink: TimeWindowUtil. Flink loses rows where the
//! clock is off by no multiple of the window's length and never set, as with hours in Asia/Kolkata: it looks for windows
//! that are over as if they were UTC's. That is not followed.)

use std::sync::Arc;

use crate::stream::{
    datum::{Datum, Instant},
    expr::{EvalError, builtins::zone::Zone},
};

const HOUR_MS: i64 = 3_600_000;

/// `None`: what the clock shows is the time.
pub struct WindowClock(Option<Local>);

struct Local {
    zone: Zone,
    /// Whether clocks are set twice a year.
    changes: bool,
}

impl WindowClock {
    pub fn open(zone: Option<&Arc<str>>) -> Result<Self, EvalError> {
        let Some(name) = zone else { return Ok(Self(None)) };
        let zone = Zone::named(name).ok_or_else(|| EvalError(format!("no time zone '{name}'")))?;
        let changes = zone.saves_daylight();
        Ok(Self(Some(Local { zone, changes })))
    }

    /// What the clock shows at a time.
    pub fn shown(&self, at_ms: i64) -> i64 {
        self.0.as_ref().map_or(at_ms, |local| local.zone.clock(Instant::from_ms(at_ms)).ms)
    }

    /// The window's three columns: its bounds on the clock, and the last point in time that is in it.
    pub fn columns(&self, start: i64, end: i64) -> [Datum; 3] {
        let last = self.0.as_ref().map_or(end - 1, |local| local.instant(end - 1));
        [start, end, last].map(|ms| Datum::Timestamp(Instant::from_ms(ms)))
    }

    /// The time that ends a window with this end.
    pub fn last_of(&self, end: i64) -> i64 {
        match &self.0 {
            None => end - 1,
            Some(local) if local.changes => local.last_of(end - 1),
            Some(local) => local.instant(end - 1),
        }
    }

    /// Whether a window with this end is over.
    pub fn is_over(&self, end: i64, watermark_ms: i64) -> bool {
        self.last_of(end) <= watermark_ms
    }
}

impl Local {
    fn instant(&self, shown: i64) -> i64 {
        self.zone.instant(Instant::from_ms(shown)).ms
    }

    /// What is shown twice is over with the second time; what is never shown, when the clock is set. As Flink has it,
    /// which takes every change for one of an hour.
    fn last_of(&self, shown: i64) -> i64 {
        let (at, hour_later) = (self.instant(shown), self.instant(shown.saturating_add(HOUR_MS)));
        match hour_later - at {
            0 => at - at % HOUR_MS,
            apart if apart > HOUR_MS => at + HOUR_MS,
            _ => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::expr::calendar;

    /// Minutes since the first hour of a day in UTC.
    fn minutes(zone: &str, day: (i32, u32, u32), hour: i64, minute: i64) -> i64 {
        let clock = WindowClock::open(Some(&zone.into())).unwrap();
        let midnight = calendar::days_of(day.0, day.1, day.2) * calendar::DAY_MS;
        let end = midnight + hour * HOUR_MS + minute * 60_000;
        (clock.last_of(end) + 1 - midnight) / 60_000
    }

    #[test]
    fn a_window_is_over_when_the_clock_has_left_it_for_good() {
        let spring = (2020, 3, 29);
        assert_eq!(minutes("Europe/Berlin", spring, 2, 0), 60);
        // Between two and three nothing is shown: it is over when the clock is set.
        assert_eq!(minutes("Europe/Berlin", spring, 2, 30), 60);
        assert_eq!(minutes("Europe/Berlin", spring, 3, 0), 60);
        assert_eq!(minutes("Europe/Berlin", spring, 4, 0), 120);
        let autumn = (2020, 10, 25);
        assert_eq!(minutes("Europe/Berlin", autumn, 2, 0), 0);
        // Shown at half past twelve, and again an hour later.
        assert_eq!(minutes("Europe/Berlin", autumn, 2, 30), 90);
        assert_eq!(minutes("Europe/Berlin", autumn, 3, 0), 120);
        assert_eq!(minutes("Asia/Kolkata", autumn, 5, 30), 0);
    }
}
