//! SPF, DKIM and DMARC by postern itself: what Debian's policyd-spf says to the same mail, and what opendkim and dkimpy sign.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use testkit::tools::{find, skipped};
use testkit::{Dialog, FixtureDns};

use crate::policy::{answer_to, start_policyd_spf};
use crate::record::{ask, wait_told};
use crate::server::Server;

const ZONE: &str = r#"
good.example TXT "v=spf1 ip4:192.0.2.10 -all"
bad.example TXT "v=spf1 ip4:192.0.2.77 exp=why.bad.example -all"
why.bad.example TXT "%{i} is none of ours"
mx.example TXT "v=spf1 mx -all"
mx.example MX 10 mail.mx.example
mail.mx.example A 192.0.2.10
ptr.example TXT "v=spf1 ptr -all"
@rev 192.0.2.10 PTR host.ptr.example
host.ptr.example A 192.0.2.10
deep.example TXT "v=spf1 include:_one.deep.example -all"
_one.deep.example TXT "v=spf1 include:_two.deep.example -all"
_two.deep.example TXT "v=spf1 exists:%{ir}.%{v}.list.deep.example -all"
10.2.0.192.in-addr.list.deep.example A 127.0.0.2
moved.example TXT "v=spf1 redirect=bad.example"
soft.example TXT "v=spf1 ~all"
unsure.example TXT "v=spf1 ip4:192.0.2.77"
broken.example TXT "v=spf1 ip4:192.0.2.300 -all"
twice.example TXT "v=spf1 -all"
twice.example TXT "v=spf1 +all"
loop.example TXT "v=spf1 include:loop.example -all"
empty.example TXT "v=spf1 a:no1.example a:no2.example a:no3.example -all"
names.example TXT "v=spf1 exists:%{l}.users.names.example -all"
some+one.users.names.example A 127.0.0.2
down.example TXT SERVFAIL
mx.good.example TXT "v=spf1 a -all"
mx.good.example A 192.0.2.10
"#;

/// Senders, and the replies of `reject_spf_fail` to a client at 192.0.2.10.
const CASES: &[(&str, &str)] = &[
    ("a@good.example", "250 2.1.5 Ok"),
    (
        "a@bad.example",
        "550 5.7.23 <a@bad.example>: Sender address rejected: SPF fail: 192.0.2.10 may not send for bad.example; \
         bad.example explains: 192.0.2.10 is none of ours",
    ),
    ("a@mx.example", "250 2.1.5 Ok"),
    ("a@ptr.example", "250 2.1.5 Ok"),
    ("a@deep.example", "250 2.1.5 Ok"),
    (
        "a@moved.example",
        "550 5.7.23 <a@moved.example>: Sender address rejected: SPF fail: 192.0.2.10 may not send for moved.example; \
         moved.example explains: 192.0.2.10 is none of ours",
    ),
    ("a@soft.example", "250 2.1.5 Ok"),
    ("a@unsure.example", "250 2.1.5 Ok"),
    ("a@broken.example", "250 2.1.5 Ok"),
    ("a@twice.example", "250 2.1.5 Ok"),
    ("a@loop.example", "250 2.1.5 Ok"),
    ("a@empty.example", "250 2.1.5 Ok"),
    ("some+one@names.example", "250 2.1.5 Ok"),
    (
        "b@names.example",
        "550 5.7.23 <b@names.example>: Sender address rejected: SPF fail: 192.0.2.10 may not send for names.example",
    ),
    ("a@none.example", "250 2.1.5 Ok"),
    ("", "250 2.1.5 Ok"),
];

fn start(dns: &FixtureDns, settings: &str) -> Server {
    Server::start(&format!(
        "postern_dns_servers = {}\nsmtpd_authorized_xclient_hosts = 127.0.0.1\n{settings}",
        dns.server()
    ))
}

#[test]
#[ignore = "run by cargo xtask test"]
fn clients_that_a_domain_disowns_are_refused() {
    let dns = FixtureDns::start(ZONE).expect("DNS");
    let server = start(&dns, "smtpd_recipient_restrictions = reject_spf_fail\n");
    for (sender, expected) in CASES {
        let (_, reply) = answer_to(&server, "192.0.2.10", sender);
        assert_eq!(reply, *expected, "{sender}\n{}", server.tail());
    }
    let (_, reply) = answer_to(&server, "192.0.2.10", "a@down.example");
    let down = "451 4.7.24 <a@down.example>: Sender address rejected: SPF temperror: the DNS has no answer now for TXT \
                down.example";
    assert_eq!(reply, down);
    server.wait_log(&format!("NOQUEUE: reject: RCPT from mx.good.example[192.0.2.10]: {down}; from=<a@down.example>"));
    // whoever is known is not asked about
    let known =
        start(&dns, "mynetworks = 127.0.0.0/8\nsmtpd_recipient_restrictions = permit_mynetworks, reject_spf_fail\n");
    let mut dialog: Dialog = known.dialog();
    assert_eq!(dialog.command("MAIL FROM:<a@bad.example>").expect("a reply"), "250 2.1.0 Ok");
    assert_eq!(dialog.command("RCPT TO:<u@example.com>").expect("a reply"), "250 2.1.5 Ok");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_second_opinion_on_spf() {
    let Some(program) = find("policyd-spf") else {
        return skipped("SPF, a second opinion", "package postfix-policyd-spf-python is missing");
    };
    let dns = FixtureDns::start(ZONE).expect("DNS");
    let spawned = start_policyd_spf(program, &dns);
    let server =
        start(&dns, &format!("smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{}\n", spawned.port));
    for (sender, ours) in CASES {
        // a busy machine makes it say that nothing is known
        let mut theirs = String::new();
        for _ in 0..3 {
            theirs = answer_to(&server, "192.0.2.10", sender).1;
            if theirs.starts_with("250 ") == ours.starts_with("250 ") {
                break;
            }
        }
        assert_eq!(
            theirs.starts_with("550 5.7.23 "),
            ours.starts_with("550 5.7.23 "),
            "{sender}: {theirs}\n{}",
            server.tail()
        );
        assert_eq!(theirs.starts_with("250 "), ours.starts_with("250 "), "{sender}: {theirs}\n{}", server.tail());
    }
}

/// A key pair made by opendkim-genkey; the record goes into a zone.
struct Key {
    dir: tempfile::TempDir,
    selector: &'static str,
}

impl Key {
    fn new(selector: &'static str, bits: &str) -> Option<Self> {
        let (Some(make), Some(_)) = (find("opendkim-genkey"), find("opendkim-testmsg")) else {
            skipped("DKIM by opendkim", "package opendkim-tools is missing");
            return None;
        };
        let dir = testkit::temp_dir().expect("a temporary directory");
        let mut command = Command::new(make);
        command.args(["-d", "bank.example", "-s", selector, "-b", bits, "-D"]).arg(dir.path());
        let output = command.output().expect("opendkim-genkey runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Self { dir, selector })
    }

    fn private(&self) -> PathBuf {
        self.dir.path().join(format!("{}.private", self.selector))
    }

    /// The line of a zone.
    fn record(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join(format!("{}.txt", self.selector))).expect("a record");
        let strings: String = text.split('"').skip(1).step_by(2).collect();
        format!("{}._domainkey.bank.example TXT \"{strings}\"\n", self.selector)
    }

    fn run(&self, command: &mut Command, mail: &str) -> String {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        child.stdin.take().expect("piped").write_all(mail.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").replace("\r\n", "\n")
    }

    /// Signed by opendkim itself, with this canonical form of the body.
    fn opendkim(&self, mail: &str, body: &str) -> Option<String> {
        let Some(program) = find("opendkim") else {
            skipped("DKIM by opendkim", "package opendkim is missing");
            return None;
        };
        let (settings, message) = (self.dir.path().join("opendkim.conf"), self.dir.path().join("message"));
        let text = format!(
            "Domain bank.example\nSelector {}\nKeyFile {}\nMode s\nCanonicalization relaxed/{body}\n\
             RequireSafeKeys false\nSyslog no\n",
            self.selector,
            self.private().display()
        );
        fs::write(&settings, text).expect("its settings");
        fs::write(&message, mail.replace('\n', "\r\n")).expect("a message");
        let mut command = Command::new(program);
        command.arg("-x").arg(&settings).arg("-t").arg(&message).args(["-v", "-v"]);
        let told = self.run(&mut command, "");
        let value = told.split_once("hname='DKIM-Signature' hvalue='").and_then(|(_, rest)| rest.split_once('\''));
        let (value, _) = value.unwrap_or_else(|| panic!("no signature: {told}"));
        Some(format!("DKIM-Signature: {value}\n{mail}"))
    }

    /// Signed by opendkim's test program, which knows nothing newer than rsa-sha1.
    fn opendkim_testmsg(&self, mail: &str) -> String {
        let program = find("opendkim-testmsg").expect("it is installed");
        let mut command = Command::new(program);
        command.args(["-d", "bank.example", "-s", self.selector, "-k"]).arg(self.private());
        self.run(&mut command, mail)
    }

    /// Signed by dkimpy, in these canonical forms.
    fn dkimpy(&self, mail: &str, header: &str, body: &str) -> Option<String> {
        let Some(program) = find("/usr/bin/dkimsign") else {
            skipped("DKIM by dkimpy", "package python3-dkim is missing");
            return None;
        };
        let mut command = Command::new("/usr/bin/python3");
        command.arg(program).args(["--hcanon", header, "--bcanon", body, self.selector, "bank.example"]);
        command.arg(self.private());
        Some(self.run(&mut command, mail))
    }
}

const SIGNED: &str = "From: \"Ann\" <ann@Bank.example>\nTo: u@example.com\nSubject: two   words\n\tand more\n\
                      Date: Sun, 22 Nov 2026 12:00:00 +0000\nMessage-ID: <1@bank.example>\n\n\
                      Hello  \t world \n\n.dots at\n..the beginning\n\n\n";

const POLICY: &str = "_dmarc.bank.example TXT \"v=DMARC1; p=reject; sp=none\"\n\
                      bounces.example TXT \"v=spf1 ip4:192.0.2.10 -all\"\n\
                      news.bank.example TXT \"v=spf1 ip4:192.0.2.10 -all\"\n";

/// What becomes of a message from this sender, and the server's answer.
fn deliver(server: &Server, sender: &str, mail: &str) -> String {
    let (mut dialog, reply) = answer_to(server, "192.0.2.10", sender);
    assert_eq!(reply, "250 2.1.5 Ok");
    assert!(dialog.command("DATA").expect("a reply").starts_with("354 "));
    let stuffed =
        mail.lines().map(|line| if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") });
    dialog.send((stuffed.collect::<String>() + ".\r\n").as_bytes()).expect("it reads");
    dialog.reply().expect("a reply")
}

/// The header that tells what was found, without the signatures' beginnings.
fn results(mail: &str) -> String {
    let start = mail.find("Authentication-Results: ").unwrap_or_else(|| panic!("no results: {mail}"));
    let lines = mail[start..].lines();
    let mut text = String::new();
    for (at, line) in lines.enumerate() {
        if at > 0 && !line.starts_with('\t') {
            break;
        }
        text += line.split(" header.b=").next().unwrap_or_default();
        text += if line.contains(" header.b=") && line.ends_with(';') { ";\n" } else { "\n" };
    }
    text
}

const RESULTS: &str = "postern_authentication_results = yes\n";

#[test]
#[ignore = "run by cargo xtask test"]
fn signatures_are_judged() {
    let Some(key) = Key::new("sel", "2048") else { return };
    let dns = FixtureDns::start(&format!("{ZONE}{POLICY}{}", key.record())).expect("DNS");
    let server = start(&dns, RESULTS);
    let mut signed: Vec<String> =
        ["simple", "relaxed"].into_iter().filter_map(|body| key.opendkim(SIGNED, body)).collect();
    for (header, body) in [("simple", "simple"), ("simple", "relaxed"), ("relaxed", "simple"), ("relaxed", "relaxed")] {
        signed.extend(key.dkimpy(SIGNED, header, body));
    }
    if signed.is_empty() {
        return;
    }
    for (count, mail) in (1..).zip(&signed) {
        assert!(mail.starts_with("DKIM-Signature: "), "{mail}");
        assert!(deliver(&server, "a@bounces.example", mail).starts_with("250 "), "{}", server.tail());
        let all = server.wait_mail("u", count);
        let told = all.iter().filter(|mail| {
            results(mail)
                == "Authentication-Results: mail.example.com;\n\
                    \tspf=pass reason=\"bounces.example: ip4:192.0.2.10\" smtp.mailfrom=bounces.example;\n\
                    \tdkim=pass header.d=bank.example header.s=sel header.a=rsa-sha256;\n\
                    \tdmarc=pass (p=reject) header.from=bank.example\n"
        });
        assert_eq!(told.count(), count, "{}", results(all.last().expect("mail")));
    }
    assert!(deliver(&server, "a@bounces.example", &key.opendkim_testmsg(SIGNED)).starts_with("250 "));
    let all = server.wait_mail("u", signed.len() + 1);
    let old = "\tdkim=permerror reason=\"rsa-sha1 proves nothing (RFC 8301)\" header.d=bank.example header.s=sel;\n";
    assert!(all.iter().any(|mail| results(mail).contains(old)), "{}", server.tail());
    // without the parameter nothing is added
    let plain = start(&dns, "");
    assert!(deliver(&plain, "a@bounces.example", &signed[0]).starts_with("250 "));
    assert!(!plain.wait_mail("u", 1)[0].contains("Authentication-Results"));
}

#[test]
#[ignore = "run by cargo xtask test"]
fn results_in_our_name_are_removed_and_large_mail_is_told_of() {
    let Some(key) = Key::new("sel", "1024") else { return };
    let dns = FixtureDns::start(&format!("{ZONE}{POLICY}{}", key.record())).expect("DNS");
    let server = start(&dns, &format!("{RESULTS}postern_authserv_id = mx.example.com\n"));
    let long = SIGNED.to_owned() + &"0123456789 abcdefghij\n".repeat(30_000);
    let forged = "Authentication-Results: mx.example.com; dmarc=pass header.from=evil.example\n\
                  Authentication-Results: other.example; spf=pass\n";
    let Some(signed) = key.dkimpy(&long, "relaxed", "simple") else { return };
    let mail = forged.to_owned() + &signed;
    assert!(deliver(&server, "a@bounces.example", &mail).starts_with("250 "), "{}", server.tail());
    let found = &server.wait_mail("u", 1)[0];
    assert!(results(found).contains("\tdkim=pass header.d=bank.example header.s=sel"), "{}", results(found));
    assert!(results(found).starts_with("Authentication-Results: mx.example.com;\n"));
    assert_eq!(found.matches("Authentication-Results: mx.example.com").count(), 1);
    assert!(found.contains("\nAuthentication-Results: other.example; spf=pass\n") && !found.contains("evil.example"));
    assert!(found.ends_with(&long[long.find("Hello").expect("a body")..]), "the body is whole");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn mail_that_its_author_disowns_is_refused() {
    refuses_what_authors_disown("reject_dmarc_fail", "<END-OF-MESSAGE>: End-of-data rejected");
}

/// A table's entry has named it: the message is looked at all the same.
#[test]
#[ignore = "run by cargo xtask test"]
fn mail_that_its_author_disowns_is_refused_by_a_tables_result() {
    refuses_what_authors_disown(
        "check_client_access static:reject_dmarc_fail",
        "<mx.good.example[192.0.2.10]>: Client host rejected",
    );
}

fn refuses_what_authors_disown(restriction: &str, subject: &str) {
    let Some(key) = Key::new("sel", "2048") else { return };
    let dns = FixtureDns::start(&format!("{ZONE}{POLICY}{}", key.record())).expect("DNS");
    let server = start(&dns, &format!("smtpd_end_of_data_restrictions = {restriction}\n"));
    let Some(signed) = key.dkimpy(SIGNED, "relaxed", "relaxed") else { return };
    let refused = format!(
        "550 5.7.26 {subject}: DMARC fail: bank.example wants mail refused for which neither SPF nor DKIM of its own passes"
    );
    let nobody = format!("550 5.7.26 {subject}: DMARC permerror: there is more than one From header");
    let (refused, nobody) = (refused.as_str(), nobody.as_str());
    for (sender, mail, expected) in [
        ("a@bounces.example", signed.clone(), "250 2.0.0 Ok: queued as "),
        ("a@bounces.example", signed.replace("Hello", "Hullo"), refused),
        ("a@bounces.example", SIGNED.to_owned(), refused),
        // SPF of a subdomain is as good
        ("a@news.bank.example", SIGNED.to_owned(), "250 2.0.0 Ok: queued as "),
        ("a@bounces.example", SIGNED.replace("@Bank.example", "@news.bank.example"), "250 2.0.0 Ok: queued as "),
        ("a@bounces.example", format!("From: x@elsewhere.example\n{SIGNED}"), nobody),
        ("a@bounces.example", SIGNED.replace("@Bank.example", "@down.example"), "250 2.0.0 Ok: queued as "),
    ] {
        let reply = deliver(&server, sender, &mail);
        assert!(reply.starts_with(expected), "{reply}\n{}", server.tail());
    }
    server.wait_log(&format!(
        "reject: END-OF-MESSAGE from mx.good.example[192.0.2.10]: {refused}; from=<a@bounces.example>"
    ));
    // the record knows what was in the messages, and decides alike
    deliver(&server, "a@bounces.example", &signed.replace("Hello", "Hullo"));
    deliver(&server, "a@bounces.example", &signed);
    let etc = server.etc().display().to_string();
    for text in [
        "answer the message = there is more than one From header",
        "answer the message = author bank.example, DKIM pass of bank.example",
        "answer the message = author bank.example, DKIM fail of bank.example",
        "answer DNS TXT sel._domainkey.bank.example = \"v=DKIM1;",
        "answer DNS TXT _dmarc.bank.example = \"v=DMARC1; p=reject; sp=none\"",
    ] {
        wait_told("why", &["192.0.2.10", "-c", &etc], text);
    }
    let (same, status) = ask("replay", &[&etc]);
    assert!(same.contains(" as before\n") && !same.contains("now ") && status == Some(0), "{same}");
}
