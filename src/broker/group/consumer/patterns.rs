//! Subscriptions by pattern: `SubscribedTopicRegex`.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::Member;
use crate::broker::group::{
    error::{GroupError, Refused},
    member::MemberId,
    topics::TopicView,
};

/// Subscribed patterns, compiled, and what they matched when there were these topics.
#[derive(Debug, Clone, Default)]
pub(super) struct Patterns {
    matched: BTreeMap<String, (Regex, BTreeSet<String>)>,
    version: Option<u64>,
}

impl Patterns {
    /// Takes a pattern in, if it is one. The syntax is RE2's, as in Kafka; it must match a whole name.
    pub(super) fn compile(&mut self, pattern: &str) -> Result<(), Refused> {
        if pattern.is_empty() || self.matched.contains_key(pattern) {
            return Ok(());
        }
        let whole = format!("^(?:{pattern})$");
        let compiled =
            regex::RegexBuilder::new(&whole).size_limit(PATTERN_BYTES_MAX).build().map_err(|error| {
                let description = error.to_string();
                let last =
                    description.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                Refused::new(
                    GroupError::InvalidRegularExpression,
                    format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {last}."),
                )
            })?;
        self.matched.insert(pattern.to_owned(), (compiled, BTreeSet::new()));
        self.version = None;
        Ok(())
    }

    /// Matches anew if there are other topics than last time. Whether it did.
    pub(super) fn refresh(&mut self, topics: &dyn TopicView) -> bool {
        if self.matched.is_empty() || self.version == Some(topics.version()) {
            return false;
        }
        self.version = Some(topics.version());
        let names = topics.names();
        for (pattern, matched) in self.matched.values_mut() {
            *matched = names.iter().filter(|name| pattern.is_match(name)).map(|n| n.to_string()).collect();
        }
        true
    }

    /// The topics that a pattern matches.
    pub(super) fn matched_by(&self, pattern: &str) -> impl Iterator<Item = &String> {
        self.matched.get(pattern).into_iter().flat_map(|(_, names)| names)
    }

    /// Forgets those that no member has.
    pub(super) fn forget_unused(&mut self, members: &BTreeMap<MemberId, Member>) {
        self.matched.retain(|pattern, _| members.values().any(|m| m.regex == *pattern));
    }
}

/// A compiled pattern's memory.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;
