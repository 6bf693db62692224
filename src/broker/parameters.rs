//! Runtime parameters: what RabbitMQ keeps by component and name in a vhost, and by name for the whole broker.
//!
//! A component gives its parameters a meaning: `policy`, `operator_policy` and `vhost-limits` are those there are.
//! Global parameters mean nothing here and are kept for whoever sets them. (RabbitMQ `rabbit_runtime_parameters`.)

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Broker, Pending, definition,
    policy::{Policy, Sort, apply::parameter_value},
    refusal::Refusal,
    vhost::Vhost,
    vhost_settings::VhostLimits,
};
use crate::{
    data::value::{Table, Value},
    store::Ticket,
};

/// A runtime parameter of a vhost.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub vhost: Arc<str>,
    pub component: &'static str,
    pub name: String,
    pub value: Value,
}

/// Why a parameter is not set or found.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterRefusal {
    /// RabbitMQ's text, behind "Validation failed".
    Invalid(String),
    NoVhost,
    NotFound,
}

/// The one name that `vhost-limits` has.
pub const LIMITS: &str = "limits";
pub const VHOST_LIMITS: &str = "vhost-limits";

/// Global parameters, by name.
pub type Globals = BTreeMap<String, Value>;

impl Broker {
    /// Sets a parameter for good; true when it is new.
    ///
    /// # Errors
    /// [`ParameterRefusal::Invalid`], [`ParameterRefusal::NoVhost`].
    pub fn set_parameter(
        &self,
        vhost: &str,
        component: &str,
        name: &str,
        value: &Value,
    ) -> Result<(bool, Pending), ParameterRefusal> {
        let vhost = self.vhost(vhost).map_err(|_: Refusal| ParameterRefusal::NoVhost)?;
        let table = |value: &Value| -> Result<Table, ParameterRefusal> {
            if let Value::Table(table) = value {
                return Ok(table.clone());
            }
            // Erlang writes an empty object as an empty list.
            if matches!(value, Value::Array(empty) if empty.is_empty()) {
                return Ok(Table::default());
            }
            let text = crate::data::term::value_term(value);
            Err(ParameterRefusal::Invalid(format!("{name} should be an object, actually was {text}\n")))
        };
        match component {
            "policy" | "operator_policy" => {
                let sort = if component == "policy" { Sort::User } else { Sort::Operator };
                let policy = Policy::parse(sort, name, &table(value)?, vhost.core.profile)
                    .map_err(ParameterRefusal::Invalid)?;
                Ok(vhost.set_policy(sort, policy))
            }
            VHOST_LIMITS if name == LIMITS => {
                let limits = VhostLimits::from_table(&table(value)?).map_err(ParameterRefusal::Invalid)?;
                Ok(vhost.set_limits(limits))
            }
            VHOST_LIMITS => Err(ParameterRefusal::Invalid(format!("name not recognised: {name}\n"))),
            _ => Err(ParameterRefusal::Invalid(format!("component {component} not found\n"))),
        }
    }

    /// Clears a parameter for good.
    ///
    /// # Errors
    /// [`ParameterRefusal::NoVhost`], [`ParameterRefusal::NotFound`].
    pub fn clear_parameter(
        &self,
        vhost: &str,
        component: &str,
        name: &str,
    ) -> Result<Pending, ParameterRefusal> {
        let vhost = self.vhost(vhost).map_err(|_: Refusal| ParameterRefusal::NoVhost)?;
        let cleared = match component {
            "policy" => vhost.clear_policy(Sort::User, name),
            "operator_policy" => vhost.clear_policy(Sort::Operator, name),
            VHOST_LIMITS if name == LIMITS => vhost.clear_limits(),
            _ => None,
        };
        cleared.ok_or(ParameterRefusal::NotFound)
    }

    /// Every parameter of every vhost.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        self.vhosts().iter().flat_map(|vhost| vhost.parameters()).collect()
    }

    /// Sets a global parameter for good; true when it is new.
    pub fn set_global_parameter(&self, name: &str, value: Value) -> (bool, Pending) {
        let mut globals = self.globals.write();
        let key = definition::global_parameter_key(name);
        let ticket = definition::put(&self.core.store, key, parameter_value(value.clone()));
        let new = globals.insert(name.to_owned(), value.clone()).is_none();
        drop(globals);
        self.tell_global_parameter(name, Some(&value));
        (new, Some(ticket))
    }

    /// Clears a global parameter for good; `None` when there is none of that name.
    pub fn clear_global_parameter(&self, name: &str) -> Option<Pending> {
        let mut globals = self.globals.write();
        globals.remove(name)?;
        let ticket = definition::delete(&self.core.store, vec![definition::global_parameter_key(name)]);
        drop(globals);
        self.tell_global_parameter(name, None);
        Some(Some(ticket))
    }

    /// The global parameters.
    #[must_use]
    pub fn global_parameters(&self) -> Globals {
        self.globals.read().clone()
    }
}

impl Vhost {
    /// Every parameter of this vhost, policies among them.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let parameter = |component: &'static str, name: &str, value: Table| Parameter {
            vhost: self.name.clone(),
            component,
            name: name.to_owned(),
            value: Value::Table(value),
        };
        let policies = self.settings.policies();
        let mut all = Vec::new();
        for sort in [Sort::User, Sort::Operator] {
            let of_sort = policies.of(sort).values();
            all.extend(of_sort.map(|policy| parameter(sort.component(), &policy.name, policy.to_table())));
        }
        if let Some(limits) = &*self.settings.limits.read() {
            all.push(parameter(VHOST_LIMITS, LIMITS, limits.to_table()));
        }
        all
    }

    /// Sets the vhost's limits for good; true when there were none.
    pub fn set_limits(&self, limits: VhostLimits) -> (bool, Pending) {
        let mut own = self.settings.limits.write();
        let key = definition::parameter_key(&self.name, VHOST_LIMITS, LIMITS);
        let value = parameter_value(Value::Table(limits.to_table()));
        let pending = self.while_here(|| definition::put(&self.core.store, key, value));
        let new = own.replace(limits.clone()).is_none();
        drop(own);
        self.tell_limits_set(&limits);
        (new, pending)
    }

    /// Puts down what an operator sets, unless the vhost is gone and this with it. Under the lock of what is set, under which
    /// whoever deletes the vhost looks for it afterwards.
    pub(super) fn while_here(&self, put: impl FnOnce() -> Ticket) -> Pending {
        (!self.settings.is_gone()).then(put)
    }

    /// Clears the vhost's limits for good; `None` when there are none.
    pub fn clear_limits(&self) -> Option<Pending> {
        let mut own = self.settings.limits.write();
        own.take()?;
        let key = definition::parameter_key(&self.name, VHOST_LIMITS, LIMITS);
        let ticket = definition::delete(&self.core.store, vec![key]);
        drop(own);
        self.tell_limits_cleared();
        Some(Some(ticket))
    }

    /// Puts a parameter back that recovery found; false when it makes no sense.
    pub(crate) fn restore_parameter(&self, component: &str, name: &str, value: &Value) -> bool {
        let Value::Table(value) = value else { return false };
        let sort = match component {
            "policy" => Sort::User,
            "operator_policy" => Sort::Operator,
            _ => {
                let limits = VhostLimits::from_table(value).ok();
                let known = limits.is_some();
                *self.settings.limits.write() = limits;
                return known;
            }
        };
        match Policy::parse(sort, name, value, self.core.profile) {
            Ok(policy) => {
                self.restore_policy(sort, policy);
                true
            }
            Err(_) => false,
        }
    }
}
