//! How a member gets from what it has to its target: it gives back first, then takes what nobody else has any more.
//!
//! A member that must give something back stays in its epoch until it says that it no longer owns it. Then it moves to
//! the assignment epoch with all that is free; what others still own comes with a later heartbeat. So no partition
//! ever has two owners.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Consumer, Member, MemberId, MemberState, Moment, Owned, Partitions};

impl Consumer {
    /// What becomes of a member with this heartbeat; nothing, if it stays as it is.
    pub(super) fn reconcile(
        &self,
        at: Moment<'_>,
        id: &MemberId,
        subscription_changed: bool,
        owned: Option<&Partitions>,
    ) -> Option<Member> {
        let member = self.members.get(id)?;
        if !subscription_changed && member.is_reconciled_to(self.epochs.assignment) {
            return None;
        }
        let next = match member.state {
            MemberState::Stable if member.epoch != self.epochs.assignment => self.next(at, id, member, owned),
            MemberState::UnrevokedPartitions if !owns_any(owned, &member.revoking) => {
                self.next(at, id, member, owned)
            }
            MemberState::UnreleasedPartitions => self.next(at, id, member, owned),
            MemberState::Stable | MemberState::UnrevokedPartitions if subscription_changed => {
                let topics = self.ids_of(at.topics, member);
                unsubscribed(member, &topics, owned)
            }
            MemberState::Stable | MemberState::UnrevokedPartitions => member.clone(),
        };
        (next != *member).then(|| with_revocation_timer(at, next))
    }

    /// One step towards the target.
    fn next(&self, at: Moment<'_>, id: &MemberId, member: &Member, owned: Option<&Partitions>) -> Member {
        let topics = self.ids_of(at.topics, member);
        let target: Partitions =
            member.target.iter().filter(|at| topics.contains(&at.topic)).copied().collect();
        let (mut kept, given_back): (Owned, Owned) =
            member.assigned.iter().map(|(at, epoch)| (*at, *epoch)).partition(|(at, _)| target.contains(at));
        if owns_any(owned, &given_back) {
            return Member {
                state: MemberState::UnrevokedPartitions,
                previous_epoch: member.epoch,
                assigned: kept,
                revoking: given_back,
                ..member.clone()
            };
        }
        let missing = target.iter().filter(|at| !kept.contains_key(at)).copied().collect::<Vec<_>>();
        // What it is itself giving back is free for it: it has said that it is done.
        let is_free = |at: &_| self.owners.get(at).is_none_or(|owner| owner == id);
        let (free, taken): (Vec<_>, Vec<_>) = missing.into_iter().partition(is_free);
        kept.extend(free.into_iter().map(|at| (at, self.epochs.assignment)));
        Member {
            state: if taken.is_empty() { MemberState::Stable } else { MemberState::UnreleasedPartitions },
            previous_epoch: member.epoch,
            epoch: self.epochs.assignment,
            assigned: kept,
            revoking: Owned::new(),
            ..member.clone()
        }
    }

    /// Whether somebody still has what a member waits for.
    pub(super) fn waits_for_others(&self, member: &Member) -> bool {
        let missing = member.target.iter().filter(|at| !member.assigned.contains_key(at));
        member.state == MemberState::UnreleasedPartitions
            && missing.into_iter().any(|at| self.owners.contains_key(at))
    }
}

/// Its subscription has changed, and there is no new target yet: what it no longer subscribes to goes at once.
fn unsubscribed(member: &Member, topics: &BTreeSet<Uuid>, owned: Option<&Partitions>) -> Member {
    let (kept, given_back): (Owned, Owned) = member
        .assigned
        .iter()
        .map(|(at, epoch)| (*at, *epoch))
        .partition(|(at, _)| topics.contains(&at.topic));
    if given_back.is_empty() {
        return member.clone();
    }
    let mut revoking = member.revoking.clone();
    revoking.extend(given_back);
    let next = Member { previous_epoch: member.epoch, assigned: kept, ..member.clone() };
    if owns_any(owned, &revoking) {
        return Member { state: MemberState::UnrevokedPartitions, revoking, ..next };
    }
    next
}

/// Whether the member still owns some of `revoking`. One that does not say what it owns may own anything.
fn owns_any(owned: Option<&Partitions>, revoking: &Owned) -> bool {
    !revoking.is_empty() && owned.is_none_or(|owned| owned.iter().any(|at| revoking.contains_key(at)))
}

/// Classic members have timers of their own.
fn with_revocation_timer(at: Moment<'_>, mut member: Member) -> Member {
    member.timers.revocation = match member.state {
        MemberState::UnrevokedPartitions if member.classic.is_none() => {
            Some(at.now + member.rebalance_timeout)
        }
        MemberState::UnrevokedPartitions | MemberState::Stable | MemberState::UnreleasedPartitions => None,
    };
    member
}
