//! How a classic group moves from one generation to the next, and what time alone does to it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    classic::{Classic, Effects, Initial, Reply, State},
    error::GroupError,
    member::{MemberId, Waiting},
};

impl Classic {
    /// A member has been added or has joined again.
    pub(super) fn rebalance_or_complete(&mut self, now: Instant, effects: &mut Effects) {
        match self.state {
            State::Empty | State::CompletingRebalance { .. } | State::Stable { .. } => {
                self.prepare_rebalance(now, effects);
            }
            State::PreparingRebalance { .. } => self.maybe_complete_join(now, effects),
            State::Dead => {}
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now: Instant, effects: &mut Effects) {
        for member in self.members.values_mut() {
            member.owes_sync = false;
            if let Waiting::Sync(token) = member.waiting {
                member.waiting = Waiting::Nothing;
                member.assignment = Bytes::new();
                effects.replies.push(Reply::Sync(token, Err(GroupError::RebalanceInProgress)));
            }
        }
        let delay = self.limits.initial_rebalance_delay;
        if self.state == State::Empty && !delay.is_zero() {
            let left = self.rebalance_timeout().saturating_sub(delay);
            let initial = Some(Initial { left, member_added: false });
            self.state = State::PreparingRebalance { until: now + delay, initial };
            return;
        }
        let was_empty = self.state == State::Empty;
        self.state = State::PreparingRebalance { until: now + self.rebalance_timeout(), initial: None };
        // An empty group does not wait for ids that were given out but not used.
        if was_empty { self.complete_join(now, effects) } else { self.maybe_complete_join(now, effects) }
    }

    /// Completes the join phase once everyone is here, unless the group is in its initial delay.
    pub(super) fn maybe_complete_join(&mut self, now: Instant, effects: &mut Effects) {
        let waits_for_others = match self.state {
            State::PreparingRebalance { initial: None, .. } => {
                !self.pending.is_empty() || !self.members.values().all(|m| m.awaits_join())
            }
            State::PreparingRebalance { initial: Some(_), .. }
            | State::Empty
            | State::CompletingRebalance { .. }
            | State::Stable { .. }
            | State::Dead => true,
        };
        if !waits_for_others {
            self.complete_join(now, effects);
        }
    }

    /// The join phase is over: whoever is not here is out (static members excepted), and the next generation begins.
    fn complete_join(&mut self, now: Instant, effects: &mut Effects) {
        let absent = |m: &super::member::Member| !m.awaits_join() && m.instance.is_none();
        let dropped: Vec<MemberId> =
            self.members.iter().filter(|(_, m)| absent(m)).map(|(id, _)| id.clone()).collect();
        for id in &dropped {
            self.remove_member(id, effects);
        }
        if self.members.is_empty() {
            self.generation_id = next_generation(self.generation_id);
            self.protocol_name = None;
            self.state = State::Empty;
            effects.persist = true;
            return;
        }
        if !self.elect_leader_among_joined() {
            // Only static members that have not come back: their sessions decide.
            let again = self.rebalance_timeout().max(ABSENT_STATIC_MEMBERS_RETRY);
            self.state = State::PreparingRebalance { until: now + again, initial: None };
            return;
        }
        self.generation_id = next_generation(self.generation_id);
        self.protocol_name = self.vote();
        self.state = State::CompletingRebalance { sync_until: now + self.rebalance_timeout() };
        effects.persist = true;
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in &ids {
            let joined = self.joined(id);
            let Some(member) = self.members.get_mut(id) else { continue };
            (member.is_new, member.owes_sync) = (false, true);
            member.heard(now);
            if let Waiting::Join(token) = member.waiting {
                member.waiting = Waiting::Nothing;
                effects.replies.push(Reply::Join(token, Ok(joined)));
            }
        }
    }

    fn elect_leader_among_joined(&mut self) -> bool {
        let here = |id: &MemberId| self.members.get(id).is_some_and(|m| m.awaits_join());
        if !self.leader.as_ref().is_some_and(here) {
            let next = self.members.iter().find(|(_, m)| m.awaits_join()).map(|(id, _)| id.clone());
            if next.is_none() {
                return false;
            }
            self.leader = next;
        }
        true
    }

    /// The protocol most members prefer among those that all of them know; the leader's order decides a tie.
    pub(super) fn vote(&self) -> Option<String> {
        let known_to_all = |name: &str| self.members.values().all(|m| m.supports(name));
        let mut votes: HashMap<&str, usize> = HashMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.protocols.iter().find(|p| known_to_all(&p.name)) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id))?;
        let most = votes.values().max()?;
        leader.protocols.iter().find(|p| votes.get(p.name.as_str()) == Some(most)).map(|p| p.name.clone())
    }

    pub(super) fn remove_member(&mut self, id: &MemberId, effects: &mut Effects) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance
            && self.static_members.get(instance) == Some(id)
        {
            self.static_members.remove(instance);
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        // The client joins again if it is still there.
        member.waiting.refuse(id, GroupError::UnknownMemberId, effects);
    }

    pub(super) fn after_removal(&mut self, now: Instant, effects: &mut Effects) {
        match self.state {
            State::Stable { .. } | State::CompletingRebalance { .. } => self.prepare_rebalance(now, effects),
            State::PreparingRebalance { .. } => self.maybe_complete_join(now, effects),
            State::Empty | State::Dead => {}
        }
    }

    /// When [`Classic::on_deadline`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let state = match self.state {
            State::Empty | State::Dead => None,
            State::PreparingRebalance { until, .. } => Some(until),
            State::CompletingRebalance { sync_until } => Some(sync_until),
            State::Stable { sync_until } => sync_until,
        };
        let sessions = self.members.values().map(|m| m.session_ends);
        state.into_iter().chain(sessions).chain(self.pending.values().copied()).min()
    }

    /// Does what has become due.
    pub fn on_deadline(&mut self, now: Instant, effects: &mut Effects) {
        let given_out = self.pending.len();
        self.pending.retain(|_, lapses| *lapses > now);
        if self.pending.len() < given_out {
            self.maybe_complete_join(now, effects);
        }
        self.end_sessions(now, effects);
        match self.state {
            State::PreparingRebalance { until, initial } if until <= now => match initial {
                Some(initial) if initial.member_added && !initial.left.is_zero() => {
                    let delay = self.limits.initial_rebalance_delay.min(initial.left);
                    let initial = Some(Initial { left: initial.left - delay, member_added: false });
                    self.state = State::PreparingRebalance { until: now + delay, initial };
                }
                Some(_) | None => self.complete_join(now, effects),
            },
            State::CompletingRebalance { sync_until } if sync_until <= now => {
                self.expel_unsynced(now, effects)
            }
            State::Stable { sync_until: Some(until) } if until <= now => self.expel_unsynced(now, effects),
            State::PreparingRebalance { .. }
            | State::CompletingRebalance { .. }
            | State::Stable { .. }
            | State::Empty
            | State::Dead => {}
        }
    }

    fn end_sessions(&mut self, now: Instant, effects: &mut Effects) {
        let mut lost = Vec::new();
        for (id, member) in &mut self.members {
            if member.session_ends > now {
                continue;
            }
            // Whoever waits for an answer cannot heartbeat meanwhile, and is alive as far as we know.
            if !member.is_new && member.waiting != Waiting::Nothing {
                member.heard(now);
            } else {
                lost.push(id.clone());
            }
        }
        for id in &lost {
            self.remove_member(id, effects);
        }
        if !lost.is_empty() {
            self.after_removal(now, effects);
        }
    }

    /// Members that joined the generation but never asked for their assignment hold everyone up.
    fn expel_unsynced(&mut self, now: Instant, effects: &mut Effects) {
        let silent: Vec<MemberId> =
            self.members.iter().filter(|(_, m)| m.owes_sync).map(|(id, _)| id.clone()).collect();
        for id in &silent {
            self.remove_member(id, effects);
        }
        self.prepare_rebalance(now, effects);
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|m| m.rebalance_timeout).max().unwrap_or_default()
    }
}

/// How long at least until a group of absent static members is looked at again (their rebalance timeout may be 0).
const ABSENT_STATIC_MEMBERS_RETRY: Duration = Duration::from_secs(1);

/// Generations are positive for ever; Kafka would wrap to a negative number, which clients read as "no group".
fn next_generation(generation_id: i32) -> i32 {
    generation_id.checked_add(1).unwrap_or(1)
}
