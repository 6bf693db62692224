//! ListPartitionReassignments (API key 46), version 0: on one node there are none.

use crate::kafka::{
    call::Call,
    wire::list_partition_reassignments::{
        ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    },
};

pub async fn handle(
    _call: Call,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
