//! Windows: TUMBLE, HOP, CUMULATE and SESSION, and which of them a time falls into.
//! (Flink: TimeWindow.getWindowStartWithOffset, SliceAssigners)

use std::{fmt, sync::Arc};

use super::properties::TimeAttribute;

/// A window's shape and where it is anchored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub shape: WindowShape,
    pub offset_ms: i64,
    /// The zone on whose clocks the window begins and ends; `None` for UTC, and for times that are no points in time.
    pub zone: Option<Arc<str>>,
}

/// All in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowShape {
    /// Windows that begin together and end one step after the other.
    Cumulate {
        size: i64,
        step: i64,
    },
    Hop {
        size: i64,
        slide: i64,
    },
    Session {
        gap: i64,
    },
    Tumble {
        size: i64,
    },
}

/// Which clock a window follows, and where its time is in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowTime {
    /// The rows have been put into windows before: the columns of start and end.
    Attached {
        start: usize,
        end: usize,
        event: bool,
    },
    Event {
        column: usize,
    },
    Processing,
}

impl WindowTime {
    #[must_use]
    pub fn is_attached(self) -> bool {
        matches!(self, Self::Attached { .. })
    }

    #[must_use]
    pub fn attribute(self) -> TimeAttribute {
        match self {
            Self::Attached { event: true, .. } | Self::Event { .. } => TimeAttribute::Event,
            Self::Attached { event: false, .. } | Self::Processing => TimeAttribute::Processing,
        }
    }
}

impl Window {
    /// A window in UTC.
    #[must_use]
    pub fn new(shape: WindowShape, offset_ms: i64) -> Self {
        Self { shape, offset_ms, zone: None }
    }

    /// The smallest piece of time that no window cuts: rows are kept by these. Its end, for a time.
    #[must_use]
    pub fn slice_end(&self, at_ms: i64) -> i64 {
        let slice = self.slice_ms();
        start_of(at_ms, slice, self.offset_ms).saturating_add(slice)
    }

    /// The length of a slice; of sessions there are none.
    #[must_use]
    pub fn slice_ms(&self) -> i64 {
        match self.shape {
            WindowShape::Cumulate { step, .. } => step,
            WindowShape::Hop { size, slide } => gcd(size, slide),
            WindowShape::Session { gap } => gap,
            WindowShape::Tumble { size } => size,
        }
    }

    /// The ends of all windows that hold a slice, in order.
    pub fn ends_of_slice(&self, slice_end: i64) -> impl Iterator<Item = i64> + use<> {
        let (first, step, last) = match self.shape {
            WindowShape::Tumble { .. } | WindowShape::Session { .. } => (slice_end, 1, slice_end),
            WindowShape::Cumulate { size, step } => {
                let start = start_of(slice_end - 1, size, self.offset_ms);
                (slice_end, step, start.saturating_add(size))
            }
            WindowShape::Hop { size, slide } => {
                // The last window that begins at or before the slice, and those before it that reach over it.
                let slice_start = slice_end - self.slice_ms();
                let last_start = start_of(slice_start, slide, self.offset_ms);
                let last = last_start.saturating_add(size);
                let back = (last - slice_end).div_euclid(slide) * slide;
                (last - back, slide, last)
            }
        };
        (0..)
            .map(move |n: i64| first.saturating_add(n.saturating_mul(step)))
            .take_while(move |end| *end <= last)
    }

    /// Where the window with this end begins.
    #[must_use]
    pub fn start_of_end(&self, end: i64) -> i64 {
        match self.shape {
            WindowShape::Cumulate { size, .. } => start_of(end - 1, size, self.offset_ms),
            WindowShape::Hop { size, .. } | WindowShape::Tumble { size } => end.saturating_sub(size),
            WindowShape::Session { gap } => end.saturating_sub(gap),
        }
    }
}

/// The start of the piece of time, of this length, that a time lies in.
#[must_use]
pub fn start_of(at_ms: i64, length_ms: i64, offset_ms: i64) -> i64 {
    at_ms.saturating_sub(at_ms.saturating_sub(offset_ms).rem_euclid(length_ms.max(1)))
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl fmt::Display for Window {
    /// As Flink explains it: `HOP(size=[10 s], slide=[5 s])`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = Length;
        match self.shape {
            WindowShape::Cumulate { size, step } => {
                write!(f, "CUMULATE(max_size=[{}], step=[{}]", length.of(size), length.of(step))?;
            }
            WindowShape::Hop { size, slide } => {
                write!(f, "HOP(size=[{}], slide=[{}]", length.of(size), length.of(slide))?;
            }
            WindowShape::Session { gap } => write!(f, "SESSION(gap=[{}]", length.of(gap))?,
            WindowShape::Tumble { size } => write!(f, "TUMBLE(size=[{}]", length.of(size))?,
        }
        if self.offset_ms != 0 {
            write!(f, ", offset=[{}]", length.of(self.offset_ms))?;
        }
        f.write_str(")")
    }
}

/// `10 s`, `1 min`: Flink's TimeUtils.formatWithHighestUnit.
struct Length;

impl Length {
    fn of(&self, ms: i64) -> String {
        let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)];
        match units.iter().find(|(_, unit)| ms != 0 && ms % unit == 0) {
            Some((name, unit)) => format!("{} {name}", ms / unit),
            None => format!("{ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(shape: WindowShape, offset_ms: i64, at: i64) -> Vec<(i64, i64)> {
        let window = Window::new(shape, offset_ms);
        let ends = window.ends_of_slice(window.slice_end(at));
        ends.map(|end| (window.start_of_end(end), end)).collect()
    }

    #[test]
    fn a_time_is_in_the_windows_that_hold_it() {
        let hop = WindowShape::Hop { size: 10, slide: 5 };
        assert_eq!(ends(WindowShape::Tumble { size: 10 }, 0, 9), [(0, 10)]);
        assert_eq!(ends(WindowShape::Tumble { size: 10 }, 0, -1), [(-10, 0)]);
        assert_eq!(ends(WindowShape::Tumble { size: 10 }, 3, 12), [(3, 13)]);
        assert_eq!(ends(hop, 0, 7), [(0, 10), (5, 15)]);
        assert_eq!(ends(hop, 0, 10), [(5, 15), (10, 20)]);
        // Slides that do not divide the size, and that leave gaps.
        assert_eq!(ends(WindowShape::Hop { size: 10, slide: 4 }, 0, 9), [(0, 10), (4, 14), (8, 18)]);
        assert_eq!(ends(WindowShape::Hop { size: 2, slide: 5 }, 0, 6), [(5, 7)]);
        assert_eq!(ends(WindowShape::Hop { size: 2, slide: 5 }, 0, 8), []);
        assert_eq!(ends(WindowShape::Cumulate { size: 20, step: 5 }, 0, 7), [(0, 10), (0, 15), (0, 20)]);
        assert_eq!(ends(WindowShape::Cumulate { size: 20, step: 5 }, 0, 19), [(0, 20)]);
    }
}
