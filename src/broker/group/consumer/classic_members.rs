//! Members of a consumer group that still use the classic protocol: JoinGroup, SyncGroup, Heartbeat and LeaveGroup are
//! answered as a classic group would, each by itself.
//!
//! A JoinGroup is a heartbeat with everything in it, its generation the member epoch. When the group moves on, the
//! member's heartbeat says REBALANCE_IN_PROGRESS, and it comes again. (KIP-848, "Supporting online upgrades".)

use bytes::Bytes;

use super::{ClassicMember, Consumer, Found, MemberId, MemberState, Moment, Partitions};
use crate::broker::group::{
    classic::Effects,
    embedded::{self, Assignment, Subscription},
    error::GroupError,
    member::{JoinRefused, JoinRequest, JoinResult, Joined, SyncRequest, SyncResult, Synced},
    offsets::TopicPartition,
    topics::TopicView,
};

impl Consumer {
    /// JoinGroup, answered at once: nobody waits for anybody.
    pub(in crate::broker::group) fn classic_join(
        &mut self,
        at: Moment<'_>,
        request: JoinRequest,
        effects: &mut Effects,
    ) -> JoinResult {
        let asked = MemberId::from(request.member_id.as_str());
        let refuse = |error| JoinRefused { error, member_id: asked.clone() };
        if at.terms.migration == super::Migration::Disabled || !self.supports(&request) {
            return Err(refuse(GroupError::InconsistentGroupProtocol));
        }
        self.check_room(at, &request.member_id).map_err(|refused| refuse(refused.error))?;
        let is_unknown = request.member_id.is_empty();
        let id = if is_unknown { request.new_member_id.clone() } else { asked.clone() };
        if is_unknown && request.require_known_member_id && request.group_instance_id.is_none() {
            return Err(JoinRefused { error: GroupError::MemberIdRequired, member_id: id });
        }
        let found =
            self.find_for_join(at, &id, request.group_instance_id.as_deref(), is_unknown).map_err(refuse)?;
        let first = request.protocols.first().cloned();
        let (Some(protocol), Some(subscription)) =
            (first.clone(), first.and_then(|p| Subscription::decode(&p.metadata)))
        else {
            return Err(refuse(GroupError::InconsistentGroupProtocol));
        };
        let owned = ids(at.topics, &subscription.owned);
        let (now, session, rebalance) = (at.now, request.session_timeout, request.rebalance_timeout);
        let mut member = found.member.clone();
        member.instance = request.group_instance_id.or(member.instance);
        member.rack = subscription.rack.or(member.rack);
        member.rebalance_timeout = rebalance;
        (member.topics, member.regex) = (subscription.topics, String::new());
        (member.client_id, member.client_host) = (request.client_id, request.client_host);
        member.classic = Some(ClassicMember { session_timeout: session, protocols: request.protocols });
        self.settle(at, &id, found, member, Some(&owned), effects);
        let member = self
            .members
            .get_mut(&id)
            .ok_or(JoinRefused { error: GroupError::UnknownMemberId, member_id: asked })?;
        member.timers.session = now + session;
        (member.timers.join, member.timers.sync) = (None, Some(now + rebalance));
        Ok(Joined {
            generation_id: member.epoch,
            protocol_type: embedded::PROTOCOL_TYPE.to_owned(),
            protocol_name: protocol.name,
            leader: MemberId::from(""),
            skip_assignment: false,
            member_id: id,
            members: Vec::new(),
        })
    }

    fn find_for_join(
        &self,
        at: Moment<'_>,
        id: &MemberId,
        instance: Option<&str>,
        is_unknown: bool,
    ) -> Result<Found, GroupError> {
        let holder = instance.map(|instance| self.static_members.get(instance));
        let member = |id: &MemberId| self.members.get(id).cloned();
        match holder {
            None => Ok(member(id).map_or_else(|| Found::new(at), Found::known)),
            Some(None) if is_unknown => Ok(Found::new(at)),
            Some(None) => Err(GroupError::UnknownMemberId),
            Some(Some(old)) if is_unknown => {
                member(old).map(|member| Found::replacing(old, &member)).ok_or(GroupError::UnknownMemberId)
            }
            Some(Some(holder)) if holder == id => {
                member(id).map(Found::known).ok_or(GroupError::UnknownMemberId)
            }
            Some(Some(_)) => Err(GroupError::FencedInstanceId),
        }
    }

    /// SyncGroup: what the member has been assigned, as the classic protocol writes it.
    pub(in crate::broker::group) fn classic_sync(
        &mut self,
        at: Moment<'_>,
        request: SyncRequest,
    ) -> SyncResult {
        let id = self.classic_member(&request.member_id, request.group_instance_id.as_deref())?;
        let assignment_epoch = self.epochs.assignment;
        let member = self.members.get_mut(&id).ok_or(GroupError::UnknownMemberId)?;
        let Some(classic) = &member.classic else { return Err(GroupError::UnknownMemberId) };
        let protocol = classic.protocols.first().ok_or(GroupError::InconsistentGroupProtocol)?;
        if member.epoch != request.generation_id {
            return Err(GroupError::IllegalGeneration);
        }
        let differs =
            |asked: &Option<String>, ours: &str| asked.as_deref().is_some_and(|asked| asked != ours);
        if differs(&request.protocol_type, embedded::PROTOCOL_TYPE)
            || differs(&request.protocol_name, &protocol.name)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        // Unless it has yet to give something back: then it has joined already, and joins again by itself.
        if assignment_epoch > member.epoch && member.state != MemberState::UnrevokedPartitions {
            member.timers.join.get_or_insert(at.now + member.rebalance_timeout);
            return Err(GroupError::RebalanceInProgress);
        }
        let synced = Synced {
            protocol_type: embedded::PROTOCOL_TYPE.to_owned(),
            protocol_name: protocol.name.clone(),
            assignment: encode(at.topics, &protocol.metadata, member.assigned.keys()),
        };
        member.timers.session = at.now + classic.session_timeout;
        member.timers.sync = None;
        Ok(synced)
    }

    /// Heartbeat, by the classic protocol.
    pub(in crate::broker::group) fn classic_heartbeat(
        &mut self,
        at: Moment<'_>,
        member_id: &str,
        instance: Option<&str>,
        generation_id: i32,
    ) -> Result<(), GroupError> {
        let id = self.classic_member(member_id, instance)?;
        let waits = self.members.get(&id).is_some_and(|m| self.waits_for_others(m));
        let assignment_epoch = self.epochs.assignment;
        let member = self.members.get_mut(&id).ok_or(GroupError::UnknownMemberId)?;
        let Some(classic) = &member.classic else { return Err(GroupError::UnknownMemberId) };
        if member.epoch != generation_id {
            return Err(GroupError::IllegalGeneration);
        }
        member.timers.session = at.now + classic.session_timeout;
        let must_come_again = match member.state {
            MemberState::Stable => member.epoch < assignment_epoch,
            MemberState::UnrevokedPartitions => true,
            MemberState::UnreleasedPartitions => member.epoch < assignment_epoch || !waits,
        };
        if must_come_again {
            member.timers.join.get_or_insert(at.now + member.rebalance_timeout);
            return Err(GroupError::RebalanceInProgress);
        }
        Ok(())
    }

    /// LeaveGroup: who may leave. Tools name a static member by its instance id alone.
    pub(in crate::broker::group) fn classic_leaver(
        &self,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<MemberId, GroupError> {
        match instance {
            Some(instance) if member_id.is_empty() => {
                self.static_members.get(instance).cloned().ok_or(GroupError::UnknownMemberId)
            }
            Some(_) | None => self.classic_member(member_id, instance),
        }
    }

    fn classic_member(&self, member_id: &str, instance: Option<&str>) -> Result<MemberId, GroupError> {
        let id = MemberId::from(member_id);
        if let Some(instance) = instance {
            let holder = self.static_members.get(instance).ok_or(GroupError::UnknownMemberId)?;
            if *holder != id {
                return Err(GroupError::FencedInstanceId);
            }
        }
        if self.members.contains_key(&id) { Ok(id) } else { Err(GroupError::UnknownMemberId) }
    }

    /// Whether one of the protocols is known to every classic member.
    fn supports(&self, request: &JoinRequest) -> bool {
        let known = |name: &str| {
            let mut classic = self.members.values().filter_map(|m| m.classic.as_ref());
            classic.all(|c| c.protocols.iter().any(|p| p.name == name))
        };
        request.protocol_type == embedded::PROTOCOL_TYPE && request.protocols.iter().any(|p| known(&p.name))
    }

    /// Whether everybody but `except` uses the classic protocol, and there is somebody.
    pub(in crate::broker::group) fn is_classic_except(&self, except: &[MemberId]) -> bool {
        let mut others = self.members.iter().filter(|(id, _)| !except.contains(id)).peekable();
        others.peek().is_some() && others.all(|(_, m)| m.classic.is_some())
    }

    /// The consumer-protocol member whose place a classic one is about to take.
    pub(in crate::broker::group) fn replaced_by(&self, request: &JoinRequest) -> Option<MemberId> {
        let holder = self.static_members.get(request.group_instance_id.as_ref()?)?;
        self.members.get(holder).filter(|m| m.classic.is_none()).map(|_| holder.clone())
    }
}

/// An assignment as the embedded protocol writes it, in the version of the member's subscription.
pub(in crate::broker::group) fn encode<'a>(
    topics: &dyn TopicView,
    subscription: &Bytes,
    partitions: impl Iterator<Item = &'a TopicPartition>,
) -> Bytes {
    let version = Subscription::decode(subscription).map_or(0, |s| s.version);
    let mut named = std::collections::BTreeMap::<String, Vec<i32>>::new();
    for at in partitions {
        if let Some(info) = topics.by_id(at.topic) {
            named.entry(info.name.to_string()).or_default().push(at.partition);
        }
    }
    Assignment::encode(version, &named)
}

/// Partitions by the ids of their topics; those of topics that are gone are left out.
pub(in crate::broker::group) fn ids(topics: &dyn TopicView, named: &embedded::NamedPartitions) -> Partitions {
    let of_topic = |(name, partitions): &(String, Vec<i32>)| {
        let topic = topics.by_name(name).map(|info| info.id);
        let at =
            |topic| partitions.iter().map(move |partition| TopicPartition { topic, partition: *partition });
        topic.map(at).into_iter().flatten().collect::<Vec<_>>()
    };
    named.iter().flat_map(of_topic).collect()
}
