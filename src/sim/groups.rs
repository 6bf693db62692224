//! Groups of both protocols through crashes: classic ones, and consumer groups (KIP-848), with what they commit.
//!
//! Held to: the generation and the epochs that anybody was told never go back, and no generation has two leaders or two
//! owners of a partition; no partition of a consumer group is two members' at once; an offset that was answered stays,
//! and only who is a member at the time may commit one.

use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use rand::Rng;
use uuid::Uuid;

use super::{histories, world::World};
use crate::broker::{
    group::{
        Answer, CommitResult, Committer, GroupKey,
        assignor::Partitions,
        consumer::{Beat, Heartbeat},
        error::{GroupError, Refused},
        member::{JoinRequest, JoinResult, MemberId, Protocol, SyncRequest, SyncResult},
        offsets::{Committed, TopicPartition},
    },
    topic::{NewTopic, Offset, config::TopicConfig},
};

const STEPS: usize = 150;
const CLIENTS: usize = 4;
const PARTITIONS: i32 = 3;
/// Longer than anybody is silent who is alive.
const SESSION: Duration = Duration::from_secs(45);

/// What a client waits for.
enum Doing {
    Nothing,
    Join(Answer<JoinResult>),
    Sync(i32, Answer<SyncResult>),
    Beat(Answer<Result<Beat, Refused>>),
}

struct Client {
    /// Empty before the coordinator has given one.
    id: String,
    is_classic: bool,
    /// Generation or member epoch; 0 before it is a member.
    epoch: i32,
    owned: Partitions,
    /// An answer was lost: it tells everything, to be told everything.
    lost: bool,
    doing: Doing,
    commit: Option<(i64, Answer<CommitResult>)>,
}

/// What clients were told of a classic group.
#[derive(Default)]
struct Told {
    generation: i32,
    leaders: BTreeMap<i32, MemberId>,
    /// By generation and partition.
    owners: BTreeMap<(i32, i32), String>,
}

/// One offset of a group.
#[derive(Default)]
struct Commits {
    submitted: Vec<i64>,
    answered: i64,
}

struct Run {
    world: World,
    topic: Uuid,
    /// Of the classic group, and of the consumer group.
    clients: [Vec<Client>; 2],
    told: Told,
    commits: [Commits; 2],
    made: i64,
    deeds: BTreeMap<&'static str, u64>,
}

const GROUPS: [&str; 2] = ["classic", "consumer"];

fn key(group: usize) -> GroupKey {
    GroupKey { vhost: "/".into(), id: GROUPS[group].into() }
}

fn poll<T: Unpin>(answer: &mut Answer<T>) -> Option<T> {
    match Pin::new(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let topic = Uuid::from_u128(world.rng.random());
        let new = NewTopic {
            vhost: "/".into(),
            name: "t".into(),
            partitions: u32::try_from(PARTITIONS).unwrap(),
            config: TopicConfig::new(std::iter::empty()).unwrap(),
            stream_arguments: None,
            id: topic,
        };
        world.broker.core.topics.create(new).unwrap();
        world.settle();
        let (clients, told, commits, deeds) =
            ([vec![], vec![]], Told::default(), Default::default(), BTreeMap::new());
        Self { world, topic, clients, told, commits, made: 0, deeds }
    }

    fn play(mut self) -> BTreeMap<&'static str, u64> {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.deeds
    }

    fn step(&mut self) {
        let group = self.world.below(2);
        match self.world.below(100) {
            0..10 => self.come(group),
            10..55 => self.somebody(group, Self::act),
            55..65 => self.somebody(group, Self::commit),
            65..68 => self.somebody(group, Self::go),
            68..88 => drop(self.world.turn()),
            88..94 => self.everybody(),
            94..97 => self.crash(),
            _ => {
                self.world.settle();
                self.hear();
                self.world.restart();
                self.after_crash();
            }
        }
    }

    fn did(&mut self, deed: &'static str) {
        *self.deeds.entry(deed).or_default() += 1;
    }

    fn somebody(&mut self, group: usize, act: impl FnOnce(&mut Self, usize, usize)) {
        let count = self.clients[group].len();
        if count > 0 {
            let at = self.world.below(count);
            act(self, group, at);
        }
    }

    fn come(&mut self, group: usize) {
        if self.clients[group].len() == CLIENTS {
            return;
        }
        self.made += 1;
        let is_classic = group == 0;
        let id = if is_classic { String::new() } else { format!("c{}", self.made) };
        let (epoch, owned, doing) = (0, Partitions::new(), Doing::Nothing);
        self.clients[group].push(Client { id, is_classic, epoch, owned, lost: false, doing, commit: None });
    }

    /// It leaves, or is never heard of again; what it was given is its own no more.
    fn go(&mut self, group: usize, at: usize) {
        let client = self.clients[group].swap_remove(at);
        let (now, groups) = (self.world.clock.now(), self.world.broker.groups.clone());
        if self.world.chance(50) {
            self.did("died");
            return;
        }
        if client.is_classic {
            _ = groups.leave(now, &key(group), &[(client.id.clone(), None)]);
        } else {
            let leaving =
                Heartbeat { member_id: client.id.clone(), member_epoch: -1, ..Heartbeat::default() };
            drop(groups.consumer_heartbeat(now, &key(group), leaving));
        }
        self.did("left");
        let late = poll(&mut self.committing(group, &client.id, client.epoch.max(1)));
        assert!(matches!(late, Some(Err(_))), "who has left commits: {late:?}");
    }

    /// The client looks for its answer, or asks for what comes next.
    fn act(&mut self, group: usize, at: usize) {
        let client = &mut self.clients[group][at];
        match std::mem::replace(&mut client.doing, Doing::Nothing) {
            Doing::Nothing if client.is_classic && client.epoch == 0 => self.join(group, at),
            Doing::Nothing if client.is_classic => self.classic_heartbeat(group, at),
            Doing::Nothing => self.heartbeat(group, at),
            Doing::Join(mut answer) => match poll(&mut answer) {
                None => client.doing = Doing::Join(answer),
                Some(result) => self.on_joined(group, at, result),
            },
            Doing::Sync(generation, mut answer) => match poll(&mut answer) {
                None => client.doing = Doing::Sync(generation, answer),
                Some(result) => self.on_synced(group, at, generation, result),
            },
            Doing::Beat(mut answer) => match poll(&mut answer) {
                None => client.doing = Doing::Beat(answer),
                Some(result) => self.on_beat(group, at, result),
            },
        }
    }

    fn join(&mut self, group: usize, at: usize) {
        self.made += 1;
        let request = JoinRequest {
            member_id: self.clients[group][at].id.clone(),
            new_member_id: format!("m{}", self.made).as_str().into(),
            group_instance_id: None,
            client_id: "sim".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout: SESSION,
            session_timeout: SESSION,
            protocol_type: "sim".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: Bytes::new() }],
            require_known_member_id: self.world.chance(50),
            supports_skipping_assignment: false,
        };
        let answer = self.world.broker.groups.join(self.world.clock.now(), &key(group), request);
        let client = &mut self.clients[group][at];
        (client.doing, client.epoch) = (Doing::Join(answer), 0);
        client.owned.clear();
    }

    fn on_joined(&mut self, group: usize, at: usize, result: JoinResult) {
        let client = &mut self.clients[group][at];
        let joined = match result {
            Ok(joined) => joined,
            Err(refused) => {
                if refused.error == GroupError::MemberIdRequired {
                    client.id = refused.member_id.to_string();
                } else {
                    assert_eq!(refused.error, GroupError::UnknownMemberId, "nobody joins");
                    client.id.clear();
                }
                return;
            }
        };
        let told = &mut self.told;
        let generation = joined.generation_id;
        assert!(generation >= told.generation, "generation {generation} after {}", told.generation);
        told.generation = generation;
        let leader = told.leaders.entry(generation).or_insert_with(|| joined.leader.clone());
        assert_eq!(*leader, joined.leader, "generation {generation} has two leaders");
        client.id = joined.member_id.to_string();
        client.epoch = generation;
        // The leader gives each partition to some member.
        let members: Vec<String> = joined.members.iter().map(|m| m.member_id.to_string()).collect();
        let mut shares: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for partition in 0..u8::try_from(PARTITIONS).unwrap() {
            if !members.is_empty() {
                let member = self.world.below(members.len());
                shares.entry(members[member].clone()).or_default().push(partition);
            }
        }
        let assignments = shares.into_iter().map(|(id, share)| (id, share.into())).collect();
        self.did("generations");
        self.sync(group, at, assignments);
    }

    fn sync(&mut self, group: usize, at: usize, assignments: Vec<(String, Bytes)>) {
        let client = &self.clients[group][at];
        let generation = client.epoch;
        let request = SyncRequest {
            member_id: client.id.clone(),
            generation_id: generation,
            group_instance_id: None,
            protocol_type: None,
            protocol_name: None,
            assignments,
        };
        let answer = self.world.broker.groups.sync(self.world.clock.now(), &key(group), request);
        self.clients[group][at].doing = Doing::Sync(generation, answer);
    }

    fn on_synced(&mut self, group: usize, at: usize, generation: i32, result: SyncResult) {
        let client = &mut self.clients[group][at];
        match result {
            Ok(synced) => {
                for partition in synced.assignment {
                    let owner = self.told.owners.entry((generation, partition.into()));
                    let owner = owner.or_insert_with(|| client.id.clone());
                    assert_eq!(*owner, client.id, "{partition} has two owners in generation {generation}");
                }
                self.did("assigned");
            }
            Err(GroupError::RebalanceInProgress | GroupError::IllegalGeneration) => client.epoch = 0,
            Err(GroupError::UnknownMemberId) => (client.epoch, client.id) = (0, String::new()),
            Err(error) => panic!("nobody syncs: {error}"),
        }
    }

    fn classic_heartbeat(&mut self, group: usize, at: usize) {
        let (groups, now) = (self.world.broker.groups.clone(), self.world.clock.now());
        let client = &mut self.clients[group][at];
        match groups.heartbeat(now, &key(group), &client.id, None, client.epoch) {
            // Its answer was lost with a crash: it asks for its assignment again.
            Ok(()) => {
                if self.world.chance(20) {
                    self.sync(group, at, Vec::new());
                }
            }
            Err(GroupError::RebalanceInProgress | GroupError::IllegalGeneration) => self.join(group, at),
            Err(GroupError::UnknownMemberId) => {
                (client.epoch, client.id) = (0, String::new());
            }
            Err(error) => panic!("no heartbeat: {error}"),
        }
    }

    fn heartbeat(&mut self, group: usize, at: usize) {
        let tells_all = self.world.chance(50);
        let client = &self.clients[group][at];
        let tells_all = tells_all || client.epoch == 0 || client.lost;
        let request = Heartbeat {
            member_id: client.id.clone(),
            member_epoch: client.epoch,
            rebalance_timeout: tells_all.then_some(SESSION),
            topics: tells_all.then(|| ["t".to_owned()].into()),
            owned: Some(client.owned.clone()),
            client_id: "sim".into(),
            client_host: "/127.0.0.1".into(),
            ..Heartbeat::default()
        };
        let answer =
            self.world.broker.groups.consumer_heartbeat(self.world.clock.now(), &key(group), request);
        self.clients[group][at].doing = Doing::Beat(answer);
        self.act(group, at);
    }

    fn on_beat(&mut self, group: usize, at: usize, result: Result<Beat, Refused>) {
        let client = &mut self.clients[group][at];
        match result {
            Ok(beat) => {
                assert!(
                    beat.member_epoch >= client.epoch,
                    "epoch {} after {}",
                    beat.member_epoch,
                    client.epoch
                );
                client.epoch = beat.member_epoch;
                client.lost = false;
                client.owned = beat.assignment.unwrap_or_else(|| std::mem::take(&mut client.owned));
                self.did("beats");
            }
            Err(refused) => {
                let expected =
                    [GroupError::UnknownMemberId, GroupError::FencedMemberEpoch, GroupError::GroupIdNotFound];
                assert!(expected.contains(&refused.error), "{refused:?}");
                client.epoch = 0;
                client.owned.clear();
                self.did("fenced");
            }
        }
    }

    fn at(&self) -> TopicPartition {
        TopicPartition { topic: self.topic, partition: 0 }
    }

    /// A commit on its way.
    fn committing(&mut self, group: usize, id: &str, generation_id: i32) -> Answer<CommitResult> {
        self.made += 1;
        let committed = Committed {
            offset: Offset(self.made),
            leader_epoch: 0,
            metadata: String::new(),
            commit_ms: self.world.clock.now_ms(),
            expire_ms: None,
        };
        let by = Committer { member_id: id, group_instance_id: None, generation_id, knows_epochs: true };
        let offsets = vec![(self.at(), committed)];
        self.world.broker.groups.commit(self.world.clock.now(), &key(group), by, offsets)
    }

    fn commit(&mut self, group: usize, at: usize) {
        let client = &self.clients[group][at];
        if client.epoch == 0 || client.commit.is_some() {
            return;
        }
        let (id, epoch) = (client.id.clone(), client.epoch);
        let answer = self.committing(group, &id, epoch);
        self.commits[group].submitted.push(self.made);
        self.clients[group][at].commit = Some((self.made, answer));
    }

    fn hear(&mut self) {
        for (clients, commits) in self.clients.iter_mut().zip(&mut self.commits) {
            for client in clients {
                let Some((offset, mut answer)) = client.commit.take() else { continue };
                match poll(&mut answer) {
                    None => client.commit = Some((offset, answer)),
                    Some(Ok(_)) => commits.answered = commits.answered.max(offset),
                    Some(Err(_)) => commits.submitted.retain(|submitted| *submitted != offset),
                }
            }
        }
    }

    /// Time passes, and everybody who is alive says so.
    fn everybody(&mut self) {
        let seconds = self.world.rng.random_range(0..20);
        self.world.advance(Duration::from_secs(seconds));
        self.world.broker.groups.on_deadline(self.world.clock.now());
        self.world.settle();
        for group in 0..2 {
            for at in 0..self.clients[group].len() {
                self.act(group, at);
                self.world.settle();
                self.act(group, at);
                self.check();
            }
        }
    }

    fn crash(&mut self) {
        self.hear();
        self.world.crash();
        self.after_crash();
    }

    fn after_crash(&mut self) {
        self.did("crashed");
        for client in self.clients.iter_mut().flatten() {
            // Whoever waits for a join or an assignment asks anew.
            match std::mem::replace(&mut client.doing, Doing::Nothing) {
                Doing::Nothing | Doing::Sync(..) => {}
                Doing::Join(_) => client.epoch = 0,
                Doing::Beat(_) => client.lost = true,
            }
            client.commit = None;
        }
    }

    fn check(&mut self) {
        self.hear();
        let mut owners = BTreeMap::new();
        for client in &self.clients[1] {
            for at in &client.owned {
                assert_eq!(owners.insert(*at, &client.id), None, "{at:?} has two owners");
            }
        }
        for (group, commits) in self.commits.iter_mut().enumerate() {
            let place = TopicPartition { topic: self.topic, partition: 0 };
            let committed = self.world.broker.groups.committed(&key(group), place).map(|c| c.offset.0);
            let known = commits.answered;
            assert!(committed.unwrap_or(0) >= known, "offset {committed:?}, and {known} was answered");
            if let Some(committed) = committed {
                assert!(commits.submitted.contains(&committed), "nobody committed {committed}");
                commits.answered = committed;
            }
        }
    }
}

#[test]
fn no_group_goes_back_behind_what_its_members_were_told() {
    let Some(deeds) = histories("sim::groups", |seed| Run::new(seed).play()) else { return };
    let expected = ["assigned", "beats", "crashed", "died", "fenced", "generations", "left"];
    assert_eq!(deeds.keys().copied().collect::<Vec<_>>(), expected, "{deeds:?}");
}
