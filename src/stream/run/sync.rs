//! `sync=true`: producers wait until this job has committed what they wrote, and what it made of that has been read in
//! turn by the jobs behind it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;

use super::bind::Bound;
use crate::{
    broker::topic::{
        Offset,
        followers::{Follower, Place},
    },
    stream::plan::{
        connector::Connector,
        physical::{JobPlan, NodeKind},
    },
};

/// What a job has told of its progress.
#[derive(Default)]
pub struct Sync {
    followers: BTreeMap<(String, i32), Arc<Follower>>,
    epochs: Arc<Epochs>,
}

/// Epochs whose outputs have not been read yet. They are told in their order.
#[derive(Default)]
struct Epochs {
    waiting: Mutex<VecDeque<Epoch>>,
}

struct Epoch {
    positions: Vec<(Arc<Follower>, i64)>,
    read: Arc<AtomicBool>,
}

impl Epochs {
    fn settle(&self) {
        let mut waiting = self.waiting.lock();
        while waiting.front().is_some_and(|epoch| epoch.read.load(Ordering::Acquire)) {
            let Some(epoch) = waiting.pop_front() else { break };
            epoch.positions.iter().for_each(|(follower, position)| follower.advance(*position));
        }
    }
}

impl Sync {
    /// An epoch is committed: so far the job has read, and there its outputs end.
    pub fn committed(&mut self, bound: &Bound, read: &[(String, i32, i64)], written: &[(Place, Offset)]) {
        let core = &bound.broker.core;
        let mut positions = Vec::with_capacity(read.len());
        for (topic, partition, position) in read {
            let key = (topic.clone(), *partition);
            if !self.followers.contains_key(&key) {
                let Some(found) = bound.topic(topic) else { continue };
                let follower = core.followers.follow((found.id, *partition), *position);
                self.followers.insert(key.clone(), follower);
            }
            positions.extend(self.followers.get(&key).map(|follower| (follower.clone(), *position)));
        }
        let done = Arc::new(AtomicBool::new(false));
        self.epochs.waiting.lock().push_back(Epoch { positions, read: done.clone() });
        let epochs = self.epochs.clone();
        core.when_read(written, move || {
            done.store(true, Ordering::Release);
            epochs.settle();
        });
    }

    /// The job stands or ends: nobody waits for it.
    pub fn leave(&mut self, bound: &Bound) {
        for follower in std::mem::take(&mut self.followers).into_values() {
            bound.broker.core.followers.leave(&follower);
        }
    }
}

/// A topic that would wait for itself, if these jobs all ran with `sync=true`.
#[must_use]
pub fn cycle(plans: &[&JobPlan]) -> Option<String> {
    let edges: Vec<(Vec<String>, Vec<String>)> =
        plans.iter().filter(|plan| plan.sync).map(|plan| topics_of(plan)).collect();
    let starts: Vec<&String> = edges.iter().flat_map(|(read, _)| read).collect();
    starts.into_iter().find(|start| reaches(&edges, start)).cloned()
}

fn reaches(edges: &[(Vec<String>, Vec<String>)], start: &str) -> bool {
    let (mut seen, mut next) = (Vec::new(), vec![start.to_owned()]);
    while let Some(topic) = next.pop() {
        for written in edges.iter().filter(|(read, _)| read.contains(&topic)).flat_map(|(_, written)| written)
        {
            if written == start {
                return true;
            }
            if !seen.contains(written) {
                seen.push(written.clone());
                next.push(written.clone());
            }
        }
    }
    false
}

fn topics_of(plan: &JobPlan) -> (Vec<String>, Vec<String>) {
    let (mut read, mut written): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    written.extend(plan.dlq.iter().chain(&plan.late_topic).cloned());
    for node in &plan.nodes {
        if let NodeKind::Source(source) = &node.kind
            && let Connector::Kafka(kafka) = &source.table.connector
        {
            read.extend(kafka.topics.iter().cloned());
        }
        if let NodeKind::Sink(sink) = &node.kind
            && let Connector::Kafka(kafka) = &sink.table.connector
        {
            written.extend(kafka.topics.iter().cloned());
        }
    }
    (read, written)
}
