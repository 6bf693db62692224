//! The consumer group (KIP-848) as a pure state machine: the broker assigns, and each member is brought to its target
//! by its own heartbeats.
//!
//! Time and topics come in with each call ([`Moment`]), [`Effects`] go out. Three epochs: the *group epoch* rises when
//! members, subscriptions or topics change; the *assignment epoch* is the group epoch of the newest target assignment;
//! the *member epoch* is the assignment epoch that a member has reached. How a member gets there is in `reconcile.rs`,
//! how it gets out of the group in `leave.rs`; members that still use the classic protocol are in
//! `classic_members.rs`; what is persisted in `record.rs`.
//!
//! ```text
//!                      nothing to give back                      everything free
//!             ┌────────────────────────────────────┐   ┌───────────────────────────────┐
//!  heartbeat  │                                    ▼   ▼                               │
//!  ────────► target ───► UNREVOKED_PARTITIONS ───► STABLE       UNRELEASED_PARTITIONS ─┘
//!             │ has to    (in its old epoch)  │ no longer    ▲  (in its new epoch; others
//!             │ give back                     │ owns them    │   still have some of it)
//!             └───────────────────────────────┴──────────────┘
//! ```

mod classic_members;
mod describe;
#[cfg(test)]
mod history;
mod leave;
mod patterns;
mod reconcile;
mod record;
mod refusals;
#[cfg(test)]
pub(super) mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{
    assignor::{Assignor, Partitions, Subject},
    classic::Effects,
    epochs::Epochs,
    error::{GroupError, Refused},
    member::{MemberId, Protocol},
    offsets::TopicPartition,
    topics::TopicView,
};

use self::{
    patterns::Patterns,
    refusals::{fenced_instance, unknown_member, unreleased},
};

pub(super) use classic_members::{encode, ids};
pub use describe::{ConsumerDescription, ConsumerMemberDescription};
pub use leave::Leave;

/// A static member that left for a while has this epoch (and says so in its last heartbeat).
pub const LEFT_FOR_A_WHILE: i32 = -2;
/// A heartbeat with this epoch leaves the group.
pub const LEAVING: i32 = -1;

/// What a group is held to, as its configs say at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// How long a target assignment stands at least before the next is computed.
    pub assignment_interval: Duration,
    pub members_max: usize,
    pub migration: Migration,
    pub share: ShareMembership,
}

/// What a share group's members are held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareMembership {
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub members_max: usize,
}

/// `group.consumer.migration.policy`: which groups may change between the classic and the consumer protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    Disabled,
    Upgrade,
    Downgrade,
    Bidirectional,
}

impl Migration {
    #[must_use]
    pub fn may_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    #[must_use]
    pub fn may_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// When a call happens, and what is known then.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub now: Instant,
    /// The group's name, for texts.
    pub group: &'a str,
    pub topics: &'a dyn TopicView,
    pub terms: &'a Terms,
}

/// ConsumerGroupHeartbeat. What is `None` has not changed.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    pub member_id: String,
    /// The id to give if the member has none (version 0): ids come from outside.
    pub new_member_id: String,
    pub member_epoch: i32,
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub rebalance_timeout: Option<Duration>,
    pub topics: Option<BTreeSet<String>>,
    pub regex: Option<String>,
    pub assignor: Option<String>,
    pub owned: Option<Partitions>,
    pub client_id: String,
    pub client_host: String,
}

/// The answer to a heartbeat that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    pub member_id: MemberId,
    pub member_epoch: i32,
    /// Only if it has changed, or the client told everything and so wants to be told everything.
    pub assignment: Option<Partitions>,
}

/// Where a member is on its way to its target: the diagram above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    Stable,
    UnrevokedPartitions,
    UnreleasedPartitions,
}

/// Partitions that a member owns, each with the epoch in which it was assigned.
pub(super) type Owned = BTreeMap<TopicPartition, i32>;

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) instance: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout: Duration,
    pub(super) topics: BTreeSet<String>,
    /// Empty: none.
    pub(super) regex: String,
    pub(super) assignor: Option<String>,
    pub(super) epoch: i32,
    pub(super) previous_epoch: i32,
    pub(super) state: MemberState,
    pub(super) assigned: Owned,
    pub(super) revoking: Owned,
    pub(super) target: Partitions,
    /// It uses the classic protocol.
    pub(super) classic: Option<ClassicMember>,
    pub(super) timers: Timers,
}

/// What the classic protocol adds to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClassicMember {
    pub(super) session_timeout: Duration,
    pub(super) protocols: Vec<Protocol>,
}

/// When a member is fenced unless something happens first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timers {
    /// It heartbeats.
    pub(super) session: Instant,
    /// It gives back what it must.
    pub(super) revocation: Option<Instant>,
    /// Classic: it joins again, having been told to.
    pub(super) join: Option<Instant>,
    /// Classic: it asks for its assignment, having joined.
    pub(super) sync: Option<Instant>,
}

impl Timers {
    pub(super) fn first(&self) -> Instant {
        let others = [self.revocation, self.join, self.sync];
        others.into_iter().flatten().fold(self.session, Instant::min)
    }
}

/// A consumer group.
#[derive(Debug, Clone, Default)]
pub struct Consumer {
    pub(super) epochs: Epochs,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) static_members: HashMap<String, MemberId>,
    /// Who has each partition: it is in that member's `assigned` or `revoking`.
    owners: HashMap<TopicPartition, MemberId>,
    /// The names of everything subscribed to, whether it exists or not.
    subscribed: BTreeSet<String>,
    patterns: Patterns,
    assigned_at: Option<Instant>,
}

impl Consumer {
    /// A group that takes another's place, whose last generation is known.
    #[must_use]
    pub fn new(group_epoch: i32) -> Self {
        Self { epochs: Epochs::after(group_epoch), ..Self::default() }
    }

    /// ConsumerGroupHeartbeat, but for one that leaves.
    pub fn heartbeat(
        &mut self,
        at: Moment<'_>,
        request: Heartbeat,
        effects: &mut Effects,
    ) -> Result<Beat, Refused> {
        self.check_room(at, &request.member_id)?;
        let id = match request.member_id.as_str() {
            "" => MemberId::from(request.new_member_id.as_str()),
            id => MemberId::from(id),
        };
        let found = self.find_for_heartbeat(at, &id, &request)?;
        let regex = request.regex.clone().unwrap_or_else(|| found.member.regex.clone());
        self.patterns.compile(&regex)?;
        let (is_full, owned) = (is_full(&request), request.owned.clone());
        let mut member = found.member.clone();
        member.update(request, regex);
        let session = at.now + at.terms.session_timeout;
        let before = member.assigned.keys().copied().collect::<Partitions>();
        self.settle(at, &id, found, member, owned.as_ref(), effects);
        let member = self.members.get_mut(&id).ok_or_else(|| unknown_member(at, &id))?;
        member.timers.session = session;
        let after: Partitions = member.assigned.keys().copied().collect();
        let assignment = (is_full || before != after).then_some(after);
        Ok(Beat { member_epoch: member.epoch, assignment, member_id: id })
    }

    /// Whether the member may be in the group, and as whom: nothing has changed yet.
    fn find_for_heartbeat(&self, at: Moment<'_>, id: &MemberId, asked: &Heartbeat) -> Result<Found, Refused> {
        let joins = asked.member_epoch == 0;
        match &asked.instance {
            None => match self.members.get(id) {
                Some(member) => {
                    check_epoch(member, asked.member_epoch, asked.owned.as_ref())?;
                    Ok(Found::known(member.clone()))
                }
                None if joins => Ok(Found::new(at)),
                None => Err(unknown_member(at, id)),
            },
            Some(instance) => {
                let holder =
                    self.static_members.get(instance).and_then(|id| Some((id, self.members.get(id)?)));
                match (holder, joins) {
                    (None, true) => Ok(Found::new(at)),
                    (Some((old, member)), true) => {
                        if member.classic.is_none() && member.epoch != LEFT_FOR_A_WHILE {
                            return Err(unreleased(id, instance, old));
                        }
                        Ok(Found::replacing(old, member))
                    }
                    (None, false) => Err(Refused::new(
                        GroupError::UnknownMemberId,
                        format!("Instance id {instance} is unknown."),
                    )),
                    (Some((holder, _)), false) if holder != id => Err(fenced_instance(id, instance, holder)),
                    (Some((_, member)), false) => {
                        check_epoch(member, asked.member_epoch, asked.owned.as_ref())?;
                        Ok(Found::known(member.clone()))
                    }
                }
            }
        }
    }

    /// Puts a member's new words into the group, and brings it as far as it can get.
    fn settle(
        &mut self,
        at: Moment<'_>,
        id: &MemberId,
        found: Found,
        member: Member,
        owned: Option<&Partitions>,
        effects: &mut Effects,
    ) {
        let subscription_changed =
            found.is_new || member.topics != found.member.topics || member.regex != found.member.regex;
        let mut changed = subscription_changed || member != found.member;
        if let Some(old) = &found.replaces
            && old != id
        {
            self.forget(old);
            effects.members.insert(old.clone());
            changed = true;
        }
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.put(id, member);
        self.refresh(at, subscription_changed, effects);
        self.maybe_assign(at, effects);
        if let Some(member) = self.reconcile(at, id, subscription_changed, owned) {
            self.put(id, member);
            changed = true;
        }
        if changed {
            effects.members.insert(id.clone());
        }
    }

    /// The group epoch rises if members or subscriptions have changed, or the topics they subscribe to have.
    fn refresh(&mut self, at: Moment<'_>, changed: bool, effects: &mut Effects) {
        if changed {
            self.patterns.forget_unused(&self.members);
        }
        if self.patterns.refresh(at.topics) || changed {
            let names = self.members.values().flat_map(|m| self.topics_of(m)).map(str::to_owned);
            self.subscribed = names.collect();
        }
        let infos = self.subscribed.iter().filter_map(|name| at.topics.by_name(name));
        self.epochs.see(infos, changed, effects);
    }

    /// Computes the next target assignment, if the group has changed since the last.
    fn maybe_assign(&mut self, at: Moment<'_>, effects: &mut Effects) {
        let interval = at.terms.assignment_interval;
        if self.epochs.is_assigned() || self.assigned_at.is_some_and(|last| at.now < last + interval) {
            return;
        }
        let subject = |(id, member): (&MemberId, &Member)| Subject {
            id: id.clone(),
            instance: member.instance.clone(),
            topics: self
                .ids_of(at.topics, member)
                .into_iter()
                .filter(|t| self.epochs.seen.contains_key(t))
                .collect(),
            had: member.target.clone(),
        };
        let subjects: Vec<Subject> = self.members.iter().map(subject).collect();
        let targets = self.assignor().assign(&subjects, &self.epochs.seen);
        for ((id, member), target) in self.members.iter_mut().zip(targets) {
            if member.target != target {
                member.target = target;
                effects.members.insert(id.clone());
            }
        }
        self.assigned_at = Some(at.now);
        self.epochs.assigned(effects);
    }

    /// The assignor that most members ask for.
    pub(super) fn assignor(&self) -> Assignor {
        let mut votes = Assignor::ALL.map(|assignor| (0, assignor));
        for member in self.members.values() {
            let asked = member.assignor.as_deref().and_then(Assignor::named);
            votes.iter_mut().filter(|(_, a)| Some(*a) == asked).for_each(|(count, _)| *count += 1);
        }
        let most = votes.iter().map(|(count, _)| *count).max().filter(|most| *most > 0);
        let chosen = votes.into_iter().find(|(count, _)| Some(*count) == most);
        chosen.map_or(Assignor::DEFAULT, |(_, assignor)| assignor)
    }

    /// The names of what a member subscribes to, by name and by pattern.
    fn topics_of<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a str> {
        member.topics.iter().chain(self.patterns.matched_by(&member.regex)).map(String::as_str)
    }

    /// The ids of those of them that exist.
    fn ids_of(&self, topics: &dyn TopicView, member: &Member) -> BTreeSet<Uuid> {
        self.topics_of(member).filter_map(|name| topics.by_name(name)).map(|info| info.id).collect()
    }

    /// Puts a member in, and who owns what with it.
    pub(super) fn put(&mut self, id: &MemberId, member: Member) {
        let partitions =
            |m: &Member| m.assigned.keys().chain(m.revoking.keys()).copied().collect::<Partitions>();
        let new = partitions(&member);
        let old = self.members.insert(id.clone(), member).map(|old| partitions(&old)).unwrap_or_default();
        for gone in old.difference(&new) {
            self.owners.remove(gone);
        }
        for come in new.difference(&old) {
            self.owners.insert(*come, id.clone());
        }
    }

    /// Takes a member out, whatever it owns.
    pub(super) fn forget(&mut self, id: &MemberId) -> Option<Member> {
        let member = self.members.remove(id)?;
        for owned in member.assigned.keys().chain(member.revoking.keys()) {
            if self.owners.get(owned) == Some(id) {
                self.owners.remove(owned);
            }
        }
        if let Some(instance) = &member.instance
            && self.static_members.get(instance) == Some(id)
        {
            self.static_members.remove(instance);
        }
        Some(member)
    }

    pub(super) fn is_owned(&self, at: &TopicPartition) -> bool {
        self.owners.contains_key(at)
    }

    fn check_room(&self, at: Moment<'_>, member_id: &str) -> Result<(), Refused> {
        if self.members.len() >= at.terms.members_max && !self.members.contains_key(member_id) {
            return Err(Refused::new(
                GroupError::GroupMaxSizeReached,
                format!(
                    "The consumer group has reached its maximum capacity of {} members.",
                    at.terms.members_max
                ),
            ));
        }
        Ok(())
    }

    /// Whether a commit may go in: by a member in its current epoch, or in an older one if it has had all these
    /// partitions since (KIP-1251), or by somebody outside while there are no members.
    pub(super) fn validate_commit(
        &self,
        member_id: &str,
        epoch: i32,
        knows_epochs: bool,
        mut partitions: &mut dyn Iterator<Item = TopicPartition>,
    ) -> Result<(), GroupError> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(GroupError::UnknownMemberId)?;
        if member.classic.is_none() && !knows_epochs {
            return Err(GroupError::UnsupportedVersion);
        }
        let stale = if member.classic.is_some() {
            GroupError::IllegalGeneration
        } else {
            GroupError::StaleMemberEpoch
        };
        if epoch == member.epoch {
            return Ok(());
        }
        let had_since = |at: TopicPartition| {
            let since = member.assigned.get(&at).or_else(|| member.revoking.get(&at));
            since.is_some_and(|since| epoch >= *since)
        };
        if epoch < member.epoch && Iterator::all(&mut partitions, had_since) { Ok(()) } else { Err(stale) }
    }

    /// OffsetFetch from version 9 on may say who asks.
    pub(super) fn validate_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), GroupError> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id.and_then(|id| self.members.get(id)).ok_or(GroupError::UnknownMemberId)?;
        match member.classic {
            _ if epoch == member.epoch => Ok(()),
            Some(_) => Err(GroupError::IllegalGeneration),
            None => Err(GroupError::StaleMemberEpoch),
        }
    }

    /// OffsetDelete: whether some member subscribes to that topic.
    pub(super) fn subscribes(&self, topic: &str) -> bool {
        self.members.values().any(|m| self.topics_of(m).any(|name| name == topic))
    }
}

/// A member as it is in the group, or as a new one begins.
struct Found {
    member: Member,
    is_new: bool,
    /// Whose place it takes.
    replaces: Option<MemberId>,
}

impl Found {
    fn known(member: Member) -> Self {
        Self { member, is_new: false, replaces: None }
    }

    fn new(at: Moment<'_>) -> Self {
        Self { member: Member::new(at.now), is_new: true, replaces: None }
    }

    fn replacing(old: &MemberId, member: &Member) -> Self {
        let member = Member { epoch: 0, previous_epoch: 0, ..member.clone() };
        Self { member, is_new: false, replaces: Some(old.clone()) }
    }
}

impl Member {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout: Duration::ZERO,
            topics: BTreeSet::new(),
            regex: String::new(),
            assignor: None,
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            assigned: Owned::new(),
            revoking: Owned::new(),
            target: Partitions::new(),
            classic: None,
            timers: Timers { session: now, revocation: None, join: None, sync: None },
        }
    }

    fn update(&mut self, request: Heartbeat, regex: String) {
        self.instance = request.instance.or(self.instance.take());
        self.rack = request.rack.or(self.rack.take());
        self.rebalance_timeout = request.rebalance_timeout.unwrap_or(self.rebalance_timeout);
        self.assignor = request.assignor.or(self.assignor.take());
        self.topics = request.topics.unwrap_or_else(|| std::mem::take(&mut self.topics));
        self.regex = regex;
        (self.client_id, self.client_host) = (request.client_id, request.client_host);
        self.classic = None;
        (self.timers.join, self.timers.sync) = (None, None);
    }

    fn is_reconciled_to(&self, assignment_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == assignment_epoch
    }
}

/// The client has told all that it may leave out.
fn is_full(request: &Heartbeat) -> bool {
    let subscribes = request.topics.is_some() || request.regex.is_some();
    request.member_epoch == 0
        || (request.rebalance_timeout.is_some() && subscribes && request.owned.is_some())
}

/// A member is in its own epoch; or in the one before, if the answer that told it of the new one may have been lost.
fn check_epoch(member: &Member, received: i32, owned: Option<&Partitions>) -> Result<(), Refused> {
    let fenced = |is: &str| {
        Refused::new(
            GroupError::FencedMemberEpoch,
            format!(
                "The consumer group member has a {is} member epoch ({received}) than the one known by the group \
                 coordinator ({}). The member must abandon all its partitions and rejoin.",
                member.epoch
            ),
        )
    };
    let lost = || {
        let is_subset = owned.is_some_and(|owned| owned.iter().all(|at| member.assigned.contains_key(at)));
        received == member.previous_epoch && is_subset
    };
    match received {
        0 => Ok(()),
        _ if received > member.epoch => Err(fenced("greater")),
        _ if received < member.epoch && !lost() => Err(fenced("smaller")),
        _ => Ok(()),
    }
}
