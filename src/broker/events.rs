//! What happens to the broker, told to whoever listens: messages to the topic exchange `amq.rabbitmq.event` of vhost `/`
//! (RabbitMQ's event exchange plugin; names and headers as RabbitMQ 3.10 sends them).
//!
//! The key is what happened (`queue.created`), the headers say to what and who did it; there is no body. Nothing is made
//! up while nothing is bound. What the doors tell (connections, logins, users) they put together themselves.

use std::{
    cell::RefCell,
    net::IpAddr,
    sync::{Arc, OnceLock, Weak},
};

use bytes::Bytes;

use super::{
    Broker,
    alarm::Resource,
    auth::Permissions,
    exchange::{Binding, EVENT, Exchange},
    parameters::LIMITS,
    policy::apply::Affected,
    queue::Queue,
    trace::NODE,
    vhost::Vhost,
    vhost_settings::{Metadata, VhostLimits},
};
use crate::{
    clock::Clock,
    data::{
        field::Properties,
        term,
        value::{Table, Value},
    },
};

/// The headers of an event.
pub type Fields = Vec<(&'static str, Value)>;

/// Where events go.
#[derive(Debug, Default)]
pub struct Events(OnceLock<(Weak<Vhost>, Arc<Exchange>)>);

impl Events {
    /// They go through that vhost from now on.
    pub(super) fn open(&self, vhost: &Arc<Vhost>) {
        if let Some(exchange) = vhost.find_exchange(EVENT) {
            // A second vhost `/` there is not.
            let _ = self.0.set((Arc::downgrade(vhost), exchange));
        }
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn watched(&self) -> bool {
        self.0.get().is_some_and(|(_, exchange)| exchange.is_bound())
    }

    /// Tells what happened; `fields` is asked only if anybody listens.
    pub fn tell(&self, clock: &Clock, key: &str, fields: impl FnOnce() -> Fields) {
        let Some((vhost, exchange)) = self.0.get() else { return };
        if !exchange.is_bound() {
            return;
        }
        let Some(vhost) = vhost.upgrade() else { return };
        let now_ms = clock.now_ms();
        let mut fields = fields();
        fields.push(("timestamp_in_ms", Value::I64(now_ms)));
        let headers = Table(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let properties = Properties {
            delivery_mode: Some(2),
            timestamp: Some(u64::try_from(now_ms / 1_000).unwrap_or(0)),
            ..Properties::default()
        };
        vhost.announce(now_ms, exchange, key, &properties, headers, &[]);
    }
}

thread_local! {
    /// On whose behalf this thread works just now. An operation of a door runs on one thread from its first check to its
    /// last event, and passing a name through every declaration, binding and deletion would serve nothing but this.
    static ACTOR: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// Does something in a user's name: its events say so. What nobody asked for is `rmq-internal`, as with RabbitMQ.
pub fn acting<T>(user: &Arc<str>, act: impl FnOnce() -> T) -> T {
    struct Before(Option<Arc<str>>);
    impl Drop for Before {
        fn drop(&mut self) {
            let before = self.0.take();
            ACTOR.with_borrow_mut(|actor| *actor = before);
        }
    }
    let _before = Before(ACTOR.replace(Some(user.clone())));
    act()
}

/// Who did what an event tells of.
#[must_use]
pub fn actor() -> (&'static str, Value) {
    let name = ACTOR.with_borrow(|actor| actor.as_deref().map_or_else(|| text("rmq-internal"), text));
    ("user_who_performed_action", name)
}

/// An address as Erlang prints it.
#[must_use]
pub fn address(ip: IpAddr) -> Value {
    let parts: Vec<String> = match ip {
        IpAddr::V4(ip) => ip.octets().iter().map(ToString::to_string).collect(),
        IpAddr::V6(ip) => ip.segments().iter().map(ToString::to_string).collect(),
    };
    text(&format!("{{{}}}", parts.join(",")))
}

/// A vhost's metadata as Erlang prints the map.
fn metadata_term(metadata: &Metadata) -> String {
    let binary = |text: &str| term::binary(text.as_bytes());
    let kind = metadata.default_queue_type.as_deref();
    let kind = kind.map(|kind| format!("default_queue_type => {},", binary(kind))).unwrap_or_default();
    let (description, tags) = (binary(&metadata.description), metadata.tags.join(","));
    format!("#{{{kind}description => {description},tags => [{tags}]}}")
}

/// A string in an event.
#[must_use]
pub fn text(text: &str) -> Value {
    Value::LongStr(Bytes::copy_from_slice(text.as_bytes()))
}

/// A table in an event: as the plugin shows it, each field as Erlang prints it.
#[must_use]
pub fn arguments(table: &Table) -> Value {
    let field = |(name, value): &(String, Value)| {
        let (name, value_term) = (term::binary(name.as_bytes()), term::value_term(value));
        text(&format!("{{{name},{},{value_term}}}", value.type_name()))
    };
    Value::Array(table.0.iter().map(field).collect())
}

impl Broker {
    /// Tells of something that somebody did; `fields` is asked only if anybody listens.
    pub fn tell(&self, key: &str, fields: impl FnOnce() -> Fields) {
        self.core.events.tell(&self.core.clock, key, || {
            let mut fields = fields();
            fields.push(actor());
            fields
        });
    }

    /// An alarm came or went.
    pub fn tell_alarm(&self, resource: Resource, on: bool) {
        let key = if on { "alarm.set" } else { "alarm.cleared" };
        self.core
            .events
            .tell(&self.core.clock, key, || vec![("source", text(resource.word())), ("node", text(NODE))]);
    }

    /// A user got permissions in a vhost.
    pub fn tell_permission_created(&self, user: &str, vhost: &str, permissions: &Permissions) {
        self.tell("permission.created", || {
            vec![
                ("user", text(user)),
                ("vhost", text(vhost)),
                ("configure", text(permissions.configure.text())),
                ("write", text(permissions.write.text())),
                ("read", text(permissions.read.text())),
            ]
        });
    }

    /// A user's permissions in a vhost were taken away.
    pub fn tell_permission_deleted(&self, user: &str, vhost: &str) {
        self.tell("permission.deleted", || vec![("user", text(user)), ("vhost", text(vhost))]);
    }

    pub(super) fn tell_vhost_deleted(&self, name: &str) {
        self.tell("vhost.deleted", || vec![("name", text(name))]);
    }

    /// A global parameter was set, or cleared, which RabbitMQ calls setting it to nothing.
    pub(super) fn tell_global_parameter(&self, name: &str, value: Option<&Value>) {
        self.tell("parameter.set", || {
            let mut fields = vec![("component", text("global")), ("name", text(name))];
            fields.extend(value.map(|value| ("value", value.clone())));
            fields
        });
    }
}

impl Vhost {
    fn named(&self, name: &str) -> Fields {
        vec![("name", text(name)), ("vhost", text(&self.name))]
    }

    pub(super) fn tell(&self, key: &str, fields: impl FnOnce() -> Fields) {
        self.core.events.tell(&self.core.clock, key, || {
            let mut fields = fields();
            fields.push(actor());
            fields
        });
    }

    /// The vhost was made (`vhost.created`) or changed (`vhost.updated`).
    pub(super) fn tell_vhost(&self, key: &str) {
        self.tell(key, || {
            let metadata = self.settings.metadata();
            let tags = metadata.tags.iter().map(|tag| text(tag)).collect();
            vec![
                ("name", text(&self.name)),
                ("description", text(&metadata.description)),
                ("tags", Value::Array(tags)),
                ("default_queue_type", text(metadata.default_queue_type.as_deref().unwrap_or("undefined"))),
                ("tracing", Value::Bool(metadata.tracing)),
                ("cluster_state", Value::Table(Table(vec![(NODE.to_owned(), text("running"))]))),
                ("metadata", text(&metadata_term(&metadata))),
            ]
        });
    }

    /// A policy was set, of the component `policy` or `operator_policy`; RabbitMQ tells twice of the latter. Before it, of
    /// each queue for which another policy counts now.
    pub(super) fn tell_policy_set(&self, component: &str, name: &str, policy: &Table, affected: &[Affected]) {
        let with_policy = |mut fields: Fields| {
            fields.extend(policy_fields(policy));
            fields
        };
        if component == "operator_policy" {
            self.tell_parameter_set(component, name, policy);
        }
        for affected in affected {
            self.tell("queue.policy.updated", || with_policy(self.affected(affected)));
        }
        self.tell("policy.set", || with_policy(self.named(name)));
    }

    pub(super) fn tell_policy_cleared(&self, component: &str, name: &str, affected: &[Affected]) {
        let operator = component == "operator_policy";
        if operator {
            self.tell_parameter_cleared(component, name);
        }
        for affected in affected {
            self.tell("queue.policy.cleared", || self.affected(affected));
        }
        let key = if operator { "operator.policy.cleared" } else { "policy.cleared" };
        self.tell(key, || self.named(name));
    }

    fn affected(&self, Affected { name, kind }: &Affected) -> Fields {
        let mut fields = self.named(name);
        fields.push(("type", text(&format!("rabbit_{}_queue", kind.word()))));
        fields
    }

    pub(super) fn tell_limits_set(&self, limits: &VhostLimits) {
        let limits = limits.to_table();
        self.tell_parameter_set("vhost-limits", LIMITS, &limits);
        self.tell("vhost.limits.set", || {
            let mut fields = vec![("name", text(LIMITS))];
            for key in ["max-connections", "max-queues"] {
                fields.extend(limits.field(key).map(|value| (key, value.clone())));
            }
            fields
        });
    }

    pub(super) fn tell_limits_cleared(&self) {
        self.tell_parameter_cleared("vhost-limits", LIMITS);
        self.tell("vhost.limits.cleared", || vec![("name", text(LIMITS))]);
    }

    fn tell_parameter_set(&self, component: &str, name: &str, value: &Table) {
        self.tell("parameter.set", || {
            let mut fields = self.named(name);
            fields.extend([("component", text(component)), ("value", Value::Table(value.clone()))]);
            fields
        });
    }

    fn tell_parameter_cleared(&self, component: &str, name: &str) {
        self.tell("parameter.cleared", || {
            let mut fields = self.named(name);
            fields.push(("component", text(component)));
            fields
        });
    }

    pub(super) fn tell_queue_created(&self, queue: &Queue) {
        self.tell("queue.created", || {
            let options = &queue.options;
            let mut fields = self.named(&queue.name);
            fields.extend([
                ("durable", Value::Bool(options.survives())),
                ("auto_delete", Value::Bool(options.auto_delete)),
                ("arguments", arguments(&options.arguments)),
                ("exclusive", Value::Bool(options.exclusive.is_some())),
                ("owner_pid", text("")),
            ]);
            fields
        });
    }

    pub(super) fn tell_queue_deleted(&self, name: &str) {
        self.tell("queue.deleted", || self.named(name));
    }

    pub(super) fn tell_exchange_created(&self, exchange: &Exchange) {
        self.tell("exchange.created", || {
            let options = &exchange.options;
            let mut fields = self.named(&exchange.name);
            fields.extend([
                ("type", text(&options.kind)),
                ("durable", Value::Bool(options.durable)),
                ("auto_delete", Value::Bool(options.auto_delete)),
                ("internal", Value::Bool(options.internal)),
                ("policy", text("")),
                ("arguments", arguments(&options.arguments)),
            ]);
            fields
        });
    }

    pub(super) fn tell_exchange_deleted(&self, name: &str) {
        self.tell("exchange.deleted", || self.named(name));
    }

    /// A binding was made (`binding.created`) or removed (`binding.deleted`).
    pub(super) fn tell_binding(&self, key: &str, source: &Exchange, binding: &Binding) {
        self.tell(key, || {
            vec![
                ("source_name", text(&source.name)),
                ("source_kind", text("exchange")),
                ("destination_name", text(binding.target.name())),
                ("destination_kind", text(binding.target.word())),
                ("routing_key", text(&binding.routing_key)),
                ("arguments", arguments(&binding.arguments)),
                ("vhost", text(&self.name)),
            ]
        });
    }
}

fn policy_fields(policy: &Table) -> impl Iterator<Item = (&'static str, Value)> {
    let keys = ["pattern", "definition", "priority", "apply-to"].into_iter();
    keys.filter_map(|key| Some((key, policy.field(key)?.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_who_acts_and_nobody_when_nobody_does() {
        let (outer, inner) = (Arc::from("outer"), Arc::from("inner"));
        let name = || actor().1;
        assert_eq!(name(), text("rmq-internal"));
        acting(&outer, || {
            acting(&inner, || assert_eq!(name(), text("inner")));
            assert_eq!(name(), text("outer"));
        });
        assert_eq!(name(), text("rmq-internal"));
    }

    #[test]
    fn an_address_is_erlangs_tuple() {
        assert_eq!(address([127, 0, 0, 1].into()), text("{127,0,0,1}"));
        assert_eq!(address(std::net::Ipv6Addr::LOCALHOST.into()), text("{0,0,0,0,0,0,0,1}"));
    }
}
