//! The broker's configs as DescribeConfigs shows them: what is set here under Kafka's names, and the topic defaults.
//!
//! All are read-only: they come from Warren's own configuration.

use super::{
    describe_configs::{Wanted, type_number},
    transactions::TIMEOUT_MS_MAX,
};
use crate::{
    broker::topic::config::{CONFIGS, ConfigType, MIN_INSYNC_REPLICAS},
    kafka::{
        NODE_ID,
        call::Call,
        login::MECHANISMS,
        wire::describe_configs::{DescribeConfigsResourceResult, DescribeConfigsSynonym},
    },
};

const DYNAMIC_DEFAULT_BROKER_CONFIG: i8 = 3;
const STATIC_BROKER_CONFIG: i8 = 4;
const DEFAULT_CONFIG: i8 = 5;

/// What is set for all brokers at once, and not from the configuration: Kafka's own min.insync.replicas.
pub(super) fn cluster_wide(wanted: Wanted) -> Vec<DescribeConfigsResourceResult> {
    let name = MIN_INSYNC_REPLICAS.to_owned();
    let (value, source) = (Some("1".to_owned()), DYNAMIC_DEFAULT_BROKER_CONFIG);
    let synonym = DescribeConfigsSynonym { name: name.clone(), value: value.clone(), source };
    let config = DescribeConfigsResourceResult {
        name,
        value,
        read_only: true,
        config_source: source,
        synonyms: wanted.synonyms.then_some(synonym).into_iter().collect(),
        config_type: type_number(ConfigType::Int),
        documentation: wanted.documentation.then(String::new),
        ..DescribeConfigsResourceResult::default()
    };
    vec![config]
}

/// Name, type, Kafka's default (empty: it has none), and what it is here.
type Row = (&'static str, ConfigType, &'static str, String);

pub(super) fn all(call: &Call, wanted: Wanted) -> Vec<DescribeConfigsResourceResult> {
    let mut rows = own(call);
    for key in CONFIGS.iter().filter(|key| !key.synonym.is_empty()) {
        if !rows.iter().any(|(name, ..)| *name == key.synonym) {
            rows.push((key.synonym, key.config_type, key.default, key.default.to_owned()));
        }
    }
    rows.sort_by_key(|(name, ..)| *name);
    let mut all: Vec<_> = rows.into_iter().map(|row| result(row, wanted)).collect();
    for config in cluster_wide(wanted) {
        if let Some(place) = all.iter_mut().find(|place| place.name == config.name) {
            let by_default = std::mem::take(&mut place.synonyms);
            *place = config;
            place.synonyms.extend(by_default);
        }
    }
    all
}

#[rustfmt::skip]
fn own(call: &Call) -> Vec<Row> {
    use ConfigType::{Boolean, Int, List, Long, String as Str};
    let (settings, groups) = (&call.door().settings, call.groups().settings());
    let (node, producers) = (&call.peer.node, &call.door().broker.transactions.settings);
    let protocol = if settings.sasl { "SASL_PLAINTEXT" } else { "PLAINTEXT" };
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
        ("message.max.bytes", Int, "1048588", settings.message_bytes_max.to_string()),
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
    let source = if value == default { DEFAULT_CONFIG } else { STATIC_BROKER_CONFIG };
    let synonym =
        |value: String, source| DescribeConfigsSynonym { name: name.to_owned(), value: Some(value), source };
    let mut synonyms = Vec::new();
    if wanted.synonyms {
        if source == STATIC_BROKER_CONFIG {
            synonyms.push(synonym(value.clone(), STATIC_BROKER_CONFIG));
        }
        if !default.is_empty() {
            synonyms.push(synonym(default.to_owned(), DEFAULT_CONFIG));
        }
    }
    DescribeConfigsResourceResult {
        name: name.to_owned(),
        value: Some(value),
        read_only: true,
        config_source: source,
        is_sensitive: false,
        synonyms,
        config_type: type_number(config_type),
        documentation: wanted.documentation.then(String::new),
    }
}
