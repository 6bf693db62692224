//! Topology as it lies in the store (`Space::Meta`): what was declared, absolute, one key each.
//!
//! | key | value |
//! |---|---|
//! | `V` vhost | a table: description, tags and the like (nothing: none of them) |
//! | `U` user | a table: password hash, SCRAM credentials, tags, limits, permissions |
//! | `L` user, client id | a client quota: a table of limits; a name is nothing, `*` (default), or `=` and the name |
//! | `R` vhost, component, name | a runtime parameter (policies and limits are some): a table with its `value` |
//! | `G` name | a global parameter: likewise |
//! | `S` | the default user and vhost have been made: a deleted one stays deleted |
//! | `X` vhost, exchange | flags, type, arguments |
//! | `Q` vhost, queue | id u64, flags, arguments |
//! | `B` vhost, source, kind of target, target, routing key, arguments | – |
//! | `H` vhost, exchange | id u64 of what the delayed exchange holds |
//! | `K` vhost, exchange, slot | one of the last messages that the exchange keeps: number u64, batch |
//! | `N` | queue ids up to here may have been given |
//! | `C` | the cluster's id |
//!
//! Strings are `u32 length, bytes`; a table is `u32 fields`, then name and value; a value is RabbitMQ's type letter
//! and its bytes.

use bytes::Bytes;

use super::{exchange::ExchangeOptions, queue::QueueId, queue::QueueOptions, topic::writes::Writes};
use crate::{
    data::value::{Table, Value},
    store::{Space, Store, Ticket},
};

/// Sets one key.
pub fn put(store: &Store, key: Vec<u8>, value: Vec<u8>) -> Ticket {
    let mut writes = Writes::default();
    writes.put(Space::Meta, key, value);
    writes.submit(store, drop)
}

/// Sets keys, all or none.
pub fn put_all(store: &Store, puts: Vec<(Vec<u8>, Vec<u8>)>) -> Ticket {
    let mut writes = Writes::default();
    puts.into_iter().for_each(|(key, value)| writes.put(Space::Meta, key, value));
    writes.submit(store, drop)
}

/// Removes keys.
pub fn delete(store: &Store, deletes: Vec<Vec<u8>>) -> Ticket {
    let mut writes = Writes::default();
    deletes.into_iter().for_each(|key| writes.delete(Space::Meta, key));
    writes.submit(store, drop)
}

/// Where the cluster's id is noted.
pub const CLUSTER_ID_KEY: &[u8] = b"C";

/// Where the next block of queue ids is noted.
pub const QUEUE_IDS_KEY: &[u8] = b"N";

#[must_use]
pub fn vhost_key(vhost: &str) -> Vec<u8> {
    key(b'V', &[vhost])
}

/// Set once the default user and vhost have been made.
pub const SEEDED_KEY: &[u8] = b"S";

#[must_use]
pub fn user_key(user: &str) -> Vec<u8> {
    key(b'U', &[user])
}

#[must_use]
pub fn quota_key(user: &str, client_id: &str) -> Vec<u8> {
    key(b'L', &[user, client_id])
}

#[must_use]
pub fn parameter_key(vhost: &str, component: &str, name: &str) -> Vec<u8> {
    key(b'R', &[vhost, component, name])
}

#[must_use]
pub fn global_parameter_key(name: &str) -> Vec<u8> {
    key(b'G', &[name])
}

#[must_use]
pub fn table_value(table: &Table) -> Vec<u8> {
    let mut out = Vec::new();
    put_table(&mut out, table);
    out
}

#[must_use]
pub fn read_table(value: &[u8]) -> Option<Table> {
    if value.is_empty() { Some(Table::default()) } else { Reader(value).table() }
}

#[must_use]
pub fn exchange_key(vhost: &str, exchange: &str) -> Vec<u8> {
    key(b'X', &[vhost, exchange])
}

#[must_use]
pub fn holding_key(vhost: &str, exchange: &str) -> Vec<u8> {
    key(b'H', &[vhost, exchange])
}

#[must_use]
pub fn holding_value(id: QueueId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

#[must_use]
pub fn read_holding(value: &[u8]) -> Option<QueueId> {
    Some(QueueId(u64::from_be_bytes(value.try_into().ok()?)))
}

/// Where an exchange's last messages lie: all of them begin so.
#[must_use]
pub fn history_prefix(vhost: &str, exchange: &str) -> Vec<u8> {
    key(b'K', &[vhost, exchange])
}

#[must_use]
pub fn history_key(vhost: &str, exchange: &str, slot: usize) -> Vec<u8> {
    key(b'K', &[vhost, exchange, &slot.to_string()])
}

#[must_use]
pub fn queue_key(vhost: &str, queue: &str) -> Vec<u8> {
    key(b'Q', &[vhost, queue])
}

/// The key says everything about a binding.
#[must_use]
pub fn binding_key(
    vhost: &str,
    source: &str,
    kind: TargetKind,
    target: &str,
    routing_key: &str,
    arguments: &Table,
) -> Vec<u8> {
    let mut key = key(b'B', &[vhost, source, kind.word(), target, routing_key]);
    put_table(&mut key, arguments);
    key
}

fn key(letter: u8, parts: &[&str]) -> Vec<u8> {
    let mut key = vec![letter];
    parts.iter().for_each(|part| put_bytes(&mut key, part.as_bytes()));
    key
}

/// What a stored binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    Exchange,
    Queue,
    Topic,
}

impl TargetKind {
    fn word(self) -> &'static str {
        match self {
            Self::Exchange => "e",
            Self::Queue => "q",
            Self::Topic => "t",
        }
    }
}

/// A binding as its key says it.
#[derive(Debug, PartialEq)]
pub struct StoredBinding {
    pub vhost: String,
    pub source: String,
    pub kind: TargetKind,
    pub target: String,
    pub routing_key: String,
    pub arguments: Table,
}

/// Reads a binding's key.
#[must_use]
pub fn read_binding(key: &[u8]) -> Option<StoredBinding> {
    let mut r = Reader(key.strip_prefix(b"B")?);
    let (vhost, source, kind) = (r.string()?, r.string()?, r.string()?);
    let kind = match kind.as_str() {
        "e" => TargetKind::Exchange,
        "q" => TargetKind::Queue,
        "t" => TargetKind::Topic,
        _ => return None,
    };
    Some(StoredBinding {
        vhost,
        source,
        kind,
        target: r.string()?,
        routing_key: r.string()?,
        arguments: r.table()?,
    })
}

/// Reads the names in a key of `V`, `X`, `Q`, `U`, `L`, `R` or `G`.
#[must_use]
pub fn read_names<const N: usize>(key: &[u8]) -> Option<[String; N]> {
    let mut r = Reader(key.split_first()?.1);
    let names = (0..N).map(|_| r.string()).collect::<Option<Vec<_>>>()?;
    names.try_into().ok()
}

const DURABLE: u8 = 1;
const AUTO_DELETE: u8 = 2;
const INTERNAL: u8 = 4;

fn flags(bits: &[(bool, u8)]) -> u8 {
    bits.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum()
}

#[must_use]
pub fn exchange_value(options: &ExchangeOptions) -> Vec<u8> {
    let mut out = vec![flags(&[
        (options.durable, DURABLE),
        (options.auto_delete, AUTO_DELETE),
        (options.internal, INTERNAL),
    ])];
    put_bytes(&mut out, options.kind.as_bytes());
    put_table(&mut out, &options.arguments);
    out
}

#[must_use]
pub fn read_exchange(value: &[u8]) -> Option<ExchangeOptions> {
    let mut r = Reader(value);
    let bits = r.u8()?;
    Some(ExchangeOptions {
        kind: r.string()?,
        durable: bits & DURABLE != 0,
        auto_delete: bits & AUTO_DELETE != 0,
        internal: bits & INTERNAL != 0,
        arguments: r.table()?,
    })
}

#[must_use]
pub fn queue_value(id: QueueId, options: &QueueOptions) -> Vec<u8> {
    let mut out = id.0.to_be_bytes().to_vec();
    out.push(flags(&[(options.durable, DURABLE), (options.auto_delete, AUTO_DELETE)]));
    put_table(&mut out, &options.arguments);
    out
}

#[must_use]
pub fn read_queue(value: &[u8]) -> Option<(QueueId, QueueOptions)> {
    let mut r = Reader(value);
    let id = QueueId(r.u64()?);
    let bits = r.u8()?;
    let arguments = r.table()?;
    let (durable, auto_delete) = (bits & DURABLE != 0, bits & AUTO_DELETE != 0);
    Some((id, QueueOptions { durable, auto_delete, exclusive: None, arguments }))
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put_table(out: &mut Vec<u8>, table: &Table) {
    out.extend_from_slice(&u32::try_from(table.0.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (name, value) in &table.0 {
        put_bytes(out, name.as_bytes());
        put_value(out, value);
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut tagged = |letter: u8, bytes: &[u8]| {
        out.push(letter);
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Bool(b) => tagged(b't', &[u8::from(*b)]),
        Value::I8(n) => tagged(b'b', &n.to_be_bytes()),
        Value::U8(n) => tagged(b'B', &n.to_be_bytes()),
        Value::I16(n) => tagged(b's', &n.to_be_bytes()),
        Value::U16(n) => tagged(b'u', &n.to_be_bytes()),
        Value::I32(n) => tagged(b'I', &n.to_be_bytes()),
        Value::U32(n) => tagged(b'i', &n.to_be_bytes()),
        Value::I64(n) => tagged(b'l', &n.to_be_bytes()),
        Value::F32(n) => tagged(b'f', &n.to_be_bytes()),
        Value::F64(n) => tagged(b'd', &n.to_be_bytes()),
        Value::Timestamp(n) => tagged(b'T', &n.to_be_bytes()),
        Value::Decimal { scale, unscaled } => {
            tagged(b'D', &[*scale]);
            out.extend_from_slice(&unscaled.to_be_bytes());
        }
        Value::LongStr(s) => {
            tagged(b'S', &[]);
            put_bytes(out, s);
        }
        Value::Binary(s) => {
            tagged(b'x', &[]);
            put_bytes(out, s);
        }
        Value::Void => tagged(b'V', &[]),
        Value::Array(items) => {
            tagged(b'A', &u32::try_from(items.len()).unwrap_or(u32::MAX).to_be_bytes());
            items.iter().for_each(|item| put_value(out, item));
        }
        Value::Table(table) => {
            tagged(b'F', &[]);
            put_table(out, table);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let n = self.u32()? as usize;
        self.take(n).map(Bytes::copy_from_slice)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.into()).ok()
    }

    fn table(&mut self) -> Option<Table> {
        let fields = self.u32()?;
        (0..fields).map(|_| Some((self.string()?, self.value()?))).collect::<Option<Vec<_>>>().map(Table)
    }

    fn value(&mut self) -> Option<Value> {
        Some(match self.u8()? {
            b't' => Value::Bool(self.u8()? != 0),
            b'b' => Value::I8(i8::from_be_bytes(self.array()?)),
            b'B' => Value::U8(self.u8()?),
            b's' => Value::I16(i16::from_be_bytes(self.array()?)),
            b'u' => Value::U16(u16::from_be_bytes(self.array()?)),
            b'I' => Value::I32(i32::from_be_bytes(self.array()?)),
            b'i' => Value::U32(self.u32()?),
            b'l' => Value::I64(i64::from_be_bytes(self.array()?)),
            b'f' => Value::F32(f32::from_be_bytes(self.array()?)),
            b'd' => Value::F64(f64::from_be_bytes(self.array()?)),
            b'T' => Value::Timestamp(self.u64()?),
            b'D' => Value::Decimal { scale: self.u8()?, unscaled: self.u32()? },
            b'S' => Value::LongStr(self.bytes()?),
            b'x' => Value::Binary(self.bytes()?),
            b'V' => Value::Void,
            b'A' => {
                let items = self.u32()?;
                Value::Array((0..items).map(|_| self.value()).collect::<Option<Vec<_>>>()?)
            }
            b'F' => Value::Table(self.table()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_type() -> Table {
        let inner = Table(vec![("n".to_owned(), Value::Void)]);
        let values = vec![
            Value::Bool(true),
            Value::I8(-1),
            Value::U8(2),
            Value::I16(-3),
            Value::U16(4),
            Value::I32(-5),
            Value::U32(6),
            Value::I64(-7),
            Value::F32(1.5),
            Value::F64(-2.5),
            Value::Timestamp(8),
            Value::Decimal { scale: 2, unscaled: 314 },
            Value::LongStr(Bytes::from_static(b"s")),
            Value::Binary(Bytes::from_static(b"\0")),
            Value::Table(inner),
        ];
        Table(vec![("all".to_owned(), Value::Array(values))])
    }

    #[test]
    fn definitions_read_back_as_they_were() {
        let options =
            QueueOptions { durable: true, auto_delete: true, exclusive: None, arguments: every_type() };
        assert_eq!(read_queue(&queue_value(QueueId(9), &options)), Some((QueueId(9), options)));
        let options = ExchangeOptions {
            kind: "topic".to_owned(),
            durable: true,
            auto_delete: false,
            internal: true,
            arguments: every_type(),
        };
        assert_eq!(read_exchange(&exchange_value(&options)), Some(options));
        let key = binding_key("/", "amq.topic", TargetKind::Queue, "q", "a.#", &every_type());
        let binding = read_binding(&key).unwrap();
        assert_eq!(
            (binding.target.as_str(), binding.routing_key.as_str(), binding.arguments),
            ("q", "a.#", every_type())
        );
        assert_eq!(read_names(&queue_key("v", "q")), Some(["v".to_owned(), "q".to_owned()]));
    }

    #[test]
    fn cut_definitions_are_refused() {
        let key = binding_key("/", "x", TargetKind::Exchange, "y", "k", &every_type());
        assert!((0..key.len()).all(|n| read_binding(&key[..n]).is_none()));
    }
}
