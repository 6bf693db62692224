//! SASL mechanisms of the AMQP door: PLAIN (RFC 4616), RabbitMQ's AMQPLAIN, ANONYMOUS (RFC 4505), which logs in a user of
//! the configuration, and EXTERNAL (RFC 4422, appendix A), which logs in whom the certificate of TLS names
//! (`rabbit_auth_mechanism_ssl`).

use super::{Settings, wire::table};
use crate::{
    broker::profile::Profile,
    data::{tls::Session, value::Value},
};

/// Who a client says it is, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    Password(Credentials),
    /// A user whose certificate was believed.
    Certificate(String),
    /// It has named nobody: why, for the log.
    Nobody(&'static str),
}

impl Claim {
    #[must_use]
    pub fn user(&self) -> &str {
        match self {
            Self::Password(credentials) => &credentials.user,
            Self::Certificate(user) => user,
            Self::Nobody(_) => "none",
        }
    }
}

/// What of a certificate is the user's name (`ssl_cert_login_from`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertName {
    Common,
    Distinguished,
}

/// A name and a password, as a client gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

/// The mechanisms we take on a connection, as `connection.start` lists them.
#[must_use]
pub fn mechanisms(profile: &Profile, settings: &Settings, tls: Option<&Session>) -> Vec<&'static str> {
    let offered = |name: &&str| match *name {
        // By TLS always: whether there is a certificate is asked when somebody means to log in by it.
        EXTERNAL => settings.cert_login_from.is_some() && tls.is_some(),
        ANONYMOUS => settings.anonymous.is_some(),
        _ => true,
    };
    [EXTERNAL].into_iter().chain(profile.mechanisms.iter().copied()).filter(offered).collect()
}

const ANONYMOUS: &str = "ANONYMOUS";
const EXTERNAL: &str = "EXTERNAL";

/// Reads a `start-ok` response. `None` for a mechanism we do not offer or a response that is none.
#[must_use]
pub fn claim(
    profile: &Profile,
    settings: &Settings,
    tls: Option<&Session>,
    (mechanism, response): (&str, &[u8]),
) -> Option<Claim> {
    if !mechanisms(profile, settings, tls).contains(&mechanism) {
        return None;
    }
    let credentials = match mechanism {
        "PLAIN" => plain(response),
        "AMQPLAIN" => amqplain(response),
        // Whatever the client says of itself, it is nobody.
        ANONYMOUS => settings.anonymous.clone(),
        // Nor does it matter here: the certificate says it.
        EXTERNAL => return Some(certified(settings.cert_login_from?, tls?)),
        _ => None,
    };
    credentials.map(Claim::Password)
}

fn certified(from: CertName, tls: &Session) -> Claim {
    let Some(certificate) = &tls.peer else {
        return Claim::Nobody("connection peer presented no TLS (x.509) certificate");
    };
    match from {
        CertName::Distinguished if certificate.subject.is_empty() => Claim::Nobody("no name found"),
        CertName::Distinguished => Claim::Certificate(certificate.subject.clone()),
        CertName::Common if certificate.common_name.is_empty() => Claim::Nobody("no name found"),
        CertName::Common => Claim::Certificate(certificate.common_name.clone()),
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
    use crate::{
        broker::profile::{V3_12, V4_2},
        data::tls::Certificate,
    };

    #[test]
    fn both_mechanisms_give_name_and_password() {
        let guest = Credentials { user: "guest".to_owned(), password: "p".to_owned() };
        let settings = Settings::of(&V4_2);
        let claim = |mechanism, response: &[u8]| claim(&V4_2, &settings, None, (mechanism, response));
        let guest = Some(Claim::Password(guest));
        assert_eq!(claim("PLAIN", b"\0guest\0p"), guest);
        assert_eq!(claim("PLAIN", b"someone\0guest\0p"), guest);
        let amqplain = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x01p";
        assert_eq!(claim("AMQPLAIN", amqplain), guest);
        assert_eq!(claim("PLAIN", b"guest"), None);
        assert_eq!(claim("FOO", b"\0guest\0p"), None);
    }

    #[test]
    fn nobody_is_who_the_configuration_says_where_the_version_knows_the_mechanism() {
        let nobody = Credentials { user: "nobody".to_owned(), password: "p".to_owned() };
        let check =
            |profile: &'static Profile, anonymous: Option<&Credentials>, offered: &[&str], expected| {
                let settings = Settings { anonymous: anonymous.cloned(), ..Settings::of(profile) };
                assert_eq!(mechanisms(profile, &settings, None), offered);
                assert_eq!(claim(profile, &settings, None, ("ANONYMOUS", b"x")), expected);
            };
        let expected = Some(Claim::Password(nobody.clone()));
        check(&V4_2, Some(&nobody), &["PLAIN", "AMQPLAIN", "ANONYMOUS"], expected);
        check(&V4_2, None, &["PLAIN", "AMQPLAIN"], None);
        check(&V3_12, Some(&nobody), &["AMQPLAIN", "PLAIN"], None);
    }

    #[test]
    fn a_certificate_names_its_user_by_tls_and_where_the_configuration_says_by_what() {
        let certificate = Certificate {
            subject: "CN=client,O=Example".to_owned(),
            common_name: "client".to_owned(),
            issuer: "CN=ca".to_owned(),
            validity: String::new(),
        };
        let session = |peer| Session {
            protocol: "tlsv1.3",
            key_exchange: "any",
            cipher: "aes_256_gcm",
            hash: "aead",
            peer,
        };
        let nameless = Certificate { common_name: String::new(), ..certificate.clone() };
        let (shown, nameless) = (session(Some(certificate)), session(Some(nameless)));
        let is = |user: &str| Some(Claim::Certificate(user.to_owned()));
        let no = |why| Some(Claim::Nobody(why));
        for (from, tls, expected) in [
            (Some(CertName::Distinguished), Some(&shown), is("CN=client,O=Example")),
            (Some(CertName::Common), Some(&shown), is("client")),
            (Some(CertName::Common), Some(&nameless), no("no name found")),
            (
                Some(CertName::Common),
                Some(&session(None)),
                no("connection peer presented no TLS (x.509) certificate"),
            ),
            (Some(CertName::Common), None, None),
            (None, Some(&shown), None),
        ] {
            let settings = Settings { cert_login_from: from, ..Settings::of(&V4_2) };
            assert_eq!(claim(&V4_2, &settings, tls, ("EXTERNAL", b"somebody")), expected);
            let offered = mechanisms(&V4_2, &settings, tls);
            assert_eq!(offered.first() == Some(&"EXTERNAL"), expected.is_some(), "{offered:?}");
        }
    }
}
