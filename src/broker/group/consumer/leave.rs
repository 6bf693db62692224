//! How members get out of a consumer group: they leave, or they are fenced when their time is over.

use std::time::Instant;

use super::{
    Beat, Consumer, Heartbeat, LEFT_FOR_A_WHILE, Member, MemberId, Moment, Owned, fenced_instance,
    unknown_member,
};
use crate::broker::group::{
    classic::Effects,
    error::{GroupError, Refused},
};

impl Consumer {
    /// A heartbeat with epoch -1 or -2: who leaves, and the answer. A static member that leaves for a while keeps
    /// its place until its session ends.
    pub fn leaving(
        &mut self,
        at: Moment<'_>,
        request: &Heartbeat,
        effects: &mut Effects,
    ) -> Result<Leave, Refused> {
        let id = MemberId::from(request.member_id.as_str());
        let Some(instance) = &request.instance else {
            return if self.members.contains_key(&id) {
                Ok(Leave::For(id))
            } else {
                Err(unknown_member(at, &id))
            };
        };
        let holder = self.static_members.get(instance).cloned().ok_or_else(|| {
            Refused::new(GroupError::UnknownMemberId, format!("Instance id {instance} is unknown."))
        })?;
        if holder != id {
            return Err(fenced_instance(&id, instance, &holder));
        }
        if request.member_epoch != LEFT_FOR_A_WHILE {
            return Ok(Leave::For(id));
        }
        if let Some(member) = self.members.get(&id) {
            // From epoch 0 on: so that whoever takes its place has had them since it joined.
            let assigned = member.assigned.keys().map(|at| (*at, 0)).collect();
            let mut left =
                Member { epoch: LEFT_FOR_A_WHILE, assigned, revoking: Owned::new(), ..member.clone() };
            left.timers.revocation = None;
            self.put(&id, left);
            effects.members.insert(id.clone());
        }
        Ok(Leave::Stays(Beat { member_id: id, member_epoch: LEFT_FOR_A_WHILE, assignment: None }))
    }

    /// Takes members out, and says whether there were any: then the group epoch must rise, and the others get what
    /// they had with their next heartbeats.
    pub(in crate::broker::group) fn remove(&mut self, ids: &[MemberId], effects: &mut Effects) -> bool {
        let mut any = false;
        for id in ids {
            if self.forget(id).is_some() {
                effects.members.insert(id.clone());
                any = true;
            }
        }
        if any {
            self.patterns.forget_unused(&self.members);
            let names = self.members.values().flat_map(|m| self.topics_of(m)).map(str::to_owned);
            self.subscribed = names.collect();
        }
        any
    }

    /// When `Consumer::overdue` has somebody.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.members.values().map(|m| m.timers.first()).min()
    }

    /// Whose time is over: no heartbeat, nothing given back, no answer to a rebalance.
    pub(in crate::broker::group) fn overdue(&self, now: Instant) -> Vec<MemberId> {
        let over = |(id, member): (&MemberId, &Member)| (member.timers.first() <= now).then(|| id.clone());
        self.members.iter().filter_map(over).collect()
    }
}

/// What a leaving heartbeat comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    For(MemberId),
    Stays(Beat),
}
