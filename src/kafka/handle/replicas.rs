//! Replicas named by hand, as a cluster of one node takes them: in CreateTopics, CreatePartitions and
//! AlterPartitionReassignments.

use crate::kafka::{
    NODE_ID,
    fault::{ErrorCode, Fault},
};

/// One partition's replicas: this node, once, and no other.
///
/// # Errors
/// INVALID_REPLICA_ASSIGNMENT
pub(super) fn check(brokers: &[i32]) -> Result<(), Fault> {
    let refuse = |what: String| {
        let text = format!("The manual partition assignment includes {what}");
        Err(Fault::new(ErrorCode::InvalidReplicaAssignment, text))
    };
    match brokers {
        [] => refuse("an empty replica list.".to_owned()),
        [NODE_ID] => Ok(()),
        _ => match brokers.iter().find(|broker| **broker != NODE_ID) {
            Some(other) => refuse(format!("broker {other}, but no such broker is registered.")),
            None => refuse(format!("the broker {NODE_ID} more than once.")),
        },
    }
}
