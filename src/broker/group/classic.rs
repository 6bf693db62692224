//! The classic consumer group (JoinGroup, SyncGroup, Heartbeat, LeaveGroup) as a pure state machine.
//!
//! Time comes in, [`Effects`] go out: answers to requests that waited, and whether the group must be persisted before
//! they leave. Rebalances are in `rebalance.rs`; committed offsets in `offsets.rs`; the locks and tasks in `mod.rs`.
//! (Kafka protocol guide; KIP-62 rebalance timeout, KIP-134 initial delay, KIP-345 static members, KIP-394 required
//! member id, KIP-814 skipped assignment.)
//!
//! ```text
//!              first join                    all joined, or the rebalance timeout
//!   ┌───────┐ ───────────► ┌────────────────────┐ ───────────► ┌─────────────────────┐
//!   │ Empty │              │ PreparingRebalance │              │ CompletingRebalance │
//!   └───────┘ ◄─────────── └────────────────────┘ ◄─────────── └─────────────────────┘
//!     │         nobody came     ▲   a join, a leave, a lost session,      │ the leader's
//!     │ delete, or nothing      │   a SyncGroup that never came           │ SyncGroup
//!     ▼ left to keep            │                                         ▼
//!   ┌──────┐                    │                                    ┌────────┐
//!   │ Dead │                    └─────────────────────────────────── │ Stable │
//!   └──────┘                                                         └────────┘
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    error::GroupError,
    member::{
        JoinRefused, JoinRequest, JoinResult, Joined, JoinedMember, Member, MemberId, SyncRequest,
        SyncResult, Synced, Token, Waiting,
    },
};

/// What a group does not let anybody exceed, and how long it waits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `group.initial.rebalance.delay.ms`; Kafka's default is 3 s, ours 0 because tests pay for it at every start.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `group.max.size`.
    pub members_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::ZERO,
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1_800),
            members_max: 10_000,
        }
    }
}

/// A new member cannot heartbeat before its first join is answered; this ends its wait instead. (Kafka's constant.)
pub(super) const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);

/// The diagram above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    /// `initial`: the group was empty; how long it may still be put off while new members keep coming.
    PreparingRebalance {
        until: Instant,
        initial: Option<Initial>,
    },
    CompletingRebalance {
        sync_until: Instant,
    },
    /// `sync_until`: some follower has not fetched its assignment yet.
    Stable {
        sync_until: Option<Instant>,
    },
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Initial {
    pub(super) left: Duration,
    pub(super) member_added: bool,
}

/// A waiting request's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Join(Token, JoinResult),
    Sync(Token, SyncResult),
}

/// What a call asks of the shell: persist the group first, if `persist`; then send the replies.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    pub persist: bool,
    /// Members of a consumer group whose own records must be written, or deleted if they are gone.
    pub members: BTreeSet<MemberId>,
    pub replies: Vec<Reply>,
}

/// A classic group.
#[derive(Debug, Clone)]
pub struct Classic {
    pub(super) limits: Limits,
    pub(super) state: State,
    pub(super) generation_id: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol_name: Option<String>,
    pub(super) leader: Option<MemberId>,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) static_members: HashMap<String, MemberId>,
    /// Ids given with MEMBER_ID_REQUIRED, and when they lapse.
    pub(super) pending: BTreeMap<MemberId, Instant>,
}

impl Classic {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Empty,
            generation_id: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending: BTreeMap::new(),
        }
    }

    /// JoinGroup. Answered through `effects`, now or when the rebalance completes.
    pub fn join(&mut self, now: Instant, request: JoinRequest, token: Token, effects: &mut Effects) {
        let asked = MemberId::from(request.member_id.as_str());
        let refuse = |error| JoinRefused { error, member_id: asked.clone() };
        let outcome = if self.state == State::Dead {
            Err(refuse(GroupError::CoordinatorNotAvailable))
        } else if request.session_timeout < self.limits.session_timeout_min
            || request.session_timeout > self.limits.session_timeout_max
        {
            Err(refuse(GroupError::InvalidSessionTimeout))
        } else if !self.has_room_for(&asked) {
            Err(refuse(GroupError::GroupMaxSizeReached))
        } else if !self.supports(&request) {
            Err(refuse(GroupError::InconsistentGroupProtocol))
        } else if request.member_id.is_empty() {
            self.join_new(now, request, token, effects)
        } else {
            self.join_known(now, asked.clone(), request, token, effects).map_err(refuse)
        };
        if let Err(refused) = outcome {
            effects.replies.push(Reply::Join(token, Err(refused)));
        }
    }

    fn join_new(
        &mut self,
        now: Instant,
        request: JoinRequest,
        token: Token,
        effects: &mut Effects,
    ) -> Result<(), JoinRefused> {
        let id = request.new_member_id.clone();
        let replaced = request.group_instance_id.as_ref().and_then(|i| self.static_members.get(i)).cloned();
        if let Some(old) = replaced {
            self.replace_static(now, &old, id, request, token, effects);
        } else if request.group_instance_id.is_none() && request.require_known_member_id {
            self.pending.insert(id.clone(), now + request.session_timeout);
            return Err(JoinRefused { error: GroupError::MemberIdRequired, member_id: id });
        } else {
            self.add_member(now, id, request, token, effects);
        }
        Ok(())
    }

    fn join_known(
        &mut self,
        now: Instant,
        id: MemberId,
        request: JoinRequest,
        token: Token,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        if request.group_instance_id.is_none() && self.pending.remove(&id).is_some() {
            self.add_member(now, id, request, token, effects);
            return Ok(());
        }
        self.validate_member(&id.0, request.group_instance_id.as_deref())?;
        let unchanged = self.members.get(&id).is_some_and(|m| m.protocols == request.protocols);
        match self.state {
            State::PreparingRebalance { .. } => {
                self.update_member(now, &id, request, token, effects);
                self.maybe_complete_join(now, effects);
            }
            // The answer to its join was lost: give it again.
            State::CompletingRebalance { .. } if unchanged => {
                effects.replies.push(Reply::Join(token, Ok(self.joined(&id))));
            }
            // A follower that rejoins with nothing new keeps the generation; the leader does so to force a rebalance.
            State::Stable { .. } if unchanged && self.leader.as_ref() != Some(&id) => {
                effects.replies.push(Reply::Join(token, Ok(self.joined(&id))));
            }
            State::CompletingRebalance { .. } | State::Stable { .. } => {
                self.update_member(now, &id, request, token, effects);
                self.prepare_rebalance(now, effects);
            }
            State::Empty | State::Dead => return Err(GroupError::UnknownMemberId),
        }
        Ok(())
    }

    fn add_member(
        &mut self,
        now: Instant,
        id: MemberId,
        request: JoinRequest,
        token: Token,
        effects: &mut Effects,
    ) {
        if let State::PreparingRebalance { initial: Some(initial), .. } = &mut self.state {
            initial.member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        if let Some(instance) = &request.group_instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(
            id,
            Member {
                instance: request.group_instance_id,
                client_id: request.client_id,
                client_host: request.client_host,
                rebalance_timeout: request.rebalance_timeout,
                session_timeout: request.session_timeout,
                protocols: request.protocols,
                assignment: Bytes::new(),
                waiting: Waiting::Join(token),
                is_new: true,
                owes_sync: false,
                session_ends: now + NEW_MEMBER_JOIN_TIMEOUT,
            },
        );
        self.rebalance_or_complete(now, effects);
    }

    fn update_member(
        &mut self,
        now: Instant,
        id: &MemberId,
        request: JoinRequest,
        token: Token,
        effects: &mut Effects,
    ) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols = request.protocols;
        member.rebalance_timeout = request.rebalance_timeout;
        member.session_timeout = request.session_timeout;
        if !member.is_new {
            member.heard(now);
        }
        // The client gave the earlier request up and asked again: nobody waits for that answer, but its slot in the
        // connection's order must be filled.
        let earlier = std::mem::replace(&mut member.waiting, Waiting::Join(token));
        earlier.refuse(id, GroupError::RebalanceInProgress, effects);
    }

    /// A static member came back without its id: it gets a new one, and its old one is fenced (KIP-345).
    fn replace_static(
        &mut self,
        now: Instant,
        old: &MemberId,
        id: MemberId,
        request: JoinRequest,
        token: Token,
        effects: &mut Effects,
    ) {
        let Some(mut member) = self.members.remove(old) else { return };
        let skips = request.supports_skipping_assignment;
        let earlier = std::mem::replace(&mut member.waiting, Waiting::Nothing);
        earlier.refuse(old, GroupError::FencedInstanceId, effects);
        let was_leader = self.leader.as_ref() == Some(old);
        if was_leader {
            self.leader = Some(id.clone());
        }
        if let Some(instance) = &request.group_instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        (member.client_id, member.client_host) = (request.client_id.clone(), request.client_host.clone());
        self.members.insert(id.clone(), member);
        self.update_member(now, &id, request, token, effects);
        match self.state {
            State::Stable { .. } if self.vote() == self.protocol_name => {
                self.answer_static_again(&id, old, was_leader && !skips, token, effects);
            }
            State::Stable { .. } | State::CompletingRebalance { .. } => self.prepare_rebalance(now, effects),
            State::PreparingRebalance { .. } => self.maybe_complete_join(now, effects),
            State::Empty | State::Dead => {}
        }
    }

    /// Nothing changes but the id, so nobody else is bothered. A leader of before v9 must not assign again, so it is
    /// told that its old self leads.
    fn answer_static_again(
        &mut self,
        id: &MemberId,
        old: &MemberId,
        hide_leadership: bool,
        token: Token,
        effects: &mut Effects,
    ) {
        if let Some(member) = self.members.get_mut(id) {
            member.waiting = Waiting::Nothing;
        }
        let mut joined = self.joined(id);
        if hide_leadership {
            joined.leader = old.clone();
            joined.members.clear();
        } else {
            joined.skip_assignment = self.leader.as_ref() == Some(id);
        }
        effects.persist = true;
        effects.replies.push(Reply::Join(token, Ok(joined)));
    }

    /// SyncGroup. The leader's makes the group stable; the others wait for it.
    pub fn sync(&mut self, now: Instant, request: SyncRequest, token: Token, effects: &mut Effects) {
        if let Err(error) = self.try_sync(now, request, token, effects) {
            effects.replies.push(Reply::Sync(token, Err(error)));
        }
    }

    fn try_sync(
        &mut self,
        now: Instant,
        request: SyncRequest,
        token: Token,
        effects: &mut Effects,
    ) -> Result<(), GroupError> {
        self.validate(&request.member_id, request.group_instance_id.as_deref(), request.generation_id)?;
        let differs = |asked: &Option<String>, ours: &Option<String>| asked.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        let completing = match self.state {
            State::Empty => return Err(GroupError::UnknownMemberId),
            State::Dead => return Err(GroupError::CoordinatorNotAvailable),
            State::PreparingRebalance { .. } => return Err(GroupError::RebalanceInProgress),
            State::CompletingRebalance { .. } => true,
            State::Stable { .. } => false,
        };
        let id = MemberId::from(request.member_id.as_str());
        if let Some(member) = self.members.get_mut(&id) {
            member.owes_sync = false;
            member.heard(now);
            if let Waiting::Sync(old) = std::mem::replace(&mut member.waiting, Waiting::Sync(token)) {
                effects.replies.push(Reply::Sync(old, Err(GroupError::RebalanceInProgress)));
            }
        }
        if completing && self.leader.as_ref() == Some(&id) {
            self.assign(now, request.assignments, effects);
        } else if !completing {
            self.answer_sync(&id, effects);
            self.forget_sync_deadline();
        }
        Ok(())
    }

    fn assign(&mut self, now: Instant, assignments: Vec<(String, Bytes)>, effects: &mut Effects) {
        let mut assignments: HashMap<String, Bytes> = assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(&*id.0).unwrap_or_default();
        }
        let until = match self.state {
            State::CompletingRebalance { sync_until } => Some(sync_until),
            State::Empty | State::PreparingRebalance { .. } | State::Stable { .. } | State::Dead => None,
        };
        self.state = State::Stable { sync_until: until };
        effects.persist = true;
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            if let Some(member) = self.members.get_mut(id)
                && matches!(member.waiting, Waiting::Sync(_))
            {
                member.heard(now);
            }
            self.answer_sync(id, effects);
        }
        self.forget_sync_deadline();
    }

    fn answer_sync(&mut self, id: &MemberId, effects: &mut Effects) {
        let Some(member) = self.members.get_mut(id) else { return };
        if let Waiting::Sync(token) = member.waiting {
            member.waiting = Waiting::Nothing;
            let synced = Synced {
                protocol_type: self.protocol_type.clone().unwrap_or_default(),
                protocol_name: self.protocol_name.clone().unwrap_or_default(),
                assignment: member.assignment.clone(),
            };
            effects.replies.push(Reply::Sync(token, Ok(synced)));
        }
    }

    fn forget_sync_deadline(&mut self) {
        if let State::Stable { sync_until } = &mut self.state
            && !self.members.values().any(|m| m.owes_sync)
        {
            *sync_until = None;
        }
    }

    /// Heartbeat.
    pub fn heartbeat(
        &mut self,
        now: Instant,
        member_id: &str,
        group_instance_id: Option<&str>,
        generation_id: i32,
    ) -> Result<(), GroupError> {
        self.validate(member_id, group_instance_id, generation_id)?;
        if let Some(member) = self.members.get_mut(member_id) {
            member.heard(now);
        }
        match self.state {
            State::Empty => Err(GroupError::UnknownMemberId),
            State::PreparingRebalance { .. } => Err(GroupError::RebalanceInProgress),
            // Consumers heartbeat as soon as they have joined, before the leader has assigned.
            State::CompletingRebalance { .. } | State::Stable { .. } => Ok(()),
            State::Dead => Err(GroupError::CoordinatorNotAvailable),
        }
    }

    /// LeaveGroup: each (member id, group.instance.id) has its own outcome.
    pub fn leave(
        &mut self,
        now: Instant,
        leaving: &[(String, Option<String>)],
        effects: &mut Effects,
    ) -> Vec<Result<(), GroupError>> {
        let (mut removed, mut gave_up) = (false, false);
        let outcomes = leaving
            .iter()
            .map(|(member_id, instance)| {
                if self.state == State::Dead {
                    return Err(GroupError::CoordinatorNotAvailable);
                }
                if self.pending.remove(member_id.as_str()).is_some() {
                    gave_up = true;
                    return Ok(());
                }
                let id = self.leaver(member_id, instance.as_deref())?;
                self.remove_member(&id, effects);
                removed = true;
                Ok(())
            })
            .collect();
        if removed {
            self.after_removal(now, effects);
        } else if gave_up {
            self.maybe_complete_join(now, effects);
        }
        outcomes
    }

    /// Admin tools remove a static member by its instance id alone.
    fn leaver(&self, member_id: &str, instance: Option<&str>) -> Result<MemberId, GroupError> {
        match instance {
            Some(instance) if member_id.is_empty() => {
                self.static_members.get(instance).cloned().ok_or(GroupError::UnknownMemberId)
            }
            Some(_) | None => self.validate_member(member_id, instance).map(|()| MemberId::from(member_id)),
        }
    }

    /// Whether an OffsetCommit may go in (generation -1 and no member id: a consumer that does not use the group).
    pub fn validate_commit(
        &mut self,
        now: Instant,
        member_id: &str,
        group_instance_id: Option<&str>,
        generation_id: i32,
    ) -> Result<(), GroupError> {
        match self.state {
            State::Dead => return Err(GroupError::CoordinatorNotAvailable),
            State::Empty if generation_id < 0 => return Ok(()),
            State::Empty
            | State::PreparingRebalance { .. }
            | State::CompletingRebalance { .. }
            | State::Stable { .. } => {}
        }
        if generation_id < 0 && member_id.is_empty() && group_instance_id.is_none() {
            return Err(GroupError::UnknownMemberId);
        }
        self.validate(member_id, group_instance_id, generation_id)?;
        if let Some(member) = self.members.get_mut(member_id) {
            member.heard(now);
        }
        match self.state {
            // It has the new generation's id but not its assignment, so it must not commit for it yet.
            State::CompletingRebalance { .. } => Err(GroupError::RebalanceInProgress),
            State::Empty | State::PreparingRebalance { .. } | State::Stable { .. } | State::Dead => Ok(()),
        }
    }

    /// Ends the group if it has no members.
    pub fn delete(&mut self) -> Result<(), GroupError> {
        match self.state {
            State::Empty => {
                self.state = State::Dead;
                Ok(())
            }
            State::Dead => Err(GroupError::GroupIdNotFound),
            State::PreparingRebalance { .. } | State::CompletingRebalance { .. } | State::Stable { .. } => {
                Err(GroupError::NonEmptyGroup)
            }
        }
    }

    fn validate(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation_id: i32,
    ) -> Result<(), GroupError> {
        if self.state == State::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.validate_member(member_id, instance)?;
        if generation_id == self.generation_id { Ok(()) } else { Err(GroupError::IllegalGeneration) }
    }

    fn validate_member(&self, member_id: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            let holder = self.static_members.get(instance).ok_or(GroupError::UnknownMemberId)?;
            if &*holder.0 != member_id {
                return Err(GroupError::FencedInstanceId);
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(GroupError::UnknownMemberId) }
    }

    fn has_room_for(&self, id: &MemberId) -> bool {
        self.members.contains_key(id)
            || self.pending.contains_key(id)
            || self.members.len() + self.pending.len() < self.limits.members_max
    }

    /// Whether the protocol type is the group's, and one of the protocols is known to every member.
    fn supports(&self, request: &JoinRequest) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        self.members.is_empty()
            || (self.protocol_type.as_deref() == Some(request.protocol_type.as_str())
                && request.protocols.iter().any(|p| self.members.values().all(|m| m.supports(&p.name))))
    }

    pub(super) fn joined(&self, id: &MemberId) -> Joined {
        let leads = self.leader.as_ref() == Some(id);
        let members = self.members.iter().filter(|_| leads).map(|(id, m)| JoinedMember {
            member_id: id.clone(),
            group_instance_id: m.instance.clone(),
            metadata: m.metadata(self.protocol_name.as_deref()),
        });
        Joined {
            generation_id: self.generation_id,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_name: self.protocol_name.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_else(|| MemberId::from("")),
            skip_assignment: false,
            member_id: id.clone(),
            members: members.collect(),
        }
    }
}
