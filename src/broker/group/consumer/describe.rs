//! A consumer group as ConsumerGroupDescribe and the admin API show it.

use std::collections::BTreeSet;

use super::{Consumer, Member, MemberId, Partitions};
use crate::broker::group::GroupState;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerDescription {
    pub state: GroupState,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: &'static str,
    pub members: Vec<ConsumerMemberDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerMemberDescription {
    pub member_id: MemberId,
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub epoch: i32,
    pub client_id: String,
    pub client_host: String,
    pub topics: BTreeSet<String>,
    pub regex: String,
    /// What it owns, with what it has been asked to give back: it still answers for that.
    pub assignment: Partitions,
    pub target: Partitions,
    pub is_classic: bool,
}

impl Consumer {
    #[must_use]
    pub fn group_state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epochs.group > self.epochs.assignment {
            GroupState::Assigning
        } else if self.members.values().all(|m| m.is_reconciled_to(self.epochs.assignment)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    #[must_use]
    pub fn describe(&self) -> ConsumerDescription {
        let member = |(id, m): (&MemberId, &Member)| ConsumerMemberDescription {
            member_id: id.clone(),
            instance: m.instance.clone(),
            rack: m.rack.clone(),
            epoch: m.epoch,
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            topics: m.topics.clone(),
            regex: m.regex.clone(),
            assignment: m.assigned.keys().chain(m.revoking.keys()).copied().collect(),
            target: m.target.clone(),
            is_classic: m.classic.is_some(),
        };
        ConsumerDescription {
            state: self.group_state(),
            group_epoch: self.epochs.group,
            assignment_epoch: self.epochs.assignment,
            assignor: self.assignor().name(),
            members: self.members.iter().map(member).collect(),
        }
    }
}
