//! Records that come one by one (from AMQP) and become one batch for each turn and partition.
//!
//! The first record puts a Change into the inbox; those that come before the committer takes it join it.

use std::sync::Arc;

use super::{
    append::{Checked, submit_gathered},
    partition::Partition,
};
use crate::{data::record::BatchBuilder, store::Ticket};

/// One batch in the making, and the Change that will take it.
#[derive(Debug)]
pub(super) struct Gathering {
    builder: BatchBuilder,
    ticket: Ticket,
    /// The broker's time for the batch, if the topic wants that: of its last record.
    now_ms: i64,
}

/// What a gathered batch may grow to. Small, because the turn must count with it as long as it may grow.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// More than a record's fields around its key, value and headers.
const RECORD_OVERHEAD_BYTES: usize = 64;

impl Partition {
    /// Appends one record; durable with the ticket. If the topic is deleted meanwhile, the record is gone with it.
    pub fn publish<'a, H>(
        self: &Arc<Self>,
        now_ms: i64,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        headers: H,
    ) -> Ticket
    where
        H: IntoIterator<Item = (&'a str, Option<&'a [u8]>), IntoIter: Clone>,
    {
        let headers = headers.into_iter();
        let header_bytes: usize =
            headers.clone().map(|(n, v)| n.len() + v.map_or(0, <[u8]>::len) + RECORD_OVERHEAD_BYTES).sum();
        let bytes =
            key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + header_bytes + RECORD_OVERHEAD_BYTES;
        let mut gathering = self.gathering.lock();
        let fits = |g: &&mut Gathering| g.builder.len() + bytes <= GATHERED_BYTES_MAX;
        if let Some(last) = gathering.back_mut().filter(fits) {
            last.builder.push(now_ms, key, value, headers);
            last.now_ms = now_ms;
            return last.ticket;
        }
        let mut builder = BatchBuilder::new();
        builder.push(now_ms, key, value, headers);
        let bytes_max = builder.len().max(GATHERED_BYTES_MAX);
        // In the list before the Change is in the inbox, and the list stays locked: the committer waits for neither
        // longer than this takes.
        gathering.push_back(Gathering { builder, ticket: Ticket::default(), now_ms });
        let ticket = submit_gathered(self, bytes_max);
        if let Some(last) = gathering.back_mut() {
            last.ticket = ticket;
        }
        ticket
    }

    /// The oldest gathered batch, for the Change that was submitted for it.
    pub(super) fn take_gathered(&self) -> Option<Checked> {
        let gathering = self.gathering.lock().pop_front()?;
        Some(self.check_built(vec![gathering.builder.build()], gathering.now_ms))
    }
}
