//! `ldap:` tables against a real slapd, side by side with Postfix's own.
#![cfg(feature = "ldap")]

mod served;

use served::{Case, compare, connections, crowd, get, outage, silent, table, timed};
use std::path::Path;
use std::time::Duration;
use testkit::database::{AUTHORITY, OTHER_AUTHORITY, Slapd};

/// People have `mail` for where they are reached, groups have `member` and `labeledURI` (the special attributes here);
/// `description` is terminal and `title` is for leaves.
const ENTRIES: &str = "\
dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: A
mail: ann@example.org
mail: ann@example.net
title: leaf of ann

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob (the * builder) \\x
sn: B
mail: bob@example.org
mail;lang-de: bob.de@example.org
title: leaf of bob

dn: uid=eve,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: eve
cn: Eve
sn: E
mail: eve
description: terminal of eve
title: leaf of eve

dn: cn=all,dc=example,dc=org
objectClass: groupOfNames
cn: all
member: uid=ann,ou=people,dc=example,dc=org
member: uid=gone,ou=people,dc=example,dc=org
member: cn=nested,dc=example,dc=org

dn: cn=nested,dc=example,dc=org
objectClass: groupOfNames
objectClass: labeledURIObject
cn: nested
member: uid=eve,ou=people,dc=example,dc=org
labeledURI: ldap:///ou=people,dc=example,dc=org?mail?one?(uid=bob)

dn: cn=loop,dc=example,dc=org
objectClass: groupOfNames
cn: loop
member: cn=loop,dc=example,dc=org

dn: cn=broken,dc=example,dc=org
objectClass: labeledURIObject
objectClass: device
cn: broken
labeledURI: ldap:///dc=example,dc=org??sideways

dn: dc=d,dc=example,dc=org
objectClass: domain
dc: d

dn: uid=local,dc=d,dc=example,dc=org
objectClass: account
objectClass: simpleSecurityObject
uid: local
userPassword: secret
description: in the domain
";

const BY_UID: &str = "search_base = dc=example,dc=org\nquery_filter = (uid=%s)\nresult_attribute = mail";

const GROUP: &str = "search_base = dc=example, dc=org\nquery_filter = (cn=%s)\nresult_attribute = mail\n\
                     special_result_attribute = member, labeledURI";

const CASES: &[Case<'_>] = &[
    (
        BY_UID,
        &[
            ("ann", Ok(Some("ann@example.org,ann@example.net"))),
            ("ANN", Ok(Some("ann@example.org,ann@example.net"))),
            ("bob", Ok(Some("bob@example.org,bob.de@example.org"))),
            ("none", Ok(None)),
            ("*", Ok(None)),
            ("a*", Ok(None)),
            ("ann)(uid=*", Ok(None)),
            ("\\2a", Ok(None)),
        ],
    ),
    (
        "search_base = dc=example,dc=org\nquery_filter = cn=%s\nresult_attribute = uid, sn",
        &[("bob (the * builder) \\x", Ok(Some("bob,B"))), ("ann", Ok(Some("ann,A")))],
    ),
    (
        "search_base = dc=example,dc=org\nquery_filter = (| (uid=%u) (cn=%u) )\nresult_attribute = uid",
        &[("ann@x.y", Ok(Some("ann"))), ("eve", Ok(Some("eve"))), ("@x.y", Ok(None))],
    ),
    (
        "search_base = dc=%2,dc=example,dc=org\nquery_filter = (uid=%u)\nresult_attribute = description",
        &[("local@d.x", Ok(Some("in the domain"))), ("local@e.x", Ok(None)), ("local@x", Ok(None))],
    ),
    (
        "search_base = dc=%u,dc=example,dc=org\nquery_filter = (uid=local)\nresult_attribute = uid",
        &[("d@x", Ok(Some("local"))), ("d,dc=example@x", Ok(None)), ("q\"+<>;#\\@x", Ok(None))],
    ),
    (
        "search_base = dc=gone\nquery_filter = (uid=%s)\nresult_attribute = uid",
        &[("ann", Err("Search base 'dc=gone' not found: 32"))],
    ),
    (
        "search_base = dc=example,dc=org\nscope = one\nquery_filter = (uid=%s)\nresult_attribute = uid",
        &[("ann", Ok(None))],
    ),
    (
        "search_base = uid=%s,ou=people,dc=example,dc=org\nscope = base\nquery_filter = (objectClass=*)\nresult_attribute = sn",
        &[("ann", Ok(Some("A"))), ("none", Ok(None))],
    ),
    (GROUP, &[("all", Ok(Some("ann@example.org,ann@example.net,eve,bob@example.org,bob.de@example.org")))]),
    (
        "search_base = dc=example,dc=org\nquery_filter = (cn=%s)\nresult_attribute =\nleaf_result_attribute = title\n\
         terminal_result_attribute = description\nspecial_result_attribute = member",
        &[("all", Ok(Some("leaf of ann,terminal of eve"))), ("bob (the * builder) \\x", Ok(Some("leaf of bob")))],
    ),
    (
        "search_base = dc=example,dc=org\nquery_filter = (cn=%s)\nresult_attribute = mail\nrecursion_limit = 3\n\
         special_result_attribute = member, labeledURI",
        &[
            ("all", Ok(Some("ann@example.org,ann@example.net,eve,bob@example.org,bob.de@example.org"))),
            ("loop", Err("Recursion limit exceeded for special attribute member=cn=loop,dc=example,dc=org")),
            ("broken", Err("malformed URL")),
        ],
    ),
    (
        "search_base = dc=example,dc=org\nquery_filter = (uid=%s)\nresult_attribute = mail\nexpansion_limit = 1",
        &[("ann", Err("Expansion limit exceeded")), ("eve", Ok(Some("eve")))],
    ),
    (
        "search_base = dc=example,dc=org\nquery_filter = (objectClass=%s)\nresult_attribute = uid\nsize_limit = 2",
        &[("inetorgperson", Err("Search error 4: Size limit exceeded")), ("account", Ok(Some("local")))],
    ),
    (
        "search_base = dc=example,dc=org\nquery_filter = (uid=%u)\nresult_attribute = mail\ndomain = x.y\n\
         result_filter = %u|%d|%S",
        &[
            ("ann@X.y", Ok(Some("ann|example.org|ann@x.y,ann|example.net|ann@x.y"))),
            ("eve@x.y", Ok(None)),
            ("ann", Ok(None)),
        ],
    ),
];

fn check_tls(dir: &Path, server: &Slapd) {
    let (good, other) = (dir.join("ca.pem"), dir.join("other.pem"));
    std::fs::write(&good, AUTHORITY).expect("a file");
    std::fs::write(&other, OTHER_AUTHORITY).expect("a file");
    let (good, other) = (good.display(), other.display());
    let (plain, tls) = (server.port, server.tls_port);
    for (attributes, expected) in [
        (format!("server_host = ldap://127.0.0.1:{plain}\nstart_tls = yes"), Ok(())),
        (format!("server_host = ldaps://127.0.0.1:{tls}"), Ok(())),
        (format!("server_host = ldaps://127.0.0.1:{tls}\ntls_require_cert = yes\ntls_ca_cert_file = {good}"), Ok(())),
        (
            format!(
                "server_host = localhost:{plain}\nstart_tls = yes\ntls_require_cert = yes\ntls_ca_cert_file = {good}"
            ),
            Ok(()),
        ),
        (
            format!("server_host = ldaps://127.0.0.1:{tls}\ntls_require_cert = yes\ntls_ca_cert_file = {other}"),
            Err("UnknownIssuer"),
        ),
    ] {
        let text = format!("{attributes}\nversion = 3\n{BY_UID}\n");
        let found = get(&*table(dir, "ldap", &text).table, "eve");
        match (&found, expected) {
            (Ok(value), Ok(())) => assert_eq!(value.as_deref(), Some("eve"), "{attributes}"),
            (Err(text), Err(part)) => assert!(text.contains(part), "{attributes}: {text}"),
            _ => panic!("{attributes}: {found:?}"),
        }
    }
}

#[test]
fn against_the_real_server() {
    let Some(mut server) = Slapd::start("ldap tables", ENTRIES) else { return };
    let dir = testkit::temp_dir().expect("a directory");
    let (dir, port) = (dir.path(), server.port);
    let at = |hosts: &str| format!("server_host = {hosts}\nversion = 3\n");
    compare(dir, "ldap", &at(&format!("127.0.0.1:{port}")), CASES);
    let eve: &[Case<'_>] = &[(BY_UID, &[("eve", Ok(Some("eve")))])];
    let login = "bind_dn = uid=local,dc=d,dc=example,dc=org\nbind_pw = secret\n";
    compare(dir, "ldap", &(at(&server.socket_url()) + login), eve);
    compare(dir, "ldap", &format!("server_host = 127.0.0.1\nserver_port = {port}\nversion = 3\nbind = no\n"), eve);

    let wrong = at(&format!("127.0.0.1:{port}")) + &login.replace("secret", "a secret word") + BY_UID;
    let text = get(&*table(dir, "ldap", &wrong).table, "eve").expect_err("a wrong password");
    let expected = format!(
        "dict_ldap_connect: Unable to bind to server ldap://127.0.0.1:{port} with dn uid=local,dc=d,dc=example,dc=org: \
         49 (Invalid credentials)"
    );
    assert_eq!(text, expected);
    check_tls(dir, &server);

    let (_listener, nobody) = silent();
    let opened = table(dir, "ldap", &(at(&format!("127.0.0.1:{nobody}")) + BY_UID + "\ntimeout = 1\n"));
    let (found, took) = timed(|| get(&*opened.table, "eve"));
    assert!(found.is_err_and(|text| text.ends_with("-5 (Timed out)")), "it says nothing");
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&took), "{took:?}");
    let (found, took) = timed(|| get(&*opened.table, "eve"));
    assert!(found.is_err() && took < Duration::from_millis(500), "known to be down: {took:?}");
    let dead = testkit::ports::free_port();
    for other in [nobody, dead] {
        let hosts = format!("127.0.0.1:{other}, ldap://127.0.0.1:{port}");
        let opened = table(dir, "ldap", &(at(&hosts) + BY_UID + "\ntimeout = 1\n"));
        (0..3).for_each(|_| assert_eq!(get(&*opened.table, "eve"), Ok(Some("eve".to_owned())), "{hosts}"));
    }

    let opened = table(dir, "ldap", &(at(&format!("127.0.0.1:{port}")) + BY_UID + "\ntimeout = 5\n"));
    crowd(&*opened.table, port, "eve", "eve");
    let server = std::cell::RefCell::new(&mut server);
    outage(&*opened.table, ("eve", "eve"), || server.borrow_mut().kill(), || server.borrow_mut().start_again());
    drop(opened);
    assert!(testkit::wait_until(Duration::from_secs(5), || connections(port) == 0), "all are closed with the table");
}
