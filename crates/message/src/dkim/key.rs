//! A key's record in the DNS (RFC 6376, section 3.6.1), and what a signature looks like under it.

use super::base64;
use super::tags::{Tags, elements};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

/// How a message is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rsa,
    Ed25519,
}

impl Algorithm {
    /// As `a=` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rsa => "rsa-sha256",
            Self::Ed25519 => "ed25519-sha256",
        }
    }
}

/// A public key.
#[derive(Debug)]
pub(super) struct Key {
    algorithm: Algorithm,
    octets: Vec<u8>,
    /// `t=s`: the identity is in the domain itself.
    pub strict: bool,
}

impl Key {
    /// Read a record; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let tags = Tags::parse(text).ok_or("the key record makes no sense")?;
        if tags.get("v").is_some() && tags.first() != Some(("v", "DKIM1")) {
            return Err("the key record is of another version");
        }
        let algorithm = match tags.get("k") {
            None | Some("rsa") => Algorithm::Rsa,
            Some("ed25519") => Algorithm::Ed25519,
            Some(_) => return Err("the key is of an unknown type"),
        };
        if tags.get("h").is_some_and(|hashes| elements(hashes).all(|hash| hash != "sha256")) {
            return Err("the key is not for sha256");
        }
        if tags.get("s").is_some_and(|services| elements(services).all(|it| it != "*" && it != "email")) {
            return Err("the key is not for mail");
        }
        let encoded = tags.get("p").ok_or("there is no key in the key record")?;
        let octets = base64::decode(encoded).ok_or("the key makes no sense")?;
        if octets.is_empty() {
            return Err("the key was revoked");
        }
        let octets = match algorithm {
            Algorithm::Rsa => rsa_key(&octets).ok_or("the key makes no sense")?.to_vec(),
            Algorithm::Ed25519 => octets,
        };
        let strict = tags.get("t").is_some_and(|flags| elements(flags).any(|flag| flag == "s"));
        Ok(Self { algorithm, octets, strict })
    }

    /// Is this the signature of this text? RSA keys have 1024 bits at least.
    pub fn verify(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> Result<(), &'static str> {
        if algorithm != self.algorithm {
            return Err("the key is of another type");
        }
        let fails = "the signature did not verify";
        match algorithm {
            Algorithm::Rsa => UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, &self.octets)
                .verify(text, signature)
                .map_err(|_| fails),
            Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.octets)
                .verify(digest(&SHA256, text).as_ref(), signature)
                .map_err(|_| fails),
        }
    }
}

/// The RSAPublicKey within a SubjectPublicKeyInfo; or the octets themselves, which some have there.
fn rsa_key(der: &[u8]) -> Option<&[u8]> {
    let (0x30, inner, []) = element(der)? else { return None };
    let (first, _, rest) = element(inner)?;
    match first {
        0x02 => Some(der),
        0x30 => match element(rest)? {
            (0x03, [0, key @ ..], []) => Some(key),
            _ => None,
        },
        _ => None,
    }
}

/// One element of DER: its tag, what is in it, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (inner, rest) = rest.split_at_checked(length)?;
    Some((tag, inner, rest))
}
