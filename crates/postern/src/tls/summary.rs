//! A session under TLS, as logs, `Received:` headers and policy tell of it.

use super::certificate::{PeerCertificate, kind_of};
use super::ciphers;
use message::received::{ClientCertificate, ReceivedTls, Signature};
use rustls::sign::CertifiedKey;
use rustls::{NamedGroup, ProtocolVersion, ServerConnection, SignatureScheme};
use std::fmt::Write;

/// What has been agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSession {
    /// All that a `Received:` header has.
    pub received: ReceivedTls,
    /// The name that the client asked for, if `tls_server_sni_maps` has it.
    pub sni: String,
    /// The client's certificate.
    pub certificate: Option<PeerCertificate>,
}

/// What the connection itself doesn't tell.
pub(super) struct Handshaken<'a> {
    /// The key that was used.
    pub(super) key: Option<&'a CertifiedKey>,
    /// Signatures that the client takes.
    pub(super) schemes: &'a [SignatureScheme],
    /// How the client has signed.
    pub(super) client_scheme: Option<SignatureScheme>,
    /// Was a certificate asked for?
    pub(super) asked: bool,
}

impl TlsSession {
    pub(super) fn new(
        connection: &ServerConnection,
        handshaken: &Handshaken<'_>,
        sni: String,
        certificate: Option<PeerCertificate>,
    ) -> Self {
        let version = connection.protocol_version();
        let cipher = connection.negotiated_cipher_suite().and_then(|suite| ciphers::cipher(suite.suite()));
        let (name, bits) = cipher.map_or(("unknown", 0), |cipher| (cipher.name, cipher.bits));
        let mut received = ReceivedTls {
            protocol: if version == Some(ProtocolVersion::TLSv1_3) { "TLSv1.3" } else { "TLSv1.2" }.to_owned(),
            cipher: name.to_owned(),
            used_bits: bits,
            algorithm_bits: bits,
            client: client(certificate.as_ref(), handshaken.asked),
            ..ReceivedTls::default()
        };
        // With TLS 1.2, the name of the cipher tells.
        if version == Some(ProtocolVersion::TLSv1_3) {
            let group = connection.negotiated_key_exchange_group().map(|group| group.name());
            (received.key_exchange, received.key_exchange_curve) = key_exchange(group);
            let full = !matches!(connection.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
            if full {
                received.server_signature = server_signature(handshaken);
                let key = certificate.as_ref().map(|it| (it.key.curve.clone(), it.key.bits)).unwrap_or_default();
                received.client_signature = handshaken.client_scheme.map(|scheme| signature(scheme, key));
            }
        }
        Self { received, sni, certificate }
    }

    /// As restrictions see it.
    pub fn facts(&self) -> policy::Tls {
        policy::Tls {
            protocol: self.received.protocol.clone(),
            cipher: self.received.cipher.clone(),
            bits: self.received.used_bits,
            sni: self.sni.clone(),
            certificate: self.certificate.as_ref().map(|certificate| policy::Certificate {
                subject_cn: certificate.subject_cn.clone(),
                issuer_cn: certificate.issuer_cn.clone(),
                fingerprint: certificate.fingerprint.clone(),
                public_key_fingerprint: certificate.public_key_fingerprint.clone(),
                is_trusted: certificate.is_trusted,
            }),
        }
    }

    /// `Anonymous TLS connection established from …` and its likes.
    pub fn log_line(&self, client: &str) -> String {
        let word = match &self.certificate {
            None => "Anonymous",
            Some(certificate) if certificate.is_trusted => "Trusted",
            Some(_) => "Untrusted",
        };
        let tls = &self.received;
        let mut line = format!("{word} TLS connection established from {client}");
        if !self.sni.is_empty() {
            let _ = write!(line, " to {}", self.sni);
        }
        let bits = (tls.used_bits, tls.algorithm_bits);
        let _ = write!(line, ": {} with cipher {} ({}/{} bits)", tls.protocol, tls.cipher, bits.0, bits.1);
        if !tls.key_exchange.is_empty() {
            let _ = write!(line, " key-exchange {}", tls.key_exchange);
            if !tls.key_exchange_curve.is_empty() {
                let _ = write!(line, " ({})", tls.key_exchange_curve);
            }
        }
        for (whose, signature) in [("server", &tls.server_signature), ("client", &tls.client_signature)] {
            let Some(signature) = signature else { continue };
            let _ = write!(line, " {whose}-signature {}", signature.name);
            if !signature.curve.is_empty() {
                let _ = write!(line, " ({})", signature.curve);
            } else if signature.bits > 0 {
                let _ = write!(line, " ({} bits)", signature.bits);
            }
            if !signature.digest.is_empty() {
                let _ = write!(line, " {whose}-digest {}", signature.digest);
            }
        }
        line
    }
}

fn client(certificate: Option<&PeerCertificate>, asked: bool) -> ClientCertificate {
    match certificate {
        Some(certificate) => ClientCertificate::Presented {
            subject_cn: certificate.subject_cn.clone(),
            issuer_cn: certificate.issuer_cn.clone(),
            verified: certificate.is_trusted,
        },
        None if asked => ClientCertificate::NotPresented,
        None => ClientCertificate::NotRequested,
    }
}

fn key_exchange(group: Option<NamedGroup>) -> (String, String) {
    let (name, curve) = match group {
        Some(NamedGroup::X25519) => ("X25519", ""),
        Some(NamedGroup::secp256r1) => ("ECDHE", "prime256v1"),
        Some(NamedGroup::secp384r1) => ("ECDHE", "secp384r1"),
        _ => ("", ""),
    };
    (name.to_owned(), curve.to_owned())
}

/// The library doesn't tell how it has signed, but it chooses by a rule.
fn server_signature(handshaken: &Handshaken<'_>) -> Option<Signature> {
    let is_pkcs1 = |scheme: &SignatureScheme| {
        use SignatureScheme as S;
        matches!(*scheme, S::RSA_PKCS1_SHA1 | S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512)
    };
    let schemes: Vec<_> = handshaken.schemes.iter().filter(|scheme| !is_pkcs1(scheme)).copied().collect();
    let key = handshaken.key?;
    let scheme = key.key.choose_scheme(&schemes)?.scheme();
    let kind = key.cert.first().map(kind_of).unwrap_or_default();
    Some(signature(scheme, (kind.curve, kind.bits)))
}

fn signature(scheme: SignatureScheme, (curve, bits): (String, u32)) -> Signature {
    use SignatureScheme as S;
    let digest = match scheme {
        S::RSA_PSS_SHA256 | S::RSA_PKCS1_SHA256 | S::ECDSA_NISTP256_SHA256 => "SHA256",
        S::RSA_PSS_SHA384 | S::RSA_PKCS1_SHA384 | S::ECDSA_NISTP384_SHA384 => "SHA384",
        S::RSA_PSS_SHA512 | S::RSA_PKCS1_SHA512 | S::ECDSA_NISTP521_SHA512 => "SHA512",
        _ => "",
    };
    let name = match scheme {
        S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512 => "ECDSA",
        S::ED25519 => "Ed25519",
        _ => "RSA-PSS",
    };
    Signature { name: name.to_owned(), curve, bits, digest: digest.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines() {
        let received = ReceivedTls {
            protocol: "TLSv1.3".to_owned(),
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            used_bits: 256,
            algorithm_bits: 256,
            key_exchange: "ECDHE".to_owned(),
            key_exchange_curve: "prime256v1".to_owned(),
            server_signature: Some(signature(SignatureScheme::RSA_PSS_SHA256, (String::new(), 2048))),
            client_signature: Some(signature(SignatureScheme::ECDSA_NISTP256_SHA256, ("prime256v1".to_owned(), 0))),
            ..ReceivedTls::default()
        };
        let mut session = TlsSession { received, sni: String::new(), certificate: None };
        assert_eq!(
            session.log_line("a[192.0.2.1]"),
            "Anonymous TLS connection established from a[192.0.2.1]: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 \
             (256/256 bits) key-exchange ECDHE (prime256v1) server-signature RSA-PSS (2048 bits) server-digest SHA256 \
             client-signature ECDSA (prime256v1) client-digest SHA256"
        );
        session.received = ReceivedTls {
            protocol: "TLSv1.2".to_owned(),
            cipher: "ECDHE-RSA-AES128-GCM-SHA256".to_owned(),
            used_bits: 128,
            algorithm_bits: 128,
            ..ReceivedTls::default()
        };
        for (is_trusted, sni, want) in [
            (true, "", "Trusted TLS connection established from x[::1]: TLSv1.2 with cipher "),
            (
                false,
                "mx.example.com",
                "Untrusted TLS connection established from x[::1] to mx.example.com: TLSv1.2 with cipher ",
            ),
        ] {
            session.sni = sni.to_owned();
            session.certificate = Some(PeerCertificate { is_trusted, ..PeerCertificate::default() });
            assert_eq!(session.log_line("x[::1]"), format!("{want}ECDHE-RSA-AES128-GCM-SHA256 (128/128 bits)"));
        }
    }
}
