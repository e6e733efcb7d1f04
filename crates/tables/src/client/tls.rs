//! TLS towards servers of tables: whom to trust, who we are, and what is checked.

use super::attributes::Attributes;
use crate::watch::WatchedFile;
use config::Diagnostic;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What of a server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing: the connection is encrypted, to whomever.
    Nothing,
    /// Somebody who is trusted issued it.
    Issuer,
    /// That, and it is for the server's name.
    IssuerAndName,
}

/// The files of TLS, as attributes name them.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// Certificates of trusted authorities in one file.
    pub(super) ca_file: Option<PathBuf>,
    /// The same, a file each in a directory. The file takes precedence.
    pub(super) ca_directory: Option<PathBuf>,
    /// Our own certificate.
    pub(super) certificate: Option<PathBuf>,
    /// Its private key.
    pub(super) key: Option<PathBuf>,
}

impl Files {
    /// Those that are watched for changes.
    pub(super) fn watched(&self) -> impl Iterator<Item = WatchedFile> {
        [&self.ca_file, &self.certificate, &self.key].into_iter().flatten().map(WatchedFile::now)
    }

    /// Settings for connections.
    pub(super) fn config(&self, check: Check, attributes: &Attributes) -> Result<Arc<ClientConfig>, Diagnostic> {
        self.build(check).map_err(|text| {
            let help = "name readable files with certificates, or a key, in PEM format";
            attributes.diagnostic("table-tls", text, help)
        })
    }

    fn build(&self, check: Check) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = self.verifier(check, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match self.identity()? {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?,
        };
        Ok(Arc::new(config))
    }

    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
        match (&self.certificate, &self.key) {
            (None, None) => Ok(None),
            (Some(certificate), key) => {
                // A key may stand in the file of its certificate.
                let key = key.as_ref().unwrap_or(certificate);
                let private = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .map_err(|error| format!("{}: no private key: {error:?}", key.display()))?;
                Ok(Some((certificates(certificate)?, private)))
            }
            (None, Some(key)) => Err(format!("{}: a key without a certificate", key.display())),
        }
    }

    fn verifier(&self, check: Check, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
        if check == Check::Nothing {
            return Ok(Arc::new(Lenient { webpki: None, provider: provider.clone() }));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.authorities()?);
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| format!("no trusted authorities: {error}"))?;
        Ok(match check {
            Check::IssuerAndName => webpki,
            _ => Arc::new(Lenient { webpki: Some(webpki), provider: provider.clone() }),
        })
    }

    /// Certificates of those whom we trust: those named, else the system's.
    pub(super) fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        match (&self.ca_file, &self.ca_directory) {
            (Some(file), _) => certificates(file),
            (None, Some(directory)) => in_directory(directory),
            (None, None) => Ok(rustls_native_certs::load_native_certs().certs),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("open {}: {}", path.display(), crate::open::io_text(&error)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{}: no certificate in it", path.display())),
        Err(error) => Err(format!("{}: {error:?}", path.display())),
    }
}

/// Every certificate in the files of a directory; other files are passed over.
fn in_directory(directory: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let entries = std::fs::read_dir(directory)
        .map_err(|error| format!("open {}: {}", directory.display(), crate::open::io_text(&error)))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    Ok(paths.iter().flat_map(|path| certificates(path).unwrap_or_default()).collect())
}

/// Checks less than a browser would.
#[derive(Debug)]
struct Lenient {
    /// `None`: any certificate will do.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(webpki) = &self.webpki else { return Ok(ServerCertVerified::assertion()) };
        match webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
