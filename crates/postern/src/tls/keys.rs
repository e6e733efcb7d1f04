//! Certificates and private keys from PEM files.
//!
//! They are read before the program gives up root. A key that only root can read can't be read again at a reload: then
//! the pair that was read before stays in use, and the log says so.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Certificates with their keys.
pub(super) type Keys = Vec<Arc<CertifiedKey>>;

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyFiles {
    /// `smtpd_tls_chain_files`: each key before its certificates, in files that are read as one.
    Chain(Vec<PathBuf>),
    /// `smtpd_tls_cert_file` and `smtpd_tls_key_file`, and their likes.
    Pair {
        /// The certificate, then those that it depends on.
        certificate: PathBuf,
        /// Its key, perhaps in the same file.
        key: PathBuf,
    },
}

/// What was read once, for the time when root is gone.
static READ: LazyLock<Mutex<HashMap<KeyFiles, Keys>>> = LazyLock::new(Mutex::default);

/// Read them. The second value says why those of an earlier time are given.
pub(super) fn load(files: &KeyFiles) -> Result<(Keys, Option<String>), String> {
    let mut known = READ.lock().unwrap_or_else(PoisonError::into_inner);
    match read(files) {
        Ok(keys) => {
            known.insert(files.clone(), keys.clone());
            Ok((keys, None))
        }
        Err(text) => match known.get(files) {
            Some(keys) => Ok((keys.clone(), Some(text))),
            None => Err(text),
        },
    }
}

fn read(files: &KeyFiles) -> Result<Keys, String> {
    match files {
        KeyFiles::Chain(paths) => {
            let mut sections = Vec::new();
            for path in paths {
                sections.extend(sections_of(path)?.into_iter().map(|section| (path.as_path(), section)));
            }
            chains(sections)
        }
        KeyFiles::Pair { certificate, key } => pair(certificate, key).map(|pair| vec![pair]),
    }
}

/// The content of `smtpd_tls_chain_files`, or of a value in `tls_server_sni_maps`.
pub(super) fn from_text(text: &[u8], name: &Path) -> Result<Keys, String> {
    chains(parse(text, name)?.into_iter().map(|section| (name, section)).collect())
}

/// Files as `tls_server_sni_maps` names them.
pub(super) fn from_files(paths: &[PathBuf]) -> Result<Keys, String> {
    read(&KeyFiles::Chain(paths.to_vec()))
}

enum Section {
    Key(PrivateKeyDer<'static>),
    Certificate(CertificateDer<'static>),
}

fn sections_of(path: &Path) -> Result<Vec<Section>, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {}", path.display(), without_number(&error)))?;
    parse(&text, path)
}

fn without_number(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn parse(text: &[u8], path: &Path) -> Result<Vec<Section>, String> {
    let mut sections = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        // What the parser says may show a part of the file: not that of a key.
        let (kind, der) = section.map_err(|_| format!("{}: not in PEM format", path.display()))?;
        sections.push(match kind {
            SectionKind::Certificate => Section::Certificate(der.into()),
            SectionKind::PrivateKey => Section::Key(PrivatePkcs8KeyDer::from(der).into()),
            SectionKind::RsaPrivateKey => Section::Key(PrivatePkcs1KeyDer::from(der).into()),
            SectionKind::EcPrivateKey => Section::Key(PrivateSec1KeyDer::from(der).into()),
            _ => continue,
        });
    }
    Ok(sections)
}

/// Key, certificate, those that it depends on; and again.
fn chains(sections: Vec<(&Path, Section)>) -> Result<Keys, String> {
    let mut found: Vec<(&Path, PrivateKeyDer<'static>, Vec<CertificateDer<'static>>)> = Vec::new();
    let mut last = Path::new("");
    for (path, section) in sections {
        last = path;
        match (section, found.last_mut()) {
            (Section::Key(key), _) => found.push((path, key, Vec::new())),
            (Section::Certificate(certificate), Some((_, _, chain))) => chain.push(certificate),
            (Section::Certificate(_), None) => {
                return Err(format!("{}: a certificate before any key: the key comes first", path.display()));
            }
        }
    }
    if found.is_empty() {
        return Err(format!("{}: no private key in it", last.display()));
    }
    found.into_iter().map(|(path, key, chain)| certified(path, path, key, chain)).collect()
}

fn pair(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, String> {
    let chain: Vec<_> = sections_of(certificate)?
        .into_iter()
        .filter_map(|section| match section {
            Section::Certificate(certificate) => Some(certificate),
            Section::Key(_) => None,
        })
        .collect();
    let found = sections_of(key)?.into_iter().find_map(|section| match section {
        Section::Key(key) => Some(key),
        Section::Certificate(_) => None,
    });
    let private = found.ok_or_else(|| format!("{}: no unencrypted private key in it", key.display()))?;
    certified(certificate, key, private, chain)
}

fn certified(
    certificate: &Path,
    key: &Path,
    private: PrivateKeyDer<'static>,
    chain: Vec<CertificateDer<'static>>,
) -> Result<Arc<CertifiedKey>, String> {
    if chain.is_empty() {
        return Err(format!("{}: no certificate in it", certificate.display()));
    }
    let signing = any_supported_type(&private).map_err(|_| {
        format!(
            "{}: not an RSA key (of 2048 to 8192 bits), ECDSA key (P-256, P-384, P-521) or Ed25519 key",
            key.display()
        )
    })?;
    let pair = CertifiedKey::new(chain, signing);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(Arc::new(pair)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(format!("{}: not the key of the certificate in {}", key.display(), certificate.display()))
        }
        Err(error) => Err(format!("{}: {error}", certificate.display())),
    }
}
