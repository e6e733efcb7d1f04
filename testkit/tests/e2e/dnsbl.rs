//! DNS lists that work, and some that don't.

use std::process::Command;

use testkit::{Dialog, FixtureDns};

use crate::server::{Server, postern};

const ZONE: &str = "
@rev 127.0.7.7 PTR client.example.net
client.example.net A 127.0.7.7
@bl 127.0.0.2 bl.example A 127.0.0.2
@bl 127.0.7.7 bl.example A 127.0.0.2
@bl 127.0.7.7 bl.example TXT listed
*.sold.example A 192.0.2.80
*.refusing.example A 127.255.255.254
empty.example A 192.0.2.1
";

const RESTRICTIONS: &str = "smtpd_recipient_restrictions = reject_rbl_client sold.example, \
                            reject_rbl_client refusing.example, reject_rbl_client empty.example, permit_auth_destination\n";

/// The answer to a recipient of a client at 127.0.7.7.
fn answer(server: &Server) -> String {
    let mut dialog = Dialog::connect_from([127, 0, 7, 7], server.port).expect("a connection");
    assert!(dialog.reply().expect("a greeting").starts_with("220 "));
    assert!(dialog.command("EHLO client.example.net").expect("a reply").starts_with("250"));
    assert_eq!(dialog.command("MAIL FROM:<a@example.org>").expect("a reply"), "250 2.1.0 Ok");
    let reply = dialog.command("RCPT TO:<u@example.com>").expect("a reply");
    assert_eq!(dialog.command("QUIT").expect("a reply"), "221 2.0.0 Bye");
    reply
}

fn start(dns: &FixtureDns, settings: &str) -> Server {
    Server::start(&format!("postern_dns_servers = {}\n{settings}", dns.server()))
}

#[test]
#[ignore = "run by cargo xtask test"]
fn lists_that_list_everybody_are_not_believed() {
    let dns = FixtureDns::start(ZONE).expect("DNS");
    let server = start(&dns, RESTRICTIONS);
    for _ in 0..3 {
        assert_eq!(answer(&server), "250 2.1.5 Ok", "{}", server.tail());
    }
    let lines = [
        "warning: sold.example lists 127.0.0.1, so it would list everybody: nobody counts as listed",
        "warning: refusing.example refuses queries from here, by the answer 127.255.255.254: nobody counts as listed",
    ];
    for line in lines {
        server.wait_log(line);
        assert_eq!(server.log().matches(line).count(), 1, "{}", server.tail());
    }
    let strict = start(&dns, &format!("{RESTRICTIONS}postern_dnsbl_guardian = no\n"));
    let blocked = "554 5.7.1 Service unavailable; Client host [127.0.7.7] blocked using sold.example";
    assert_eq!(answer(&strict), blocked);
    let good = start(&dns, "smtpd_recipient_restrictions = reject_rbl_client bl.example\n");
    assert_eq!(
        answer(&good),
        "554 5.7.1 Service unavailable; Client host [127.0.7.7] blocked using bl.example; listed"
    );
}

#[test]
#[ignore = "run by cargo xtask test"]
fn the_command_tells_how_lists_do() {
    let dns = FixtureDns::start(ZONE).expect("DNS");
    let server = start(&dns, &format!("{RESTRICTIONS}smtpd_client_restrictions = reject_rbl_client bl.example\n"));
    assert!(answer(&server).ends_with("blocked using bl.example; listed"));
    let told = || {
        let output = Command::new(postern()).arg("dnsbl").arg("-c").arg(server.etc()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        // how long it took is another thing each time
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let without_time = |line: &str| {
            let parts: Vec<&str> = line.split("; ").filter(|part| !part.ends_with(" ms")).collect();
            parts.join("; ")
        };
        lines.lines().map(without_time).collect::<Vec<_>>()
    };
    let expected = [
        "bl.example (addresses): works; listed 1 of 1 on record (100.0 %)",
        "sold.example (addresses): would list everybody: not believed; no decision on record asked it",
        "refusing.example (addresses): refuses queries from here (127.255.255.254): not believed; no decision on record \
         asked it",
        "empty.example (addresses): has no test entry: it may be dead; no decision on record asked it",
    ];
    // the record is written a moment later
    testkit::wait_until(std::time::Duration::from_secs(15), || told()[0].ends_with("(100.0 %)"));
    assert_eq!(told(), expected);
}
