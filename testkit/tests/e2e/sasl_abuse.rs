//! Logins that somebody guesses, and logins that somebody has guessed: what their failures lead to, and what their mail does.

use std::fs;
use std::process::Command;
use std::time::Duration;

use testkit::peer::{Address, Sink};
use testkit::ports::free_port;
use testkit::tools::{find, skipped};
use testkit::{Dialog, Dovecot};

use crate::sasl::{DONE, NOBODY, REFUSED, RELAY, RIGHT, WRONG, builtin, ehlo, server, text};
use crate::server::{Server, postern};

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
    // the postmaster says that all is well
    assert_eq!(logins(&server, &["--release", "USER"]), ("USER: failed logins are forgotten\n".into(), Some(0)));
    assert_eq!(tried(&server, [127, 0, 9, 111], RIGHT), DONE, "{}", server.tail());
    assert_eq!(logins(&server, &["--release", "user"]), ("user: nothing is held against it\n".into(), Some(1)));
    let log = fs::read_to_string(server.dir.path().join("log/maillog")).expect("a log");
    assert_eq!(
        banned(&log).unwrap_or(log.matches(" authentication failed: ").count()),
        log.matches(" authentication failed: ").count()
    );
}

/// What `postern logins` says, with its exit status.
fn logins(server: &Server, arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(postern()).args(["logins", "-c"]).arg(server.etc()).args(arguments).output();
    let output = output.expect("it runs");
    (text(&output), output.status.code())
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
    // the postmaster looks, and lets it send again, until there is another sign
    let (held, status) = logins(&server, &[]);
    assert!(held.starts_with(&format!("user: {sign}: its mail is held until ")), "{held}");
    assert_eq!(status, Some(0));
    assert_eq!(logins(&server, &["--release", "user"]), ("user: its mail is not held any more\n".into(), Some(0)));
    server.wait_log("login user: released by the postmaster");
    assert_eq!(logins(&server, &["--json"]), ("[]\n".into(), Some(0)));
    [1, 4, 5].into_iter().for_each(send);
    server.wait_mail("user", 5);
    assert!(logins(&server, &["--json"]).0.contains(&format!("\"sign\": \"{sign}\"")), "{}", server.tail());
    // an exception is one at once
    server.configure(&format!("{}postern_sasl_takeover_exceptions = other, user\n", takeover_site()));
    server.program.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_log("reload complete");
    send(1);
    server.wait_mail("user", 6);
    // what was held is freed by hand
    let mut free = Command::new(postern());
    let output = free.args(["postsuper", "-H", "ALL", "-c"]).arg(server.etc()).output().expect("it runs");
    assert_eq!(text(&output), "postsuper: Released from hold: 3 messages\n");
    server.wait_mail("user", 9);
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
    server.wait_log(": hold: END-OF-MESSAGE from ");
    assert_eq!(server.log().matches(": hold: END-OF-MESSAGE from ").count(), 1, "{}", server.tail());
    server.wait_mail("postmaster", 2);
}
