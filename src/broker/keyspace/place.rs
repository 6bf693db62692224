//! Keys under the names that the other doors have for them: `redis.<name space>.<key>`.

use super::{DBS, waiters::Db};

const PREFIX: &str = "redis.";

/// The name under which others know a key.
#[must_use]
pub fn name_of(db: Db, key: &[u8]) -> String {
    format!("{PREFIX}{db}.{}", String::from_utf8_lossy(key))
}

/// The key that others know under that name.
#[must_use]
pub fn key_of(name: &str) -> Option<(Db, &str)> {
    let (db, key) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let number: Db = db.parse().ok()?;
    // One name each: no leading zeros, no sign.
    (number < DBS && number.to_string() == db).then_some((number, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_name() {
        for (name, expected) in [
            ("redis.0.tasks", Some((0, "tasks"))),
            ("redis.15.a.b", Some((15, "a.b"))),
            ("redis.0.", Some((0, ""))),
            ("redis.16.a", None),
            ("redis.00.a", None),
            ("redis.+1.a", None),
            ("redis.a", None),
            ("redis.pubsub", None),
            ("tasks", None),
        ] {
            assert_eq!(key_of(name), expected, "{name}");
            if let Some((db, key)) = expected {
                assert_eq!(name_of(db, key.as_bytes()), name);
            }
        }
    }
}
