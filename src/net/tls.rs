//! TLS: the certificates of the doors' second addresses, and the handshake.
//!
//! Certificates are files in PEM. They are looked at before every handshake and read again when they have changed: a new
//! certificate holds from the next connection on, and none is dropped for it. One that cannot be used is complained of,
//! and the one before goes on. TLS 1.2 and 1.3, with rustls' own choice of ciphers.

pub mod made;
pub mod peer;
pub mod socket;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{io, net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
    server::TlsStream,
};

/// Where the certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The server's own, then those between it and its authority's.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Whose clients' certificates are believed.
    pub ca: Option<PathBuf>,
    pub client_auth: ClientAuth,
}

/// What clients must show (Kafka's `ssl.client.auth`; RabbitMQ's `verify` and `fail_if_no_peer_cert`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    #[default]
    None,
    /// A certificate is asked for. One that is shown must be good.
    Requested,
    Required,
}

/// Why certificates cannot be used: one line, naming key, file and reason.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls.{key}: {}: {reason}", path.display())]
    File { key: &'static str, path: PathBuf, reason: String },
    #[error("tls.cert_file and tls.key_file: {0}")]
    Pair(#[from] tokio_rustls::rustls::Error),
}

/// A door's way to agree on TLS. All doors share one.
pub struct Tls {
    files: Files,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    /// The files as they were.
    stamps: Vec<Option<Stamp>>,
    acceptor: TlsAcceptor,
}

/// What changes when a file is written.
type Stamp = (Option<SystemTime>, u64);

impl Tls {
    /// Reads the certificates.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn load(files: Files) -> Result<Self, TlsError> {
        let stamps = files.stamps();
        let loaded = Mutex::new(Loaded { stamps, acceptor: files.load()? });
        Ok(Self { files, loaded })
    }

    /// Agrees with a client, which has five seconds for it.
    ///
    /// # Errors
    /// The client did not speak TLS, showed a certificate that is not believed, or was too slow.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        timeout(HANDSHAKE_MAX, self.acceptor().accept(stream)).await?
    }

    /// With the certificates as they are now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let stamps = self.files.stamps();
        let mut loaded = self.loaded.lock();
        if loaded.stamps != stamps {
            match self.files.load() {
                Ok(acceptor) => {
                    tracing::info!("TLS: the certificates have changed");
                    loaded.acceptor = acceptor;
                }
                Err(error) => tracing::error!("TLS goes on with the certificates of before: {error}"),
            }
            loaded.stamps = stamps;
        }
        loaded.acceptor.clone()
    }
}

impl Files {
    fn stamps(&self) -> Vec<Option<Stamp>> {
        let stamp =
            |path: &PathBuf| fs::metadata(path).ok().map(|found| (found.modified().ok(), found.len()));
        [&self.cert, &self.key].into_iter().chain(&self.ca).map(stamp).collect()
    }

    fn load(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates("cert_file", &self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| unusable("key_file", &self.key, &e))?;
        let config =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let config = match self.client_verifier(provider)? {
            Some(verifier) => config.with_client_cert_verifier(verifier),
            None => config.with_no_client_auth(),
        };
        Ok(TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key)?)))
    }

    fn client_verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let (Some(ca), ClientAuth::Requested | ClientAuth::Required) = (&self.ca, self.client_auth) else {
            return Ok(None);
        };
        let failed = |reason: String| TlsError::File { key: "ca_file", path: ca.clone(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in certificates("ca_file", ca)? {
            roots.add(certificate).map_err(|e| failed(e.to_string()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = match self.client_auth {
            ClientAuth::Requested => verifier.allow_unauthenticated(),
            ClientAuth::None | ClientAuth::Required => verifier,
        };
        verifier.build().map(Some).map_err(|e| failed(e.to_string()))
    }
}

/// All certificates of a file: one at least.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(found) if Vec::is_empty(&found) => Err(unusable(key, path, &pem::Error::NoItemsFound)),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(key, path, &error)),
    }
}

fn unusable(key: &'static str, path: &Path, error: &pem::Error) -> TlsError {
    let reason = if let pem::Error::Io(error) = error {
        error.to_string()
    } else if !matches!(error, pem::Error::NoItemsFound) {
        format!("it is no PEM: {error:?}")
    } else if key == "key_file" {
        "there is no private key in PEM in it".to_owned()
    } else {
        "there is no certificate in PEM in it".to_owned()
    };
    TlsError::File { key, path: path.to_owned(), reason }
}

/// RabbitMQ's `ssl_handshake_timeout`.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
