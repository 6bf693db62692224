//! What was agreed on with a peer by TLS, in the words that RabbitMQ shows it with (`rabbit_reader`, `rabbit_cert_info`).

/// A session: `ssl_protocol`, `ssl_key_exchange`, `ssl_cipher`, `ssl_hash` of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `tlsv1.2`, `tlsv1.3`.
    pub protocol: &'static str,
    /// `ecdhe_rsa`, `ecdhe_ecdsa`; `any` where the protocol leaves it open (1.3).
    pub key_exchange: &'static str,
    /// `aes_128_gcm`, `aes_256_gcm`, `chacha20_poly1305`.
    pub cipher: &'static str,
    /// `aead`: the cipher has its own.
    pub hash: &'static str,
    /// Who the peer has proved to be.
    pub peer: Option<Certificate>,
}

/// A certificate: `peer_cert_subject`, `peer_cert_issuer`, `peer_cert_validity` of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// As RFC 4514 writes it: `CN=client,O=Example`.
    pub subject: String,
    /// The subject's common names, with commas between them; empty when it has none (`rabbit_ssl:peer_cert_auth_name`).
    pub common_name: String,
    pub issuer: String,
    /// From when to when: `2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z`.
    pub validity: String,
}
