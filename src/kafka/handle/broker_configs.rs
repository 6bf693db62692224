//! The broker's configs as DescribeConfigs shows them, and those that can be changed while it runs: the defaults of
//! topics. All others come from Warren's own configuration.

use super::{
    config_changes::{self, Change, Operation},
    describe_configs::{Wanted, source_number, synonym, type_number},
    transactions::TIMEOUT_MS_MAX,
};
use crate::{
    broker::topic::{
        config::{CONFIGS, ConfigKey, ConfigSource, ConfigType, MIN_INSYNC_REPLICAS},
        defaults::{Scope, TopicDefaults, of_broker},
    },
    kafka::{
        NODE_ID,
        call::Call,
        fault::{ErrorCode, Fault},
        login::MECHANISMS,
        wire::describe_configs::{DescribeConfigsResourceResult, DescribeConfigsSynonym},
    },
};

/// What is set for all brokers at once.
pub(super) fn cluster_wide(call: &Call, wanted: Wanted) -> Vec<DescribeConfigsResourceResult> {
    let source = ConfigSource::DynamicDefaultBrokerConfig;
    let defaults = call.topics().defaults();
    let set = defaults.set(Scope::Cluster).filter_map(|(name, value)| Some((of_broker(name)?, value)));
    let config = |(key, value): (&ConfigKey, &str)| DescribeConfigsResourceResult {
        config_source: source_number(source),
        value: Some(value.to_owned()),
        synonyms: wanted.synonyms.then(|| synonym(key.synonym, value, source)).into_iter().collect(),
        ..default_of_topics(key, &defaults, wanted)
    };
    set.map(config).collect()
}

/// Name, type, Kafka's default (empty: it has none), and what it is here.
type Row = (&'static str, ConfigType, &'static str, String);

pub(super) fn all(call: &Call, wanted: Wanted) -> Vec<DescribeConfigsResourceResult> {
    let defaults = call.topics().defaults();
    let mut all: Vec<_> = own(call).into_iter().map(|row| result(row, wanted)).collect();
    let of_topics = CONFIGS.iter().filter(|key| !key.synonym.is_empty());
    all.extend(of_topics.map(|key| default_of_topics(key, &defaults, wanted)));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

#[rustfmt::skip]
fn own(call: &Call) -> Vec<Row> {
    use ConfigType::{Boolean, Int, List, Long, String as Str};
    let (settings, groups) = (&call.door().settings, call.groups().settings());
    let (node, producers) = (&call.client.node, &call.door().broker.transactions.settings);
    let protocol = match (settings.sasl, call.client.tls) {
        (false, false) => "PLAINTEXT",
        (false, true) => "SSL",
        (true, false) => "SASL_PLAINTEXT",
        (true, true) => "SASL_SSL",
    };
    let listeners = format!("{protocol}://{}:{}", node.host, node.port);
    let limits = &groups.limits;
    vec![
        ("advertised.listeners", List, "", listeners.clone()),
        ("auto.create.topics.enable", Boolean, "true", settings.auto_create_topics.to_string()),
        ("broker.id", Int, "-1", NODE_ID.to_string()),
        ("default.replication.factor", Int, "1", "1".to_owned()),
        ("delete.topic.enable", Boolean, "true", "true".to_owned()),
        ("fetch.max.bytes", Int, "57671680", "57671680".to_owned()),
        ("group.initial.rebalance.delay.ms", Int, "3000", limits.initial_rebalance_delay.as_millis().to_string()),
        ("group.max.session.timeout.ms", Int, "1800000", limits.session_timeout_max.as_millis().to_string()),
        ("group.max.size", Int, "2147483647", limits.members_max.to_string()),
        ("group.min.session.timeout.ms", Int, "6000", limits.session_timeout_min.as_millis().to_string()),
        ("group.share.max.share.sessions", Int, "2000", groups.share_sessions_max.to_string()),
        ("listeners", List, "PLAINTEXT://:9092", listeners),
        ("node.id", Int, "", NODE_ID.to_string()),
        ("num.partitions", Int, "1", settings.num_partitions.to_string()),
        ("offset.metadata.max.bytes", Int, "4096", groups.offset_metadata_bytes_max.to_string()),
        ("offsets.retention.minutes", Int, "10080", (groups.offsets_retention_ms / 60_000).to_string()),
        ("offsets.topic.replication.factor", Int, "3", "1".to_owned()),
        ("process.roles", List, "", "broker,controller".to_owned()),
        ("producer.id.expiration.ms", Int, "86400000", producers.producer_id_expiration_ms.to_string()),
        ("sasl.enabled.mechanisms", List, "GSSAPI", names(MECHANISMS)),
        ("connections.max.reauth.ms", Long, "0", settings.login_lifetime.map_or(0, |l| l.as_millis()).to_string()),
        ("security.inter.broker.protocol", Str, "PLAINTEXT", "PLAINTEXT".to_owned()),
        ("log.retention.hours", Int, "168", "168".to_owned()),
        ("log.roll.hours", Int, "168", "168".to_owned()),
        ("log.retention.check.interval.ms", Long, "300000", "300000".to_owned()),
        ("transaction.max.timeout.ms", Int, "900000", TIMEOUT_MS_MAX.to_string()),
        ("transactional.id.expiration.ms", Int, "604800000", producers.transactional_id_expiration_ms.to_string()),
        ("socket.request.max.bytes", Int, "104857600", settings.request_bytes_max.to_string()),
    ]
}

fn names<T>(table: &[(&str, T)]) -> String {
    table.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

fn result(row: Row, wanted: Wanted) -> DescribeConfigsResourceResult {
    let (name, config_type, default, value) = row;
    let source =
        if value == default { ConfigSource::DefaultConfig } else { ConfigSource::StaticBrokerConfig };
    let mut synonyms = Vec::new();
    if wanted.synonyms {
        if source == ConfigSource::StaticBrokerConfig {
            synonyms.push(synonym(name, &value, source));
        }
        if !default.is_empty() {
            synonyms.push(synonym(name, default, ConfigSource::DefaultConfig));
        }
    }
    DescribeConfigsResourceResult {
        name: name.to_owned(),
        value: Some(value),
        read_only: true,
        config_source: source_number(source),
        is_sensitive: false,
        synonyms,
        config_type: type_number(config_type),
        documentation: wanted.documentation.then(String::new),
    }
}

/// A config that is the default of topics.
fn default_of_topics(
    key: &ConfigKey,
    defaults: &TopicDefaults,
    wanted: Wanted,
) -> DescribeConfigsResourceResult {
    let (named, default) = key.broker_default();
    let (source, value) = match defaults.layers(key).next() {
        Some((source, value)) => (source, Some(value)),
        None => (ConfigSource::DefaultConfig, (named == key.synonym).then_some(default)),
    };
    DescribeConfigsResourceResult {
        name: key.synonym.to_owned(),
        value: value.map(str::to_owned),
        read_only: false,
        config_source: source_number(source),
        is_sensitive: false,
        synonyms: if wanted.synonyms { synonyms(key, defaults) } else { Vec::new() },
        config_type: type_number(key.config_type),
        documentation: wanted.documentation.then(|| key.documentation.to_owned()),
    }
}

/// What the broker says of a topic's config, the strongest first. Kafka shows a default that it has under another name
/// only below a value.
pub(super) fn synonyms(key: &ConfigKey, defaults: &TopicDefaults) -> Vec<DescribeConfigsSynonym> {
    let layers = defaults.layers(key).map(|(source, value)| synonym(key.synonym, value, source));
    let mut all: Vec<_> = layers.collect();
    let (name, default) = key.broker_default();
    if !name.is_empty() && (name == key.synonym || !all.is_empty()) {
        all.push(synonym(name, default, ConfigSource::DefaultConfig));
    }
    all
}

/// The defaults of topics after changes of the broker's configs. Deleting what is not set changes nothing.
pub(super) fn changed(
    now: &TopicDefaults,
    scope: Scope,
    changes: &[&Change],
    replaces_all: bool,
) -> Result<TopicDefaults, Fault> {
    let is_fixed =
        |change: &&&Change| change.operation != Operation::Delete && of_broker(&change.name).is_none();
    let mut fixed: Vec<&str> = changes.iter().filter(is_fixed).map(|change| change.name.as_str()).collect();
    fixed.sort_unstable();
    if !fixed.is_empty() {
        let text = format!("Cannot update these configs dynamically: [{}]", fixed.join(", "));
        return Err(Fault::new(ErrorCode::InvalidRequest, text));
    }
    let set = config_changes::changed((!replaces_all).then(|| now.set(scope)), changes, list)?;
    let invalid = |text: &str| Err(Fault::new(ErrorCode::InvalidConfig, text));
    let has_insync = set.iter().any(|(name, _)| name == MIN_INSYNC_REPLICAS);
    match scope {
        Scope::Broker if has_insync => {
            invalid("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
        }
        Scope::Cluster if !has_insync => {
            invalid("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
        }
        Scope::Broker | Scope::Cluster => now
            .with(scope, set.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .map_err(|error| Fault::new(ErrorCode::InvalidRequest, error.to_string())),
    }
}

/// What a list is to begin with.
fn list(change: &Change) -> Result<&'static str, Fault> {
    let key = of_broker(&change.name).filter(|key| key.config_type == ConfigType::List);
    key.map(|key| key.default).ok_or_else(|| {
        let word = if change.operation == Operation::Append { "append" } else { "subtract" };
        let text = format!("Config value {word} is not allowed for config key: {}", change.name);
        Fault::new(ErrorCode::InvalidConfig, text)
    })
}
