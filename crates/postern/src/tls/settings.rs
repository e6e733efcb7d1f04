//! `smtpd_tls_*`, read and checked. What can't be done is told; as in Postfix, TLS is not available then, and the
//! service goes on without it.

use super::certificate::{Authorities, Digest};
use super::ciphers::{self, GRADES};
use super::keys::{self, KeyFiles, Keys};
use super::protocols;
use super::server::{Chosen, TlsServer};
use config::{Diagnostic, Parameters};
use policy::TableRegistry;
use rustls::crypto::aws_lc_rs as library;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{ServerConfig, SignatureAlgorithm};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// `smtpd_tls_security_level`, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No TLS.
    None,
    /// For those who want it.
    May,
    /// For all.
    Encrypt,
}

/// Key exchanges: those of `tls_eecdh_auto_curves` that the library has, in that order. Its hybrids with ML-KEM stay out:
/// they aren't in Postfix's list, cost more, and logs have no name for them.
const GROUPS: [&dyn SupportedKxGroup; 3] = [X25519, SECP256R1, SECP384R1];

/// Levels of the SMTP client that a server takes for `encrypt`.
const STRICTER: [&str; 5] = ["dane", "dane-only", "fingerprint", "verify", "secure"];

/// The level of a word; the second value says that it is one of the client's. `None` is no level.
fn level(word: &str) -> Option<(Level, bool)> {
    match word.to_ascii_lowercase().as_str() {
        "none" => Some((Level::None, false)),
        "may" => Some((Level::May, false)),
        "encrypt" => Some((Level::Encrypt, false)),
        word if STRICTER.contains(&word) => Some((Level::Encrypt, true)),
        _ => None,
    }
}

/// The level of a service: by `smtpd_tls_security_level`, else by the parameters of old.
pub fn smtpd_level(p: &Parameters) -> Level {
    if p.bool("smtpd_tls_wrappermode") {
        return Level::Encrypt;
    }
    match level(p.get("smtpd_tls_security_level").trim()) {
        Some((level, _)) => level,
        None if p.bool("smtpd_enforce_tls") => Level::Encrypt,
        None if p.bool("smtpd_use_tls") => Level::May,
        None => Level::None,
    }
}

/// TLS as a service offers it; `None` where it doesn't, or can't.
pub fn server(p: &Parameters, registry: &mut TableRegistry, problems: &mut Vec<Diagnostic>) -> Option<TlsServer> {
    let mut settings = Reader { p, problems };
    settings.check_level();
    let level = smtpd_level(p);
    if level == Level::None {
        return None;
    }
    settings.check_values();
    // All that is wrong is told at once.
    let (keys, offer, digest) = (settings.keys(), settings.offer(level), settings.digest());
    let (versions, provider) = offer?;
    let authorities = settings.authorities(level, &provider)?;
    let (keys, digest) = (keys?, digest?);
    let sni_maps = settings.sni_maps(registry);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions);
    let Ok(builder) = builder else {
        let text = "no protocol and cipher are left that go together";
        settings.unavailable("smtpd_tls_exclude_ciphers", text.to_owned(), "exclude fewer ciphers or protocols");
        return None;
    };
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(Chosen::default()));
    config.ignore_client_order = p.bool("tls_preempt_cipherlist");
    // Session tickets cost the server no memory, and spare clients that come again a handshake.
    if let Ok(ticketer) = library::Ticketer::new() {
        config.ticketer = ticketer;
        config.send_tls13_tickets = 1;
    }
    Some(TlsServer {
        config: Arc::new(config),
        provider,
        versions,
        keys,
        authorities: authorities.map(Arc::new),
        requires_certificate: level == Level::Encrypt && p.bool("smtpd_tls_req_ccert"),
        digest,
        log_level: log_level(&p.get("smtpd_tls_loglevel")),
        timeout: p.time("smtpd_starttls_timeout"),
        sni_maps,
        chains: Mutex::default(),
    })
}

/// The number; words are those of later versions.
fn log_level(text: &str) -> u32 {
    let digits: String = text.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

type Versions = Vec<&'static rustls::SupportedProtocolVersion>;

struct Reader<'a> {
    p: &'a Parameters,
    problems: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn tell(&mut self, problem: Diagnostic) {
        // The same finding in several services is one finding.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn warn(&mut self, name: &str, text: String, help: &str) {
        self.tell(Diagnostic::warning("tls-setting", text).at(self.p.origin(name)).help(help));
    }

    /// There will be no TLS, for this reason.
    fn unavailable(&mut self, name: &str, text: String, help: &str) {
        let text = format!("TLS is not available: {text}");
        self.tell(Diagnostic::warning("tls-unavailable", text).at(self.p.origin(name)).help(help));
    }

    fn check_level(&mut self) {
        let name = "smtpd_tls_security_level";
        let word = self.p.get(name);
        match level(word.trim()) {
            _ if word.trim().is_empty() => {}
            Some((_, false)) => {}
            Some((_, true)) => {
                let text = format!("{name}: unsupported TLS level \"{word}\", using \"encrypt\"");
                self.warn(name, text, "write encrypt, may or none");
            }
            None => {
                let text = format!("{name}: invalid TLS level \"{word}\"");
                let problem = Diagnostic::error("bad-value", text).at(self.p.origin(name));
                self.tell(problem.help("write encrypt, may or none"));
            }
        }
    }

    /// What the library has no equal for.
    fn check_values(&mut self) {
        let p = self.p;
        for name in ["smtpd_tls_ciphers", "smtpd_tls_mandatory_ciphers"] {
            let grade = p.get(name);
            let grade = grade.trim();
            if !GRADES.iter().any(|known| grade.eq_ignore_ascii_case(known)) {
                self.warn(name, format!("{name}: invalid cipher grade \"{grade}\""), "write high or medium");
            } else if !["high", "medium"].iter().any(|known| grade.eq_ignore_ascii_case(known)) {
                let text = format!("{name} = {grade}: weaker ciphers than those of grade high are never offered");
                self.warn(name, text, "write medium, or remove the setting");
            }
        }
        for name in ["smtpd_tls_protocols", "smtpd_tls_mandatory_protocols"] {
            if p.is_set(name) && names_old(&p.get(name)) {
                let text = format!("{name} = {}: TLSv1.1 and older are never offered", p.get(name));
                self.warn(name, text, "write >=TLSv1.2");
            }
        }
        if p.bool("smtpd_tls_req_ccert") && smtpd_level(p) != Level::Encrypt {
            let text = "Can't require client certs unless TLS is required".to_owned();
            self.warn("smtpd_tls_req_ccert", text, "set smtpd_tls_security_level = encrypt");
        }
    }

    /// A file name; relative ones are below `queue_directory`, where Postfix's daemons are when they open it.
    fn path(&self, text: &str) -> PathBuf {
        PathBuf::from(self.p.get("queue_directory")).join(text)
    }

    fn files(&self) -> Vec<(&'static str, KeyFiles)> {
        let chain = config::list::words(&self.p.get("smtpd_tls_chain_files")).unwrap_or_default();
        if !chain.is_empty() {
            let paths = chain.iter().map(|path| self.path(path)).collect();
            return vec![("smtpd_tls_chain_files", KeyFiles::Chain(paths))];
        }
        let pairs = [("smtpd_tls_eccert_file", "smtpd_tls_eckey_file"), ("smtpd_tls_cert_file", "smtpd_tls_key_file")];
        let set = pairs.into_iter().filter(|(certificate, _)| !self.p.get(certificate).trim().is_empty());
        set.map(|(certificate, key)| {
            let (certificate_path, key) =
                (self.path(self.p.get(certificate).trim()), self.path(self.p.get(key).trim()));
            (certificate, KeyFiles::Pair { certificate: certificate_path, key })
        })
        .collect()
    }

    fn keys(&mut self) -> Option<Keys> {
        let files = self.files();
        if self.p.get("smtpd_tls_cert_file").trim() == "none" {
            let text = "smtpd_tls_cert_file = none: anonymous ciphers are never offered".to_owned();
            self.unavailable(
                "smtpd_tls_cert_file",
                text,
                "name a certificate: clients without a list of trusted ones take any",
            );
            return None;
        }
        if files.is_empty() {
            let name = ["smtpd_tls_security_level", "smtpd_tls_wrappermode", "smtpd_use_tls", "smtpd_enforce_tls"];
            let name = name.into_iter().find(|name| self.p.is_set(name)).unwrap_or("smtpd_tls_security_level");
            let text = "No server certs available. TLS won't be enabled".to_owned();
            self.unavailable(name, text, "set smtpd_tls_chain_files to a file with a private key and its certificates");
            return None;
        }
        let mut found = Keys::new();
        for (name, files) in files {
            match keys::load(&files) {
                Ok((keys, stale)) => {
                    found.extend(keys);
                    if let Some(why) = stale {
                        let text = format!("{name}: {why}: the certificate that was read before stays in use");
                        let help = "let mail_owner read the files, or restart";
                        self.tell(Diagnostic::warning("tls-stale", text).at(self.p.origin(name)).help(help));
                    }
                }
                Err(text) => {
                    let help =
                        "name PEM files that can be read, with a private key without a password and its certificate";
                    self.unavailable(name, text, help);
                    return None;
                }
            }
        }
        // They cost the server less.
        found.sort_by_key(|pair| pair.key.algorithm() == SignatureAlgorithm::RSA);
        Some(found)
    }

    fn offer(&mut self, level: Level) -> Option<(Versions, Arc<CryptoProvider>)> {
        let is_mandatory = level == Level::Encrypt;
        let name = if is_mandatory { "smtpd_tls_mandatory_protocols" } else { "smtpd_tls_protocols" };
        let list = self.p.get(name);
        let versions = protocols::parse(&list);
        if versions.as_ref().is_none_or(Vec::is_empty) {
            let text = match versions {
                None => format!("Invalid TLS protocol list \"{list}\": disabling TLS support"),
                Some(_) => format!("{name} = {list}: only TLSv1.2 and TLSv1.3 can be offered"),
            };
            self.unavailable(name, text, "write >=TLSv1.2");
            return None;
        }
        let mut excluded = self.p.get("smtpd_tls_exclude_ciphers");
        if is_mandatory {
            excluded.push(' ');
            excluded.push_str(&self.p.get("smtpd_tls_mandatory_exclude_ciphers"));
        }
        let provider = CryptoProvider {
            cipher_suites: ciphers::suites(&excluded),
            kx_groups: GROUPS.to_vec(),
            ..library::default_provider()
        };
        Some((versions.unwrap_or_default(), Arc::new(provider)))
    }

    /// The outer `None`: they can't be read. The inner one: no client is asked for its certificate.
    fn authorities(&mut self, level: Level, provider: &Arc<CryptoProvider>) -> Option<Option<Authorities>> {
        let p = self.p;
        let is_required = level == Level::Encrypt && p.bool("smtpd_tls_req_ccert");
        if !is_required && !p.bool("smtpd_tls_ask_ccert") {
            return Some(None);
        }
        let set = |name: &str| Some(p.get(name)).filter(|text| !text.trim().is_empty());
        let file = set("smtpd_tls_CAfile").map(|text| self.path(text.trim()));
        let directory = set("smtpd_tls_CApath").map(|text| self.path(text.trim()));
        let system = p.bool("tls_append_default_CA");
        let takes_servers = p.bool("tls_trust_server_ccerts");
        let read = Authorities::read(file.as_deref(), directory.as_deref(), system, provider, takes_servers);
        match read {
            Ok(authorities) => Some(Some(authorities)),
            Err(text) => {
                let name = if p.is_set("smtpd_tls_CAfile") { "smtpd_tls_CAfile" } else { "smtpd_tls_CApath" };
                self.unavailable(
                    name,
                    format!("{name}: {text}"),
                    "name a file with the certificates of those who are trusted",
                );
                None
            }
        }
    }

    fn digest(&mut self) -> Option<Digest> {
        let name = "smtpd_tls_fingerprint_digest";
        let word = self.p.get(name);
        let digest = Digest::named(word.trim());
        if digest.is_none() {
            let text = format!("Digest algorithm \"{word}\" not found");
            self.unavailable(name, text, "write sha256, sha384, sha512, sha1 or md5");
        }
        digest
    }

    fn sni_maps(&self, registry: &mut TableRegistry) -> Vec<(u32, bool)> {
        let name = "tls_server_sni_maps";
        let elements = config::list::split(&self.p.get(name)).unwrap_or_default();
        let table = |element: &config::list::Element| {
            let kind = element.text.split(':').next().unwrap_or_default();
            let is_files = ["cidr", "inline", "pcre", "regexp", "static", "texthash"].contains(&kind);
            (registry.intern_for_texts(&element.text, self.p.origin(name)).0, is_files)
        };
        elements.iter().map(table).collect()
    }
}

/// Does a protocol list ask for something old by name?
fn names_old(list: &str) -> bool {
    let mut words = list.split([' ', '\t', '\n', ',', ':']).filter(|word| !word.is_empty() && !word.starts_with('!'));
    words.any(|word| {
        let name = word.trim_start_matches(">=");
        ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"].iter().any(|old| name.eq_ignore_ascii_case(old))
    })
}
