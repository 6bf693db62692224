//! Users, their passwords and what they may do in which vhost.
//!
//! Passwords are kept as RabbitMQ keeps them: four bytes of salt and one SHA-256 over salt and password.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use regex::Regex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::refusal::Access;

/// A user.
#[derive(Debug, Clone)]
pub struct User {
    pub name: Arc<str>,
    pub tags: Vec<String>,
    hash: Vec<u8>,
    /// May log in from this machine only.
    pub loopback_only: bool,
    permissions: HashMap<Arc<str>, Permissions>,
}

/// Regular expressions over resource names: what may be configured, written and read.
#[derive(Debug, Clone)]
pub struct Permissions {
    configure: Regex,
    write: Regex,
    read: Regex,
}

impl Permissions {
    /// # Errors
    /// When one is not a regular expression.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, regex::Error> {
        Ok(Self { configure: Regex::new(configure)?, write: Regex::new(write)?, read: Regex::new(read)? })
    }
}

impl User {
    /// A user with a password and no permissions.
    #[must_use]
    pub fn new(name: &str, password: &str, tags: &[&str], loopback_only: bool) -> Self {
        let salt: [u8; 4] = rand::random();
        let mut hash = salt.to_vec();
        hash.extend_from_slice(&digest(&salt, password));
        let tags = tags.iter().map(|&t| t.to_owned()).collect();
        Self { name: name.into(), tags, hash, loopback_only, permissions: HashMap::new() }
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
        self.permissions.get(vhost).is_some_and(|p| {
            let pattern = match access {
                Access::Configure => &p.configure,
                Access::Read => &p.read,
                Access::Write => &p.write,
            };
            pattern.is_match(resource)
        })
    }

    fn password_is(&self, password: &str) -> bool {
        let Some((salt, hash)) = self.hash.split_at_checked(4) else { return false };
        digest(salt, password).ct_eq(hash).into()
    }
}

fn digest(salt: &[u8], password: &str) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(password).finalize().into()
}

/// All users.
#[derive(Debug, Default)]
pub struct Users(RwLock<HashMap<Arc<str>, Arc<User>>>);

/// A failed login. The peer learns no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied;

impl Users {
    /// Adds or replaces a user.
    pub fn put(&self, user: User) {
        self.0.write().insert(user.name.clone(), Arc::new(user));
    }

    #[must_use]
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.0.read().get(name).cloned()
    }

    #[must_use]
    pub fn all(&self) -> Vec<Arc<User>> {
        self.0.read().values().cloned().collect()
    }

    /// Checks a login; `loopback`: the peer is on this machine.
    ///
    /// # Errors
    /// [`Denied`], after as much work for an unknown user as for a known one.
    pub fn login(&self, name: &str, password: &str, loopback: bool) -> Result<Arc<User>, Denied> {
        let Some(user) = self.user(name) else {
            let _ = digest(&[0; 4], password);
            return Err(Denied);
        };
        if !user.password_is(password) {
            return Err(Denied);
        }
        if user.loopback_only && !loopback {
            tracing::warn!("user '{name}' can only connect via localhost");
            return Err(Denied);
        }
        Ok(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_needs_the_password_and_perhaps_this_machine() {
        let users = Users::default();
        users.put(User::new("guest", "guest", &["administrator"], true));
        for (name, password, loopback, expected) in [
            ("guest", "guest", true, true),
            ("guest", "guest", false, false),
            ("guest", "x", true, false),
            ("x", "guest", true, false),
        ] {
            assert_eq!(users.login(name, password, loopback).is_ok(), expected);
        }
    }

    #[test]
    fn the_default_exchange_has_a_name_for_permissions() {
        let user = User::new("u", "p", &[], false)
            .with_permissions("/", Permissions::new("^$", "^amq\\.default$", ".*").unwrap());
        assert!(
            user.may(Access::Write, "/", "")
                && !user.may(Access::Write, "/", "x")
                && !user.may(Access::Read, "other", "x")
        );
    }
}
