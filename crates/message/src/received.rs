//! The `Received:` header that smtpd(8) puts above every message (RFC 5321 §4.4).

use crate::date::{Timestamp, write_date};
use std::fmt::{self, Write};

/// A key and its digest, as `smtpd_tls_received_header` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Algorithm (`RSA-PSS`, `ECDSA`).
    pub name: String,
    /// Curve, for keys that have one.
    pub curve: String,
    /// Size of the key in bits; printed when there is no curve.
    pub bits: u32,
    /// Digest (`SHA256`); none when empty.
    pub digest: String,
}

/// What is known of the client's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// None was asked for.
    #[default]
    NotRequested,
    /// None was sent.
    NotPresented,
    /// A certificate.
    Presented {
        /// Common name of the subject.
        subject_cn: String,
        /// Common name of the issuer.
        issuer_cn: String,
        /// The chain of trust is complete.
        verified: bool,
    },
    /// A raw public key, with its digest.
    RawKey(String),
}

/// The TLS session, for `smtpd_tls_received_header = yes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedTls {
    /// Protocol (`TLSv1.3`).
    pub protocol: String,
    /// Cipher.
    pub cipher: String,
    /// Key bits in use.
    pub used_bits: u32,
    /// Key bits of the algorithm.
    pub algorithm_bits: u32,
    /// Key exchange (`X25519`, `ECDHE`); none when empty.
    pub key_exchange: String,
    /// Its curve; none when empty.
    pub key_exchange_curve: String,
    /// The server's signature.
    pub server_signature: Option<Signature>,
    /// The client's signature.
    pub client_signature: Option<Signature>,
    /// The client's certificate.
    pub client: ClientCertificate,
}

/// Everything the header tells.
#[derive(Clone, Debug)]
pub struct ReceivedFacts<'a> {
    /// HELO or EHLO argument as the session keeps it; the client's name stands in for a missing one.
    pub helo: Option<&'a str>,
    /// Verified client name, or `unknown`.
    pub client_name: &'a str,
    /// Client address as text, with `IPv6:` before an IPv6 address; `unknown` when there is none.
    pub client_address: &'a str,
    /// `SMTP` or `ESMTP`.
    pub protocol: &'a str,
    /// SMTPUTF8 was requested: the protocol is `UTF8SMTP`.
    pub smtputf8: bool,
    /// The session is encrypted (`ESMTPS`).
    pub encrypted: bool,
    /// The client is authenticated (`ESMTPA`).
    pub authenticated: bool,
    /// Details of the session, with `smtpd_tls_received_header`.
    pub tls: Option<&'a ReceivedTls>,
    /// The login name, with `smtpd_sasl_authenticated_header`.
    pub sasl_username: Option<&'a str>,
    /// `myhostname`.
    pub my_hostname: &'a str,
    /// `mail_name`.
    pub mail_name: &'a str,
    /// The queue id; there is none before a proxy filter.
    pub queue_id: Option<&'a str>,
    /// The recipient as the client wrote it (external form), when there is exactly one.
    pub recipient: Option<&'a str>,
    /// When the message arrived.
    pub time: &'a Timestamp,
    /// `smtpd_hide_client_session`.
    pub hide_client_session: bool,
}

/// The header, in LF lines with tab continuation, each line ended.
pub fn received_header(facts: &ReceivedFacts<'_>) -> String {
    let mut header = String::with_capacity(256);
    let _ = write_header(&mut header, facts);
    header
}

fn write_header(out: &mut String, facts: &ReceivedFacts<'_>) -> fmt::Result {
    if facts.hide_client_session {
        write!(out, "Received: by {} ({})", facts.my_hostname, facts.mail_name)?;
    } else {
        let helo = facts.helo.unwrap_or(facts.client_name);
        writeln!(out, "Received: from {helo} ({} [{}])", facts.client_name, facts.client_address)?;
        if let Some(tls) = facts.tls {
            write_tls(out, tls)?;
        }
        if let Some(name) = facts.sasl_username {
            writeln!(out, "\t(Authenticated sender: {name})")?;
        }
        write!(out, "\tby {} ({}) with ", facts.my_hostname, facts.mail_name)?;
        write_protocol(out, facts)?;
    }
    if let Some(queue_id) = facts.queue_id {
        write!(out, " id {queue_id}")?;
    }
    match facts.recipient {
        Some(recipient) => write!(out, "\n\tfor <{recipient}>; ")?,
        None => out.push_str(";\n\t"),
    }
    write_date(out, facts.time)?;
    out.push('\n');
    Ok(())
}

fn write_protocol(out: &mut String, facts: &ReceivedFacts<'_>) -> fmt::Result {
    out.push_str(if facts.smtputf8 { "UTF8SMTP" } else { facts.protocol });
    if facts.protocol != "ESMTP" {
        return Ok(());
    }
    if facts.encrypted {
        out.push('S');
    }
    if facts.authenticated {
        out.push('A');
    }
    Ok(())
}

fn write_tls(out: &mut String, tls: &ReceivedTls) -> fmt::Result {
    let bits = (tls.used_bits, tls.algorithm_bits);
    write!(out, "\t(using {} with cipher {} ({}/{} bits)", tls.protocol, tls.cipher, bits.0, bits.1)?;
    if !tls.key_exchange.is_empty() {
        write!(out, "\n\t key-exchange {}", tls.key_exchange)?;
        if !tls.key_exchange_curve.is_empty() {
            write!(out, " ({})", tls.key_exchange_curve)?;
        }
        if let Some(signature) = &tls.server_signature {
            write_signature(out, " server", signature)?;
        }
        if let Some(signature) = &tls.client_signature {
            write_signature(out, "\n\t client", signature)?;
        }
    }
    out.push_str(")\n");
    match &tls.client {
        ClientCertificate::NotRequested => out.push_str("\t(No client certificate requested)\n"),
        ClientCertificate::NotPresented => out.push_str("\t(Client did not present a certificate)\n"),
        ClientCertificate::Presented { subject_cn, issuer_cn, verified } => {
            let verdict = if *verified { "verified OK" } else { "not verified" };
            writeln!(out, "\t(Client CN \"{subject_cn}\", Issuer \"{issuer_cn}\" ({verdict}))")?;
        }
        ClientCertificate::RawKey(digest) => writeln!(out, "\t(Client RPK digest {digest})")?,
    }
    Ok(())
}

fn write_signature(out: &mut String, whose: &str, signature: &Signature) -> fmt::Result {
    write!(out, "{whose}-signature {}", signature.name)?;
    if !signature.curve.is_empty() {
        write!(out, " ({})", signature.curve)?;
    } else if signature.bits > 0 {
        write!(out, " ({} bits)", signature.bits)?;
    }
    if signature.digest.is_empty() {
        return Ok(());
    }
    let side = whose.trim_start();
    write!(out, " {side}-digest {}", signature.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(time: &Timestamp) -> ReceivedFacts<'_> {
        ReceivedFacts {
            helo: Some("c.example"),
            client_name: "client.example.net",
            client_address: "192.0.2.10",
            protocol: "ESMTP",
            smtputf8: false,
            encrypted: false,
            authenticated: false,
            tls: None,
            sasl_username: None,
            my_hostname: "mail.example.com",
            mail_name: "Postfix",
            queue_id: Some("4cPx7K2Qz1zQ"),
            recipient: Some("u@example.com"),
            time,
            hide_client_session: false,
        }
    }

    const DATE: &str = "Sun, 22 Nov 2026 12:25:28 +0000 (UTC)";

    #[test]
    fn who_sent_what_to_whom() {
        let time = Timestamp::utc(1_795_350_328);
        let plain = facts(&time);
        let cases: [(ReceivedFacts<'_>, &str); 7] = [
            (
                plain.clone(),
                "Received: from c.example (client.example.net [192.0.2.10])\n\tby mail.example.com (Postfix) with ESMTP \
                 id 4cPx7K2Qz1zQ\n\tfor <u@example.com>; DATE\n",
            ),
            (
                ReceivedFacts { recipient: None, protocol: "SMTP", ..plain.clone() },
                "Received: from c.example (client.example.net [192.0.2.10])\n\tby mail.example.com (Postfix) with SMTP \
                 id 4cPx7K2Qz1zQ;\n\tDATE\n",
            ),
            (
                ReceivedFacts {
                    helo: None,
                    client_name: "unknown",
                    client_address: "IPv6:2001:db8::1",
                    queue_id: None,
                    ..plain.clone()
                },
                "Received: from unknown (unknown [IPv6:2001:db8::1])\n\tby mail.example.com (Postfix) with ESMTP\n\tfor \
                 <u@example.com>; DATE\n",
            ),
            (
                ReceivedFacts {
                    encrypted: true,
                    authenticated: true,
                    sasl_username: Some("user"),
                    mail_name: "Postern",
                    ..plain.clone()
                },
                "Received: from c.example (client.example.net [192.0.2.10])\n\t(Authenticated sender: user)\n\tby \
                 mail.example.com (Postern) with ESMTPSA id 4cPx7K2Qz1zQ\n\tfor <u@example.com>; DATE\n",
            ),
            (
                ReceivedFacts { smtputf8: true, encrypted: true, queue_id: None, recipient: None, ..plain.clone() },
                "Received: from c.example (client.example.net [192.0.2.10])\n\tby mail.example.com (Postfix) with \
                 UTF8SMTPS;\n\tDATE\n",
            ),
            (
                ReceivedFacts { hide_client_session: true, sasl_username: Some("user"), ..plain.clone() },
                "Received: by mail.example.com (Postfix) id 4cPx7K2Qz1zQ\n\tfor <u@example.com>; DATE\n",
            ),
            (
                ReceivedFacts { hide_client_session: true, recipient: None, ..plain.clone() },
                "Received: by mail.example.com (Postfix) id 4cPx7K2Qz1zQ;\n\tDATE\n",
            ),
        ];
        for (facts, want) in cases {
            assert_eq!(received_header(&facts), want.replace("DATE", DATE));
        }
    }

    #[test]
    fn the_tls_session_is_told_on_request() {
        let time = Timestamp::utc(1_795_350_328);
        let bare = ReceivedTls {
            protocol: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            used_bits: 256,
            algorithm_bits: 256,
            ..ReceivedTls::default()
        };
        let rsa = Signature { name: "RSA-PSS".into(), bits: 2048, digest: "SHA256".into(), ..Signature::default() };
        let ecdsa = Signature { name: "ECDSA".into(), curve: "P-256".into(), digest: "SHA384".into(), bits: 0 };
        let full = ReceivedTls {
            key_exchange: "ECDHE".into(),
            key_exchange_curve: "P-256".into(),
            server_signature: Some(rsa),
            client_signature: Some(ecdsa),
            client: ClientCertificate::Presented { subject_cn: "c".into(), issuer_cn: "ca".into(), verified: true },
            ..bare.clone()
        };
        for (tls, want) in [
            (
                &bare,
                "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n\t(No client certificate \
                 requested)\n\tby ",
            ),
            (
                &full,
                "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\n\t key-exchange ECDHE (P-256) \
                 server-signature RSA-PSS (2048 bits) server-digest SHA256\n\t client-signature ECDSA (P-256) \
                 client-digest SHA384)\n\t(Client CN \"c\", Issuer \"ca\" (verified OK))\n\tby ",
            ),
        ] {
            let header = received_header(&ReceivedFacts { tls: Some(tls), ..facts(&time) });
            let first = "Received: from c.example (client.example.net [192.0.2.10])\n";
            assert!(header.starts_with(&format!("{first}{want}")), "{header}");
        }
    }
}
