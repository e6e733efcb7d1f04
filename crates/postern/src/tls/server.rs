//! The settings of a service, ready for handshakes.

use super::certificate::{self, Authorities, Digest};
use super::ciphers::cipher;
use super::keys::{self, Keys};
use super::summary::{Handshaken, TlsSession};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{Accepted, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, DigitallySignedStruct, DistinguishedName, ServerConfig, ServerConnection, SignatureScheme};
use smtp::server::Handshake;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Chains of `tls_server_sni_maps` that are kept ready.
const KEPT_CHAINS: usize = 1000;

/// TLS as one service does it.
pub struct TlsServer {
    pub(super) config: Arc<ServerConfig>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static rustls::SupportedProtocolVersion>,
    pub(super) keys: Keys,
    /// `smtpd_tls_ask_ccert`, and whom to trust.
    pub(super) authorities: Option<Arc<Authorities>>,
    /// `smtpd_tls_req_ccert`, where TLS is mandatory.
    pub(super) requires_certificate: bool,
    pub(super) digest: Digest,
    /// `smtpd_tls_loglevel`.
    pub log_level: u32,
    /// `smtpd_starttls_timeout`.
    pub timeout: Duration,
    /// `tls_server_sni_maps`: tables, and whether their values are files (else base64).
    pub sni_maps: Vec<(u32, bool)>,
    pub(super) chains: Mutex<HashMap<Arc<str>, Keys>>,
}

/// What one client is offered, and what is to be remembered until the handshake is over.
pub struct Offer {
    key: Option<Arc<CertifiedKey>>,
    schemes: Vec<SignatureScheme>,
    client_scheme: Arc<OnceLock<SignatureScheme>>,
    sni: String,
}

impl TlsServer {
    /// The keys of a value in `tls_server_sni_maps`: names of files, or their content in base64.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn chain(&self, value: &Arc<str>, is_files: bool) -> Result<Keys, String> {
        let mut known = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = known.get(value) {
            return Ok(keys.clone());
        }
        let keys = if is_files {
            let paths: Vec<PathBuf> =
                config::list::words(value).unwrap_or_default().iter().map(PathBuf::from).collect();
            keys::from_files(&paths)?
        } else {
            let text = decode(value).ok_or("the value is not base64: build the table with postmap -F")?;
            keys::from_text(&text, Path::new("tls_server_sni_maps"))?
        };
        if known.len() >= KEPT_CHAINS {
            known.clear();
        }
        known.insert(Arc::clone(value), keys.clone());
        Ok(keys)
    }

    /// Go on with a client that has said hello, with the keys of the name that it asked for, or the usual ones.
    ///
    /// # Errors
    /// What is wrong, and what is to be sent to the client.
    pub fn connect(
        &self,
        accepted: Accepted,
        named: Option<(String, Keys)>,
    ) -> Result<(ServerConnection, Offer), (rustls::Error, rustls::server::AcceptedAlert)> {
        let hello = accepted.client_hello();
        let (sni, keys) = named.unwrap_or_else(|| (String::new(), self.keys.clone()));
        let key = choose(&keys, &hello);
        let schemes = hello.signature_schemes().to_vec();
        let client_scheme = Arc::new(OnceLock::new());
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::new(Chosen(key.clone()));
        let config = match &self.authorities {
            None => config,
            Some(authorities) => self.asking(config, authorities, &client_scheme),
        };
        let connection = accepted.into_connection(Arc::new(config))?;
        Ok((connection, Offer { key, schemes, client_scheme, sni }))
    }

    /// The same settings, with a question for the client's certificate.
    fn asking(
        &self,
        config: ServerConfig,
        authorities: &Arc<Authorities>,
        scheme: &Arc<OnceLock<SignatureScheme>>,
    ) -> ServerConfig {
        let verifier = AnyCertificate {
            authorities: Arc::clone(authorities),
            provider: Arc::clone(&self.provider),
            scheme: Arc::clone(scheme),
        };
        let Ok(builder) =
            ServerConfig::builder_with_provider(Arc::clone(&self.provider)).with_protocol_versions(&self.versions)
        else {
            return config;
        };
        let mut asking =
            builder.with_client_cert_verifier(Arc::new(verifier)).with_cert_resolver(Arc::clone(&config.cert_resolver));
        asking.ignore_client_order = config.ignore_client_order;
        asking.ticketer = Arc::clone(&config.ticketer);
        asking.session_storage = Arc::clone(&config.session_storage);
        asking
    }

    /// The handshake is over: what has come of it, and whether the client may stay.
    pub fn established(&self, connection: &ServerConnection, offer: &Offer) -> (TlsSession, Handshake) {
        let chain = connection.peer_certificates().unwrap_or_default();
        let authorities = self.authorities.as_deref();
        let peer = authorities.and_then(|it| certificate::peer(chain, self.digest, it, UnixTime::now()));
        let handshake = match &peer {
            _ if !self.requires_certificate => Handshake::Established,
            None => Handshake::Unwanted("No client certificate presented"),
            Some(peer) if !peer.is_trusted => Handshake::Unwanted("Client certificate not trusted"),
            Some(_) => Handshake::Established,
        };
        let handshaken = Handshaken {
            key: offer.key.as_deref(),
            schemes: &offer.schemes,
            client_scheme: offer.client_scheme.get().copied(),
            asked: authorities.is_some(),
        };
        (TlsSession::new(connection, &handshaken, offer.sni.clone(), peer), handshake)
    }
}

/// Base64, without line ends or with them.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// The first key that the client can do with; those for ECDSA and Ed25519 cost less, and come first.
fn choose(keys: &Keys, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
    // Suites of TLS 1.3 go with any key.
    let takes_any = hello.cipher_suites().iter().any(|suite: &CipherSuite| {
        cipher(*suite).is_some_and(|cipher| cipher.name.starts_with("TLS_") || cipher.name.contains("ECDSA"))
    });
    let suits = |key: &&Arc<CertifiedKey>| {
        let is_rsa = key.key.algorithm() == rustls::SignatureAlgorithm::RSA;
        (is_rsa || takes_any) && key.key.choose_scheme(hello.signature_schemes()).is_some()
    };
    keys.iter().find(suits).or(keys.first()).cloned()
}

/// The key was chosen when the client had said hello.
#[derive(Debug, Default)]
pub(super) struct Chosen(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

/// As in Postfix, a client may show any certificate, as long as it has the key: what it is worth is seen later.
#[derive(Debug)]
struct AnyCertificate {
    authorities: Arc<Authorities>,
    provider: Arc<CryptoProvider>,
    scheme: Arc<OnceLock<SignatureScheme>>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.hints()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let _ = self.scheme.set(signed.scheme);
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_postmap_writes_it() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("LS0tLS1CRUdJTg==", Some(b"-----BEGIN")),
            ("LS0t\nLS1CRUdJTg==\n", Some(b"-----BEGIN")),
            ("/+8=", Some(&[0xff, 0xef])),
            ("/etc/postfix/key.pem", None),
        ] {
            assert_eq!(decode(text).as_deref(), bytes, "{text}");
        }
    }
}
