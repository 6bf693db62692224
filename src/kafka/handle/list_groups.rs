//! ListGroups (API key 16), versions 0–5. Version 4: filter by state (KIP-518). Version 5: by type (KIP-848).

use crate::kafka::{
    call::Call,
    wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup},
};

pub async fn handle(call: Call, request: ListGroupsRequest) -> ListGroupsResponse {
    // Kafka compares both without regard to case.
    let passes = |filter: &[String], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(value))
    };
    let mut groups = Vec::new();
    for group in call.groups().list(call.vhost()) {
        let (group_state, group_type) = (group.state.to_string(), group.group_type.name());
        if passes(&request.types_filter, group_type) && passes(&request.states_filter, &group_state) {
            groups.push(ListedGroup {
                group_id: group.id.to_string(),
                protocol_type: group.protocol_type,
                group_state,
                group_type: group_type.to_owned(),
            });
        }
    }
    ListGroupsResponse { groups, ..ListGroupsResponse::default() }
}
