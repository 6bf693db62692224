//! What an operator sets on a vhost: its description, whether it is traced, its limits, its policies.
//!
//! None of it is topology, and none is read on the way of a message but the policies, which are worked into exchanges
//! and queues when they change. (RabbitMQ 4.2: vhost metadata, `vhost-limits`.)

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::policy::Policies;
use crate::data::value::{Table, Value};

/// A vhost's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    pub description: String,
    pub tags: Vec<String>,
    /// The type of queues declared without one; `None`: classic.
    pub default_queue_type: Option<String>,
    pub tracing: bool,
    pub protected_from_deletion: bool,
}

/// What an operator has set.
#[derive(Debug, Default)]
pub struct VhostSettings {
    pub metadata: RwLock<Arc<Metadata>>,
    pub limits: RwLock<Option<VhostLimits>>,
    pub policies: RwLock<Arc<Policies>>,
    /// One at a time works them into what exists: who looked earlier must not have the last word.
    pub(super) applying: Mutex<()>,
    gone: AtomicBool,
}

impl VhostSettings {
    #[must_use]
    pub fn with(metadata: Metadata) -> Self {
        Self { metadata: RwLock::new(Arc::new(metadata)), ..Self::default() }
    }

    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        self.metadata.read().clone()
    }

    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        self.policies.read().clone()
    }

    /// The vhost is deleted: nothing is declared in it any more.
    pub fn end(&self) {
        self.gone.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// `max-connections`, where it limits.
    #[must_use]
    pub fn connections_max(&self) -> Option<u64> {
        self.limits.read().as_ref()?.limit(MAX_CONNECTIONS)
    }

    /// `max-queues`, where it limits.
    #[must_use]
    pub fn queues_max(&self) -> Option<u64> {
        self.limits.read().as_ref()?.limit(MAX_QUEUES)
    }
}

/// Limits as they were set; a negative one does not limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VhostLimits(pub BTreeMap<String, i64>);

pub const MAX_CONNECTIONS: &str = "max-connections";
pub const MAX_QUEUES: &str = "max-queues";
pub const MAX_CHANNELS: &str = "max-channels";

impl VhostLimits {
    fn limit(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(|&limit| u64::try_from(limit).ok())
    }

    #[must_use]
    pub fn to_table(&self) -> Table {
        Table(self.0.iter().map(|(name, limit)| (name.clone(), Value::I64(*limit))).collect())
    }

    /// From the value of the parameter `limits`.
    ///
    /// # Errors
    /// RabbitMQ's text for what is not a limit.
    pub fn from_table(table: &Table) -> Result<Self, String> {
        let unknown: Vec<_> = table
            .0
            .iter()
            .filter(|(name, _)| ![MAX_CONNECTIONS, MAX_QUEUES].contains(&name.as_str()))
            .collect();
        if !unknown.is_empty() {
            return Err(format!("Unrecognised terms {} in limits\n", super::policy::terms(&unknown)));
        }
        numbers(table).map(Self).map_err(|reason| format!("{reason}\n"))
    }
}

/// Names with whole numbers.
///
/// # Errors
/// RabbitMQ's text for the first that is none.
pub fn numbers(table: &Table) -> Result<BTreeMap<String, i64>, String> {
    let number = |(name, value): &(String, Value)| {
        let number = value.integer().ok_or_else(|| {
            format!("{name} should be a number, actually was {}", crate::data::term::value_term(value))
        })?;
        Ok((name.clone(), number))
    };
    table.0.iter().map(number).collect()
}

impl Metadata {
    #[must_use]
    pub fn to_table(&self) -> Table {
        let text = |s: &str| Value::LongStr(Bytes::copy_from_slice(s.as_bytes()));
        let mut fields = vec![
            ("description".to_owned(), text(&self.description)),
            ("tags".to_owned(), Value::Array(self.tags.iter().map(|tag| text(tag)).collect())),
            ("tracing".to_owned(), Value::Bool(self.tracing)),
            ("protected_from_deletion".to_owned(), Value::Bool(self.protected_from_deletion)),
        ];
        if let Some(kind) = &self.default_queue_type {
            fields.push(("default_queue_type".to_owned(), text(kind)));
        }
        Table(fields)
    }

    /// What is absent is as if never set.
    #[must_use]
    pub fn from_table(table: &Table) -> Self {
        let text = |value: &Value| value.octets().map(|s| String::from_utf8_lossy(s).into_owned());
        let string = |name: &str| table.field(name).and_then(text);
        let flag = |name: &str| table.field(name) == Some(&Value::Bool(true));
        let tags = match table.field("tags") {
            Some(Value::Array(tags)) => tags.iter().filter_map(text).collect(),
            _ => Vec::new(),
        };
        Self {
            description: string("description").unwrap_or_default(),
            tags,
            default_queue_type: string("default_queue_type"),
            tracing: flag("tracing"),
            protected_from_deletion: flag("protected_from_deletion"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_reads_back_as_it_was() {
        let metadata = Metadata {
            description: "d".to_owned(),
            tags: vec!["a".to_owned(), "b".to_owned()],
            default_queue_type: Some("quorum".to_owned()),
            tracing: true,
            protected_from_deletion: false,
        };
        assert_eq!(Metadata::from_table(&metadata.to_table()), metadata);
        assert_eq!(Metadata::from_table(&Table::default()), Metadata::default());
    }

    #[test]
    fn limits_are_numbers_of_known_names() {
        let table = |name: &str, value| Table(vec![(name.to_owned(), value)]);
        let text = Value::LongStr(Bytes::from_static(b"x"));
        for (given, expected) in [
            (table("max-queues", Value::I64(5)), None),
            (table("max-queues", text), Some("max-queues should be a number, actually was <<\"x\">>\n")),
            (table("max-foo", Value::I64(7)), Some("Unrecognised terms [{<<\"max-foo\">>,7}] in limits\n")),
        ] {
            assert_eq!(VhostLimits::from_table(&given).err().as_deref(), expected);
        }
        let limits = VhostLimits::from_table(&table("max-queues", Value::I64(-1))).unwrap();
        assert_eq!(limits.limit("max-queues"), None);
    }
}
