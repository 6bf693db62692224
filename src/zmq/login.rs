//! Who a peer is, by the mechanism that it comes with: NULL, PLAIN or CURVE.

use std::net::SocketAddr;

use super::{Door, fault::Fault, wire::curve::Key};
use crate::broker::{
    login::{Login, is_here},
    refusal::{Access, Subject},
};

impl Door {
    /// NULL: the default user, if the peer is on this machine and may be.
    ///
    /// # Errors
    /// [`Fault::Denied`].
    pub fn default_login(&self, peer: SocketAddr) -> Result<Login, Fault> {
        if self.settings.login_required || !is_here(peer.ip()) {
            return Err(Fault::Denied);
        }
        self.broker.enter("/", &self.settings.default_user).ok_or(Fault::Denied)
    }

    /// PLAIN.
    ///
    /// # Errors
    /// [`Fault::Denied`].
    pub fn log_in(&self, name: &[u8], password: &[u8], peer: SocketAddr) -> Result<Login, Fault> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Fault::Denied);
        let (name, password) = (text(name)?, text(password)?);
        let (vhost, user) = self.broker.login_name(name);
        self.broker.log_in(vhost, user, password, peer).ok_or(Fault::Denied)
    }

    /// CURVE: the client has shown that this is its key.
    ///
    /// # Errors
    /// [`Fault::Denied`].
    pub fn log_in_by_key(&self, client: &Key, peer: SocketAddr) -> Result<Login, Fault> {
        let clients = self.settings.curve.as_ref().and_then(|curve| curve.clients.as_ref());
        let Some(clients) = clients else { return self.default_login(peer) };
        let (vhost, user) = self.broker.login_name(clients.get(client).ok_or(Fault::Denied)?);
        self.broker.enter(vhost, user).ok_or(Fault::Denied)
    }
}

impl Login {
    /// Whether it may do that.
    ///
    /// # Errors
    /// [`Fault::Access`].
    pub(super) fn allow(&self, access: Access, on: &Subject) -> Result<(), Fault> {
        if self.user.may(access, &self.vhost.name, &on.name) {
            return Ok(());
        }
        Err(Fault::Access { access, on: on.clone(), user: self.user.name.to_string() })
    }

    /// Whether it may use that topic with the exchange.
    ///
    /// # Errors
    /// [`Fault::TopicAccess`].
    pub(super) fn allow_topic(&self, access: Access, exchange: &str, topic: &[u8]) -> Result<(), Fault> {
        if !self.user.topic_permissions.contains_key(&self.vhost.name) {
            return Ok(());
        }
        let topic = String::from_utf8_lossy(topic);
        if self.user.may_topic(access, &self.vhost.name, exchange, &topic) {
            return Ok(());
        }
        let (topic, exchange, user) = (topic.into_owned(), exchange.to_owned(), self.user.name.to_string());
        Err(Fault::TopicAccess { access, topic, exchange, user })
    }
}
