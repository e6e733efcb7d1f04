//! `mysql:` tables against a real MariaDB, side by side with Postfix's own.
#![cfg(feature = "mysql")]

mod served;

use served::{Case, compare, connections, crowd, get, outage, silent, table, timed};
use std::path::Path;
use std::time::Duration;
use testkit::database::{AUTHORITY, Mariadb, OTHER_AUTHORITY};

const DATA: &str = r"
set names utf8mb4; set sql_mode = '';
create database mail character set utf8mb4; use mail;
create table a(k varchar(190) collate utf8mb4_bin, v varchar(190), w varchar(190));
insert into a values ('k1','v1','w1'), ('u@d.com','x',null), ('two','a','A'), ('two','b','B'), ('o\'k','quote',''),
  ('b\\s','backslash',''), ('q\'\'\\','all',''), ('empty','',''), ('null',null,null), ('u','local',''),
  ('d.com','dom',''), ('com','tld',''), ('addr','p@q.r',''), ('grün','utf','');
delimiter //
create procedure one(in key_ varchar(190)) reads sql data begin select v from a where k = key_; end//
create procedure none(in key_ varchar(190)) reads sql data begin declare found int; select count(*) into found from a; end//
create procedure many(in key_ varchar(190)) reads sql data begin select v from a where k = key_; select 'more'; end//
delimiter ;
create user reader@'%' identified by 'secret'; grant select, execute on mail.* to reader@'%';
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
            ("q''\\", Ok(Some("all"))),
            ("' or '1'='1", Ok(None)),
            ("\\' or 1=1 -- ", Ok(None)),
            ("x'; drop table a; -- ", Ok(None)),
            ("%s", Ok(None)),
            ("empty", Ok(None)),
            ("null", Ok(None)),
        ],
    ),
    (r#"query = select v from a where k="%s""#, &[("o'k", Ok(Some("quote"))), ("\" or 1=1 -- ", Ok(None))]),
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
    ("table = a\nselect_field = v\nwhere_field = k\nadditional_conditions = and v <> 'a'", &[("two", Ok(Some("b")))]),
    ("query = select 7, 1.5, length('%s')", &[("four", Ok(Some("7,1.5,4")))]),
    ("query = call one('%s')", &[("k1", Ok(Some("v1"))), ("two", Ok(Some("a,b"))), ("none", Ok(None))]),
    ("query = call none('%s')", &[("k1", Err("no result set"))]),
    ("query = call none('%s')\nrequire_result_set = no", &[("k1", Ok(None))]),
    ("query = call many('%s')", &[("k1", Err("multiple result sets")), ("k1", Err("multiple result sets"))]),
    ("query = select nothing from a", &[("k1", Err("mysql query failed: Unknown column 'nothing'"))]),
    ("query = delete from a where k='%s'", &[("k1", Err("mysql query failed: DELETE command denied"))]),
];

fn check_tls(dir: &Path, port: u16) {
    let (good, other) = (dir.join("ca.pem"), dir.join("other.pem"));
    std::fs::write(&good, AUTHORITY).expect("a file");
    std::fs::write(&other, OTHER_AUTHORITY).expect("a file");
    let query = "query = select if(variable_value = '', 'plain', 'tls') from information_schema.session_status where \
                 variable_name = 'SSL_CIPHER' and '%s' <> ''";
    for (attributes, expected) in [
        (String::new(), Ok("plain")),
        (format!("tls_CAfile = {}", good.display()), Ok("tls")),
        (format!("tls_CAfile = {}\ntls_verify_cert = yes", good.display()), Ok("tls")),
        (format!("tls_CAfile = {}\ntls_verify_cert = yes", other.display()), Err("UnknownIssuer")),
    ] {
        let login = format!("hosts = 127.0.0.1:{port}\nuser = reader\npassword = secret\ndbname = mail\n");
        let found = get(&*table(dir, "mysql", &format!("{login}{attributes}\n{query}\n")).table, "k");
        match (&found, expected) {
            (Ok(value), Ok(wanted)) => assert_eq!(value.as_deref(), Some(wanted), "{attributes}"),
            (Err(text), Err(part)) => assert!(text.contains(part) && !text.contains("secret"), "{attributes}: {text}"),
            _ => panic!("{attributes}: {found:?}"),
        }
    }
}

#[test]
fn against_the_real_server() {
    let Some(mut server) = Mariadb::start("mysql tables") else { return };
    server.sql(DATA);
    let dir = testkit::temp_dir().expect("a directory");
    let (dir, port) = (dir.path(), server.port);
    let login = |hosts: &str| format!("hosts = {hosts}\nuser = reader\npassword = secret\ndbname = mail\n");
    let tcp = format!("127.0.0.1:{port}");
    compare(dir, "mysql", &login(&tcp), CASES);
    let socket = format!("unix:{}", server.socket().display());
    compare(dir, "mysql", &login(&socket), &[(BY_KEY, &[("k1", Ok(Some("v1")))])]);
    assert_eq!(get(&*table(dir, "mysql", &(login(&tcp) + BY_KEY)).table, "grün"), Ok(Some("utf".to_owned())));
    // A server where a backslash is an ordinary character.
    server.sql("set global sql_mode = 'NO_BACKSLASH_ESCAPES'");
    let opened = table(dir, "mysql", &(login(&tcp) + BY_KEY));
    for (key, value) in [("\\' or 1=1 -- ", None), ("b\\s", Some("backslash")), ("o'k", Some("quote"))] {
        assert_eq!(get(&*opened.table, key), Ok(value.map(str::to_owned)), "{key}");
    }
    server.sql("set global sql_mode = ''");
    drop(opened);

    let wrong = login(&tcp).replace("secret", "a secret word") + BY_KEY;
    let text = get(&*table(dir, "mysql", &wrong).table, "k1").expect_err("a wrong password");
    assert!(text.contains("Access denied for user 'reader'") && !text.contains("secret"), "{text}");
    check_tls(dir, port);

    let (_listener, nobody) = silent();
    let impatient = "\npostern_timeout = 1\nretry_interval = 1\n";
    let opened = table(dir, "mysql", &(login(&format!("127.0.0.1:{nobody}")) + BY_KEY + impatient));
    let (found, took) = timed(|| get(&*opened.table, "k1"));
    assert!(found.is_err_and(|text| text.ends_with("no answer in time")), "it says nothing");
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&took), "{took:?}");
    let (found, took) = timed(|| get(&*opened.table, "k1"));
    assert!(found.is_err() && took < Duration::from_millis(500), "known to be down: {took:?}");
    drop(opened);
    let dead = testkit::ports::free_port();
    for other in [nobody, dead] {
        let hosts = format!("127.0.0.1:{other}, inet:127.0.0.1:{port}");
        let opened = table(dir, "mysql", &(login(&hosts) + BY_KEY + impatient));
        (0..4).for_each(|_| assert_eq!(get(&*opened.table, "k1"), Ok(Some("v1".to_owned())), "{hosts}"));
    }

    let opened = table(dir, "mysql", &(login(&tcp) + BY_KEY + impatient));
    crowd(&*opened.table, port, "two", "a,b");
    {
        let server = std::cell::RefCell::new(&mut server);
        outage(&*opened.table, ("k1", "v1"), || server.borrow_mut().kill(), || server.borrow_mut().start_again());
    }
    // Good-bye is said: the server counts no client as gone without a word.
    let aborted = "select variable_value from information_schema.global_status where variable_name = 'Aborted_clients'";
    let before = server.sql(aborted);
    drop(opened);
    assert!(testkit::wait_until(Duration::from_secs(5), || connections(port) == 0), "all are closed with the table");
    assert_eq!(server.sql(aborted), before);
}
