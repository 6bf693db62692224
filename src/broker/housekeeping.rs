//! What the core does by itself, in the background: deadlines of queues and groups, retention, offset expiry, moving
//! chunks out of sparse segments. One task, asleep while nothing is due.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use super::{Broker, alarm::Resource};
use crate::clock::Clock;

/// How often retention, expiry and sparse segments are looked at (liveness time).
const INTERVAL: Duration = Duration::from_secs(30);

/// Runs until dropped.
pub async fn run(broker: Arc<Broker>) {
    // Beside each other: moving chunks takes long, and messages expire meanwhile.
    tokio::join!(
        watch_queues(&broker),
        watch_the_rest(&broker),
        compact_topics(&broker),
        tell_of_alarms(&broker)
    );
}

/// Tells who listens of alarms that come and go; one that went at once may be told by nobody.
async fn tell_of_alarms(broker: &Arc<Broker>) {
    let alarms = &broker.core.memory;
    let mut told = [(Resource::Disk, false), (Resource::Memory, false)];
    loop {
        let mut changed = pin!(alarms.changed());
        changed.as_mut().enable();
        for (resource, on) in &mut told {
            if alarms.is_on(*resource) != *on {
                *on = !*on;
                broker.tell_alarm(*resource, *on);
            }
        }
        changed.await;
    }
}

/// Wakes when the next queue's deadline comes, and only then.
async fn watch_queues(broker: &Arc<Broker>) {
    let clock = &broker.core.clock;
    let deadlines = &broker.core.deadlines;
    loop {
        broker.on_deadlines(clock.now_ms());
        let sleep = async {
            match deadlines.next_ms().into_iter().chain(broker.transactions.next_ms()).min() {
                Some(at_ms) => tokio::time::sleep_until((clock.now() + until(clock, at_ms)).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = deadlines.earlier() => {}
        }
    }
}

/// Until that moment of domain time. Not longer than a while, since the wall clock may be set meanwhile.
fn until(clock: &Clock, at_ms: i64) -> Duration {
    let ms = u64::try_from(at_ms.saturating_sub(clock.now_ms())).unwrap_or(0);
    Duration::from_millis(ms).min(INTERVAL)
}

async fn watch_the_rest(broker: &Arc<Broker>) {
    let clock = broker.core.clock.clone();
    let mut tidy_at = clock.now() + INTERVAL;
    loop {
        let deadline = broker.groups.next_deadline().map_or(tidy_at, |group| group.min(tidy_at));
        tokio::select! {
            () = tokio::time::sleep_until(deadline.into()) => {}
            () = broker.groups.earlier_deadline() => continue,
        }
        let now = clock.now();
        broker.groups.on_deadline(now);
        if now >= tidy_at {
            tidy(broker).await;
            give_memory_back();
            tidy_at = clock.now() + INTERVAL;
        }
    }
}

/// How long after something could be compacted it is looked at, with what came meanwhile (liveness time).
const COMPACTION_DELAY: Duration = Duration::from_secs(1);
/// How often it is looked at because time alone may have made it due (`log.cleaner.backoff.ms`).
const COMPACTION_INTERVAL: Duration = Duration::from_secs(15);

/// Compacts topics when a segment of one is full, and now and then; without compacted topics it sleeps.
async fn compact_topics(broker: &Arc<Broker>) {
    let topics = &broker.core.topics;
    loop {
        let idle = topics.compacted().is_empty();
        tokio::select! {
            () = topics.compactable() => tokio::time::sleep(COMPACTION_DELAY).await,
            () = tokio::time::sleep(COMPACTION_INTERVAL), if !idle => {}
        }
        for partition in topics.compacted() {
            let now_ms = broker.core.clock.now_ms();
            if let Err(error) = partition.compact(now_ms, rand::random()).await {
                tracing::error!(%error, ?partition, "a partition could not be compacted");
            }
        }
    }
}

/// Large backlogs leave memory behind that the allocator keeps for a second, and then gives back with the next page that
/// somebody asks for or lets go: so that an idle broker does not keep it, somebody does. (mimalloc 3: `mi_arenas_try_purge`
/// looks at a quarter of its arenas each time.)
fn give_memory_back() {
    for _ in 0..ARENA_PARTS {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(PAGE_BYTES)));
    }
}

/// A block of this size has a page to itself.
const PAGE_BYTES: usize = 2 * 1024 * 1024;
const ARENA_PARTS: usize = 4;

/// One regular run.
pub async fn tidy(broker: &Arc<Broker>) {
    let now_ms = broker.core.clock.now_ms();
    broker.expire_records(now_ms);
    broker.groups.forget_deleted_topics();
    broker.groups.expire_offsets(now_ms);
    for sparse in broker.core.store.sparse_segments() {
        let moving = broker.clone();
        // Reads what still lives there: not on a runtime worker.
        let moved = tokio::task::spawn_blocking(move || moving.move_out_of(sparse.segment)).await;
        if let Err(error) = moved {
            tracing::error!(%error, segment = sparse.segment, "a sparse segment could not be emptied");
        }
    }
}

impl Broker {
    /// Retention, and producers and transactional ids that nobody has used for long.
    pub fn expire_records(&self, now_ms: i64) {
        self.core.topics.on_housekeeping(now_ms);
        self.expire_producers(now_ms);
        self.transactions.on_housekeeping(now_ms);
    }

    /// Also at the start: the log says more of producers than was known of them.
    pub(super) fn expire_producers(&self, now_ms: i64) {
        let expiration_ms = self.transactions.settings.producer_id_expiration_ms;
        self.core.topics.expire_producers(now_ms.saturating_sub(expiration_ms));
    }

    /// Moves every chunk that lives in a segment to the end of the log, so that the segment can be used again.
    pub fn move_out_of(&self, segment: u32) {
        if let Err(error) = self.core.topics.move_out_of(segment) {
            tracing::error!(%error, segment, "batches cannot be moved");
        }
        let mut moved = HashMap::new();
        for queue in self.vhosts().iter().flat_map(|vhost| vhost.queues()) {
            queue.move_out_of(segment, &mut moved);
        }
        for exchange in self.vhosts().iter().flat_map(|vhost| vhost.exchanges()) {
            exchange.holding.get().into_iter().for_each(|holding| holding.move_out_of(segment));
        }
    }
}
