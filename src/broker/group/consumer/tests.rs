//! The consumer group: every transition and refusal, as tables of heartbeats; random histories are in `history.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{Beat, Heartbeat, MemberState, Migration, Moment, Partitions, ShareMembership, Terms};
use crate::{
    broker::group::{
        GroupState,
        classic::{Classic, Effects, Limits, Reply},
        embedded::{Assignment, tests::subscription},
        error::{GroupError::*, Refused},
        machine::{GroupType, Machine},
        member::{JoinRequest, JoinResult, MemberId, Protocol, SyncRequest, SyncResult, Token},
        offsets::TopicPartition,
        share::ShareHeartbeat,
        topics::{TopicInfo, TopicView},
    },
    clock,
};

/// Topics by name.
#[derive(Debug, Clone, Default)]
pub(in crate::broker::group) struct FakeTopics {
    topics: BTreeMap<String, TopicInfo>,
    version: u64,
}

impl FakeTopics {
    pub(in crate::broker::group) fn set(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        let id = Uuid::from_u128(name.bytes().fold(0, |n, byte| n * 256 + u128::from(byte)));
        self.topics.insert(name.to_owned(), TopicInfo { id, name: name.into(), partitions });
    }
}

impl TopicView for FakeTopics {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        self.topics.get(name).cloned()
    }

    fn by_id(&self, id: Uuid) -> Option<TopicInfo> {
        self.topics.values().find(|info| info.id == id).cloned()
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.topics.values().map(|info| info.name.clone()).collect()
    }

    fn version(&self) -> u64 {
        self.version
    }
}

pub(in crate::broker::group) const SESSION: Duration = Duration::from_secs(45);
pub(in crate::broker::group) const REBALANCE: Duration = Duration::from_secs(30);

/// A group of whichever type, its topics and its clock.
pub(in crate::broker::group) struct Bench {
    pub(in crate::broker::group) machine: Machine,
    pub(in crate::broker::group) topics: FakeTopics,
    pub(in crate::broker::group) now: Instant,
    terms: Terms,
    limits: Limits,
    tokens: u64,
    pub(in crate::broker::group) effects: Effects,
}

impl Bench {
    pub(in crate::broker::group) fn new(topics: &[(&str, i32)]) -> Self {
        let mut fake = FakeTopics::default();
        topics.iter().for_each(|(name, partitions)| fake.set(name, *partitions));
        let terms = Terms {
            session_timeout: SESSION,
            heartbeat_interval: Duration::from_secs(5),
            assignment_interval: Duration::ZERO,
            members_max: 4,
            migration: Migration::Bidirectional,
            share: ShareMembership {
                session_timeout: SESSION,
                heartbeat_interval: Duration::from_secs(5),
                members_max: 4,
            },
        };
        let limits = Limits::default();
        let machine = Machine::Classic(Classic::new(limits.clone()));
        let now = clock::epoch();
        Self { machine, topics: fake, now, terms, limits, tokens: 0, effects: Effects::default() }
    }

    pub(in crate::broker::group) fn heartbeat(&mut self, request: Heartbeat) -> Result<Beat, Refused> {
        let at = Moment { now: self.now, group: "g", topics: &self.topics, terms: &self.terms };
        self.effects = Effects::default();
        self.machine.consumer_heartbeat(at, &self.limits, request, &mut self.effects)
    }

    /// A heartbeat that was accepted: the epoch, and the assignment if it was told.
    fn beat(&mut self, request: Heartbeat) -> (i32, Option<Vec<i32>>) {
        let beat = self.heartbeat(request).unwrap();
        (beat.member_epoch, beat.assignment.map(|a| a.iter().map(|at| at.partition).collect()))
    }

    fn refused(&mut self, request: Heartbeat) -> (crate::broker::group::error::GroupError, String) {
        let before = format!("{:?}", self.machine);
        let refused = self.heartbeat(request).unwrap_err();
        assert_eq!(format!("{:?}", self.machine), before, "a refusal changes nothing");
        (refused.error, refused.text)
    }

    pub(in crate::broker::group) fn advance(&mut self, time: Duration) {
        self.now += time;
        let at = Moment { now: self.now, group: "g", topics: &self.topics, terms: &self.terms };
        self.effects = Effects::default();
        while self.machine.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.machine.on_deadline(at, &self.limits, &mut self.effects);
        }
    }

    pub(in crate::broker::group) fn join(&mut self, request: JoinRequest) -> Vec<(Token, JoinResult)> {
        self.tokens += 1;
        let at = Moment { now: self.now, group: "g", topics: &self.topics, terms: &self.terms };
        self.effects = Effects::default();
        self.machine.join(at, &self.limits, request, Token(self.tokens), &mut self.effects);
        let joins = |reply: &Reply| match reply {
            Reply::Join(token, result) => Some((*token, result.clone())),
            Reply::Sync(..) => None,
        };
        self.effects.replies.iter().filter_map(joins).collect()
    }

    pub(in crate::broker::group) fn sync(
        &mut self,
        id: &str,
        generation_id: i32,
        assignments: &[(&str, &[i32])],
    ) -> Option<SyncResult> {
        self.tokens += 1;
        let at = Moment { now: self.now, group: "g", topics: &self.topics, terms: &self.terms };
        self.effects = Effects::default();
        let assignment = |(id, partitions): &(&str, &[i32])| {
            (
                (*id).to_owned(),
                Assignment::encode(1, &BTreeMap::from([("t".to_owned(), partitions.to_vec())])),
            )
        };
        let request = SyncRequest {
            member_id: id.to_owned(),
            generation_id,
            group_instance_id: None,
            protocol_type: None,
            protocol_name: None,
            assignments: assignments.iter().map(assignment).collect(),
        };
        self.machine.sync(at, request, Token(self.tokens), &mut self.effects);
        let mine = Token(self.tokens);
        self.effects.replies.iter().find_map(|reply| match reply {
            Reply::Sync(token, result) if *token == mine => Some(result.clone()),
            Reply::Sync(..) | Reply::Join(..) => None,
        })
    }

    pub(in crate::broker::group) fn classic_heartbeat(
        &mut self,
        id: &str,
        generation_id: i32,
    ) -> Result<(), crate::broker::group::error::GroupError> {
        let at = Moment { now: self.now, group: "g", topics: &self.topics, terms: &self.terms };
        self.machine.heartbeat(at, id, None, generation_id)
    }

    pub(in crate::broker::group) fn consumer(&self) -> &super::Consumer {
        match &self.machine {
            Machine::Consumer(consumer) => consumer,
            Machine::Classic(_) | Machine::Share(_) => panic!("it is of another type"),
        }
    }

    pub(in crate::broker::group) fn share(&mut self, request: ShareHeartbeat) -> Result<Beat, Refused> {
        let at = Moment { now: self.now, group: "g", topics: &self.topics, terms: &self.terms };
        self.effects = Effects::default();
        self.machine.share_heartbeat(at, request, &mut self.effects)
    }

    pub(in crate::broker::group) fn make_room(&mut self, members: usize) {
        self.terms.members_max = members;
    }

    pub(in crate::broker::group) fn leave(&mut self, id: &str) {
        let at = Moment { now: self.now, group: "g", topics: &self.topics, terms: &self.terms };
        self.effects = Effects::default();
        _ = self.machine.leave(at, &self.limits, &[(id.to_owned(), None)], &mut self.effects);
    }

    /// Answers to JoinGroup of the last step, by member.
    pub(in crate::broker::group) fn take_joins(&mut self) -> Vec<(String, JoinResult)> {
        let id = |result: &JoinResult| match result {
            Ok(joined) => joined.member_id.to_string(),
            Err(refused) => refused.member_id.to_string(),
        };
        let replies = std::mem::take(&mut self.effects.replies);
        let joins = replies.into_iter().filter_map(|reply| match reply {
            Reply::Join(_, result) => Some((id(&result), result)),
            Reply::Sync(..) => None,
        });
        joins.collect()
    }

    fn state_of(&self, id: &str) -> MemberState {
        self.consumer().members.get(id).unwrap().state
    }
}

pub(in crate::broker::group) fn joining(id: &str, topics: &[&str]) -> Heartbeat {
    Heartbeat {
        member_id: id.to_owned(),
        rebalance_timeout: Some(REBALANCE),
        topics: Some(topics.iter().map(|t| (*t).to_owned()).collect()),
        owned: Some(Partitions::new()),
        ..Heartbeat::default()
    }
}

fn steady(id: &str, member_epoch: i32) -> Heartbeat {
    Heartbeat { member_id: id.to_owned(), member_epoch, ..Heartbeat::default() }
}

fn owning(id: &str, member_epoch: i32, partitions: &[i32]) -> Heartbeat {
    Heartbeat { owned: Some(of_t(partitions)), ..steady(id, member_epoch) }
}

fn of_t(partitions: &[i32]) -> Partitions {
    let topic = Uuid::from_u128(u128::from(b't'));
    partitions.iter().map(|partition| TopicPartition { topic, partition: *partition }).collect()
}

fn static_join(id: &str, instance: &str) -> Heartbeat {
    Heartbeat { instance: Some(instance.to_owned()), ..joining(id, &["t"]) }
}

pub(in crate::broker::group) fn classic_join(id: &str, new_id: &str, owned: &[i32]) -> JoinRequest {
    JoinRequest {
        member_id: id.to_owned(),
        new_member_id: MemberId::from(new_id),
        group_instance_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout: REBALANCE,
        session_timeout: Duration::from_secs(10),
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol {
            name: "range".to_owned(),
            metadata: subscription(1, &["t"], &[("t", owned)]),
        }],
        require_known_member_id: false,
        supports_skipping_assignment: false,
    }
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut bench = Bench::new(&[("t", 3)]);
    assert_eq!(bench.beat(joining("a", &["t"])), (1, Some(vec![0, 1, 2])));
    assert!(bench.effects.persist && bench.effects.members.contains("a"));
    assert_eq!(bench.beat(steady("a", 1)), (1, None));
    assert_eq!(bench.effects, Effects::default(), "a steady heartbeat writes nothing");
    assert_eq!(bench.machine.state(), GroupState::Stable);
}

#[test]
fn a_second_member_waits_until_the_first_has_given_back() {
    let mut bench = Bench::new(&[("t", 4)]);
    bench.beat(joining("a", &["t"]));
    assert_eq!(bench.beat(joining("b", &["t"])), (2, Some(vec![])));
    assert_eq!(bench.state_of("b"), MemberState::UnreleasedPartitions);
    assert_eq!(bench.machine.state(), GroupState::Reconciling);
    assert_eq!(bench.beat(steady("a", 1)), (1, Some(vec![0, 1])));
    assert_eq!(bench.state_of("a"), MemberState::UnrevokedPartitions);
    assert_eq!(bench.beat(steady("b", 2)), (2, None), "nothing is free yet");
    assert_eq!(bench.beat(owning("a", 1, &[0, 1, 2, 3])), (1, None), "still owned");
    assert_eq!(bench.beat(owning("a", 1, &[0, 1])), (2, None));
    assert_eq!(bench.beat(steady("b", 2)), (2, Some(vec![2, 3])));
    assert_eq!(bench.machine.state(), GroupState::Stable);
}

#[test]
fn a_member_that_never_gives_back_is_fenced_when_its_time_is_over() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.beat(joining("a", &["t"]));
    bench.beat(joining("b", &["t"]));
    bench.beat(steady("a", 1));
    bench.advance(REBALANCE - Duration::from_millis(1));
    assert_eq!(bench.beat(steady("a", 1)).0, 1);
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.refused(steady("a", 1)).0, UnknownMemberId);
    assert_eq!(bench.beat(steady("b", 2)), (3, Some(vec![0, 1])));
}

#[test]
fn a_silent_member_is_fenced_and_the_others_get_its_partitions() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.beat(joining("a", &["t"]));
    bench.advance(SESSION / 2);
    bench.beat(joining("b", &["t"]));
    bench.advance(SESSION / 2);
    assert_eq!(bench.beat(steady("b", 2)), (3, Some(vec![0, 1])));
}

#[test]
fn epochs_that_are_not_the_members_are_fenced_but_for_the_last_one() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.beat(joining("a", &["t"]));
    let (error, text) = bench.refused(steady("a", 2));
    assert_eq!(error, FencedMemberEpoch);
    assert!(
        text.starts_with("The consumer group member has a greater member epoch (2) than the one known"),
        "{text}"
    );
    bench.beat(joining("b", &["t"]));
    bench.beat(owning("a", 1, &[0, 1]));
    assert_eq!(bench.beat(owning("a", 1, &[0])).0, 2);
    assert_eq!(bench.beat(owning("a", 1, &[0])).0, 2, "the answer may have been lost");
    assert_eq!(bench.refused(owning("a", 1, &[0, 1])).0, FencedMemberEpoch);
    assert_eq!(bench.refused(steady("a", 1)).0, FencedMemberEpoch);
    assert_eq!(bench.beat(joining("a", &["t"])), (2, Some(vec![0])), "0 is always welcome");
    assert_eq!(
        bench.refused(steady("c", 1)),
        (UnknownMemberId, "Member c is not a member of group g.".to_owned())
    );
}

#[test]
fn a_group_reacts_to_topics_that_come_and_grow() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.beat(joining("a", &["t"])), (1, Some(vec![])));
    bench.topics.set("t", 1);
    assert_eq!(bench.beat(steady("a", 1)), (2, Some(vec![0])));
    bench.topics.set("t", 3);
    assert_eq!(bench.beat(steady("a", 2)), (3, Some(vec![0, 1, 2])));
    bench.topics.topics.remove("t");
    assert_eq!(bench.beat(steady("a", 3)).0, 3, "it must give back what is gone");
    assert_eq!(bench.beat(owning("a", 3, &[])), (4, None));
}

#[test]
fn a_pattern_subscribes_to_whole_names_also_of_topics_to_come() {
    let mut bench = Bench::new(&[("ta", 1), ("tb", 1), ("ub", 1)]);
    let with = |regex: &str, epoch| Heartbeat {
        regex: Some(regex.to_owned()),
        member_epoch: epoch,
        ..joining("a", &[])
    };
    let count = |bench: &Bench| bench.consumer().members.get("a").unwrap().assigned.len();
    bench.beat(with("t.*|nothing", 0));
    assert_eq!(count(&bench), 2);
    bench.topics.set("tc", 1);
    assert_eq!(bench.beat(steady("a", 1)).0, 2);
    assert_eq!(count(&bench), 3);
    let (error, text) = bench.refused(with("t(", 2));
    assert_eq!(error, InvalidRegularExpression);
    assert!(text.starts_with("SubscribedTopicRegex `t(` is not a valid regular expression: "), "{text}");
    bench.beat(with("", 2));
    assert_eq!(bench.beat(owning("a", 2, &[])).0, 3);
    assert_eq!(count(&bench), 0);
}

#[test]
fn static_members_come_back_to_their_place() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.beat(static_join("a", "i"));
    assert_eq!(
        bench.refused(static_join("b", "i")),
        (
            UnreleasedInstanceId,
            "Static member b with instance id i cannot join the group because the instance id is owned by a member."
                .to_owned()
        )
    );
    let away = Heartbeat { instance: Some("i".to_owned()), ..steady("a", -2) };
    assert_eq!(bench.beat(away.clone()), (-2, None));
    assert_eq!(bench.beat(static_join("b", "i")), (1, Some(vec![0, 1])), "nobody else was bothered");
    assert_eq!(
        bench.refused(Heartbeat { instance: Some("i".to_owned()), ..steady("a", 1) }),
        (FencedInstanceId, "Static member a with instance id i was fenced by member b.".to_owned())
    );
    let unknown = Heartbeat { instance: Some("j".to_owned()), ..steady("a", 1) };
    assert_eq!(bench.refused(unknown), (UnknownMemberId, "Instance id j is unknown.".to_owned()));
    bench.beat(Heartbeat { member_id: "b".to_owned(), ..away });
    bench.advance(SESSION);
    assert_eq!(bench.machine.state(), GroupState::Empty, "away for too long");
}

#[test]
fn leaving_gives_everything_back_and_a_full_group_takes_nobody() {
    let mut bench = Bench::new(&[("t", 4)]);
    for id in ["a", "b", "c", "d"] {
        bench.beat(joining(id, &["t"]));
    }
    let (error, text) = bench.refused(joining("e", &["t"]));
    assert_eq!(error, GroupMaxSizeReached);
    assert_eq!(text, "The consumer group has reached its maximum capacity of 4 members.");
    for id in ["b", "c", "d"] {
        assert_eq!(bench.beat(steady(id, -1)), (-1, None));
    }
    assert_eq!(bench.beat(steady("a", 1)), (7, None), "it had not been told to give anything back");
    assert_eq!(bench.beat(steady("a", -1)), (-1, None));
    assert_eq!((bench.machine.state(), bench.consumer().epochs.group), (GroupState::Empty, 8));
    assert_eq!(bench.refused(steady("a", -1)).0, UnknownMemberId);
}

#[test]
fn offsets_are_committed_in_the_members_epoch_or_since_it_has_had_the_partition() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.beat(joining("a", &["t"]));
    bench.beat(joining("b", &["t"]));
    bench.beat(owning("a", 1, &[0, 1]));
    bench.beat(owning("a", 1, &[0]));
    bench.beat(steady("b", 2));
    let check = |member: &str, epoch, knows, partitions: &[i32]| {
        bench.consumer().validate_commit(member, epoch, knows, &mut of_t(partitions).into_iter())
    };
    assert_eq!(check("a", 2, true, &[0, 1]), Ok(()));
    assert_eq!(check("a", 1, true, &[0]), Ok(()), "it has had 0 since epoch 1");
    assert_eq!(check("a", 1, true, &[0, 1]), Err(StaleMemberEpoch));
    assert_eq!(check("b", 1, true, &[1]), Err(StaleMemberEpoch), "it has had 1 since epoch 2");
    assert_eq!(check("a", 3, true, &[0]), Err(StaleMemberEpoch));
    assert_eq!(check("a", 2, false, &[0]), Err(UnsupportedVersion));
    assert_eq!(check("", -1, true, &[0]), Err(UnknownMemberId));
    assert_eq!(bench.consumer().validate_fetch(None, -1), Ok(()));
    assert_eq!(bench.consumer().validate_fetch(Some("a"), 1), Err(StaleMemberEpoch));
}

#[test]
fn the_assignor_that_most_members_want_assigns() {
    let mut bench = Bench::new(&[("t", 2), ("u", 2)]);
    let wants = |id, name: &str| Heartbeat { assignor: Some(name.to_owned()), ..joining(id, &["t", "u"]) };
    bench.beat(wants("a", "range"));
    assert_eq!(bench.consumer().describe().assignor, "range");
    bench.beat(wants("b", "uniform"));
    bench.beat(wants("c", "uniform"));
    assert_eq!(bench.consumer().describe().assignor, "uniform");
}

/// Two classic members that share `t`.
fn classic_group(bench: &mut Bench) {
    bench.join(classic_join("", "x", &[]));
    bench.sync("x", 1, &[("x", &[0, 1])]);
    bench.join(classic_join("", "y", &[]));
    let joined = bench.join(classic_join("x", "", &[0, 1]));
    assert_eq!(joined.len(), 2);
    bench.sync("x", 2, &[("x", &[0]), ("y", &[1])]);
    bench.sync("y", 2, &[]);
    assert_eq!(bench.machine.state(), GroupState::Stable);
}

#[test]
fn a_classic_group_becomes_a_consumer_group_and_one_again() {
    let mut bench = Bench::new(&[("t", 3)]);
    classic_group(&mut bench);
    assert_eq!(bench.beat(joining("a", &["t"])), (3, Some(vec![2])));
    assert_eq!(bench.machine.group_type(), GroupType::Consumer);
    assert!(["a", "x", "y"].iter().all(|id| bench.effects.members.contains(*id)));
    assert_eq!(bench.classic_heartbeat("x", 2), Err(RebalanceInProgress));
    let joined = bench.join(classic_join("x", "", &[0])).remove(0).1.unwrap();
    assert_eq!((joined.generation_id, &*joined.member_id.0, joined.members.len()), (3, "x", 0));
    let synced = bench.sync("x", 3, &[]).unwrap().unwrap();
    assert_eq!(Assignment::decode(&synced.assignment).unwrap().partitions, [("t".to_owned(), vec![0])]);
    assert_eq!(bench.classic_heartbeat("x", 3), Ok(()));
    assert_eq!(bench.classic_heartbeat("x", 2), Err(IllegalGeneration));
    assert_eq!(bench.sync("y", 2, &[]), Some(Err(RebalanceInProgress)));
    bench.join(classic_join("y", "", &[1]));
    bench.beat(steady("a", -1));
    assert_eq!(bench.machine.group_type(), GroupType::Classic);
    assert_eq!(bench.machine.state(), GroupState::PreparingRebalance);
    assert_eq!(bench.classic_heartbeat("x", 3), Err(RebalanceInProgress), "and keeps what it has until then");
    bench.join(classic_join("x", "", &[0]));
    let joined = bench.join(classic_join("y", "", &[1]));
    assert!(joined.iter().all(|(_, result)| result.as_ref().unwrap().generation_id == 4));
}

#[test]
fn a_group_is_not_upgraded_when_it_must_not_or_cannot_be() {
    fn check(prepare: impl FnOnce(&mut Bench), expected: &str) {
        let mut bench = Bench::new(&[("t", 3)]);
        classic_group(&mut bench);
        prepare(&mut bench);
        assert_eq!(bench.refused(joining("a", &["t"])), (GroupIdNotFound, expected.to_owned()));
    }
    check(
        |bench| bench.terms.migration = Migration::Downgrade,
        "Cannot upgrade classic group g to consumer group because online upgrade is disabled.",
    );
    check(
        |bench| bench.terms.members_max = 1,
        "Cannot upgrade classic group g to consumer group because the group size exceeds the consumer group maximum \
         size.",
    );
    let mut bench = Bench::new(&[]);
    bench.join(JoinRequest { protocol_type: "connect".to_owned(), ..classic_join("", "x", &[]) });
    assert_eq!(
        bench.refused(joining("a", &["t"])).1,
        "Cannot upgrade classic group g to consumer group because the group does not use the consumer embedded protocol."
    );
    assert_eq!(bench.refused(steady("a", 1)).1, "Group g is not a consumer group.");
}

#[test]
fn an_empty_group_takes_the_type_of_whoever_comes_and_its_epochs_go_on() {
    let mut bench = Bench::new(&[("t", 1)]);
    bench.beat(joining("a", &["t"]));
    bench.beat(steady("a", -1));
    let joined = bench.join(classic_join("", "x", &[])).remove(0).1.unwrap();
    assert_eq!((bench.machine.group_type(), joined.generation_id), (GroupType::Classic, 3));
}

#[test]
fn a_classic_member_that_does_not_come_again_is_fenced() {
    let mut bench = Bench::new(&[("t", 3)]);
    classic_group(&mut bench);
    bench.beat(joining("a", &["t"]));
    for _ in 0..3 {
        assert_eq!(bench.classic_heartbeat("x", 2), Err(RebalanceInProgress));
        assert_eq!(bench.classic_heartbeat("y", 2), Err(RebalanceInProgress));
        bench.advance(REBALANCE / 4);
        bench.beat(steady("a", 3));
    }
    bench.classic_heartbeat("x", 2).unwrap_err();
    bench.classic_heartbeat("y", 2).unwrap_err();
    bench.advance(REBALANCE / 4);
    assert_eq!(bench.classic_heartbeat("x", 2), Err(UnknownMemberId));
    assert_eq!(bench.beat(steady("a", 3)).1, Some(vec![0, 1, 2]));
}

#[test]
fn everything_comes_back_from_the_store() {
    let mut bench = Bench::new(&[("t", 2), ("u", 1)]);
    bench.beat(static_join("a", "i"));
    bench.beat(Heartbeat {
        regex: Some("u".to_owned()),
        assignor: Some("range".to_owned()),
        ..joining("b", &["t"])
    });
    bench.beat(steady("a", 1));
    let group = Machine::decode(&bench.machine.encode().into(), bench.now, &Limits::default()).unwrap();
    let mut again = Bench { machine: group, ..Bench::new(&[("t", 2), ("u", 1)]) };
    for id in ["a", "b"].map(MemberId::from) {
        let value = bench.machine.encode_member(&id).unwrap().into();
        assert!(again.machine.recover_member(&id, &value, bench.now, SESSION));
    }
    assert_eq!(format!("{:?}", again.consumer().describe()), format!("{:?}", bench.consumer().describe()));
    let owners =
        |b: &Bench| b.consumer().owners.iter().map(|(k, v)| (*k, v.clone())).collect::<BTreeSet<_>>();
    assert_eq!(owners(&again), owners(&bench));
    assert_eq!(again.beat(Heartbeat { instance: Some("i".to_owned()), ..owning("a", 1, &[0]) }).0, 2);
    assert_eq!(again.beat(steady("b", 2)), bench_next(&mut bench));
}

fn bench_next(bench: &mut Bench) -> (i32, Option<Vec<i32>>) {
    bench.beat(Heartbeat { instance: Some("i".to_owned()), ..owning("a", 1, &[0]) });
    bench.beat(steady("b", 2))
}
