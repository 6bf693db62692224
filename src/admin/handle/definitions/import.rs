//! Definitions coming in: users first, then vhosts, then what lies in them, as RabbitMQ orders them.
//!
//! Like there, it is no transaction: what was imported before something that is refused stays. What exists already and
//! is the same is no error; a queue or exchange that exists and differs is left as it is.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::{
    admin::{
        body::Body,
        fault,
        handle::{bindings, exchanges, permissions, policies, queues, users, vhosts},
        json::value_of,
    },
    broker::{Broker, Pending, parameters::ParameterRefusal, policy::Sort, refusal::Refusal, vhost::Vhost},
    data::value::{Table, Value as AmqpValue},
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
    let importer = Importer { broker, document, into };
    let mut last = None;
    let steps: [(&str, Step<'_>); 11] = [
        ("users", Importer::user),
        ("vhosts", Importer::vhost),
        ("permissions", Importer::permission),
        ("topic_permissions", Importer::topic_permission),
        ("parameters", Importer::parameter),
        ("global_parameters", Importer::global_parameter),
        ("policies", Importer::policy),
        ("exchanges", Importer::super_stream),
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
    document: &'a Map<String, Value>,
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
                json!(format!("{} ({}/{name})", fault::validation(&text), vhost.name)).into()
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

    /// An exchange that stands for a super stream comes with its partitions, so that they are one topic. RabbitMQ lists
    /// exchange, streams and bindings one by one; whose keys are not the numbers of partitions is imported so.
    fn super_stream(&self, row: &Body) -> Outcome {
        let (vhost, name) = (self.vhost_of(row)?, row.text_or_empty("name"));
        let options = exchanges::options(row).map_err(|reply| ImportError(reply.reason()))?;
        let is_taken = vhost.find_exchange(&name).is_some() || queues::find(&vhost, &name).is_some();
        if is_taken || !options.is_super_stream() || !options.durable {
            return Ok(None);
        }
        let Some((partitions, arguments)) = self.partitions(&vhost, &name) else { return Ok(None) };
        let declared = vhost.declare_super_stream(&name, partitions, &arguments);
        declared.map_err(|refusal| json!(fault::text(&refusal, &vhost.name)).into())
    }

    /// The partitions of a super stream that is to be made: streams `name-0`, `name-1`, … with the same arguments, each
    /// bound with its number.
    fn partitions(&self, vhost: &Vhost, name: &str) -> Option<(u32, Table)> {
        let is_here = |row: &&Map<String, Value>| {
            self.into.is_some() || row.get("vhost").and_then(Value::as_str) == Some(&*vhost.name)
        };
        let here = |kind| rows(self.document, kind).filter(is_here);
        let text =
            |row: &Map<String, Value>, field: &str| row.get(field).and_then(Value::as_str).map(str::to_owned);
        let keys: HashMap<_, _> = here("bindings")
            .filter(|row| text(row, "source").as_deref() == Some(name))
            .filter_map(|row| Some((text(row, "destination")?, text(row, "routing_key")?)))
            .collect();
        let queues: HashMap<_, _> = here("queues")
            .filter_map(|row| Some((text(row, "name").filter(|queue| keys.contains_key(queue))?, row)))
            .collect();
        let mut partitions = 0_u32;
        let mut arguments = None;
        for number in 0_u32.. {
            let partition = format!("{name}-{number}");
            let Some(row) = queues.get(&partition) else { break };
            let own = Body((*row).clone()).arguments().ok()?;
            let is_stream = own.field("x-queue-type") == Some(&AmqpValue::LongStr("stream".into()));
            let is_new = queues::find(vhost, &partition).is_none();
            let is_like_others = arguments.get_or_insert_with(|| own.clone()) == &own;
            let is_numbered = keys.get(&partition) == Some(&number.to_string());
            if !(is_stream && is_new && is_like_others && is_numbered) {
                return None;
            }
            partitions += 1;
        }
        Some((partitions, arguments?))
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
        Ok(declared.map_err(|refusal| json!(fault::text(&refusal, &vhost.name)))?.1)
    }

    fn exchange(&self, row: &Body) -> Outcome {
        let (vhost, name) = (self.vhost_of(row)?, row.text_or_empty("name"));
        if vhost.find_exchange(&name).is_some() {
            return Ok(vhost.done_before());
        }
        let options = exchanges::options(row).map_err(|reply| ImportError(reply.reason()))?;
        let declared = vhost.declare_exchange(&name, options);
        declared.map_err(|refusal| json!(fault::text(&refusal, &vhost.name)).into())
    }

    fn binding(&self, row: &Body) -> Outcome {
        let vhost = self.vhost_of(row)?;
        let text = |name: &str| row.text_or_empty(name);
        let refuse = |refusal: Refusal| ImportError(json!(fault::text(&refusal, &vhost.name)));
        let target =
            bindings::target(&vhost, &text("destination_type"), &text("destination")).map_err(refuse)?;
        let arguments = row.arguments().map_err(|reply| ImportError(reply.reason()))?;
        bindings::bind(&vhost, &text("source"), target, &text("routing_key"), arguments).map_err(refuse)
    }
}
