//! Random histories of a group: clients join, leave, heartbeat, are silent, crash; time passes.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};

use super::{Bench, join_request};
use crate::broker::group::{
    GroupState,
    classic::Limits,
    error::GroupError::*,
    member::{JoinRequest, MemberId, Token},
};

/// What a random history does.
#[derive(Debug, Clone)]
enum Op {
    Join(usize),
    Leave(usize),
    Heartbeat(usize),
    Advance(u64),
    Crash(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..5usize).prop_map(Op::Join),
        1 => (0..5usize).prop_map(Op::Leave),
        3 => (0..5usize).prop_map(Op::Heartbeat),
        2 => (1..25u64).prop_map(Op::Advance),
        1 => (0..5usize).prop_map(Op::Crash),
    ]
}

/// A client as clients are: joins, syncs when told to, joins again when refused.
#[derive(Debug, Clone, Default)]
struct Client {
    id: String,
    generation: i32,
    wants: bool,
    join: Option<Token>,
    sync: Option<Token>,
    assigned: bool,
}

struct History {
    bench: Bench,
    clients: BTreeMap<usize, Client>,
    made: usize,
    leaders: HashMap<i32, MemberId>,
}

impl History {
    fn join(&mut self, n: usize) {
        self.made += 1;
        let client = self.clients.entry(n).or_default();
        let request = JoinRequest {
            require_known_member_id: n.is_multiple_of(2),
            ..join_request(&client.id, &format!("c{n}-{}", self.made))
        };
        (client.wants, client.assigned, client.sync) = (true, false, None);
        let token = self.bench.join(request);
        self.clients.get_mut(&n).unwrap().join = Some(token);
    }

    /// Lets every client react to its answers until nothing moves.
    fn settle(&mut self) {
        for _ in 0..200 {
            let mut moved = false;
            for n in self.clients.keys().copied().collect::<Vec<_>>() {
                moved |= self.react(n);
            }
            if !moved {
                return;
            }
        }
        panic!("the group never settles");
    }

    fn react(&mut self, n: usize) -> bool {
        let client = self.clients.get_mut(&n).unwrap();
        if let Some(result) = client.join.and_then(|t| self.bench.joins.remove(&t)) {
            client.join = None;
            match result {
                Ok(joined) => {
                    let leader = self.leaders.entry(joined.generation_id).or_insert(joined.leader.clone());
                    assert_eq!(*leader, joined.leader, "two leaders in one generation");
                    (client.id, client.generation) = (joined.member_id.0.to_string(), joined.generation_id);
                    let everyone: Vec<String> =
                        joined.members.iter().map(|m| m.member_id.0.to_string()).collect();
                    let assignments: Vec<(&str, &str)> =
                        everyone.iter().map(|m| (m.as_str(), m.as_str())).collect();
                    let (id, generation) = (client.id.clone(), client.generation);
                    let token = self.bench.sync_as(&id, generation, &assignments);
                    self.clients.get_mut(&n).unwrap().sync = Some(token);
                }
                Err(refused) => {
                    if refused.error == MemberIdRequired {
                        client.id = refused.member_id.0.to_string();
                    } else if refused.error != RebalanceInProgress {
                        client.id.clear();
                    }
                    self.join(n);
                }
            }
            return true;
        }
        if let Some(result) = client.sync.and_then(|t| self.bench.syncs.remove(&t)) {
            client.sync = None;
            match result {
                Ok(synced) => {
                    assert_eq!(synced.assignment, client.id.as_bytes(), "everyone's own assignment");
                    client.assigned = true;
                }
                Err(error) => {
                    if error == UnknownMemberId {
                        client.id.clear();
                    }
                    self.join(n);
                }
            }
            return true;
        }
        false
    }

    fn heartbeat(&mut self, n: usize) {
        let Some(client) = self.clients.get_mut(&n).filter(|c| c.wants && c.assigned) else { return };
        match self.bench.group.heartbeat(self.bench.now, &client.id, None, client.generation) {
            Ok(()) => {}
            Err(error) => {
                if error == UnknownMemberId {
                    client.id.clear();
                }
                self.join(n);
            }
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Join(n) => {
                if !self.clients.get(&n).is_some_and(|c| c.wants) {
                    self.join(n);
                }
            }
            Op::Leave(n) => {
                if let Some(client) = self.clients.remove(&n) {
                    _ = self.bench.leave(&client.id, None);
                }
            }
            Op::Heartbeat(n) => self.heartbeat(n),
            Op::Advance(seconds) => self.bench.advance(Duration::from_secs(seconds)),
            // Never heard from again.
            Op::Crash(n) => drop(self.clients.remove(&n)),
        }
        self.settle();
    }

    /// Everyone heartbeats for long enough that all that is lost is found out.
    fn calm(&mut self) {
        for _ in 0..60 {
            self.bench.advance(Duration::from_secs(8));
            self.settle();
            for n in self.clients.keys().copied().collect::<Vec<_>>() {
                self.heartbeat(n);
            }
            self.settle();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: proptest::test_runner::RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_live_member_ends_stable_in_one_generation_under_one_leader(ops in vec(op(), 1..40), delay in 0..4u64) {
        let limits = Limits { initial_rebalance_delay: Duration::from_secs(delay), ..Limits::default() };
        let mut history =
            History { bench: Bench::new(limits), clients: BTreeMap::new(), made: 0, leaders: HashMap::new() };
        let mut generation = 0;
        for op in &ops {
            history.apply(op);
            prop_assert!(history.bench.group.generation_id >= generation);
            generation = history.bench.group.generation_id;
        }
        history.calm();
        let group = &history.bench.group;
        let live: Vec<&Client> = history.clients.values().filter(|c| c.wants).collect();
        let expected = if live.is_empty() { GroupState::Empty } else { GroupState::Stable };
        prop_assert_eq!(group.group_state(), expected);
        prop_assert_eq!(group.members.len(), live.len());
        for client in live {
            prop_assert!(client.assigned && client.generation == group.generation_id, "{:?}", client);
        }
    }
}
