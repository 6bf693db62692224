//! DescribeLogDirs (API key 35), versions 1–5: the one data directory, and how much of it each partition takes.
//!
//! Version 4: the volume's size and what is free of it (KIP-827). The log is common to all partitions; a partition's
//! size is that of its batches in it.

use std::collections::HashSet;

use crate::{
    broker::topic::{Topic, partition::Partition},
    kafka::{
        call::Call,
        wire::describe_log_dirs::{
            DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest,
            DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
        },
    },
    observe::process,
};

pub async fn handle(call: Call, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let topics = match request.topics {
        None => call.topics().list(call.vhost()).iter().map(|topic| sizes(topic, |_| true)).collect(),
        Some(asked) => asked.iter().filter_map(|asked| asked_for(&call, asked)).collect(),
    };
    let directory = &call.door().settings.log_dir;
    let volume = (!directory.as_os_str().is_empty()).then(|| process::volume_bytes(directory)).flatten();
    let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let result = DescribeLogDirsResult {
        log_dir: directory.display().to_string(),
        topics,
        total_bytes: volume.map_or(-1, |(total, _)| bytes(total)),
        usable_bytes: volume.map_or(-1, |(_, usable)| bytes(usable)),
        ..DescribeLogDirsResult::default()
    };
    DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() }
}

/// What is not there is left out, as with Kafka.
fn asked_for(call: &Call, asked: &DescribableLogDirTopic) -> Option<DescribeLogDirsTopic> {
    let topic = call.topic_named(&asked.topic).ok()?;
    let numbers: HashSet<i32> = asked.partitions.iter().copied().collect();
    let found = sizes(&topic, |partition| numbers.contains(&partition.number));
    (!found.partitions.is_empty()).then_some(found)
}

fn sizes(topic: &Topic, wanted: impl Fn(&Partition) -> bool) -> DescribeLogDirsTopic {
    let partitions = topic.partitions();
    let size = |partition: &&std::sync::Arc<Partition>| DescribeLogDirsPartition {
        partition_index: partition.number,
        partition_size: i64::try_from(partition.bytes()).unwrap_or(i64::MAX),
        ..DescribeLogDirsPartition::default()
    };
    DescribeLogDirsTopic {
        name: topic.name.to_string(),
        partitions: partitions.iter().filter(|p| wanted(p)).map(|p| size(&p)).collect(),
    }
}
