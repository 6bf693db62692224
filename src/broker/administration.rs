//! What an operator does to the broker as a whole: vhosts and users come and go, and whoever used them is let go.
//!
//! A change is in the inbox before it takes effect for others; the Ticket says when it lasts. (RabbitMQ 4.2.)

use std::sync::Arc;

use super::{
    Broker, Pending,
    arguments::{self, QueueKind},
    auth::User,
    definition,
    events::text,
    outlet::Event,
    queue::QueueOptions,
    refusal::Refusal,
    registry::ConnectionInfo,
    vhost::Vhost,
    vhost_settings::{Metadata, VhostSettings},
};
use crate::{
    data::value::{Table, Value},
    store::{Space, StoreError, Ticket},
};

/// Why a vhost is not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Absent,
    /// `protected_from_deletion`.
    Protected,
}

impl Broker {
    /// Whether the default user was ever made in this store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn is_seeded(&self) -> Result<bool, StoreError> {
        Ok(self.core.store.get(Space::Meta, definition::SEEDED_KEY)?.is_some())
    }

    /// Makes the default user, where one is wanted: once in the life of a store.
    pub fn seed(&self, user: Option<User>) {
        if let Some(user) = user {
            self.users.set(&self.core.store, user);
        }
        definition::put(&self.core.store, definition::SEEDED_KEY.to_vec(), Vec::new());
    }

    /// Makes a vhost with its predeclared exchanges, or finds it.
    pub fn add_vhost(&self, name: &str) -> (Arc<Vhost>, Pending) {
        match self.vhost(name) {
            Ok(vhost) => (vhost, None),
            Err(_) => {
                let metadata = Metadata {
                    description: if name == "/" { "Default virtual host".to_owned() } else { String::new() },
                    ..Metadata::default()
                };
                let (vhost, _, pending) = self.set_vhost(name, |_| metadata);
                (vhost, pending)
            }
        }
    }

    /// Makes a vhost, or changes what is said of it; true when it is new.
    pub fn set_vhost(
        &self,
        name: &str,
        metadata: impl FnOnce(&Metadata) -> Metadata,
    ) -> (Arc<Vhost>, bool, Pending) {
        let changing = self.changing_vhosts.lock();
        let found = self.vhost(name).ok();
        let new = found.is_none();
        let vhost = found.unwrap_or_else(|| Vhost::new(self.core.clone(), name, VhostSettings::default()));
        let ticket = vhost.set_metadata(metadata);
        if new {
            // Behind its own definition: those of what is declared in it come later.
            self.vhosts.write().push(vhost.clone());
        }
        drop(changing);
        if new {
            vhost.exchanges().iter().for_each(|exchange| vhost.tell_exchange_created(exchange));
        }
        vhost.tell_vhost(if new { "vhost.created" } else { "vhost.updated" });
        (vhost, new, Some(ticket))
    }

    /// Changes what is said of a vhost; `None` when there is none of that name.
    pub fn change_vhost(&self, name: &str, metadata: impl FnOnce(&Metadata) -> Metadata) -> Option<Pending> {
        let changing = self.changing_vhosts.lock();
        let vhost = self.vhost(name).ok()?;
        let ticket = vhost.set_metadata(metadata);
        drop(changing);
        vhost.tell_vhost("vhost.updated");
        Some(Some(ticket))
    }

    /// Deletes a vhost with everything in it, and lets its connections go.
    ///
    /// # Errors
    /// [`Kept`].
    pub fn delete_vhost(&self, name: &str) -> Result<Pending, Kept> {
        // To the end: one that is made anew meanwhile would lose what is put into it.
        let _changing = self.changing_vhosts.lock();
        let vhost = self.vhost(name).map_err(|_| Kept::Absent)?;
        if vhost.settings.metadata().protected_from_deletion {
            return Err(Kept::Protected);
        }
        self.vhosts.write().retain(|other| !Arc::ptr_eq(other, &vhost));
        vhost.end();
        self.close_connections(&format!("vhost '{name}' is deleted"), |info| *info.vhost == *name);
        for user in self.users.all().iter().filter(|user| user.enters(name)) {
            self.tell_permission_deleted(&user.name, name);
        }
        let forgotten = self.users.forget_vhost(&self.core.store, name);
        let emptied = vhost.empty();
        let mut keys = vec![definition::vhost_key(name)];
        for parameter in vhost.parameters() {
            keys.push(definition::parameter_key(name, parameter.component, &parameter.name));
        }
        // Last: a vhost that is half gone after a crash is found, and can be deleted again.
        let ticket = definition::delete(&self.core.store, keys);
        self.tell_vhost_deleted(name);
        Ok(forgotten.max(emptied).max(Some(ticket)))
    }

    /// Deletes a user and lets its connections go; `None` when there is none of that name.
    pub fn delete_user(&self, name: &str) -> Option<Pending> {
        let ticket = self.users.delete(&self.core.store, name)?;
        self.tell("user.deleted", || vec![("name", text(name))]);
        self.close_connections(&format!("user '{name}' is deleted"), |info| *info.user == *name);
        Some(Some(ticket))
    }

    /// Asks connections to close, each in its protocol's words; returns how many.
    pub fn close_connections(&self, reason: &str, which: impl Fn(&ConnectionInfo) -> bool) -> usize {
        let chosen: Vec<_> = self.connections.all().into_iter().filter(|info| which(info)).collect();
        for info in &chosen {
            info.outlet.push(Event::Close { reason: reason.to_owned() });
        }
        chosen.len()
    }
}

impl Vhost {
    /// Whether anything may still be declared here.
    ///
    /// # Errors
    /// [`Refusal::NoVhost`].
    pub(super) fn check_alive(&self) -> Result<(), Refusal> {
        if self.settings.is_gone() { Err(Refusal::NoVhost(self.name.to_string())) } else { Ok(()) }
    }

    /// Whether one queue more may be declared.
    ///
    /// # Errors
    /// [`Refusal::QueueLimit`].
    pub(super) fn check_queues_max(&self, name: &str) -> Result<(), Refusal> {
        let Some(limit) = self.settings.queues_max() else { return Ok(()) };
        let streams = self.topics().iter().map(|topic| topic.declared_streams().len()).sum::<usize>();
        if (self.queue_count() + streams) as u64 >= limit {
            return Err(Refusal::QueueLimit { queue: name.to_owned(), limit });
        }
        Ok(())
    }

    /// The arguments of a declaration as they are stored and compared: with the vhost's default queue type, where they
    /// name none and it can be that.
    #[must_use]
    pub fn arguments_of(&self, options: &QueueOptions) -> Table {
        let default = self.settings.metadata().default_queue_type.clone();
        let default = default.and_then(|kind| QueueKind::named(kind.as_bytes()));
        arguments::with_type(options, default, self.core.profile)
    }

    fn set_metadata(&self, metadata: impl FnOnce(&Metadata) -> Metadata) -> Ticket {
        let mut own = self.settings.metadata.write();
        *own = Arc::new(metadata(&own));
        self.set_tracing(own.tracing);
        let value = definition::table_value(&own.to_table());
        definition::put(&self.core.store, definition::vhost_key(&self.name), value)
    }

    /// It is gone, and everybody who declares in it or enters it from now on sees that.
    fn end(&self) {
        let _topology = self.topology.lock();
        self.settings.end();
    }

    /// Deletes everything in it, for good.
    fn empty(self: &Arc<Self>) -> Pending {
        let mut last = None;
        for queue in self.queues() {
            if let Ok((_, pending)) = self.delete_queue(&queue, false, false) {
                last = last.max(pending);
            }
        }
        for topic in self.topics() {
            last = last.max(self.delete_stream(&topic));
        }
        let emptied = self.keyspace.clear(self.core.clock.now_ms());
        last.max(emptied).max(self.forget_exchanges())
    }
}

/// Whether that is a type a vhost may give its queues by default.
#[must_use]
pub fn is_queue_type(word: &str) -> bool {
    let named = Table(vec![("x-queue-type".to_owned(), Value::LongStr(word.to_owned().into_bytes().into()))]);
    arguments::kind("", &named).is_ok()
}
