use crate::{OpenOptions, open};
use std::path::Path;

fn opened(dir: &Path, text: &str) -> Result<Vec<String>, String> {
    std::fs::write(dir.join("t.cf"), text).unwrap();
    match open("ldap:./t.cf", &OpenOptions::new(dir)) {
        Ok(opened) => Ok(opened.warnings.into_iter().map(|warning| warning.message).collect()),
        Err(errors) => {
            assert!(errors[0].help.is_some() && errors[0].span.is_some(), "{errors:?}");
            Err(errors[0].message.clone())
        }
    }
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (text, message) in [
        ("version=2", "unsupported: version = 2"),
        ("bind=sasl", "unsupported: bind = sasl"),
        ("bind=maybe", "unsupported parameter value: bind = maybe"),
        ("chase_referrals=yes", "unsupported: chase_referrals = yes"),
        ("tls_cipher_suite=ALL", "unsupported: tls_cipher_suite = ALL"),
        ("scope=all", "bad scope: all"),
        ("dereference=4", "bad dereference: 4"),
        ("recursion_limit=0", "invalid recursion_limit parameter value 0 < 1"),
        ("timeout=0", "invalid timeout parameter value 0 < 1"),
        ("query_filter=(mail=%s", "bad query_filter: (mail=%s"),
        ("query_filter=(mail=%q)", "Invalid query template: (mail=%q)"),
        ("search_base=%q", "Invalid query template: %q"),
        ("server_host=http://x", "bad server_host: http://x"),
        ("server_host=ldap://a b:c", "bad server_host: b:c"),
        ("start_tls=yes\ntls_ca_cert_file=/none\ntls_require_cert=yes", "open /none: No such file or directory"),
    ] {
        assert_eq!(opened(dir.path(), text), Err(format!("./t.cf: {message}")), "{text}");
    }
}

#[test]
fn what_is_strange_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    for (text, warning) in [
        ("query_filter=(a=b)", "Fixed query_filter (a=b) is probably useless"),
        ("cache=yes", "ignoring cache"),
        ("debuglevel=1", "ignoring debuglevel"),
        ("server_hosts=x", "unknown attribute: server_hosts -- ignored"),
    ] {
        let warnings = opened(dir.path(), text).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].ends_with(warning), "{warnings:?}");
    }
    assert_eq!(opened(dir.path(), "cache=no\nsearch_base=dc=%d\n"), Ok(vec![]));
}

#[test]
fn servers_become_urls() {
    use super::*;
    let options = |hosts: &'static str| {
        let mut options = OpenOptions::new("/");
        options.parameter = Some(Arc::new(move |name: &str| match name {
            "t_server_host" => Some(hosts.to_owned()),
            "t_server_port" => Some("777".to_owned()),
            _ => None,
        }));
        options
    };
    for (hosts, expected) in [
        ("", &["ldap://localhost:777"][..]),
        ("a b:1, c", &["ldap://a:777", "ldap://b:1", "ldap://c:777"]),
        ("ldap://a LDAPS://b/ ldaps://c:1/x?y", &["ldap://a:389", "ldaps://b:636", "ldaps://c:1"]),
        ("ldap://[::1]:9 ldap://[::1]", &["ldap://[::1]:9", "ldap://[::1]:389"]),
        ("ldapi:/// ldapi://%2Fs/", &["ldapi://%2Fvar%2Frun%2Fslapd%2Fldapi", "ldapi://%2Fs"]),
        ("ldap:///", &["ldap://localhost:389"]),
    ] {
        let read = Attributes::read(&TableSpec::parse("ldap:t").unwrap(), &options(hosts)).ok().unwrap();
        assert_eq!(urls(&read.attributes).unwrap(), expected, "{hosts}");
    }
}
