//! `headers`: a binding's arguments are compared with the message's headers (AMQP 0-9-1 §3.1.3.4; RabbitMQ's four
//! `x-match` modes).

use super::{Binding, BindingId, Route, Target};
use crate::{
    broker::refusal::Refusal,
    data::value::{Table, Value},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    All { with_x: bool },
    Any { with_x: bool },
}

#[derive(Debug)]
struct Rule {
    id: BindingId,
    target: Target,
    mode: Match,
    wanted: Vec<(String, Value)>,
}

#[derive(Debug, Default)]
struct Headers(Vec<Rule>);

/// A headers exchange without bindings.
#[must_use]
pub fn open() -> Box<dyn Route> {
    Box::<Headers>::default()
}

fn mode(arguments: &Table) -> Result<Match, Refusal> {
    match arguments.field("x-match") {
        None => Ok(Match::All { with_x: false }),
        Some(Value::LongStr(s)) => match &s[..] {
            b"all" => Ok(Match::All { with_x: false }),
            b"any" => Ok(Match::Any { with_x: false }),
            b"all-with-x" => Ok(Match::All { with_x: true }),
            b"any-with-x" => Ok(Match::Any { with_x: true }),
            other => Err(Refusal::Binding(format!(
                "Invalid x-match field value <<\"{}\">>; expected all, any, all-with-x, or any-with-x",
                String::from_utf8_lossy(other)
            ))),
        },
        Some(other) => Err(Refusal::Binding(format!(
            "Invalid x-match field type {} (value {}); expected longstr",
            other.type_name(),
            crate::data::term::value_text(other)
        ))),
    }
}

impl Route for Headers {
    fn check(&self, arguments: &Table) -> Result<(), Refusal> {
        mode(arguments).map(|_| ())
    }

    fn bind(&mut self, binding: &Binding) {
        let Ok(mode) = mode(&binding.arguments) else { return };
        let with_x = match mode {
            Match::All { with_x } | Match::Any { with_x } => with_x,
        };
        let counts = |name: &str| name != "x-match" && (with_x || !name.starts_with("x-"));
        let wanted = binding.arguments.0.iter().filter(|(name, _)| counts(name)).cloned().collect();
        self.0.push(Rule { id: binding.id(), target: binding.target.clone(), mode, wanted });
    }

    fn unbind(&mut self, binding: &Binding, _: bool) {
        let id = binding.id();
        self.0.retain(|rule| rule.id != id);
    }

    fn route(&self, _: &str, headers: Option<&Table>, targets: &mut Vec<Target>) {
        let none = Table::default();
        let headers = headers.unwrap_or(&none);
        targets.extend(self.0.iter().filter(|rule| rule.accepts(headers)).map(|rule| rule.target.clone()));
    }

    fn by_key(&self) -> bool {
        false
    }
}

impl Rule {
    fn accepts(&self, headers: &Table) -> bool {
        let has = |(name, value): &(String, Value)| {
            headers.field(name).is_some_and(|found| *value == Value::Void || value.equivalent(found))
        };
        match self.mode {
            Match::All { .. } => self.wanted.iter().all(has),
            Match::Any { .. } => self.wanted.iter().any(has),
        }
    }
}
