//! Behind Debian's HAProxy: both versions of its protocol, and its health checks.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::ports::free_port;
use testkit::tools::{find, skipped};
use testkit::{Dialog, Program, wait_until};

use crate::server::Server;

const SETTINGS: &str = "smtpd_upstream_proxy_protocol = haproxy\nsmtpd_upstream_proxy_timeout = 2s\n";

/// A running HAProxy: one port sends version 1, the other version 2 and looks after the server's health.
struct Haproxy {
    _program: Program,
    first: u16,
    second: u16,
}

impl Haproxy {
    /// Nothing, with a word, without HAProxy.
    fn start(server: &Server, dir: &Path) -> Option<Self> {
        let Some(binary) = find("haproxy") else {
            skipped("the PROXY protocol with HAProxy", "package haproxy is missing");
            return None;
        };
        let (first, second, gate) = (free_port(), free_port(), server.port);
        let settings = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s
listen first\n bind 127.0.0.1:{first}\n server gate 127.0.0.1:{gate} send-proxy
listen second\n bind 127.0.0.1:{second}\n option smtpchk EHLO checker.example.com
 server gate 127.0.0.1:{gate} send-proxy-v2 check inter 500 check-send-proxy\n"
        );
        fs::write(dir.join("haproxy.cfg"), settings).expect("settings");
        let mut command = Command::new(binary);
        command.arg("-db").arg("-f").arg(dir.join("haproxy.cfg"));
        let mut program = Program::start(&mut command, &dir.join("haproxy.output")).expect("haproxy starts");
        program.wait_listening(&[first, second], Duration::from_secs(20)).unwrap_or_else(|error| panic!("{error}"));
        Some(Self { _program: program, first, second })
    }
}

fn through(port: u16, from: [u8; 4]) -> Dialog {
    let mut dialog = Dialog::connect_from(from, port).expect("a connection");
    assert!(dialog.reply().expect("a greeting").starts_with("220 "));
    assert!(dialog.command("EHLO client.example.net").expect("a reply").starts_with("250"));
    dialog
}

#[test]
#[ignore = "run by cargo xtask test"]
fn clients_are_those_that_haproxy_names() {
    let server = Server::start(&format!("{SETTINGS}smtpd_authorized_xclient_hosts = 127.0.7.8\n"));
    let dir = testkit::temp_dir().expect("a temporary directory");
    let Some(haproxy) = Haproxy::start(&server, dir.path()) else { return };
    // Its health checks are its own connections, and the server is well.
    server.wait_log("disconnect from localhost[127.0.0.1] ehlo=1 quit=1 commands=2");
    for (port, last) in [(haproxy.first, 6), (haproxy.second, 7)] {
        let mut dialog = through(port, [127, 0, 7, last]);
        let reply = dialog.message("a@example.org", "u@example.com", "hello").expect("a reply");
        assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}\n{}", server.tail());
        server.wait_log(&format!(": client=unknown[127.0.7.{last}]"));
        assert!(dialog.command("XCLIENT NAME=x").expect("a reply").starts_with("550 5.7.0 "), "{}", server.tail());
    }
    let mail = server.wait_mail("u", 2);
    let received = |last: u8| format!("Received: from client.example.net (unknown [127.0.7.{last}])");
    assert!([6, 7].iter().all(|last| mail.iter().any(|mail| mail.contains(&received(*last)))), "{mail:#?}");
    // XCLIENT is for whom the proxy names, not for the proxy.
    let mut dialog = through(haproxy.second, [127, 0, 7, 8]);
    assert!(dialog.command("XCLIENT ADDR=192.0.2.5").expect("a reply").starts_with("220 "), "{}", server.tail());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn nobody_comes_in_without_the_header() {
    let server = Server::start(SETTINGS);
    for (bytes, problem) in [
        (&b"EHLO client.example.net\r\n"[..], "unrecognized protocol header: EHLO client.example.net\\r\\n"),
        (b"PROXY UNKNOWN\r\n", "bad or missing protocol type: PROXY UNKNOWN\\r\\n"),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\0",
            "unsupported network protocol: \\r\\n\\r\\n\\000\\r\\nQUIT\\n!1\\000\\000",
        ),
        (b"PROXY TCP4", "timeout error"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xff", "timeout error"),
    ] {
        let mut dialog = Dialog::connect_from([127, 0, 0, 1], server.port).expect("a connection");
        dialog.send(bytes).expect("it reads");
        assert_eq!(
            dialog.reply().expect("a reply"),
            "421 4.3.0 mail.example.com Server local error",
            "{}",
            server.tail()
        );
        server.wait_log(&format!("warning: haproxy read: {problem}"));
    }
    // Many that say nothing hold nobody up.
    let silent: Vec<_> = (0..50).map(|_| Dialog::connect_from([127, 0, 0, 1], server.port)).collect();
    let mut dialog = Dialog::connect_from([127, 0, 0, 1], server.port).expect("a connection");
    dialog.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 25\r\n").expect("it reads");
    assert!(dialog.reply().expect("a greeting").starts_with("220 "), "{}", server.tail());
    let gone = || server.log().matches("haproxy read: timeout error").count() >= 52;
    assert!(wait_until(Duration::from_secs(15), gone), "{}", server.tail());
    drop(silent);
}
