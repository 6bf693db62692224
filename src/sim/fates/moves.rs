//! Dead letters on their way: what a queue let go moves to its targets, and what those let go for it moves on.
//!
//! A batch for each target, as the broker has it; what is taken at once is in the log together or not at all.

use super::{
    late::LATE,
    model::{Model, Router, STREAM},
    parts::{Copy, Dead, End, Group, Letter, Place, Settings},
};

impl Model {
    /// What a queue let go moves to its dead-letter exchange, and what the targets let go for it moves on.
    pub(super) fn move_all(&mut self, name: &str, route: Router<'_>) {
        let mut sources = Vec::new();
        self.claim(name, &mut sources);
        self.move_claimed(sources, route);
    }

    pub(super) fn move_claimed(&mut self, mut sources: Vec<String>, route: Router<'_>) {
        while let Some(source) = sources.pop() {
            loop {
                let dead: Vec<Dead> = self.queue(&source).drops.drain(..).collect();
                if dead.is_empty() {
                    break;
                }
                let group = self.new_group(false);
                self.move_batch(&source, dead, group, route, &mut sources);
            }
            self.queue(&source).moving = false;
            if self.retry(&source) {
                sources.push(source);
            }
        }
    }

    pub(super) fn new_group(&mut self, whole: bool) -> usize {
        self.groups.push(Group { ticket: self.ticket, whole });
        self.groups.len() - 1
    }

    pub(super) fn claim(&mut self, name: &str, sources: &mut Vec<String>) {
        let queue = self.queue(name);
        if !queue.drops.is_empty() && !queue.moving {
            queue.moving = true;
            sources.push(name.to_owned());
        }
    }

    fn move_batch(
        &mut self,
        source: &str,
        dead: Vec<Dead>,
        group: usize,
        route: Router<'_>,
        sources: &mut Vec<String>,
    ) {
        let tried = dead.iter().filter(|dead| self.is_kept(source, dead.copy)).count();
        let ends = self.publish_dead(source, dead, group, route, sources);
        // Nothing of it is to last: the queue forgets them as if they were acknowledged.
        let lasting = ends.iter().any(|end| end.lasts);
        let keeps = self.keeps(source);
        let mut stuck = Vec::new();
        for Fate { copy: made, targets, taken_by, refused, reason, .. } in ends {
            let first = self.ticket;
            let Some(copy) = made.and_then(|made| self.copy(source, made)) else { continue };
            copy.taken_by.extend(taken_by);
            if keeps && (refused || copy.taken_by.is_empty()) {
                stuck.push((copy.made, reason));
            } else {
                let moved = lasting.then_some((group, targets));
                copy.place = Place::Ended(End { first, second: None, moved });
            }
        }
        if keeps {
            self.dead_moved(source, &stuck, tried);
        }
    }

    fn is_kept(&self, source: &str, made: Option<u64>) -> bool {
        let kept = |copy: &Copy| Some(copy.made) == made && matches!(copy.place, Place::Kept(_));
        self.queues[source].copies.iter().any(kept)
    }

    /// Rejected deliveries of a transaction: they move with it. Gives what has something to move after it.
    pub(super) fn reject_in(
        &mut self,
        source: &str,
        mades: &[u64],
        group: usize,
        route: Router<'_>,
    ) -> Vec<String> {
        let mut sources = Vec::new();
        let dies = self.effective(source).dlx.is_some();
        let letters: Vec<(u64, Letter)> =
            mades.iter().filter_map(|&made| Some((made, self.copy(source, made)?.letter.clone()))).collect();
        let dead = letters.into_iter().filter(|_| dies);
        let dead = dead.map(|(made, letter)| Dead { letter, reason: "rejected", copy: Some(made) }).collect();
        let ends = self.publish_dead(source, dead, group, route, &mut sources);
        *self.died.entry("rejected").or_default() += mades.len() as u64;
        for &made in mades {
            let targets = ends.iter().find(|end| end.copy == Some(made)).map(|end| end.targets.clone());
            self.end_in(source, made, group, targets.unwrap_or_default());
        }
        sources
    }

    /// A copy ends with a group.
    pub(super) fn end_in(&mut self, name: &str, made: u64, group: usize, targets: Vec<(String, u64)>) {
        let first = self.ticket;
        if let Some(copy) = self.copy(name, made) {
            copy.place = Place::Ended(End { first, second: None, moved: Some((group, targets)) });
        }
    }

    /// Dead letters of one queue to their targets, a batch for each. Says what became of each.
    fn publish_dead(
        &mut self,
        source: &str,
        dead: Vec<Dead>,
        group: usize,
        route: Router<'_>,
        sources: &mut Vec<String>,
    ) -> Vec<Fate> {
        let Settings { dlx, dlrk, .. } = self.effective(source);
        let mut batches: Vec<(String, Vec<(usize, Letter)>)> = Vec::new();
        let mut ends: Vec<Fate> = Vec::new();
        for (at, Dead { letter, reason, copy }) in dead.into_iter().enumerate() {
            ends.push(Fate::of(copy, reason));
            let Some(exchange) = &dlx else { continue };
            let key = dlrk.clone().unwrap_or_else(|| letter.key.clone());
            let letter = Letter { exchange: exchange.clone(), key, ..letter.after(source, reason) };
            if letter.deaths.first().is_some_and(|death| death.count > 1) {
                *self.died.entry("once more").or_default() += 1;
            }
            if let Some(delay_ms) = letter.delayed_ms(exchange) {
                let late = (LATE.to_owned(), self.late.id);
                ends[at].taken_by.push(late);
                let made = self.hold(letter, delay_ms, Some(group));
                ends[at].lasts = true;
                ends[at].targets.push((LATE.to_owned(), made));
                continue;
            }
            let mut targets = self.targets(exchange, &letter.key, route);
            self.leave_served(source, copy, &mut targets);
            for target in targets {
                if target == STREAM {
                    self.stream.push((letter.clone(), self.ticket));
                    ends[at].lasts = true;
                    ends[at].taken_by.push((target, 0));
                } else if reason == "rejected" || !letter.cycles_to(&target) {
                    match batches.iter_mut().find(|(name, _)| *name == target) {
                        Some((_, batch)) => batch.push((at, letter.clone())),
                        None => batches.push((target, vec![(at, letter.clone())])),
                    }
                }
            }
        }
        for (target, batch) in batches {
            let (places, letters): (Vec<usize>, Vec<Letter>) = batch.into_iter().unzip();
            let lasting: Vec<bool> = letters.iter().map(|letter| self.lasts(&target, letter)).collect();
            let taken = self.enter(&target, letters, Some(group));
            for ((at, lasting), made) in places.into_iter().zip(lasting).zip(taken) {
                let end = &mut ends[at];
                if let Some(made) = made {
                    end.lasts |= lasting;
                    end.targets.push((target.clone(), made));
                    end.taken_by.push(self.taker(&target));
                } else {
                    end.refused = true;
                }
            }
            self.claim(&target, sources);
        }
        ends
    }
}

/// What became of one dead letter.
struct Fate {
    copy: Option<u64>,
    reason: &'static str,
    /// The log holds it somewhere else.
    lasts: bool,
    targets: Vec<(String, u64)>,
    taken_by: Vec<(String, u64)>,
    /// Some target did not take it.
    refused: bool,
}

impl Fate {
    fn of(copy: Option<u64>, reason: &'static str) -> Self {
        Self { copy, reason, lasts: false, targets: Vec::new(), taken_by: Vec::new(), refused: false }
    }
}
