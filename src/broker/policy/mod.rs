//! Policies and operator policies: what an operator says of queues and exchanges by their names.
//!
//! One policy and one operator policy count for an object: of those that match, the one with the highest priority.
//! [`keys`] says what may stand in a definition, [`merge`] whose word counts where arguments and policies differ,
//! `apply` works a change of them into what exists. (RabbitMQ 4.2 `rabbit_policy`, `rabbit_policies`.)

pub(crate) mod apply;
pub mod keys;
pub mod merge;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{arguments::QueueKind, pattern::Pattern, profile::Profile, refusal::Kind};
use crate::data::{
    term,
    value::{Table, Value},
};

/// A policy, of either sort.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub name: String,
    pub pattern: Pattern,
    pub apply_to: ApplyTo,
    pub priority: i64,
    pub definition: Table,
}

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyTo {
    All,
    Queues,
    Exchanges,
    ClassicQueues,
    QuorumQueues,
    Streams,
}

/// An object that policies may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    Exchange(&'a str),
    Queue(&'a str, QueueKind),
}

/// Which of the two sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Operator,
    User,
}

impl Sort {
    /// The runtime parameter's component.
    #[must_use]
    pub fn component(self) -> &'static str {
        match self {
            Self::Operator => "operator_policy",
            Self::User => "policy",
        }
    }
}

/// All policies of a vhost, by name.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    pub user: BTreeMap<String, Arc<Policy>>,
    pub operator: BTreeMap<String, Arc<Policy>>,
}

/// What counts for one object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    pub policy: Option<Arc<Policy>>,
    pub operator: Option<Arc<Policy>>,
}

impl ApplyTo {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("queues", Self::Queues),
        ("exchanges", Self::Exchanges),
        ("all", Self::All),
        ("classic_queues", Self::ClassicQueues),
        ("quorum_queues", Self::QuorumQueues),
        ("streams", Self::Streams),
    ];

    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, a)| *a == self).map_or("all", |(word, _)| *word)
    }

    fn covers(self, object: Object<'_>) -> bool {
        match (self, object) {
            (Self::All, _) | (Self::Exchanges, Object::Exchange(_)) | (Self::Queues, Object::Queue(..)) => {
                true
            }
            (Self::ClassicQueues, Object::Queue(_, kind)) => kind.word() == "classic",
            (Self::QuorumQueues, Object::Queue(_, kind)) => kind.word() == "quorum",
            (Self::Streams, Object::Queue(_, kind)) => kind.word() == "stream",
            (
                Self::Queues | Self::ClassicQueues | Self::QuorumQueues | Self::Streams,
                Object::Exchange(_),
            )
            | (Self::Exchanges, Object::Queue(..)) => false,
        }
    }
}

impl Object<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Exchange(name) | Self::Queue(name, _) => name,
        }
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Exchange(_) => Kind::Exchange,
            Self::Queue(..) => Kind::Queue,
        }
    }
}

impl Policy {
    /// From a runtime parameter's value.
    ///
    /// # Errors
    /// RabbitMQ's text for what is wrong with it, the first thing first.
    pub fn parse(sort: Sort, name: &str, value: &Table, profile: &Profile) -> Result<Self, String> {
        let priority = match value.field("priority") {
            None => 0,
            Some(Value::F64(n)) => *n as i64,
            Some(value) => value.integer().ok_or_else(|| {
                format!("priority should be a number, actually was {}\n", term::value_term(value))
            })?,
        };
        let pattern = match value.field("pattern") {
            Some(Value::LongStr(text)) => Pattern::new(&String::from_utf8_lossy(text))
                .map_err(|bad| format!("pattern should be regular expression but is invalid: {bad}\n"))?,
            Some(other) => {
                return Err(format!("pattern should be a binary but was {}\n", term::value_term(other)));
            }
            None => return Err("pattern should be a binary but was undefined\n".to_owned()),
        };
        let apply_to = match value.field("apply-to") {
            None => ApplyTo::All,
            Some(word) => {
                let text = word.octets().map(String::from_utf8_lossy).unwrap_or_default();
                let found = ApplyTo::WORDS.iter().find(|(word, _)| *word == text);
                found.map(|(_, a)| *a).ok_or_else(|| {
                    format!(
                        "apply-to '{text}' unrecognised; should be one of: 'queues', 'exchanges', 'all', \
                         'classic_queues', 'quorum_queues', 'streams'\n"
                    )
                })?
            }
        };
        let Some(Value::Table(definition)) = value.field("definition") else {
            return Err("definition should be a JSON object\n".to_owned());
        };
        keys::check(sort, definition, profile)?;
        Ok(Self { name: name.to_owned(), pattern, apply_to, priority, definition: definition.clone() })
    }

    /// As a runtime parameter's value.
    #[must_use]
    pub fn to_table(&self) -> Table {
        let text = |s: &str| Value::LongStr(Bytes::copy_from_slice(s.as_bytes()));
        Table(vec![
            ("pattern".to_owned(), text(self.pattern.text())),
            ("definition".to_owned(), Value::Table(self.definition.clone())),
            ("priority".to_owned(), Value::I64(self.priority)),
            ("apply-to".to_owned(), text(self.apply_to.word())),
        ])
    }

    fn matches(&self, object: Object<'_>) -> bool {
        let applicable = match object {
            Object::Exchange(_) => true,
            Object::Queue(_, kind) => {
                self.definition.0.iter().all(|(key, _)| !keys::unsupported(kind).contains(&key.as_str()))
            }
        };
        self.apply_to.covers(object) && applicable && self.pattern.matches(object.name())
    }
}

impl Policies {
    /// Of one sort.
    #[must_use]
    pub fn of(&self, sort: Sort) -> &BTreeMap<String, Arc<Policy>> {
        match sort {
            Sort::Operator => &self.operator,
            Sort::User => &self.user,
        }
    }

    pub fn of_mut(&mut self, sort: Sort) -> &mut BTreeMap<String, Arc<Policy>> {
        match sort {
            Sort::Operator => &mut self.operator,
            Sort::User => &mut self.user,
        }
    }

    /// What counts for an object. Among equal priorities the first by name, so that it is always the same one.
    #[must_use]
    pub fn applied(&self, object: Object<'_>) -> Applied {
        let best = |policies: &BTreeMap<String, Arc<Policy>>| {
            let mut matching: Vec<_> = policies.values().filter(|policy| policy.matches(object)).collect();
            matching.sort_by_key(|policy| std::cmp::Reverse(policy.priority));
            matching.first().map(|policy| Arc::clone(policy))
        };
        Applied { policy: best(&self.user), operator: best(&self.operator) }
    }
}

/// Names and values as Erlang prints a list of pairs.
#[must_use]
pub fn terms(fields: &[&(String, Value)]) -> String {
    let pair = |(name, value): &&(String, Value)| {
        format!("{{{},{}}}", term::binary(name.as_bytes()), term::value_term(value))
    };
    format!("[{}]", fields.iter().map(pair).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests;
