//! CreateTopics (API key 19), versions 2–7.
//!
//! Version 4: -1 for the default number of partitions and replicas (KIP-464). Version 5: the answer has the topic's
//! configs (KIP-525). Version 7: its id. Whatever has no place on one node is refused as Kafka refuses it on a cluster
//! of one; the texts are its.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use uuid::Uuid;

use super::replicas;
use crate::{
    broker::topic::{
        NewTopic, Topic,
        config::{ConfigKey, ConfigSource, TopicConfig},
        defaults::TopicDefaults,
        table::{PARTITIONS_MAX, check_kafka_name},
    },
    kafka::{
        Settings,
        call::Call,
        fault::{ErrorCode, Fault},
        wire::create_topics::{
            CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
            CreateTopicsResponse,
        },
    },
};

const DEFAULT: i32 = -1;

pub async fn handle(call: Call, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut named: HashMap<String, usize> = HashMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.clone()).or_default() += 1;
    }
    let (mut topics, mut pending) = (Vec::with_capacity(request.topics.len()), None);
    for asked in request.topics {
        // A name that stands there twice is answered once.
        let outcome = match named.remove(&asked.name) {
            None => continue,
            Some(1) => check_name(&call, &asked.name).and_then(|()| check(&asked, &call.door().settings)),
            Some(_) => Err(Fault::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
        };
        let outcome = outcome.and_then(|checked| {
            if request.validate_only {
                return Ok((None, checked));
            }
            let (topic, ticket) = call.topics().create(new_topic(&call, &asked.name, checked.clone()))?;
            pending = Some(ticket);
            Ok((Some(topic), checked))
        });
        topics.push((asked.name, outcome));
    }
    // The last is durable only after all before it.
    let durable = call.durable(pending).await;
    let answer = |(name, outcome)| match (outcome, durable) {
        (Err(fault), _) => refused(name, fault),
        (Ok((Some(_), _)), Err(error)) => refused(name, error.into()),
        (Ok((topic, checked)), _) => created(name, topic, &checked, &call.topics().defaults()),
    };
    CreateTopicsResponse {
        topics: topics.into_iter().map(answer).collect(),
        ..CreateTopicsResponse::default()
    }
}

/// A topic that may be made.
#[derive(Debug, Clone, PartialEq)]
struct Checked {
    partitions: u32,
    config: TopicConfig,
}

/// A name that is legal, free, and not so like another that their metrics would be one.
fn check_name(call: &Call, name: &str) -> Result<(), Fault> {
    check_kafka_name(name)?;
    if name == CLUSTER_METADATA_TOPIC {
        let text = format!("Creation of internal topic {name} is prohibited.");
        return Err(Fault::new(ErrorCode::InvalidRequest, text));
    }
    if call.topic_named(name).is_ok() {
        return Err(Fault::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
    }
    match call.topics().colliding(call.vhost(), name) {
        None => Ok(()),
        Some(other) => Err(Fault::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {other}"),
        )),
    }
}

/// Kafka's own log of what the cluster is.
pub(super) const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

fn check(asked: &CreatableTopic, settings: &Settings) -> Result<Checked, Fault> {
    let set = asked.configs.iter().map(|c| (c.name.as_str(), c.value.as_deref()));
    let config = TopicConfig::new(set)?;
    let partitions = if asked.assignments.is_empty() {
        check_replication_factor(asked.replication_factor, settings.replication_factor_clamp)?;
        check_partitions(asked.num_partitions, settings)?
    } else {
        check_assignments(asked)?
    };
    Ok(Checked { partitions, config })
}

/// With `clamp`, one replica stands for any number of them.
fn check_replication_factor(asked: i16, clamp: bool) -> Result<(), Fault> {
    match asked {
        -1 | 1 => Ok(()),
        n if n > 1 && clamp => Ok(()),
        n if n <= 0 => Err(Fault::new(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )),
        n => Err(Fault::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "Unable to replicate the partition {n} time(s): The target replication factor of {n} cannot be reached \
                 because only 1 broker(s) are registered or some brokers have all their log directories cordoned."
            ),
        )),
    }
}

fn check_partitions(asked: i32, settings: &Settings) -> Result<u32, Fault> {
    if asked == DEFAULT {
        return Ok(settings.num_partitions);
    }
    match u32::try_from(asked) {
        Ok(0) | Err(_) => Err(Fault::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        )),
        Ok(n) if n > PARTITIONS_MAX => {
            Err(Fault::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request."))
        }
        Ok(n) => Ok(n),
    }
}

/// Replicas named by hand: all of them must be this node's.
fn check_assignments(asked: &CreatableTopic) -> Result<u32, Fault> {
    let refuse = |what| {
        let text = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Err(Fault::new(ErrorCode::InvalidRequest, text))
    };
    if asked.replication_factor != -1 {
        return refuse("replication factor");
    }
    if asked.num_partitions != DEFAULT {
        return refuse("numPartitions");
    }
    let refuse = |text: String| Err(Fault::new(ErrorCode::InvalidReplicaAssignment, text));
    let mut numbers = BTreeSet::new();
    for assignment in &asked.assignments {
        if !numbers.insert(assignment.partition_index) {
            let number = assignment.partition_index;
            return refuse(format!("Found multiple manual partition assignments for partition {number}"));
        }
        replicas::check(&assignment.broker_ids)?;
    }
    if !numbers.iter().zip(0..).all(|(number, expected)| *number == expected) {
        return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    check_count(numbers.len())
}

fn check_count(count: usize) -> Result<u32, Fault> {
    let text = "Excessively large number of partitions per request.";
    let refuse = || Fault::new(ErrorCode::PolicyViolation, text);
    u32::try_from(count).ok().filter(|n| *n <= PARTITIONS_MAX).ok_or_else(refuse)
}

fn new_topic(call: &Call, name: &str, checked: Checked) -> NewTopic {
    NewTopic {
        vhost: call.vhost().clone(),
        name: name.to_owned(),
        partitions: checked.partitions,
        config: checked.config,
        stream_arguments: None,
        id: Uuid::new_v4(),
    }
}

fn refused(name: String, fault: Fault) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: fault.code.code(),
        error_message: Some(fault.message),
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    }
}

fn created(
    name: String,
    topic: Option<Arc<Topic>>,
    checked: &Checked,
    defaults: &Arc<TopicDefaults>,
) -> CreatableTopicResult {
    let config = |(key, value, source): (&ConfigKey, &str, ConfigSource)| CreatableTopicConfigs {
        name: key.name.to_owned(),
        value: Some(value.to_owned()),
        read_only: false,
        config_source: super::describe_configs::source_number(source),
        is_sensitive: false,
    };
    CreatableTopicResult {
        name,
        // Whoever only asks gets an id all the same.
        topic_id: topic.map_or_else(Uuid::new_v4, |t| t.id),
        num_partitions: i32::try_from(checked.partitions).unwrap_or(i32::MAX),
        replication_factor: 1,
        configs: Some(checked.config.over(defaults).all().map(config).collect()),
        ..CreatableTopicResult::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{tests::settings, wire::create_topics::CreatableReplicaAssignment};

    fn topic(num_partitions: i32, replication_factor: i16) -> CreatableTopic {
        CreatableTopic { name: "t".into(), num_partitions, replication_factor, ..CreatableTopic::default() }
    }

    fn assigned(assignments: &[(i32, &[i32])]) -> CreatableTopic {
        let assignment = |(partition_index, broker_ids): &(i32, &[i32])| CreatableReplicaAssignment {
            partition_index: *partition_index,
            broker_ids: broker_ids.to_vec(),
        };
        CreatableTopic { assignments: assignments.iter().map(assignment).collect(), ..topic(-1, -1) }
    }

    #[test]
    fn a_topic_is_checked_as_on_a_cluster_of_one() {
        fn check_all(asked: &CreatableTopic, expected: Result<u32, ErrorCode>) {
            let outcome = check(asked, &settings());
            assert_eq!(outcome.map(|c| c.partitions).map_err(|f| f.code), expected, "{asked:?}");
        }
        check_all(&topic(-1, -1), Ok(1));
        check_all(&topic(3, 1), Ok(3));
        check_all(&topic(0, 1), Err(ErrorCode::InvalidPartitions));
        check_all(&topic(-2, 1), Err(ErrorCode::InvalidPartitions));
        check_all(&topic(10_001, 1), Err(ErrorCode::PolicyViolation));
        check_all(&topic(1, 3), Err(ErrorCode::InvalidReplicationFactor));
        check_all(&topic(1, 0), Err(ErrorCode::InvalidReplicationFactor));
        check_all(&topic(0, 0), Err(ErrorCode::InvalidReplicationFactor));
        check_all(&assigned(&[(1, &[1]), (0, &[1])]), Ok(2));
        check_all(&assigned(&[(0, &[1]), (2, &[1])]), Err(ErrorCode::InvalidReplicaAssignment));
        check_all(&assigned(&[(0, &[1]), (0, &[1])]), Err(ErrorCode::InvalidReplicaAssignment));
        check_all(&assigned(&[(0, &[])]), Err(ErrorCode::InvalidReplicaAssignment));
        check_all(&assigned(&[(0, &[2])]), Err(ErrorCode::InvalidReplicaAssignment));
        let both = CreatableTopic { num_partitions: 1, ..assigned(&[(0, &[1])]) };
        check_all(&both, Err(ErrorCode::InvalidRequest));
    }

    #[test]
    fn one_replica_stands_for_three_where_the_operator_says_so() {
        let settings = Settings { replication_factor_clamp: true, ..settings() };
        assert_eq!(check(&topic(2, 3), &settings).unwrap().partitions, 2);
        assert_eq!(check(&topic(2, 0), &settings).unwrap_err().code, ErrorCode::InvalidReplicationFactor);
    }
}
