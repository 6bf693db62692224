//! A user as it lies in the store: one table with everything, so that a change of it is one key.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{Password, Permissions, TopicPermissions, User};
use crate::data::value::{Table, Value};

fn text(s: &str) -> Value {
    Value::LongStr(Bytes::copy_from_slice(s.as_bytes()))
}

fn row(fields: &[(&str, &str)]) -> Value {
    Value::Table(Table(fields.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect()))
}

pub(super) fn to_table(user: &User) -> Table {
    let permission = |(vhost, p): (&Arc<str>, &Permissions)| {
        row(&[
            ("vhost", vhost),
            ("configure", p.configure.text()),
            ("write", p.write.text()),
            ("read", p.read.text()),
        ])
    };
    let mut topics = Vec::new();
    for (vhost, exchanges) in &user.topic_permissions {
        topics.extend(exchanges.iter().map(|(exchange, p)| {
            row(&[("vhost", vhost), ("exchange", exchange), ("write", &p.write), ("read", &p.read)])
        }));
    }
    let limits = user.limits.iter().map(|(name, limit)| (name.clone(), Value::I64(*limit))).collect();
    let fields = [
        ("hash", Value::Binary(Bytes::copy_from_slice(&user.password.hash))),
        ("algorithm", text(&user.password.algorithm)),
        ("tags", Value::Array(user.tags.iter().map(|tag| text(tag)).collect())),
        ("limits", Value::Table(Table(limits))),
        ("permissions", Value::Array(user.permissions.iter().map(permission).collect())),
        ("topic_permissions", Value::Array(topics)),
    ];
    Table(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Reads a user; `None`: not one.
#[must_use]
pub fn read_user(name: &str, table: &Table) -> Option<User> {
    let Some(Value::Binary(hash)) = table.field("hash") else { return None };
    let password = Password { hash: hash.to_vec(), algorithm: string(table, "algorithm")? };
    let mut user = User::with_hash(name, password);
    for tag in array(table, "tags")? {
        user.tags.push(String::from_utf8(tag.octets()?.to_vec()).ok()?);
    }
    let Some(Value::Table(limits)) = table.field("limits") else { return None };
    for (name, limit) in &limits.0 {
        user.limits.insert(name.clone(), limit.integer()?);
    }
    for row in array(table, "permissions")? {
        let Value::Table(row) = row else { return None };
        let (configure, write, read) =
            (string(row, "configure")?, string(row, "write")?, string(row, "read")?);
        let permissions = Permissions::new(&configure, &write, &read).ok()?;
        user.permissions.insert(string(row, "vhost")?.into(), permissions);
    }
    for row in array(table, "topic_permissions")? {
        let Value::Table(row) = row else { return None };
        let vhost: Arc<str> = string(row, "vhost")?.into();
        let permissions =
            TopicPermissions::new(&string(row, "write")?, &string(row, "read")?, name, &vhost).ok()?;
        let of_vhost: &mut BTreeMap<_, _> = user.topic_permissions.entry(vhost).or_default();
        of_vhost.insert(string(row, "exchange")?.into(), permissions);
    }
    Some(user)
}

fn string(table: &Table, name: &str) -> Option<String> {
    String::from_utf8(table.field(name)?.octets()?.to_vec()).ok()
}

fn array<'a>(table: &'a Table, name: &str) -> Option<&'a [Value]> {
    if let Value::Array(values) = table.field(name)? { Some(values) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_reads_back_as_it_was() {
        let mut user = User::new("u", "p", &["monitoring"], false)
            .with_permissions("/", Permissions::new("^$", "a", ".*").unwrap());
        user.limits.insert("max-channels".to_owned(), -1);
        let topic = TopicPermissions::new("^{username}\\.", ".*", "u", "/").unwrap();
        user.topic_permissions.entry("/".into()).or_default().insert("amq.topic".into(), topic);
        let read = read_user("u", &user.to_table()).unwrap();
        assert_eq!(read.to_table(), user.to_table());
        assert!(read.password.is("p"));
        assert_eq!(read_user("u", &Table::default()).map(|u| u.name), None);
    }
}
