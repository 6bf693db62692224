//! Who must have read a record before its producer hears of it: stream jobs with `sync=true`.
//!
//! A job registers a [`Follower`] for each partition it reads, and moves it on when an epoch is committed. Whoever
//! would answer a producer asks `Followers::when_read`: without followers it is told at once. Nobody waits longer
//! than the timeout: then the answer goes out as if there were no followers, with a warning and a counter.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use uuid::Uuid;

use super::Offset;
use crate::broker::Core;

/// How long a producer's answer waits for the jobs.
pub const SYNC_TIMEOUT: Duration = Duration::from_secs(5);
/// How often overdue answers are looked for while any wait.
const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// A partition: its topic and number.
pub type Place = (Uuid, i32);

/// All followers of a broker.
#[derive(Default)]
pub struct Followers {
    by_place: Mutex<HashMap<Place, Vec<Weak<Follower>>>>,
    /// How many there are: none costs one look.
    count: AtomicUsize,
}

/// How far one job has read one partition.
pub struct Follower {
    place: Place,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The next offset to read.
    position: i64,
    stopped: bool,
    /// Who waits for which offset to have been read.
    waiting: BTreeMap<(i64, u64), Arc<Waiting>>,
    next: u64,
}

/// One answer that waits for several followers.
struct Waiting {
    left: AtomicUsize,
    due: Instant,
    done: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Waiting {
    fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finish();
        }
    }

    /// Whether it had not been told before.
    fn finish(&self) -> bool {
        let done = self.done.lock().take();
        let first = done.is_some();
        if let Some(done) = done {
            done();
        }
        first
    }
}

impl Followers {
    /// Whether anybody follows anything.
    #[must_use]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// A follower of a partition, from this offset on. It follows until it is dropped.
    pub fn follow(&self, place: Place, position: i64) -> Arc<Follower> {
        let follower =
            Arc::new(Follower { place, state: Mutex::new(State { position, ..State::default() }) });
        let mut by_place = self.by_place.lock();
        by_place.entry(place).or_default().push(Arc::downgrade(&follower));
        self.count.fetch_add(1, Ordering::AcqRel);
        follower
    }

    /// Follows no more: whoever waits for it is told.
    pub fn leave(&self, follower: &Arc<Follower>) {
        let mut by_place = self.by_place.lock();
        if let Some(list) = by_place.get_mut(&follower.place) {
            let before = list.len();
            list.retain(|other| other.upgrade().is_some_and(|other| !Arc::ptr_eq(&other, follower)));
            self.count.fetch_sub(before - list.len(), Ordering::AcqRel);
        }
        drop(by_place);
        follower.stop();
    }

    /// All partitions that are followed.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        self.by_place.lock().iter().filter(|(_, list)| !list.is_empty()).map(|(place, _)| *place).collect()
    }

    /// Calls `done` once every follower has read the records before these offsets; before this returns if they have.
    fn when_read(
        &self,
        ends: &[(Place, Offset)],
        due: Instant,
        done: Box<dyn FnOnce() + Send>,
    ) -> Option<Arc<Waiting>> {
        let mut found: Vec<(Arc<Follower>, i64)> = Vec::new();
        {
            let by_place = self.by_place.lock();
            for (place, end) in ends {
                let followers = by_place.get(place).into_iter().flatten().filter_map(Weak::upgrade);
                found.extend(followers.map(|follower| (follower, end.0)));
            }
        }
        // One for the caller, so that it is not told while it still counts.
        let waiting = Arc::new(Waiting { left: AtomicUsize::new(1), due, done: Mutex::new(Some(done)) });
        let mut waits = false;
        for (follower, end) in found {
            waits |= follower.wait(end, &waiting);
        }
        waiting.one_less();
        waits.then_some(waiting)
    }
}

impl Core {
    /// Calls `done` once all followers have read the records before these offsets, or the timeout is over.
    pub fn when_read(self: &Arc<Self>, ends: &[(Place, Offset)], done: impl FnOnce() + Send + 'static) {
        if !self.followers.any() {
            return done();
        }
        let due = self.clock.now() + SYNC_TIMEOUT;
        let Some(waiting) = self.followers.when_read(ends, due, Box::new(done)) else { return };
        let (Some(runtime), core) = (&self.runtime, self.clone()) else { return };
        // One sleeper for each answer that really waits: few, and gone as soon as it is told.
        runtime.spawn(async move {
            while waiting.left.load(Ordering::Acquire) > 0 {
                if core.clock.now() >= waiting.due {
                    if waiting.finish() {
                        core.meters.jobs_sync_timeouts.increment();
                        tracing::warn!(
                            "a producer's answer does not wait any longer for a job with sync=true"
                        );
                    }
                    return;
                }
                tokio::time::sleep(SWEEP_EVERY).await;
            }
        });
    }

    /// The same, awaited.
    pub async fn read_by_followers(self: &Arc<Self>, ends: &[(Place, Offset)]) {
        if !self.followers.any() {
            return;
        }
        let (sender, done) = tokio::sync::oneshot::channel();
        self.when_read(ends, move || _ = sender.send(()));
        drop(done.await);
    }
}

impl Follower {
    /// Everything before this offset has been read, and that is committed.
    pub fn advance(&self, position: i64) {
        let mut state = self.state.lock();
        state.position = position.max(state.position);
        let behind = (state.position + 1, 0);
        let rest = state.waiting.split_off(&behind);
        let told = std::mem::replace(&mut state.waiting, rest);
        drop(state);
        told.into_values().for_each(|waiting| waiting.one_less());
    }

    /// It reads no further, for whatever reason: nobody waits for it.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        let told = std::mem::take(&mut state.waiting);
        drop(state);
        told.into_values().for_each(|waiting| waiting.one_less());
    }

    /// It reads on.
    pub fn resume(&self) {
        self.state.lock().stopped = false;
    }

    fn wait(&self, end: i64, waiting: &Arc<Waiting>) -> bool {
        let mut state = self.state.lock();
        if state.stopped || state.position >= end {
            return false;
        }
        waiting.left.fetch_add(1, Ordering::AcqRel);
        let key = (end, state.next);
        state.next += 1;
        state.waiting.insert(key, waiting.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn told(followers: &Followers, ends: &[(Place, Offset)]) -> Arc<AtomicBool> {
        let told = Arc::new(AtomicBool::new(false));
        let flag = told.clone();
        let due = crate::clock::epoch() + SYNC_TIMEOUT;
        followers.when_read(ends, due, Box::new(move || flag.store(true, Ordering::Release)));
        told
    }

    #[test]
    fn an_answer_waits_for_all_followers_that_read() {
        let followers = Followers::default();
        let (a, b) = ((Uuid::nil(), 0), (Uuid::nil(), 1));
        assert!(told(&followers, &[(a, Offset(5))]).load(Ordering::Acquire), "nobody follows");
        let (one, two) = (followers.follow(a, 3), followers.follow(b, 0));
        let both = told(&followers, &[(a, Offset(5)), (b, Offset(1))]);
        one.advance(5);
        assert!(!both.load(Ordering::Acquire));
        two.advance(1);
        assert!(both.load(Ordering::Acquire));
        let later = told(&followers, &[(a, Offset(6))]);
        one.advance(5);
        assert!(!later.load(Ordering::Acquire));
        one.stop();
        assert!(later.load(Ordering::Acquire), "nobody waits for a job that stands");
        assert!(told(&followers, &[(a, Offset(9))]).load(Ordering::Acquire));
        one.resume();
        let last = told(&followers, &[(a, Offset(9))]);
        assert!(!last.load(Ordering::Acquire));
        followers.leave(&one);
        assert!(last.load(Ordering::Acquire));
        followers.leave(&two);
        assert!(!followers.any());
    }
}
