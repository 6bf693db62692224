//! The thread of one job: epochs while there is input, asleep while there is none.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

use super::{
    EPOCH_MS_MAX, EpochCommit, JobId,
    bind::Bound,
    exchanges::Exchanges,
    graph::OperatorStatus,
    job::{Job, Step},
    sync::Sync,
    table::PrintedLines,
};
use crate::{
    broker::topic::{fetch::Isolation, partition::Partition, waiters::Waiter},
    stream::{plan::physical::JobPlan, state::Phase},
};

/// How often the offsets that a job has read are shown as its group's.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// What a job is doing, for the admin door.
#[derive(Debug, Clone, Default)]
pub struct Status {
    pub phase: Option<Phase>,
    pub epoch: u64,
    pub rows_in: u64,
    pub rows_out: u64,
    /// Rows that came too late for a window.
    pub rows_late: u64,
    /// Records that could not be read or computed.
    pub rows_failed: u64,
    /// Records that are there and have not been read.
    pub lag: i64,
    pub operators: Vec<OperatorStatus>,
    /// Why the thread gave up, if it did.
    pub error: Option<String>,
}

/// What a job can be told while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Pause,
    Resume,
}

/// What others say to the thread, and it to them.
#[derive(Default)]
pub struct Control {
    inner: Mutex<Inner>,
    /// For the thread: look at `inner`.
    told: Notify,
    /// For those who wait for the thread.
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    status: Status,
    orders: Vec<Order>,
    stop: bool,
    ended: bool,
}

impl Control {
    #[must_use]
    pub fn status(&self) -> Status {
        self.inner.lock().status.clone()
    }

    /// Asks the thread to end after the epoch it is in.
    pub fn stop(&self) {
        self.inner.lock().stop = true;
        self.told.notify_one();
    }

    /// Tells the job something; ready once the store has it, or the thread has ended.
    pub async fn order(&self, order: Order) {
        self.inner.lock().orders.push(order);
        self.told.notify_one();
        self.wait(|inner| inner.orders.is_empty() || inner.ended).await;
    }

    pub(super) fn first_order(&self) -> Option<Order> {
        self.inner.lock().orders.first().copied()
    }

    /// The first order is carried out.
    pub(super) fn done(&self) {
        self.set(|inner| drop(inner.orders.drain(..1.min(inner.orders.len()))));
    }

    /// The same, in the middle of an epoch: what the job is doing now.
    pub(super) fn done_as(&self, phase: Phase) {
        self.set(|inner| inner.status.phase = Some(phase));
        self.done();
    }

    /// Ready when the thread is told something.
    pub(super) fn told(&self) -> Notified<'_> {
        self.told.notified()
    }

    pub(super) fn stopping(&self) -> bool {
        self.inner.lock().stop
    }

    fn set(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.lock());
        self.changed.notify_waiters();
    }

    async fn wait(&self, until: impl Fn(&Inner) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before it is looked at, so that no change falls between.
            changed.as_mut().enable();
            if until(&self.inner.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the job's first epoch is committed, or it has ended.
    pub async fn begun(&self) {
        self.wait(|inner| inner.status.phase.is_some() || inner.ended).await;
    }

    /// Waits until the thread has ended.
    pub async fn ended(&self) {
        self.wait(|inner| inner.ended).await;
    }
}

/// Whoever stops a job waits for its thread, so it says that it has ended whatever it ends by.
fn caught(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let caught = catch_unwind(AssertUnwindSafe(work));
    caught.unwrap_or_else(|panic| {
        let literal = panic.downcast_ref::<&str>().copied();
        let said = literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(format!(
            "the job failed in a way that it should not: {}",
            said.unwrap_or("nothing is known of it")
        ))
    })
}

/// What the thread works with.
pub struct Worker {
    pub name: String,
    pub plan: JobPlan,
    pub bound: Bound,
    pub control: Arc<Control>,
    pub printed: Arc<PrintedLines>,
    /// With `sync=true`.
    pub sync: Option<Sync>,
    pub exchanges: Exchanges,
}

impl Worker {
    /// Starts the thread, from the last committed state.
    ///
    /// # Errors
    /// When the state does not fit the plan, or there is no thread to be had.
    pub fn spawn(self, saved: Option<Bytes>) -> Result<(), String> {
        let job = self.restore(saved.as_deref())?;
        if !job.has_files_to_publish() {
            // Whoever looks before the thread runs sees what the job was.
            self.show(&job);
        }
        let name = format!("job {}", self.name);
        let short: String = name.chars().take(15).collect();
        std::thread::Builder::new()
            .name(short)
            .spawn(move || self.run(job))
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    fn restore(&self, saved: Option<&[u8]>) -> Result<Job, String> {
        Job::restore(JobId(self.name.clone()), self.plan.clone(), saved, &self.bound)
            .map_err(|error| error.to_string())
    }

    fn run(mut self, mut job: Job) {
        let result = caught(|| self.work(&mut job));
        if let Some(sync) = &mut self.sync {
            sync.leave(&self.bound);
        }
        if let Err(error) = &result {
            tracing::error!(job = self.name, error, "a stream job stopped");
        }
        self.control.set(|inner| {
            inner.status.error = result.err();
            inner.ended = true;
        });
    }

    fn work(&mut self, job: &mut Job) -> Result<(), String> {
        let clock = self.bound.broker.core.clock.clone();
        let mut shown = clock.now();
        let mut unshown = None;
        let mut waiter: Option<Arc<Waiter>> = None;
        while !self.control.stopping() {
            if let Some(order) = self.control.first_order() {
                match order {
                    Order::Pause => job.pause(),
                    Order::Resume => job.resume(),
                }
                // What it changes is committed before whoever asked hears of it.
                if let Step::Commit(epoch) = job.epoch(&self.bound, clock.now_ms(), &|| true) {
                    self.commit(job, *epoch)?;
                }
                self.show(job);
                self.control.done();
                waiter = None;
                continue;
            }
            let gather_ms = EPOCH_MS_MAX * job.stretch() as u64;
            let until = clock.now() + Duration::from_millis(gather_ms);
            match job.epoch(&self.bound, clock.now_ms(), &|| clock.now() >= until) {
                Step::Commit(epoch) => {
                    waiter = None;
                    unshown = Some(epoch.offsets.clone());
                    self.commit(job, *epoch)?;
                    if job.epochs() <= 1 || *job.phase() != Phase::Running {
                        self.show(job);
                    }
                    if clock.now() >= shown + SHOW_EVERY {
                        self.show(job);
                        unshown.take().inspect(|offsets| self.bound.show_offsets(&self.name, offsets));
                        shown = clock.now();
                    }
                }
                Step::Idle { wake_at_ms } => {
                    unshown.take().inspect(|offsets| self.bound.show_offsets(&self.name, offsets));
                    // Registered first, then looked at once more, then waited for: no record falls between.
                    match waiter.take() {
                        None => {
                            self.show(job);
                            waiter = Some(self.register(job));
                        }
                        Some(waiter) => self.sleep(&waiter, wake_at_ms),
                    }
                }
                Step::Stopped => {
                    self.show(job);
                    self.bound.runtime.clone().block_on(self.control.told());
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, job: &mut Job, epoch: EpochCommit) -> Result<(), String> {
        let printed: Vec<String> = epoch.printed.iter().map(|printed| printed.line.clone()).collect();
        let read = epoch.offsets.clone();
        let written = self.bound.commit_to(epoch, &mut self.exchanges)?;
        if self.exchanges.take_paused() {
            job.paused();
        }
        if let Some(sync) = &mut self.sync {
            sync.committed(&self.bound, &read, &written);
            if *job.phase() != Phase::Running {
                sync.leave(&self.bound);
            }
        }
        self.bound.broker.core.meters.jobs_epochs.increment();
        if !printed.is_empty() {
            self.printed.push(printed.into_iter());
        }
        self.exchanges.hold_up(&self.bound);
        Ok(())
    }

    fn show(&self, job: &Job) {
        let (rows_in, rows_out) = job.rows();
        let operators = job.operators();
        let rows_late: u64 = operators.iter().map(|o| o.counts.late).sum();
        let rows_failed: u64 = operators.iter().map(|o| o.counts.failed).sum();
        let lag = job.lag(&self.bound);
        let before = self.control.status();
        let meters = &self.bound.broker.core.meters;
        meters.jobs_records_in.add(rows_in.saturating_sub(before.rows_in));
        meters.jobs_records_out.add(rows_out.saturating_sub(before.rows_out));
        meters.jobs_records_late.add(rows_late.saturating_sub(before.rows_late));
        meters.jobs_records_failed.add(rows_failed.saturating_sub(before.rows_failed));
        self.control.set(|inner| {
            inner.status.phase = Some(job.phase().clone());
            inner.status.epoch = job.epochs();
            (inner.status.rows_in, inner.status.rows_out) = (rows_in, rows_out);
            (inner.status.rows_late, inner.status.rows_failed) = (rows_late, rows_failed);
            inner.status.lag = lag;
            inner.status.operators = operators;
        });
    }

    fn partitions(&self, job: &Job) -> Vec<Arc<Partition>> {
        job.topics()
            .filter_map(|name| self.bound.topic(name))
            .flat_map(|topic| topic.partitions().to_vec())
            .collect()
    }

    fn register(&self, job: &Job) -> Arc<Waiter> {
        let waiter = Waiter::new(1);
        for partition in self.partitions(job) {
            let end = partition.offsets().end(Isolation::ReadCommitted);
            partition.wait(end, Isolation::ReadCommitted, &waiter);
        }
        waiter
    }

    fn sleep(&self, waiter: &Waiter, wake_at_ms: Option<i64>) {
        let now_ms = self.bound.broker.core.clock.now_ms();
        let wake = wake_at_ms.map(|at| Duration::from_millis(u64::try_from(at - now_ms).unwrap_or(0)));
        let wake = async move {
            match wake {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        self.bound.runtime.clone().block_on(async {
            tokio::select! {
                () = waiter.fired() => {}
                () = self.control.told() => {}
                () = wake => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_thread_ends_by_is_said() {
        assert_eq!(caught(|| Ok(())), Ok(()));
        assert_eq!(caught(|| Err("refused".to_owned())), Err("refused".to_owned()));
        let n = 7;
        for (panic, said) in
            [(caught(|| panic!("a text")), "a text"), (caught(|| panic!("the row {n}")), "the row 7")]
        {
            assert_eq!(panic, Err(format!("the job failed in a way that it should not: {said}")));
        }
    }
}
