//! What AlterConfigs and IncrementalAlterConfigs have in common: what may be changed, in which order it is checked,
//! and Kafka's words for what is not.
//!
//! A resource is changed whole or not at all, each by itself.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::{
    broker_configs, broker_loggers,
    config_resource::{self, ResourceType},
};
use crate::{
    broker::{
        Pending,
        group::config::GroupConfig,
        topic::{
            Topic,
            config::{ConfigType, TopicConfig, config, items},
            defaults::{Scope, TopicDefaults},
            table::check_kafka_name,
        },
    },
    kafka::{
        NODE_ID,
        call::Call,
        fault::{ErrorCode, Fault},
        wire::alter_configs::AlterConfigsResourceResponse,
    },
};

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Resource {
    pub(super) kind: i8,
    pub(super) name: String,
}

/// One resource with its changes; an operation that is none has an error instead.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) resource: Resource,
    pub(super) changes: Vec<Result<Change, ErrorCode>>,
    /// What is not named goes back to its default.
    pub(super) replaces_all: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) value: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

/// Changes resources, and waits until what was changed lasts.
pub(super) async fn apply(
    call: &Call,
    asked: Vec<Asked>,
    validate_only: bool,
) -> Vec<AlterConfigsResourceResponse> {
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    for Asked { resource, .. } in &asked {
        if !seen.insert(resource.clone()) {
            twice.insert(resource.clone());
        }
    }
    let (mut outcomes, mut pending) = (Vec::with_capacity(asked.len()), None);
    for asked in asked {
        let outcome = if twice.contains(&asked.resource) {
            Err(invalid("Each resource must appear at most once."))
        } else {
            change(call, &asked, validate_only, &mut pending)
        };
        outcomes.push((asked.resource, outcome));
    }
    if let Err(error) = call.durable(pending).await {
        outcomes.iter_mut().for_each(|(_, outcome)| *outcome = Err(error.into()));
    }
    outcomes.into_iter().map(|(resource, outcome)| answer(resource, outcome)).collect()
}

/// What went wrong without a word has none.
fn answer(resource: Resource, outcome: Result<(), Fault>) -> AlterConfigsResourceResponse {
    let (code, error_message) = match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err(Fault { code: ErrorCode::UnknownServerError, .. }) => (ErrorCode::UnknownServerError, None),
        Err(fault) => (fault.code, Some(fault.message)),
    };
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message,
        resource_type: resource.kind,
        resource_name: resource.name,
    }
}

fn invalid(text: impl Into<String>) -> Fault {
    Fault::new(ErrorCode::InvalidRequest, text)
}

fn change(call: &Call, asked: &Asked, validate_only: bool, pending: &mut Pending) -> Result<(), Fault> {
    let changes = well_formed(&asked.changes)?;
    let Resource { kind, name } = &asked.resource;
    match config_resource::resource_type(*kind) {
        Some(ResourceType::Topic) => {
            let topic = topic(call, name)?;
            let changed = |now: &TopicConfig| {
                let set = changed((!asked.replaces_all).then(|| now.overrides()), &changes, topic_list)?;
                TopicConfig::new(set.iter().map(|(n, v)| (n.as_str(), Some(v.as_str())))).map_err(Fault::from)
            };
            if validate_only {
                changed(&topic.config()).map(drop)?;
            } else {
                *pending = (*pending).max(Some(call.topics().alter_config(&topic, changed)?));
            }
            Ok(())
        }
        Some(ResourceType::Broker) => {
            let scope = scope(name)?;
            let changed =
                |now: &TopicDefaults| broker_configs::changed(now, scope, &changes, asked.replaces_all);
            if validate_only {
                changed(&call.topics().defaults()).map(drop)?;
            } else {
                *pending = (*pending).max(Some(call.topics().alter_defaults(scope, changed)?));
            }
            Ok(())
        }
        Some(ResourceType::BrokerLogger) if !asked.replaces_all => {
            broker_loggers::change(name, &changes, validate_only)
        }
        Some(ResourceType::Group) if name.is_empty() => {
            Err(invalid("Default group resources are not allowed."))
        }
        Some(ResourceType::Group) => {
            let (groups, key) = (call.groups(), call.group(name));
            let changed = |now: &GroupConfig| {
                let set = changed((!asked.replaces_all).then(|| now.set()), &changes, no_list)?;
                GroupConfig::new(
                    set.iter().map(|(n, v)| (n.as_str(), v.as_str())),
                    &groups.settings().defaults,
                )
                .map_err(|error| Fault::new(ErrorCode::InvalidConfig, error.to_string()))
            };
            if validate_only {
                changed(&groups.config(&key)).map(drop)?;
            } else {
                *pending = (*pending).max(Some(groups.alter_config(&key, changed)?));
            }
            Ok(())
        }
        Some(ResourceType::BrokerLogger | ResourceType::ClientMetrics) | None => {
            Err(invalid(format!("Unknown resource type {kind}")))
        }
    }
}

/// Every operation is one, no config is named twice, and none is set to null.
fn well_formed(changes: &[Result<Change, ErrorCode>]) -> Result<Vec<&Change>, Fault> {
    let mut names = BTreeSet::new();
    let mut all = Vec::with_capacity(changes.len());
    for change in changes {
        let change = change.as_ref().map_err(|error| Fault::from(*error))?;
        if !names.insert(change.name.as_str()) {
            return Err(invalid("Error due to duplicate config keys"));
        }
        all.push(change);
    }
    let is_null = |change: &&&Change| change.operation != Operation::Delete && change.value.is_none();
    let null: Vec<&str> = all.iter().filter(is_null).map(|change| change.name.as_str()).collect();
    if !null.is_empty() {
        return Err(invalid(format!("Null value not supported for : {}", null.join(","))));
    }
    Ok(all)
}

fn topic(call: &Call, name: &str) -> Result<Arc<Topic>, Fault> {
    if name.is_empty() {
        return Err(invalid("Default topic resources are not allowed."));
    }
    call.topic_named(name).map_err(|error| match check_kafka_name(name) {
        Err(refused) => refused.into(),
        Ok(()) => Fault::new(error, format!("The topic '{name}' does not exist.")),
    })
}

/// No name: all brokers.
fn scope(name: &str) -> Result<Scope, Fault> {
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(Scope::Cluster),
        Ok(NODE_ID) => Ok(Scope::Broker),
        Ok(_) => Err(invalid(format!("Unexpected broker id, expected {NODE_ID}, but received {name}"))),
        Err(_) => Err(invalid(format!("Node id must be an integer, but it is: {name}"))),
    }
}

/// The default of a topic's config that is a list.
fn topic_list(change: &Change) -> Result<&'static str, Fault> {
    let key = config(&change.name).filter(|key| key.config_type == ConfigType::List);
    key.map(|key| key.default).map_or_else(|| no_list(change), Ok)
}

fn no_list(Change { name, operation, .. }: &Change) -> Result<&'static str, Fault> {
    let word = if *operation == Operation::Append { "APPEND" } else { "SUBTRACT" };
    let text = format!("Can't {word} to key {name} because its type is not LIST.");
    Err(Fault::new(ErrorCode::InvalidConfig, text))
}

/// What is set after the changes; `now` is what is set to begin with, and `list` the default of what is a list, or why
/// it is none.
pub(super) fn changed<'n, 'v>(
    now: Option<impl Iterator<Item = (&'n str, &'v str)>>,
    changes: &[&Change],
    list: impl Fn(&Change) -> Result<&'static str, Fault>,
) -> Result<Vec<(String, String)>, Fault> {
    let mut set: Vec<(String, String)> =
        now.into_iter().flatten().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    for change in changes {
        let Change { name, operation, value } = change;
        let value = value.as_deref().unwrap_or_default();
        let before = set.iter().position(|(n, _)| n == name).map(|at| set.remove(at).1);
        let new = match operation {
            Operation::Delete => continue,
            Operation::Set => value.to_owned(),
            Operation::Append | Operation::Subtract => {
                let default = list(change)?;
                let list = before.unwrap_or_else(|| default.to_owned());
                edited(&list, value, *operation == Operation::Append)
            }
        };
        set.push((name.clone(), new));
    }
    Ok(set)
}

/// A list with items more, or without them.
fn edited(list: &str, by: &str, append: bool) -> String {
    let mut all = items(list);
    for item in items(by) {
        if !append {
            all.retain(|other| *other != item);
        } else if !all.contains(&item) {
            all.push(item);
        }
    }
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_edited_item_by_item() {
        for (list, by, append, expected) in [
            ("delete", "compact", true, "delete,compact"),
            ("delete,compact", "compact", true, "delete,compact"),
            ("delete,compact", "delete", false, "compact"),
            ("compact", "compact", false, ""),
            ("", "compact, delete", true, "compact,delete"),
        ] {
            assert_eq!(edited(list, by, append), expected, "{list} {by}");
        }
    }
}
