//! The server's side of one SCRAM exchange (RFC 5802), as far as Kafka goes with it: no channel binding, extensions
//! read past, no delegation tokens.
//!
//! ```text
//! n,[a=AUTHZID],n=USER,r=NONCE      ──▶  r=NONCE…,s=SALT,i=ITERATIONS
//! c=BINDING,r=NONCE…,p=PROOF        ──▶  v=SIGNATURE
//! ```
//!
//! What is signed is made anew from what was read, as Kafka does, without the extensions of the last message: a client
//! that sends some fails to prove itself.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::broker::auth::scram::{ScramCredential, ScramMechanism};

/// A client's first message.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst {
    pub user: String,
    /// As whom it wants to act; empty: as itself.
    pub authorization: String,
    /// It logs in with a delegation token.
    pub is_token: bool,
    nonce: String,
    bare: String,
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub struct Exchange {
    mechanism: ScramMechanism,
    credential: ScramCredential,
    nonce: String,
    /// Both first messages, as they are signed.
    signed: String,
}

impl ClientFirst {
    /// `None` when it is not one.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let rest = text(message)?.strip_prefix("n,")?;
        let (authorization, rest) = rest.split_once(',')?;
        let authorization = match authorization {
            "" => String::new(),
            other => unescaped(other.strip_prefix("a=")?)?,
        };
        // What only a client from the future needs; Kafka does not sign it.
        let rest = match rest.strip_prefix("m=") {
            Some(reserved) => reserved.split_once(',').filter(|(value, _)| !value.is_empty())?.1,
            None => rest,
        };
        let mut parts = rest.split(',');
        let user = unescaped(parts.next()?.strip_prefix("n=")?)?;
        let nonce = nonce(parts.next()?)?;
        let mut is_token = false;
        for extension in parts {
            let (name, value) = extension_of(extension)?;
            if name == "tokenauth" {
                is_token = value.eq_ignore_ascii_case("true");
            }
        }
        Some(Self { user, authorization, is_token, nonce: nonce.to_owned(), bare: rest.to_owned() })
    }
}

impl Exchange {
    /// An exchange, and the message that it begins with.
    #[must_use]
    pub fn begin(
        first: &ClientFirst,
        mechanism: ScramMechanism,
        credential: ScramCredential,
        server_nonce: &str,
    ) -> (Self, Vec<u8>) {
        let nonce = format!("{}{server_nonce}", first.nonce);
        let salt = STANDARD.encode(&credential.salt);
        let message = format!("r={nonce},s={salt},i={}", credential.iterations);
        let signed = format!("{},{message}", first.bare);
        (Self { mechanism, credential, nonce, signed }, message.into_bytes())
    }

    /// The last message of one that the client has proven; `None`: it has not.
    #[must_use]
    pub fn finish(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (rest, proof) = text(message)?.rsplit_once(",p=")?;
        let mut parts = rest.split(',');
        let binding = parts.next()?.strip_prefix("c=").filter(|binding| STANDARD.decode(binding).is_ok())?;
        let nonce = nonce(parts.next()?).filter(|nonce| *nonce == self.nonce)?;
        for extension in parts {
            extension_of(extension)?;
        }
        let proof = STANDARD.decode(proof).ok()?;
        let signed = format!("{},c={binding},r={nonce}", self.signed);
        self.credential.is_proven(self.mechanism, signed.as_bytes(), &proof).then(|| {
            let signature = self.credential.signature(self.mechanism, signed.as_bytes());
            format!("v={}", STANDARD.encode(signature)).into_bytes()
        })
    }
}

/// ASCII without NUL: all that the grammar of RFC 5802 has, but for names, in which Kafka takes no more either.
fn text(message: &[u8]) -> Option<&str> {
    let allowed = message.iter().all(|byte| matches!(byte, 1..=0x7F));
    std::str::from_utf8(message).ok().filter(|_| allowed)
}

/// `saslname`: `=2C` is a comma and `=3D` an equals sign, and no other stands for itself.
fn unescaped(name: &str) -> Option<String> {
    let plain = name.replace("=2C", ",").replace("=3D", "");
    (!name.is_empty() && !plain.contains('=')).then(|| name.replace("=2C", ",").replace("=3D", "="))
}

fn nonce(part: &str) -> Option<&str> {
    let nonce = part.strip_prefix("r=")?;
    (!nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic())).then_some(nonce)
}

fn extension_of(part: &str) -> Option<(&str, &str)> {
    let (name, value) = part.split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    (is_name && !value.is_empty()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_message_is_read_as_kafka_reads_it() {
        fn check(message: &str, expected: Option<(&str, &str, bool)>) {
            let first = ClientFirst::parse(message.as_bytes());
            let found = first.as_ref().map(|f| (f.user.as_str(), f.authorization.as_str(), f.is_token));
            assert_eq!(found, expected, "{message}");
        }
        check("n,,n=alice,r=abc", Some(("alice", "", false)));
        check("n,a=alice,n=alice,r=abc", Some(("alice", "alice", false)));
        check("n,,n=a=2Cb=3D2C,r=a%c", Some(("a,b=2C", "", false)));
        check("n,,m=x,n=alice,r=abc", Some(("alice", "", false)));
        check("n,,n=alice,r=abc,foo=bar", Some(("alice", "", false)));
        check("n,,n=alice,r=abc,tokenauth=TRUE", Some(("alice", "", true)));
        check("n,,n=alice,r=abc,tokenauth=no", Some(("alice", "", false)));
        for wrong in [
            "",
            "junk",
            "y,,n=alice,r=abc",
            "p=tls-unique,,n=alice,r=abc",
            "n,,n=,r=abc",
            "n,a=,n=alice,r=abc",
            "n,,m=,n=alice,r=abc",
            "n,,n=ali=ce,r=abc",
            "n,,n=älice,r=abc",
            "n,,n=alice,r=",
            "n,,n=alice,r=a b",
            "n,,n=alice",
            "n,,n=alice,r=abc,",
            "n,,n=alice,r=abc,1=x",
            "n,,n=alice,r=abc,foo=",
        ] {
            check(wrong, None);
        }
    }

    /// RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_rfc_goes_as_written_there() {
        let mechanism = ScramMechanism::Sha256;
        let decoded = |text: &str| STANDARD.decode(text).unwrap();
        let credential = ScramCredential {
            salt: decoded("W22ZaJ0SNY7soEsUEjb6gQ=="),
            iterations: 4_096,
            stored_key: decoded("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="),
            server_key: decoded("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="),
        };
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let (exchange, message) =
            Exchange::begin(&first, mechanism, credential, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        assert_eq!(message, format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").into_bytes());
        let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let signature = exchange.finish(format!("c=biws,r={nonce},p={proof}").as_bytes());
        assert_eq!(signature.unwrap(), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        for wrong in [
            format!("c=biws,r={nonce}x,p={proof}"),
            format!("c=eSws,r={nonce},p={proof}"),
            format!("c=biws,r={nonce},p=AAAA"),
            format!("c=biws,r={nonce},x,p={proof}"),
            format!("c=b,r={nonce},p={proof}"),
            "junk".to_owned(),
        ] {
            assert_eq!(exchange.finish(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
