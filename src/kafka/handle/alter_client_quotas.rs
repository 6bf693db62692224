//! AlterClientQuotas (API key 49), versions 0–1: sets quotas of users and client ids, and takes them back (KIP-546).
//!
//! `producer_byte_rate` and `consumer_byte_rate` are enforced. Kafka's other quotas are not, and refused.

use std::collections::{BTreeMap, HashSet};

use crate::{
    broker::{
        Pending,
        quotas::{Entity, Name, QuotaKey},
    },
    kafka::{
        call::Call,
        fault::{ErrorCode, Fault},
        wire::alter_client_quotas::{
            AlterClientQuotasRequest, AlterClientQuotasResponse, EntityData, EntryData, EntryDataResult,
            OpData,
        },
    },
};

pub(super) const USER: &str = "user";
pub(super) const CLIENT_ID: &str = "client-id";
pub(super) const IP: &str = "ip";

/// Quotas of Kafka's that are not enforced here, by whether they are for addresses.
const NOT_ENFORCED: &[(&str, bool)] =
    &[("request_percentage", false), ("controller_mutation_rate", false), ("connection_creation_rate", true)];

type Changes = BTreeMap<QuotaKey, Option<f64>>;

pub async fn handle(call: Call, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let allowed = call.may_administer();
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    let keys: Vec<String> = request.entries.iter().map(|entry| shown(&entry.entity)).collect();
    for key in &keys {
        if !seen.insert(key) {
            twice.insert(key);
        }
    }
    let (mut results, mut pending): (Vec<_>, Pending) = (Vec::with_capacity(keys.len()), None);
    for (EntryData { entity, ops }, key) in request.entries.into_iter().zip(&keys) {
        let outcome = allowed.map_err(Fault::from).and_then(|()| {
            if twice.contains(key) || has_duplicates(&ops) {
                return Err(invalid(format!("Ignoring duplicate entity ClientQuotaEntity(entries={key})")));
            }
            let (entity, changes) = checked(&entity, ops)?;
            if !request.validate_only {
                let quotas = &call.door().broker.quotas;
                pending = pending.max(quotas.alter(&call.door().broker.core.store, &entity, &changes));
            }
            Ok(())
        });
        results.push((entity, outcome));
    }
    let durable = call.durable(pending).await;
    let result = |(entity, outcome): (Vec<EntityData>, Result<(), Fault>)| {
        let failed = outcome.and_then(|()| durable.map_err(Fault::from)).err();
        EntryDataResult {
            error_code: failed.as_ref().map_or(ErrorCode::None, |fault| fault.code).code(),
            error_message: failed.map(|fault| fault.message),
            entity,
        }
    };
    AlterClientQuotasResponse {
        entries: results.into_iter().map(result).collect(),
        ..AlterClientQuotasResponse::default()
    }
}

fn invalid(text: impl Into<String>) -> Fault {
    Fault::new(ErrorCode::InvalidRequest, text)
}

/// An entity as Kafka prints it.
fn shown(entity: &[EntityData]) -> String {
    let part =
        |part: &EntityData| format!("{}={}", part.entity_type, part.entity_name.as_deref().unwrap_or("null"));
    format!("{{{}}}", entity.iter().map(part).collect::<Vec<_>>().join(", "))
}

fn has_duplicates(ops: &[OpData]) -> bool {
    let mut keys = HashSet::new();
    !ops.iter().all(|op| keys.insert(op.key.as_str()))
}

fn checked(parts: &[EntityData], ops: Vec<OpData>) -> Result<(Entity, Changes), Fault> {
    if parts.is_empty() {
        return Err(invalid("Invalid empty client quota entity"));
    }
    let (mut entity, mut ip) = (Entity::default(), None);
    for EntityData { entity_type, entity_name } in parts {
        let slot = match entity_type.as_str() {
            USER => &mut entity.user,
            CLIENT_ID => &mut entity.client_id,
            IP => &mut ip,
            other => return Err(invalid(format!("Unhandled client quota entity type: {other}"))),
        };
        if entity_name.as_deref() == Some("") {
            return Err(invalid(format!("Empty {entity_type} not supported")));
        }
        *slot = Some(entity_name.clone().map_or(Name::Default, Name::Of));
    }
    let is_ip = ip.is_some();
    if is_ip && (entity.user.is_some() || entity.client_id.is_some()) {
        let text = "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId";
        return Err(invalid(text));
    }
    let mut changes = Changes::new();
    for OpData { key, value, remove } in ops {
        let known = QuotaKey::named(&key).filter(|_| !is_ip);
        match known {
            Some(known) if remove => _ = changes.insert(known, None),
            Some(known) => _ = changes.insert(known, Some(limit(&key, value.0)?)),
            // There is none that could be taken back.
            None if remove => {}
            None if NOT_ENFORCED.contains(&(key.as_str(), is_ip)) => {
                return Err(invalid(format!("This broker does not enforce quotas of {key}")));
            }
            None => return Err(invalid(format!("Invalid configuration key {key}"))),
        }
    }
    Ok((entity, changes))
}

/// A whole number of bytes a second.
fn limit(key: &str, value: f64) -> Result<f64, Fault> {
    if value.is_nan() || value <= 0.0 {
        return Err(invalid(format!("Quota {key} must be greater than 0")));
    }
    if value > i64::MAX as f64 {
        return Err(invalid(format!("Proposed value for {key} is too large for a LONG.")));
    }
    if (value % 1.0).abs() > 1e-6 {
        return Err(invalid(format!("{key} cannot be a fractional value.")));
    }
    Ok(value)
}

/// Kinds and names; no name is the default's.
pub(super) fn entity_data(entity: &Entity) -> Vec<(String, Option<String>)> {
    let name = |name: &Name| match name {
        Name::Default => None,
        Name::Of(name) => Some(name.clone()),
    };
    let parts = [(CLIENT_ID, &entity.client_id), (USER, &entity.user)];
    parts.into_iter().filter_map(|(kind, part)| part.as_ref().map(|p| (kind.to_owned(), name(p)))).collect()
}
