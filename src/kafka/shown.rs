//! A connection as the admin door shows it: from the first request of somebody who is known, until it ends.
//!
//! Kafka has nothing like it. A row is what RabbitMQ's management has of other protocols' connections, and whoever deletes
//! it closes the connection.

use std::{sync::Arc, task::Waker};

use super::call::{ANONYMOUS, Client};
use crate::{
    broker::{
        outlet::{Event, Outlet},
        queue::ConnectionId,
        registry::{ConnectionInfo, Limits},
        vhost_settings::MAX_CONNECTIONS,
    },
    data::value::{Table, Value},
    net::listener::Ends,
};

/// What is shown of a connection, and how it is asked to close.
pub(super) struct Shown {
    id: ConnectionId,
    ends: Ends,
    connected_at_ms: i64,
    outlet: Arc<Outlet>,
    is_listed: bool,
}

impl Shown {
    pub(super) fn new(id: ConnectionId, ends: Ends, connected_at_ms: i64) -> Self {
        Self { id, ends, connected_at_ms, outlet: Arc::default(), is_listed: false }
    }

    /// Lists the connection, once it has logged in where clients must.
    ///
    /// # Errors
    /// Its vhost or its user has as many as they may.
    pub(super) fn list(&mut self, client: &Client, client_id: Option<&str>) -> Result<(), String> {
        let identity = client.identity.get();
        if self.is_listed || (client.door.settings.sasl && identity.is_none()) {
            return Ok(());
        }
        let (user, vhost): (Arc<str>, _) = match identity {
            Some(identity) => (identity.user.clone(), &identity.vhost),
            None => (ANONYMOUS.into(), &client.door.vhost),
        };
        let broker = &client.door.broker;
        let home = broker.vhost(&vhost.0).ok();
        let limits = Limits {
            of_vhost: home.as_ref().and_then(|vhost| vhost.settings.connections_max()),
            of_user: broker.users.user(&user).and_then(|user| user.limit(MAX_CONNECTIONS)),
        };
        let named = client_id.map(|id| ("connection_name".to_owned(), Value::LongStr(id.to_owned().into())));
        let info = ConnectionInfo {
            tls: self.ends.tls.clone(),
            user,
            vhost: vhost.0.clone(),
            client_properties: Table(named.into_iter().collect()),
            auth_mechanism: client.login.lock().mechanism().unwrap_or_default().into(),
            outlet: self.outlet.clone(),
            ..ConnectionInfo::plain(
                self.id,
                PROTOCOL,
                (self.ends.peer, self.ends.local),
                self.connected_at_ms,
            )
        };
        let admitted = broker.connections.admit(Arc::new(info), &limits);
        admitted.map_err(|_| "its vhost or its user has as many connections as it may".to_owned())?;
        self.is_listed = true;
        // A vhost that was deleted meanwhile did not see this connection.
        if home.is_some_and(|vhost| vhost.settings.is_gone()) {
            return Err(format!("vhost '{}' is deleted", vhost.0));
        }
        Ok(())
    }

    /// Why somebody asks the connection to close, if somebody does.
    pub(super) fn asked_to_close(&self, waker: &Waker) -> Option<String> {
        let mut events = Vec::new();
        self.outlet.drain(&mut events, waker);
        events
            .into_iter()
            .find_map(|event| if let Event::Close { reason } = event { Some(reason) } else { None })
    }

    pub(super) fn end(&self, client: &Client) {
        drop(self.outlet.close());
        client.door.broker.connections.remove(self.id);
    }
}

/// As the admin door names it.
const PROTOCOL: &str = "Kafka";
