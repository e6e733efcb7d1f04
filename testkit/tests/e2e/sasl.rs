//! Logins: AUTH at Debian's Dovecot, with clients that others wrote.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use testkit::peer::{Address, Sink};
use testkit::ports::free_port;
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
const RELAY: &str = "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n";

fn server(path: &str, settings: &str) -> Server {
    Server::start(&format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {path}\n{RELAY}{settings}"
    ))
}

/// The line of the EHLO reply that begins with AUTH, without its code.
pub fn offered(ehlo: &str) -> Option<&str> {
    ehlo.lines().map(|line| line.get(4..).unwrap_or_default()).find(|line| line.starts_with("AUTH"))
}

fn ehlo(dialog: &mut Dialog) -> String {
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

fn text(output: &Output) -> String {
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
fn builtin(settings: &str) -> Server {
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

const TOO_MANY: &str = "454 4.7.0 Temporary authentication failure: too many failed logins";

/// A session from this address.
fn from(server: &Server, address: [u8; 4]) -> Dialog {
    let mut dialog = Dialog::connect_from(address, server.port).expect("a connection");
    assert!(dialog.reply().expect("a greeting").starts_with("220"), "{}", server.tail());
    ehlo(&mut dialog);
    dialog
}

/// The reply to a login in a session of its own.
fn tried(server: &Server, address: [u8; 4], command: &str) -> String {
    from(server, address).command(command).expect("a reply")
}

const FEW: &str = "postern_sasl_pair_failure_limit = 3\npostern_sasl_client_failure_limit = 5
postern_sasl_account_failure_limit = 6\npostern_sasl_failure_delay = 0\n";

/// Failures of accounts, clients and pairs have consequences, whoever looks at the passwords.
fn attacked(mut server: Server) {
    let (home, evil) = ([127, 0, 9, 1], [127, 0, 9, 66]);
    assert_eq!(tried(&server, home, RIGHT), DONE);
    for _ in 0..3 {
        assert_eq!(tried(&server, evil, WRONG), REFUSED, "{}", server.tail());
    }
    // right or wrong, nobody looks
    for command in [WRONG, RIGHT] {
        assert_eq!(tried(&server, evil, command), TOO_MANY, "{}", server.tail());
    }
    server
        .wait_log("warning: too many failed logins: 3 as user from 127.0.9.66: more are not looked at, for 60 minutes");
    server.wait_log("[127.0.9.66]: SASL PLAIN authentication failed: too many failed logins, sasl_username=user");
    let mut dialog = from(&server, evil);
    assert_eq!(dialog.command("AUTH LOGIN dXNlcg==").expect("a reply"), TOO_MANY);
    // others from there, until there were too many
    for _ in 0..2 {
        assert_eq!(tried(&server, evil, NOBODY), REFUSED);
    }
    assert_eq!(tried(&server, evil, "AUTH PLAIN"), TOO_MANY, "{}", server.tail());
    server.wait_log("warning: too many failed logins: 5 from 127.0.9.66");
    // the account, from elsewhere
    for last in 1..=3 {
        assert_eq!(tried(&server, [127, 0, 9, 100 + last], WRONG), REFUSED);
    }
    assert_eq!(tried(&server, [127, 0, 9, 111], RIGHT), TOO_MANY);
    server.wait_log("warning: too many failed logins: 6 as user: ");
    // but where it is at home it may log in, and be mistaken, even after a restart
    assert_eq!(tried(&server, home, WRONG), REFUSED);
    assert_eq!(tried(&server, home, RIGHT), DONE);
    server.program.stop(Duration::from_secs(15)).expect("it ends");
    server.restart();
    for last in 1..=6 {
        assert_eq!(tried(&server, [127, 0, 9, 120 + last], WRONG), REFUSED);
    }
    assert_eq!(tried(&server, [127, 0, 9, 111], RIGHT), TOO_MANY);
    assert_eq!(tried(&server, home, RIGHT), DONE, "{}", server.tail());
    let log = fs::read_to_string(server.dir.path().join("log/maillog")).expect("a log");
    assert_eq!(
        banned(&log).unwrap_or(log.matches(" authentication failed: ").count()),
        log.matches(" authentication failed: ").count()
    );
}

/// How many lines Debian's filter of fail2ban takes for failed logins; nothing, with a word, without fail2ban.
fn banned(log: &str) -> Option<usize> {
    let Some(binary) = find("fail2ban-regex") else {
        skipped("what fail2ban matches", "package fail2ban is missing");
        return None;
    };
    let dir = testkit::temp_dir().expect("a temporary directory");
    let path = dir.path().join("maillog");
    fs::write(&path, log).expect("a log");
    let filter = "/etc/fail2ban/filter.d/postfix.conf[mode=auth]";
    let output = Command::new(binary).arg(&path).arg(filter).output().expect("it runs");
    let said = text(&output);
    let (_, rest) = said.split_once("Lines: ").unwrap_or_else(|| panic!("{said}"));
    let matched = rest.split(", ").find_map(|part| part.strip_suffix(" matched")).unwrap_or_else(|| panic!("{said}"));
    Some(matched.parse().expect("a number"))
}

#[test]
#[ignore = "run by cargo xtask test"]
fn failed_logins_have_consequences() {
    attacked(builtin(FEW));
}

#[test]
#[ignore = "run by cargo xtask test"]
fn failed_logins_at_dovecot_have_consequences() {
    let Some(dovecot) = Dovecot::start("failed logins at Dovecot", "plain login") else { return };
    attacked(server(&dovecot.unix(), FEW));
}

#[test]
#[ignore = "run by cargo xtask test"]
fn delays_grow_and_a_proxy_is_not_to_blame() {
    let server = builtin(
        "postern_sasl_pair_failure_limit = 4\npostern_sasl_failure_delay = 2s
smtpd_authorized_xclient_hosts = 127.0.8.8\nsmtpd_client_event_limit_exceptions = 127.0.8.9\n",
    );
    // Those that don't exist cost as much as the last one that did: little.
    assert_eq!(tried(&server, [127, 0, 9, 1], "AUTH PLAIN AHNjcmFtAHNlY3JldA=="), DONE);
    let mut times = Vec::new();
    for _ in 0..4 {
        let mut dialog = from(&server, [127, 0, 9, 66]);
        let begin = std::time::Instant::now();
        assert_eq!(dialog.command(NOBODY).expect("a reply"), REFUSED);
        times.push(begin.elapsed().as_millis());
    }
    assert!(times[1] >= 1000 && times[2] >= 2000 && times[3] >= 2000, "{times:?}");
    assert_eq!(tried(&server, [127, 0, 9, 66], NOBODY), TOO_MANY);
    for proxy in [[127, 0, 8, 8], [127, 0, 8, 9]] {
        for _ in 0..5 {
            assert_eq!(tried(&server, proxy, NOBODY), REFUSED, "{}", server.tail());
        }
    }
    // a client that a proxy names is itself
    let named = |address: &str| {
        let mut dialog = from(&server, [127, 0, 8, 8]);
        assert!(dialog.command(&format!("XCLIENT ADDR={address}")).expect("a reply").starts_with("220"));
        ehlo(&mut dialog);
        dialog.command(NOBODY).expect("a reply")
    };
    assert_eq!(named("127.0.9.66"), TOO_MANY);
    assert_eq!(named("127.0.9.67"), REFUSED);
}

#[test]
#[ignore = "run by cargo xtask test"]
fn trouble_of_ours_bans_nobody() {
    let server = builtin("postern_sasl_password_maps = fail:down\n");
    let lost = "454 4.7.0 Temporary authentication failure: Connection lost to authentication server";
    assert_eq!(server.dialog().command(RIGHT).expect("a reply"), lost);
    server.wait_log("warning: fail:down lookup error for \"user\"");
    let line = "localhost[127.0.0.1]: SASL PLAIN authentication failed: Connection lost to authentication server, ";
    server.wait_log(line);
    let log = fs::read_to_string(server.dir.path().join("log/maillog")).expect("a log");
    assert_eq!(banned(&log).unwrap_or(0), 0, "{log}");
    let mut dialog = server.dialog();
    for _ in 0..25 {
        // not a failure of anybody's, but an error of the session
        if dialog.command(RIGHT).expect("a reply") != lost {
            break;
        }
    }
    assert_eq!(server.dialog().command(RIGHT).expect("a reply"), lost);
}

/// A session that has logged in as `user`.
fn logged_in(server: &Server, address: [u8; 4]) -> Dialog {
    let mut dialog = from(server, address);
    assert_eq!(dialog.command(RIGHT).expect("a reply"), DONE);
    dialog
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_login_that_looks_taken_over_is_held() {
    let server = builtin("postern_sasl_takeover_networks = 2\npostern_sasl_takeover_refused_recipients = 2\n");
    let send = |last: u8| {
        let reply = logged_in(&server, [127, 0, 9, last]).message("user@example.com", "user@example.com", "x");
        assert!(
            reply.as_ref().is_ok_and(|r| r.starts_with("250 2.0.0 Ok: queued as ")),
            "{reply:?}\n{}",
            server.tail()
        );
    };
    (1..=2).for_each(send);
    send(1);
    server.wait_mail("user", 3);
    send(3);
    let sign = "mail from 3 client networks within 60 minutes";
    server.wait_log(&format!("warning: login user: {sign}: its mail is held until "));
    server.wait_log(&format!(
        ": hold: END-OF-MESSAGE from unknown[127.0.9.3]: <user>: SASL login name looks taken over: {sign}; \
         from=<user@example.com> to=<user@example.com> proto=ESMTP helo=<client.example.net> sasl_method=PLAIN \
         sasl_username=user"
    ));
    send(1);
    let notice = &server.wait_mail("postmaster", 1)[0];
    assert!(notice.contains("\nSubject: Postfix SMTP server: login user looks taken over\n"), "{notice}");
    assert!(
        notice.contains(&format!("\n\nLogin user: {sign}.\n\nWhat it sends is accepted and put on hold, until ")),
        "{notice}"
    );
    // others send as before, and what is held stays
    server.assert_works();
    assert_eq!((server.maildir("user").len(), server.maildir("postmaster").len()), (3, 1), "{}", server.tail());
    // an exception is one at once
    server.configure(&format!("{}postern_sasl_takeover_exceptions = other, user\n", takeover_site()));
    server.program.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_log("reload complete");
    send(1);
    server.wait_mail("user", 4);
    // what was held is freed by hand
    let mut free = Command::new(postern());
    let output = free.args(["postsuper", "-H", "ALL", "-c"]).arg(server.etc()).output().expect("it runs");
    assert_eq!(text(&output), "postsuper: Released from hold: 2 messages\n");
    server.wait_mail("user", 6);
}

/// The settings of the check above, for a reload.
fn takeover_site() -> String {
    format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = postern
postern_sasl_password_maps = texthash:$config_directory/passwords\n{RELAY}postern_sasl_takeover_networks = 2\n"
    )
}

#[test]
#[ignore = "run by cargo xtask test"]
fn what_nobody_could_hold_is_refused() {
    for options in ["", "smtpd_proxy_options = speed_adjust\n"] {
        let hop = free_port();
        let sink = Sink::start(&Address::Inet(([127, 0, 0, 1], hop).into()), &[], "").expect("a next hop");
        let server = builtin(&format!(
            "smtpd_proxy_filter = 127.0.0.1:{hop}\npostern_sasl_takeover_recipients = 2\nlocal_recipient_maps =\n{options}"
        ));
        let mut dialog = logged_in(&server, [127, 0, 9, 1]);
        for _ in 0..2 {
            let reply = dialog.message("user@example.com", "user@example.com", "x").expect("a reply");
            assert!(reply.starts_with("250 "), "{reply}\n{}", server.tail());
        }
        // the third one is the sign, and the first that is refused
        let refused = "450 4.7.1 <user>: SASL login name looks taken over: its mail is refused for now";
        for start in ["DATA", "DATA", "BDAT 3 LAST\r\nx\r\n"] {
            for line in ["RSET", "MAIL FROM:<user@example.com>", "RCPT TO:<user@example.com>"] {
                assert!(dialog.command(line).expect("a reply").starts_with("250 "), "{}", server.tail());
            }
            assert_eq!(dialog.command(start.trim_end()).expect("a reply"), refused, "{}", server.tail());
        }
        let sign = "3 recipients within 60 minutes, usually 0";
        server.wait_log(&format!("warning: login user: {sign}: its mail is refused until "));
        server.wait_log(&format!(
            ": NOQUEUE: reject: DATA from unknown[127.0.9.1]: {refused}: {sign}; from=<user@example.com>"
        ));
        let notice = &server.wait_mail("postmaster", 1)[0];
        assert!(notice.contains("\n\nWhat it sends is refused with a temporary error, until "), "{notice}");
        // others send as before
        let reply = server.dialog().message("a@example.org", "user@example.com", "x").expect("a reply");
        assert!(reply.starts_with("250 "), "{reply}");
        assert_eq!(sink.messages().len(), 3, "{options}");
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn refused_recipients_and_volume_are_signs() {
    let refusing = "smtpd_recipient_restrictions = check_recipient_access inline:{{no@example.com=REJECT}}\n";
    let server = builtin(&format!(
        "postern_sasl_takeover_recipients = 4\npostern_sasl_takeover_refused_recipients = 2\n{refusing}"
    ));
    let mut dialog = logged_in(&server, [127, 0, 9, 1]);
    assert_eq!(dialog.command("MAIL FROM:<user@example.com>").expect("a reply"), "250 2.1.0 Ok");
    for _ in 0..3 {
        assert!(dialog.command("RCPT TO:<no@example.com>").expect("a reply").starts_with("554 5.7.1"));
    }
    server.wait_log("warning: login user: 3 refused recipients within 60 minutes: its mail is held until ");
    let mut dialog = from(&server, [127, 0, 9, 1]);
    assert_eq!(dialog.command("AUTH PLAIN AHNjcmFtAHNlY3JldA==").expect("a reply"), DONE);
    for number in 0..5 {
        let to = format!("u{number}@example.com");
        assert!(dialog.message("a@example.com", &to, "x").expect("a reply").starts_with("250 2.0.0 Ok"));
    }
    server.wait_log("warning: login scram: 5 recipients within 60 minutes, usually 0: its mail is held until ");
    (0..4).for_each(|number| drop(server.wait_mail(&format!("u{number}"), 1)));
    assert_eq!(server.log().matches(": hold: END-OF-MESSAGE from ").count(), 1, "{}", server.tail());
    server.wait_mail("postmaster", 2);
}
