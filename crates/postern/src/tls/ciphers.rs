//! Cipher suites under OpenSSL's names, and the lists that exclude some.

use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::{CipherSuite, SupportedCipherSuite};

/// What there is to say about a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cipher {
    /// As OpenSSL calls it, and logs and `Received:` headers with it.
    pub(super) name: &'static str,
    /// Bits of the key.
    pub(super) bits: u32,
}

/// A suite by OpenSSL's name; `None` is one that isn't offered.
pub(super) fn cipher(suite: CipherSuite) -> Option<Cipher> {
    use CipherSuite as S;
    let (name, bits) = match suite {
        S::TLS13_AES_128_GCM_SHA256 => ("TLS_AES_128_GCM_SHA256", 128),
        S::TLS13_AES_256_GCM_SHA384 => ("TLS_AES_256_GCM_SHA384", 256),
        S::TLS13_CHACHA20_POLY1305_SHA256 => ("TLS_CHACHA20_POLY1305_SHA256", 256),
        S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => ("ECDHE-ECDSA-AES128-GCM-SHA256", 128),
        S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => ("ECDHE-ECDSA-AES256-GCM-SHA384", 256),
        S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => ("ECDHE-ECDSA-CHACHA20-POLY1305", 256),
        S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => ("ECDHE-RSA-AES128-GCM-SHA256", 128),
        S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => ("ECDHE-RSA-AES256-GCM-SHA384", 256),
        S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => ("ECDHE-RSA-CHACHA20-POLY1305", 256),
        _ => return None,
    };
    Some(Cipher { name, bits })
}

/// All suites but the excluded ones. As with OpenSSL, lists don't concern those of TLS 1.3.
pub(super) fn suites(excluded: &str) -> Vec<SupportedCipherSuite> {
    let words: Vec<&str> =
        excluded.split([' ', '\t', '\r', '\n', ',', ':', ';']).filter(|word| !word.is_empty()).collect();
    let is_excluded = |suite: &SupportedCipherSuite| {
        let Some(cipher) = cipher(suite.suite()) else { return true };
        !cipher.name.starts_with("TLS_") && words.iter().any(|word| is_meant(word, cipher))
    };
    ALL_CIPHER_SUITES.iter().filter(|suite| !is_excluded(suite)).copied().collect()
}

/// Does a word of a cipher list (`AES128`, `ECDHE+AESGCM`, a full name) mean this suite of TLS 1.2?
fn is_meant(word: &str, cipher: Cipher) -> bool {
    if word == cipher.name {
        return true;
    }
    let has = |part: &str| cipher.name.contains(part);
    word.split('+').all(|class| match class {
        "ALL" | "DEFAULT" | "HIGH" | "ECDHE" | "EECDH" | "kECDHE" | "kEECDH" | "TLSv1.2" => true,
        "aECDSA" | "ECDSA" => has("ECDSA"),
        "aRSA" => has("-RSA-"),
        "AES" => has("AES"),
        "AES128" => has("AES128"),
        "AES256" => has("AES256"),
        "AESGCM" => has("GCM"),
        "CHACHA20" => has("CHACHA20"),
        _ => false,
    })
}

/// Words that `smtpd_tls_ciphers` and its likes may have.
pub(super) const GRADES: [&str; 5] = ["high", "medium", "low", "export", "null"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_its_openssl_name() {
        for suite in ALL_CIPHER_SUITES {
            assert!(cipher(suite.suite()).is_some(), "{suite:?}");
        }
        assert_eq!(cipher(CipherSuite::TLS_RSA_WITH_AES_128_CBC_SHA), None);
    }

    #[test]
    fn lists_exclude() {
        let all = ALL_CIPHER_SUITES.len();
        for (list, gone) in [
            ("", 0),
            ("aNULL, MD5, DES, RC4 3DES", 0),
            ("CHACHA20", 2),
            ("AES128:AES256", 4),
            ("AESGCM", 4),
            ("aRSA", 3),
            ("ECDSA+CHACHA20", 1),
            ("ECDHE-RSA-AES128-GCM-SHA256", 1),
            ("TLS_AES_128_GCM_SHA256", 0),
            ("ECDHE", 6),
        ] {
            assert_eq!(all - suites(list).len(), gone, "{list}");
        }
    }
}
