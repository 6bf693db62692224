//! The delayed exchange: what it holds, and how that goes on.
//!
//! What it holds lies in the log from its publish on, as if the exchange were a queue that lasts. When the time of some
//! has come, all of them go on in one group, in the order in which they are due: in the log they are held or in their
//! queues, never both or neither.

use super::{
    model::{Model, Router, STREAM},
    parts::{Copy, End, Letter, Place},
};

/// The exchange, whose bindings are those of the fan.
pub(super) const LATE: &str = "x.late";

/// What it holds.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// The broker's id of what is held: among deadlines of one moment, the lowest is first.
    pub(super) id: u64,
    /// When they are due is their `expires_ms`.
    pub(super) copies: Vec<Copy>,
    /// A group is on its way: the next waits for its end.
    releasing: bool,
}

impl Late {
    /// When the first is due.
    pub(super) fn due_ms(&self) -> Option<i64> {
        let held = self.copies.iter().filter(|copy| copy.place == Place::Ready);
        held.map(|copy| copy.expires_ms).min().filter(|_| !self.releasing)
    }

    /// What went on is in the log.
    pub(super) fn released(&mut self) {
        self.releasing = false;
    }
}

impl Letter {
    /// How long the delayed exchange holds it, if it does.
    pub(super) fn delayed_ms(&self, exchange: &str) -> Option<i64> {
        self.delay_ms.filter(|&ms| exchange == LATE && ms > 0)
    }
}

impl Model {
    /// The exchange holds a message from now on; gives its copy.
    pub(super) fn hold(&mut self, letter: Letter, delay_ms: i64, by: Option<usize>) -> u64 {
        let mut copy = self.new_copy(letter, by);
        copy.expires_ms = self.now_ms + delay_ms;
        let made = copy.made;
        self.late.copies.push(copy);
        made
    }

    /// What is due goes on.
    pub(super) fn release(&mut self, route: Router<'_>) {
        let now_ms = self.now_ms;
        let is_due = |copy: &&Copy| copy.place == Place::Ready && copy.expires_ms <= now_ms;
        let mut due: Vec<Copy> = self.late.copies.iter().filter(is_due).cloned().collect();
        due.sort_by_key(|copy| (copy.expires_ms, copy.made));
        if due.is_empty() {
            return;
        }
        self.late.releasing = true;
        *self.died.entry("delayed").or_default() += due.len() as u64;
        let group = self.new_group(true);
        let mut runs: Vec<(Vec<String>, Vec<Letter>)> = Vec::new();
        for copy in &due {
            let letter = Letter { delay_ms: copy.letter.delay_ms.map(|ms| -ms), ..copy.letter.clone() };
            let mut targets = self.targets(LATE, &letter.key, route);
            if targets.contains(&STREAM.to_owned()) {
                self.stream.push((letter.clone(), self.ticket));
                targets.retain(|target| target != STREAM);
            }
            // Those that go the same way go together, unless others between them share a queue.
            let meets = |run: &&mut (Vec<String>, _)| run.0.iter().any(|name| targets.contains(name));
            match runs.iter_mut().rev().find(meets) {
                Some((other, letters)) if *other == targets => letters.push(letter),
                Some(_) | None => runs.push((targets, vec![letter])),
            }
        }
        let mut went: Vec<(u64, (String, u64))> = Vec::new();
        // What queues let go for it goes on behind it.
        let mut claimed = Vec::new();
        for (targets, letters) in runs {
            for target in targets {
                let ids: Vec<u64> = letters.iter().map(|letter| letter.id).collect();
                let taken = self.enter(&target, letters.clone(), Some(group));
                let made =
                    ids.into_iter().zip(taken).filter_map(|(id, made)| Some((id, (target.clone(), made?))));
                went.extend(made);
                self.claim(&target, &mut claimed);
            }
        }
        for copy in due {
            // Should the log hold one message twice, either may be said to have gone to any of both places.
            let targets =
                went.iter().filter(|(id, _)| *id == copy.letter.id).map(|(_, target)| target.clone());
            let end = End { first: self.ticket, second: None, moved: Some((group, targets.collect())) };
            let held = self.late.copies.iter_mut().find(|other| other.made == copy.made);
            held.expect("it was due").place = Place::Ended(end);
        }
        for source in claimed {
            self.move_claimed(vec![source], route);
        }
    }
}
