//! SASL mechanisms of the AMQP door: PLAIN (RFC 4616) and RabbitMQ's AMQPLAIN.

use super::wire::table;
use crate::data::value::Value;

/// A name and a password, as a client gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

/// The mechanisms we take, as `connection.start` lists them.
pub const MECHANISMS: &str = "PLAIN AMQPLAIN";

/// Reads a `start-ok` response. `None` for a mechanism we do not know or a response that is none.
#[must_use]
pub fn credentials(mechanism: &str, response: &[u8]) -> Option<Credentials> {
    match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        _ => None,
    }
}

/// `authzid NUL authcid NUL password`
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.splitn(3, |&b| b == 0);
    let (_authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Credentials { user: text(user)?, password: text(password)? })
}

/// A field table's contents with `LOGIN` and `PASSWORD`.
fn amqplain(response: &[u8]) -> Option<Credentials> {
    let table = table::decode(response).ok()?;
    let string = |name| match table.field(name) {
        Some(Value::LongStr(s)) => text(s),
        _ => None,
    };
    Some(Credentials { user: string("LOGIN")?, password: string("PASSWORD")? })
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_mechanisms_give_name_and_password() {
        let guest = Credentials { user: "guest".to_owned(), password: "p".to_owned() };
        assert_eq!(credentials("PLAIN", b"\0guest\0p"), Some(guest.clone()));
        assert_eq!(credentials("PLAIN", b"someone\0guest\0p"), Some(guest.clone()));
        let amqplain = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x01p";
        assert_eq!(credentials("AMQPLAIN", amqplain), Some(guest));
        assert_eq!(credentials("PLAIN", b"guest"), None);
        assert_eq!(credentials("FOO", b"\0guest\0p"), None);
    }
}
