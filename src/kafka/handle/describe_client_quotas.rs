//! DescribeClientQuotas (API key 48), versions 0–1: which quotas are set, by filter (KIP-546).

use std::collections::BTreeMap;

use super::alter_client_quotas::{CLIENT_ID, IP, USER, entity_data};
use crate::{
    broker::quotas::{Entity, Limits, Name, QuotaKey},
    kafka::{
        call::Call,
        fault::{ErrorCode, Fault},
        wire::{
            Float64,
            describe_client_quotas::{
                ComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse, EntityData,
                EntryData, ValueData,
            },
        },
    },
};

pub async fn handle(call: Call, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse {
    let wanted = call.may_administer().map_err(Fault::from).and_then(|()| filter(request.components));
    match wanted {
        Ok(wanted) => {
            let fits = |(entity, _): &(Entity, Limits)| fits(entity, &wanted, request.strict);
            let entries = call.door().broker.quotas.all().into_iter().filter(fits).map(entry).collect();
            DescribeClientQuotasResponse {
                error_message: Some(String::new()),
                entries: Some(entries),
                ..DescribeClientQuotasResponse::default()
            }
        }
        Err(Fault { code, message }) => DescribeClientQuotasResponse {
            error_code: code.code(),
            error_message: Some(message),
            entries: None,
            ..DescribeClientQuotasResponse::default()
        },
    }
}

/// What an entity must have of a kind: this name, or any.
#[derive(Debug, PartialEq)]
enum Wanted {
    Exactly(Name),
    Any,
}

type Filter = BTreeMap<String, Wanted>;

fn filter(components: Vec<ComponentData>) -> Result<Filter, Fault> {
    let invalid = |text: String| Err(Fault::new(ErrorCode::InvalidRequest, text));
    let mut filter = Filter::new();
    for ComponentData { entity_type, match_type, match_ } in components {
        if entity_type.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if filter.contains_key(&entity_type) {
            return invalid(format!("Entity type {entity_type} cannot appear more than once in the filter."));
        }
        if ![USER, CLIENT_ID, IP].contains(&entity_type.as_str()) {
            let text = format!("Unsupported entity type {entity_type}");
            return Err(Fault::new(ErrorCode::UnsupportedVersion, text));
        }
        let but =
            |kind: &str| format!("Request specified MATCH_TYPE_{kind}, but also specified a match string.");
        let wanted = match (match_type, match_) {
            (EXACT, Some(name)) => Wanted::Exactly(Name::Of(name)),
            (EXACT, None) => {
                let text = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
                return invalid(text.to_owned());
            }
            (DEFAULT, None) => Wanted::Exactly(Name::Default),
            (DEFAULT, Some(_)) => return invalid(but("DEFAULT")),
            (SPECIFIED, None) => Wanted::Any,
            (SPECIFIED, Some(_)) => return invalid(but("SPECIFIED")),
            (other, _) => return invalid(format!("Unknown match type {other}")),
        };
        filter.insert(entity_type, wanted);
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        let text = "Invalid entity filter component combination. IP filter component should not be used with user or \
                    clientId filter component.";
        return invalid(text.to_owned());
    }
    Ok(filter)
}

/// `MATCH_TYPE_*` in Kafka.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

fn fits(entity: &Entity, filter: &Filter, strict: bool) -> bool {
    let of_kind = |kind: &str| match kind {
        USER => entity.user.as_ref(),
        CLIENT_ID => entity.client_id.as_ref(),
        // There are none for addresses.
        _ => None,
    };
    let parts = [&entity.user, &entity.client_id].into_iter().flatten().count();
    let has = |(kind, wanted): (&String, &Wanted)| match (of_kind(kind), wanted) {
        (None, _) => false,
        (Some(_), Wanted::Any) => true,
        (Some(name), Wanted::Exactly(wanted)) => name == wanted,
    };
    (!strict || parts == filter.len()) && filter.iter().all(has)
}

fn entry((entity, limits): (Entity, Limits)) -> EntryData {
    let part = |(entity_type, entity_name)| EntityData { entity_type, entity_name };
    let value =
        |(key, limit): (&QuotaKey, &f64)| ValueData { key: key.name().to_owned(), value: Float64(*limit) };
    EntryData {
        entity: entity_data(&entity).into_iter().map(part).collect(),
        values: limits.iter().map(value).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_chooses_entities() {
        let of = |name: &str| Some(Name::Of(name.to_owned()));
        let user = Entity { user: of("u"), client_id: None };
        let both = Entity { user: of("u"), client_id: of("c") };
        let default = Entity { user: Some(Name::Default), client_id: None };
        let all = [&user, &both, &default];
        let check = |components: &[(&str, i8, Option<&str>)], strict, expected: &[bool]| {
            let component = |(kind, match_type, name): &(&str, i8, Option<&str>)| ComponentData {
                entity_type: (*kind).to_owned(),
                match_type: *match_type,
                match_: name.map(str::to_owned),
            };
            let filter = filter(components.iter().map(component).collect()).unwrap();
            assert_eq!(all.map(|entity| fits(entity, &filter, strict)), expected, "{components:?}");
        };
        check(&[], false, &[true, true, true]);
        check(&[], true, &[false, false, false]);
        check(&[(USER, EXACT, Some("u"))], false, &[true, true, false]);
        check(&[(USER, EXACT, Some("u"))], true, &[true, false, false]);
        check(&[(USER, DEFAULT, None)], false, &[false, false, true]);
        check(&[(USER, SPECIFIED, None), (CLIENT_ID, SPECIFIED, None)], false, &[false, true, false]);
        check(&[(IP, SPECIFIED, None)], false, &[false, false, false]);
    }
}
