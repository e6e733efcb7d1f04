//! The lost-client-address alarm: the whole world behind one trusted address, and who only looks like it.

use std::process::Command;
use std::time::Duration;

use testkit::{Dialog, wait_until};

use crate::server::{Server, postern};

/// All of loopback but the outsiders' part is trusted; that is where the gateway is.
const SETTINGS: &str = "mynetworks = 127.0.0.0/16\nlocal_recipient_maps =\nsmtpd_relay_restrictions = permit_mynetworks, \
                        reject_unauth_destination\nsmtpd_log_access_permit_actions = static:all\n";
const LOST: &str = "warning: the addresses of clients are lost: ";
const DENIED: &str = "554 5.7.1 <u@elsewhere.example>: Relay access denied";
/// Where everybody comes from.
const GATEWAY: [u8; 4] = [127, 0, 0, 7];

/// One transaction; the reply to its recipient.
fn transaction(server: &Server, from: [u8; 4], helo: &str, sender: &str, recipient: &str) -> String {
    let mut dialog = Dialog::connect_from(from, server.port).expect("a connection");
    assert!(dialog.reply().expect("a greeting").starts_with("220 "));
    dialog.command(&format!("HELO {helo}")).expect("a reply");
    dialog.command(&format!("MAIL FROM:<{sender}>")).expect("a reply");
    dialog.command(&format!("RCPT TO:<{recipient}>")).expect("a reply")
}

/// Strangers with mail for us, all from one address.
fn strangers(server: &Server, from: [u8; 4], count: u32) {
    for number in 0..count {
        let (helo, sender) = (format!("mx{number}.example.net"), format!("a@d{number}.example.org"));
        assert_eq!(transaction(server, from, &helo, &sender, "u@example.com"), "250 2.1.5 Ok", "{}", server.tail());
    }
}

fn relays(server: &Server, from: [u8; 4]) -> String {
    transaction(server, from, "mx.example.net", "a@example.org", "u@elsewhere.example")
}

#[test]
#[ignore = "run by cargo xtask test"]
fn the_world_behind_one_trusted_address_is_told() {
    let server = Server::start(SETTINGS);
    strangers(&server, GATEWAY, 49);
    assert!(!server.log().contains(LOST), "{}", server.tail());
    strangers(&server, GATEWAY, 30);
    server.wait_log(&format!(
        "{LOST}50 of 50 transactions of strangers come from 127.0.0.7 which mynetworks trusts, under 49 HELO names, from \
         49 sender domains; whoever connects can relay. Let clients keep their addresses"
    ));
    assert_eq!(server.log().matches(LOST).count(), 1);
    // A warning, and nothing more.
    assert_eq!(relays(&server, GATEWAY), "250 2.1.5 Ok");
}

#[test]
#[ignore = "run by cargo xtask test"]
fn an_address_that_is_no_clients_is_not_trusted_any_more() {
    let server = Server::start(&format!("{SETTINGS}postern_distrust_gateways = yes\n"));
    assert_eq!(relays(&server, GATEWAY), "250 2.1.5 Ok");
    strangers(&server, GATEWAY, 50);
    server.wait_log("; postern_distrust_gateways = yes: mynetworks is without 127.0.0.7 from now on");
    assert_eq!(relays(&server, GATEWAY), DENIED, "{}", server.tail());
    // Mail for us is still taken, and others are still trusted.
    strangers(&server, GATEWAY, 1);
    assert_eq!(relays(&server, [127, 0, 0, 8]), "250 2.1.5 Ok");
    // The record knows why.
    let why = || {
        let mut command = Command::new(postern());
        command.args(["why", "--config-dir"]).arg(server.etc()).arg("u@elsewhere.example");
        String::from_utf8_lossy(&command.output().expect("it runs").stdout).into_owned()
    };
    let knows = || why().contains("inline:{distrusted_gateways=here} \"127.0.0.7\" = \"distrusted\"");
    assert!(wait_until(Duration::from_secs(15), knows), "{}", why());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn submission_relays_and_outsiders_set_nothing_off() {
    let server = Server::start(&format!("{SETTINGS}postern_distrust_gateways = yes\n"));
    for number in 0..70 {
        let name = format!("desk{number}.example.com");
        let sender = format!("a{number}@example.com");
        // An office behind one address sends to the world and to itself; a relay of ours brings in the world's mail.
        for recipient in ["u@elsewhere.example", "u@example.com"] {
            assert_eq!(transaction(&server, GATEWAY, &name, &sender, recipient), "250 2.1.5 Ok", "{}", server.tail());
        }
        let stranger = format!("a@d{number}.example.org");
        let relayed = transaction(&server, [127, 0, 0, 9], "relay.example.com", &stranger, "u@example.com");
        assert_eq!(relayed, "250 2.1.5 Ok", "{}", server.tail());
    }
    // A listed host with many names, while the world has addresses of its own.
    for number in 0..60u8 {
        let (helo, sender) = (format!("mx{number}.example.net"), format!("a@d{number}.example.org"));
        for from in [[127, 0, 0, 10], [127, 7, 0, number + 1]] {
            assert_eq!(
                transaction(&server, from, &helo, &sender, "u@example.com"),
                "250 2.1.5 Ok",
                "{}",
                server.tail()
            );
        }
    }
    assert_eq!(relays(&server, GATEWAY), "250 2.1.5 Ok");
    assert!(!server.log().contains(LOST), "{}", server.tail());
}
