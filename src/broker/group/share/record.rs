//! A share group as it lies in the store: the group in one value, each member in one of its own, as a consumer group
//! does (`epochs.rs`); what of a partition is lent is in `partition/`.
//!
//! ```text
//! member  rack ?str | client id str | host str | topics u32, str… | epoch i32 | previous epoch i32
//!         | target u32, (topic id 16 | partition i32)…
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Share, ShareMember};
use crate::broker::{
    group::{epochs::Epochs, member::MemberId},
    topic::keys::{Reader, Writer},
};

const KIND: u8 = 0xc2;

impl Share {
    pub(in crate::broker::group) fn encode(&self) -> Vec<u8> {
        self.epochs.encode(KIND)
    }

    /// `None`: it is no share group, or damaged. Its members come one by one.
    pub(in crate::broker::group) fn decode(value: &Bytes) -> Option<Self> {
        Some(Self { epochs: Epochs::decode(KIND, value)?, ..Self::default() })
    }

    pub(in crate::broker::group) fn encode_member(&self, id: &MemberId) -> Option<Vec<u8>> {
        self.members.get(id).map(ShareMember::encode)
    }

    /// Takes a member in; its session begins anew. Whether its value was whole.
    pub(in crate::broker::group) fn recover_member(
        &mut self,
        id: &MemberId,
        value: &Bytes,
        now: Instant,
        session_timeout: Duration,
    ) -> bool {
        let member = ShareMember::decode(value, now + session_timeout);
        member.map(|member| self.members.insert(id.clone(), member)).is_some()
    }
}

impl ShareMember {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.optional(self.rack.as_deref().map(str::as_bytes));
        w.bytes(self.client_id.as_bytes());
        w.bytes(self.client_host.as_bytes());
        w.count(self.topics.len());
        self.topics.iter().for_each(|topic| w.bytes(topic.as_bytes()));
        w.i32(self.epoch);
        w.i32(self.previous_epoch);
        w.count(self.target.len());
        self.target.iter().for_each(|at| w.partition(*at));
        w.finish()
    }

    fn decode(value: &Bytes, session_ends: Instant) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let mut member = Self::new(session_ends);
        member.rack = r.optional_string()?;
        (member.client_id, member.client_host) = (r.string()?, r.string()?);
        for _ in 0..r.u32()? {
            member.topics.insert(r.string()?);
        }
        (member.epoch, member.previous_epoch) = (r.i32()?, r.i32()?);
        for _ in 0..r.u32()? {
            member.target.insert(r.partition()?);
        }
        member.assigned = member.target.clone();
        r.is_done().then_some(member)
    }
}
