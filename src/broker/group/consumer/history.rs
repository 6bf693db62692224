//! Random histories of a group of whichever type: consumers of both protocols join, leave, heartbeat and crash; topics
//! grow; time passes. Whatever happens, no partition has two owners and epochs only rise; in the end everything has
//! one owner.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};

use super::{
    Heartbeat, Partitions,
    tests::{Bench, classic_join, joining},
};
use crate::broker::group::{
    assignor::Assignor,
    consumer::ids,
    embedded::Assignment,
    error::GroupError,
    machine::{GroupType, Machine},
    member::{JoinResult, Joined},
    offsets::TopicPartition,
    topics::TopicView,
};

#[derive(Debug, Clone)]
enum Op {
    Join(usize),
    JoinClassic(usize),
    Leave(usize),
    Crash(usize),
    Heartbeats(u64),
    Grow,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..4usize).prop_map(Op::Join),
        2 => (4..7usize).prop_map(Op::JoinClassic),
        1 => (0..7usize).prop_map(Op::Leave),
        1 => (0..7usize).prop_map(Op::Crash),
        6 => (0..9u64).prop_map(Op::Heartbeats),
        1 => Just(Op::Grow),
    ]
}

/// A client that does as it is told at once, but says so with its next heartbeat only.
#[derive(Debug, Default)]
struct Client {
    id: String,
    epoch: i32,
    owned: Partitions,
    is_classic: bool,
    /// Classic: it has joined and waits for the answer, or has been answered and must sync.
    joining: bool,
}

struct History {
    bench: Bench,
    clients: BTreeMap<usize, Client>,
    made: usize,
    partitions: i32,
    epoch: i32,
    assignor: Assignor,
}

impl History {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Join(n) if !self.clients.contains_key(&n) => {
                self.made += 1;
                let client = Client { id: format!("c{}", self.made), ..Client::default() };
                self.clients.insert(n, client);
                self.heartbeat(n);
            }
            Op::JoinClassic(n) if !self.clients.contains_key(&n) => {
                let client = Client { is_classic: true, ..Client::default() };
                self.clients.insert(n, client);
                self.join(n);
            }
            Op::Join(_) | Op::JoinClassic(_) => {}
            Op::Leave(n) => {
                let Some(client) = self.clients.remove(&n) else { return };
                if client.is_classic {
                    self.bench.leave(&client.id);
                } else {
                    let leaving =
                        Heartbeat { member_id: client.id, member_epoch: -1, ..Heartbeat::default() };
                    _ = self.bench.heartbeat(leaving);
                }
                self.on_answers();
            }
            Op::Crash(n) => _ = self.clients.remove(&n),
            Op::Heartbeats(seconds) => {
                self.bench.advance(Duration::from_secs(seconds));
                self.on_answers();
                for n in self.clients.keys().copied().collect::<Vec<_>>() {
                    self.heartbeat(n);
                    self.check();
                }
            }
            Op::Grow => {
                self.partitions += 1;
                self.bench.topics.set("t", self.partitions);
            }
        }
        self.check();
    }

    fn heartbeat(&mut self, n: usize) {
        let client = self.clients.get(&n).unwrap();
        if client.is_classic {
            return self.classic_heartbeat(n);
        }
        let (id, epoch, assignor) = (client.id.clone(), client.epoch, self.assignor.name().to_owned());
        let request = Heartbeat { member_epoch: epoch, assignor: Some(assignor), ..joining(&id, &["t"]) };
        let owned = if epoch == 0 { Partitions::new() } else { client.owned.clone() };
        let answer = self.bench.heartbeat(Heartbeat { owned: Some(owned), ..request });
        let client = self.clients.get_mut(&n).unwrap();
        match answer {
            Ok(beat) => {
                assert!(beat.member_epoch >= client.epoch, "an epoch fell");
                client.epoch = beat.member_epoch;
                client.owned = beat.assignment.unwrap_or_else(|| client.owned.clone());
            }
            Err(refused) => {
                let expected = [
                    GroupError::UnknownMemberId,
                    GroupError::FencedMemberEpoch,
                    GroupError::GroupIdNotFound,
                    GroupError::GroupMaxSizeReached,
                ];
                assert!(expected.contains(&refused.error), "{refused:?}");
                (client.epoch, client.owned) = (0, Partitions::new());
            }
        }
        self.on_answers();
    }

    /// An eager one: it gives everything back before it joins again.
    fn join(&mut self, n: usize) {
        self.made += 1;
        let client = self.clients.get_mut(&n).unwrap();
        (client.owned, client.joining) = (Partitions::new(), true);
        let request = classic_join(&client.id, &format!("x{}", self.made), &[]);
        if client.id.is_empty() {
            client.id = format!("x{}", self.made);
        }
        self.bench.join(request);
        self.on_answers();
    }

    /// Whatever requests were answered, by whomever's doing.
    fn on_answers(&mut self) {
        loop {
            let answers = self.bench.take_joins();
            if answers.is_empty() {
                return;
            }
            for (id, answer) in answers {
                self.on_joined(&id, answer);
            }
        }
    }

    fn on_joined(&mut self, id: &str, answer: JoinResult) {
        let Some((n, client)) = self.clients.iter_mut().find(|(_, c)| c.id == id) else { return };
        client.joining = false;
        match answer {
            Ok(joined) => {
                client.epoch = joined.generation_id;
                let n = *n;
                self.sync(n, &joined);
            }
            Err(_) => (client.epoch, client.id) = (0, String::new()),
        }
    }

    fn sync(&mut self, n: usize, joined: &Joined) {
        let id = self.clients.get(&n).unwrap().id.clone();
        let members: Vec<String> = joined.members.iter().map(|m| m.member_id.to_string()).collect();
        let count = i32::try_from(members.len()).unwrap();
        let of = |at: i32| (0..self.partitions).filter(|p| p % count == at).collect::<Vec<i32>>();
        let shares: Vec<Vec<i32>> = (0..count).map(of).collect();
        let assignments: Vec<(&str, &[i32])> =
            members.iter().zip(&shares).map(|(id, share)| (id.as_str(), share.as_slice())).collect();
        // A follower that syncs before its leader is answered with it: here it just asks again with a heartbeat.
        let answer = self.bench.sync(&id, joined.generation_id, &assignments);
        if let Some(Ok(synced)) = answer {
            self.assigned(n, &synced.assignment);
        }
    }

    fn assigned(&mut self, n: usize, assignment: &bytes::Bytes) {
        let assignment = Assignment::decode(assignment).unwrap();
        self.clients.get_mut(&n).unwrap().owned = ids(&self.bench.topics, &assignment.partitions);
    }

    fn classic_heartbeat(&mut self, n: usize) {
        let client = self.clients.get(&n).unwrap();
        if client.joining {
            return;
        }
        let (id, epoch) = (client.id.clone(), client.epoch);
        match self.bench.classic_heartbeat(&id, epoch) {
            Ok(()) => {
                if let Some(Ok(synced)) = self.bench.sync(&id, epoch, &[]) {
                    self.assigned(n, &synced.assignment);
                }
            }
            Err(GroupError::RebalanceInProgress) => self.join(n),
            Err(_) => {
                self.clients.get_mut(&n).unwrap().id.clear();
                self.join(n);
            }
        }
    }

    fn check(&mut self) {
        let mut owners = BTreeMap::<TopicPartition, usize>::new();
        for (n, client) in &self.clients {
            for at in &client.owned {
                assert_eq!(owners.insert(*at, *n), None, "{at:?} has two owners");
            }
        }
        let epoch = match &self.bench.machine {
            Machine::Classic(classic) => classic.generation_id,
            Machine::Consumer(consumer) => consumer.epochs.group,
            Machine::Share(share) => share.epochs.group,
        };
        assert!(epoch >= self.epoch, "the group's epoch fell from {} to {epoch}", self.epoch);
        self.epoch = epoch;
    }

    /// Time passes without anything happening, but that the classic ones look at their topics once more: their leader
    /// assigns for them, so it is for them to see that a topic has grown.
    fn settle(&mut self) {
        for round in 0..60 {
            self.apply(&Op::Heartbeats(5));
            let classic = |(n, c): (&usize, &Client)| (c.is_classic && !c.joining).then_some(*n);
            if round == 20 {
                let classic: Vec<usize> = self.clients.iter().filter_map(classic).collect();
                classic.into_iter().for_each(|n| self.join(n));
            }
        }
        let owned: BTreeSet<TopicPartition> =
            self.clients.values().flat_map(|c| c.owned.iter().copied()).collect();
        let topic = self.bench.topics.by_name("t").unwrap().id;
        let all: BTreeSet<TopicPartition> =
            (0..self.partitions).map(|partition| TopicPartition { topic, partition }).collect();
        if !self.clients.is_empty() {
            assert_eq!(owned, all, "everything has an owner in the end");
            let newer = self.clients.values().any(|c| !c.is_classic);
            let expected = if newer { GroupType::Consumer } else { GroupType::Classic };
            assert_eq!(self.bench.machine.group_type(), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn no_partition_has_two_owners_and_all_have_one_in_the_end(ops in vec(op(), 1..40), range in any::<bool>()) {
        let mut history = History {
            bench: Bench::new(&[("t", 3)]),
            clients: BTreeMap::new(),
            made: 0,
            partitions: 3,
            epoch: 0,
            assignor: if range { Assignor::Range } else { Assignor::Uniform },
        };
        history.bench.make_room(10);
        ops.iter().for_each(|op| history.apply(op));
        history.settle();
    }
}
