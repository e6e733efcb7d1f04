//! Logins: AUTH at Debian's Dovecot, with clients that others wrote.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use testkit::tls::{self, SecureDialog, Visitor};
use testkit::tools::{find, skipped};
use testkit::{Dialog, Dovecot, Program, wait_until};

use crate::server::{Server, give_away, postern};

/// `\0user\0secret` and others, as PLAIN has them.
pub const RIGHT: &str = "AUTH PLAIN AHVzZXIAc2VjcmV0";
pub const WRONG: &str = "AUTH PLAIN AHVzZXIAd3Jvbmc=";
pub const NOBODY: &str = "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=";
pub const DONE: &str = "235 2.7.0 Authentication successful";
pub const REFUSED: &str = "535 5.7.8 Error: authentication failed: (reason unavailable)";

/// Mail for anywhere is taken from those who have logged in.
pub const RELAY: &str = "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n";

pub fn server(path: &str, settings: &str) -> Server {
    Server::start(&format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {path}\n{RELAY}{settings}"
    ))
}

/// The line of the EHLO reply that begins with AUTH, without its code.
pub fn offered(ehlo: &str) -> Option<&str> {
    ehlo.lines().map(|line| line.get(4..).unwrap_or_default()).find(|line| line.starts_with("AUTH"))
}

pub fn ehlo(dialog: &mut Dialog) -> String {
    dialog.command("EHLO client.example.net").expect("a reply")
}

/// Does GNU SASL's client get in?
pub fn gsasl(server: &Server, mechanism: &str, user: &str, password: &str) -> Option<Output> {
    let mut command = Command::new(find("gsasl")?);
    command.args(["--smtp", "--connect", &format!("127.0.0.1:{}", server.port), "--no-starttls", "--no-cb", "-d"]);
    command.args(["-m", mechanism, "-a", user, "-p", password, "--quiet"]).stdin(std::process::Stdio::null());
    Some(command.output().expect("it runs"))
}

/// Does swaks get in?
pub fn swaks(server: &Server, mechanism: &str, user: &str, password: &str) -> Option<Output> {
    let mut command = Command::new(find("swaks")?);
    command.args(["--server", "127.0.0.1", "--port", &server.port.to_string(), "--ehlo", "client.example.net"]);
    command.args(["--auth", mechanism, "--auth-user", user, "--auth-password", password, "--quit-after", "AUTH"]);
    Some(command.output().expect("it runs"))
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// All that a Dovecot offers, over one kind of socket.
fn logs_in_by(dovecot: &Dovecot, path: &str) {
    let server = server(path, "smtpd_sasl_authenticated_header = yes\n");
    let mut dialog = server.dialog();
    assert_eq!(offered(&ehlo(&mut dialog)), Some("AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256"), "{}", server.tail());
    for (command, user) in [(WRONG, "user"), (NOBODY, "nobody")] {
        assert_eq!(dialog.command(command).expect("a reply"), REFUSED, "{}", dovecot.inet());
        server.wait_log(&format!(
            "warning: localhost[127.0.0.1]: SASL PLAIN authentication failed: (reason unavailable), sasl_username={user}"
        ));
    }
    assert!(
        dialog.message("a@example.org", "user@example.net", "x").is_err_and(|e| e.to_string().contains("554 5.7.1"))
    );
    assert_eq!(dialog.command("RSET").expect("a reply"), "250 2.0.0 Ok");
    assert_eq!(dialog.command(RIGHT).expect("a reply"), DONE);
    assert!(dialog.message("a@example.org", "user@example.com", "x").expect("a reply").starts_with("250 2.0.0 Ok"));
    server.wait_log(": client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=user\n");
    let mail = &server.wait_mail("user", 1)[0];
    assert!(mail.contains("\n\t(Authenticated sender: user)\n"), "{mail}");

    let mut dialog = server.dialog();
    for (line, reply) in [
        ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        ("dXNlcg==", "334 UGFzc3dvcmQ6"),
        ("d3Jvbmc=", REFUSED),
        ("AUTH LOGIN dXNlcg==", "334 UGFzc3dvcmQ6"),
        ("*", "501 5.7.0 Authentication aborted"),
        ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        ("dXNlcg==", "334 UGFzc3dvcmQ6"),
        ("c2VjcmV0", DONE),
    ] {
        assert_eq!(dialog.command(line).expect("a reply"), reply, "{line}\n{}", server.tail());
    }
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        for (password, reply) in [("secret", "235 2.7.0"), ("wrong", "535 5.7.8")] {
            match swaks(&server, mechanism, "user", password) {
                Some(output) => assert!(text(&output).contains(reply), "{mechanism}: {}", text(&output)),
                None => skipped("logging in with swaks", "package swaks is missing"),
            }
        }
    }
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"] {
        for (password, succeeds) in [("secret", true), ("wrong", false)] {
            match gsasl(&server, mechanism, "user", password) {
                Some(output) => assert_eq!(output.status.success(), succeeds, "{mechanism}: {}", text(&output)),
                None => skipped("logging in with gsasl", "package gsasl is missing"),
            }
        }
    }
    server.wait_log(
        "warning: localhost[127.0.0.1]: SASL SCRAM-SHA-256 authentication failed: (reason unavailable), \
         sasl_username=user",
    );
    assert!(!server.log().contains("secret"), "{}", server.tail());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn dovecot_lets_in_who_knows_the_password() {
    let Some(dovecot) = Dovecot::start("logins at Dovecot", "plain login cram-md5 scram-sha-256") else { return };
    logs_in_by(&dovecot, &dovecot.unix());
    logs_in_by(&dovecot, &dovecot.inet());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn dovecot_dies_and_comes_back() {
    let Some(mut dovecot) = Dovecot::start("a Dovecot that dies", "plain login") else { return };
    for path in [dovecot.unix(), dovecot.inet()] {
        let server = server(&path, "");
        let mut dialog = server.dialog();
        assert_eq!(dialog.command(WRONG).expect("a reply"), REFUSED);
        assert_eq!(dialog.command("AUTH LOGIN dXNlcg==").expect("a reply"), "334 UGFzc3dvcmQ6");
        dovecot.stop();
        // in the middle of an exchange, and at the beginning of one
        let lost = "454 4.7.0 Temporary authentication failure: Connection lost to authentication server";
        assert_eq!(dialog.command("c2VjcmV0").expect("a reply"), lost, "{}", server.tail());
        let reply = dialog.command(RIGHT).expect("a reply");
        assert!(reply.starts_with("454 4.7.0 Temporary authentication failure: "), "{reply}");
        server.wait_log(
            "warning: localhost[127.0.0.1]: SASL LOGIN authentication failed: Connection lost to authentication server",
        );
        // who comes now isn't served, as by Postfix
        let mut other = Dialog::connect(server.port).expect("a connection");
        assert_eq!(other.reply().expect("the end"), "");
        server.wait_log(&format!("warning: SASL: Connect to {path} failed: "));
        server.wait_log("fatal: no SASL authentication mechanisms");
        dovecot.start_again();
        // sessions that come within a second share the failure
        let succeeds = || dialog.command(RIGHT).is_ok_and(|reply| reply == DONE);
        assert!(wait_until(Duration::from_secs(10), succeeds), "{}", server.tail());
        assert!(server.dialog().command(RIGHT).is_ok_and(|reply| reply == DONE), "{}", server.tail());
    }
}

/// A server with a key.
fn secure_server(settings: &str) -> Server {
    let all = format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_tls_security_level = may
smtpd_tls_chain_files = $config_directory/keys.pem\n{RELAY}{settings}"
    );
    Server::start_by(&all, |dir| {
        fs::write(dir.join("etc/keys.pem"), tls::ECDSA).expect("a key");
        Program::serve(&postern(), &dir.join("etc")).expect("the program starts")
    })
}

fn starttls(server: &Server) -> SecureDialog {
    SecureDialog::starttls(server.dialog(), Visitor::default()).unwrap_or_else(|e| panic!("{e}\n{}", server.tail()))
}

#[test]
#[ignore = "run by cargo xtask test"]
fn logins_under_tls_only() {
    let Some(dovecot) = Dovecot::start("logins under TLS", "plain login") else { return };
    let server = secure_server(&format!("smtpd_sasl_path = {}\nsmtpd_tls_auth_only = yes\n", dovecot.unix()));
    let mut dialog = server.dialog();
    assert_eq!(offered(&ehlo(&mut dialog)), None);
    assert_eq!(dialog.command(RIGHT).expect("a reply"), "503 5.5.1 Error: authentication not enabled");
    let mut dialog = starttls(&server);
    assert_eq!(offered(&dialog.command("EHLO a").expect("a reply")), Some("AUTH PLAIN LOGIN"));
    assert_eq!(dialog.command(RIGHT).expect("a reply"), DONE);
    for line in ["MAIL FROM:<a@example.org>", "RCPT TO:<u@example.com>", "RSET"] {
        assert!(dialog.command(line).expect("a reply").starts_with("250"));
    }
    server.wait_log(": client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=user\n");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn options_filters_and_exceptions() {
    let Some(dovecot) = Dovecot::start("options of logins", "plain login cram-md5 anonymous") else { return };
    let server = secure_server(&format!(
        "smtpd_sasl_path = {}\nsmtpd_sasl_security_options = noanonymous, noplaintext
smtpd_sasl_tls_security_options = noanonymous\nsmtpd_sasl_mechanism_filter = !login, static:rest
smtpd_sasl_exceptions_networks = 127.0.7.0/24\nbroken_sasl_auth_clients = yes\n",
        dovecot.unix()
    ));
    let mut dialog = server.dialog();
    let greeting = ehlo(&mut dialog);
    assert!(greeting.contains("250-AUTH CRAM-MD5\n250-AUTH=CRAM-MD5\n"), "{greeting}");
    let refused = "535 5.7.8 Error: authentication failed: Invalid authentication mechanism: 'PLAIN'";
    assert_eq!(dialog.command(RIGHT).expect("a reply"), refused);
    let mut dialog = starttls(&server);
    assert_eq!(offered(&dialog.command("EHLO a").expect("a reply")), Some("AUTH PLAIN CRAM-MD5"));
    let refused = "535 5.7.8 Error: authentication failed: Invalid authentication mechanism: 'LOGIN'";
    assert_eq!(dialog.command("AUTH LOGIN").expect("a reply"), refused);
    assert_eq!(dialog.command(RIGHT).expect("a reply"), DONE);
    let mut excepted = Dialog::connect_from([127, 0, 7, 7], server.port).expect("a connection");
    assert!(excepted.reply().expect("a greeting").starts_with("220"));
    assert_eq!(offered(&ehlo(&mut excepted)), None);
    assert!(excepted.command("AUTH CRAM-MD5").expect("a reply").starts_with("334 "));
}

#[test]
#[ignore = "run by cargo xtask test"]
fn senders_belong_to_logins() {
    let Some(dovecot) = Dovecot::start("senders of logins", "plain") else { return };
    let server = server(
        &dovecot.inet(),
        "smtpd_sender_restrictions = reject_sender_login_mismatch
smtpd_sender_login_maps = inline:{{own@example.com=user} {other@example.com=somebody}}\n",
    );
    let mut dialog = server.dialog();
    let mut rcpt = |sender: &str| {
        assert_eq!(dialog.command(&format!("MAIL FROM:<{sender}>")).expect("a reply"), "250 2.1.0 Ok");
        let reply = dialog.command("RCPT TO:<u@example.com>").expect("a reply");
        dialog.command("RSET").expect("a reply");
        reply
    };
    let not_logged_in = "553 5.7.1 <own@example.com>: Sender address rejected: not logged in";
    assert_eq!(rcpt("own@example.com"), not_logged_in);
    assert_eq!(rcpt("a@example.org"), "250 2.1.5 Ok");
    let mut dialog = server.dialog();
    assert_eq!(dialog.command(RIGHT).expect("a reply"), DONE);
    let mut rcpt = |sender: &str| {
        assert_eq!(dialog.command(&format!("MAIL FROM:<{sender}>")).expect("a reply"), "250 2.1.0 Ok");
        let reply = dialog.command("RCPT TO:<u@example.com>").expect("a reply");
        dialog.command("RSET").expect("a reply");
        reply
    };
    assert_eq!(rcpt("own@example.com"), "250 2.1.5 Ok");
    let stranger = |sender: &str| format!("553 5.7.1 <{sender}>: Sender address rejected: not owned by user user");
    for sender in ["other@example.com", "a@example.org"] {
        assert_eq!(rcpt(sender), stranger(sender));
    }
    server.wait_log(
        "from=<other@example.com> to=<u@example.com> proto=ESMTP helo=<client.example.net> sasl_method=PLAIN \
         sasl_username=user",
    );
}

#[test]
#[ignore = "run by cargo xtask test"]
fn cyrus_is_refused_with_the_remedy() {
    let dir = testkit::temp_dir().expect("a temporary directory");
    let etc = Path::new(dir.path());
    fs::write(etc.join("main.cf"), "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = cyrus\n").expect("main.cf");
    fs::write(etc.join("master.cf"), "127.0.0.1:2525 inet n - n - - smtpd\n").expect("master.cf");
    let output = Command::new(postern()).args(["serve", "--config-dir"]).arg(etc).output().expect("it runs");
    assert!(!output.status.success());
    let said = text(&output);
    let place = format!("{}/main.cf:2", etc.display());
    for part in [place.as_str(), "smtpd_sasl_type = cyrus: Cyrus SASL is not supported", "smtpd_sasl_type = dovecot"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Accounts of our own: all with the password `secret`, tokens `tok` and `up`.
const ACCOUNTS: &str = "\
user {ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$H9bK4+1JXAyoybYcv8WEcg$wb3BGTECs2TTkv3owZtyz/3UKKl3VuIwBxSFG9KmjzU
scram {SCRAM-SHA-256}4096,6bTCNTDTxqzNlCGfT0uizw==,zY1mAUPho7Rjauo5NL/GInZr9FqGLJGatRKqZfviFts=,UUFINpMG8kEr9kcl9IFdgC6dznBOtYiC0urcEBrbY6k=
plain {PLAIN}secret
";

/// A server with accounts of its own.
pub fn builtin(settings: &str) -> Server {
    let all = format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postern
postern_sasl_password_maps = texthash:$config_directory/passwords\n{RELAY}{settings}"
    );
    Server::start_by(&all, |dir| {
        for (name, text) in [("etc/passwords", ACCOUNTS), ("etc/tokens", "tok user\n")] {
            let path = dir.join(name);
            fs::write(&path, text).expect("a table");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
            give_away(&[&path]);
        }
        Program::serve(&postern(), &dir.join("etc")).expect("the program starts")
    })
}

#[test]
#[ignore = "run by cargo xtask test"]
fn accounts_of_our_own() {
    let server = builtin("postern_sasl_mechanisms = plain, login, scram-sha-256\n");
    let mut dialog = server.dialog();
    assert_eq!(offered(&ehlo(&mut dialog)), Some("AUTH PLAIN LOGIN SCRAM-SHA-256"));
    for (command, user) in [(WRONG, "user"), (NOBODY, "nobody")] {
        assert_eq!(dialog.command(command).expect("a reply"), REFUSED);
        server.wait_log(&format!(
            "warning: localhost[127.0.0.1]: SASL PLAIN authentication failed: (reason unavailable), sasl_username={user}"
        ));
    }
    // an entry that is no good is the postmaster's fault
    let later = "454 4.7.0 Temporary authentication failure: Connection lost to authentication server";
    assert_eq!(dialog.command("AUTH PLAIN AHBsYWluAHNlY3JldA==").expect("a reply"), later);
    server.wait_log(&format!(
        "warning: texthash:{}/passwords: entry of plain: a password as it is, not a hash",
        server.etc().display()
    ));
    assert_eq!(dialog.command(RIGHT).expect("a reply"), DONE);
    assert!(dialog.message("a@example.org", "user@example.com", "x").expect("a reply").starts_with("250 2.0.0 Ok"));
    server.wait_log(": client=localhost[127.0.0.1], sasl_method=PLAIN, sasl_username=user\n");
    for mechanism in ["PLAIN", "LOGIN"] {
        for (password, reply) in [("secret", "235 2.7.0"), ("wrong", "535 5.7.8")] {
            match swaks(&server, mechanism, "user", password) {
                Some(output) => assert!(text(&output).contains(reply), "{mechanism}: {}", text(&output)),
                None => skipped("logging in with swaks", "package swaks is missing"),
            }
        }
    }
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256"] {
        for (user, password, succeeds) in
            [("scram", "secret", true), ("scram", "wrong", false), ("no", "secret", false)]
        {
            match gsasl(&server, mechanism, user, password) {
                Some(output) => assert_eq!(output.status.success(), succeeds, "{mechanism}: {}", text(&output)),
                None => skipped("logging in with gsasl", "package gsasl is missing"),
            }
        }
    }
    assert!(!server.log().contains("secret"), "{}", server.tail());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn salts_outlive_the_program_and_tables_may_change() {
    let mut server = builtin("postern_sasl_mechanisms = scram-sha-256, plain\n");
    // bm8= asks for the user `no`: n,,n=no,r=abc
    let ask = |server: &Server| {
        let reply = server.dialog().command("AUTH SCRAM-SHA-256 biwsbj1ubyxyPWFiYw==").expect("a reply");
        let start = reply.len().saturating_sub(44);
        reply[start..].to_owned()
    };
    let before = ask(&server);
    assert_eq!(ask(&server), before, "{}", server.tail());
    server.program.stop(Duration::from_secs(15)).expect("it ends");
    server.restart();
    assert_eq!(ask(&server), before, "{}", server.tail());
    let table = server.etc().join("passwords");
    let changed = ACCOUNTS.replace("user ", "other ")
        + "user {SHA512-CRYPT}$6$DVevwBCGmIvA6N3H$MwXqK4FDtW2Pv20DonCMYuCdMU38ryX4Trq9zmFd8fveBul9VB3vVepbQlzb1R1ylVqnMN3Q2yI6ceUW0F1Xn1\n";
    fs::write(&table, changed.replace("user ", "jo ")).expect("accounts");
    let gone = || server.dialog().command(RIGHT).is_ok_and(|reply| reply == REFUSED);
    assert!(wait_until(Duration::from_secs(20), gone), "{}", server.tail());
    fs::write(&table, changed).expect("accounts");
    let back = || server.dialog().command(RIGHT).is_ok_and(|reply| reply == DONE);
    assert!(wait_until(Duration::from_secs(20), back), "{}", server.tail());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn curl_shows_a_token() {
    let Some(curl) = find("curl") else { return skipped("logging in with a token", "package curl is missing") };
    let server = builtin("postern_sasl_oauth_maps = texthash:$config_directory/tokens\n");
    assert_eq!(offered(&ehlo(&mut server.dialog())), Some("AUTH PLAIN LOGIN OAUTHBEARER"));
    let mail = server.dir.path().join("mail.txt");
    fs::write(&mail, "Subject: by token\n\nbody\n").expect("a message");
    let send = |user: &str, token: &str| {
        let mut command = Command::new(&curl);
        command.args(["-s", "--url", &format!("smtp://127.0.0.1:{}", server.port), "--user", user]);
        command.args(["--oauth2-bearer", token, "--login-options", "AUTH=OAUTHBEARER", "--mail-from", "a@example.org"]);
        command.args(["--mail-rcpt", "user@example.com", "-T"]).arg(&mail).output().expect("it runs")
    };
    let output = send("user", "tok");
    assert!(output.status.success(), "{}\n{}", text(&output), server.tail());
    server.wait_mail("user", 1);
    server.wait_log(": client=localhost[127.0.0.1], sasl_method=OAUTHBEARER, sasl_username=user\n");
    for (user, token) in [("user", "TOK"), ("other", "tok")] {
        assert!(!send(user, token).status.success());
        server
            .wait_log(&format!("SASL OAUTHBEARER authentication failed: (reason unavailable), sasl_username={user}\n"));
    }
}
