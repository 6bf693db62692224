//! Users, their passwords and what they may do in which vhost (RabbitMQ's internal authentication backend).
//!
//! A user is replaced whole, never changed: who holds an `Arc<User>` holds what was true once. [`Users::version`] rises
//! with every change, so that whoever remembers a permission can ask for one load of an atomic whether it still holds.

mod password;
pub mod scram;
mod stored;
mod user;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use tokio::runtime::Handle;

pub use password::{Password, SALT_BYTES, SHA256, salted};
pub use stored::read_user;
pub use user::{Permissions, TopicPermissions, User};

use self::scram::{ScramCredential, ScramMechanism};
use super::definition;
use crate::store::{Store, Ticket};

/// All users.
#[derive(Debug, Default)]
pub struct Users {
    table: RwLock<HashMap<Arc<str>, Arc<User>>>,
    version: AtomicU64,
    /// Who may log in from this machine only (RabbitMQ's `loopback_users`).
    loopback_only: RwLock<BTreeSet<String>>,
    /// Held while SCRAM credentials of a user that is there already are made.
    making: Arc<tokio::sync::Mutex<()>>,
}

/// A failed login. The peer learns no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied;

impl Users {
    /// Adds or replaces a user, in memory only.
    pub fn put(&self, user: User) {
        self.table.write().insert(user.name.clone(), Arc::new(user));
        self.changed();
    }

    /// Adds or replaces a user for good; true when it is new.
    pub fn set(&self, store: &Store, user: User) -> (bool, Ticket) {
        let mut table = self.table.write();
        // Under the lock: the log has changes in the order in which they took effect.
        let ticket = definition::put(
            store,
            definition::user_key(&user.name),
            definition::table_value(&user.to_table()),
        );
        let new = table.insert(user.name.clone(), Arc::new(user)).is_none();
        self.changed();
        (new, ticket)
    }

    /// Changes a user for good; `None` when there is none of that name.
    pub fn change<T>(
        &self,
        store: &Store,
        name: &str,
        change: impl FnOnce(&mut User) -> T,
    ) -> Option<(T, Ticket)> {
        let mut table = self.table.write();
        let mut user = User::clone(table.get(name)?);
        let changed = change(&mut user);
        let ticket =
            definition::put(store, definition::user_key(name), definition::table_value(&user.to_table()));
        table.insert(user.name.clone(), Arc::new(user));
        self.changed();
        Some((changed, ticket))
    }

    /// Deletes a user for good; `None` when there is none of that name.
    pub fn delete(&self, store: &Store, name: &str) -> Option<Ticket> {
        let mut table = self.table.write();
        table.remove(name)?;
        self.changed();
        Some(definition::delete(store, vec![definition::user_key(name)]))
    }

    /// Takes away everything that users may do in a vhost.
    pub fn forget_vhost(&self, store: &Store, vhost: &str) -> Option<Ticket> {
        let inside = |user: &Arc<User>| user.enters(vhost) || user.topic_permissions.contains_key(vhost);
        let names: Vec<_> = self.all().into_iter().filter(inside).map(|user| user.name.clone()).collect();
        let forget = |user: &mut User| {
            user.permissions.remove(vhost);
            user.topic_permissions.remove(vhost);
        };
        names.iter().filter_map(|name| self.change(store, name, forget)).map(|(_, ticket)| ticket).max()
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Rises with every change of any user.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Names those who may log in from this machine only.
    pub fn set_loopback_only(&self, names: impl IntoIterator<Item = String>) {
        *self.loopback_only.write() = names.into_iter().collect();
    }

    #[must_use]
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.table.read().get(name).cloned()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.read().is_empty()
    }

    /// All users, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<User>> {
        let mut all: Vec<_> = self.table.read().values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Checks a login; `loopback`: the peer is on this machine.
    ///
    /// # Errors
    /// [`Denied`], after as much work for an unknown user as for a known one.
    pub fn login(&self, name: &str, password: &str, loopback: bool) -> Result<Arc<User>, Denied> {
        let Some(user) = self.user(name) else {
            let _ = password::sha256(&[0; SALT_BYTES], password);
            return Err(Denied);
        };
        if !user.password.is(password) {
            return Err(Denied);
        }
        self.reached(user, loopback)
    }

    /// Lets in who has proved otherwise to be that user: by a certificate of TLS.
    ///
    /// # Errors
    /// [`Denied`]
    pub fn certified(&self, name: &str, loopback: bool) -> Result<Arc<User>, Denied> {
        self.reached(self.user(name).ok_or(Denied)?, loopback)
    }

    /// The user and the credential that a login with SCRAM must prove.
    ///
    /// # Errors
    /// [`Denied`]
    pub fn scram(
        &self,
        name: &str,
        mechanism: ScramMechanism,
        loopback: bool,
    ) -> Result<(Arc<User>, ScramCredential), Denied> {
        let user = self.reached(self.user(name).ok_or(Denied)?, loopback)?;
        let credential = user.scram.get(&mechanism).cloned().ok_or(Denied)?;
        Ok((user, credential))
    }

    fn reached(&self, user: Arc<User>, loopback: bool) -> Result<Arc<User>, Denied> {
        let here_only = user.loopback_only || self.loopback_only.read().contains(&*user.name);
        if here_only && !loopback {
            tracing::warn!("user '{}' can only connect via localhost", user.name);
            return Err(Denied);
        }
        Ok(user)
    }

    /// Makes the SCRAM credentials of a user that has none, if that is its password, without holding anybody up.
    pub fn make_scram(self: &Arc<Self>, store: &Store, runtime: &Handle, name: &str, password: &str) {
        let lacks = |user: &User| user.scram.is_empty() && user.password.is(password);
        if !self.user(name).is_some_and(|user| lacks(&user)) {
            return;
        }
        let Ok(making) = self.making.clone().try_lock_owned() else { return };
        let (users, store) = (self.clone(), store.clone());
        let (name, password) = (name.to_owned(), password.to_owned());
        runtime.spawn_blocking(move || {
            let made = scram::credentials(&password);
            let take = |user: &mut User| {
                // It may have been given another password meanwhile.
                if user.scram.is_empty() && user.password.is(&password) {
                    user.scram = made;
                }
            };
            users.change(&store, &name, take);
            drop(making);
        });
    }

    /// Waits for credentials that are being made.
    pub async fn scram_made(&self) {
        drop(self.making.lock().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::refusal::Access;

    #[test]
    fn a_login_needs_the_password_and_perhaps_this_machine() {
        let users = Users::default();
        users.put(User::new("guest", "guest", &["administrator"], true));
        users.put(User::new("local", "guest", &[], false));
        users.set_loopback_only(["local".to_owned()]);
        for (name, password, loopback, expected) in [
            ("guest", "guest", true, true),
            ("guest", "guest", false, false),
            ("guest", "x", true, false),
            ("local", "guest", false, false),
            ("local", "guest", true, true),
            ("x", "guest", true, false),
        ] {
            assert_eq!(users.login(name, password, loopback).is_ok(), expected, "{name} {password}");
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

    #[test]
    fn a_topic_permission_knows_its_user_and_vhost() {
        let mut user = User::new("u", "p", &[], false);
        let topic = TopicPermissions::new("^{username}\\.{vhost}\\.", "^$", "u", "v").unwrap();
        user.topic_permissions.entry("v".into()).or_default().insert("t".into(), topic);
        for (access, vhost, exchange, key, expected) in [
            (Access::Write, "v", "t", "u.v.x", true),
            (Access::Write, "v", "t", "x.v.x", false),
            (Access::Read, "v", "t", "u.v.x", false),
            (Access::Write, "v", "other", "x", true),
            (Access::Write, "w", "t", "x", true),
        ] {
            assert_eq!(user.may_topic(access, vhost, exchange, key), expected, "{vhost} {exchange} {key}");
        }
    }

    #[test]
    fn every_change_raises_the_version() {
        let (users, store) = (Users::default(), Store::manual(crate::store::Options::ephemeral()));
        let seen = users.version();
        assert!(users.set(&store, User::new("u", "p", &[], false)).0);
        assert!(users.version() > seen);
        let seen = users.version();
        users.change(&store, "u", |user| user.tags.push("management".to_owned())).unwrap();
        assert!(users.version() > seen && users.user("u").unwrap().tags == ["management"]);
        assert!(users.delete(&store, "u").is_some() && users.delete(&store, "u").is_none());
    }
}
