//! Membership of a share group, and its assignor.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{ShareHeartbeat, simple};
use crate::broker::group::{
    GroupState,
    assignor::{Partitions, Subject},
    consumer::tests::{Bench, SESSION, joining},
    error::GroupError::*,
    machine::{GroupType, Machine},
    offsets::TopicPartition,
};

fn share(id: &str, member_epoch: i32, topics: Option<&[&str]>) -> ShareHeartbeat {
    let topics = topics.map(|topics| topics.iter().map(|t| (*t).to_owned()).collect());
    ShareHeartbeat { member_id: id.to_owned(), member_epoch, topics, ..ShareHeartbeat::default() }
}

fn beat(bench: &mut Bench, request: ShareHeartbeat) -> (i32, Option<Vec<i32>>) {
    let beat = bench.share(request).unwrap();
    (beat.member_epoch, beat.assignment.map(|a| a.iter().map(|at| at.partition).collect()))
}

#[test]
fn members_share_partitions_and_nobody_waits() {
    let mut bench = Bench::new(&[("t", 2)]);
    assert_eq!(beat(&mut bench, share("a", 0, Some(&["t"]))), (1, Some(vec![0, 1])));
    assert_eq!(bench.machine.group_type(), GroupType::Share);
    assert_eq!(beat(&mut bench, share("b", 0, Some(&["t"]))), (2, Some(vec![1])));
    assert_eq!(beat(&mut bench, share("a", 1, None)), (2, Some(vec![0])));
    assert_eq!(beat(&mut bench, share("a", 2, None)), (2, None));
    assert!(bench.effects.members.is_empty() && !bench.effects.persist);
    assert_eq!(beat(&mut bench, share("c", 0, Some(&["t"]))).1.map(|a| a.len()), Some(1));
    assert_eq!(bench.share(share("d", 3, None)).unwrap_err().error, UnknownMemberId);
    assert_eq!(bench.share(share("a", 9, None)).unwrap_err().error, FencedMemberEpoch);
    assert_eq!(beat(&mut bench, share("c", -1, None)), (-1, None));
    bench.advance(SESSION);
    assert_eq!(bench.machine.state(), GroupState::Empty);
}

#[test]
fn a_group_is_of_one_type_while_it_has_members() {
    let mut bench = Bench::new(&[("t", 2)]);
    beat(&mut bench, share("a", 0, Some(&["t"])));
    let refused = bench.heartbeat(joining("x", &["t"])).unwrap_err();
    assert_eq!((refused.error, refused.text.as_str()), (GroupIdNotFound, "Group g is not a consumer group."));
    let mut bench = Bench::new(&[("t", 2)]);
    bench.heartbeat(joining("x", &["t"])).unwrap();
    let refused = bench.share(share("a", 0, Some(&["t"]))).unwrap_err();
    assert_eq!((refused.error, refused.text.as_str()), (GroupIdNotFound, "Group g is not a share group."));
}

#[test]
fn everything_comes_back_from_the_store() {
    let mut bench = Bench::new(&[("t", 2)]);
    beat(&mut bench, share("a", 0, Some(&["t"])));
    let mut again = Machine::decode(&bench.machine.encode().into(), bench.now, &Default::default()).unwrap();
    let value = bench.machine.encode_member(&"a".into()).unwrap().into();
    assert!(again.recover_member(&"a".into(), &value, bench.now, SESSION));
    bench.machine = again;
    assert_eq!(beat(&mut bench, share("a", 1, None)), (1, None));
}

#[test]
fn every_partition_has_a_member_and_every_member_a_partition() {
    let topic = Uuid::from_u128(1);
    for members in 1..8 {
        for count in 1..8 {
            let subject = |n: i32| Subject {
                id: format!("m{n}").as_str().into(),
                instance: None,
                topics: [topic].into(),
                had: Partitions::new(),
            };
            let subjects: Vec<Subject> = (0..members).map(subject).collect();
            let given = simple(&subjects, &BTreeMap::from([(topic, count)]));
            let all: Partitions = given.iter().flatten().copied().collect();
            let expected: Partitions =
                (0..count).map(|partition| TopicPartition { topic, partition }).collect();
            assert_eq!(all, expected);
            let loads: Vec<usize> = given.iter().map(|g| g.len()).collect();
            assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1 && !loads.contains(&0));
            let kept = subjects.into_iter().zip(given.clone()).map(|(s, had)| Subject { had, ..s });
            let again = simple(&kept.collect::<Vec<_>>(), &BTreeMap::from([(topic, count)]));
            assert_eq!(again, given, "nothing has changed");
        }
    }
}
