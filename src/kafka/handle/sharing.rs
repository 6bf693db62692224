//! What ShareFetch and ShareAcknowledge have in common: who asks, acknowledgements and their outcomes.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    broker::{
        group::{
            GroupKey,
            member::MemberId,
            offsets::TopicPartition,
            share::{
                SessionError, SharedPartition,
                partition::{Acknowledge, Acknowledgement, NotAcknowledged, ShareTerms},
            },
        },
        topic::partition::Partition,
    },
    kafka::{
        call::Call,
        fault::{ErrorCode, Fault},
    },
};

/// What a member id may be long: a UUID's text.
const MEMBER_ID_BYTES_MAX: usize = 36;

/// A request's first and last of a session.
pub(super) const FIRST: i32 = 0;
pub(super) const FINAL: i32 = -1;

/// The member that asks.
pub(super) struct Borrower {
    pub(super) group: GroupKey,
    pub(super) member: MemberId,
    pub(super) terms: ShareTerms,
    pub(super) may_renew: bool,
}

impl Borrower {
    pub(super) fn new(call: &Call, group: Option<String>, member: Option<String>) -> Result<Self, Fault> {
        let invalid = |text: &str| Fault::new(ErrorCode::InvalidRequest, text);
        let group = group.ok_or_else(|| invalid("Invalid group id in the request."))?;
        let member = member.filter(|id| !id.is_empty() && id.len() <= MEMBER_ID_BYTES_MAX);
        let member = member.ok_or_else(|| invalid("Invalid member id in the request."))?;
        let group = call.group(&group);
        let defaults = &call.groups().settings().defaults;
        let config = call.groups().config(&group);
        let (terms, may_renew) = (config.share_terms(defaults), config.may_renew(defaults));
        Ok(Self { group, member: MemberId::from(member.as_str()), terms, may_renew })
    }

    pub(super) fn lock_ms(&self) -> i32 {
        i32::try_from(self.terms.lock.as_millis()).unwrap_or(i32::MAX)
    }

    /// The share partition, if it is being read; errors as ShareFetch names them.
    pub(super) fn find(
        &self,
        call: &Call,
        at: TopicPartition,
    ) -> Result<(Arc<Partition>, Option<Arc<SharedPartition>>), ErrorCode> {
        let topic = call.topic_of_id(at.topic)?;
        let partition = topic.partition(at.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok((partition.clone(), call.groups().shares.find(&self.group, at)))
    }

    /// Acknowledges in each partition by itself; durable when it returns.
    pub(super) async fn acknowledge(
        &self,
        call: &Call,
        asked: Vec<(TopicPartition, Vec<RawBatch>)>,
        renews: bool,
    ) -> BTreeMap<TopicPartition, Result<(), Fault>> {
        let (mut outcomes, mut waiting) = (BTreeMap::new(), Vec::new());
        for (at, batches) in asked {
            match self.begin(call, at, batches, renews) {
                Ok(Some(durable)) => waiting.push((at, durable)),
                Ok(None) => _ = outcomes.insert(at, Ok(())),
                Err(fault) => _ = outcomes.insert(at, Err(fault)),
            }
        }
        for (at, durable) in waiting {
            let outcome = durable.await.map_err(|error| Fault::from(ErrorCode::from(error)));
            outcomes.insert(at, outcome);
        }
        outcomes
    }

    fn begin(
        &self,
        call: &Call,
        at: TopicPartition,
        batches: Vec<RawBatch>,
        renews: bool,
    ) -> Result<
        Option<crate::broker::group::Answer<Result<(), crate::broker::group::error::GroupError>>>,
        Fault,
    > {
        let acknowledgements = self.check(batches, renews)?;
        let (_, shared) = self.find(call, at)?;
        if acknowledgements.is_empty() {
            return Ok(None);
        }
        let shared = shared.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let now = call.door().broker.core.clock.now();
        let done = shared.acknowledge(now, &self.member, &acknowledgements, &self.terms);
        done.map(Some).map_err(|refused: NotAcknowledged| {
            let code = match refused {
                NotAcknowledged::PastTheEnd => ErrorCode::InvalidRequest,
                NotAcknowledged::NotTheOwner | NotAcknowledged::NotAcquired => ErrorCode::InvalidRecordState,
            };
            Fault::new(code, refused.to_string())
        })
    }

    /// Ranges in order, each with one type or one for each offset.
    fn check(&self, batches: Vec<RawBatch>, renews: bool) -> Result<Vec<Acknowledgement>, Fault> {
        let invalid = || Fault::from(ErrorCode::InvalidRequest);
        let (mut acknowledgements, mut previous) = (Vec::with_capacity(batches.len()), -1);
        for (first, last, numbers) in batches {
            let offsets =
                last.checked_sub(first).and_then(|n| usize::try_from(n).ok()).ok_or_else(invalid)?;
            let fits = numbers.len() == 1 || numbers.len().checked_sub(1) == Some(offsets);
            if first < previous || !fits {
                return Err(invalid());
            }
            let types = numbers.into_iter().map(Acknowledge::of).collect::<Option<Vec<_>>>();
            let types = types.ok_or_else(invalid)?;
            if types.contains(&Acknowledge::Renew) && !(renews && self.may_renew) {
                return Err(invalid());
            }
            previous = last;
            acknowledgements.push(Acknowledgement { first, last, types });
        }
        Ok(acknowledgements)
    }
}

/// First and last offset, and the acknowledgement types by number.
pub(super) type RawBatch = (i64, i64, Vec<i8>);

pub(super) fn session_fault(error: SessionError) -> Fault {
    Fault::from(match error {
        SessionError::NotFound => ErrorCode::ShareSessionNotFound,
        SessionError::InvalidEpoch => ErrorCode::InvalidShareSessionEpoch,
        SessionError::LimitReached => ErrorCode::ShareSessionLimitReached,
    })
}

/// The error code and text of an outcome.
pub(super) fn parts(outcome: Result<(), Fault>) -> (i16, Option<String>) {
    match outcome {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(Fault { code, message }) => (code.code(), Some(message)),
    }
}
