//! SPF by postern itself, and what Debian's policyd-spf says to the same mail.

use testkit::tools::{find, skipped};
use testkit::{Dialog, FixtureDns};

use crate::policy::{answer_to, start_policyd_spf};
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
        let (_, theirs) = answer_to(&server, "192.0.2.10", sender);
        assert_eq!(theirs.starts_with("550 5.7.23 "), ours.starts_with("550 5.7.23 "), "{sender}: {theirs}");
        assert_eq!(theirs.starts_with("250 "), ours.starts_with("250 "), "{sender}: {theirs}");
    }
}
