//! A user as it lies in the store: one table with everything, so that a change of it is one key.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    Password, Permissions, TopicPermissions, User,
    scram::{ScramCredential, ScramMechanism},
};
use crate::data::value::{Table, Value};

fn text(s: &str) -> Value {
    Value::LongStr(Bytes::copy_from_slice(s.as_bytes()))
}

fn binary(bytes: &[u8]) -> Value {
    Value::Binary(Bytes::copy_from_slice(bytes))
}

fn table<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Table(Table(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
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
    let scram = user.scram.iter().map(|(mechanism, credential)| {
        let fields = [
            ("salt", binary(&credential.salt)),
            ("iterations", Value::I64(credential.iterations.into())),
            ("stored_key", binary(&credential.stored_key)),
            ("server_key", binary(&credential.server_key)),
        ];
        (mechanism.name().to_owned(), table(fields))
    });
    let limits = user.limits.iter().map(|(name, limit)| (name.clone(), Value::I64(*limit))).collect();
    let fields = [
        ("hash", binary(&user.password.hash)),
        ("algorithm", text(&user.password.algorithm)),
        ("scram", Value::Table(Table(scram.collect()))),
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
    let password = Password { hash: bytes(table, "hash")?, algorithm: string(table, "algorithm")? };
    let mut user = User::with_hash(name, password);
    // Not there in stores from before there was SCRAM.
    if let Some(Value::Table(scram)) = table.field("scram") {
        for (name, credential) in &scram.0 {
            let Value::Table(credential) = credential else { return None };
            user.scram.insert(ScramMechanism::named(name)?, read_credential(credential)?);
        }
    }
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

fn read_credential(table: &Table) -> Option<ScramCredential> {
    Some(ScramCredential {
        salt: bytes(table, "salt")?,
        iterations: u32::try_from(table.field("iterations")?.integer()?).ok()?,
        stored_key: bytes(table, "stored_key")?,
        server_key: bytes(table, "server_key")?,
    })
}

fn bytes(table: &Table, name: &str) -> Option<Vec<u8>> {
    if let Value::Binary(bytes) = table.field(name)? { Some(bytes.to_vec()) } else { None }
}

fn string(table: &Table, name: &str) -> Option<String> {
    String::from_utf8(table.field(name)?.octets()?.to_vec()).ok()
}

fn array<'a>(table: &'a Table, name: &str) -> Option<&'a [Value]> {
    if let Value::Array(values) = table.field(name)? { Some(values) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{super::scram, *};

    #[test]
    fn a_user_reads_back_as_it_was() {
        let mut user = User::new("u", "p", &["monitoring"], false)
            .with_permissions("/", Permissions::new("^$", "a", ".*").unwrap());
        user.limits.insert("max-channels".to_owned(), -1);
        let topic = TopicPermissions::new("^{username}\\.", ".*", "u", "/").unwrap();
        user.topic_permissions.entry("/".into()).or_default().insert("amq.topic".into(), topic);
        user.scram = scram::credentials("p");
        let read = read_user("u", &user.to_table()).unwrap();
        assert_eq!((read.to_table(), &read.scram), (user.to_table(), &user.scram));
        assert!(read.password.is("p"));
        assert_eq!(read_user("u", &Table::default()).map(|u| u.name), None);
    }
}
