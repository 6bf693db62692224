//! What becomes of messages that nobody acknowledges: limits, expiry, dead letters, priorities, every type of queue.
//!
//! Its queues are its own (`x.…`), in the same broker, store and history of crashes as the everyday ones of the run.
//! Where `model.rs` of the run says what may come, this model says what does come: so everybody sees what there is
//! after each step, and where consumers or quorum queues are about, the step ends when nothing moves any more.
//!
//! | file | what |
//! |---|---|
//! | `parts.rs` | what the model is made of |
//! | `model.rs` | the slow obvious model |
//! | `moves.rs` | its part that moves dead letters |
//! | `late.rs` | its part that holds what is delayed |
//! | `kept.rs` | its part that keeps what no target takes, and what goes behind the others |
//! | `replies.rs` | direct reply-to: who asks, who replies, and what comes back |
//! | `steps.rs` | what is done next |
//! | `settling.rs` | what becomes of deliveries: acknowledged, rejected, given back, in transactions or not |
//! | `observe.rs` | what clients see, compared with the model |
//! | `check.rs` | what must have come back after a crash |

mod check;
mod kept;
mod late;
mod model;
mod moves;
mod observe;
mod parts;
mod replies;
mod settling;
mod steps;

use std::{collections::BTreeMap, time::Duration};

use self::{
    model::Model,
    parts::Letter,
    replies::{Names, Requester},
};
use super::{client::Client, world::World};
use crate::broker::exchange::Envelope;

/// How many clients there are at most.
const PEERS: usize = 2;

/// A delivery that its client has not settled.
#[derive(Debug, Clone)]
struct Held {
    queue: String,
    /// The queue's id: another of its name is another.
    id: u64,
    made: u64,
    consumer: Option<String>,
}

/// What becomes of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Acknowledge,
    Reject,
    Requeue,
    /// Their channel is gone.
    Lose,
}

/// What a transaction holds back.
#[derive(Debug, Default)]
struct Deferred {
    publishes: Vec<(String, Letter)>,
    settlements: Vec<Settlement>,
}

/// Deliveries by their tags, and what a method says of them.
#[derive(Debug)]
struct Settlement {
    held: BTreeMap<u64, Held>,
    how: How,
    /// `basic.reject`: what comes back by that is counted otherwise than what comes by `basic.nack`.
    rejects: bool,
}

/// A request that waits for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pending {
    Get { queue: String, no_ack: bool },
    Commit,
}

struct Peer {
    client: Client,
    tx: Option<Deferred>,
    confirms: bool,
    published: u64,
    /// Publishes without their answer: the message, and whether a queue has refused it.
    expected: BTreeMap<u64, (u64, bool)>,
    held: BTreeMap<u64, Held>,
    pending: Option<Pending>,
    tags: u32,
    requester: Option<Requester>,
}

pub(super) struct Fates {
    model: Model,
    names: Names,
    peers: Vec<Option<Peer>>,
    next_id: u64,
    /// All bodies are that long, so that a limit of bytes is one of messages.
    body_bytes: usize,
    /// Says what it does: `WARREN_SIM_TRACE=1`.
    traced: bool,
    /// The power is to fail right away.
    pub(super) crash_now: bool,
    /// Who has got something since everything was at rest: queue, client, tag.
    served: Vec<(String, usize, String)>,
    /// Several consumers' deliveries came back one after the other: a lower one may have been served between.
    by_turns: bool,
}

impl Fates {
    fn say(&self, world: &World, what: impl FnOnce() -> String) {
        if self.traced {
            eprintln!("{} {:?} {}", world.clock.now_ms(), world.submitted(), what());
        }
    }

    /// Messages published.
    pub(super) fn messages(&self) -> u64 {
        self.next_id
    }

    /// How many died, by reason; were delayed; were replies.
    pub(super) fn died(&self) -> &BTreeMap<&'static str, u64> {
        &self.model.died
    }

    /// Something may happen at any turn of the store, and not only when somebody asks.
    fn live(&self) -> bool {
        !self.model.consumers.is_empty()
            || !self.model.late.copies.is_empty()
            || self.model.queues.values().any(|queue| queue.settings.quorum)
    }

    /// A turn was committed.
    pub(super) fn on_turn(&mut self, world: &World) {
        self.model.on_turn(world.store.durable_to(), world.submitted());
        self.poll(world);
    }

    /// After a step: now and then the power fails before anything has come to rest.
    fn after(&mut self, world: &mut World) {
        if self.live() && world.chance(2) {
            self.crash_now = true;
        } else if self.live() {
            self.rest(world)
        } else {
            self.poll(world)
        }
    }

    /// Turns and polls until nothing happens any more: then consumers have all that they can have.
    pub(super) fn rest(&mut self, world: &World) {
        world.heal();
        for _ in 0..10_000 {
            self.poll(world);
            if world.turn() {
                self.model.on_turn(world.store.durable_to(), world.submitted());
            } else if !self.peers.iter().flatten().any(|peer| peer.client.woken()) {
                // What a deadline has brought into motion may need no turn of the log.
                self.check_at_rest();
                self.model.at_rest();
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Time passes over every deadline there is; gives what is left of it.
    pub(super) fn advance(&mut self, world: &World, by: Duration) -> Duration {
        self.rest(world);
        let end = world.clock.now() + by;
        for _ in 0..10_000 {
            let left = end - world.clock.now();
            let Some(at_ms) = world.broker.core.deadlines.next_ms() else { return self.check_time(left) };
            let wait_ms = u64::try_from(at_ms - world.clock.now_ms()).unwrap_or(0);
            let wait = Duration::from_millis(wait_ms);
            if wait > left {
                return self.check_time(left);
            }
            self.say(world, || format!("advance {wait_ms}"));
            world.clock.advance(wait);
            self.model.now_ms = world.clock.now_ms();
            let before = self.model.queues.len();
            self.tick(world);
            if self.live() || self.model.queues.len() < before {
                self.rest(world);
            } else {
                self.poll(world);
            }
        }
        panic!("a deadline comes again and again");
    }

    /// What has expired at a head, and what nobody has used, is gone: nobody had to ask.
    fn check_time(&mut self, left: Duration) -> Duration {
        self.model.now_ms += i64::try_from(left.as_millis()).unwrap();
        let overdue = self.model.overdue();
        assert!(overdue.is_empty(), "their time has come, and nobody was told: {overdue:?}");
        left
    }

    /// A queue is gone, and its consumers with it.
    fn forget(&mut self, queue: &str) {
        self.model.consumers.retain(|consumer| consumer.queue != queue);
    }
}

/// In which order an exchange serves queues.
fn router(world: &World) -> impl Fn(&str, &str) -> Vec<String> + 'static {
    let vhost = world.vhost();
    move |exchange, key| {
        let exchange = vhost.find_exchange(exchange).expect("a durable exchange is there");
        let route = vhost.route(&exchange, &Envelope { keys: &[key], headers: None, properties: &[0, 0] });
        route.queues.iter().map(|queue| queue.name.to_string()).collect()
    }
}
