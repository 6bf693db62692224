//! One user: tags, limits, and what may be done in which vhost.

use std::{collections::BTreeMap, sync::Arc};

use super::{Password, scram::ScramCredentials, stored};
use crate::{
    broker::{
        pattern::{BadPattern, Pattern},
        refusal::Access,
    },
    data::value::Table,
};

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    pub name: Arc<str>,
    pub tags: Vec<String>,
    pub password: Password,
    /// For logins with SCRAM.
    pub scram: ScramCredentials,
    /// May log in from this machine only, whatever the configuration says.
    pub loopback_only: bool,
    /// `max-connections` and `max-channels`, as they were set; a negative one does not limit.
    pub limits: BTreeMap<String, i64>,
    /// By vhost.
    pub permissions: BTreeMap<Arc<str>, Permissions>,
    /// By vhost and exchange.
    pub topic_permissions: BTreeMap<Arc<str>, BTreeMap<Arc<str>, TopicPermissions>>,
}

/// Patterns over names of resources: what may be configured, written and read.
#[derive(Debug, Clone, PartialEq)]
pub struct Permissions {
    pub configure: Pattern,
    pub write: Pattern,
    pub read: Pattern,
}

/// Patterns over routing keys, for one topic exchange. They may hold `{username}` and `{vhost}`.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicPermissions {
    pub write: String,
    pub read: String,
    write_for_user: Pattern,
    read_for_user: Pattern,
}

impl Permissions {
    /// # Errors
    /// When one is not a regular expression.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, BadPattern> {
        Ok(Self {
            configure: Pattern::of_permission(configure)?,
            write: Pattern::of_permission(write)?,
            read: Pattern::of_permission(read)?,
        })
    }

    /// Everything.
    #[must_use]
    pub fn full() -> Self {
        Self::new(".*", ".*", ".*").expect("`.*` is a regular expression")
    }

    fn of(&self, access: Access) -> &Pattern {
        match access {
            Access::Configure => &self.configure,
            Access::Read => &self.read,
            Access::Write => &self.write,
        }
    }
}

impl TopicPermissions {
    /// For a user in a vhost: variables are replaced here, once. `{client_id}` is MQTT's and stays as it is.
    ///
    /// # Errors
    /// When one is not a regular expression.
    pub fn new(write: &str, read: &str, user: &str, vhost: &str) -> Result<Self, BadPattern> {
        // As written, it must be an expression; a name with brackets in it must not make it another one.
        Pattern::new(&write.replace(['{', '}'], ""))?;
        Pattern::new(&read.replace(['{', '}'], ""))?;
        let fill = |text: &str| text.replace("{username}", user).replace("{vhost}", vhost);
        Ok(Self {
            write: write.to_owned(),
            read: read.to_owned(),
            write_for_user: Pattern::of_permission(&fill(write))?,
            read_for_user: Pattern::of_permission(&fill(read))?,
        })
    }
}

impl User {
    /// A user with a password and no permissions.
    #[must_use]
    pub fn new(name: &str, password: &str, tags: &[&str], loopback_only: bool) -> Self {
        let tags = tags.iter().map(|&t| t.to_owned()).collect();
        Self { tags, loopback_only, ..Self::with_hash(name, Password::new(password)) }
    }

    /// A user with a password's hash and nothing else.
    #[must_use]
    pub fn with_hash(name: &str, password: Password) -> Self {
        Self {
            name: name.into(),
            tags: Vec::new(),
            password,
            scram: ScramCredentials::new(),
            loopback_only: false,
            limits: BTreeMap::new(),
            permissions: BTreeMap::new(),
            topic_permissions: BTreeMap::new(),
        }
    }

    /// Gives permissions in a vhost.
    #[must_use]
    pub fn with_permissions(mut self, vhost: &str, permissions: Permissions) -> Self {
        self.permissions.insert(vhost.into(), permissions);
        self
    }

    /// Whether the user may enter the vhost at all.
    #[must_use]
    pub fn enters(&self, vhost: &str) -> bool {
        self.permissions.contains_key(vhost)
    }

    /// Whether the user may do that to a resource; the default exchange is asked for as `amq.default`.
    #[must_use]
    pub fn may(&self, access: Access, vhost: &str, resource: &str) -> bool {
        let resource = if resource.is_empty() { "amq.default" } else { resource };
        self.permissions.get(vhost).is_some_and(|p| p.of(access).matches(resource))
    }

    /// Whether the user may use that routing key with that topic exchange. Without a topic permission for it, yes.
    #[must_use]
    pub fn may_topic(&self, access: Access, vhost: &str, exchange: &str, routing_key: &str) -> bool {
        let Some(permissions) = self.topic_permissions.get(vhost).and_then(|v| v.get(exchange)) else {
            return true;
        };
        match access {
            Access::Write => permissions.write_for_user.matches(routing_key),
            Access::Read => permissions.read_for_user.matches(routing_key),
            Access::Configure => true,
        }
    }

    /// A limit, where one is set that limits.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<u64> {
        self.limits.get(name).and_then(|&limit| u64::try_from(limit).ok())
    }

    /// RabbitMQ's one tag that the AMQP door knows: this user may publish in anybody's name.
    #[must_use]
    pub fn impersonates(&self) -> bool {
        self.tags.iter().any(|tag| tag == "impersonator")
    }

    /// As it lies in the store.
    #[must_use]
    pub(crate) fn to_table(&self) -> Table {
        stored::to_table(self)
    }
}
