//! Logging in over the Kafka door: SASL PLAIN (RFC 4616) and SCRAM (RFC 5802), with the users of the AMQP door.
//!
//! ```text
//!              SaslHandshake            SaslAuthenticate, or (after version 0) a bare token
//! Handshake ────────────────▶ Token ───────────────────────────────────────────────▶ Done
//!     ▲                        │  │ SCRAM: a challenge      proof                     │ ▲
//!     │                        │  └────────────────▶ Proof ────────────────────────────┼─┘
//!     │                  wrong │                       │ wrong                         │ SaslHandshake, where
//!     │                        ▼                       ▼                               │ sessions end
//!     └──────────────────── Failed: answered, then closed            Token ◀───────────┘
//! ```
//!
//! Pure: what a frame may be is decided here, who a user is by [`Accounts`]. A user logs in as `vhost:user`, or as `user`
//! in vhost `/`, as with RabbitMQ's other protocols. (KIP-43, KIP-84, KIP-152, KIP-368.)

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng;

use super::{
    api::ApiKey,
    scram::{ClientFirst, Exchange},
};
use crate::broker::{
    Broker,
    auth::{
        User,
        scram::{ScramCredential, ScramMechanism},
    },
    topic::VhostName,
};

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Scram(ScramMechanism),
}

/// The mechanisms there are, as SaslHandshake lists them (in Kafka's order).
pub const MECHANISMS: &[(&str, Mechanism)] = &[
    ("PLAIN", Mechanism::Plain),
    ("SCRAM-SHA-512", Mechanism::Scram(ScramMechanism::Sha512)),
    ("SCRAM-SHA-256", Mechanism::Scram(ScramMechanism::Sha256)),
];

impl Mechanism {
    #[must_use]
    pub fn name(self) -> &'static str {
        MECHANISMS.iter().find(|(_, mechanism)| *mechanism == self).map_or("", |(name, _)| name)
    }
}

/// A token of SASL, without a request around it.
pub const TOKEN_BYTES_MAX: usize = 512 * 1024;

/// Who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: Arc<str>,
    pub vhost: VhostName,
}

/// Who there is, by the name that a client gives.
pub trait Accounts {
    /// Whoever has that name and password.
    fn with_password(&self, name: &str, password: &str) -> Option<Identity>;

    /// Whoever has that name, once it has proven that it knows the password of that credential.
    fn with_scram(&self, name: &str, mechanism: ScramMechanism) -> Option<(Identity, ScramCredential)>;
}

/// How far a connection has come.
#[derive(Debug)]
pub struct Login {
    stage: Stage,
    /// How long a login is good for; `None`: for ever.
    lifetime: Option<Duration>,
    until: Option<Instant>,
    /// Of the login before.
    mechanism: Option<Mechanism>,
}

#[derive(Debug)]
enum Stage {
    /// Nobody has to log in.
    Off,
    Handshake,
    /// A token is next; `bare`: without a request around it.
    Token {
        bare: bool,
        mechanism: Mechanism,
    },
    /// The proof of an exchange is next.
    Proof {
        bare: bool,
        mechanism: Mechanism,
        exchange: Exchange,
        identity: Identity,
    },
    Done,
    /// The login is to be renewed in another way than it was made: Kafka agrees, and then hears no more.
    Changed {
        to: Mechanism,
    },
    Failed,
}

/// Why a login fails: Kafka's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFailed(pub String);

/// What a token is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub token: Vec<u8>,
    /// Who it was, when the login is over.
    pub identity: Option<Identity>,
}

impl Login {
    #[must_use]
    pub fn new(required: bool, lifetime: Option<Duration>) -> Self {
        let stage = if required { Stage::Handshake } else { Stage::Off };
        Self { stage, lifetime, until: None, mechanism: None }
    }

    /// Whether a request may be heard.
    ///
    /// # Errors
    /// Why the connection is closed instead.
    pub fn admit(&self, now: Instant, key: ApiKey) -> Result<(), String> {
        let logs_in = matches!(key, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate);
        let admitted = match &self.stage {
            Stage::Off => true,
            Stage::Handshake => matches!(key, ApiKey::SaslHandshake | ApiKey::ApiVersions),
            Stage::Token { bare, .. } | Stage::Proof { bare, .. } => !bare && key == ApiKey::SaslAuthenticate,
            Stage::Done => {
                logs_in || key == ApiKey::ApiVersions || self.until.is_none_or(|until| now < until)
            }
            Stage::Changed { .. } | Stage::Failed => false,
        };
        match &self.stage {
            _ if admitted => Ok(()),
            Stage::Done => Err("the login has expired".to_owned()),
            Stage::Changed { to } => Err(format!(
                "SASL mechanism '{}' requested by client is not supported for re-authentication of mechanism '{}'",
                to.name(),
                self.mechanism.map_or("", Mechanism::name)
            )),
            Stage::Off | Stage::Handshake | Stage::Token { .. } | Stage::Proof { .. } | Stage::Failed => {
                Err(format!("unexpected request of type {key:?} during the SASL handshake"))
            }
        }
    }

    /// Whether the next bytes are a token without a request around it.
    #[must_use]
    pub fn wants_bare_token(&self) -> bool {
        matches!(self.stage, Stage::Token { bare: true, .. } | Stage::Proof { bare: true, .. })
    }

    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed)
    }

    /// What it has logged in by.
    #[must_use]
    pub fn mechanism(&self) -> Option<&'static str> {
        self.mechanism.map(Mechanism::name)
    }

    /// A client names its mechanism; false when it is none of ours. `None`: nobody asked it to.
    pub fn on_handshake(&mut self, version: i16, mechanism: &str) -> Option<bool> {
        match self.stage {
            Stage::Handshake => {}
            Stage::Done if self.lifetime.is_some() => {}
            Stage::Off
            | Stage::Done
            | Stage::Token { .. }
            | Stage::Proof { .. }
            | Stage::Changed { .. }
            | Stage::Failed => return None,
        }
        let known = MECHANISMS.iter().find(|(name, _)| *name == mechanism).map(|(_, known)| *known);
        self.stage = match known {
            None => Stage::Failed,
            Some(to) if self.mechanism.is_some_and(|before| before != to) => Stage::Changed { to },
            Some(mechanism) => Stage::Token { bare: version == 0, mechanism },
        };
        Some(known.is_some())
    }

    /// A client sends its token; `before` is who it was. `None`: nobody asked it to.
    pub fn on_token(
        &mut self,
        now: Instant,
        token: &[u8],
        before: Option<&Identity>,
        accounts: &impl Accounts,
    ) -> Option<Result<Answer, LoginFailed>> {
        let when = if before.is_some() { "re-authentication" } else { "authentication" };
        let invalid = |mechanism: Mechanism| {
            LoginFailed(format!(
                "Authentication failed during {when} due to invalid credentials with SASL mechanism {}",
                mechanism.name()
            ))
        };
        let (mechanism, outcome) = match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Token { mechanism: mechanism @ Mechanism::Plain, .. } => {
                let outcome = plain(token, accounts).ok_or_else(|| invalid(mechanism)).flatten();
                (mechanism, outcome.map(|identity| (Vec::new(), identity)))
            }
            Stage::Token { bare, mechanism: mechanism @ Mechanism::Scram(scram) } => {
                let begun = challenge(token, scram, accounts).ok_or_else(|| invalid(mechanism)).flatten();
                return Some(begun.map(|(exchange, identity, token)| {
                    self.stage = Stage::Proof { bare, mechanism, exchange, identity };
                    Answer { token, identity: None }
                }));
            }
            Stage::Proof { mechanism, exchange, identity, .. } => {
                let proven = exchange.finish(token).ok_or_else(|| invalid(mechanism));
                (mechanism, proven.map(|token| (token, identity)))
            }
            other @ (Stage::Off | Stage::Handshake | Stage::Done | Stage::Changed { .. } | Stage::Failed) => {
                self.stage = other;
                return None;
            }
        };
        Some(outcome.and_then(|(token, identity)| {
            unchanged(before, &identity)?;
            self.stage = Stage::Done;
            self.mechanism = Some(mechanism);
            self.until = self.lifetime.map(|lifetime| now + lifetime);
            Ok(Answer { token, identity: Some(identity) })
        }))
    }

    /// `session_lifetime_ms`; 0: for ever.
    #[must_use]
    pub fn lifetime_ms(&self) -> i64 {
        self.lifetime.map_or(0, |lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX))
    }
}

fn unchanged(before: Option<&Identity>, now: &Identity) -> Result<(), LoginFailed> {
    match before {
        Some(before) if before != now => Err(LoginFailed(format!(
            "Cannot change principals during re-authentication from User.{}: User.{}",
            before.user, now.user
        ))),
        Some(_) | None => Ok(()),
    }
}

fn failed<T>(text: &str) -> Result<T, LoginFailed> {
    Err(LoginFailed(format!("Authentication failed: {text}")))
}

const OTHER_AUTHORIZATION: &str = "Client requested an authorization id that is different from username";

/// `authzid NUL authcid NUL password`; `None` when it is not that.
fn plain(token: &[u8], accounts: &impl Accounts) -> Option<Result<Identity, LoginFailed>> {
    let parts: Option<Vec<&str>> =
        token.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).ok()).collect();
    let Some([authorization, user, password]) = parts.as_deref() else { return None };
    Some(match (*user, *password) {
        ("", _) => failed("username not specified"),
        (_, "") => failed("password not specified"),
        (user, _) if !authorization.is_empty() && *authorization != user => failed(OTHER_AUTHORIZATION),
        (user, password) => match accounts.with_password(user, password) {
            Some(identity) => Ok(identity),
            None => failed("Invalid username or password"),
        },
    })
}

type Begun = (Exchange, Identity, Vec<u8>);

/// The answer to a first message of SCRAM; `None` when it is not one, or from nobody that can log in so. Delegation
/// tokens, which a client may name instead of a user, are not there.
fn challenge(
    token: &[u8],
    mechanism: ScramMechanism,
    accounts: &impl Accounts,
) -> Option<Result<Begun, LoginFailed>> {
    let first = ClientFirst::parse(token).filter(|first| !first.is_token)?;
    let (identity, credential) = accounts.with_scram(&first.user, mechanism)?;
    if !first.authorization.is_empty() && first.authorization != first.user {
        return Some(failed(OTHER_AUTHORIZATION));
    }
    let (exchange, token) = Exchange::begin(&first, mechanism, credential, &nonce());
    Some(Ok((exchange, identity, token)))
}

fn nonce() -> String {
    const NONCE_CHARS: usize = 26;
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(NONCE_CHARS).map(char::from).collect()
}

/// The broker's users, for a client on this machine or on another.
pub struct BrokersAccounts<'a> {
    pub broker: &'a Broker,
    pub is_here: bool,
}

impl BrokersAccounts<'_> {
    /// A user in a vhost that it may enter.
    fn inside(&self, user: &User, vhost: &str) -> Option<Identity> {
        let login = self.broker.enter(vhost, &user.name)?;
        Some(Identity { user: login.user.name.clone(), vhost: VhostName::from(vhost) })
    }
}

impl Accounts for BrokersAccounts<'_> {
    fn with_password(&self, name: &str, password: &str) -> Option<Identity> {
        let (vhost, user) = self.broker.login_name(name);
        let user = self.broker.users.login(user, password, self.is_here).ok()?;
        self.inside(&user, vhost)
    }

    fn with_scram(&self, name: &str, mechanism: ScramMechanism) -> Option<(Identity, ScramCredential)> {
        let (vhost, user) = self.broker.login_name(name);
        let (user, credential) = self.broker.users.scram(user, mechanism, self.is_here).ok()?;
        self.inside(&user, vhost).map(|identity| (identity, credential))
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;
    use crate::{
        broker::auth::scram::{ScramCredentials, credentials},
        clock::Clock,
    };

    /// alice, whose password is "secret".
    #[derive(Default)]
    struct Alice(ScramCredentials);

    fn identity(user: &str) -> Identity {
        Identity { user: user.into(), vhost: VhostName::from("/") }
    }

    impl Accounts for Alice {
        fn with_password(&self, name: &str, password: &str) -> Option<Identity> {
            (name == "alice" && password == "secret").then(|| identity("alice"))
        }

        fn with_scram(&self, name: &str, mechanism: ScramMechanism) -> Option<(Identity, ScramCredential)> {
            let credential = self.0.get(&mechanism).filter(|_| name == "alice")?;
            Some((identity("alice"), credential.clone()))
        }
    }

    const SCRAM: &str = "SCRAM-SHA-256";
    const INVALID: &str =
        "Authentication failed during authentication due to invalid credentials with SASL mechanism";

    #[test]
    fn a_token_is_refused_in_kafkas_words() {
        fn check(mechanism: &str, token: &[u8], expected: Option<&str>) {
            let accounts = Alice(credentials("secret"));
            let mut login = Login::new(true, None);
            assert_eq!(login.on_handshake(1, mechanism), Some(true));
            let outcome = login.on_token(Clock::manual(0).now(), token, None, &accounts).unwrap();
            assert_eq!(outcome.err().map(|failed| failed.0).as_deref(), expected);
            assert_eq!(login.has_failed(), expected.is_some());
        }
        let wrong = "Authentication failed: Invalid username or password";
        let other =
            "Authentication failed: Client requested an authorization id that is different from username";
        check("PLAIN", b"\0alice\0secret", None);
        check("PLAIN", b"alice\0alice\0secret", None);
        check("PLAIN", b"\0alice\0wrong", Some(wrong));
        check("PLAIN", b"\0\0secret", Some("Authentication failed: username not specified"));
        check("PLAIN", b"\0alice\0", Some("Authentication failed: password not specified"));
        check("PLAIN", b"bob\0alice\0secret", Some(other));
        check("PLAIN", b"alice", Some(&format!("{INVALID} PLAIN")));
        let invalid = format!("{INVALID} {SCRAM}");
        check(SCRAM, b"n,,n=alice,r=abc", None);
        check(SCRAM, b"n,a=alice,n=alice,r=abc", None);
        check(SCRAM, b"n,a=bob,n=alice,r=abc", Some(other));
        check(SCRAM, b"n,,n=bob,r=abc", Some(&invalid));
        check(SCRAM, b"n,,n=alice,r=abc,tokenauth=true", Some(&invalid));
        check(SCRAM, b"alice", Some(&invalid));
    }

    /// What a client says that knows `password`.
    fn proof(credential: &ScramCredential, password: &str, challenge: &[u8]) -> Vec<u8> {
        use hmac::{Hmac, Mac};
        use sha2::{Digest, Sha256};

        let mac = |key: &[u8], message: &[u8]| {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes()
        };
        let salt = &credential.salt;
        let salted =
            pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, credential.iterations);
        let challenge = std::str::from_utf8(challenge).unwrap();
        let rest = format!("c=biws,{}", challenge.split(',').next().unwrap());
        let signed = format!("n=alice,r=abc,{challenge},{rest}");
        let client_key = mac(&salted, b"Client Key");
        let signature = mac(&Sha256::digest(client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        format!("{rest},p={}", STANDARD.encode(proof)).into_bytes()
    }

    #[test]
    fn scram_takes_two_tokens_and_the_second_proves_the_password() {
        let (now, accounts) = (Clock::manual(0).now(), Alice(credentials("secret")));
        for (password, knows) in [("secret", true), ("guess", false)] {
            let mut login = Login::new(true, None);
            assert_eq!(login.on_handshake(1, SCRAM), Some(true));
            let first = login.on_token(now, b"n,,n=alice,r=abc", None, &accounts).unwrap().unwrap();
            assert_eq!(first.identity, None);
            assert!(login.admit(now, ApiKey::Metadata).is_err(), "not in yet");
            let token = proof(&accounts.0[&ScramMechanism::Sha256], password, &first.token);
            let last = login.on_token(now, &token, None, &accounts).unwrap();
            assert_eq!(login.has_failed(), !knows);
            match last {
                Ok(answer) => {
                    assert!(knows && answer.token.starts_with(b"v="));
                    assert_eq!(answer.identity, Some(identity("alice")));
                }
                Err(failed) => assert_eq!(failed.0, format!("{INVALID} {SCRAM}")),
            }
        }
    }

    #[test]
    fn nothing_is_heard_before_its_time() {
        let (now, hour) = (Clock::manual(0).now(), Duration::from_secs(3_600));
        let (accounts, token) = (Alice::default(), b"\0alice\0secret");
        let mut login = Login::new(true, Some(hour));
        assert!(login.admit(now, ApiKey::Metadata).is_err() && login.admit(now, ApiKey::ApiVersions).is_ok());
        assert!(login.on_token(now, token, None, &accounts).is_none());
        assert_eq!(login.on_handshake(1, "GSSAPI"), Some(false));
        assert!(login.has_failed() && login.admit(now, ApiKey::SaslHandshake).is_err());
        let mut login = Login::new(true, Some(hour));
        assert_eq!(login.on_handshake(1, "PLAIN"), Some(true));
        assert!(
            login.admit(now, ApiKey::Fetch).is_err() && login.admit(now, ApiKey::SaslAuthenticate).is_ok()
        );
        assert!(login.on_token(now, token, None, &accounts).unwrap().is_ok());
        assert!(login.admit(now, ApiKey::Fetch).is_ok());
        assert!(login.admit(now + hour, ApiKey::Fetch).is_err(), "expired");
        assert_eq!(login.on_handshake(1, "PLAIN"), Some(true));
        let changed = login.on_token(now, token, Some(&identity("bob")), &accounts).unwrap().unwrap_err();
        let text = "Cannot change principals during re-authentication from User.bob: User.alice";
        assert_eq!(changed.0, text);
    }

    #[test]
    fn a_login_is_renewed_in_the_way_it_was_made() {
        let (now, accounts) = (Clock::manual(0).now(), Alice::default());
        let mut login = Login::new(true, Some(Duration::from_secs(1)));
        assert_eq!(login.on_handshake(1, "PLAIN"), Some(true));
        assert!(login.on_token(now, b"\0alice\0secret", None, &accounts).unwrap().is_ok());
        assert_eq!(login.on_handshake(1, SCRAM), Some(true));
        let text = "SASL mechanism 'SCRAM-SHA-256' requested by client is not supported for re-authentication of mechanism 'PLAIN'";
        assert_eq!(login.admit(now, ApiKey::SaslAuthenticate), Err(text.to_owned()));
        assert!(login.on_token(now, b"x", None, &accounts).is_none());
    }

    #[test]
    fn where_nobody_has_to_log_in_nobody_can() {
        let now = Clock::manual(0).now();
        let mut login = Login::new(false, None);
        assert!(login.admit(now, ApiKey::Produce).is_ok());
        assert_eq!(login.on_handshake(1, "PLAIN"), None);
        assert!(login.on_token(now, b"\0alice\0secret", None, &Alice::default()).is_none());
    }
}
