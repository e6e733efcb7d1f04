//! Tables in databases and directories that die and come back under a running server. The program must have all types
//! of tables: POSTERN_ALL_TABLES names it.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use testkit::database::{Mariadb, Postgres, Slapd};
use testkit::{Dialog, Program, wait_until};

use crate::server::{Server, give_away};

/// The program with all types of tables.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("POSTERN_ALL_TABLES").map(PathBuf::from);
    if path.is_none() {
        testkit::tools::skipped("tables in databases, end to end", "POSTERN_ALL_TABLES doesn't name a program");
    }
    path
}

/// The answer to a recipient, in a session that goes on.
fn answer(dialog: &mut Dialog, to: &str) -> String {
    dialog.command("RSET").expect("a reply");
    assert_eq!(dialog.command("MAIL FROM:<a@example.org>").expect("a reply"), "250 2.1.0 Ok");
    dialog.command(&format!("RCPT TO:<{to}>")).expect("a reply")
}

/// What is expected of a table and of the server that uses it.
struct Outage<'o> {
    /// main.cf besides the usual; the table's file is `$config_directory/table.cf`.
    settings: &'o str,
    table: String,
    /// A recipient, and what it gets while all is well.
    recipient: (&'o str, &'o str),
    /// What it gets while the database is down, and what the log has.
    refusal: &'o str,
    log: &'o [&'o str],
}

impl Outage<'_> {
    fn check(&self, postern: &std::path::Path, kill: impl FnOnce(), start_again: impl FnOnce()) {
        let server = Server::start_by(self.settings, |dir| {
            let table = dir.join("etc/table.cf");
            fs::write(&table, &self.table).expect("a table");
            // It holds a password.
            fs::set_permissions(&table, fs::Permissions::from_mode(0o600)).expect("it is ours");
            give_away(&[&table]);
            Program::serve(postern, &dir.join("etc")).expect("the program starts")
        });
        let (recipient, well) = self.recipient;
        let mut dialog = server.dialog();
        assert_eq!(answer(&mut dialog, recipient), well, "{}", server.tail());
        kill();
        assert_eq!(answer(&mut dialog, recipient), self.refusal, "{}", server.tail());
        self.log.iter().for_each(|text| server.wait_log(text));
        server.wait_log(&format!("reject: RCPT from localhost[127.0.0.1]: {}; from=<a@example.org>", self.refusal));
        start_again();
        let is_well = || answer(&mut dialog, recipient) == well;
        assert!(wait_until(Duration::from_secs(20), is_well), "{}", server.tail());
        assert!(!server.log().contains("secret"), "{}", server.log());
        assert_eq!(dialog.command("QUIT").expect("a reply"), "221 2.0.0 Bye");
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn mysql_comes_back() {
    let Some((postern, database)) = program().zip(Mariadb::start("mysql tables, end to end")) else { return };
    database.sql(
        "create database mail; create table mail.a(k varchar(190), v varchar(190));
         insert into mail.a values('alias@example.com', 'user@example.com');
         create user reader@'%' identified by 'secret'; grant select on mail.* to reader@'%';",
    );
    let host = format!("127.0.0.1:{}", database.port);
    let outage = Outage {
        settings: "virtual_alias_maps = mysql:$config_directory/table.cf\n",
        table: format!(
            "hosts = {host}\nuser = reader\npassword = secret\ndbname = mail\nretry_interval = 1\n\
             query = select v from a where k = '%s'\n"
        ),
        recipient: ("alias@example.com", "250 2.1.5 Ok"),
        refusal: "451 4.3.0 <alias@example.com>: Temporary lookup failure",
        log: &[
            &format!("warning: connect to mysql server {host}: Connection refused"),
            "/table.cf lookup error for \"alias@example.com\"",
        ],
    };
    let database = RefCell::new(database);
    outage.check(&postern, || database.borrow_mut().kill(), || database.borrow_mut().start_again());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn pgsql_comes_back() {
    let Some((postern, database)) = program().zip(Postgres::start("pgsql tables, end to end")) else { return };
    database.sql(
        "create table a(k text, v text); insert into a values('bad@example.com', 'REJECT by table');
         create role reader login password 'secret'; grant select on a to reader;",
    );
    let host = format!("127.0.0.1:{}", database.port);
    let outage = Outage {
        settings: "smtpd_recipient_restrictions = check_recipient_access pgsql:$config_directory/table.cf, \
                   reject_unauth_destination\n",
        table: format!(
            "hosts = {host}\nuser = reader\npassword = secret\ndbname = postgres\nretry_interval = 1\n\
             query = select v from a where k = '%s'\n"
        ),
        recipient: ("bad@example.com", "554 5.7.1 <bad@example.com>: Recipient address rejected: by table"),
        refusal: "451 4.3.5 <bad@example.com>: Recipient address rejected: Server configuration error",
        log: &[
            &format!("warning: connect to pgsql server {host}: Connection refused"),
            "/table.cf lookup error for \"bad@example.com\"",
        ],
    };
    let database = RefCell::new(database);
    outage.check(&postern, || database.borrow_mut().kill(), || database.borrow_mut().start_again());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn ldap_comes_back() {
    let entry = "dn: uid=user,dc=example,dc=org\nobjectClass: account\nuid: user\n";
    let Some((postern, directory)) = program().zip(Slapd::start("ldap tables, end to end", entry)) else { return };
    let url = format!("ldap://127.0.0.1:{}", directory.port);
    let outage = Outage {
        settings: "local_recipient_maps = ldap:$config_directory/table.cf\n",
        table: format!(
            "server_host = {url}\nsearch_base = dc=example,dc=org\nquery_filter = (uid=%u)\nresult_attribute = uid\n\
             bind_dn = cn=admin,dc=example,dc=org\nbind_pw = secret\ndomain = example.com\n"
        ),
        recipient: ("user@example.com", "250 2.1.5 Ok"),
        refusal: "451 4.3.0 <user@example.com>: Temporary lookup failure",
        log: &[&format!(
            "warning: dict_ldap_connect: Unable to bind to server {url} with dn cn=admin,dc=example,dc=org: -1"
        )],
    };
    let directory = RefCell::new(directory);
    outage.check(&postern, || directory.borrow_mut().kill(), || directory.borrow_mut().start_again());
}
