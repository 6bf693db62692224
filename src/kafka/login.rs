//! Logging in over the Kafka door: SASL PLAIN (RFC 4616), with the users of the AMQP door.
//!
//! ```text
//!              SaslHandshake            SaslAuthenticate, or (after version 0) a bare token
//! Handshake ────────────────▶ Token ───────────────────────────────────────────────▶ Done
//!     ▲                         │ wrong                                                │ SaslHandshake, where
//!     │                         ▼                                                      │ sessions end
//!     └──────────────────── Failed: answered, then closed            Token ◀───────────┘
//! ```
//!
//! Pure: what a frame may be is decided here, who a user is by the broker. A user logs in as `vhost:user`, or as `user`
//! in vhost `/`, as with RabbitMQ's other protocols. (KIP-43, KIP-152, KIP-368.)

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::api::ApiKey;
use crate::broker::{Broker, topic::VhostName};

/// The mechanisms there are, as SaslHandshake lists them.
pub const MECHANISMS: &[&str] = &["PLAIN"];

/// A token of SASL, without a request around it.
pub const TOKEN_BYTES_MAX: usize = 512 * 1024;

/// Who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: Arc<str>,
    pub vhost: VhostName,
}

/// How far a connection has come.
#[derive(Debug)]
pub struct Login {
    stage: Stage,
    /// How long a login is good for; `None`: for ever.
    lifetime: Option<Duration>,
    until: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nobody has to log in.
    Off,
    Handshake,
    /// A token is next; `bare`: without a request around it.
    Token {
        bare: bool,
    },
    Done,
    Failed,
}

/// Why a login fails: Kafka's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFailed(pub String);

impl Login {
    #[must_use]
    pub fn new(required: bool, lifetime: Option<Duration>) -> Self {
        Self { stage: if required { Stage::Handshake } else { Stage::Off }, lifetime, until: None }
    }

    /// Whether a request may be heard.
    ///
    /// # Errors
    /// Why the connection is closed instead.
    pub fn admit(&self, now: Instant, key: ApiKey) -> Result<(), String> {
        let logs_in = matches!(key, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate);
        let admitted = match self.stage {
            Stage::Off => true,
            Stage::Handshake => matches!(key, ApiKey::SaslHandshake | ApiKey::ApiVersions),
            Stage::Token { bare } => !bare && key == ApiKey::SaslAuthenticate,
            Stage::Done => {
                logs_in || key == ApiKey::ApiVersions || self.until.is_none_or(|until| now < until)
            }
            Stage::Failed => false,
        };
        match self.stage {
            _ if admitted => Ok(()),
            Stage::Done => Err("the login has expired".to_owned()),
            Stage::Off | Stage::Handshake | Stage::Token { .. } | Stage::Failed => {
                Err(format!("unexpected request of type {key:?} during the SASL handshake"))
            }
        }
    }

    /// Whether the next bytes are a token without a request around it.
    #[must_use]
    pub fn wants_bare_token(&self) -> bool {
        self.stage == Stage::Token { bare: true }
    }

    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.stage == Stage::Failed
    }

    /// A client names its mechanism; false when it is none of ours. `None`: nobody asked it to.
    pub fn on_handshake(&mut self, version: i16, mechanism: &str) -> Option<bool> {
        match self.stage {
            Stage::Handshake => {}
            Stage::Done if self.lifetime.is_some() => {}
            Stage::Off | Stage::Done | Stage::Token { .. } | Stage::Failed => return None,
        }
        let known = MECHANISMS.contains(&mechanism);
        self.stage = if known { Stage::Token { bare: version == 0 } } else { Stage::Failed };
        Some(known)
    }

    /// A client sends its token; `before` is who it was. `None`: nobody asked it to.
    pub fn on_token(
        &mut self,
        now: Instant,
        token: &[u8],
        before: Option<&Identity>,
        check: impl FnOnce(&str, &str) -> Option<Identity>,
    ) -> Option<Result<Identity, LoginFailed>> {
        match self.stage {
            Stage::Token { .. } => {}
            Stage::Off | Stage::Handshake | Stage::Done | Stage::Failed => return None,
        }
        let outcome = plain(token, before.is_some(), check).and_then(|identity| match before {
            Some(before) if *before != identity => Err(LoginFailed(format!(
                "Cannot change principals during re-authentication from User.{} to User.{}",
                before.user, identity.user
            ))),
            Some(_) | None => Ok(identity),
        });
        self.stage = if outcome.is_ok() { Stage::Done } else { Stage::Failed };
        self.until = self.lifetime.map(|lifetime| now + lifetime);
        Some(outcome)
    }

    /// `session_lifetime_ms`; 0: for ever.
    #[must_use]
    pub fn lifetime_ms(&self) -> i64 {
        self.lifetime.map_or(0, |lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX))
    }
}

/// `authzid NUL authcid NUL password`
fn plain(
    token: &[u8],
    again: bool,
    check: impl FnOnce(&str, &str) -> Option<Identity>,
) -> Result<Identity, LoginFailed> {
    let failed = |text: &str| Err(LoginFailed(format!("Authentication failed: {text}")));
    let parts: Option<Vec<&str>> =
        token.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).ok()).collect();
    let Some([authorization, user, password]) = parts.as_deref() else {
        let when = if again { "re-authentication" } else { "authentication" };
        let text = format!(
            "Authentication failed during {when} due to invalid credentials with SASL mechanism PLAIN"
        );
        return Err(LoginFailed(text));
    };
    if user.is_empty() {
        return failed("username not specified");
    }
    if password.is_empty() {
        return failed("password not specified");
    }
    if !authorization.is_empty() && authorization != user {
        return failed("Client requested an authorization id that is different from username");
    }
    match check(user, password) {
        Some(identity) => Ok(identity),
        None => failed("Invalid username or password"),
    }
}

/// The broker's word on a name and a password: the user, in a vhost that it may enter.
#[must_use]
pub fn identify(broker: &Broker, name: &str, password: &str, loopback: bool) -> Option<Identity> {
    let (vhost, user) = name.rsplit_once(':').unwrap_or(("/", name));
    let found = broker.users.login(user, password, loopback).ok()?;
    (broker.vhost(vhost).is_ok() && found.enters(vhost))
        .then(|| Identity { user: found.name.clone(), vhost: VhostName::from(vhost) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn is_alice(user: &str, password: &str) -> Option<Identity> {
        (user == "alice" && password == "secret")
            .then(|| Identity { user: "alice".into(), vhost: VhostName::from("/") })
    }

    #[test]
    fn a_token_is_refused_in_kafkas_words() {
        let now = Clock::manual(0).now();
        for (token, expected) in [
            (&b"\0alice\0secret"[..], None),
            (b"alice\0alice\0secret", None),
            (b"\0alice\0wrong", Some("Authentication failed: Invalid username or password")),
            (b"\0\0secret", Some("Authentication failed: username not specified")),
            (b"\0alice\0", Some("Authentication failed: password not specified")),
            (
                b"bob\0alice\0secret",
                Some(
                    "Authentication failed: Client requested an authorization id that is different from username",
                ),
            ),
            (
                b"alice",
                Some(
                    "Authentication failed during authentication due to invalid credentials with SASL mechanism PLAIN",
                ),
            ),
        ] {
            let mut login = Login::new(true, None);
            assert_eq!(login.on_handshake(1, "PLAIN"), Some(true));
            let outcome = login.on_token(now, token, None, is_alice).unwrap();
            assert_eq!(outcome.err().map(|failed| failed.0).as_deref(), expected);
            assert_eq!(login.has_failed(), expected.is_some());
        }
    }

    #[test]
    fn nothing_is_heard_before_its_time() {
        let (now, hour) = (Clock::manual(0).now(), Duration::from_secs(3_600));
        let mut login = Login::new(true, Some(hour));
        assert!(login.admit(now, ApiKey::Metadata).is_err() && login.admit(now, ApiKey::ApiVersions).is_ok());
        assert!(login.on_token(now, b"\0alice\0secret", None, is_alice).is_none());
        assert_eq!(login.on_handshake(1, "GSSAPI"), Some(false));
        assert!(login.has_failed() && login.admit(now, ApiKey::SaslHandshake).is_err());
        let mut login = Login::new(true, Some(hour));
        assert_eq!(login.on_handshake(1, "PLAIN"), Some(true));
        assert!(
            login.admit(now, ApiKey::Fetch).is_err() && login.admit(now, ApiKey::SaslAuthenticate).is_ok()
        );
        let alice = login.on_token(now, b"\0alice\0secret", None, is_alice).unwrap().unwrap();
        assert!(login.admit(now, ApiKey::Fetch).is_ok());
        assert!(login.admit(now + hour, ApiKey::Fetch).is_err(), "expired");
        assert_eq!(login.on_handshake(1, "PLAIN"), Some(true));
        let bob = Identity { user: "bob".into(), ..alice };
        let changed = login.on_token(now, b"\0alice\0secret", Some(&bob), is_alice).unwrap().unwrap_err();
        let text = "Cannot change principals during re-authentication from User.bob to User.alice";
        assert_eq!(changed.0, text);
    }

    #[test]
    fn where_nobody_has_to_log_in_nobody_can() {
        let now = Clock::manual(0).now();
        let mut login = Login::new(false, None);
        assert!(login.admit(now, ApiKey::Produce).is_ok());
        assert_eq!(login.on_handshake(1, "PLAIN"), None);
        assert!(login.on_token(now, b"\0alice\0secret", None, is_alice).is_none());
    }
}
