//! Definitions coming in: users first, then vhosts, then what lies in them, as RabbitMQ orders them.
//!
//! Like there, it is no transaction: what was imported before something that is refused stays. What exists already and
//! is the same is no error; a queue or exchange that exists and differs is left as it is.

use serde_json::{Map, Value, json};

use crate::{
    admin::{
        bindings, body::Body, exchanges, json::value_of, permissions, policies, queues, refused, users,
        vhosts,
    },
    broker::{Broker, Pending, parameters::ParameterRefusal, policy::Sort, refusal::Refusal, vhost::Vhost},
};

/// Why definitions are refused: RabbitMQ's reason.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportError(pub Value);

impl std::fmt::Display for ImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_str() {
            Some(text) => f.write_str(text),
            None => write!(f, "{}", self.0),
        }
    }
}

impl From<Value> for ImportError {
    fn from(reason: Value) -> Self {
        Self(reason)
    }
}

type Step<'a> = fn(&Importer<'a>, &Body) -> Outcome;

type Outcome = Result<Pending, ImportError>;

/// Imports a document, into one vhost where one is given.
///
/// # Errors
/// [`ImportError`] for the first thing that is refused.
pub fn import(broker: &Broker, document: &Value, into: Option<&str>) -> Outcome {
    let Value::Object(document) = document else { return Err(json!("not_a_json_object").into()) };
    let importer = Importer { broker, into };
    let mut last = None;
    let steps: [(&str, Step<'_>); 10] = [
        ("users", Importer::user),
        ("vhosts", Importer::vhost),
        ("permissions", Importer::permission),
        ("topic_permissions", Importer::topic_permission),
        ("parameters", Importer::parameter),
        ("global_parameters", Importer::global_parameter),
        ("policies", Importer::policy),
        ("queues", Importer::queue),
        ("exchanges", Importer::exchange),
        ("bindings", Importer::binding),
    ];
    for (name, step) in steps {
        // Of a vhost's definitions only what lies in it counts.
        if into.is_some() && OF_THE_BROKER.contains(&name) {
            continue;
        }
        for row in rows(document, name) {
            last = last.max(step(&importer, &Body(row.clone()))?);
        }
    }
    Ok(last)
}

const OF_THE_BROKER: &[&str] = &["users", "vhosts", "permissions", "topic_permissions", "global_parameters"];

fn rows<'a>(document: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    document.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

struct Importer<'a> {
    broker: &'a Broker,
    into: Option<&'a str>,
}

impl Importer<'_> {
    fn vhost_name(&self, row: &Body) -> String {
        self.into.map_or_else(|| row.text_or_empty("vhost"), str::to_owned)
    }

    fn vhost_of(&self, row: &Body) -> Result<std::sync::Arc<Vhost>, ImportError> {
        let name = self.vhost_name(row);
        self.broker.vhost(&name).map_err(|_: Refusal| json!(["no_such_vhost", name]).into())
    }

    fn user(&self, row: &Body) -> Outcome {
        let name = row.text_or_empty("name");
        Ok(users::set(self.broker, &name, row)?.1)
    }

    fn vhost(&self, row: &Body) -> Outcome {
        let set = vhosts::set(self.broker, &row.text_or_empty("name"), row);
        Ok(set.map_err(|reply| ImportError(reply.reason()))?.1)
    }

    fn permission(&self, row: &Body) -> Outcome {
        let user = row.text_or_empty("user");
        Ok(permissions::set(self.broker, &self.vhost_name(row), &user, row)?.1)
    }

    fn topic_permission(&self, row: &Body) -> Outcome {
        let user = row.text_or_empty("user");
        Ok(permissions::set_topic(self.broker, &self.vhost_name(row), &user, row)?.1)
    }

    fn set_parameter(&self, row: &Body, component: &str, value: &Value) -> Outcome {
        let (vhost, name) = (self.vhost_of(row)?, row.text_or_empty("name"));
        let set = self.broker.set_parameter(&vhost.name, component, &name, &value_of(value));
        set.map(|(_, pending)| pending).map_err(|refusal| match refusal {
            ParameterRefusal::Invalid(text) => {
                json!(format!("{} ({}/{name})", refused::validation(&text), vhost.name)).into()
            }
            ParameterRefusal::NoVhost => json!(["no_such_vhost", &*vhost.name]).into(),
            ParameterRefusal::NotFound => json!("not_found").into(),
        })
    }

    fn parameter(&self, row: &Body) -> Outcome {
        let component = row.text_or_empty("component");
        // Plugins' parameters come with the definitions of brokers that have them, and mean nothing here.
        if !["policy", "operator_policy", "vhost-limits"].contains(&component.as_str()) {
            tracing::warn!(component, "a parameter of a component that is not here is not imported");
            return Ok(None);
        }
        self.set_parameter(row, &component, row.0.get("value").unwrap_or(&Value::Null))
    }

    fn global_parameter(&self, row: &Body) -> Outcome {
        let value = value_of(row.0.get("value").unwrap_or(&Value::Null));
        Ok(self.broker.set_global_parameter(&row.text_or_empty("name"), value).1)
    }

    fn policy(&self, row: &Body) -> Outcome {
        let value = Value::Object(policies::fields(&row.0));
        self.set_parameter(row, Sort::User.component(), &value)
    }

    fn queue(&self, row: &Body) -> Outcome {
        let (vhost, name) = (self.vhost_of(row)?, row.text_or_empty("name"));
        if queues::find(&vhost, &name).is_some() {
            return Ok(vhost.done_before());
        }
        let given = queues::Declaration {
            durable: row.flag_or("durable", true).map_err(|reply| ImportError(reply.reason()))?,
            auto_delete: row.flag("auto_delete").map_err(|reply| ImportError(reply.reason()))?,
            arguments: row.arguments().map_err(|reply| ImportError(reply.reason()))?,
        };
        let declared = queues::declare(&vhost, &name, given);
        Ok(declared.map_err(|refusal| json!(refused::text(&refusal, &vhost.name)))?.1)
    }

    fn exchange(&self, row: &Body) -> Outcome {
        let (vhost, name) = (self.vhost_of(row)?, row.text_or_empty("name"));
        if vhost.find_exchange(&name).is_some() {
            return Ok(vhost.done_before());
        }
        let options = exchanges::options(row).map_err(|reply| ImportError(reply.reason()))?;
        let declared = vhost.declare_exchange(&name, options);
        declared.map_err(|refusal| json!(refused::text(&refusal, &vhost.name)).into())
    }

    fn binding(&self, row: &Body) -> Outcome {
        let vhost = self.vhost_of(row)?;
        let text = |name: &str| row.text_or_empty(name);
        let refuse = |refusal: Refusal| ImportError(json!(refused::text(&refusal, &vhost.name)));
        let target =
            bindings::target(&vhost, &text("destination_type"), &text("destination")).map_err(refuse)?;
        let arguments = row.arguments().map_err(|reply| ImportError(reply.reason()))?;
        bindings::bind(&vhost, &text("source"), target, &text("routing_key"), arguments).map_err(refuse)
    }
}
