//! `x-delivery-count` and `x-acquired-count`: how often a quorum queue's message came back.
//!
//! Only they change a message's properties between queue and consumer. (RabbitMQ: the count is there from the second
//! delivery; until 3.13 `basic.get` shows it from the first, as 0; 4.3 tells deliveries from failed ones. rabbit_fifo_client: add_delivery_count_header.)

use bytes::BytesMut;

use crate::{
    broker::{
        arguments::QueueKind,
        profile::Profile,
        queue::{Entry, Queue, returns::Count},
    },
    data::{field::Properties, value::Value},
};

/// How a message is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Deliver,
    Get,
}

/// The properties as the consumer sees them; `None` when they are the publisher's.
#[must_use]
#[inline]
pub(super) fn properties(queue: &Queue, entry: &Entry, by: By, profile: &Profile) -> Option<BytesMut> {
    match queue.kind {
        QueueKind::Classic | QueueKind::Stream => None,
        QueueKind::Quorum => with_count(entry.message.properties(), entry.returns, by, profile),
    }
}

fn with_count(properties: &[u8], returns: Count, by: By, profile: &Profile) -> Option<BytesMut> {
    let (acquired, failed) = (i64::from(returns.acquired), i64::from(returns.failed));
    let shown = acquired > 0 || by == By::Get && profile.delivery_count_from_first_get;
    let headers: &[(&str, i64)] = match (shown, profile.delivery_failures_counted, failed) {
        (false, ..) => return None,
        (true, false, _) => &[("x-delivery-count", acquired)],
        (true, true, 0) => &[("x-acquired-count", acquired)],
        (true, true, _) => &[("x-acquired-count", acquired), ("x-delivery-count", failed)],
    };
    let properties = Properties::decode(properties).ok()?;
    let mut table = properties.header_table().ok()?;
    for (name, value) in headers {
        table.0.retain(|(other, _)| other != name);
        table.0.push(((*name).to_owned(), Value::I64(*value)));
    }
    // RabbitMQ keeps a table sorted once it has set something in it.
    table.0.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(properties.with_headers(&table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::profile::{V3_12, V4_2, V4_3};

    fn headers(returns: Count, by: By, profile: &Profile) -> Option<Vec<(String, i64)>> {
        let out = with_count(&[0x10, 0, 2], returns, by, profile)?;
        let properties = Properties::decode(&out).unwrap();
        assert_eq!(properties.delivery_mode, Some(2));
        let table = properties.header_table().unwrap();
        Some(table.0.into_iter().map(|(name, value)| (name, value.integer().unwrap())).collect())
    }

    #[test]
    fn each_version_counts_in_its_own_way() {
        let count = |acquired, failed| Count { acquired, failed };
        for (profile, by, returns, expected) in [
            (&V3_12, By::Get, count(0, 0), &[("x-delivery-count", 0)][..]),
            (&V3_12, By::Deliver, count(0, 0), &[]),
            (&V3_12, By::Deliver, count(2, 1), &[("x-delivery-count", 2)]),
            (&V4_2, By::Get, count(0, 0), &[]),
            (&V4_2, By::Get, count(2, 0), &[("x-delivery-count", 2)]),
            (&V4_3, By::Deliver, count(2, 0), &[("x-acquired-count", 2)]),
            (&V4_3, By::Deliver, count(3, 1), &[("x-acquired-count", 3), ("x-delivery-count", 1)]),
        ] {
            let shown = headers(returns, by, profile).unwrap_or_default();
            let expected: Vec<_> = expected.iter().map(|&(name, n)| (name.to_owned(), n)).collect();
            assert_eq!(shown, expected, "{} {by:?} {returns:?}", profile.version);
        }
    }
}
