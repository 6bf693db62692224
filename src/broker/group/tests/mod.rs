//! The classic group: every transition and error.

mod history;
mod shell;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    GroupState,
    classic::{Classic, Effects, Limits, Reply},
    error::GroupError::{self, *},
    member::{JoinRequest, JoinResult, Protocol, SyncRequest, SyncResult, Token},
};
use crate::clock;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

fn join_request(member_id: &str, new_member_id: &str) -> JoinRequest {
    JoinRequest {
        member_id: member_id.into(),
        new_member_id: new_member_id.into(),
        group_instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout: REBALANCE,
        session_timeout: SESSION,
        protocol_type: "consumer".into(),
        protocols: protocols(&["range"]),
        require_known_member_id: false,
        supports_skipping_assignment: false,
    }
}

fn protocols(names: &[&str]) -> Vec<Protocol> {
    names
        .iter()
        .map(|n| Protocol { name: (*n).into(), metadata: Bytes::copy_from_slice(n.as_bytes()) })
        .collect()
}

fn static_request(member_id: &str, new_member_id: &str, instance: &str) -> JoinRequest {
    JoinRequest { group_instance_id: Some(instance.into()), ..join_request(member_id, new_member_id) }
}

/// A group, its clock, and every answer by token.
struct Bench {
    group: Classic,
    now: Instant,
    tokens: u64,
    joins: HashMap<Token, JoinResult>,
    syncs: HashMap<Token, SyncResult>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let (joins, syncs) = (HashMap::new(), HashMap::new());
        Self { group: Classic::new(limits), now: clock::epoch(), tokens: 0, joins, syncs }
    }

    fn keep(&mut self, effects: Effects) {
        for reply in effects.replies {
            let fresh = match reply {
                Reply::Join(token, result) => self.joins.insert(token, result).is_none(),
                Reply::Sync(token, result) => self.syncs.insert(token, result).is_none(),
            };
            assert!(fresh, "a request is answered once");
        }
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    fn join(&mut self, request: JoinRequest) -> Token {
        let (token, mut effects) = (self.token(), Effects::default());
        self.group.join(self.now, request, token, &mut effects);
        self.keep(effects);
        token
    }

    fn sync_as(&mut self, member: &str, generation: i32, assignments: &[(&str, &str)]) -> Token {
        self.sync(SyncRequest {
            member_id: member.into(),
            generation_id: generation,
            group_instance_id: None,
            protocol_type: None,
            protocol_name: None,
            assignments: assignments
                .iter()
                .map(|(m, a)| ((*m).to_owned(), Bytes::copy_from_slice(a.as_bytes())))
                .collect(),
        })
    }

    fn sync(&mut self, request: SyncRequest) -> Token {
        let (token, mut effects) = (self.token(), Effects::default());
        self.group.sync(self.now, request, token, &mut effects);
        self.keep(effects);
        token
    }

    fn leave(&mut self, member: &str, instance: Option<&str>) -> Result<(), GroupError> {
        let mut effects = Effects::default();
        let leaving = [(member.to_owned(), instance.map(str::to_owned))];
        let outcome = self.group.leave(self.now, &leaving, &mut effects)[0];
        self.keep(effects);
        outcome
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        let mut effects = Effects::default();
        self.group.on_deadline(self.now, &mut effects);
        self.keep(effects);
    }

    fn heartbeat(&mut self, member: &str, generation: i32) -> Result<(), GroupError> {
        self.group.heartbeat(self.now, member, None, generation)
    }

    fn join_error(&self, token: Token) -> GroupError {
        self.joins[&token].as_ref().unwrap_err().error
    }

    /// `a` leads and `b` follows, stable in generation 2.
    fn stable() -> Self {
        let mut bench = Self::new(Limits::default());
        bench.join(join_request("", "a"));
        bench.sync_as("a", 1, &[("a", "all")]);
        bench.join(join_request("", "b"));
        bench.join(join_request("a", ""));
        let follower = bench.sync_as("b", 2, &[]);
        assert!(!bench.syncs.contains_key(&follower), "a follower waits for the leader");
        bench.sync_as("a", 2, &[("a", "left"), ("b", "right")]);
        assert_eq!(bench.syncs[&follower].as_ref().unwrap().assignment, "right");
        assert_eq!(bench.state(), GroupState::Stable);
        bench
    }

    fn state(&self) -> GroupState {
        self.group.group_state()
    }
}

#[test]
fn one_member_joins_leads_assigns_and_is_stable() {
    let mut bench = Bench::new(Limits::default());
    assert_eq!(bench.state(), GroupState::Empty);
    let token = bench.join(join_request("", "a"));
    let joined = bench.joins[&token].as_ref().unwrap();
    assert_eq!((joined.generation_id, &*joined.leader.0, &*joined.protocol_name), (1, "a", "range"));
    assert_eq!((joined.members.len(), &joined.members[0].metadata[..]), (1, &b"range"[..]));
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
    let token = bench.sync_as("a", 1, &[("a", "all")]);
    assert_eq!(bench.syncs[&token].as_ref().unwrap().assignment, "all");
    assert_eq!(bench.state(), GroupState::Stable);
    assert_eq!(bench.leave("a", None), Ok(()));
    assert_eq!((bench.state(), bench.group.generation_id), (GroupState::Empty, 2));
    assert_eq!(bench.group.deadline(), None);
}

#[test]
fn a_second_member_makes_the_first_rejoin_and_only_the_leader_gets_the_list() {
    let mut bench = Bench::new(Limits::default());
    bench.join(join_request("", "a"));
    bench.sync_as("a", 1, &[]);
    let b = bench.join(join_request("", "b"));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    assert_eq!(bench.heartbeat("a", 1), Err(RebalanceInProgress));
    let a = bench.join(join_request("a", ""));
    let (a, b) = (bench.joins[&a].clone().unwrap(), bench.joins[&b].clone().unwrap());
    assert_eq!((a.members.len(), b.members.len(), a.generation_id, b.generation_id), (2, 0, 2, 2));
    assert_eq!((&a.leader, &b.leader), (&"a".into(), &"a".into()));
}

#[test]
fn the_wrong_member_generation_or_state_is_refused_by_its_name() {
    let mut bench = Bench::stable();
    assert_eq!(bench.heartbeat("a", 2), Ok(()));
    assert_eq!(bench.heartbeat("a", 1), Err(IllegalGeneration));
    assert_eq!(bench.heartbeat("x", 2), Err(UnknownMemberId));
    assert_eq!(bench.leave("x", None), Err(UnknownMemberId));
    let t = bench.join(join_request("x", ""));
    assert_eq!(bench.join_error(t), UnknownMemberId);
    let t = bench.join(JoinRequest { protocols: protocols(&["sticky"]), ..join_request("", "c") });
    assert_eq!(bench.join_error(t), InconsistentGroupProtocol);
    let t = bench.join(JoinRequest { protocol_type: "connect".into(), ..join_request("", "c") });
    assert_eq!(bench.join_error(t), InconsistentGroupProtocol);
    for session_timeout in [Duration::from_secs(5), Duration::from_secs(1_801)] {
        let t = bench.join(JoinRequest { session_timeout, ..join_request("", "c") });
        assert_eq!(bench.join_error(t), InvalidSessionTimeout);
    }
    let t = bench.sync_as("a", 1, &[]);
    assert_eq!(bench.syncs[&t], Err(IllegalGeneration));
    let t = bench.sync_as("x", 2, &[]);
    assert_eq!(bench.syncs[&t], Err(UnknownMemberId));
    assert_eq!(bench.group.delete(), Err(NonEmptyGroup));
    bench.join(join_request("", "c"));
    let t = bench.sync_as("a", 2, &[]);
    assert_eq!(bench.syncs[&t], Err(RebalanceInProgress));
}

#[test]
fn a_sync_of_another_protocol_is_inconsistent() {
    let mut bench = Bench::stable();
    let sync = |protocol_type: Option<&str>, protocol_name: Option<&str>| SyncRequest {
        member_id: "b".into(),
        generation_id: 2,
        group_instance_id: None,
        protocol_type: protocol_type.map(str::to_owned),
        protocol_name: protocol_name.map(str::to_owned),
        assignments: Vec::new(),
    };
    for (kind, name, expected) in [
        (Some("consumer"), Some("range"), None),
        (Some("connect"), None, Some(InconsistentGroupProtocol)),
        (None, Some("sticky"), Some(InconsistentGroupProtocol)),
    ] {
        let t = bench.sync(sync(kind, name));
        assert_eq!(bench.syncs[&t].as_ref().err(), expected.as_ref());
    }
}

#[test]
fn a_dead_group_sends_everyone_away() {
    let mut bench = Bench::new(Limits::default());
    assert_eq!(bench.group.delete(), Ok(()));
    assert_eq!(bench.group.delete(), Err(GroupIdNotFound));
    let t = bench.join(join_request("", "a"));
    assert_eq!(bench.join_error(t), CoordinatorNotAvailable);
    let t = bench.sync_as("a", 1, &[]);
    assert_eq!(bench.syncs[&t], Err(CoordinatorNotAvailable));
    assert_eq!(bench.heartbeat("a", 1), Err(CoordinatorNotAvailable));
    assert_eq!(bench.leave("a", None), Err(CoordinatorNotAvailable));
    assert_eq!(bench.group.validate_commit(bench.now, "", None, -1), Err(CoordinatorNotAvailable));
}

#[test]
fn a_new_dynamic_member_must_come_back_with_its_id_and_the_id_lapses() {
    let mut bench = Bench::new(Limits::default());
    let known = |id: &str, new: &str| JoinRequest { require_known_member_id: true, ..join_request(id, new) };
    let t = bench.join(known("", "a"));
    let refused = bench.joins[&t].clone().unwrap_err();
    assert_eq!((refused.error, refused.member_id), (MemberIdRequired, "a".into()));
    let t = bench.join(known("a", ""));
    assert_eq!(bench.joins[&t].as_ref().unwrap().generation_id, 1);
    bench.join(known("", "b"));
    bench.advance(SESSION);
    let t = bench.join(known("b", ""));
    assert_eq!(bench.join_error(t), UnknownMemberId);
    bench.join(known("", "c"));
    assert_eq!(bench.leave("c", None), Ok(()));
    let t = bench.join(JoinRequest { group_instance_id: Some("i".into()), ..known("", "s") });
    assert!(bench.joins[&t].is_ok(), "a static member needs no id first");
}

#[test]
fn a_rejoin_with_nothing_new_is_answered_again_except_to_the_leader() {
    let mut bench = Bench::stable();
    let t = bench.join(join_request("b", ""));
    assert_eq!(bench.joins[&t].as_ref().unwrap().generation_id, 2);
    assert_eq!(bench.state(), GroupState::Stable);
    bench.join(join_request("a", ""));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    let t = bench.join(join_request("b", ""));
    assert_eq!(bench.joins[&t].as_ref().unwrap().generation_id, 3);
    let t = bench.join(join_request("b", ""));
    assert_eq!(bench.joins[&t].as_ref().unwrap().generation_id, 3);
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
}

#[test]
fn a_join_during_the_sync_sends_the_waiting_back() {
    let mut bench = Bench::stable();
    bench.join(join_request("a", ""));
    bench.join(join_request("b", ""));
    let waiting = bench.sync_as("b", 3, &[]);
    bench.join(join_request("", "c"));
    assert_eq!(bench.syncs[&waiting], Err(RebalanceInProgress));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
}

#[test]
fn the_protocol_most_members_prefer_wins_among_those_all_know() {
    let mut bench =
        Bench::new(Limits { initial_rebalance_delay: Duration::from_secs(3), ..Limits::default() });
    let with =
        |new: &str, names: &[&str]| JoinRequest { protocols: protocols(names), ..join_request("", new) };
    bench.join(with("a", &["x", "y", "z"]));
    bench.join(with("b", &["y", "z"]));
    let t = bench.join(with("c", &["z", "y"]));
    bench.advance(Duration::from_secs(3));
    bench.advance(Duration::from_secs(3));
    assert_eq!(bench.joins[&t].as_ref().unwrap().protocol_name, "y");
}

#[test]
fn the_initial_delay_is_extended_while_members_come_and_ends_with_the_rebalance_timeout() {
    let mut bench =
        Bench::new(Limits { initial_rebalance_delay: Duration::from_secs(3), ..Limits::default() });
    let request =
        |new: &str| JoinRequest { rebalance_timeout: Duration::from_secs(8), ..join_request("", new) };
    let t = bench.join(request("a"));
    bench.advance(Duration::from_secs(2));
    bench.join(request("b"));
    bench.advance(Duration::from_secs(1));
    bench.join(request("c"));
    bench.advance(Duration::from_secs(3));
    bench.join(request("d"));
    assert!(!bench.joins.contains_key(&t));
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.joins[&t].as_ref().unwrap().members.len(), 4);
    assert_eq!(bench.group.generation_id, 1);
}

#[test]
fn members_that_do_not_rejoin_in_time_are_out() {
    let mut bench = Bench::stable();
    let t = bench.join(join_request("", "c"));
    for _ in 0..6 {
        bench.advance(Duration::from_secs(9));
        _ = (bench.heartbeat("a", 2), bench.heartbeat("b", 2));
    }
    assert!(!bench.joins.contains_key(&t));
    bench.advance(Duration::from_secs(6));
    assert_eq!(bench.joins[&t].as_ref().unwrap().members.len(), 1);
    assert_eq!(bench.heartbeat("a", 2), Err(UnknownMemberId));
}

#[test]
fn a_lost_session_rebalances_and_waiting_for_an_answer_is_being_alive() {
    let mut bench = Bench::stable();
    bench.advance(Duration::from_secs(9));
    assert_eq!(bench.heartbeat("a", 2), Ok(()));
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    let a = bench.join(join_request("a", ""));
    assert_eq!(bench.joins[&a].as_ref().unwrap().members.len(), 1);
    let b = bench.join(join_request("", "b"));
    bench.advance(Duration::from_secs(30));
    assert!(bench.joins.contains_key(&b), "the silent leader is gone, the waiting newcomer leads");
}

#[test]
fn a_member_that_never_syncs_is_expelled() {
    let mut bench = Bench::new(Limits::default());
    bench.join(join_request("", "a"));
    bench.sync_as("a", 1, &[]);
    bench.join(join_request("", "b"));
    bench.join(join_request("a", ""));
    bench.sync_as("a", 2, &[]);
    assert_eq!(bench.state(), GroupState::Stable);
    for _ in 0..7 {
        bench.advance(Duration::from_secs(9));
        _ = (bench.heartbeat("a", 2), bench.heartbeat("b", 2));
    }
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    assert_eq!(bench.heartbeat("b", 2), Err(UnknownMemberId));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_old_self() {
    let mut bench = Bench::new(Limits::default());
    bench.join(static_request("", "s1", "i"));
    bench.sync_as("s1", 1, &[("s1", "all")]);
    let t = bench.join(JoinRequest { supports_skipping_assignment: true, ..static_request("", "s2", "i") });
    let joined = bench.joins[&t].clone().unwrap();
    assert_eq!((joined.generation_id, &*joined.leader.0, joined.skip_assignment), (1, "s2", true));
    let t = bench.join(static_request("", "s3", "i"));
    let joined = bench.joins[&t].clone().unwrap();
    assert_eq!((&*joined.leader.0, joined.members.len(), joined.skip_assignment), ("s2", 0, false));
    assert_eq!(bench.state(), GroupState::Stable);
    assert_eq!(bench.group.heartbeat(bench.now, "s1", Some("i"), 1), Err(FencedInstanceId));
    assert_eq!(bench.group.heartbeat(bench.now, "s3", Some("j"), 1), Err(UnknownMemberId));
    assert_eq!(bench.group.heartbeat(bench.now, "s3", Some("i"), 1), Ok(()));
    let t = bench.sync_as("s3", 1, &[]);
    assert_eq!(bench.syncs[&t].as_ref().unwrap().assignment, "all");
    assert_eq!(bench.leave("", Some("j")), Err(UnknownMemberId));
    assert_eq!(bench.leave("s1", Some("i")), Err(FencedInstanceId));
    assert_eq!(bench.leave("", Some("i")), Ok(()));
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn a_static_member_that_joins_twice_at_once_fences_the_first_request() {
    let mut bench = Bench::stable();
    let first = bench.join(static_request("", "s1", "i"));
    let second = bench.join(static_request("", "s2", "i"));
    assert_eq!(bench.join_error(first), FencedInstanceId);
    bench.join(join_request("a", ""));
    bench.join(join_request("b", ""));
    assert_eq!(bench.joins[&second].as_ref().unwrap().member_id, "s2".into());
}

#[test]
fn a_full_group_takes_only_those_it_knows() {
    let mut bench = Bench::new(Limits { members_max: 1, ..Limits::default() });
    bench.join(join_request("", "a"));
    let t = bench.join(join_request("", "b"));
    assert_eq!(bench.join_error(t), GroupMaxSizeReached);
    let t = bench.join(join_request("a", ""));
    assert!(bench.joins[&t].is_ok());
}

#[test]
fn commits_are_for_members_of_the_generation_or_for_anyone_while_the_group_is_empty() {
    fn check(bench: &mut Bench, member: &str, generation: i32, expected: Result<(), GroupError>) {
        let outcome = bench.group.validate_commit(bench.now, member, None, generation);
        assert_eq!(outcome, expected, "{member:?} {generation}");
    }
    let mut empty = Bench::new(Limits::default());
    check(&mut empty, "", -1, Ok(()));
    check(&mut empty, "a", 1, Err(UnknownMemberId));
    let mut bench = Bench::stable();
    check(&mut bench, "a", 2, Ok(()));
    check(&mut bench, "", -1, Err(UnknownMemberId));
    check(&mut bench, "a", 1, Err(IllegalGeneration));
    check(&mut bench, "x", 2, Err(UnknownMemberId));
    bench.join(join_request("", "c"));
    check(&mut bench, "a", 2, Ok(()));
    bench.join(join_request("a", ""));
    bench.join(join_request("b", ""));
    check(&mut bench, "a", 3, Err(RebalanceInProgress));
}

#[test]
fn a_stable_group_survives_its_encoding_with_its_members() {
    let bench = Bench::stable();
    let value = Bytes::from(bench.group.encode());
    let mut again = Classic::decode(&value, bench.now, Limits::default()).unwrap();
    assert_eq!((again.group_state(), again.generation_id), (GroupState::Stable, 2));
    assert_eq!(again.heartbeat(bench.now, "b", None, 2), Ok(()));
    assert_eq!(again.joined(&"a".into()), bench.group.joined(&"a".into()));
    assert!(Classic::decode(&value.slice(..value.len() - 1), bench.now, Limits::default()).is_none());
}
