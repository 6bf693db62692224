//! TLS of the command line: whom it believes, what it shows of itself, and what went wrong, in words that name the
//! remedy. `--cacert`, `--cert` and `--key` are curl's.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, Error as TlsError,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use ureq::{
    Error,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

/// Options of whoever speaks to an admin door.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct Https {
    /// Believe a server whose certificate this authority's (PEM) has signed; those of this machine, if not given
    #[arg(long, global = true, env = "WARREN_CACERT", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Show this certificate (PEM) to a server that asks for one
    #[arg(long, global = true, env = "WARREN_CERT", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The certificate's private key (PEM), if it is not in the same file
    #[arg(long, global = true, env = "WARREN_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
}

impl Https {
    /// How to agree on TLS with the server at that URL; files are read only where it is spoken.
    ///
    /// # Errors
    /// A file that cannot be used, and why.
    pub(super) fn config(&self, url: &str) -> Result<TlsConfig, String> {
        if !is_https(url) {
            return Ok(TlsConfig::default());
        }
        let provider = Arc::new(ring::default_provider());
        let config = TlsConfig::builder().root_certs(self.believed()?).client_cert(self.shown(&provider)?);
        Ok(config.unversioned_rustls_crypto_provider(provider).build())
    }

    fn believed(&self) -> Result<RootCerts, String> {
        let given = || std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let installed = || BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file());
        let Some(path) = self.cacert.clone().or_else(given).or_else(installed) else {
            return Err(
                "this machine has no authorities to believe; name the server's with --cacert".to_owned()
            );
        };
        let found = certificates(&path)?;
        let found: Vec<_> = found.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        Ok(RootCerts::new_with_certs(&found))
    }

    fn shown(&self, provider: &CryptoProvider) -> Result<Option<ClientCert>, String> {
        let cert = match (&self.cert, &self.key) {
            (None, None) => return Ok(None),
            (None, Some(key)) => {
                return Err(format!("{} is the key of no certificate; name it with --cert", key.display()));
            }
            (Some(cert), _) => cert,
        };
        let key = self.key.as_ref().unwrap_or(cert);
        let chain = certificates(cert)?;
        let no_key = |e: &dyn std::fmt::Display| format!("{}: no private key in PEM: {e}", key.display());
        let der = PrivateKeyDer::from_pem_file(key).map_err(|e| no_key(&e))?;
        CertifiedKey::from_der(chain.clone(), der, provider)
            .map_err(|e| format!("{} and {}: {e}", cert.display(), key.display()))?;
        let key = fs::read(key).map_err(|e| no_key(&e))?;
        let key = PrivateKey::from_pem(&key).map_err(|e| no_key(&e))?;
        let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        Ok(Some(ClientCert::new_with_certs(&chain, key)))
    }
}

/// Where systems keep the authorities that they believe: Debian's and Alpine's, Fedora's, the BSDs' and macOS's.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => {
            Err(format!("{}: there is no certificate in PEM in it", path.display()))
        }
        Ok(found) => Ok(found),
        Err(e) => Err(format!("{}: no certificates in PEM: {e}", path.display())),
    }
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// What a failed call to `url` says, and what may help.
pub(super) fn reason(url: &str, error: &Error) -> String {
    if let Some(error) = of_tls(error) {
        return match remedy(error) {
            Some(remedy) => format!("{error}: {remedy}"),
            None => error.to_string(),
        };
    }
    let no_http = matches!(error, Error::Protocol(_)) || matches!(error, Error::Io(e) if is_cut_off(e));
    if no_http && !is_https(url) {
        return format!("{error}: no HTTP is spoken there; is it https://?");
    }
    error.to_string()
}

fn is_cut_off(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionReset, InvalidData, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | InvalidData | UnexpectedEof)
}

fn of_tls(error: &Error) -> Option<&TlsError> {
    if let Error::Rustls(error) = error {
        return Some(error);
    }
    if let Error::Io(error) = error { error.get_ref()?.downcast_ref() } else { None }
}

fn remedy(error: &TlsError) -> Option<&'static str> {
    use AlertDescription::{CertificateRequired, HandshakeFailure};
    use CertificateError::{NotValidForName, NotValidForNameContext, UnknownIssuer};
    if let TlsError::InvalidCertificate(UnknownIssuer) = error {
        Some("nobody who is believed has signed it; name its authority's with --cacert")
    } else if let TlsError::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) = error {
        Some("use a name in the URL that it is for")
    } else if let TlsError::InvalidMessage(_) = error {
        Some("no TLS is spoken there; is it http://?")
    } else if let TlsError::AlertReceived(CertificateRequired | HandshakeFailure) = error {
        Some("the server wants a certificate; give it with --cert and --key")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::{ClientAuth, made};

    fn said(https: &Https) -> String {
        https.config("https://localhost").err().unwrap_or_default()
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| Some(dir.path().join(name));
        made::in_folder(dir.path(), &[], ClientAuth::None).unwrap();
        let good = Https { cacert: at("ca.pem"), cert: at("client.pem"), key: at("client.key") };
        assert_eq!(said(&good), "");
        for (https, expected) in [
            (Https { cacert: at("none.pem"), ..good.clone() }, "none.pem: no certificates in PEM: "),
            (
                Https { cacert: at("client.key"), ..good.clone() },
                "client.key: there is no certificate in PEM in it",
            ),
            (Https { key: at("server.key"), ..good.clone() }, "server.key: "),
            (Https { key: None, ..good.clone() }, "client.pem: no private key in PEM: "),
            (Https { cert: None, ..good.clone() }, "client.key is the key of no certificate"),
        ] {
            assert!(said(&https).contains(expected), "{}", said(&https));
        }
    }

    #[test]
    fn nothing_is_read_where_no_tls_is_spoken() {
        let https = Https { cacert: Some("/none".into()), ..Https::default() };
        assert!(https.config("http://localhost").is_ok() && https.config("HTTPS://localhost").is_err());
    }
}
