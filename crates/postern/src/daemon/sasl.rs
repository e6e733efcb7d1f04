//! AUTH as a service offers it. What can't be done is an error: nobody could log in, or anybody.

use super::site::ServiceSettings;
use crate::sasl::builtin::{Accounts, MECHANISMS, Map};
use crate::sasl::failures::FailureLimits;
use crate::sasl::takeover::TakeoverLimits;
use crate::sasl::{AuthService, Backend, SecurityOptions};
use crate::tls::{Level, smtpd_level};
use config::{Diagnostic, Parameters, list};
use policy::{ListKind, MatchList, TableId, TableRegistry};
use std::sync::Arc;

/// Nobody waits longer for the answer to a failed login (milliseconds).
const LONGEST_DELAY: u64 = 60_000;

/// `smtpd_sasl_*`, compiled.
pub struct SaslSettings {
    /// Who decides.
    pub backend: Backend,
    /// `smtpd_sasl_security_options`.
    pub security_options: SecurityOptions,
    /// `smtpd_sasl_tls_security_options`.
    pub tls_security_options: SecurityOptions,
    /// `smtpd_tls_auth_only`, or TLS is mandatory anyway: no AUTH before TLS.
    pub tls_first: bool,
    /// `smtpd_sasl_mechanism_filter`.
    pub mechanism_filter: MatchList,
    /// `smtpd_sasl_exceptions_networks`.
    pub exceptions: MatchList,
    /// `postern_sasl_*_failure_limit`.
    pub failure_limits: FailureLimits,
    /// `postern_sasl_takeover_*`.
    pub takeover: TakeoverSettings,
}

/// When a login looks taken over.
pub struct TakeoverSettings {
    /// What is a sign.
    pub limits: TakeoverLimits,
    /// `postern_sasl_takeover_exceptions`.
    pub exceptions: MatchList,
}

/// What is wrong with a parameter, and the remedy.
struct Refusal {
    name: &'static str,
    text: String,
    help: &'static str,
}

fn refusal(name: &'static str, text: impl Into<String>, help: &'static str) -> Refusal {
    Refusal { name, text: text.into(), help }
}

impl SaslSettings {
    /// Of one service; `None` where nobody can log in.
    pub fn compile(p: &Parameters, registry: &mut TableRegistry, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        if !p.bool("smtpd_sasl_auth_enable") {
            return None;
        }
        let compiled = backend(p, registry).and_then(|backend| {
            let options = security_options(p, "smtpd_sasl_security_options")?;
            Ok((backend, options, security_options(p, "smtpd_sasl_tls_security_options")?))
        });
        let (backend, security_options, tls_security_options) = match compiled {
            Ok(compiled) => compiled,
            Err(Refusal { name, text, help }) => {
                let problem = Diagnostic::error("bad-value", text).at(p.origin(name)).help(help);
                // The same finding in several services is one finding.
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
                return None;
            }
        };
        let settings = ServiceSettings(p);
        let mut compile = |name: &str, kind: ListKind| {
            let (list, found) = MatchList::compile(name, kind, &settings, registry);
            problems.extend(found);
            list
        };
        let mechanism_filter = compile("smtpd_sasl_mechanism_filter", ListKind::Strings);
        let exceptions = compile("smtpd_sasl_exceptions_networks", ListKind::Hosts { parents: false });
        let takeover_exceptions = compile("postern_sasl_takeover_exceptions", ListKind::Strings);
        let tls_first = p.bool("smtpd_tls_auth_only") || smtpd_level(p) == Level::Encrypt;
        Some(Self {
            backend,
            security_options,
            tls_security_options,
            tls_first,
            mechanism_filter,
            exceptions,
            failure_limits: failure_limits(p),
            takeover: TakeoverSettings { limits: takeover_limits(p), exceptions: takeover_exceptions },
        })
    }
}

fn takeover_limits(p: &Parameters) -> TakeoverLimits {
    let (number, time) = (|name: &str| number(p, name), |name: &str| milliseconds(p, name));
    TakeoverLimits {
        unit: time("postern_sasl_takeover_time_unit"),
        networks: number("postern_sasl_takeover_networks"),
        recipients: number("postern_sasl_takeover_recipients"),
        refused: number("postern_sasl_takeover_refused_recipients"),
        hold: time("postern_sasl_takeover_hold_time"),
    }
}

fn number(p: &Parameters, name: &str) -> u32 {
    u32::try_from(p.int(name)).unwrap_or(0)
}

fn milliseconds(p: &Parameters, name: &str) -> u64 {
    u64::try_from(p.time(name).as_millis()).unwrap_or(u64::MAX)
}

fn failure_limits(p: &Parameters) -> FailureLimits {
    let (number, time) = (|name: &str| number(p, name), |name: &str| milliseconds(p, name));
    FailureLimits {
        unit: time("postern_sasl_failure_time_unit"),
        account: number("postern_sasl_account_failure_limit"),
        client: number("postern_sasl_client_failure_limit"),
        pair: number("postern_sasl_pair_failure_limit"),
        longest_delay: time("postern_sasl_failure_delay").min(LONGEST_DELAY),
    }
}

fn security_options(p: &Parameters, name: &'static str) -> Result<SecurityOptions, Refusal> {
    let help = "use noanonymous, noplaintext, noactive, nodictionary, mutual_auth, forward_secrecy";
    SecurityOptions::parse(&p.get(name)).map_err(|word| refusal(name, format!("{name}: {word}: unknown option"), help))
}

fn backend(p: &Parameters, registry: &mut TableRegistry) -> Result<Backend, Refusal> {
    match p.get("smtpd_sasl_type").as_str() {
        "dovecot" => {
            let (path, service) = (p.get("smtpd_sasl_path"), p.get("smtpd_sasl_service"));
            let server = AuthService::new(&path, &service, &p.get("queue_directory"));
            let help = "name Dovecot's socket: private/auth, or inet:host:port";
            server.map(|it| Backend::Dovecot(Arc::new(it))).map_err(|text| refusal("smtpd_sasl_path", text, help))
        }
        "postern" => accounts(p, registry).map(|accounts| Backend::Builtin(Arc::new(accounts))),
        "cyrus" => {
            let text = "smtpd_sasl_auth_enable = yes with smtpd_sasl_type = cyrus: Cyrus SASL is not supported";
            let help = "let Dovecot authenticate: smtpd_sasl_type = dovecot and smtpd_sasl_path = private/auth; or a \
                        table: smtpd_sasl_type = postern and postern_sasl_password_maps";
            let name = if p.is_set("smtpd_sasl_type") { "smtpd_sasl_type" } else { "smtpd_sasl_auth_enable" };
            Err(refusal(name, text, help))
        }
        other => {
            let help = "use smtpd_sasl_type = dovecot, or smtpd_sasl_type = postern";
            Err(refusal("smtpd_sasl_type", format!("smtpd_sasl_type = {other}: unknown type"), help))
        }
    }
}

/// `postern_sasl_*`.
fn accounts(p: &Parameters, registry: &mut TableRegistry) -> Result<Accounts, Refusal> {
    let maps = |name: &str, number: &mut dyn FnMut(&str) -> TableId| -> Vec<Map> {
        let elements = list::split(&p.get(name)).unwrap_or_default();
        elements.iter().map(|e| Map { table: number(&e.text).0, name: e.text.as_str().into() }).collect()
    };
    let (passwords, tokens) = ("postern_sasl_password_maps", "postern_sasl_oauth_maps");
    let password_maps = maps(passwords, &mut |spec| registry.intern(spec, p.origin(passwords)));
    // Upper and lower case make two tokens.
    let token_maps = maps(tokens, &mut |spec| registry.intern_for_texts(spec, p.origin(tokens)));
    if password_maps.is_empty() && token_maps.is_empty() {
        let help = "name a table: postern_sasl_password_maps = texthash:/etc/postfix/passwords";
        let name = if p.is_set(passwords) { passwords } else { "smtpd_sasl_type" };
        return Err(refusal(name, "smtpd_sasl_type = postern without postern_sasl_password_maps", help));
    }
    let mut mechanisms = Vec::new();
    let name = "postern_sasl_mechanisms";
    for word in list::words(&p.get(name)).unwrap_or_default() {
        let help = "use PLAIN, LOGIN, SCRAM-SHA-256, OAUTHBEARER";
        let known = MECHANISMS.into_iter().find(|known| known.eq_ignore_ascii_case(&word));
        let known = known.ok_or_else(|| refusal(name, format!("{name}: {word}: unknown mechanism"), help))?;
        let (maps, wanted) = match known {
            "OAUTHBEARER" => (&token_maps, "postern_sasl_oauth_maps"),
            _ => (&password_maps, "postern_sasl_password_maps"),
        };
        if maps.is_empty() && p.is_set(name) {
            let text = format!("{name}: {word} without {wanted}");
            return Err(refusal(name, text, "name the table, or leave the mechanism out"));
        }
        if !maps.is_empty() && !mechanisms.contains(&known) {
            mechanisms.push(known);
        }
    }
    let mut accounts = Accounts::new(password_maps, token_maps, &mechanisms);
    accounts.local_domain = p.get("smtpd_sasl_local_domain").to_lowercase();
    accounts.scram_iterations = u32::try_from(p.int("postern_sasl_scram_iterations")).unwrap_or(4096).max(1);
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{HostFacts, MainCf};

    #[test]
    fn auth_is_offered_or_refused_aloud() {
        let dovecot = "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\n";
        let postern = "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postern\n";
        for (text, is_offered, problem) in [
            (String::new(), false, None),
            (dovecot.to_owned(), true, None),
            (format!("{dovecot}smtpd_sasl_tls_security_options = nopain\n"), false, Some("nopain: unknown option")),
            (format!("{dovecot}smtpd_sasl_security_options = nopain\n"), false, Some("nopain: unknown option")),
            (format!("{dovecot}smtpd_sasl_path =\n"), false, Some("smtpd_sasl_path is empty")),
            (format!("{dovecot}smtpd_sasl_type = moon\n"), false, Some("smtpd_sasl_type = moon: unknown type")),
            ("smtpd_sasl_auth_enable = yes\n".to_owned(), false, Some("Cyrus SASL is not supported")),
            (format!("{postern}postern_sasl_password_maps = static:x\n"), true, None),
            (format!("{postern}postern_sasl_oauth_maps = static:x\n"), true, None),
            (postern.to_owned(), false, Some("smtpd_sasl_type = postern without postern_sasl_password_maps")),
            (
                format!("{postern}postern_sasl_password_maps = static:x\npostern_sasl_mechanisms = plain, cram-md5\n"),
                false,
                Some("postern_sasl_mechanisms: cram-md5: unknown mechanism"),
            ),
            (
                format!("{postern}postern_sasl_password_maps = static:x\npostern_sasl_mechanisms = oauthbearer\n"),
                false,
                Some("postern_sasl_mechanisms: oauthbearer without postern_sasl_oauth_maps"),
            ),
        ] {
            let parameters = Parameters::new(Arc::new(MainCf::parse("main.cf", &text).0), HostFacts::default());
            let mut problems = Vec::new();
            let settings = SaslSettings::compile(&parameters, &mut TableRegistry::new(), &mut problems);
            assert_eq!(settings.is_some(), is_offered, "{text}");
            match problem {
                Some(problem) => {
                    assert!(problems.len() == 1 && problems[0].is_error(), "{text}: {problems:?}");
                    assert!(problems[0].to_string().contains(problem), "{}", problems[0]);
                }
                None => assert!(problems.is_empty(), "{text}: {problems:?}"),
            }
        }
    }
}
