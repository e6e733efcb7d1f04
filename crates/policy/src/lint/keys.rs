//! Keys of access tables that no look-up ever asks for. See access(5) for what is asked.

use config::Diagnostic;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a restriction looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Names with their parent domains, addresses and networks cut at dots or colons.
    Hosts,
    /// Names with their parent domains.
    Names,
    /// Mail addresses, domains with their parent domains, `user@`.
    Mail,
}

impl Asked {
    /// By the restriction's name; `None` for those that look up something else.
    pub fn of(restriction: &str) -> Option<Self> {
        match restriction {
            "check_client_access" | "check_reverse_client_hostname_access" => Some(Self::Hosts),
            "check_helo_access" | "check_etrn_access" => Some(Self::Names),
            "check_sender_access" | "check_recipient_access" => Some(Self::Mail),
            _ if ["_mx_access", "_ns_access", "_a_access"].iter().any(|tail| restriction.ends_with(tail)) => {
                Some(Self::Hosts)
            }
            _ => None,
        }
    }
}

/// Users that every site has: as keys they are meant as users, not as domains.
const ROLES: [&str; 7] = ["abuse", "admin", "hostmaster", "mailer-daemon", "postmaster", "root", "webmaster"];

/// What else decides whether a key can match.
pub(super) struct Around<'a> {
    /// `parent_domain_matches_subdomains` has `smtpd_access_maps`.
    pub parents: bool,
    /// `smtpd_null_access_lookup_key`.
    pub null_key: &'a str,
    /// The other keys of the table.
    pub has: &'a dyn Fn(&str) -> bool,
}

/// Why this key never matches.
pub(super) fn judge(asked: Asked, key: &str, around: &Around<'_>) -> Option<Diagnostic> {
    let told = |code: &'static str, why: &str, help: String| {
        Some(Diagnostic::warning(code, format!("the key \"{key}\" never matches: {why}")).help(help))
    };
    if asked == Asked::Mail && key == around.null_key {
        return None;
    }
    if key.len() > 2 && key.starts_with('/') && key[1..].contains('/') {
        return told("key-form", "this table has no patterns", "put it into a regexp: or pcre: table".into());
    }
    if key.contains('*') && !key.contains('@') {
        let domain = key.trim_start_matches('*').trim_start_matches('.');
        return told("key-form", "there are no wildcards", parent_help(domain, around.parents));
    }
    if let Some(name) = key.strip_suffix('.').filter(|name| !name.is_empty()) {
        return told(
            "key-trailing-dot",
            "names and networks are looked up without a dot at the end",
            format!("write {name}"),
        );
    }
    if let Some((address, prefix)) = network(key)
        && asked != Asked::Names
    {
        return match asked {
            Asked::Mail => told("key-form", "a network isn't part of a mail address", "use check_client_access".into()),
            _ => told("key-network", "networks with a prefix length need a cidr: table", network_help(address, prefix)),
        };
    }
    if let Some(domain) = key.strip_prefix('.').filter(|domain| !domain.is_empty())
        && around.parents
        && !(around.has)(domain)
    {
        let why = "parent_domain_matches_subdomains has smtpd_access_maps, so that the domain itself stands for its subdomains";
        return told("key-parent-domain", why, format!("write {domain}"));
    }
    match asked {
        Asked::Hosts => judge_host(key),
        Asked::Names => judge_name(key),
        Asked::Mail => judge_mail(key),
    }
    .and_then(|(code, why, help)| told(code, why, help))
}

type Verdict = Option<(&'static str, &'static str, String)>;

fn judge_host(key: &str) -> Verdict {
    if key.contains('@') {
        return Some((
            "key-form",
            "clients and servers have names and addresses, no users",
            "use check_sender_access".into(),
        ));
    }
    if let Some(inner) = key.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some(("key-address", "addresses are looked up without brackets", format!("write {inner}")));
    }
    let address: Ipv6Addr = key.parse().ok()?;
    let usual = IpAddr::from(address).to_string();
    (usual != key.to_ascii_lowercase())
        .then(|| ("key-address", "addresses are looked up in their shortest form", format!("write {usual}")))
}

fn judge_name(key: &str) -> Verdict {
    let is_user = key.contains('@');
    is_user.then(|| ("key-form", "a host name has no user", "use check_sender_access".into()))
}

fn judge_mail(key: &str) -> Verdict {
    if let Some(domain) = key.strip_prefix('@') {
        return Some(("key-form", "the domain is looked up without an @", format!("write {domain}")));
    }
    if let Some(inner) = key.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        return Some(("key-form", "addresses are looked up without < and >", format!("write {inner}")));
    }
    let digits = key.contains('.') && key.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if digits || key.parse::<Ipv6Addr>().is_ok() {
        return Some(("key-form", "a client's address isn't part of a mail address", "use check_client_access".into()));
    }
    if ROLES.contains(&key.to_ascii_lowercase().as_str()) {
        return Some(("key-form", "a word without @ is a domain", format!("write {key}@")));
    }
    None
}

/// `address/prefix`.
fn network(key: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = key.split_once('/')?;
    Some((address.trim_matches(['[', ']']).parse().ok()?, prefix.parse().ok()?))
}

fn network_help(address: IpAddr, prefix: u8) -> String {
    match (address, prefix) {
        (IpAddr::V4(address), 8 | 16 | 24) => format!("write {}, or use a cidr: table", cut(address, prefix / 8)),
        (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => format!("write {address}, or use a cidr: table"),
        _ => "use a cidr: table".to_owned(),
    }
}

fn cut(address: Ipv4Addr, octets: u8) -> String {
    let octets = address.octets().into_iter().take(octets.into());
    octets.map(|octet| octet.to_string()).collect::<Vec<_>>().join(".")
}

fn parent_help(domain: &str, parents: bool) -> String {
    match (domain.is_empty(), parents) {
        (true, _) => "write static:VALUE instead of the table if everything is meant".to_owned(),
        (false, true) => format!("write {domain}: it stands for its subdomains, too"),
        (false, false) => format!("write .{domain}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(asked: Asked, key: &str, parents: bool) -> Option<(&'static str, String)> {
        let around = Around { parents, null_key: "<>", has: &|key| key == "both.example" };
        judge(asked, key, &around).map(|found| (found.code, found.help.unwrap_or_default()))
    }

    #[test]
    fn keys_of_hosts() {
        for (key, want) in [
            ("mail.example.com", None),
            ("example.com", None),
            ("192.0.2.1", None),
            ("192.0.2", None),
            ("192.0.2.", Some(("key-trailing-dot", "write 192.0.2"))),
            ("192.0.2.0/24", Some(("key-network", "write 192.0.2, or use a cidr: table"))),
            ("192.0.2.0/25", Some(("key-network", "use a cidr: table"))),
            ("[192.0.2.1]", Some(("key-address", "write 192.0.2.1"))),
            ("2001:db8::1", None),
            ("2001:DB8::1", None),
            ("2001:db8", None),
            ("2001:db8:", None),
            ("2001:0db8::0001", Some(("key-address", "write 2001:db8::1"))),
            ("[2001:db8::1]", Some(("key-address", "write 2001:db8::1"))),
            ("2001:db8::/32", Some(("key-network", "use a cidr: table"))),
            ("user@example.com", Some(("key-form", "use check_sender_access"))),
            ("*.example.com", Some(("key-form", "write example.com: it stands for its subdomains, too"))),
            (".example.com", Some(("key-parent-domain", "write example.com"))),
            (".both.example", None),
            ("example.com.", Some(("key-trailing-dot", "write example.com"))),
            ("/^dsl/", Some(("key-form", "put it into a regexp: or pcre: table"))),
            ("unknown", None),
        ] {
            let want = want.map(|(code, help)| (code, help.to_owned()));
            assert_eq!(told(Asked::Hosts, key, true), want, "{key}");
        }
        assert_eq!(told(Asked::Hosts, ".example.com", false), None);
        assert_eq!(told(Asked::Hosts, "*.example.com", false), Some(("key-form", "write .example.com".into())));
    }

    #[test]
    fn keys_of_mail_addresses() {
        for (key, want) in [
            ("user@example.com", None),
            ("user@", None),
            ("example.com", None),
            ("com", None),
            ("<>", None),
            ("@example.com", Some("write example.com")),
            ("<a@b.example>", Some("write a@b.example")),
            ("192.0.2.1", Some("use check_client_access")),
            ("192.0.2", Some("use check_client_access")),
            ("10.0.0.0/8", Some("use check_client_access")),
            ("Postmaster", Some("write Postmaster@")),
        ] {
            assert_eq!(told(Asked::Mail, key, true), want.map(|help| ("key-form", help.to_owned())), "{key}");
        }
    }

    #[test]
    fn any_text_is_judged_without_harm() {
        let parts =
            ["", ".", "/", "*", "@", "[", "]", "<", ">", "::", "1", "ffff", "é", "a.b", " ", "0.0.0.0/0", "/999"];
        for asked in [Asked::Hosts, Asked::Names, Asked::Mail] {
            for a in parts {
                for b in parts {
                    for c in parts {
                        let key = format!("{a}{b}{c}");
                        if let Some((code, help)) = told(asked, &key, true) {
                            assert!(code.starts_with("key-") && !help.is_empty(), "{key}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn keys_of_names() {
        assert_eq!(told(Asked::Names, "[192.0.2.1]", true), None, "a HELO argument may be a literal");
        assert_eq!(told(Asked::Names, "192.0.2.1", true), None);
        assert_eq!(told(Asked::Names, "a@b.example", true).map(|t| t.0), Some("key-form"));
        assert_eq!(Asked::of("check_sender_mx_access"), Some(Asked::Hosts));
        assert_eq!(Asked::of("check_sasl_access"), None);
    }
}
