//! Working policies into a vhost: at declaration, at recovery, and live when one changes.

use std::sync::Arc;

use super::{Applied, Object, Policies, Policy, Sort};
use crate::broker::{
    Pending,
    arguments::{self, QueueKind},
    definition,
    exchange::Exchange,
    queue::{Queue, state::Effects},
    topic::Topic,
    vhost::Vhost,
};
use crate::data::value::{Table, Value};

impl Vhost {
    /// Sets a policy for good, and works it into everything that exists; true when it is new.
    pub fn set_policy(self: &Arc<Self>, sort: Sort, policy: Policy) -> (bool, Pending) {
        let (name, value) = (policy.name.clone(), policy.to_table());
        let mut new = false;
        let told = value.clone();
        let (pending, affected) = self.change_policies(|policies| {
            new = policies.of_mut(sort).insert(name.clone(), Arc::new(policy)).is_none();
            let key = definition::parameter_key(&self.name, sort.component(), &name);
            self.while_here(|| definition::put(&self.core.store, key, parameter_value(Value::Table(value))))
        });
        self.tell_policy_set(sort.component(), &name, &told, &affected);
        (new, pending)
    }

    /// Deletes a policy for good; `None` when there is none of that name.
    pub fn clear_policy(self: &Arc<Self>, sort: Sort, name: &str) -> Option<Pending> {
        self.settings.policies().of(sort).get(name)?;
        let (ticket, affected) = self.change_policies(|policies| {
            policies.of_mut(sort).remove(name);
            let key = definition::parameter_key(&self.name, sort.component(), name);
            definition::delete(&self.core.store, vec![key])
        });
        self.tell_policy_cleared(sort.component(), name, &affected);
        Some(Some(ticket))
    }

    /// Puts a policy back that recovery found, before there is anything to apply it to.
    pub(crate) fn restore_policy(&self, sort: Sort, policy: Policy) {
        let mut policies = self.settings.policies.write();
        Arc::make_mut(&mut policies).of_mut(sort).insert(policy.name.clone(), Arc::new(policy));
    }

    fn change_policies<T>(self: &Arc<Self>, change: impl FnOnce(&mut Policies) -> T) -> (T, Vec<Affected>) {
        let changed = {
            let mut policies = self.settings.policies.write();
            change(Arc::make_mut(&mut policies))
        };
        (changed, self.apply_policies())
    }

    /// Works the policies into every exchange, queue and stream; gives the queues and streams for which others count now.
    pub(crate) fn apply_policies(self: &Arc<Self>) -> Vec<Affected> {
        let mut affected = Vec::new();
        let mut follow = Vec::new();
        let applying = self.settings.applying.lock();
        for exchange in self.exchanges() {
            self.apply_to_exchange(&exchange);
        }
        for queue in self.queues() {
            if let Some(effects) = self.apply_to(&queue) {
                affected.push(Affected { name: queue.name.to_string(), kind: queue.kind });
                follow.push((queue, effects));
            }
        }
        for topic in self.topics() {
            if self.apply_to_stream(&topic) {
                affected.push(Affected { name: topic.name.to_string(), kind: QueueKind::Stream });
            }
        }
        drop(applying);
        // Dead letters may come anywhere.
        follow.into_iter().for_each(|(queue, effects)| queue.follow(effects));
        affected
    }

    /// Works the policies into one queue. Called again behind a declaration: a policy that changed meanwhile is seen.
    pub(crate) fn apply_policies_to(&self, queue: &Arc<Queue>) {
        let effects = {
            let _applying = self.settings.applying.lock();
            self.apply_to(queue)
        };
        effects.into_iter().for_each(|effects| queue.follow(effects));
    }

    pub(crate) fn apply_policies_to_exchange(&self, exchange: &Exchange) {
        let _applying = self.settings.applying.lock();
        self.apply_to_exchange(exchange);
    }

    fn apply_to_exchange(&self, exchange: &Exchange) {
        exchange.apply(self.settings.policies().applied(Object::Exchange(&exchange.name)));
    }

    fn apply_to(&self, queue: &Arc<Queue>) -> Option<Effects> {
        let kind = kind_of(&queue.options.arguments);
        queue.apply(self.settings.policies().applied(Object::Queue(&queue.name, kind)))
    }

    pub(crate) fn apply_policies_to_stream(&self, topic: &Arc<Topic>) {
        let _applying = self.settings.applying.lock();
        let _changed = self.apply_to_stream(topic);
    }

    fn apply_to_stream(&self, topic: &Arc<Topic>) -> bool {
        let applied = || self.settings.policies().applied(Object::Queue(&topic.name, QueueKind::Stream));
        topic.stream_arguments.is_some() && topic.apply(applied())
    }

    /// What counts for an object that is about to be made.
    pub(crate) fn policies_for(&self, object: Object<'_>) -> Applied {
        self.settings.policies().applied(object)
    }
}

/// A queue, or a stream, for which another policy counts than before.
#[derive(Debug)]
pub(crate) struct Affected {
    pub(crate) name: String,
    pub(crate) kind: QueueKind,
}

/// The type of a queue with these arguments, which were checked when it was declared.
pub(crate) fn kind_of(arguments: &Table) -> QueueKind {
    arguments::kind("", arguments).unwrap_or(QueueKind::Classic)
}

/// A runtime parameter as it lies in the store.
pub(crate) fn parameter_value(value: Value) -> Vec<u8> {
    definition::table_value(&Table(vec![("value".to_owned(), value)]))
}
