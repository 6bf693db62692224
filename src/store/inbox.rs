//! The committer's inbox: Changes in the order of their tickets, and who waits for one to be durable.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use super::{Change, Options, StoreError, Ticket};

/// A Change and the bound of its size.
pub(super) struct Waiting {
    pub(super) change: Box<dyn Change>,
    pub(super) bytes: usize,
}

pub(super) struct Inbox {
    queue: Mutex<Queue>,
    arrived: Condvar,
    congested: AtomicBool,
    relief: Notify,
    bytes_max: usize,
    changes_max: usize,
}

#[derive(Default)]
struct Queue {
    changes: VecDeque<Waiting>,
    bytes: usize,
    /// How many of the Changes are not lazy.
    prompt: usize,
    /// Somebody waits for a Change here, lazy or not.
    urged: bool,
    /// The last ticket given, and the last that a Change got which is not lazy.
    ticket: u64,
    last_prompt: Ticket,
    committer: Committer,
    stop: bool,
}

/// What the committer is at, as those who might wake it need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Committer {
    /// It looks at the inbox before it sleeps.
    #[default]
    Awake,
    /// It looks again within [`LAZY_MAX`]: a lazy Change need not wake it. The acknowledgements that follow a publish come
    /// now, and waking it for each would cost more than all the rest of its turn.
    Dozing,
    /// Until it is woken.
    Asleep,
}

/// How long a lazy Change waits for company.
const LAZY_MAX: Duration = Duration::from_millis(5);

impl Inbox {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            congested: AtomicBool::new(false),
            relief: Notify::new(),
            bytes_max: options.inbox_bytes_max,
            changes_max: options.inbox_changes_max,
        }
    }

    pub(super) fn push(&self, change: Box<dyn Change>) -> Ticket {
        let (bytes, lazy) = (change.bytes_max(), change.lazy());
        let mut queue = self.queue.lock();
        queue.ticket += 1;
        let ticket = Ticket(queue.ticket);
        if !lazy {
            queue.prompt += 1;
            queue.last_prompt = ticket;
        }
        queue.bytes += bytes;
        queue.changes.push_back(Waiting { change, bytes });
        if queue.bytes > self.bytes_max || queue.changes.len() > self.changes_max {
            self.congested.store(true, Ordering::Relaxed);
        }
        let wake = match queue.committer {
            Committer::Awake => false,
            Committer::Dozing => !lazy,
            Committer::Asleep => true,
        };
        if wake {
            queue.committer = Committer::Awake;
        }
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
        ticket
    }

    /// Takes whole Changes in order: the first, and more up to `bytes_max`.
    pub(super) fn take(&self, into: &mut VecDeque<Waiting>, bytes_max: usize) {
        let mut queue = self.queue.lock();
        let mut taken = 0;
        while let Some(next) = queue.changes.front() {
            if taken > 0 && taken + next.bytes > bytes_max {
                break;
            }
            taken += next.bytes.max(1);
            queue.prompt -= usize::from(!next.change.lazy());
            into.extend(queue.changes.pop_front());
        }
        queue.urged &= !queue.changes.is_empty();
        queue.bytes = into.iter().fold(queue.bytes, |left, w| left.saturating_sub(w.bytes));
        // Half-empty before publishers are let in again, so that they do not all stand up for one place.
        let relieved = self.congested.load(Ordering::Relaxed)
            && queue.bytes <= self.bytes_max / 2
            && queue.changes.len() <= self.changes_max / 2;
        if relieved {
            self.congested.store(false, Ordering::Relaxed);
        }
        drop(queue);
        if relieved {
            self.relief.notify_waiters();
        }
    }

    /// Waits for a Change that is not lazy, or until lazy ones have waited long enough; false when the committer is to
    /// stop.
    pub(super) fn wait(&self) -> bool {
        let mut queue = self.queue.lock();
        let mut dozed = false;
        while queue.prompt == 0 && !queue.urged && !queue.stop {
            if dozed && queue.changes.is_empty() {
                queue.committer = Committer::Asleep;
                self.arrived.wait(&mut queue);
                dozed = false;
            } else {
                queue.committer = Committer::Dozing;
                dozed = self.arrived.wait_for(&mut queue, LAZY_MAX).timed_out();
                if dozed && !queue.changes.is_empty() {
                    break;
                }
            }
        }
        queue.committer = Committer::Awake;
        !queue.stop
    }

    /// Somebody waits for what is here: it goes with the next turn, which is made at once.
    pub(super) fn urge(&self) {
        let mut queue = self.queue.lock();
        if queue.changes.is_empty() {
            return;
        }
        queue.urged = true;
        let wake = std::mem::take(&mut queue.committer) != Committer::Awake;
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Waits that long, whatever arrives; false when the committer is to stop.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let mut queue = self.queue.lock();
        if !queue.stop {
            // It counts as awake, so that only `stop` wakes it.
            self.arrived.wait_for(&mut queue, time);
        }
        !queue.stop
    }

    pub(super) fn stopped(&self) -> bool {
        self.queue.lock().stop
    }

    pub(super) fn stop(&self) {
        self.queue.lock().stop = true;
        self.arrived.notify_all();
    }

    pub(super) fn congested(&self) -> bool {
        self.congested.load(Ordering::Relaxed)
    }

    pub(super) async fn relieved(&self) {
        loop {
            let mut relief = std::pin::pin!(self.relief.notified());
            relief.as_mut().enable();
            if !self.congested() {
                return;
            }
            relief.await;
        }
    }

    /// Changes and bytes that wait.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.changes.len(), queue.bytes)
    }

    /// The last ticket given.
    pub(super) fn last(&self) -> Ticket {
        Ticket(self.queue.lock().ticket)
    }

    /// The last that a Change got which is not lazy.
    pub(super) fn last_prompt(&self) -> Ticket {
        self.queue.lock().last_prompt
    }
}

/// Who waits for which ticket.
#[derive(Default)]
pub(super) struct Waiters {
    durable_to: AtomicU64,
    waiting: Mutex<Sleepers>,
}

#[derive(Default)]
struct Sleepers {
    next: u64,
    by_ticket: BTreeMap<(Ticket, u64), oneshot::Sender<Result<(), StoreError>>>,
    failed: Option<StoreError>,
}

impl Waiters {
    pub(super) fn durable_to(&self) -> Ticket {
        Ticket(self.durable_to.load(Ordering::Acquire))
    }

    /// All up to `ticket` is durable.
    pub(super) fn advance(&self, ticket: Ticket) {
        let mut sleepers = self.waiting.lock();
        self.durable_to.store(ticket.0, Ordering::Release);
        while let Some(first) = sleepers.by_ticket.first_entry() {
            if first.key().0 > ticket {
                break;
            }
            // Whoever has gone away does not mind.
            let _ = first.remove().send(Ok(()));
        }
    }

    /// Nothing more will be durable.
    pub(super) fn fail(&self, error: &StoreError) {
        let mut sleepers = self.waiting.lock();
        sleepers.failed.get_or_insert_with(|| error.clone());
        for (_, sleeper) in std::mem::take(&mut sleepers.by_ticket) {
            let _ = sleeper.send(Err(error.clone()));
        }
    }

    pub(super) async fn durable(&self, ticket: Ticket) -> Result<(), StoreError> {
        if self.durable_to() >= ticket {
            return Ok(());
        }
        let answer = {
            let mut sleepers = self.waiting.lock();
            if self.durable_to() >= ticket {
                return Ok(());
            }
            if let Some(error) = &sleepers.failed {
                return Err(error.clone());
            }
            let (sender, answer) = oneshot::channel();
            let id = sleepers.next;
            sleepers.next += 1;
            sleepers.by_ticket.insert((ticket, id), sender);
            answer
        };
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}
