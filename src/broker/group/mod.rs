//! Groups: the table of groups, and the shell around the pure machines (`classic.rs`, `consumer/`; `machine.rs` is
//! whichever of them a group is).
//!
//! A call locks one group, lets the machine decide, and sends the answers. Where the machine asks for the group to
//! be persisted, the Change goes into the committer's inbox under that lock and the answers leave once it is
//! durable, so no client knows a generation that a restart forgets.

pub mod assignor;
pub mod classic;
mod commits;
pub mod config;
pub mod consumer;
pub mod embedded;
mod epochs;
pub mod error;
mod machine;
pub mod member;
mod migration;
pub mod offsets;
pub mod progress;
mod rebalance;
mod record;
pub mod share;
mod table;
#[cfg(test)]
mod tests;
pub mod topics;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::{
    classic::{Classic, Effects, Reply, State},
    consumer::{Beat, ConsumerDescription},
    error::{GroupError, Refused},
    machine::Machine,
    member::{JoinRefused, JoinResult, MemberId, SyncResult, Token},
    offsets::{Committed, Offsets, TopicPartition},
    share::ShareDescription,
};
use super::topic::{
    VhostName, keys,
    writes::{Outcome, Writes},
};
use crate::store::{Space, Store, Ticket};

pub use commits::{CommitResult, Committer};
pub use machine::GroupType;
pub use table::{Groups, Settings};

/// A group's name in its vhost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    pub vhost: VhostName,
    pub id: Arc<str>,
}

/// An answer that comes later. `lost` is what it becomes if the broker goes down first.
#[derive(Debug)]
pub struct Answer<T> {
    receiver: oneshot::Receiver<T>,
    lost: Option<T>,
}

impl<T: Unpin> Future for Answer<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.receiver).poll(cx) {
            Poll::Ready(Ok(answer)) => Poll::Ready(answer),
            Poll::Ready(Err(_)) => self.lost.take().map_or(Poll::Pending, Poll::Ready),
            Poll::Pending => Poll::Pending,
        }
    }
}

pub(super) fn answer<T>(lost: T) -> (oneshot::Sender<T>, Answer<T>) {
    let (sender, receiver) = oneshot::channel();
    (sender, Answer { receiver, lost: Some(lost) })
}

/// A group's state by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    /// A consumer group without a target assignment for its group epoch.
    Assigning,
    /// A consumer group with members on their way to their targets.
    Reconciling,
    Stable,
    Dead,
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// DescribeGroups, ListGroups and the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub id: Arc<str>,
    pub group_type: GroupType,
    pub state: GroupState,
    pub generation_id: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<MemberDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    pub member_id: MemberId,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// One group: the machine, whom it owes answers, and its offsets, under one lock.
pub struct Group {
    key: GroupKey,
    inner: Mutex<Inner>,
}

struct Inner {
    machine: Machine,
    waiting: HashMap<Token, Waiter>,
    /// Answers to heartbeats of the step under way.
    beats: Vec<Ready>,
    offsets: Offsets,
    /// When an expiry run first saw it empty (domain time).
    empty_since_ms: Option<i64>,
    /// Its record is in the store, or on its way there.
    persisted: bool,
    /// Of its last change: what is answered rests on it.
    changed: Ticket,
    next_token: u64,
}

enum Waiter {
    Join(oneshot::Sender<JoinResult>),
    Sync(oneshot::Sender<SyncResult>),
}

type BeatResult = Result<Beat, Refused>;

enum Ready {
    Join(oneshot::Sender<JoinResult>, JoinResult),
    Sync(oneshot::Sender<SyncResult>, SyncResult),
    Beat(oneshot::Sender<BeatResult>, BeatResult),
}

impl Ready {
    /// A receiver that is gone belongs to a connection that is gone.
    fn send(self) {
        match self {
            Self::Join(to, result) => drop(to.send(result)),
            Self::Sync(to, result) => drop(to.send(result)),
            Self::Beat(to, result) => drop(to.send(result)),
        }
    }

    fn send_refused(self) {
        let error = GroupError::CoordinatorNotAvailable;
        match self {
            Self::Join(to, _) => drop(to.send(Err(JoinRefused { error, member_id: MemberId::from("") }))),
            Self::Sync(to, _) => drop(to.send(Err(error))),
            Self::Beat(to, _) => drop(to.send(Err(error.into()))),
        }
    }
}

impl Inner {
    fn wait(&mut self, waiter: Waiter) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.waiting.insert(token, waiter);
        token
    }

    /// Sent with the step's other answers.
    fn answer_beat(&mut self, to: oneshot::Sender<BeatResult>, result: BeatResult) {
        self.beats.push(Ready::Beat(to, result));
    }

    fn ready(&mut self, reply: Reply) -> Option<Ready> {
        match reply {
            Reply::Join(token, result) => match self.waiting.remove(&token)? {
                Waiter::Join(to) => Some(Ready::Join(to, result)),
                Waiter::Sync(_) => None,
            },
            Reply::Sync(token, result) => match self.waiting.remove(&token)? {
                Waiter::Sync(to) => Some(Ready::Sync(to, result)),
                Waiter::Join(_) => None,
            },
        }
    }
}

impl Group {
    fn new(key: GroupKey, machine: Machine, persisted: bool) -> Self {
        let inner = Inner {
            machine,
            waiting: HashMap::new(),
            beats: Vec::new(),
            offsets: Offsets::default(),
            empty_since_ms: None,
            persisted,
            changed: Ticket::default(),
            next_token: 0,
        };
        Self { key, inner: Mutex::new(inner) }
    }

    /// Runs the machine under the lock, persists what it asks for, and answers.
    fn step<R>(&self, store: &Store, act: impl FnOnce(&mut Inner, &mut Effects) -> R) -> R {
        let mut inner = self.inner.lock();
        let mut effects = Effects::default();
        let result = act(&mut inner, &mut effects);
        let mut ready: Vec<Ready> = effects.replies.into_iter().filter_map(|r| inner.ready(r)).collect();
        ready.append(&mut inner.beats);
        let mut writes = Writes::default();
        let changes = effects.persist || !effects.members.is_empty();
        if changes {
            inner.persisted = true;
            writes.put(Space::State, keys::group(&self.key), inner.machine.encode());
            for id in &effects.members {
                let key = keys::group_member(&self.key, id);
                match inner.machine.encode_member(id) {
                    Some(value) => writes.put(Space::State, key, value),
                    None => writes.delete(Space::State, key),
                }
            }
        }
        // An answer that changes nothing may still tell what an earlier step changed, and that may not be durable yet.
        let rests = !ready.is_empty() && inner.changed > store.durable_to();
        if changes || rests {
            let answer_all = |outcome: Outcome| match outcome {
                Ok(()) => ready.into_iter().for_each(Ready::send),
                Err(_) => ready.into_iter().for_each(Ready::send_refused),
            };
            inner.changed = writes.submit(store, answer_all);
        } else {
            drop(inner);
            ready.into_iter().for_each(Ready::send);
        }
        result
    }

    fn deadline(&self) -> Option<Instant> {
        self.inner.lock().machine.deadline()
    }

    fn describe(&self) -> Description {
        let inner = self.inner.lock();
        let state = inner.machine.state();
        let described = match &inner.machine {
            Machine::Classic(classic) => classic.describe(state),
            Machine::Consumer(consumer) => consumer.describe().in_brief(),
            Machine::Share(share) => in_brief(share.describe()),
        };
        let (generation_id, protocol_type, protocol, members) = described;
        let (id, group_type) = (self.key.id.clone(), inner.machine.group_type());
        Description { id, group_type, state, generation_id, protocol_type, protocol, members }
    }

    fn describe_consumer(&self) -> Option<ConsumerDescription> {
        match &self.inner.lock().machine {
            Machine::Consumer(consumer) => Some(consumer.describe()),
            Machine::Classic(_) | Machine::Share(_) => None,
        }
    }

    fn describe_share(&self) -> Option<ShareDescription> {
        match &self.inner.lock().machine {
            Machine::Share(share) => Some(share.describe()),
            Machine::Classic(_) | Machine::Consumer(_) => None,
        }
    }

    /// The keys of everything this group has in the store.
    fn delete_all(&self, inner: &mut Inner) -> Writes {
        let mut writes = Writes::default();
        if inner.persisted {
            writes.delete(Space::State, keys::group(&self.key));
        }
        for at in inner.offsets.keys() {
            writes.delete(Space::State, keys::committed_offset(&self.key, at));
        }
        inner.offsets = Offsets::default();
        writes
    }

    fn committed(&self, at: TopicPartition) -> Option<Committed> {
        self.inner.lock().offsets.committed(at).cloned()
    }
}

/// Generation, protocol type, protocol and members.
type InBrief = (i32, String, String, Vec<MemberDescription>);

fn in_brief(described: ShareDescription) -> InBrief {
    let member = |m: share::ShareMemberDescription| MemberDescription {
        member_id: m.member_id,
        group_instance_id: None,
        client_id: m.client_id,
        client_host: m.client_host,
        metadata: Bytes::new(),
        assignment: Bytes::new(),
    };
    let members = described.members.into_iter().map(member).collect();
    (described.group_epoch, "share".to_owned(), share::ASSIGNOR.to_owned(), members)
}

impl ConsumerDescription {
    fn in_brief(self) -> InBrief {
        let member = |m: consumer::ConsumerMemberDescription| MemberDescription {
            member_id: m.member_id,
            group_instance_id: m.instance,
            client_id: m.client_id,
            client_host: m.client_host,
            metadata: Bytes::new(),
            assignment: Bytes::new(),
        };
        let members = self.members.into_iter().map(member).collect();
        (self.group_epoch, embedded::PROTOCOL_TYPE.to_owned(), self.assignor.to_owned(), members)
    }
}

impl Classic {
    fn describe(&self, state: GroupState) -> InBrief {
        // Between generations there is no protocol, and what members hold is of the last one.
        let protocol = self.protocol_name.clone().filter(|_| state == GroupState::Stable);
        let members = self.members.iter().map(|(id, m)| MemberDescription {
            member_id: id.clone(),
            group_instance_id: m.instance.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            metadata: m.metadata(protocol.as_deref()),
            assignment: if state == GroupState::Stable { m.assignment.clone() } else { Bytes::new() },
        });
        let protocol_type = self.protocol_type.clone().unwrap_or_default();
        (self.generation_id, protocol_type, protocol.clone().unwrap_or_default(), members.collect())
    }

    #[must_use]
    pub fn group_state(&self) -> GroupState {
        match self.state {
            State::Empty => GroupState::Empty,
            State::PreparingRebalance { .. } => GroupState::PreparingRebalance,
            State::CompletingRebalance { .. } => GroupState::CompletingRebalance,
            State::Stable { .. } => GroupState::Stable,
            State::Dead => GroupState::Dead,
        }
    }
}
