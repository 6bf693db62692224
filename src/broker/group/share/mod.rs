//! The share group (KIP-932): its members, and which partitions they read, as a pure state machine. Partitions are shared:
//! several members may have one, so that nobody waits for anybody and a member is at its target at once.
//!
//! What of a partition is lent to whom is in `partition/`; the sessions and the shell in `lending.rs`.

mod lending;
pub mod partition;
mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use uuid::Uuid;

use super::{
    GroupState,
    assignor::{Assignor, Partitions, Subject},
    classic::Effects,
    consumer::{Beat, LEAVING, Moment},
    epochs::Epochs,
    error::{GroupError, Refused},
    member::MemberId,
    offsets::TopicPartition,
};

pub use lending::{Lent, SessionError, ShareOffset, ShareSessions, SharedPartition, Shares};

/// The one assignor of share groups.
pub const ASSIGNOR: &str = "simple";

/// ShareGroupHeartbeat. What is `None` has not changed.
#[derive(Debug, Clone, Default)]
pub struct ShareHeartbeat {
    pub member_id: String,
    pub member_epoch: i32,
    pub rack: Option<String>,
    pub topics: Option<BTreeSet<String>>,
    pub client_id: String,
    pub client_host: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShareMember {
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) topics: BTreeSet<String>,
    pub(super) epoch: i32,
    pub(super) previous_epoch: i32,
    pub(super) target: Partitions,
    /// What it has been told.
    pub(super) assigned: Partitions,
    pub(super) session_ends: Instant,
}

/// A share group.
#[derive(Debug, Clone, Default)]
pub struct Share {
    pub(super) epochs: Epochs,
    pub(super) members: BTreeMap<MemberId, ShareMember>,
}

/// ShareGroupDescribe, and the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareDescription {
    pub state: GroupState,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub members: Vec<ShareMemberDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareMemberDescription {
    pub member_id: MemberId,
    pub rack: Option<String>,
    pub epoch: i32,
    pub client_id: String,
    pub client_host: String,
    pub topics: BTreeSet<String>,
    pub assignment: Partitions,
}

impl Share {
    /// A group that takes another's place, whose last generation is known.
    #[must_use]
    pub fn new(group_epoch: i32) -> Self {
        Self { epochs: Epochs::after(group_epoch), ..Self::default() }
    }

    /// ShareGroupHeartbeat.
    pub fn heartbeat(
        &mut self,
        at: Moment<'_>,
        request: ShareHeartbeat,
        effects: &mut Effects,
    ) -> Result<Beat, Refused> {
        let id = MemberId::from(request.member_id.as_str());
        if request.member_epoch == LEAVING {
            if !self.remove(std::slice::from_ref(&id), effects) {
                return Err(unknown(at, &id));
            }
            return Ok(Beat { member_id: id, member_epoch: LEAVING, assignment: None });
        }
        let known = self.members.get(&id);
        if known.is_none() && self.members.len() >= at.terms.share.members_max {
            let text = format!(
                "The share group has reached its maximum capacity of {} members.",
                at.terms.share.members_max
            );
            return Err(Refused::new(GroupError::GroupMaxSizeReached, text));
        }
        match known {
            Some(member) => check_epoch(member, request.member_epoch)?,
            None if request.member_epoch == 0 => {}
            None => return Err(unknown(at, &id)),
        }
        let before = known.cloned();
        let is_full = request.member_epoch == 0 || request.topics.is_some();
        let mut member = before.clone().unwrap_or_else(|| ShareMember::new(at.now));
        member.rack = request.rack.or(member.rack);
        member.topics = request.topics.unwrap_or(member.topics);
        (member.client_id, member.client_host) = (request.client_id, request.client_host);
        member.session_ends = at.now + at.terms.share.session_timeout;
        let changed = before.as_ref().is_none_or(|before| before.topics != member.topics);
        self.members.insert(id.clone(), member);
        self.refresh(at, changed, effects);
        self.maybe_assign(at, effects);
        let assignment_epoch = self.epochs.assignment;
        let member = self.members.get_mut(&id).ok_or_else(|| unknown(at, &id))?;
        member.reach(assignment_epoch);
        let told = before.as_ref().map(|before| &before.assigned);
        let assignment = (is_full || told != Some(&member.assigned)).then(|| member.assigned.clone());
        if before.is_none_or(|before| !before.lasts_as(member)) {
            effects.members.insert(id.clone());
        }
        Ok(Beat { member_epoch: member.epoch, assignment, member_id: id })
    }

    fn refresh(&mut self, at: Moment<'_>, changed: bool, effects: &mut Effects) {
        let names: BTreeSet<&String> = self.members.values().flat_map(|m| &m.topics).collect();
        let infos = names.into_iter().filter_map(|name| at.topics.by_name(name));
        self.epochs.see(infos, changed, effects);
    }

    fn maybe_assign(&mut self, at: Moment<'_>, effects: &mut Effects) {
        if self.epochs.is_assigned() {
            return;
        }
        let subject = |(id, member): (&MemberId, &ShareMember)| Subject {
            id: id.clone(),
            instance: None,
            topics: member
                .topics
                .iter()
                .filter_map(|name| at.topics.by_name(name))
                .map(|info| info.id)
                .collect(),
            had: member.target.clone(),
        };
        let subjects: Vec<Subject> = self.members.iter().map(subject).collect();
        let targets = simple(&subjects, &self.epochs.seen);
        for ((id, member), target) in self.members.iter_mut().zip(targets) {
            if member.target != target {
                member.target = target;
                effects.members.insert(id.clone());
            }
        }
        self.epochs.assigned(effects);
    }

    /// Takes members out. Whether there were any.
    pub(super) fn remove(&mut self, ids: &[MemberId], effects: &mut Effects) -> bool {
        let mut any = false;
        for id in ids {
            if self.members.remove(id).is_some() {
                effects.members.insert(id.clone());
                any = true;
            }
        }
        if any {
            self.epochs.bump(effects);
        }
        any
    }

    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.members.values().map(|m| m.session_ends).min()
    }

    pub(super) fn overdue(&self, now: Instant) -> Vec<MemberId> {
        self.members.iter().filter(|(_, m)| m.session_ends <= now).map(|(id, _)| id.clone()).collect()
    }

    #[must_use]
    pub fn group_state(&self) -> GroupState {
        if self.members.is_empty() { GroupState::Empty } else { GroupState::Stable }
    }

    #[must_use]
    pub fn describe(&self) -> ShareDescription {
        let member = |(id, m): (&MemberId, &ShareMember)| ShareMemberDescription {
            member_id: id.clone(),
            rack: m.rack.clone(),
            epoch: m.epoch,
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            topics: m.topics.clone(),
            assignment: m.assigned.clone(),
        };
        ShareDescription {
            state: self.group_state(),
            group_epoch: self.epochs.group,
            assignment_epoch: self.epochs.assignment,
            members: self.members.iter().map(member).collect(),
        }
    }
}

impl ShareMember {
    fn new(now: Instant) -> Self {
        Self {
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            epoch: 0,
            previous_epoch: 0,
            target: Partitions::new(),
            assigned: Partitions::new(),
            session_ends: now,
        }
    }

    fn reach(&mut self, assignment_epoch: i32) {
        if self.epoch != assignment_epoch {
            self.previous_epoch = self.epoch;
            self.epoch = assignment_epoch;
        }
        self.assigned = self.target.clone();
    }

    /// Whether both are the same but for what does not last.
    fn lasts_as(&self, other: &Self) -> bool {
        Self { session_ends: other.session_ends, ..self.clone() } == *other
    }
}

/// Kafka's simple assignor: every partition has a member, every member has as many partitions as any other, but one; if
/// there are more members than partitions, partitions have several members. Nobody changes more than that takes.
fn simple(subjects: &[Subject], counts: &BTreeMap<Uuid, i32>) -> Vec<Partitions> {
    let mut given = Assignor::Uniform.assign(subjects, counts);
    let mut sharers = BTreeMap::<TopicPartition, usize>::new();
    for (topic, count) in counts {
        (0..*count).for_each(|partition| _ = sharers.insert(TopicPartition { topic: *topic, partition }, 0));
    }
    given.iter().flatten().for_each(|at| *sharers.entry(*at).or_default() += 1);
    for (subject, mine) in subjects.iter().zip(&mut given) {
        if !mine.is_empty() {
            continue;
        }
        let subscribed = sharers.iter().filter(|(at, _)| subject.topics.contains(&at.topic));
        let least = subscribed.min_by_key(|(at, sharers)| (**sharers, !subject.had.contains(at)));
        if let Some(at) = least.map(|(at, _)| *at) {
            mine.insert(at);
            *sharers.entry(at).or_default() += 1;
        }
    }
    given
}

fn check_epoch(member: &ShareMember, received: i32) -> Result<(), Refused> {
    let (known, previous) = (member.epoch, member.previous_epoch);
    let fenced = |text: String| Err(Refused::new(GroupError::FencedMemberEpoch, text));
    if received > known {
        fenced(format!(
            "The share group member has a greater member epoch ({received}) than the one known by the group \
             coordinator ({known}). The member must abandon all its partitions and rejoin."
        ))
    } else if received != 0 && received < known && received != previous {
        fenced(format!(
            "The share group member has a smaller member epoch ({received}) than the one known by the group \
             coordinator ({known}), and it does not match the previous member epoch ({previous}). The member must \
             abandon all its partitions and rejoin."
        ))
    } else {
        Ok(())
    }
}

fn unknown(at: Moment<'_>, id: &MemberId) -> Refused {
    let text = format!("Member {id} is not a member of group {}.", at.group);
    Refused::new(GroupError::UnknownMemberId, text)
}
