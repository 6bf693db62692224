//! The table of groups over a store: what survives, what is deleted, and when answers leave.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{SESSION, join_request};
use crate::{
    broker::{
        group::{
            Committer, GroupKey, GroupState, Groups, Settings,
            consumer::Heartbeat,
            error::GroupError::*,
            member::{JoinRequest, SyncRequest},
            offsets::{Committed, TopicPartition},
        },
        topic::{Offset, Topics, tail::Budget, tests::ready},
    },
    clock,
    store::{Options, Store},
};

fn key() -> GroupKey {
    GroupKey { vhost: "/".into(), id: "g".into() }
}

fn topics(store: &Store) -> Arc<Topics> {
    Arc::new(Topics::recover(store.clone(), Budget::new(1_024)).unwrap())
}

fn commit_all(store: &Store) {
    while store.step(clock::epoch()) {}
}

fn offset(offset: i64) -> Committed {
    Committed {
        offset: Offset(offset),
        leader_epoch: -1,
        metadata: "m".into(),
        commit_ms: 1_000,
        expire_ms: None,
    }
}

const SIMPLE: Committer<'static> = Committer::NOBODY;

#[test]
fn members_generation_and_offsets_survive_a_crash_and_answers_wait_for_the_disk() {
    let store = Store::manual(Options::small_disk());
    let groups = Groups::new(store.clone(), topics(&store), Settings::default());
    let now = clock::epoch();
    let mut join = Box::pin(groups.join(now, &key(), join_request("", "a")));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(join.as_mut().poll(&mut cx).is_pending(), "the generation is not durable yet");
    commit_all(&store);
    assert_eq!(ready(join).unwrap().generation_id, 1);
    let sync = SyncRequest {
        member_id: "a".into(),
        generation_id: 1,
        group_instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![("a".into(), "all".into())],
    };
    let sync = groups.sync(now, &key(), sync);
    let at = TopicPartition { topic: Uuid::from_u128(1), partition: 0 };
    let by = Committer { member_id: "a", generation_id: 1, ..SIMPLE };
    let long = Committed { metadata: "x".repeat(4_097), ..offset(6) };
    let commit = groups.commit(now, &key(), by, vec![(at, offset(5)), (at, long)]);
    assert_eq!(groups.committed(&key(), at), None);
    commit_all(&store);
    assert_eq!(ready(sync).unwrap().assignment, "all");
    assert_eq!(ready(commit), Ok(vec![Ok(()), Err(OffsetMetadataTooLarge)]));

    let store = Store::open_on(store.crash(3).unwrap(), Options::small_disk()).unwrap();
    let groups = Groups::recover(store.clone(), topics(&store), Settings::default(), now).unwrap();
    assert_eq!(groups.heartbeat(now, &key(), "a", None, 1), Ok(()));
    assert_eq!(groups.committed(&key(), at), Some(offset(5)));
    let described = groups.describe(&key()).unwrap();
    assert_eq!((described.state, &described.members[0].assignment[..]), (GroupState::Stable, &b"all"[..]));
    // The session ends, and with it the group; the generation goes on from where it was.
    assert_eq!(groups.next_deadline(), Some(now + SESSION));
    groups.on_deadline(now + SESSION);
    assert_eq!(groups.describe(&key()).map(|d| (d.state, d.generation_id)), Some((GroupState::Empty, 2)));
    commit_all(&store);
    let store = Store::open_on(store.crash(4).unwrap(), Options::small_disk()).unwrap();
    let groups = Groups::recover(store.clone(), topics(&store), Settings::default(), now).unwrap();
    let join = groups.join(now, &key(), join_request("", "b"));
    commit_all(&store);
    assert_eq!(ready(join).unwrap().generation_id, 3);
}

#[test]
fn a_deleted_or_expired_group_leaves_no_key_behind() {
    let store = Store::manual(Options::ephemeral());
    let groups = Groups::new(
        store.clone(),
        topics(&store),
        Settings { offsets_retention_ms: 100, ..Settings::default() },
    );
    let now = clock::epoch();
    let at = TopicPartition { topic: Uuid::from_u128(1), partition: 0 };
    let keys = || {
        commit_all(&store);
        store.scan(crate::store::Space::State, b"").unwrap().len()
    };
    assert_eq!(ready(groups.delete(&key())), Err(GroupIdNotFound));
    // Deleted while a commit is on its way: the commit's key goes too.
    let _commit = groups.commit(now, &key(), SIMPLE, vec![(at, offset(5))]);
    let delete = groups.delete(&key());
    assert_eq!((keys(), ready(delete)), (0, Ok(())));

    _ = groups.commit(now, &key(), SIMPLE, vec![(at, offset(5))]);
    assert_eq!(keys(), 1);
    groups.expire_offsets(1_050);
    assert_eq!((keys(), groups.list(&"/".into()).len()), (1, 1));
    groups.expire_offsets(1_150);
    assert_eq!((keys(), groups.list(&"/".into()).len()), (0, 0));

    _ = groups.commit(now, &key(), SIMPLE, vec![(at, offset(5))]);
    assert_eq!(keys(), 1);
    groups.topic_deleted(at.topic);
    assert_eq!((keys(), groups.committed(&key(), at)), (0, None));

    let _join = groups.join(now, &key(), join_request("", "a"));
    commit_all(&store);
    assert_eq!(ready(groups.delete(&key())), Err(NonEmptyGroup));
    let committing = Committer { generation_id: 7, ..SIMPLE };
    let unknown = GroupKey { id: "other".into(), ..key() };
    assert_eq!(ready(groups.commit(now, &unknown, committing, Vec::new())), Err(IllegalGeneration));
}

#[test]
fn a_group_without_a_name_or_a_member_nobody_knows_is_refused_at_once() {
    let store = Store::manual(Options::ephemeral());
    let groups = Groups::new(store.clone(), topics(&store), Settings::default());
    let now = clock::epoch();
    let nameless = GroupKey { id: "".into(), ..key() };
    assert_eq!(ready(groups.join(now, &nameless, join_request("", "a"))).unwrap_err().error, InvalidGroupId);
    assert_eq!(ready(groups.join(now, &key(), join_request("x", ""))).unwrap_err().error, UnknownMemberId);
    assert_eq!(groups.heartbeat(now, &key(), "x", None, 1), Err(UnknownMemberId));
    assert_eq!(groups.leave(now, &key(), &[("x".into(), None)]), Ok(vec![Err(UnknownMemberId)]));
    assert!(groups.list(&"/".into()).is_empty());
}

#[test]
fn an_answer_that_changes_nothing_waits_for_what_it_tells() {
    let store = Store::manual(Options::small_disk());
    let groups = Groups::new(store.clone(), topics(&store), Settings::default());
    let beat = || Heartbeat {
        member_id: "a".into(),
        rebalance_timeout: Some(SESSION),
        topics: Some(["t".to_owned()].into()),
        owned: Some(Default::default()),
        ..Heartbeat::default()
    };
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    // The client lost its connection, and asks again on another.
    for _ in 0..2 {
        let mut asked = Box::pin(groups.consumer_heartbeat(clock::epoch(), &key(), beat()));
        assert!(asked.as_mut().poll(&mut cx).is_pending(), "the epoch is not durable yet");
    }
    let asked = groups.consumer_heartbeat(clock::epoch(), &key(), beat());
    commit_all(&store);
    assert_eq!(ready(asked).unwrap().member_epoch, 1);
    assert_eq!(ready(groups.consumer_heartbeat(clock::epoch(), &key(), beat())).unwrap().member_epoch, 1);
}

#[test]
fn a_group_of_which_nothing_came_is_not_there() {
    let store = Store::manual(Options::small_disk());
    let groups = Groups::new(store.clone(), topics(&store), Settings::default());
    let now = clock::epoch();
    let refused = Heartbeat { member_id: "m".into(), regex: Some("(".into()), ..Heartbeat::default() };
    assert!(ready(groups.consumer_heartbeat(now, &key(), refused)).is_err());
    let too_short = JoinRequest { session_timeout: Duration::ZERO, ..join_request("", "a") };
    assert_eq!(ready(groups.join(now, &key(), too_short)).unwrap_err().error, InvalidSessionTimeout);
    assert!(groups.describe(&key()).is_none() && groups.list(&key().vhost).is_empty());
    // One that was told its id is on its way in.
    let asked_for_its_id = JoinRequest { require_known_member_id: true, ..join_request("", "a") };
    assert_eq!(ready(groups.join(now, &key(), asked_for_its_id)).unwrap_err().error, MemberIdRequired);
    assert_eq!(groups.describe(&key()).unwrap().state, GroupState::Empty);
}
