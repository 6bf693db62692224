//! A classic group as it lies in the store: enough for its members to go on after a restart without a rebalance.
//!
//! Written when a generation begins (without members: they have no assignment yet, so after a restart they join
//! again, but never into an older generation) and when its leader has assigned (with members).
//!
//! ```text
//! value   generation i32 | protocol type ?str | protocol name ?str | leader ?str | members u32 | member…
//! member  id str | instance ?str | client id str | host str | rebalance ms u64 | session ms u64
//!         | metadata bytes (in the protocol that won) | assignment bytes
//! str, bytes: length u32, then that many bytes; ?: one byte 0 or 1 before it
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    classic::{Classic, Limits, State},
    member::{Member, MemberId, Protocol, Waiting},
};
use crate::broker::topic::keys::{Reader, Writer};

impl Classic {
    /// What to persist now.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.i32(self.generation_id);
        w.optional(self.protocol_type.as_deref().map(str::as_bytes));
        w.optional(self.protocol_name.as_deref().map(str::as_bytes));
        w.optional(self.leader.as_ref().map(|l| l.0.as_bytes()));
        let assigned = matches!(self.state, State::Stable { .. });
        let members = if assigned { self.members.iter().collect() } else { Vec::new() };
        w.count(members.len());
        for (id, member) in members {
            w.bytes(id.0.as_bytes());
            w.optional(member.instance.as_deref().map(str::as_bytes));
            w.bytes(member.client_id.as_bytes());
            w.bytes(member.client_host.as_bytes());
            w.millis(member.rebalance_timeout);
            w.millis(member.session_timeout);
            w.bytes(&member.metadata(self.protocol_name.as_deref()));
            w.bytes(&member.assignment);
        }
        w.finish()
    }

    /// The group that was persisted; every member's session begins anew. `None`: the value is damaged.
    pub(super) fn decode(value: &Bytes, now: Instant, limits: Limits) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let mut group = Self::new(limits);
        group.generation_id = r.i32()?;
        group.protocol_type = r.optional_string()?;
        group.protocol_name = r.optional_string()?;
        let leader = r.optional_string()?;
        for _ in 0..r.u32()? {
            let id = MemberId::from(r.string()?.as_str());
            let instance = r.optional_string()?;
            let (client_id, client_host) = (r.string()?, r.string()?);
            let (rebalance_timeout, session_timeout) = (r.millis()?, r.millis()?);
            let (metadata, assignment) = (r.bytes()?, r.bytes()?);
            if let Some(instance) = &instance {
                group.static_members.insert(instance.clone(), id.clone());
            }
            let protocols = group
                .protocol_name
                .iter()
                .map(|name| Protocol { name: name.clone(), metadata: metadata.clone() });
            let member = Member {
                instance,
                client_id,
                client_host,
                rebalance_timeout,
                session_timeout,
                protocols: protocols.collect(),
                assignment,
                waiting: Waiting::Nothing,
                is_new: false,
                owes_sync: false,
                session_ends: now + session_timeout.min(SESSION_AFTER_RESTART_MAX),
            };
            group.members.insert(id, member);
        }
        if group.members.is_empty() {
            (group.protocol_name, group.leader) = (None, None);
        } else {
            group.leader = leader.map(|l| MemberId::from(l.as_str()));
            group.state = State::Stable { sync_until: None };
        }
        r.is_done().then_some(group)
    }
}

/// Guards the clock arithmetic against a damaged value; Kafka's largest session timeout is half an hour.
const SESSION_AFTER_RESTART_MAX: Duration = Duration::from_secs(24 * 3_600);
