//! Certificates of clients: their names, their fingerprints, and whether somebody who is trusted has issued them.

use aws_lc_rs::digest;
use md5::Md5;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{DistinguishedName, RootCertStore};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

/// What is known of a client by its certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Common name of the subject.
    pub subject_cn: String,
    /// Common name of the issuer, or its organization.
    pub issuer_cn: String,
    /// Fingerprint of the certificate: `12:AB:…`.
    pub fingerprint: String,
    /// Fingerprint of its public key.
    pub public_key_fingerprint: String,
    /// Has somebody who is trusted issued it?
    pub is_trusted: bool,
    /// The kind of its key.
    pub(super) key: KeyKind,
}

/// A public key, as logs tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyKind {
    /// OpenSSL's name of the curve; empty for other keys.
    pub(super) curve: String,
    /// Size in bits, for RSA.
    pub(super) bits: u32,
}

/// `smtpd_tls_fingerprint_digest`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Digest {
    Md5,
    Other(&'static digest::Algorithm),
}

impl Digest {
    /// By its OpenSSL name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "md5" => Self::Md5,
            "sha1" => Self::Other(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            "sha256" => Self::Other(&digest::SHA256),
            "sha384" => Self::Other(&digest::SHA384),
            "sha512" => Self::Other(&digest::SHA512),
            _ => return None,
        })
    }

    /// `12:AB:…`
    pub(super) fn fingerprint(self, bytes: &[u8]) -> String {
        let hash = match self {
            Self::Md5 => <Md5 as md5::Digest>::digest(bytes).to_vec(),
            Self::Other(algorithm) => digest::digest(algorithm, bytes).as_ref().to_vec(),
        };
        let mut text = String::with_capacity(hash.len() * 3);
        for (index, byte) in hash.iter().enumerate() {
            let _ = write!(text, "{}{byte:02X}", if index > 0 { ":" } else { "" });
        }
        text
    }
}

/// Whose certificates are trusted: `smtpd_tls_CAfile` and `smtpd_tls_CApath`.
#[derive(Debug)]
pub(super) struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// `tls_trust_server_ccerts`.
    takes_server_certificates: bool,
    /// The names that clients are told.
    hints: Vec<DistinguishedName>,
}

impl Authorities {
    /// Read them. What is wrong with a file or directory is the error's text.
    pub(super) fn read(
        file: Option<&Path>,
        directory: Option<&Path>,
        system: bool,
        provider: &Arc<CryptoProvider>,
        takes_server_certificates: bool,
    ) -> Result<Self, String> {
        let mut certificates = Vec::new();
        if let Some(file) = file {
            certificates.extend(from_file(file)?);
        }
        // As with OpenSSL, only those of the file are named to clients.
        let mut named = RootCertStore::empty();
        named.add_parsable_certificates(certificates.iter().cloned());
        if let Some(directory) = directory {
            certificates.extend(from_directory(directory)?);
        }
        if system {
            certificates.extend(rustls_native_certs::load_native_certs().certs);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build();
        Ok(Self {
            certificates,
            roots,
            verifier: verifier.ok(),
            algorithms: provider.signature_verification_algorithms,
            takes_server_certificates,
            hints: named.subjects(),
        })
    }

    /// Names for the handshake's question.
    pub(super) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn trust(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let Some((leaf, rest)) = chain.split_first() else { return false };
        if self.certificates.iter().any(|known| known.as_ref() == leaf.as_ref()) {
            return is_current(leaf, now);
        }
        let is_clients = || self.verifier.as_ref().is_some_and(|it| it.verify_client_cert(leaf, rest, now).is_ok());
        let is_servers = || {
            self.takes_server_certificates
                && rustls::server::ParsedCertificate::try_from(leaf).is_ok_and(|leaf| {
                    let all = self.algorithms.all;
                    verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, rest, now, all).is_ok()
                })
        };
        is_clients() || is_servers()
    }
}

/// Has its time come, and not passed?
fn is_current(certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let now = i64::try_from(now.as_secs()).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
    now.is_some_and(|now| parsed.validity().is_valid_at(now))
}

fn from_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{}: no certificate in it", path.display())),
        Err(_) => Err(format!("{}: not in PEM format", path.display())),
    }
}

/// All certificates in the files of a directory; other files are passed over.
fn from_directory(directory: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let entries = std::fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    Ok(files.flat_map(|path| from_file(&path).unwrap_or_default()).collect())
}

/// What is known of a client that has sent this chain. A certificate that can't be read has no names, but fingerprints.
pub(super) fn peer(
    chain: &[CertificateDer<'_>],
    digest: Digest,
    authorities: &Authorities,
    now: UnixTime,
) -> Option<PeerCertificate> {
    let leaf = chain.first()?;
    let mut peer = PeerCertificate {
        fingerprint: digest.fingerprint(leaf),
        is_trusted: authorities.trust(chain, now),
        ..PeerCertificate::default()
    };
    if let Ok((_, parsed)) = X509Certificate::from_der(leaf) {
        peer.subject_cn = common_name(parsed.subject()).unwrap_or_default();
        peer.issuer_cn = common_name(parsed.issuer()).or_else(|| organization(parsed.issuer())).unwrap_or_default();
        peer.public_key_fingerprint = digest.fingerprint(parsed.public_key().raw);
        peer.key = key_kind(parsed.public_key());
    }
    Some(peer)
}

/// The kind of key in a certificate.
pub(super) fn kind_of(certificate: &CertificateDer<'_>) -> KeyKind {
    X509Certificate::from_der(certificate).map(|(_, parsed)| key_kind(parsed.public_key())).unwrap_or_default()
}

fn key_kind(key: &SubjectPublicKeyInfo<'_>) -> KeyKind {
    let bits = match key.parsed() {
        Ok(PublicKey::RSA(key)) => u32::try_from(key.key_size()).unwrap_or(0),
        _ => 0,
    };
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let curve = match curve.map(|oid| oid.to_id_string()).as_deref() {
        Some("1.2.840.10045.3.1.7") => "prime256v1",
        Some("1.3.132.0.34") => "secp384r1",
        Some("1.3.132.0.35") => "secp521r1",
        _ => "",
    };
    KeyKind { curve: curve.to_owned(), bits }
}

/// Names may hold anything: for log lines and headers, printable characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().next().and_then(|it| it.as_str().ok()).map(printable)
}

fn organization(name: &X509Name<'_>) -> Option<String> {
    name.iter_organization().next().and_then(|it| it.as_str().ok()).map(printable)
}
