//! What a password table says of an account: a hash, or SCRAM's keys. Passwords as they are, are refused.

use crate::base64;
use argon2::{Argon2, PasswordHash, PasswordVerifier};
use aws_lc_rs::{digest, hmac, pbkdf2};
use sha_crypt::ShaCrypt;
use std::num::NonZeroU32;
use yescrypt::Yescrypt;

/// What one look at a hash may cost at most: a table must not stop the server. MiB of Argon2, its passes times MiB,
/// bcrypt's cost, rounds of SHA-crypt, bytes of yescrypt, iterations of SCRAM.
const ARGON2_MEMORY: u32 = 1 << 20;
const ARGON2_WORK: u64 = 4 << 20;
const BCRYPT_COST: u32 = 16;
const SHA_ROUNDS: u32 = 5_000_000;
const YESCRYPT_MEMORY: u64 = 256 << 20;
const SCRAM_ITERATIONS: u32 = 2_000_000;

/// What `doveadm pw -s ARGON2ID` makes; never anybody's.
const DECOY: &str = "$argon2id$v=19$m=65536,t=3,p=1$H9bK4+1JXAyoybYcv8WEcg$wb3BGTECs2TTkv3owZtyz/3UKKl3VuIwBxSFG9KmjzU";

/// A value of `postern_sasl_password_maps`.
#[derive(Clone, PartialEq, Eq)]
pub enum Stored {
    /// `$argon2id$…`, `$argon2i$…`.
    Argon2(String),
    /// `$2b$…` and its like.
    Bcrypt(String),
    /// `$5$…`, `$6$…` of crypt(3).
    ShaCrypt(String),
    /// `$y$…` of crypt(3), which Debian's passwd(1) makes.
    Yescrypt(String),
    /// SCRAM-SHA-256.
    Scram(ScramKeys),
}

/// What SCRAM keeps instead of a password (RFC 5802 section 3).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// How often the password is hashed.
    pub iterations: u32,
    /// With what.
    pub salt: Vec<u8>,
    /// For knowing the client.
    pub stored_key: [u8; 32],
    /// For being known to the client.
    pub server_key: [u8; 32],
}

impl Stored {
    /// A table's value.
    ///
    /// # Errors
    /// Why it is no good, without showing it.
    pub fn parse(value: &str) -> Result<Self, &'static str> {
        let value = value.trim();
        if let Some(keys) = value.strip_prefix("SCRAM-SHA-256$") {
            return ScramKeys::of_rfc5803(keys).map(Self::Scram).ok_or("malformed SCRAM-SHA-256 keys");
        }
        let (scheme, hash) = match value.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((scheme, hash)) => (scheme.to_ascii_uppercase(), hash),
            None => (String::new(), value),
        };
        let hash_of = |prefixes: &[&str]| prefixes.iter().any(|prefix| hash.starts_with(prefix));
        match scheme.as_str() {
            "SCRAM-SHA-256" => ScramKeys::of_dovecot(hash).map(Self::Scram).ok_or("malformed SCRAM-SHA-256 keys"),
            "PLAIN" | "CLEAR" | "CLEARTEXT" => Err("a password as it is, not a hash"),
            "" | "CRYPT" | "ARGON2ID" | "ARGON2I" if hash_of(&["$argon2id$", "$argon2i$"]) => argon2(hash),
            "" | "CRYPT" | "BLF-CRYPT" if hash_of(&["$2a$", "$2b$", "$2x$", "$2y$"]) => bcrypt(hash),
            "" | "CRYPT" | "SHA256-CRYPT" if hash_of(&["$5$"]) => sha_crypt(hash),
            "" | "CRYPT" | "SHA512-CRYPT" if hash_of(&["$6$"]) => sha_crypt(hash),
            "" | "CRYPT" if hash_of(&["$y$"]) => yescrypt(hash),
            "" | "CRYPT" if hash_of(&["$7$", "$gy$"]) => Err("an scrypt or gost-yescrypt hash, which is not supported"),
            "" if !hash.starts_with('$') => Err("not a password hash"),
            _ => Err("a password hash of a kind that is not supported"),
        }
    }

    /// The costly look: is it this password?
    pub fn is(&self, password: &[u8]) -> bool {
        match self {
            Self::Argon2(hash) => {
                PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
            }
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::ShaCrypt(hash) => ShaCrypt::default().verify_password(password, hash.as_str()).is_ok(),
            Self::Yescrypt(hash) => Yescrypt::default().verify_password(password, hash.as_str()).is_ok(),
            Self::Scram(keys) => keys.is(password),
        }
    }

    /// One that costs as much as a usual one.
    pub fn decoy() -> Self {
        Self::Argon2(DECOY.to_owned())
    }
}

fn argon2(hash: &str) -> Result<Stored, &'static str> {
    const MALFORMED: &str = "malformed Argon2 hash";
    let parsed = PasswordHash::new(hash).map_err(|_| MALFORMED)?;
    let parameter = |name: &str| parsed.params.get_decimal(name);
    let (memory, passes) = (parameter("m").ok_or(MALFORMED)?, parameter("t").ok_or(MALFORMED)?);
    if parsed.hash.is_none() || parsed.salt.is_none() {
        return Err(MALFORMED);
    }
    if memory > ARGON2_MEMORY || u64::from(memory) * u64::from(passes) > ARGON2_WORK {
        return Err("an Argon2 hash that costs too much");
    }
    Ok(Stored::Argon2(hash.to_owned()))
}

fn bcrypt(hash: &str) -> Result<Stored, &'static str> {
    const MALFORMED: &str = "malformed bcrypt hash";
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| MALFORMED)?;
    match parts.get_cost() {
        ..=BCRYPT_COST => Ok(Stored::Bcrypt(hash.to_owned())),
        _ => Err("a bcrypt hash that costs too much"),
    }
}

fn sha_crypt(hash: &str) -> Result<Stored, &'static str> {
    const MALFORMED: &str = "malformed SHA-crypt hash";
    let mut fields = hash.split('$').skip(2);
    let mut next = || fields.next().filter(|field| !field.is_empty()).ok_or(MALFORMED);
    let mut field = next()?;
    if let Some(rounds) = field.strip_prefix("rounds=") {
        match rounds.parse() {
            Ok(..=SHA_ROUNDS) => {}
            Ok(_) => return Err("a SHA-crypt hash that costs too much"),
            Err(_) => return Err(MALFORMED),
        }
        field = next()?;
    }
    let length = if hash.starts_with("$5$") { 43 } else { 86 };
    if field.len() > 16 || next()?.len() != length || fields.next().is_some() {
        return Err(MALFORMED);
    }
    Ok(Stored::ShaCrypt(hash.to_owned()))
}

/// `$y$parameters$salt$hash`, with what crypt(3) chooses: only memory and block size differ.
fn yescrypt(hash: &str) -> Result<Stored, &'static str> {
    const MALFORMED: &str = "malformed yescrypt hash";
    let fields: Vec<&str> = hash.split('$').skip(2).collect();
    let &[parameters, salt, key] = fields.as_slice() else { return Err(MALFORMED) };
    let is_text = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/'));
    if parameters.len() > 8
        || salt.is_empty()
        || salt.len() > 86
        || key.len() != 43
        || !fields.iter().all(|f| is_text(f))
    {
        return Err(MALFORMED);
    }
    let parsed: yescrypt::Params = parameters.parse().map_err(|_| MALFORMED)?;
    let plain = yescrypt::Params::new(yescrypt::Mode::default(), parsed.n(), parsed.r(), 1);
    if plain != Ok(parsed) {
        return Err("a yescrypt hash with parameters that are not supported");
    }
    match parsed.n().checked_mul(128 * u64::from(parsed.r())) {
        Some(..=YESCRYPT_MEMORY) => Ok(Stored::Yescrypt(hash.to_owned())),
        _ => Err("a yescrypt hash that costs too much"),
    }
}

impl ScramKeys {
    /// `iterations:salt$stored:server` (RFC 5803).
    fn of_rfc5803(text: &str) -> Option<Self> {
        let (cost, keys) = text.split_once('$')?;
        let ((iterations, salt), (stored, server)) = (cost.split_once(':')?, keys.split_once(':')?);
        Self::of_words([iterations, salt, stored, server])
    }

    /// `iterations,salt,stored,server`, as Dovecot and GNU SASL write it.
    fn of_dovecot(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(',').collect();
        Self::of_words(words.try_into().ok()?)
    }

    fn of_words([iterations, salt, stored, server]: [&str; 4]) -> Option<Self> {
        let iterations = iterations.parse().ok().filter(|count| (1..=SCRAM_ITERATIONS).contains(count))?;
        let key = |text: &str| base64::decode(text.as_bytes())?.try_into().ok();
        let salt = base64::decode(salt.as_bytes()).filter(|salt| !salt.is_empty())?;
        Some(Self { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }

    fn is(&self, password: &[u8]) -> bool {
        let Some(iterations) = NonZeroU32::new(self.iterations) else { return false };
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &self.salt, password, &mut salted);
        let client_key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), b"Client Key");
        super::is_same(digest::digest(&digest::SHA256, client_key.as_ref()).as_ref(), &self.stored_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All made from `secret`, by doveadm(1), gsasl(1) and crypt(3).
    const HASHES: [&str; 12] = [
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$H9bK4+1JXAyoybYcv8WEcg$wb3BGTECs2TTkv3owZtyz/3UKKl3VuIwBxSFG9KmjzU",
        "{ARGON2I}$argon2i$v=19$m=32768,t=3,p=1$12qEVHq8hdvt4FfGQpKAqQ$RPtEqkNiw9PZ3bJxMbj8tLaYnON6//JObHFPhg92vGY",
        "{BLF-CRYPT}$2y$05$E0/1irCgSOUyLwJIVCh2IOHcAjStJO8P.BZLSPOGfyAxHCM2WyFDq",
        "{blf-crypt}$2y$05$E0/1irCgSOUyLwJIVCh2IOHcAjStJO8P.BZLSPOGfyAxHCM2WyFDq",
        "$2b$05$E0/1irCgSOUyLwJIVCh2IOHcAjStJO8P.BZLSPOGfyAxHCM2WyFDq",
        "{SHA512-CRYPT}$6$DVevwBCGmIvA6N3H$MwXqK4FDtW2Pv20DonCMYuCdMU38ryX4Trq9zmFd8fveBul9VB3vVepbQlzb1R1ylVqnMN3Q2yI6ceUW0F1Xn1",
        "{CRYPT}$6$DVevwBCGmIvA6N3H$MwXqK4FDtW2Pv20DonCMYuCdMU38ryX4Trq9zmFd8fveBul9VB3vVepbQlzb1R1ylVqnMN3Q2yI6ceUW0F1Xn1",
        "{SHA256-CRYPT}$5$Cl00ed/QRlpgEhm1$ugYWiffOp5G7ZYP6P.qWo0bWy8Yw4jEzlyWwBE3Jo17",
        "{CRYPT}$y$j9T$SzUfJ4ZmXaG0vJ6V7cTtb0$2oUEs8kdKfVaBAb2oB43BcUV1QKTOlUSZ60G6cFfJV8",
        "$y$jB5$SzUfJ4ZmXaG0vJ6V7cTtb0$5EUP4wPDqez7MGQSXCxro6zOB1IBHfaHw4BzoEsMk4D",
        "{SCRAM-SHA-256}4096,6bTCNTDTxqzNlCGfT0uizw==,zY1mAUPho7Rjauo5NL/GInZr9FqGLJGatRKqZfviFts=,UUFINpMG8kEr9kcl9IFdgC6dznBOtYiC0urcEBrbY6k=",
        "SCRAM-SHA-256$4096:6bTCNTDTxqzNlCGfT0uizw==$zY1mAUPho7Rjauo5NL/GInZr9FqGLJGatRKqZfviFts=:UUFINpMG8kEr9kcl9IFdgC6dznBOtYiC0urcEBrbY6k=",
    ];

    #[test]
    fn hashes_of_others_are_known() {
        for value in HASHES {
            let stored = Stored::parse(value).unwrap_or_else(|error| panic!("{value}: {error}"));
            assert!(stored.is(b"secret"), "{value}");
            for other in [&b"secreT"[..], b"", b"secret "] {
                assert!(!stored.is(other), "{value} {other:?}");
            }
        }
    }

    #[test]
    fn what_is_no_hash_is_named() {
        for (value, problem) in [
            ("{PLAIN}secret", "a password as it is, not a hash"),
            ("{cleartext}secret", "a password as it is, not a hash"),
            ("secret", "not a password hash"),
            ("", "not a password hash"),
            ("{SSHA}abc", "a password hash of a kind that is not supported"),
            (
                "{ARGON2ID}$2y$05$E0/1irCgSOUyLwJIVCh2IOHcAjStJO8P.BZLSPOGfyAxHCM2WyFDq",
                "a password hash of a kind that is not supported",
            ),
            ("$1$abc$def", "a password hash of a kind that is not supported"),
            ("$y$j9T$abc$def", "malformed yescrypt hash"),
            ("$y$j9T$SzUfJ4ZmXaG0vJ6V7cTtb0", "malformed yescrypt hash"),
            ("$y$$SzUf$2oUEs8kdKfVaBAb2oB43BcUV1QKTOlUSZ60G6cFfJV8", "malformed yescrypt hash"),
            ("$y$j9T$$2oUEs8kdKfVaBAb2oB43BcUV1QKTOlUSZ60G6cFfJV8", "malformed yescrypt hash"),
            // more passes, and a tebibyte
            (
                "$y$j9T/0$SzUf$2oUEs8kdKfVaBAb2oB43BcUV1QKTOlUSZ60G6cFfJV8",
                "a yescrypt hash with parameters that are not supported",
            ),
            ("$y$jST$SzUf$2oUEs8kdKfVaBAb2oB43BcUV1QKTOlUSZ60G6cFfJV8", "a yescrypt hash that costs too much"),
            (
                "$gy$j9T$SzUfJ4ZmXaG0vJ6V7cTtb0$zFQUUz5zdRFEnIeS/e7kQCZP3VAOOWhBQtFKm4p5GjA",
                "an scrypt or gost-yescrypt hash, which is not supported",
            ),
            ("$argon2id$v=19$m=65536,t=3,p=1$H9bK4+1JXAyoybYcv8WEcg", "malformed Argon2 hash"),
            (
                "$argon2id$v=19$m=2097152,t=1,p=1$H9bK4+1JXAyoybYcv8WEcg$wb3BGTECs2TTkv3owZtyz/3UKKl3VuIwBxSFG9KmjzU",
                "an Argon2 hash that costs too much",
            ),
            (
                "$argon2id$v=19$m=65536,t=65,p=1$H9bK4+1JXAyoybYcv8WEcg$wb3BGTECs2TTkv3owZtyz/3UKKl3VuIwBxSFG9KmjzU",
                "an Argon2 hash that costs too much",
            ),
            ("$2y$05$E0", "malformed bcrypt hash"),
            ("$2y$17$E0/1irCgSOUyLwJIVCh2IOHcAjStJO8P.BZLSPOGfyAxHCM2WyFDq", "a bcrypt hash that costs too much"),
            ("$6$abc", "malformed SHA-crypt hash"),
            ("$6$abc$def", "malformed SHA-crypt hash"),
            ("$5$rounds=5000001$abc$def", "a SHA-crypt hash that costs too much"),
            ("{SCRAM-SHA-256}4096,6bTC,zY1m", "malformed SCRAM-SHA-256 keys"),
            (
                "{SCRAM-SHA-256}0,6bTCNTDTxqzNlCGfT0uizw==,zY1mAUPho7Rjauo5NL/GInZr9FqGLJGatRKqZfviFts=,UUFINpMG8kEr9kcl9IFdgC6dznBOtYiC0urcEBrbY6k=",
                "malformed SCRAM-SHA-256 keys",
            ),
            ("SCRAM-SHA-256$4096:$:", "malformed SCRAM-SHA-256 keys"),
        ] {
            assert_eq!(Stored::parse(value).err(), Some(problem), "{value}");
        }
        assert!(Stored::parse(DECOY).is_ok_and(|decoy| decoy == Stored::decoy()));
    }
}
