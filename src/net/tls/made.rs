//! Certificates for tests (`--dev-tls DIR`): an authority of their own, a server's and a client's, in a folder.
//!
//! Made when the folder has none, and kept: programs that were told to believe `ca.pem` go on. The authority's key is
//! thrown away, so that nothing else can be made with it.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::{ClientAuth, Files};

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    #[error("{}: {reason}", path.display())]
    Io { path: PathBuf, reason: io::Error },
    #[error("{} is there, but {missing} is not; give a folder that is empty or not there", dir.display())]
    Incomplete { dir: PathBuf, missing: &'static str },
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
}

const CA: &str = "ca.pem";
const SERVER: [&str; 2] = ["server.pem", "server.key"];
const CLIENT: [&str; 2] = ["client.pem", "client.key"];

/// The certificates of that folder; made for this machine and `hosts`, if it has none.
///
/// # Errors
/// The folder cannot be written, or lacks some of the files.
pub fn in_folder(dir: &Path, hosts: &[IpAddr], client_auth: ClientAuth) -> Result<Files, MakeError> {
    let there = |name: &&str| dir.join(name).is_file();
    let all = [CA].into_iter().chain(SERVER).chain(CLIENT);
    match all.clone().find(|name| !there(name)) {
        None => {}
        Some(missing) if all.clone().any(|name| there(&name)) => {
            return Err(MakeError::Incomplete { dir: dir.to_owned(), missing });
        }
        Some(_) => make(dir, hosts)?,
    }
    let [cert, key] = SERVER.map(|name| dir.join(name));
    Ok(Files { cert, key, ca: Some(dir.join(CA)), client_auth })
}

fn make(dir: &Path, hosts: &[IpAddr]) -> Result<(), MakeError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(hosts.iter().filter(|host| !host.is_unspecified()).map(IpAddr::to_string));
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    names.extend((!machine.is_empty()).then_some(machine));
    names.sort();
    names.dedup();

    let mut authority = params(Vec::new(), "Warren development CA")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let issue = |names: Vec<String>, called: &str, usage: ExtendedKeyUsagePurpose| {
        let mut params = params(names, called)?;
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok::<_, rcgen::Error>([params.signed_by(&key, &authority)?.pem(), key.serialize_pem()])
    };
    let server = issue(names, "localhost", ExtendedKeyUsagePurpose::ServerAuth)?;
    let client = issue(Vec::new(), "client", ExtendedKeyUsagePurpose::ClientAuth)?;

    fs::create_dir_all(dir).map_err(|reason| MakeError::Io { path: dir.to_owned(), reason })?;
    let files = SERVER.into_iter().zip(&server).chain(CLIENT.into_iter().zip(&client));
    for (name, pem) in files.chain([(CA, &authority.pem())]) {
        write(&dir.join(name), pem)?;
    }
    Ok(())
}

fn params(names: Vec<String>, called: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, called);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2050, 1, 1));
    Ok(params)
}

/// Keys are nobody else's to read.
fn write(path: &Path, pem: &str) -> Result<(), MakeError> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let failed = |reason| MakeError::Io { path: path.to_owned(), reason };
    let mode = if path.extension().is_some_and(|end| end == "key") { 0o600 } else { 0o644 };
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(pem.as_bytes()).map_err(failed)
}
