//! Limits of clients and logins, counted for all event loops together.

use std::time::Duration;

use testkit::{Dialog, wait_until};

use crate::server::Server;

#[test]
#[ignore = "run by cargo xtask test"]
fn connections_of_a_client_count_in_all_event_loops() {
    let mut server =
        Server::start("smtpd_client_connection_count_limit = 3\npostern_workers = 4\nanvil_status_update_time = 1s\n");
    let greeting = || {
        let mut dialog = Dialog::connect(server.port).expect("a connection");
        let reply = dialog.reply().expect("a greeting");
        (dialog, reply)
    };
    let (welcome, many) =
        ("220 mail.example.com ESMTP Postfix", "421 4.7.0 mail.example.com Error: too many connections from 127.0.0.1");
    let mut open: Vec<Dialog> = Vec::new();
    for _ in 0..3 {
        let (dialog, reply) = greeting();
        assert_eq!(reply, welcome);
        open.push(dialog);
    }
    for _ in 0..5 {
        assert_eq!(greeting().1, many);
    }
    let excess = format!("from localhost[127.0.0.1] for service 127.0.0.1:{}", server.port);
    server.wait_log(&format!("warning: Connection concurrency limit exceeded: 4 {excess}"));
    // Whoever leaves makes room.
    open.pop();
    assert!(wait_until(Duration::from_secs(10), || greeting().1 == welcome), "{}", server.tail());
    let peak = format!(" for (127.0.0.1:{}:127.0.0.1) at ", server.port);
    let told = || {
        let log = server.log();
        log.lines()
            .any(|l| l.contains("/anvil[") && l.contains("statistics: max connection count ") && l.contains(&peak))
    };
    assert!(wait_until(Duration::from_secs(10), told), "{}", server.tail());
    drop(open);
    server.program.stop(Duration::from_secs(15));
    server.wait_log("statistics: max cache size 1 at ");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_login_counts_wherever_its_clients_are() {
    let server = Server::start(
        "smtpd_authorized_xclient_hosts = 127.0.0.1\npostern_sasl_client_message_rate_limit = 2\n\
         postern_sasl_client_recipient_rate_limit = 3\nsmtpd_client_event_limit_exceptions = static:all\n",
    );
    let login = |address: &str, name: &str| {
        let mut dialog = server.dialog();
        let reply = dialog.command(&format!("XCLIENT ADDR={address} LOGIN={name}")).expect("a reply");
        assert!(reply.starts_with("220 "), "{reply}\n{}", server.tail());
        dialog.command("EHLO client.example.net").expect("a reply");
        dialog
    };
    let mut dialog = login("203.0.113.1", "user@example.com");
    assert_eq!(dialog.command("MAIL FROM:<user@example.com>").expect("a reply"), "250 2.1.0 Ok");
    for number in 0..3 {
        let reply = dialog.command(&format!("RCPT TO:<u{number}@example.com>")).expect("a reply");
        assert_eq!(reply, "250 2.1.5 Ok");
    }
    let reply = dialog.command("RCPT TO:<one.more@example.com>").expect("a reply");
    assert_eq!(reply, "450 4.7.1 Error: too many recipients from user@example.com");
    let mut other = login("198.51.100.1", "User@example.com");
    assert_eq!(other.command("MAIL FROM:<user@example.com>").expect("a reply"), "250 2.1.0 Ok");
    other.command("RSET").expect("a reply");
    let reply = other.command("MAIL FROM:<user@example.com>").expect("a reply");
    assert_eq!(reply, "450 4.7.1 Error: too much mail from User@example.com");
    server.wait_log(
        "warning: Recipient address rate limit exceeded: 4 from localhost[203.0.113.1] for login user@example.com",
    );
    server.wait_log("warning: Message delivery request rate limit exceeded: 3 from localhost[198.51.100.1] for login User@example.com");
    // Others are free.
    let mut third = login("198.51.100.1", "other@example.com");
    assert_eq!(third.command("MAIL FROM:<other@example.com>").expect("a reply"), "250 2.1.0 Ok");
}
