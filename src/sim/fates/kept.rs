//! Dead letters that not every target has taken: a quorum queue with `at-least-once` keeps them, and tries again.
//!
//! The oldest of them go again together, after a second or when the queue has got another dead-letter exchange, and the
//! others as soon as those got through. Who has taken one does not get it again, unless the power failed meanwhile.

use std::collections::VecDeque;

use super::{
    model::{Model, Router},
    parts::{Copy, Dead, Place},
};

/// How many go again at once, as in the broker.
const TRIED_MAX: usize = 32;
const RETRY_MS: i64 = 1_000;

/// What a queue keeps back.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// In the order in which they were given back.
    pub(super) mades: VecDeque<u64>,
    /// When the oldest go again.
    pub(super) retry_ms: Option<i64>,
    /// So many are under way, and whether some of them have been given back.
    under_way: Option<(usize, bool)>,
}

impl Model {
    /// Whether what dies in that queue stays until all have it.
    pub(super) fn keeps(&self, name: &str) -> bool {
        let settings = self.effective(name);
        settings.at_least_once && settings.dlx.is_some()
    }

    /// Some have been moved, of which so many had been kept before; `stuck` come back.
    pub(super) fn dead_moved(&mut self, name: &str, stuck: &[(u64, &'static str)], tried: usize) {
        *self.died.entry("kept").or_default() += stuck.len() as u64;
        for &(made, reason) in stuck {
            if let Some(copy) = self.copy(name, made) {
                (copy.place, copy.counted) = (Place::Kept(reason), false);
            }
        }
        let later_ms = self.now_ms + RETRY_MS;
        let now_ms = self.now_ms;
        let kept = &mut self.queue(name).kept;
        kept.mades.extend(stuck.iter().map(|(made, _)| *made));
        match kept.under_way {
            Some((left, before)) if left > tried => {
                kept.under_way = Some((left - tried, before || !stuck.is_empty()));
            }
            Some((_, before)) => {
                let again_ms = if before || !stuck.is_empty() { later_ms } else { now_ms };
                (kept.under_way, kept.retry_ms) = (None, Some(again_ms));
            }
            None if kept.retry_ms.is_none() && !stuck.is_empty() => kept.retry_ms = Some(later_ms),
            None => {}
        }
        if kept.mades.is_empty() {
            kept.retry_ms = None;
        }
    }

    /// What is kept and due goes again. True when the caller is to move it.
    pub(super) fn retry(&mut self, name: &str) -> bool {
        let now_ms = self.now_ms;
        let queue = self.queue(name);
        if queue.kept.retry_ms.is_none_or(|at| at > now_ms) {
            return false;
        }
        let count = queue.kept.mades.len().min(TRIED_MAX);
        let mades: Vec<u64> = queue.kept.mades.drain(..count).collect();
        (queue.kept.retry_ms, queue.kept.under_way) = (None, Some((count, false)));
        for made in mades {
            let copy = queue.copies.iter().find(|copy| copy.made == made).expect("it is kept");
            let Place::Kept(reason) = copy.place else { panic!("{copy:?} is not kept") };
            queue.drops.push_back(Dead { letter: copy.letter.clone(), reason, copy: Some(made) });
        }
        let claimed = !queue.moving && count > 0;
        queue.moving |= claimed;
        claimed
    }

    /// The queue has got another dead-letter exchange, or none: what is kept goes by that, or is lost.
    pub(super) fn reconsider_kept(&mut self, name: &str) {
        let keeps = self.keeps(name);
        let kept = &mut self.queue(name).kept;
        if keeps {
            kept.retry_ms = kept.retry_ms.map(|_| i64::MIN);
            return;
        }
        for made in std::mem::take(kept).mades {
            self.end(name, made);
        }
    }

    /// After a crash what the log knows to be dead goes again; in the order of the log.
    pub(super) fn recover_kept(&mut self, name: &str) {
        let queue = self.queue(name);
        let mut dead: Vec<(u8, u64)> = queue
            .copies
            .iter()
            .filter(|copy| matches!(copy.place, Place::Kept(_)))
            .map(|copy| (queue.level(&copy.letter), copy.made))
            .collect();
        dead.sort_unstable();
        queue.kept.retry_ms = (!dead.is_empty()).then_some(i64::MIN);
        queue.kept.mades = dead.into_iter().map(|(_, made)| made).collect();
    }

    /// Which targets of a dead letter have it already.
    pub(super) fn leave_served(&self, source: &str, copy: Option<u64>, targets: &mut Vec<String>) {
        let copies = self.queues.get(source).map(|queue| queue.copies.as_slice()).unwrap_or_default();
        let Some(copy) = copies.iter().find(|other| Some(other.made) == copy) else { return };
        targets.retain(|target| !copy.taken_by.contains(&self.taker(target)));
    }

    /// A target, as a dead letter remembers it: another queue of its name is another.
    pub(super) fn taker(&self, target: &str) -> (String, u64) {
        (target.to_owned(), self.queues.get(target).map_or(0, |queue| queue.id))
    }

    /// Messages that a client gave back are in the queue anew, behind the others; the log holds them at one place.
    pub(super) fn put_behind(&mut self, name: &str, mades: &[u64], holder: Option<(usize, String)>) {
        let group = self.new_group(false);
        let mut anew = VecDeque::new();
        for &made in mades {
            let Some(old) = self.copy(name, made).map(|copy| copy.clone()) else { continue };
            let copy = Copy {
                place: Place::Arriving,
                delivered: true,
                published_ms: old.published_ms,
                expires_ms: old.expires_ms,
                returns: old.returns + 1,
                ..self.new_copy(old.letter.clone(), Some(group))
            };
            anew.push_back(copy.made);
            self.end_in(name, made, group, vec![(name.to_owned(), copy.made)]);
            self.queue(name).copies.push(copy);
        }
        *self.died.entry("behind").or_default() += anew.len() as u64;
        self.arriving(name, anew.into(), holder);
    }

    /// What is kept goes before anything else is looked at.
    pub(super) fn retry_all(&mut self, name: &str, route: Router<'_>) {
        if self.retry(name) {
            self.move_claimed(vec![name.to_owned()], route);
        }
    }
}
