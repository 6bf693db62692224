//! A client of rustls over a real socket.

use std::{fs, net::Ipv4Addr, path::Path, sync::Arc};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream as Client,
    rustls::{
        ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        version,
    },
};

use super::{ClientAuth, Files, Tls, TlsError, made, peer};
use crate::data::tls::Session;

fn made_in(dir: &Path, client_auth: ClientAuth) -> Files {
    made::in_folder(dir, &[Ipv4Addr::LOCALHOST.into()], client_auth).unwrap()
}

fn folder(client_auth: ClientAuth) -> (TempDir, Files) {
    let dir = tempfile::tempdir().unwrap();
    let files = made_in(dir.path(), client_auth);
    (dir, files)
}

/// Believes the folder's authority; shows its client's certificate, if it is to.
fn client(dir: &Path, shows: bool, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = config.with_root_certificates(roots);
    let config = if shows {
        let chain = vec![CertificateDer::from_pem_file(dir.join("client.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(dir.join("client.key")).unwrap();
        config.with_client_auth_cert(chain, key).unwrap()
    } else {
        config.with_no_client_auth()
    };
    TlsConnector::from(Arc::new(config))
}

/// What either side has after the handshake and one byte each way.
async fn meet(tls: &Tls, connector: TlsConnector) -> Result<(Client<TcpStream>, Session), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(stream).await.map_err(|e| e.to_string())?;
        let byte = stream.read_u8().await.map_err(|e| e.to_string())?;
        stream.write_u8(byte).await.map_err(|e| e.to_string())?;
        Ok::<_, String>(peer::session(stream.get_ref().1))
    };
    let asked = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let mut stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        stream.write_u8(7).await.map_err(|e| e.to_string())?;
        let byte = stream.read_u8().await.map_err(|e| e.to_string())?;
        assert_eq!(byte, 7);
        Ok::<_, String>(stream)
    };
    let (served, asked) = tokio::join!(served, asked);
    Ok((asked?, served?))
}

#[tokio::test]
async fn what_was_agreed_on_is_told_in_rabbitmqs_words() {
    let (dir, files) = folder(ClientAuth::Requested);
    let tls = Tls::load(files).unwrap();
    let (_, session) = meet(&tls, client(dir.path(), false, &[&version::TLS13])).await.unwrap();
    let expected =
        Session { protocol: "tlsv1.3", key_exchange: "any", cipher: "aes_256_gcm", hash: "aead", peer: None };
    assert_eq!(session, expected);
    let (_, session) = meet(&tls, client(dir.path(), true, &[&version::TLS12])).await.unwrap();
    assert_eq!((session.protocol, session.key_exchange), ("tlsv1.2", "ecdhe_ecdsa"));
    let peer = session.peer.unwrap();
    assert_eq!((peer.subject.as_str(), peer.issuer.as_str()), ("CN=client", "CN=Warren development CA"));
    assert_eq!(peer.validity, "2020-01-01T00:00:00Z - 2050-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let (dir, files) = folder(ClientAuth::Required);
    let tls = Tls::load(files).unwrap();
    let (_, session) = meet(&tls, client(dir.path(), true, &[&version::TLS13])).await.unwrap();
    assert!(session.peer.is_some());
    let refused = meet(&tls, client(dir.path(), false, &[&version::TLS13])).await.err().unwrap();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

#[tokio::test]
async fn a_client_of_another_authority_is_refused() {
    let (dir, files) = folder(ClientAuth::Requested);
    let (other, _) = folder(ClientAuth::None);
    for name in ["client.pem", "client.key"] {
        fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    }
    let tls = Tls::load(files).unwrap();
    assert!(meet(&tls, client(dir.path(), true, &[&version::TLS13])).await.is_err());
}

#[tokio::test]
async fn a_new_certificate_holds_for_the_next_connection_and_a_broken_one_does_not() {
    let (dir, files) = folder(ClientAuth::None);
    let tls = Tls::load(files).unwrap();
    let connector = client(dir.path(), false, &[&version::TLS13]);
    let (mut before, _) = meet(&tls, connector.clone()).await.unwrap();

    let cert = dir.path().join("server.pem");
    let good = fs::read(&cert).unwrap();
    fs::write(&cert, "not a certificate, and longer or shorter than it").unwrap();
    meet(&tls, connector.clone()).await.unwrap();

    let (other, _) = folder(ClientAuth::None);
    for name in ["server.pem", "server.key"] {
        fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    }
    assert!(meet(&tls, connector).await.is_err(), "it is another authority's now");
    meet(&tls, client(other.path(), false, &[&version::TLS13])).await.unwrap();
    assert_ne!(good, fs::read(&cert).unwrap());
    assert_eq!(before.get_mut().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn made_certificates_are_kept_and_a_folder_with_some_is_refused() {
    let (dir, files) = folder(ClientAuth::None);
    let read = || fs::read(&files.cert).unwrap();
    let first = read();
    made_in(dir.path(), ClientAuth::None);
    assert_eq!(first, read());
    fs::remove_file(dir.path().join("client.key")).unwrap();
    let error = made::in_folder(dir.path(), &[], ClientAuth::None).unwrap_err().to_string();
    assert!(error.contains("client.key is not"), "{error}");
}

#[test]
fn what_cannot_be_used_is_named_with_key_and_file() {
    let (dir, files) = folder(ClientAuth::Required);
    let said = |change: &dyn Fn(&mut Files)| {
        let mut files = files.clone();
        change(&mut files);
        Tls::load(files).err().map(|error: TlsError| error.to_string()).unwrap()
    };
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let missing = said(&|files| files.cert = dir.path().join("none.pem"));
    assert!(
        missing.starts_with("tls.cert_file: ") && missing.contains("none.pem: No such file"),
        "{missing}"
    );
    assert!(said(&|files| files.key = empty.clone()).ends_with("there is no private key in PEM in it"));
    assert!(said(&|files| files.ca = Some(empty.clone())).starts_with("tls.ca_file: "));
    let mixed = said(&|files| files.key = dir.path().join("client.key"));
    assert!(mixed.starts_with("tls.cert_file and tls.key_file: "), "{mixed}");
}
