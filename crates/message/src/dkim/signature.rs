//! A DKIM-Signature field: what it says, and whether it is true (RFC 6376, sections 3.5 and 6).

use super::base64;
use super::body::{Hashed, Kind};
use super::fields::{Field, Fields};
use super::key::{Algorithm, Key};
use super::tags::{Tags, elements};
use policy::{DkimResult, DkimVerdict, DnsAnswer, DnsRecord, DnsStatus};

/// Of several records at a key's name, so many are tried.
const KEYS: usize = 5;

/// A signature on its way in: its body isn't hashed yet.
#[derive(Debug)]
pub(super) struct Draft {
    signature: Signature,
    body: Option<(Kind, Vec<u8>)>,
}

/// A signature that needs its key.
#[derive(Debug)]
pub struct Signature {
    /// Who signs, which key, how; the beginning of the signature, and why there is no verdict any more.
    verdict: DkimVerdict,
    /// It was judged without a key.
    decided: bool,
    algorithm: Algorithm,
    octets: Vec<u8>,
    /// What is signed.
    text: Vec<u8>,
    /// The identity is in a subdomain.
    below: bool,
    expires: Option<u64>,
}

/// What a field says.
struct Said {
    algorithm: Algorithm,
    octets: Vec<u8>,
    body: (Kind, Vec<u8>),
    names: Vec<String>,
    relaxed: bool,
    below: bool,
    expires: Option<u64>,
}

impl Draft {
    pub fn new(field: Field<'_>, fields: &Fields<'_>) -> Self {
        let value = String::from_utf8_lossy(field.value());
        let mut verdict = DkimVerdict::default();
        let said = Tags::parse(&value).ok_or("the signature makes no sense").and_then(|tags| read(&tags, &mut verdict));
        match said {
            Ok(said) => {
                let text = signed_text(&said, field, fields);
                let Said { algorithm, octets, body, below, expires, .. } = said;
                let signature = Signature { verdict, decided: false, algorithm, octets, text, below, expires };
                Self { signature, body: Some(body) }
            }
            Err(why) => Self { signature: Signature::decided(verdict, DkimResult::PermError, why), body: None },
        }
    }

    /// What has to be hashed of the body.
    pub fn body_hash(&self) -> Option<Kind> {
        self.body.as_ref().map(|(kind, _)| *kind)
    }

    /// The body is hashed.
    pub fn finish(self, hashes: &[Hashed]) -> Signature {
        let Some((kind, expected)) = self.body else { return self.signature };
        let verdict = |result, why| Signature::decided(self.signature.verdict.clone(), result, why);
        let Some(hashed) = hashes.iter().find(|hashed| hashed.kind == kind) else {
            return verdict(DkimResult::TempError, "the body was not seen");
        };
        match kind.limit {
            _ if hashed.digest != expected => verdict(DkimResult::Fail, "the body hash did not verify"),
            Some(limit) if limit > hashed.total => verdict(DkimResult::Fail, "the body is shorter than l= says"),
            // whoever can add to a body can put anything before its reader
            Some(limit) if limit < hashed.total => verdict(DkimResult::Policy, "l= leaves a part of the body out"),
            _ => self.signature,
        }
    }
}

impl Signature {
    fn decided(mut verdict: DkimVerdict, result: DkimResult, why: &str) -> Self {
        (verdict.result, verdict.reason) = (result, why.to_owned());
        Self {
            verdict,
            decided: true,
            algorithm: Algorithm::Rsa,
            octets: Vec::new(),
            text: Vec::new(),
            below: false,
            expires: None,
        }
    }

    /// The name of its key (a TXT record); none when it needs no key any more.
    pub fn key_name(&self) -> Option<String> {
        let DkimVerdict { domain, selector, .. } = &self.verdict;
        (!self.decided).then(|| format!("{selector}._domainkey.{domain}"))
    }

    /// What it comes to, with the answer for its key.
    pub fn verify(&self, answer: Option<&DnsAnswer>, now: u64) -> DkimVerdict {
        if self.decided {
            return self.verdict.clone();
        }
        let (result, reason) = self.judge(answer, now);
        DkimVerdict { result, reason: reason.to_owned(), ..self.verdict.clone() }
    }

    fn judge(&self, answer: Option<&DnsAnswer>, now: u64) -> (DkimResult, &'static str) {
        if self.expires.is_some_and(|expires| now > expires) {
            return (DkimResult::Fail, "the signature has expired");
        }
        let Some(answer) = answer else { return (DkimResult::TempError, "the key was not asked for") };
        match answer.status {
            DnsStatus::Ok => {}
            DnsStatus::NotFound | DnsStatus::NullMx | DnsStatus::Policy => {
                return (DkimResult::PermError, "there is no key");
            }
            _ => return (DkimResult::TempError, "the DNS has no answer now for the key"),
        }
        let texts = answer.records.iter().filter_map(|record| match record {
            DnsRecord::Txt(text) => Some(text),
            _ => None,
        });
        let mut found = (DkimResult::PermError, "there is no key");
        for text in texts.take(KEYS) {
            found = match Key::parse(text) {
                Err(why) => (DkimResult::PermError, why),
                Ok(key) if key.strict && self.below => (DkimResult::PermError, "the key is not for subdomains"),
                Ok(key) => match key.verify(self.algorithm, &self.text, &self.octets) {
                    Ok(()) => return (DkimResult::Pass, ""),
                    Err(why) => (DkimResult::Fail, why),
                },
            };
        }
        found
    }
}

/// What the tags say. Who signs goes into the verdict as soon as it is known.
fn read(tags: &Tags<'_>, verdict: &mut DkimVerdict) -> Result<Said, &'static str> {
    let get = |name: &str| tags.get(name).filter(|value| !value.is_empty());
    if tags.get("v") != Some("1") {
        return Err("the signature is of another version");
    }
    let domain = get("d").filter(|domain| is_name(domain)).ok_or("d= is no domain")?.to_ascii_lowercase();
    verdict.domain.clone_from(&domain);
    let selector = get("s").filter(|selector| is_name(selector)).ok_or("s= is no selector")?;
    verdict.selector = selector.to_ascii_lowercase();
    let signature = get("b").ok_or("b= is missing")?;
    verdict.signature = signature.chars().filter(|c| c.is_ascii_graphic()).take(8).collect();
    let algorithm = match get("a").map(str::to_ascii_lowercase).as_deref() {
        Some("rsa-sha256") => Algorithm::Rsa,
        Some("ed25519-sha256") => Algorithm::Ed25519,
        Some("rsa-sha1") => return Err("rsa-sha1 proves nothing (RFC 8301)"),
        _ => return Err("a= is no algorithm"),
    };
    verdict.algorithm = algorithm.word().to_owned();
    let octets = base64::decode(signature).ok_or("b= is no base64")?;
    let hash = get("bh").and_then(base64::decode).ok_or("bh= is no base64")?;
    let (header, body) = get("c").map_or(("simple", "simple"), |c| c.split_once('/').unwrap_or((c, "simple")));
    let relaxed = |word: &str| match word.to_ascii_lowercase().as_str() {
        "relaxed" => Ok(true),
        "simple" => Ok(false),
        _ => Err("c= is no canonicalization"),
    };
    let number = |name, why| tags.get(name).map(|value| value.parse::<u64>().map_err(|_| why)).transpose();
    let limit = number("l", "l= is no number")?;
    let names: Vec<String> = elements(get("h").ok_or("h= is missing")?).map(str::to_ascii_lowercase).collect();
    if !names.iter().any(|name| name == "from") {
        return Err("From is not signed");
    }
    if get("q").is_some_and(|methods| elements(methods).all(|method| method != "dns/txt")) {
        return Err("q= is no way to get a key");
    }
    let below = match get("i").map(|identity| identity.rsplit_once('@').map_or(identity, |(_, domain)| domain)) {
        None => false,
        Some(identity) if identity.eq_ignore_ascii_case(&domain) => false,
        Some(identity) if identity.to_ascii_lowercase().ends_with(&format!(".{domain}")) => true,
        Some(_) => return Err("i= is not in d="),
    };
    let (signed, expires) = (number("t", "t= is no number")?, number("x", "x= is no number")?);
    if let (Some(signed), Some(expires)) = (signed, expires)
        && expires < signed
    {
        return Err("x= is before t=");
    }
    let body = (Kind { relaxed: relaxed(body)?, limit }, hash);
    Ok(Said { algorithm, octets, body, names, relaxed: relaxed(header)?, below, expires })
}

/// Letters, digits, hyphens and underscores in labels.
fn is_name(text: &str) -> bool {
    let good = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 200 && text.split('.').all(good)
}

/// The fields that are signed, and the signature itself without its signature.
fn signed_text(said: &Said, field: Field<'_>, fields: &Fields<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    let write = |field: &Field<'_>, text: &mut Vec<u8>| {
        if said.relaxed { field.relaxed(text) } else { field.simple(text) }
    };
    for selected in fields.selected(&said.names) {
        write(&selected, &mut text);
        text.extend_from_slice(b"\r\n");
    }
    let bare = without_signature(field);
    write(&field.with(&bare), &mut text);
    text
}

/// The field with nothing after `b=`.
fn without_signature(field: Field<'_>) -> Vec<u8> {
    let mut bare = field.head().to_vec();
    for (at, piece) in field.value().split(|b| *b == b';').enumerate() {
        if at > 0 {
            bare.push(b';');
        }
        let name = piece.iter().position(|b| *b == b'=').filter(|equals| piece[..*equals].trim_ascii() == b"b");
        bare.extend_from_slice(name.map_or(piece, |equals| &piece[..=equals]));
    }
    bare
}
