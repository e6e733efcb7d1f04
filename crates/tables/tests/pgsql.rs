//! `pgsql:` tables against a real PostgreSQL, side by side with Postfix's own.
#![cfg(feature = "pgsql")]

mod served;

use served::{Case, compare, connections, crowd, get, outage, silent, table, timed};
use std::path::Path;
use std::time::Duration;
use testkit::database::{AUTHORITY, OTHER_AUTHORITY, Postgres};

const DATA: &str = r"
create table a(k text, v text, w text);
insert into a values ('k1','v1','w1'), ('u@d.com','x',null), ('two','a','A'), ('two','b','B'), ('o''k','quote',''),
  ('b\s','backslash',''), ('empty','',''), ('null',null,null), ('u','local',''), ('d.com','dom',''), ('com','tld',''),
  ('addr','p@q.r',''), ('grün','utf','');
create function find(text) returns setof text as 'select v from a where k = $1' language sql;
create role reader login password 'secret'; grant select on a to reader;
create role old login password 'secret'; grant select on a to old;
alter role old set standard_conforming_strings = off; alter role old set escape_string_warning = off;
";

const BY_KEY: &str = "query = select v from a where k='%s'";

const CASES: &[Case<'_>] = &[
    (
        BY_KEY,
        &[
            ("k1", Ok(Some("v1"))),
            ("K1", Ok(Some("v1"))),
            ("none", Ok(None)),
            ("two", Ok(Some("a,b"))),
            ("o'k", Ok(Some("quote"))),
            ("b\\s", Ok(Some("backslash"))),
            ("' or '1'='1", Ok(None)),
            ("\\' or 1=1 --", Ok(None)),
            ("x'; drop table a; --", Ok(None)),
            ("%s", Ok(None)),
            ("empty", Ok(None)),
            ("null", Ok(None)),
        ],
    ),
    ("query = select v, w from a where k='%s'", &[("two", Ok(Some("a,A,b,B"))), ("u@d.com", Ok(Some("x")))]),
    (
        "query = select v from a where k='%u'",
        &[("u@d.com", Ok(Some("local"))), ("@d.com", Ok(None)), ("u", Ok(Some("local")))],
    ),
    ("query = select v from a where k='%d'", &[("u@d.com", Ok(Some("dom"))), ("d.com", Ok(None))]),
    ("query = select v from a where k='%1'", &[("u@x.com", Ok(Some("tld"))), ("u@", Ok(None))]),
    ("query = select v from a where k='%s'\nresult_format = <%s|%U|%%>", &[("two", Ok(Some("<a|two|%>,<b|two|%>")))]),
    (
        "query = select v from a where k='%s'\nresult_format = %u at %d",
        &[("addr", Ok(Some("p at q.r"))), ("k1", Ok(None))],
    ),
    (
        "query = select v from a where k='%s'\nexpansion_limit = 1",
        &[("k1", Ok(Some("v1"))), ("two", Err("Expansion limit exceeded"))],
    ),
    (
        "query = select v from a where k='%s'\ndomain = D.com, x.y",
        &[("u@d.com", Ok(Some("x"))), ("k1", Ok(None)), ("@d.com", Ok(None))],
    ),
    (
        "query = select v from a where k='%s'\ndomain = !x.y, inline:{d.com=x}, y.z",
        &[("u@d.com", Ok(Some("x"))), ("k1", Ok(None)), ("u@x.y", Ok(None))],
    ),
    ("table = a\nselect_field = v\nwhere_field = k\nadditional_conditions = and v <> 'a'", &[("two", Ok(Some("b")))]),
    ("select_function = find", &[("k1", Ok(Some("v1"))), ("none", Ok(None))]),
    ("query = select 'no'; select v from a where k='%s'", &[("k1", Ok(Some("v1"))), ("none", Ok(None))]),
    ("query = select nothing from a", &[("k1", Err("pgsql query failed: fatal error from host 127.0.0.1:"))]),
    ("query = insert into a values('%s')", &[("k1", Err("permission denied"))]),
];

fn check_tls(dir: &Path, port: u16) {
    let (good, other) = (dir.join("ca.pem"), dir.join("other.pem"));
    std::fs::write(&good, AUTHORITY).expect("a file");
    std::fs::write(&other, OTHER_AUTHORITY).expect("a file");
    let query = "query = select ssl::text || '%s' from pg_stat_ssl where pid = pg_backend_pid()";
    for (hosts, expected) in [
        (format!("127.0.0.1:{port}"), Ok("truek")),
        (format!("postgresql://reader:secret@127.0.0.1:{port}/postgres?sslmode=disable"), Ok("falsek")),
        (format!("postgresql://reader:secret@127.0.0.1:{port}/postgres?sslmode=require"), Ok("truek")),
        (format!("postgresql://127.0.0.1:{port}?sslmode=verify-full&sslrootcert={}", good.display()), Ok("truek")),
        (format!("postgresql://127.0.0.1:{port}?sslmode=verify-ca&sslrootcert={}", good.display()), Ok("truek")),
        (
            format!("postgresql://127.0.0.1:{port}?sslmode=verify-ca&sslrootcert={}", other.display()),
            Err("UnknownIssuer"),
        ),
        (format!("postgresql://localhost:{port}?sslmode=verify-full&sslrootcert={}", good.display()), Ok("truek")),
    ] {
        let text = format!("hosts = {hosts}\nuser = reader\npassword = secret\ndbname = postgres\n{query}\n");
        let found = get(&*table(dir, "pgsql", &text).table, "k");
        match (&found, expected) {
            (Ok(value), Ok(wanted)) => assert_eq!(value.as_deref(), Some(wanted), "{hosts}"),
            (Err(text), Err(part)) => assert!(text.contains(part) && !text.contains("secret"), "{hosts}: {text}"),
            _ => panic!("{hosts}: {found:?}"),
        }
    }
}

#[test]
fn against_the_real_server() {
    let Some(mut server) = Postgres::start("pgsql tables") else { return };
    server.sql(DATA);
    let dir = testkit::temp_dir().expect("a directory");
    let (dir, port) = (dir.path(), server.port);
    let login =
        |user: &str, hosts: &str| format!("hosts = {hosts}\nuser = {user}\npassword = secret\ndbname = postgres\n");
    let tcp = format!("127.0.0.1:{port}");
    compare(dir, "pgsql", &login("reader", &tcp), CASES);
    let socket = server.sockets().display().to_string().replace('/', "%2F");
    let socket = format!("postgresql://reader@/postgres?host={socket}&port={port}");
    compare(dir, "pgsql", &login("reader", &socket), &[(BY_KEY, &[("k1", Ok(Some("v1")))])]);
    // Postfix before 3.9 said LATIN1 to the server, so it is no witness.
    let opened = table(dir, "pgsql", &(login("reader", &tcp) + BY_KEY));
    assert_eq!(get(&*opened.table, "grün"), Ok(Some("utf".to_owned())));
    drop(opened);
    // Here a backslash escapes.
    let attacks = &[("b\\s", Ok(Some("backslash"))), ("\\' or 1=1 --", Ok(None)), ("o'k", Ok(Some("quote")))];
    compare(dir, "pgsql", &login("old", &tcp), &[(BY_KEY, attacks)]);

    let wrong = login("reader", &tcp).replace("secret", "a secret word") + BY_KEY;
    let text = get(&*table(dir, "pgsql", &wrong).table, "k1").expect_err("a wrong password");
    assert!(text.contains("password authentication failed") && !text.contains("secret"), "{text}");
    check_tls(dir, port);

    let (_listener, nobody) = silent();
    let impatient = "\npostern_timeout = 1\nretry_interval = 1\n";
    let opened = table(dir, "pgsql", &(login("reader", &format!("127.0.0.1:{nobody}")) + BY_KEY + impatient));
    let (found, took) = timed(|| get(&*opened.table, "k1"));
    assert!(found.is_err_and(|text| text.ends_with("no answer in time")), "it says nothing");
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&took), "{took:?}");
    let (found, took) = timed(|| get(&*opened.table, "k1"));
    assert!(found.is_err() && took < Duration::from_millis(500), "known to be down: {took:?}");
    drop(opened);
    let dead = testkit::ports::free_port();
    for other in [nobody, dead] {
        let hosts = format!("127.0.0.1:{other}, inet:127.0.0.1:{port}");
        let opened = table(dir, "pgsql", &(login("reader", &hosts) + BY_KEY + impatient));
        (0..4).for_each(|_| assert_eq!(get(&*opened.table, "k1"), Ok(Some("v1".to_owned())), "{hosts}"));
    }

    let opened = table(dir, "pgsql", &(login("reader", &tcp) + BY_KEY + impatient));
    crowd(&*opened.table, port, "two", "a,b");
    let server = std::cell::RefCell::new(&mut server);
    outage(&*opened.table, ("k1", "v1"), || server.borrow_mut().kill(), || server.borrow_mut().start_again());
    drop(opened);
    assert!(testkit::wait_until(Duration::from_secs(5), || connections(port) == 0), "all are closed with the table");
}
