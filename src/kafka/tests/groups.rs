//! The group APIs on the wire. How groups behave is tested beside the groups.

use super::*;
use crate::kafka::wire::{
    delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse},
    describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse},
    heartbeat::{HeartbeatRequest, HeartbeatResponse},
    join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse},
    leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity},
    list_groups::{ListGroupsRequest, ListGroupsResponse},
    metadata::MetadataResponse,
    offset_commit::{
        OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    },
    offset_fetch::{
        OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        OffsetFetchResponse,
    },
    sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse},
};

fn join(member_id: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: "m".into() };
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    }
}

/// Joins and syncs alone; the member's id.
fn member(client: &mut Client<'_>, version: i16) -> String {
    let mut joined: JoinGroupResponse = client.call(version, &join(""));
    if joined.error_code == ErrorCode::MemberIdRequired.code() {
        assert!(version >= 4);
        joined = client.call(version, &join(&joined.member_id.clone()));
    }
    assert_eq!((joined.error_code, joined.protocol_name.as_deref()), (OK, Some("range")));
    assert!(joined.member_id.starts_with("test-") && joined.leader == joined.member_id);
    assert_eq!(joined.members.len(), 1);
    let assignment =
        SyncGroupRequestAssignment { member_id: joined.member_id.clone(), assignment: "all".into() };
    let sync = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: vec![assignment],
        ..SyncGroupRequest::default()
    };
    let synced: SyncGroupResponse = client.call(version.min(5), &sync);
    assert_eq!((synced.error_code, &synced.assignment[..]), (OK, &b"all"[..]));
    joined.member_id
}

fn leave(client: &mut Client<'_>, version: i16, member_id: &str) -> (i16, Vec<i16>) {
    let member = MemberIdentity { member_id: member_id.into(), ..MemberIdentity::default() };
    let request = match version {
        0..=2 => {
            LeaveGroupRequest { group_id: "g".into(), member_id: member_id.into(), ..Default::default() }
        }
        _ => LeaveGroupRequest { group_id: "g".into(), members: vec![member], ..Default::default() },
    };
    let left: LeaveGroupResponse = client.call(version, &request);
    (left.error_code, left.members.iter().map(|m| m.error_code).collect())
}

#[test]
fn a_member_joins_syncs_beats_and_leaves_in_every_version() {
    let world = World::new();
    let mut client = world.client();
    for version in 0..=9 {
        let member_id = member(&mut client, version);
        let generation_id = i32::from(version) * 2 + 1;
        let beat = HeartbeatRequest {
            group_id: "g".into(),
            generation_id,
            member_id: member_id.clone(),
            ..HeartbeatRequest::default()
        };
        let beat: HeartbeatResponse = client.call(version.min(4), &beat);
        assert_eq!(beat.error_code, OK, "version {version}");
        let each = if version < 3 { vec![] } else { vec![OK] };
        assert_eq!(leave(&mut client, version.min(5), &member_id), (OK, each));
    }
    let unknown = ErrorCode::UnknownMemberId.code();
    assert_eq!(leave(&mut client, 0, "nobody"), (unknown, vec![]));
    assert_eq!(leave(&mut client, 3, "nobody"), (OK, vec![unknown]));
}

#[test]
fn a_join_that_waits_holds_up_its_own_connection_only() {
    let world = World::new();
    let (mut first, mut second) = (world.client(), world.client());
    let leader = member(&mut first, 5);
    let required: JoinGroupResponse = second.call(5, &join(""));
    second.send(5, &join(&required.member_id));
    world.commit();
    second.poll();
    assert!(second.frame().is_none());
    let beat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: leader.clone(),
        ..HeartbeatRequest::default()
    };
    let beat: HeartbeatResponse = first.call(3, &beat);
    assert_eq!(beat.error_code, ErrorCode::RebalanceInProgress.code());
    let joined: JoinGroupResponse = first.call(5, &join(&leader));
    assert_eq!((joined.generation_id, joined.members.len()), (2, 2));
    let follower: JoinGroupResponse = second.answer(5);
    assert_eq!((follower.generation_id, follower.members.len(), follower.leader), (2, 0, leader));
}

fn commit(version: i16, topic: &MetadataResponse, generation_id: i32) -> OffsetCommitRequest {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 42,
        committed_metadata: Some("näh".into()),
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: if version < 10 { "t".into() } else { String::new() },
        topic_id: topic.topics[0].topic_id,
        partitions: vec![partition(5), partition(0)],
    };
    OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: generation_id,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

#[test]
fn offsets_are_committed_and_fetched_in_every_version() {
    let world = World::new();
    let mut client = world.client();
    let topic: MetadataResponse = client.call(12, &super::topics::asking(&["t"]));
    for version in 2..=10 {
        let response: OffsetCommitResponse = client.call(version, &commit(version, &topic, -1));
        let codes: Vec<i16> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
        assert_eq!(codes, [ErrorCode::UnknownTopicOrPartition.code(), OK], "version {version}");
    }
    let response: OffsetCommitResponse = client.call(7, &commit(7, &topic, 3));
    assert_eq!(response.topics[0].partitions[1].error_code, ErrorCode::UnknownMemberId.code());
    for version in 1..=7 {
        let partition_indexes = vec![0, 5];
        let asked = OffsetFetchRequestTopic { name: "t".into(), partition_indexes };
        let request = |topics| OffsetFetchRequest { group_id: "g".into(), topics, ..Default::default() };
        let response: OffsetFetchResponse = client.call(version, &request(Some(vec![asked])));
        let seen: Vec<_> = response.topics[0]
            .partitions
            .iter()
            .map(|p| (p.committed_offset, p.metadata.as_deref().unwrap(), p.error_code))
            .collect();
        assert_eq!(seen, [(42, "näh", OK), (-1, "", OK)], "version {version}");
        if version >= 2 {
            let all: OffsetFetchResponse = client.call(version, &request(None));
            assert_eq!((all.topics.len(), all.topics[0].partitions.len()), (1, 1));
        }
    }
    for version in 8..=10 {
        let asked = OffsetFetchRequestTopics {
            name: if version < 10 { "t".into() } else { String::new() },
            topic_id: topic.topics[0].topic_id,
            partition_indexes: vec![0],
        };
        let group = |group_id: &str, topics| OffsetFetchRequestGroup {
            group_id: group_id.into(),
            topics,
            ..OffsetFetchRequestGroup::default()
        };
        let groups = vec![group("g", Some(vec![asked])), group("g", None), group("other", None)];
        let request = OffsetFetchRequest { groups, ..OffsetFetchRequest::default() };
        let response: OffsetFetchResponse = client.call(version, &request);
        let offset = |at: usize| response.groups[at].topics[0].partitions[0].committed_offset;
        assert_eq!((offset(0), offset(1), response.groups[2].topics.len()), (42, 42, 0), "version {version}");
    }
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let world = World::new();
    let mut client = world.client();
    let member_id = member(&mut client, 5);
    let mut list = |version, states: &[&str]| {
        let states_filter = states.iter().map(|s| (*s).to_owned()).collect();
        let request = ListGroupsRequest { states_filter, ..ListGroupsRequest::default() };
        let response: ListGroupsResponse = client.call(version, &request);
        response.groups.into_iter().map(|g| (g.group_id, g.group_state, g.group_type)).collect::<Vec<_>>()
    };
    assert_eq!(list(0, &[]).len(), 1);
    assert_eq!(list(5, &["stable"]), [("g".into(), "Stable".into(), "classic".into())]);
    assert_eq!(list(4, &["Empty"]), []);
    let mut describe = |version| {
        let groups = vec!["g".into(), "none".into()];
        let request = DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() };
        let response: DescribeGroupsResponse = client.call(version, &request);
        let known = response.groups[0].members.first().map(|m| (m.client_id.clone(), m.client_host.clone()));
        assert_eq!(
            (response.groups[0].group_state.as_str(), response.groups[0].protocol_data.as_str()),
            ("Stable", "range")
        );
        (known, response.groups[1].error_code, response.groups[1].group_state.clone())
    };
    let member = Some(("test".to_owned(), "/127.0.0.1".to_owned()));
    assert_eq!(describe(0), (member.clone(), OK, "Dead".into()));
    assert_eq!(describe(6), (member, ErrorCode::GroupIdNotFound.code(), "Dead".into()));
    let delete = |client: &mut Client<'_>| {
        let request = DeleteGroupsRequest { groups_names: vec!["g".into(), "none".into()] };
        let response: DeleteGroupsResponse = client.call(2, &request);
        response.results.iter().map(|r| r.error_code).collect::<Vec<_>>()
    };
    let not_found = ErrorCode::GroupIdNotFound.code();
    assert_eq!(delete(&mut client), [ErrorCode::NonEmptyGroup.code(), not_found]);
    _ = leave(&mut client, 5, &member_id);
    assert_eq!(delete(&mut client), [OK, not_found]);
}
