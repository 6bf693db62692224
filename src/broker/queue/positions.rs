//! How far each level of a queue is: which sequence numbers were given, delivered, and reserved in the log.
//!
//! The log must know that a message may have been delivered before it is, so that it comes back flagged after a crash;
//! so blocks are reserved ahead.

use super::Seq;

/// How far ahead of the delivered messages the log is told that they may have been delivered.
/// Small under test, so that a simulated queue gets there.
pub(super) const DELIVERED_AHEAD: u64 = if cfg!(test) { 8 } else { 8_192 };

/// How far one level is.
#[derive(Debug)]
struct Position {
    next: Seq,
    /// Messages below have been delivered at least once, or are behind one that has.
    handed_over: Seq,
    /// Messages below may have been delivered, and the log knows it or will before they are acknowledged.
    reserved: Seq,
    /// Deliveries wait until the log knows the reservation.
    reserving: bool,
    /// Messages below that were read back from the log after a restart are flagged as redelivered.
    redelivered_below: Seq,
}

impl Position {
    fn new(level: usize) -> Self {
        let first = Seq::first_of(level);
        Self { next: first, handed_over: first, reserved: first, reserving: false, redelivered_below: first }
    }
}

/// How far all levels are.
#[derive(Debug)]
pub struct Positions(Vec<Position>);

/// Whether a message may be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// The log must be told that messages below may be delivered.
    pub ask: Option<Seq>,
    /// The message must wait until it knows.
    pub wait: bool,
}

impl Positions {
    #[must_use]
    pub fn new(levels: usize) -> Self {
        Self((0..levels).map(Position::new).collect())
    }

    /// Makes sure that there is such a level.
    pub fn grow_to(&mut self, level: usize) {
        let from = self.0.len();
        self.0.extend((from..=level).map(Position::new));
    }

    /// The next sequence number of a level.
    #[inline]
    pub fn next(&mut self, level: usize) -> Seq {
        let Some(position) = self.0.get_mut(level) else { return Seq::first_of(level) };
        let seq = position.next;
        position.next = Seq(seq.0 + 1);
        seq
    }

    /// All levels go on behind the one that is furthest, so that positions tell older messages from younger ones.
    pub fn align(&mut self) {
        let furthest = self.0.iter().map(|position| position.next.in_level()).max().unwrap_or(0);
        for (level, position) in self.0.iter_mut().enumerate() {
            position.next = Seq(Seq::first_of(level).0 + furthest);
        }
    }

    /// A message goes to a consumer.
    #[inline]
    pub fn hand_over(&mut self, seq: Seq) {
        if let Some(position) = self.0.get_mut(seq.level()) {
            position.handed_over = position.handed_over.max(Seq(seq.0 + 1));
        }
    }

    /// Whether a message may be delivered. Asks for more room long before it is needed, so that waiting is rare.
    #[inline]
    pub fn reserve(&mut self, seq: Seq) -> Reservation {
        let Some(position) = self.0.get_mut(seq.level()) else {
            return Reservation { ask: None, wait: false };
        };
        let ask = !position.reserving && seq.0 + DELIVERED_AHEAD / 2 >= position.reserved.0;
        position.reserving |= ask;
        Reservation { ask: ask.then_some(Seq(seq.0 + DELIVERED_AHEAD)), wait: seq >= position.reserved }
    }

    /// The log knows the reservation.
    pub fn reserved(&mut self, to: Seq) {
        if let Some(position) = self.0.get_mut(to.level()) {
            position.reserved = position.reserved.max(to);
            position.reserving = false;
        }
    }

    /// What the log should say at a clean end: messages below have been delivered.
    #[must_use]
    pub fn delivered_to(&self) -> Vec<Seq> {
        let told = |(level, position): (usize, &Position)| {
            (position.reserved > Seq::first_of(level)).then(|| position.handed_over.min(position.reserved))
        };
        self.0.iter().enumerate().filter_map(told).collect()
    }

    /// The levels of whose deliveries the log knows, or will.
    #[must_use]
    pub fn noted(&self) -> Vec<usize> {
        let told = |(level, position): &(usize, &Position)| {
            position.reserving || position.reserved > Seq::first_of(*level)
        };
        self.0.iter().enumerate().filter(told).map(|(level, _)| level).collect()
    }

    /// Whether a message that was read back may have been delivered by an earlier process.
    #[must_use]
    pub fn may_be_redelivered(&self, seq: Seq) -> bool {
        self.0.get(seq.level()).is_some_and(|position| seq < position.redelivered_below)
    }

    /// Recovery found messages up to here.
    pub fn recover_end(&mut self, end: Seq) {
        self.grow_to(end.level());
        if let Some(position) = self.0.get_mut(end.level()) {
            position.next = position.next.max(end);
        }
    }

    /// Recovery found that messages below may have been delivered. Sequence numbers never go back.
    pub fn recover_delivered(&mut self, below: Seq) {
        self.grow_to(below.level());
        if let Some(position) = self.0.get_mut(below.level()) {
            position.redelivered_below = below;
            position.handed_over = below;
            position.reserved = below;
            position.next = position.next.max(below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_numbers_and_reservations_of_its_own() {
        let mut positions = Positions::new(2);
        let (low, high) = (positions.next(0), positions.next(1));
        assert_eq!((low.level(), high.level(), positions.next(1).0), (0, 1, high.0 + 1));
        let asked = positions.reserve(high);
        assert!(asked.wait);
        positions.reserved(asked.ask.unwrap());
        assert_eq!(positions.reserve(high), Reservation { ask: None, wait: false });
        assert!(positions.reserve(low).wait);
        positions.hand_over(high);
        assert_eq!(positions.delivered_to(), [Seq(high.0 + 1)]);
    }

    #[test]
    fn a_level_that_recovery_finds_is_there() {
        let mut positions = Positions::new(1);
        positions.recover_delivered(Seq(Seq::first_of(3).0 + 5));
        assert!(positions.may_be_redelivered(Seq(Seq::first_of(3).0 + 4)));
        assert_eq!(positions.next(3), Seq(Seq::first_of(3).0 + 5));
        assert!(!positions.may_be_redelivered(Seq(0)));
    }
}
