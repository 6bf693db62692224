//! SASL mechanisms of the AMQP door: PLAIN (RFC 4616), RabbitMQ's AMQPLAIN, and ANONYMOUS (RFC 4505), which logs in a
//! user of the configuration.

use super::{Settings, wire::table};
use crate::{broker::profile::Profile, data::value::Value};

/// A name and a password, as a client gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

/// The mechanisms we take, as `connection.start` lists them.
#[must_use]
pub fn mechanisms(profile: &Profile, settings: &Settings) -> String {
    let offered = |name: &&&str| **name != ANONYMOUS || settings.anonymous.is_some();
    profile.mechanisms.iter().filter(offered).copied().collect::<Vec<_>>().join(" ")
}

const ANONYMOUS: &str = "ANONYMOUS";

/// Reads a `start-ok` response. `None` for a mechanism we do not offer or a response that is none.
#[must_use]
pub fn credentials(
    profile: &Profile,
    settings: &Settings,
    mechanism: &str,
    response: &[u8],
) -> Option<Credentials> {
    if !profile.mechanisms.contains(&mechanism) {
        return None;
    }
    match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        // Whatever the client says of itself, it is nobody.
        ANONYMOUS => settings.anonymous.clone(),
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
    use crate::broker::profile::{V3_12, V4_2};

    #[test]
    fn both_mechanisms_give_name_and_password() {
        let guest = Credentials { user: "guest".to_owned(), password: "p".to_owned() };
        let settings = Settings::of(&V4_2);
        let credentials = |mechanism, response: &[u8]| credentials(&V4_2, &settings, mechanism, response);
        assert_eq!(credentials("PLAIN", b"\0guest\0p"), Some(guest.clone()));
        assert_eq!(credentials("PLAIN", b"someone\0guest\0p"), Some(guest.clone()));
        let amqplain = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x01p";
        assert_eq!(credentials("AMQPLAIN", amqplain), Some(guest));
        assert_eq!(credentials("PLAIN", b"guest"), None);
        assert_eq!(credentials("FOO", b"\0guest\0p"), None);
    }

    #[test]
    fn nobody_is_who_the_configuration_says_where_the_version_knows_the_mechanism() {
        let nobody = Credentials { user: "nobody".to_owned(), password: "p".to_owned() };
        let check = |profile: &'static Profile, anonymous: Option<&Credentials>, expected| {
            let settings = Settings { anonymous: anonymous.cloned(), ..Settings::of(profile) };
            let found = credentials(profile, &settings, "ANONYMOUS", b"x");
            assert_eq!((mechanisms(profile, &settings), found), expected);
        };
        check(&V4_2, Some(&nobody), ("PLAIN AMQPLAIN ANONYMOUS".to_owned(), Some(nobody.clone())));
        check(&V4_2, None, ("PLAIN AMQPLAIN".to_owned(), None));
        check(&V3_12, Some(&nobody), ("AMQPLAIN PLAIN".to_owned(), None));
    }
}
