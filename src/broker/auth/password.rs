//! Passwords as RabbitMQ keeps them: four bytes of salt, and one hash over salt and password.
//!
//! Hashes come and go with definitions, so every algorithm that RabbitMQ ever wrote is kept by its name; one that is
//! unknown is kept too, and lets nobody in.

use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// A salted hash and how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password {
    /// Salt and hash; empty: no password logs this user in.
    pub hash: Vec<u8>,
    /// `rabbit_password_hashing_sha256` and the like.
    pub algorithm: String,
}

/// What RabbitMQ uses unless told otherwise.
pub const SHA256: &str = "rabbit_password_hashing_sha256";
const SHA512: &str = "rabbit_password_hashing_sha512";

impl Password {
    /// The hash of a password, with a salt of its own.
    #[must_use]
    pub fn new(password: &str) -> Self {
        let salt: [u8; SALT_BYTES] = rand::random();
        Self { hash: salted(salt, password), algorithm: SHA256.to_owned() }
    }

    /// No password at all: nobody logs in with one.
    #[must_use]
    pub fn none() -> Self {
        Self { hash: Vec::new(), algorithm: SHA256.to_owned() }
    }

    /// Whether that is the password. An empty one never is, as with RabbitMQ.
    #[must_use]
    pub fn is(&self, password: &str) -> bool {
        let Some((salt, hash)) = self.hash.split_at_checked(SALT_BYTES) else { return false };
        let computed = match self.algorithm.as_str() {
            SHA256 => sha256(salt, password).to_vec(),
            SHA512 => Sha512::new().chain_update(salt).chain_update(password).finalize().to_vec(),
            _ => return false,
        };
        !password.is_empty() && bool::from(computed.ct_eq(hash))
    }
}

/// Salt and SHA-256, as `password_hash` shows them.
#[must_use]
pub fn salted(salt: [u8; SALT_BYTES], password: &str) -> Vec<u8> {
    [&salt[..], &sha256(&salt, password)].concat()
}

/// One hash over salt and password.
#[must_use]
pub(super) fn sha256(salt: &[u8], password: &str) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(password).finalize().into()
}

/// RabbitMQ's salts are 32 bits.
pub const SALT_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn a_hash_of_rabbitmqs_documentation_lets_its_password_in() {
        // https://www.rabbitmq.com/docs/passwords: salt 908DC60A, password test12.
        let hash = STANDARD.decode("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR").unwrap();
        assert_eq!(salted([0x90, 0x8D, 0xC6, 0x0A], "test12"), hash);
        let password = Password { hash, algorithm: SHA256.to_owned() };
        assert!(password.is("test12") && !password.is("test13"));
    }

    #[test]
    fn what_is_unknown_or_empty_lets_nobody_in() {
        let known = Password::new("p");
        for (password, given, expected) in [
            (known.clone(), "p", true),
            (known.clone(), "", false),
            (Password::none(), "", false),
            (Password::new(""), "", false),
            (Password { algorithm: "nope".to_owned(), ..known }, "p", false),
        ] {
            assert_eq!(password.is(given), expected, "{password:?} {given}");
        }
    }
}
