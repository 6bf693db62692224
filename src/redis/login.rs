//! Who a client is: whoever AUTH or HELLO says, or the default user.

use std::net::SocketAddr;

use super::{Door, fault::Fault};
use crate::broker::{
    keyspace::{place, waiters::Db},
    login::{Login, is_here},
    refusal::Access,
};

/// Redis' name for who has given no name.
pub const DEFAULT: &[u8] = b"default";

impl Door {
    /// Who a client is that has not said so: the default user, if it is on this machine and may be.
    #[must_use]
    pub fn default_login(&self, peer: SocketAddr) -> Option<Login> {
        if self.settings.login_required || !is_here(peer.ip()) {
            return None;
        }
        self.broker.enter("/", &self.settings.default_user)
    }

    /// A name and a password.
    ///
    /// # Errors
    /// [`Fault::WrongPass`].
    pub fn log_in(&self, name: &[u8], password: &[u8], peer: SocketAddr) -> Result<Login, Fault> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Fault::WrongPass);
        let (name, password) = (text(name)?, text(password)?);
        let (vhost, user) = self.broker.login_name(name);
        let user = if user.as_bytes() == DEFAULT { &self.settings.default_user } else { user };
        self.broker.log_in(vhost, user, password, peer).ok_or(Fault::WrongPass)
    }
}

impl Login {
    /// Whether it may do that with a key. Keys are named as AMQP names them.
    #[must_use]
    pub(super) fn may(&self, access: Access, db: Db, key: &[u8]) -> bool {
        self.unrestricted || self.user.may(access, &self.vhost.name, &place::name_of(db, key))
    }
}
