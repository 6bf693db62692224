//! A session of TLS, in RabbitMQ's words.

use tokio_rustls::rustls::{CipherSuite, ProtocolVersion, ServerConnection, pki_types::CertificateDer};
use x509_cert::{
    certificate::{CertificateInner, Rfc5280},
    der::{Decode, asn1::ObjectIdentifier},
    ext::pkix::name::DirectoryString,
    name::Name,
    time::Time,
};

use crate::data::tls::{Certificate, Session};

/// What a handshake came to.
#[must_use]
pub fn session(connection: &ServerConnection) -> Session {
    let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    let name = suite.and_then(|suite: CipherSuite| suite.as_str()).unwrap_or_default();
    Session {
        protocol: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "tlsv1.2",
            _ => "tlsv1.3",
        },
        key_exchange: first(name, &[("ECDHE_ECDSA", "ecdhe_ecdsa"), ("ECDHE_RSA", "ecdhe_rsa")], "any"),
        cipher: first(
            name,
            &[
                ("AES_128_GCM", "aes_128_gcm"),
                ("AES_256_GCM", "aes_256_gcm"),
                ("CHACHA20_POLY1305", "chacha20_poly1305"),
            ],
            "",
        ),
        hash: "aead",
        peer: connection.peer_certificates().and_then(|chain| chain.first()).and_then(certificate),
    }
}

/// The word for the first part that the suite's name has.
fn first(name: &str, words: &[(&str, &'static str)], otherwise: &'static str) -> &'static str {
    words.iter().find(|(part, _)| name.contains(part)).map_or(otherwise, |(_, word)| word)
}

/// Nothing for a certificate that cannot be read: it was believed, so that does not happen.
fn certificate(der: &CertificateDer<'_>) -> Option<Certificate> {
    let read = CertificateInner::<Rfc5280>::from_der(der).ok()?;
    let about = read.tbs_certificate();
    let (from, to) = (about.validity().not_before, about.validity().not_after);
    Some(Certificate {
        subject: about.subject().to_string(),
        common_name: common_names(about.subject()).join(","),
        issuer: about.issuer().to_string(),
        validity: format!("{} - {}", moment(from), moment(to)),
    })
}

/// Those that are texts.
fn common_names(subject: &Name) -> Vec<String> {
    let values = subject.iter().filter(|item| item.oid == COMMON_NAME).map(|item| &item.value);
    values.filter_map(|value| DirectoryString::try_from(value).ok()).map(String::from).collect()
}

/// `id-at-commonName` (RFC 5280, appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

fn moment(time: Time) -> String {
    time.to_date_time().to_string()
}
