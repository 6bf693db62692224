//! An exchange by itself, for the tests of each type: its targets are exchanges, known by their names.

use bytes::BytesMut;

use super::{Binding, Envelope, Exchange, ExchangeOptions, Target};
use crate::{
    broker::refusal::Refusal,
    data::{
        field::Properties,
        value::{Table, Value},
    },
};

/// An exchange with what is bound to it.
#[derive(Debug)]
pub(super) struct Bound(std::sync::Arc<Exchange>);

impl Bound {
    pub(super) fn new(kind: &str, arguments: &[(&str, &str)]) -> Self {
        let field = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), Value::LongStr(value.as_bytes().to_vec().into()))
        };
        let arguments = Table(arguments.iter().map(field).collect());
        Self(Exchange::new("x", ExchangeOptions { arguments, ..ExchangeOptions::durable(kind) }).unwrap())
    }

    pub(super) fn bind(self, target: &str, key: &str) -> Self {
        self.bind_table(target, key, &Table::default()).unwrap()
    }

    pub(super) fn bind_with(self, target: &str, key: &str, arguments: &[(&str, i64)]) -> Self {
        self.bind_table(target, key, &numbers(arguments)).unwrap()
    }

    pub(super) fn bind_table(self, target: &str, key: &str, arguments: &Table) -> Result<Self, Refusal> {
        self.0.bind(binding(target, key, arguments))?;
        Ok(self)
    }

    pub(super) fn unbind(&mut self, target: &str, key: &str, arguments: &[(&str, i64)]) {
        let id = binding(target, key, &numbers(arguments)).id();
        assert!(self.0.unbind(&id).is_some(), "it was bound");
    }

    /// The names of the targets, sorted, one each.
    pub(super) fn route(&self, key: &str) -> Vec<String> {
        self.found(&Envelope { keys: &[key], headers: None, properties: &[0, 0] })
    }

    pub(super) fn route_headers(&self, headers: &Table) -> Vec<String> {
        self.found(&Envelope { keys: &[""], headers: Some(headers), properties: &[0, 0] })
    }

    pub(super) fn route_properties(&self, properties: &Properties<'_>) -> Vec<String> {
        let mut encoded = BytesMut::new();
        properties.encode(&mut encoded);
        self.found(&Envelope { keys: &[""], headers: None, properties: &encoded })
    }

    fn found(&self, envelope: &Envelope<'_>) -> Vec<String> {
        let mut targets = Vec::new();
        self.0.route(envelope, &mut targets);
        let mut names: Vec<_> = targets.iter().map(|target| target.name().to_string()).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn numbers(arguments: &[(&str, i64)]) -> Table {
    Table(arguments.iter().map(|&(name, n)| (name.to_owned(), Value::I64(n))).collect())
}

fn binding(target: &str, key: &str, arguments: &Table) -> Binding {
    let target = Exchange::new(target, ExchangeOptions::durable("fanout")).unwrap();
    Binding { target: Target::Exchange(target), routing_key: key.into(), arguments: arguments.clone() }
}
