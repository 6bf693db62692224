//! A group of whichever type, and how it becomes one of another type.
//!
//! All types share one name space. A classic group whose members speak the consumer protocol becomes a consumer group
//! when somebody joins with the newer protocol; a consumer group becomes classic again when the last such member is
//! gone and classic ones stay (KIP-848, `group.consumer.migration.policy`). An empty group takes the type of whoever
//! comes. Generations and epochs go on from one type to the next, so that they never fall.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    Committer, GroupState,
    classic::{Classic, Effects, Limits, Reply},
    consumer::{Beat, Consumer, Heartbeat, LEAVING, LEFT_FOR_A_WHILE, Leave, Moment},
    error::{GroupError, Refused},
    member::{JoinRefused, JoinRequest, MemberId, SyncRequest, Token},
    migration,
    offsets::TopicPartition,
    share::{Share, ShareHeartbeat},
};

/// A group's type by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupType {
    Classic,
    Consumer,
    Share,
}

impl GroupType {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
        }
    }
}

/// A group.
#[derive(Debug, Clone)]
pub(super) enum Machine {
    Classic(Classic),
    Consumer(Consumer),
    Share(Share),
}

impl Machine {
    pub(super) fn group_type(&self) -> GroupType {
        match self {
            Self::Classic(_) => GroupType::Classic,
            Self::Consumer(_) => GroupType::Consumer,
            Self::Share(_) => GroupType::Share,
        }
    }

    pub(super) fn state(&self) -> GroupState {
        match self {
            Self::Classic(classic) => classic.group_state(),
            Self::Consumer(consumer) => consumer.group_state(),
            Self::Share(share) => share.group_state(),
        }
    }

    /// The generation or epoch that it has reached.
    fn epoch(&self) -> i32 {
        match self {
            Self::Classic(classic) => classic.generation_id,
            Self::Consumer(consumer) => consumer.epochs.group,
            Self::Share(share) => share.epochs.group,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Classic(classic) => classic.members.is_empty(),
            Self::Consumer(consumer) => consumer.members.is_empty(),
            Self::Share(share) => share.members.is_empty(),
        }
    }

    /// The classic group that this is, or that it becomes because it is empty.
    fn classic(&mut self, limits: &Limits) -> Option<&mut Classic> {
        match self {
            Self::Consumer(consumer) if consumer.members.is_empty() => {
                *self = Self::Classic(Classic::after(limits.clone(), consumer.epochs.group));
            }
            Self::Classic(_) | Self::Consumer(_) | Self::Share(_) => {}
        }
        match self {
            Self::Classic(classic) => Some(classic),
            Self::Consumer(_) | Self::Share(_) => None,
        }
    }

    // The classic protocol.

    /// JoinGroup. Answered through `effects`, now or later.
    pub(super) fn join(
        &mut self,
        at: Moment<'_>,
        limits: &Limits,
        request: JoinRequest,
        token: Token,
        effects: &mut Effects,
    ) {
        if let Some(classic) = self.classic(limits) {
            classic.join(at.now, request, token, effects);
            return;
        }
        let Self::Consumer(consumer) = self else {
            let refused =
                JoinRefused { error: GroupError::InconsistentGroupProtocol, member_id: MemberId::from("") };
            effects.replies.push(Reply::Join(token, Err(refused)));
            return;
        };
        let replaced = consumer.replaced_by(&request);
        let epoch = consumer.epochs.group;
        let result = consumer.classic_join(at, request, effects);
        let stays_classic = result.is_ok() && replaced.is_some() && consumer.is_classic_except(&[]);
        let is_stale = consumer.epochs.group != epoch || consumer.group_state() != GroupState::Stable;
        effects.replies.push(Reply::Join(token, result));
        if stays_classic && may_downgrade(at, limits, consumer) {
            self.downgrade(at, limits, is_stale, effects);
        }
    }

    /// SyncGroup. Answered through `effects`, now or later.
    pub(super) fn sync(&mut self, at: Moment<'_>, request: SyncRequest, token: Token, effects: &mut Effects) {
        match self {
            Self::Classic(classic) => classic.sync(at.now, request, token, effects),
            Self::Consumer(consumer) => {
                let result = consumer.classic_sync(at, request);
                effects.replies.push(Reply::Sync(token, result));
            }
            Self::Share(_) => effects.replies.push(Reply::Sync(token, Err(GroupError::UnknownMemberId))),
        }
    }

    pub(super) fn heartbeat(
        &mut self,
        at: Moment<'_>,
        member_id: &str,
        instance: Option<&str>,
        generation_id: i32,
    ) -> Result<(), GroupError> {
        match self {
            Self::Classic(classic) => classic.heartbeat(at.now, member_id, instance, generation_id),
            Self::Consumer(consumer) => consumer.classic_heartbeat(at, member_id, instance, generation_id),
            Self::Share(_) => Err(GroupError::UnknownMemberId),
        }
    }

    /// LeaveGroup, also by tools that remove members of a consumer group.
    pub(super) fn leave(
        &mut self,
        at: Moment<'_>,
        limits: &Limits,
        leaving: &[(String, Option<String>)],
        effects: &mut Effects,
    ) -> Vec<Result<(), GroupError>> {
        let consumer = match self {
            Self::Classic(classic) => return classic.leave(at.now, leaving, effects),
            Self::Consumer(consumer) => consumer,
            Self::Share(_) => return vec![Err(GroupError::UnknownMemberId); leaving.len()],
        };
        let found: Vec<Result<MemberId, GroupError>> =
            leaving.iter().map(|(id, instance)| consumer.classic_leaver(id, instance.as_deref())).collect();
        let ids: Vec<MemberId> = found.iter().flatten().cloned().collect();
        self.fence(at, limits, &ids, effects);
        found.into_iter().map(|found| found.map(drop)).collect()
    }

    // The consumer protocol.

    /// ConsumerGroupHeartbeat.
    pub(super) fn consumer_heartbeat(
        &mut self,
        at: Moment<'_>,
        limits: &Limits,
        request: Heartbeat,
        effects: &mut Effects,
    ) -> Result<Beat, Refused> {
        let epoch = request.member_epoch;
        if matches!(epoch, LEAVING | LEFT_FOR_A_WHILE) {
            let Self::Consumer(consumer) = self else { return Err(not_a(at, "consumer")) };
            return match consumer.leaving(at, &request, effects)? {
                Leave::Stays(beat) => Ok(beat),
                Leave::For(id) => {
                    self.fence(at, limits, std::slice::from_ref(&id), effects);
                    Ok(Beat { member_id: id, member_epoch: epoch, assignment: None })
                }
            };
        }
        let made = match self {
            Self::Consumer(_) => None,
            Self::Share(_) => return Err(not_a(at, "consumer")),
            Self::Classic(_) if epoch != 0 => return Err(not_a(at, "consumer")),
            // What was given out but not used lapses with the group that gave it.
            Self::Classic(_) if self.is_empty() => Some(Consumer::new(self.epoch())),
            Self::Classic(classic) => Some(migration::upgrade(at, classic)?),
        };
        let Some(mut consumer) = made else {
            let Self::Consumer(consumer) = self else { return Err(not_a(at, "consumer")) };
            return consumer.heartbeat(at, request, effects);
        };
        // A group changes its type only for somebody who gets in.
        let mut inner = Effects::default();
        let beat = consumer.heartbeat(at, request, &mut inner)?;
        if let Self::Classic(classic) = self {
            classic.give_up(effects);
        }
        effects.persist = true;
        effects.members.extend(inner.members);
        effects.members.extend(consumer.members.keys().cloned());
        *self = Self::Consumer(consumer);
        Ok(beat)
    }

    // The share protocol.

    /// ShareGroupHeartbeat.
    pub(super) fn share_heartbeat(
        &mut self,
        at: Moment<'_>,
        request: ShareHeartbeat,
        effects: &mut Effects,
    ) -> Result<Beat, Refused> {
        match self {
            // Only a group that nobody has used yet: offsets that are committed are another type's.
            Self::Classic(_) if request.member_epoch == 0 && self.is_unused() && self.epoch() == 0 => {
                let mut share = Share::new(0);
                let beat = share.heartbeat(at, request, effects)?;
                *self = Self::Share(share);
                Ok(beat)
            }
            Self::Share(share) => share.heartbeat(at, request, effects),
            Self::Classic(_) | Self::Consumer(_) => Err(not_a(at, "share")),
        }
    }

    fn fence(&mut self, at: Moment<'_>, limits: &Limits, ids: &[MemberId], effects: &mut Effects) {
        let Self::Consumer(consumer) = self else { return };
        let stays_classic = consumer.is_classic_except(ids);
        if !consumer.remove(ids, effects) {
            return;
        }
        // The others' generation is the group's still: told to join again, they keep what they have meanwhile.
        if stays_classic && may_downgrade(at, limits, consumer) {
            self.downgrade(at, limits, true, effects);
        } else {
            consumer.epochs.bump(effects);
        }
    }

    /// Only classic members are left. Unless they all have what they shall have, they rebalance.
    fn downgrade(&mut self, at: Moment<'_>, limits: &Limits, rebalance: bool, effects: &mut Effects) {
        let Self::Consumer(consumer) = self else { return };
        let mut classic = migration::downgrade(at, limits, consumer);
        effects.persist = true;
        effects.members.extend(consumer.members.keys().cloned());
        if rebalance {
            classic.prepare_rebalance(at.now, effects);
        }
        *self = Self::Classic(classic);
    }

    // The store.

    /// What lies in the store for the group itself.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Classic(classic) => classic.encode(),
            Self::Consumer(consumer) => consumer.encode(),
            Self::Share(share) => share.encode(),
        }
    }

    /// What lies there for one member of its own; `None` for one that is gone, or part of the group's value.
    pub(super) fn encode_member(&self, id: &MemberId) -> Option<Vec<u8>> {
        match self {
            Self::Classic(_) => None,
            Self::Consumer(consumer) => consumer.encode_member(id),
            Self::Share(share) => share.encode_member(id),
        }
    }

    /// The group that was persisted. `None`: the value is damaged.
    pub(super) fn decode(value: &Bytes, now: Instant, limits: &Limits) -> Option<Self> {
        let newer = Consumer::decode(value).map(Self::Consumer);
        let newer = newer.or_else(|| Share::decode(value).map(Self::Share));
        newer.or_else(|| Classic::decode(value, now, limits.clone()).map(Self::Classic))
    }

    // Time, offsets, the end.

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Classic(classic) => classic.deadline(),
            Self::Consumer(consumer) => consumer.deadline(),
            Self::Share(share) => share.deadline(),
        }
    }

    pub(super) fn on_deadline(&mut self, at: Moment<'_>, limits: &Limits, effects: &mut Effects) {
        let overdue = match self {
            Self::Classic(classic) => return classic.on_deadline(at.now, effects),
            Self::Consumer(consumer) => consumer.overdue(at.now),
            Self::Share(share) => {
                let overdue = share.overdue(at.now);
                share.remove(&overdue, effects);
                return;
            }
        };
        self.fence(at, limits, &overdue, effects);
    }

    /// Whether somebody may commit offsets.
    pub(super) fn validate_commit(
        &mut self,
        now: Instant,
        by: Committer<'_>,
        partitions: &mut dyn Iterator<Item = TopicPartition>,
    ) -> Result<(), GroupError> {
        match self {
            Self::Classic(classic) => {
                classic.validate_commit(now, by.member_id, by.group_instance_id, by.generation_id)
            }
            Self::Consumer(consumer) => {
                consumer.validate_commit(by.member_id, by.generation_id, by.knows_epochs, partitions)
            }
            Self::Share(_) => Err(GroupError::GroupIdNotFound),
        }
    }

    /// Whether somebody may read the offsets, having said who it is.
    pub(super) fn validate_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), GroupError> {
        match self {
            Self::Classic(_) => Ok(()),
            Self::Consumer(consumer) => consumer.validate_fetch(member_id, epoch),
            Self::Share(_) => Err(GroupError::GroupIdNotFound),
        }
    }

    /// Takes a persisted member in.
    pub(super) fn recover_member(
        &mut self,
        id: &MemberId,
        value: &Bytes,
        now: Instant,
        session: Duration,
    ) -> bool {
        match self {
            Self::Classic(_) => false,
            Self::Consumer(consumer) => consumer.recover_member(id, value, now, session),
            Self::Share(share) => share.recover_member(id, value, now, session),
        }
    }

    /// Whether offsets in a topic are still of use: some member subscribes to it, or nobody can say.
    pub(super) fn may_want(&self, topic: &str) -> bool {
        match self {
            Self::Classic(classic) if !classic.members.is_empty() => {
                !classic.speaks_consumer_protocol() || classic.subscribes(topic)
            }
            Self::Classic(_) | Self::Share(_) => false,
            Self::Consumer(consumer) => consumer.subscribes(topic),
        }
    }

    /// Nobody is in it, nor on the way in.
    pub(super) fn is_unused(&self) -> bool {
        match self {
            Self::Classic(classic) => classic.members.is_empty() && classic.pending.is_empty(),
            Self::Consumer(consumer) => consumer.members.is_empty(),
            // It ends when it is deleted, as in Kafka: how far it is is not committed by anybody.
            Self::Share(_) => false,
        }
    }

    /// Whether some member subscribes to a topic, as far as that can be known.
    pub(super) fn subscribes(&self, topic: &str) -> bool {
        match self {
            Self::Classic(classic) => classic.subscribes(topic),
            Self::Consumer(consumer) => consumer.subscribes(topic),
            Self::Share(_) => false,
        }
    }

    /// Ends the group if it has no members.
    pub(super) fn delete(&mut self) -> Result<(), GroupError> {
        match self {
            Self::Classic(classic) => classic.delete(),
            Self::Consumer(_) | Self::Share(_) if self.is_empty() => {
                let mut classic = Classic::new(Limits::default());
                classic.delete()?;
                *self = Self::Classic(classic);
                Ok(())
            }
            Self::Consumer(_) | Self::Share(_) => Err(GroupError::NonEmptyGroup),
        }
    }
}

fn may_downgrade(at: Moment<'_>, limits: &Limits, consumer: &Consumer) -> bool {
    at.terms.migration.may_downgrade() && consumer.members.len() <= limits.members_max
}

fn not_a(at: Moment<'_>, group_type: &str) -> Refused {
    let text = format!("Group {} is not a {group_type} group.", at.group);
    Refused::new(GroupError::GroupIdNotFound, text)
}
