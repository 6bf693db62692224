//! DescribeConfigs (API key 32), versions 1–4: every config of a topic, of a group, of the broker or of its log, with
//! source and default.
//!
//! Version 3: types and documentation (KIP-226, KIP-569). Tools read a topic's configs to write them back, so none is
//! left out.

use super::{
    broker_configs, broker_loggers,
    config_resource::{self, ResourceType},
};
use crate::{
    broker::{
        group::config::{Defaults, GroupConfigKey},
        topic::{
            config::{ConfigKey, ConfigSource, ConfigType},
            defaults::TopicDefaults,
            table::check_kafka_name,
        },
    },
    kafka::{
        NODE_ID,
        call::Call,
        fault::{ErrorCode, Fault},
        wire::describe_configs::{
            DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
            DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
};

/// What the client wants to know of each config.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) synonyms: bool,
    pub(super) documentation: bool,
}

pub async fn handle(call: Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let wanted = Wanted { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let describe = |asked: DescribeConfigsResource| {
        let outcome = configs(&call, &asked, wanted);
        let (error_code, error_message, mut configs) = match outcome {
            Ok(configs) => (ErrorCode::None, Some(String::new()), configs),
            // Kafka's own text for it is empty here.
            Err(Fault { code: ErrorCode::UnknownTopicOrPartition, .. }) => {
                (ErrorCode::UnknownTopicOrPartition, Some(String::new()), Vec::new())
            }
            Err(Fault { code, message }) => (code, Some(message), Vec::new()),
        };
        // No names: all of them, as null.
        if let Some(names) = asked.configuration_keys.as_ref().filter(|names| !names.is_empty()) {
            configs.retain(|config| names.contains(&config.name));
        }
        DescribeConfigsResult {
            error_code: error_code.code(),
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
            configs,
        }
    };
    DescribeConfigsResponse {
        results: request.resources.into_iter().map(describe).collect(),
        ..DescribeConfigsResponse::default()
    }
}

fn configs(
    call: &Call,
    asked: &DescribeConfigsResource,
    wanted: Wanted,
) -> Result<Vec<DescribeConfigsResourceResult>, Fault> {
    let (name, invalid) = (&asked.resource_name, |text| Err(Fault::new(ErrorCode::InvalidRequest, text)));
    match config_resource::resource_type(asked.resource_type) {
        Some(ResourceType::Topic) => {
            let topic = call.topic_named(&asked.resource_name);
            if topic.is_err() {
                check_kafka_name(&asked.resource_name)?;
            }
            let config = topic?.config();
            let shown = |(key, value, source)| of_topic(key, value, source, config.defaults(), wanted);
            Ok(config.all().map(shown).collect())
        }
        // No name: what was set for the whole cluster at run time.
        Some(ResourceType::Broker) if name.is_empty() => Ok(broker_configs::cluster_wide(call, wanted)),
        Some(ResourceType::Broker) => match name.parse::<i32>() {
            Ok(NODE_ID) => Ok(broker_configs::all(call, wanted)),
            Ok(_) => invalid(format!(
                "Unexpected broker id, expected {NODE_ID} or empty string, but received {name}"
            )),
            Err(_) => invalid(format!("Broker id must be an integer, but it is: {name}")),
        },
        Some(ResourceType::Group) if name.is_empty() => invalid("Group name must not be empty".to_owned()),
        Some(ResourceType::Group) => {
            let (groups, key) = (call.groups(), call.group(name));
            let (config, defaults) = (groups.config(&key), &groups.settings().defaults);
            Ok(config
                .all(defaults)
                .map(|(key, value, own)| of_group(key, value, own, defaults, wanted))
                .collect())
        }
        Some(ResourceType::BrokerLogger) => broker_loggers::all(name, wanted),
        Some(ResourceType::ClientMetrics) | None => Err(ErrorCode::InvalidRequest.into()),
    }
}

fn of_topic(
    key: &ConfigKey,
    value: &str,
    source: ConfigSource,
    defaults: &TopicDefaults,
    wanted: Wanted,
) -> DescribeConfigsResourceResult {
    let mut synonyms = Vec::new();
    if wanted.synonyms {
        if source == ConfigSource::DynamicTopicConfig {
            synonyms.push(synonym(key.name, value, source));
        }
        synonyms.extend(broker_configs::synonyms(key, defaults));
    }
    DescribeConfigsResourceResult {
        name: key.name.to_owned(),
        value: Some(value.to_owned()),
        read_only: false,
        config_source: source_number(source),
        is_sensitive: false,
        synonyms,
        config_type: type_number(key.config_type),
        documentation: wanted.documentation.then(|| key.documentation.to_owned()),
    }
}

fn of_group(
    key: &GroupConfigKey,
    value: String,
    own: bool,
    defaults: &Defaults,
    wanted: Wanted,
) -> DescribeConfigsResourceResult {
    let synonym = |name: &str, value: String, source| DescribeConfigsSynonym {
        name: name.to_owned(),
        value: Some(value),
        source,
    };
    let mut synonyms = Vec::new();
    if wanted.synonyms {
        if own {
            synonyms.push(synonym(key.name, value.clone(), DYNAMIC_GROUP_CONFIG));
        }
        let by_default = source_number(ConfigSource::DefaultConfig);
        synonyms.push(synonym(key.synonym.unwrap_or(key.name), key.default(defaults), by_default));
    }
    DescribeConfigsResourceResult {
        name: key.name.to_owned(),
        value: Some(value),
        read_only: false,
        config_source: if own { DYNAMIC_GROUP_CONFIG } else { source_number(ConfigSource::DefaultConfig) },
        is_sensitive: false,
        synonyms,
        config_type: type_number(key.config_type),
        documentation: wanted.documentation.then(|| key.documentation.to_owned()),
    }
}

pub(super) fn synonym(name: &str, value: &str, source: ConfigSource) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source: source_number(source),
    }
}

/// What a group sets itself.
const DYNAMIC_GROUP_CONFIG: i8 = 8;

/// `DescribeConfigsResponse.ConfigSource` in Kafka.
pub(super) fn source_number(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::DynamicTopicConfig => 1,
        ConfigSource::DynamicBrokerConfig => 2,
        ConfigSource::DynamicDefaultBrokerConfig => 3,
        ConfigSource::StaticBrokerConfig => 4,
        ConfigSource::DefaultConfig => 5,
    }
}

/// `DescribeConfigsResponse.ConfigType` in Kafka.
pub(super) fn type_number(config_type: ConfigType) -> i8 {
    match config_type {
        ConfigType::Boolean => 1,
        ConfigType::String => 2,
        ConfigType::Int => 3,
        ConfigType::Long => 5,
        ConfigType::Double => 6,
        ConfigType::List => 7,
    }
}
