//! One file per API: a request and a [`Call`](super::call::Call) in, a response out.
//!
//! A handler does everything that orders itself against other requests before it first waits; what it then waits for is
//! the disk, more records, a rebalance, or the clock of its connection.

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_share_group_offsets;
pub mod alter_user_scram_credentials;
pub mod api_versions;
mod authorized;
mod broker_configs;
mod broker_loggers;
mod config_changes;
mod config_resource;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_acls;
pub mod create_delegation_token;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_share_group_offsets;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_delegation_token;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_share_group_offsets;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod expire_delegation_token;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod renew_delegation_token;
mod replicas;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod share_acknowledge;
pub mod share_fetch;
pub mod share_group_describe;
pub mod share_group_heartbeat;
mod sharing;
pub mod sync_group;
mod transactions;
pub mod txn_offset_commit;
pub mod update_features;
pub mod write_txn_markers;

use std::time::Duration;

use super::{LEADER_EPOCH, fault::ErrorCode};

/// A client's idea of who leads: -1 for none; the only true one is 0.
///
/// # Errors
/// UNKNOWN_LEADER_EPOCH for one that is still to come, FENCED_LEADER_EPOCH for one that is over.
fn check_leader_epoch(current_leader_epoch: i32) -> Result<(), ErrorCode> {
    match current_leader_epoch {
        NO_EPOCH | LEADER_EPOCH => Ok(()),
        later if later > LEADER_EPOCH => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Err(ErrorCode::FencedLeaderEpoch),
    }
}

const NO_EPOCH: i32 = -1;

/// A timeout in milliseconds; -1 for one that has not changed.
fn timeout(ms: i32) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

fn error_code<T>(outcome: Result<T, ErrorCode>) -> i16 {
    outcome.err().unwrap_or(ErrorCode::None).code()
}
