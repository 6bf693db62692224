//! Who a client is, where the protocol has no field for the vhost: it is named as `vhost:user`, as with RabbitMQ's other
//! protocols.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Broker,
    auth::{Permissions, User},
    vhost::Vhost,
};

/// A user in a vhost. What a door asks of it is in that door's `login.rs`.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: Arc<User>,
    pub vhost: Arc<Vhost>,
    /// What [`Users::version`](super::auth::Users::version) was.
    pub users_version: u64,
    /// Everything in the vhost is allowed, so nothing needs to be asked; its topics are another matter.
    pub unrestricted: bool,
}

/// Whether a client is on this machine: loopback, also as IPv6 writes IPv4 (`::ffff:127.0.0.1`).
#[must_use]
pub fn is_here(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

impl Broker {
    /// The vhost and the user that a client means by a name. A user whose name has a colon comes first.
    #[must_use]
    pub fn login_name<'a>(&self, name: &'a str) -> (&'a str, &'a str) {
        match name.rsplit_once(':') {
            Some((vhost, user)) if self.users.user(name).is_none() => (vhost, user),
            Some(_) | None => ("/", name),
        }
    }

    /// Lets a user in, whoever has made sure who it is; `None`: it is not there, the vhost is not, or it may not enter.
    #[must_use]
    pub fn enter(&self, vhost: &str, user: &str) -> Option<Login> {
        let users_version = self.users.version();
        let vhost = self.vhost(vhost).ok()?;
        let user = self.users.user(user).filter(|user| user.enters(&vhost.name))?;
        let full = Permissions::full();
        let unrestricted = user.permissions.get(&vhost.name).is_some_and(|permissions| *permissions == full);
        Some(Login { user, vhost, users_version, unrestricted })
    }

    /// Lets in whoever has that name and password. It is counted; a refusal is told to the log.
    #[must_use]
    pub fn log_in(&self, vhost: &str, user: &str, password: &str, peer: SocketAddr) -> Option<Login> {
        let known = self.users.login(user, password, is_here(peer.ip())).ok();
        let login = known.and_then(|known| self.enter(vhost, &known.name));
        let meters = &self.core.meters;
        if login.is_some() {
            meters.auth_succeeded.increment();
        } else {
            meters.auth_failed.increment();
            tracing::warn!(%peer, user, "login refused");
        }
        login
    }

    /// The same login as it counts now, after users have changed; `None`: it is no more.
    #[must_use]
    pub fn renewed(&self, login: &Login) -> Option<Login> {
        self.enter(&login.vhost.name, &login.user.name)
    }
}
