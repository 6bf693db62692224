//! Kafka's messages as bytes: primitives, headers, and one file per API.
//!
//! A message is a table, written once with `message!`: one line per field in the definition's
//! order with its type, default and versions. Both directions come from that table, so they cannot disagree; a test
//! holds the tables against the field tables in `fixtures/kafka/messages/`. Knows nothing of the broker.
//!
//! (Kafka protocol guide; KIP-482 for flexible versions and tagged fields.)

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod header;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
mod message;
pub mod metadata;
pub mod offset_commit;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod reader;
pub mod records;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod writer;

use message::message;
pub use message::{Field, Message, Wire};
pub use reader::{Malformed, Reader};
pub use records::Records;
pub use writer::{Unsupported, Writer};
