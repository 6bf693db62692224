//! How a classic group becomes a consumer group, and a consumer group a classic one (KIP-848).
//!
//! Each member takes along who it is, what it subscribes to and what it was assigned last; the generation becomes the
//! group epoch, and the other way round. Whether it may happen is `machine.rs`'s decision.

use std::time::Instant;

use bytes::Bytes;

use super::{
    GroupState,
    classic::{Classic, Effects, Limits, State},
    consumer::{self, ClassicMember, Consumer, Moment, Owned, Timers, ids},
    embedded::{self, Assignment, Subscription},
    error::{GroupError, Refused},
    member::{Member, MemberId, Waiting},
};

/// The consumer group that a classic one becomes: every member with what it was assigned last.
pub(super) fn upgrade(at: Moment<'_>, classic: &Classic) -> Result<Consumer, Refused> {
    let refuse = |why: &str| {
        let text = format!("Cannot upgrade classic group {} to consumer group because {why}.", at.group);
        Refused::new(GroupError::GroupIdNotFound, text)
    };
    if classic.group_state() == GroupState::Dead {
        return Err(GroupError::CoordinatorNotAvailable.into());
    }
    if !at.terms.migration.may_upgrade() {
        return Err(refuse("online upgrade is disabled"));
    }
    if classic.protocol_type.as_deref() != Some(embedded::PROTOCOL_TYPE) {
        return Err(refuse("the group does not use the consumer embedded protocol"));
    }
    if classic.members.len() > at.terms.members_max {
        return Err(refuse("the group size exceeds the consumer group maximum size"));
    }
    let mut consumer = Consumer::new(classic.generation_id);
    for (id, member) in &classic.members {
        let (metadata, assignment) = member.embedded(classic.protocol_name.as_deref());
        let subscription = Subscription::decode(&metadata)
            .ok_or_else(|| refuse("the embedded consumer protocol is malformed"))?;
        let assignment = Assignment::decode(&assignment)
            .ok_or_else(|| refuse("the embedded consumer protocol is malformed"))?;
        if assignment.has_user_data {
            return Err(refuse(
                "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default \
                 assignor before re-attempting the upgrade",
            ));
        }
        let member = of_classic(at, classic.generation_id, member, subscription, &assignment);
        consumer.adopt(id, member);
    }
    Ok(consumer)
}

/// A member of a classic group as one of a consumer group.
fn of_classic(
    at: Moment<'_>,
    generation_id: i32,
    member: &Member,
    subscription: Subscription,
    assignment: &Assignment,
) -> consumer::Member {
    let assigned: Owned =
        ids(at.topics, &assignment.partitions).into_iter().map(|at| (at, generation_id)).collect();
    consumer::Member {
        instance: member.instance.clone(),
        rack: subscription.rack,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: member.rebalance_timeout,
        topics: subscription.topics,
        epoch: generation_id,
        previous_epoch: generation_id,
        target: assigned.keys().copied().collect(),
        assigned,
        classic: Some(ClassicMember {
            session_timeout: member.session_timeout,
            protocols: member.protocols.clone(),
        }),
        timers: Timers { session: at.now + member.session_timeout, revocation: None, join: None, sync: None },
        ..consumer::Member::new(at.now)
    }
}

impl Consumer {
    /// Takes a member in as it is. What somebody else has already is not its own: a client's own assignor may err.
    fn adopt(&mut self, id: &MemberId, mut member: consumer::Member) {
        member.assigned.retain(|at, _| !self.is_owned(at));
        member.target.retain(|at| member.assigned.contains_key(at));
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.put(id, member);
    }
}

/// The classic group that a consumer group becomes whose members all use the classic protocol: stable, and everybody
/// has what it has. (Kafka gives everybody its target instead; if the group becomes a consumer group again before a
/// member has come, that member's partitions are somebody else's, too.)
pub(super) fn downgrade(at: Moment<'_>, limits: &Limits, consumer: &Consumer) -> Classic {
    let mut classic = Classic::after(limits.clone(), consumer.epochs.group);
    classic.protocol_type = Some(embedded::PROTOCOL_TYPE.to_owned());
    for (id, member) in &consumer.members {
        classic.adopt(at.now, id, member);
    }
    classic.leader = classic.members.keys().next().cloned();
    classic.protocol_name = classic.vote();
    for (id, member) in &mut classic.members {
        let metadata = member.metadata(classic.protocol_name.as_deref());
        let owned =
            consumer.members.get(id).into_iter().flat_map(|m| m.assigned.keys().chain(m.revoking.keys()));
        member.assignment = consumer::encode(at.topics, &metadata, owned);
    }
    classic.state = State::Stable { sync_until: None };
    classic
}

impl Classic {
    /// A group that takes another's place, whose last epoch is known.
    pub(super) fn after(limits: Limits, generation_id: i32) -> Self {
        Self { generation_id, ..Self::new(limits) }
    }

    fn adopt(&mut self, now: Instant, id: &MemberId, member: &consumer::Member) {
        let Some(classic) = &member.classic else { return };
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        let member = Member {
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout,
            session_timeout: classic.session_timeout,
            protocols: classic.protocols.clone(),
            assignment: Bytes::new(),
            waiting: Waiting::Nothing,
            is_new: false,
            owes_sync: false,
            session_ends: now + classic.session_timeout,
        };
        self.members.insert(id.clone(), member);
    }

    /// Whoever waits is told to come again: the group is becoming another.
    pub(super) fn give_up(&mut self, effects: &mut Effects) {
        let error = GroupError::RebalanceInProgress;
        for (id, member) in &mut self.members {
            std::mem::replace(&mut member.waiting, Waiting::Nothing).refuse(id, error, effects);
        }
    }

    pub(super) fn speaks_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(embedded::PROTOCOL_TYPE)
    }

    /// Whether some member subscribes to a topic, or may: one whose metadata cannot be read. A group of another protocol
    /// than the consumers' does not say.
    pub(super) fn subscribes(&self, topic: &str) -> bool {
        self.speaks_consumer_protocol()
            && self.members.values().any(|member| {
                let (metadata, _) = member.embedded(self.protocol_name.as_deref());
                Subscription::decode(&metadata).is_none_or(|s| s.topics.contains(topic))
            })
    }
}

impl Member {
    /// Its subscription (in a first rebalance there is no protocol yet: in the one it likes best) and its assignment.
    fn embedded(&self, protocol: Option<&str>) -> (Bytes, Bytes) {
        let best = || self.protocols.first().map(|p| p.metadata.clone()).unwrap_or_default();
        let metadata = if protocol.is_some() { self.metadata(protocol) } else { best() };
        (metadata, self.assignment.clone())
    }
}
