//! What a SCRAM login is checked against (RFC 5802), beside the password's hash.
//!
//! A credential cannot be made of RabbitMQ's hash of a password, so a user has one only once its password was set in
//! clear, or the credential itself was set. As with Kafka, passwords are taken as they are, without SASLprep.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use tokio::runtime::{Handle, RuntimeFlavor};

/// A mechanism, by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScramMechanism {
    Sha256,
    Sha512,
}

/// Neither the password nor what a client would need to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    pub salt: Vec<u8>,
    pub iterations: u32,
    pub stored_key: Vec<u8>,
    pub server_key: Vec<u8>,
}

/// A user's credentials.
pub type ScramCredentials = BTreeMap<ScramMechanism, ScramCredential>;

/// Of the credentials that are made here; the fewest that Kafka takes.
pub const ITERATIONS_MIN: u32 = 4_096;

/// The most that Kafka takes.
pub const ITERATIONS_MAX: u32 = 16_384;

const SALT_BYTES: usize = 16;

impl ScramMechanism {
    pub const ALL: &'static [Self] = &[Self::Sha256, Self::Sha512];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mechanism| mechanism.name() == name)
    }

    fn hash(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        const ANY: &str = "a key may have any length";
        match self {
            Self::Sha256 => {
                let mac = Hmac::<Sha256>::new_from_slice(key).expect(ANY);
                mac.chain_update(message).finalize().into_bytes().to_vec()
            }
            Self::Sha512 => {
                let mac = Hmac::<Sha512>::new_from_slice(key).expect(ANY);
                mac.chain_update(message).finalize().into_bytes().to_vec()
            }
        }
    }

    /// PBKDF2: some milliseconds of work.
    fn salted_password(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        let password = password.as_bytes();
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec(),
            Self::Sha512 => pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations).to_vec(),
        }
    }
}

impl ScramCredential {
    /// Of what a client makes of password, salt and iterations.
    #[must_use]
    pub fn salted(mechanism: ScramMechanism, salt: &[u8], iterations: u32, salted_password: &[u8]) -> Self {
        let client_key = mechanism.hmac(salted_password, b"Client Key");
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: mechanism.hash(&client_key),
            server_key: mechanism.hmac(salted_password, b"Server Key"),
        }
    }

    /// Whether whoever made `proof` of that exchange knows the password.
    #[must_use]
    pub fn is_proven(&self, mechanism: ScramMechanism, exchange: &[u8], proof: &[u8]) -> bool {
        let signature = mechanism.hmac(&self.stored_key, exchange);
        if proof.len() != signature.len() {
            return false;
        }
        let client_key: Vec<u8> = signature.iter().zip(proof).map(|(a, b)| a ^ b).collect();
        bool::from(mechanism.hash(&client_key).ct_eq(&self.stored_key))
    }

    /// By which the client knows that we know its credential.
    #[must_use]
    pub fn signature(&self, mechanism: ScramMechanism, exchange: &[u8]) -> Vec<u8> {
        mechanism.hmac(&self.server_key, exchange)
    }
}

/// The secrets stay out of logs.
impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramCredential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// Credentials of every mechanism for a password, with salts of their own; none for an empty one, which lets nobody in.
/// It is milliseconds of work: the other tasks of this thread go on elsewhere meanwhile.
#[must_use]
pub fn credentials(password: &str) -> ScramCredentials {
    if password.is_empty() {
        return ScramCredentials::new();
    }
    let made = || {
        let make = |mechanism: &ScramMechanism| {
            let salt: [u8; SALT_BYTES] = rand::random();
            let salted_password = mechanism.salted_password(password, &salt, ITERATIONS_MIN);
            (*mechanism, ScramCredential::salted(*mechanism, &salt, ITERATIONS_MIN, &salted_password))
        };
        ScramMechanism::ALL.iter().map(make).collect()
    };
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(made),
        Ok(_) | Err(_) => made(),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    /// RFC 7677, section 3: user, password `pencil`.
    #[test]
    fn the_exchange_of_the_rfc_is_proven() {
        let mechanism = ScramMechanism::Sha256;
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = mechanism.salted_password("pencil", &salt, 4_096);
        let credential = ScramCredential::salted(mechanism, &salt, 4_096, &salted);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let exchange = format!(
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
        );
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        assert!(credential.is_proven(mechanism, exchange.as_bytes(), &proof));
        assert!(!credential.is_proven(mechanism, b"another", &proof));
        assert!(!credential.is_proven(mechanism, exchange.as_bytes(), &proof[1..]));
        let signature = credential.signature(mechanism, exchange.as_bytes());
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_password_has_a_credential_for_each_mechanism_and_an_empty_one_has_none() {
        let made = credentials("secret");
        assert_eq!(made.keys().copied().collect::<Vec<_>>(), ScramMechanism::ALL);
        for (mechanism, credential) in &made {
            let salted = mechanism.salted_password("secret", &credential.salt, credential.iterations);
            let again = ScramCredential::salted(*mechanism, &credential.salt, ITERATIONS_MIN, &salted);
            assert_eq!(again, *credential);
            assert_eq!(ScramMechanism::named(mechanism.name()), Some(*mechanism));
        }
        assert!(credentials("").is_empty());
    }
}
