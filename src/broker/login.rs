//! How protocols without a field for the vhost name it: `vhost:user`, as with RabbitMQ's other protocols.

use super::Broker;

impl Broker {
    /// The vhost and the user that a client means by a name. A user whose name has a colon comes first.
    #[must_use]
    pub fn login_name<'a>(&self, name: &'a str) -> (&'a str, &'a str) {
        match name.rsplit_once(':') {
            Some((vhost, user)) if self.users.user(name).is_none() => (vhost, user),
            Some(_) | None => ("/", name),
        }
    }
}
