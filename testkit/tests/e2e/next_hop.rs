//! Trouble beyond the server: DNS and next hops that are dead or talk nonsense.

use std::time::{Duration, Instant};

use testkit::ports::free_port;
use testkit::wait_until;

use crate::server::Server;

#[test]
#[ignore = "run by cargo xtask test"]
fn dead_dns() {
    let dead = format!("postern_dns_servers = 127.0.0.1:{}\n", free_port());
    let server = Server::start(&format!("{dead}smtpd_sender_restrictions = reject_unknown_sender_domain\n"));
    let begin = Instant::now();
    let mut dialog = server.dialog();
    dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
    let reply = dialog.command("RCPT TO:<user@example.com>").expect("a reply");
    // 450 4.1.8 and not 550: the domain may well exist
    assert!(reply.starts_with("450 4.1.8 <a@example.org>: Sender address rejected: "), "{reply}");
    assert!(begin.elapsed() < Duration::from_secs(25), "{:?}", begin.elapsed());
    // mail that needs no DNS goes through
    dialog.command("RSET").expect("a reply");
    let reply = dialog.message("", "user@example.com", "no domain to look up").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    server.wait_mail("user", 1);
}

#[test]
#[ignore = "run by cargo xtask test"]
fn dead_next_hop() {
    let server = Server::start("");
    let reply = server.dialog().message("a@example.org", "user@relay.example", "patience").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    server.wait_log("status=deferred (connect to 127.0.0.1[127.0.0.1]");
    server.wait_log("Connection refused");
    let sink = server.sink("");
    assert!(wait_until(Duration::from_secs(30), || sink.recipients() == 1), "{}", server.tail());
    server.wait_log("status=sent (250 2.0.0 Ok: sink)");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn nonsense_next_hop() {
    for rules in
        ["CONNECT => what do you want?", "DATA => !close", "CONNECT => !close", "RCPT => !close", "EOM => !close"]
    {
        let server = Server::start("");
        let mut sink = Some(server.sink(rules));
        let reply = server.dialog().message("a@example.org", "user@relay.example", "patience").expect("a reply");
        assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
        let deferred = wait_until(Duration::from_secs(20), || server.log().contains("status=deferred"));
        assert!(deferred, "{rules}:\n{}", server.tail());
        // kept, and delivered when the next hop comes to its senses
        sink.take();
        assert!(wait_until(Duration::from_secs(5), || !testkit::ports::is_listening(server.next_hop)));
        let sink = server.sink("");
        assert!(wait_until(Duration::from_secs(30), || sink.recipients() == 1), "{rules}:\n{}", server.tail());
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_refusing_next_hop_makes_a_bounce() {
    let server = Server::start("");
    let sink = server.sink("RCPT TO:<NOBODY => 550 5.1.1 no such user");
    let reply = server.dialog().message("sender@example.com", "nobody@relay.example", "to nobody").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    let mail = server.wait_mail("sender", 1);
    assert!(mail[0].contains("Subject: Undelivered Mail Returned to Sender"), "{}", mail[0]);
    assert!(mail[0].contains("550 5.1.1 no such user"), "{}", mail[0]);
    server.wait_log("status=bounced (host 127.0.0.1[127.0.0.1]");
    assert_eq!(sink.recipients(), 0);
}

#[test]
#[ignore = "run by cargo xtask test"]
fn the_postmaster_is_told() {
    let server = Server::start(
        "notify_classes = bounce, 2bounce, delay, protocol\n\
         virtual_alias_maps = inline:{{postmaster@example.com=chief@example.com}}\n\
         delay_warning_time = 1s\n",
    );
    let _sink = server.sink(
        "RCPT TO:<NOBODY => 550 5.1.1 no such user\nRCPT TO:<LATER => 450 4.2.1 later\nRCPT TO:<ODD => 501 5.5.4 what",
    );
    for (sender, recipient) in [
        ("sender@example.com", "nobody@relay.example"),
        ("", "nobody@relay.example"),
        ("sender@example.com", "later@relay.example"),
        ("", "odd@relay.example"),
    ] {
        let reply = server.dialog().message(sender, recipient, "to nobody").expect("a reply");
        assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    }
    let subjects = |user: &str, count| {
        let mail = server.wait_mail(user, count);
        let subject = |mail: &String| mail.lines().find_map(|l| l.strip_prefix("Subject: ").map(str::to_owned));
        let mut subjects: Vec<String> = mail.iter().filter_map(subject).collect();
        subjects.sort();
        (mail, subjects)
    };
    let (mail, told) = subjects("chief", 5);
    let relay = format!("Postfix SMTP client: errors from 127.0.0.1[127.0.0.1]:{}", server.next_hop);
    let copy = "Postmaster Copy: Undelivered Mail";
    assert_eq!(told, [relay.as_str(), copy, copy, copy, "Postmaster Warning: Delayed Mail"]);
    assert!(mail.iter().all(|mail| mail.starts_with("Return-Path: <double-bounce@")), "{mail:#?}");
    assert!(mail.iter().any(|mail| mail.contains("\n In:  501 5.5.4 what\n")), "{mail:#?}");
    let (_, told) = subjects("sender", 2);
    assert_eq!(told, ["Delayed Mail (still being retried)", "Undelivered Mail Returned to Sender"]);
    server.wait_log("postmaster delay notification: ");
}
