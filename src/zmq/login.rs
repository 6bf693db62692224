//! Who a peer is: a user of the broker, in a vhost.

use std::{net::SocketAddr, sync::Arc};

use super::{Door, fault::Fault, wire::curve::Key};
use crate::broker::{
    auth::User,
    refusal::{Access, Subject},
    vhost::Vhost,
};

/// Who a peer is.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: Arc<User>,
    pub vhost: Arc<Vhost>,
    /// What [`Users::version`](crate::broker::auth::Users::version) was.
    pub users_version: u64,
}

impl Login {
    /// Whether it may do that.
    ///
    /// # Errors
    /// [`Fault::Access`].
    pub fn allow(&self, access: Access, on: &Subject) -> Result<(), Fault> {
        if self.user.may(access, &self.vhost.name, &on.name) {
            return Ok(());
        }
        Err(Fault::Access { access, on: on.clone(), user: self.user.name.to_string() })
    }

    /// Whether it may use that topic with the exchange.
    ///
    /// # Errors
    /// [`Fault::TopicAccess`].
    pub fn allow_topic(&self, access: Access, exchange: &str, topic: &[u8]) -> Result<(), Fault> {
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

fn is_here(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

impl Door {
    /// Who a peer is that has not said so: the default user, if it is on this machine and may be.
    ///
    /// # Errors
    /// [`Fault::Denied`].
    pub fn default_login(&self, peer: SocketAddr) -> Result<Login, Fault> {
        if self.settings.login_required || !is_here(peer) {
            return Err(Fault::Denied);
        }
        self.enter("/", &self.settings.default_user)
    }

    /// PLAIN.
    ///
    /// # Errors
    /// [`Fault::Denied`].
    pub fn log_in(&self, name: &[u8], password: &[u8], peer: SocketAddr) -> Result<Login, Fault> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Fault::Denied);
        let (name, password) = (text(name)?, text(password)?);
        let (vhost, name) = self.broker.login_name(name);
        let logged_in = match self.broker.users.login(name, password, is_here(peer)) {
            Ok(user) => self.enter(vhost, &user.name),
            Err(_) => Err(Fault::Denied),
        };
        let meters = &self.broker.core.meters;
        match &logged_in {
            Ok(_) => meters.auth_succeeded.increment(),
            Err(_) => {
                meters.auth_failed.increment();
                tracing::warn!(%peer, user = name, "login refused");
            }
        }
        logged_in
    }

    /// CURVE: the client has shown that this is its key.
    ///
    /// # Errors
    /// [`Fault::Denied`].
    pub fn log_in_by_key(&self, client: &Key, peer: SocketAddr) -> Result<Login, Fault> {
        let clients = self.settings.curve.as_ref().and_then(|curve| curve.clients.as_ref());
        let Some(clients) = clients else { return self.default_login(peer) };
        let (vhost, user) = self.broker.login_name(clients.get(client).ok_or(Fault::Denied)?);
        self.enter(vhost, user)
    }

    /// The same login as it counts now, after users have changed.
    ///
    /// # Errors
    /// [`Fault::Denied`]: it is no more.
    pub fn renewed(&self, login: &Login) -> Result<Login, Fault> {
        self.enter(&login.vhost.name, &login.user.name)
    }

    fn enter(&self, vhost: &str, user: &str) -> Result<Login, Fault> {
        let users_version = self.broker.users.version();
        let vhost = self.broker.vhost(vhost).map_err(|_| Fault::Denied)?;
        let user = self.broker.users.user(user).filter(|user| user.enters(&vhost.name));
        Ok(Login { user: user.ok_or(Fault::Denied)?, vhost, users_version })
    }
}
