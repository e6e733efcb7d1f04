//! A TLS client that takes every server certificate and tells what it got, and certificates to test with.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::TLS12;
use rustls::{ALL_VERSIONS, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::Dialog;

/// The authority that has issued those below, but for [`STRANGER`].
pub const AUTHORITY: &str = include_str!("tls/ca.pem");
/// A server's ECDSA key, and its certificate for mail.example.com.
pub const ECDSA: &str = include_str!("tls/ecdsa.pem");
/// The same with RSA.
pub const RSA: &str = include_str!("tls/rsa.pem");
/// The same with Ed25519.
pub const ED25519: &str = include_str!("tls/ed25519.pem");
/// The same with ECDSA on P-521, made by itself.
pub const P521: &str = include_str!("tls/p521.pem");
/// Another key and certificate for mail.example.com.
pub const RENEWED: &str = include_str!("tls/renewed.pem");
/// A server's key and certificate for other.example.
pub const OTHER: &str = include_str!("tls/other.pem");
/// A client's key and certificate.
pub const CLIENT: &str = include_str!("tls/client.pem");
/// A client's key and certificate that it has made itself.
pub const STRANGER: &str = include_str!("tls/stranger.pem");

/// What a client brings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Visitor<'a> {
    /// Its key and certificate, in PEM format.
    pub certificate: Option<&'a str>,
    /// The name that it asks for.
    pub name: Option<&'a str>,
    /// It knows nothing newer than TLS 1.2.
    pub old: bool,
}

/// The stream of a connection under TLS.
pub type Secured = StreamOwned<ClientConnection, TcpStream>;

/// The handshake.
pub fn handshake(mut socket: TcpStream, visitor: Visitor<'_>) -> io::Result<Secured> {
    let config = config(visitor).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let name = match visitor.name {
        Some(name) => ServerName::try_from(name.to_owned()).map_err(io::Error::other)?,
        None => ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST)),
    };
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(tls, socket))
}

fn config(visitor: Visitor<'_>) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let anyone = Arc::new(Anyone(provider.signature_verification_algorithms.supported_schemes()));
    let versions = if visitor.old { &[&TLS12][..] } else { ALL_VERSIONS };
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(anyone);
    Ok(match visitor.certificate {
        Some(pem) => {
            let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pem.as_bytes())?)?
        }
        None => builder.with_no_client_auth(),
    })
}

/// The certificate that stands first in a PEM text.
pub fn first_certificate(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate").to_vec()
}

/// Takes every server certificate.
#[derive(Debug)]
struct Anyone(Vec<SignatureScheme>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// A [`Dialog`] under TLS.
#[derive(Debug)]
pub struct SecureDialog {
    reader: BufReader<Secured>,
}

impl SecureDialog {
    /// STARTTLS in a session that has begun.
    pub fn starttls(mut dialog: Dialog, visitor: Visitor<'_>) -> io::Result<Self> {
        let reply = dialog.command("STARTTLS")?;
        if !reply.starts_with("220") {
            return Err(io::Error::other(reply));
        }
        Self::over(dialog.stream().try_clone()?, visitor)
    }

    /// A connection that begins with TLS; the greeting isn't read.
    pub fn wrapped(port: u16, visitor: Visitor<'_>) -> io::Result<Self> {
        Self::over(Dialog::connect(port)?.stream().try_clone()?, visitor)
    }

    /// The handshake on a connection whose server waits for it.
    pub fn over(socket: TcpStream, visitor: Visitor<'_>) -> io::Result<Self> {
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { reader: BufReader::new(handshake(socket, visitor)?) })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)?;
        self.reader.get_mut().flush()
    }

    /// Sends a line and reads the reply.
    pub fn command(&mut self, line: &str) -> io::Result<String> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Reads a reply, its lines joined with `\n`; empty when the server has closed.
    pub fn reply(&mut self) -> io::Result<String> {
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            match self.reader.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(text),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(text),
                Err(error) => return Err(error),
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let more = line.as_bytes().get(3) == Some(&b'-');
            text += &line;
            if !more {
                return Ok(text);
            }
            text.push('\n');
        }
    }

    /// The server's certificate.
    pub fn certificate(&self) -> Vec<u8> {
        let chain = self.reader.get_ref().conn.peer_certificates().unwrap_or_default();
        chain.first().map(|certificate| certificate.to_vec()).unwrap_or_default()
    }

    /// `TLSv1_3`, and whether a session was resumed.
    pub fn version(&self) -> String {
        self.reader.get_ref().conn.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default()
    }
}
