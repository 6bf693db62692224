//! A consumer group as it lies in the store: the group in one value, each member in one of its own, so that a heartbeat
//! writes no more than it changed. The group's value is in `epochs.rs`.
//!
//! ```text
//! member  instance ?str | rack ?str | client id str | host str | rebalance ms u64 | topics u32, str… | regex str
//!         | assignor ?str | epoch i32 | previous epoch i32 | state u8 | assigned | revoking | target
//!         | classic u8 [ session ms u64 | protocols u32, (name str | metadata bytes)… ]
//! assigned, revoking: u32, (topic id 16 | partition i32 | epoch i32)…; target: u32, (topic id 16 | partition i32)…
//! str, bytes: length u32, then that many bytes; ?: one byte 0 or 1 before it
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{ClassicMember, Consumer, Member, MemberState, Owned, Partitions, Timers};
use crate::broker::{
    group::{
        epochs::Epochs,
        member::{MemberId, Protocol},
    },
    topic::keys::{Reader, Writer},
};

const KIND: u8 = 0xc1;

impl Consumer {
    pub(in crate::broker::group) fn encode(&self) -> Vec<u8> {
        self.epochs.encode(KIND)
    }

    /// `None`: it is no consumer group, or damaged. Its members come one by one.
    pub(in crate::broker::group) fn decode(value: &Bytes) -> Option<Self> {
        Some(Self { epochs: Epochs::decode(KIND, value)?, ..Self::default() })
    }

    pub(in crate::broker::group) fn encode_member(&self, id: &MemberId) -> Option<Vec<u8>> {
        self.members.get(id).map(Member::encode)
    }

    /// Takes a member in; its session begins anew. Whether its value was whole.
    pub(in crate::broker::group) fn recover_member(
        &mut self,
        id: &MemberId,
        value: &Bytes,
        now: Instant,
        session_timeout: Duration,
    ) -> bool {
        let Some(member) = Member::decode(value, now, session_timeout) else { return false };
        // A pattern that was accepted once compiles; its topics are found with the next heartbeat.
        _ = self.patterns.compile(&member.regex);
        self.subscribed.extend(member.topics.iter().cloned());
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.put(id, member);
        true
    }
}

impl Member {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.optional(self.instance.as_deref().map(str::as_bytes));
        w.optional(self.rack.as_deref().map(str::as_bytes));
        w.bytes(self.client_id.as_bytes());
        w.bytes(self.client_host.as_bytes());
        w.millis(self.rebalance_timeout);
        w.count(self.topics.len());
        self.topics.iter().for_each(|topic| w.bytes(topic.as_bytes()));
        w.bytes(self.regex.as_bytes());
        w.optional(self.assignor.as_deref().map(str::as_bytes));
        w.i32(self.epoch);
        w.i32(self.previous_epoch);
        w.u8(match self.state {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
        });
        for owned in [&self.assigned, &self.revoking] {
            w.count(owned.len());
            for (at, epoch) in owned {
                w.partition(*at);
                w.i32(*epoch);
            }
        }
        w.count(self.target.len());
        self.target.iter().for_each(|at| w.partition(*at));
        w.u8(self.classic.is_some().into());
        if let Some(classic) = &self.classic {
            w.millis(classic.session_timeout);
            w.count(classic.protocols.len());
            for protocol in &classic.protocols {
                w.bytes(protocol.name.as_bytes());
                w.bytes(&protocol.metadata);
            }
        }
        w.finish()
    }

    fn decode(value: &Bytes, now: Instant, session_timeout: Duration) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let mut member = Self::new(now);
        (member.instance, member.rack) = (r.optional_string()?, r.optional_string()?);
        (member.client_id, member.client_host) = (r.string()?, r.string()?);
        member.rebalance_timeout = r.millis()?;
        for _ in 0..r.u32()? {
            member.topics.insert(r.string()?);
        }
        (member.regex, member.assignor) = (r.string()?, r.optional_string()?);
        (member.epoch, member.previous_epoch) = (r.i32()?, r.i32()?);
        member.state = match r.u8()? {
            0 => MemberState::Stable,
            1 => MemberState::UnrevokedPartitions,
            2 => MemberState::UnreleasedPartitions,
            _ => return None,
        };
        (member.assigned, member.revoking) = (owned(r)?, owned(r)?);
        member.target = (0..r.u32()?).map(|_| r.partition()).collect::<Option<Partitions>>()?;
        if r.u8()? != 0 {
            let session_timeout = r.millis()?;
            let protocol = |r: &mut Reader| Some(Protocol { name: r.string()?, metadata: r.bytes()? });
            let protocols = (0..r.u32()?).map(|_| protocol(r)).collect::<Option<Vec<_>>>()?;
            member.classic = Some(ClassicMember { session_timeout, protocols });
        }
        let session = member.classic.as_ref().map_or(session_timeout, |classic| classic.session_timeout);
        let revoking = member.state == MemberState::UnrevokedPartitions && member.classic.is_none();
        member.timers = Timers {
            session: now + session.min(TIMEOUT_AFTER_RESTART_MAX),
            revocation: revoking.then(|| now + member.rebalance_timeout.min(TIMEOUT_AFTER_RESTART_MAX)),
            join: None,
            sync: None,
        };
        r.is_done().then_some(member)
    }
}

fn owned(r: &mut Reader) -> Option<Owned> {
    (0..r.u32()?).map(|_| Some((r.partition()?, r.i32()?))).collect()
}

/// Guards the clock arithmetic against a damaged value.
const TIMEOUT_AFTER_RESTART_MAX: Duration = Duration::from_secs(24 * 3_600);
