//! Milters that people run: opendkim and rspamd from Debian. Milters that change large messages, that do whatever they
//! should not, and one that comes back.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::peer::{Address, Milter, MilterTraits};
use testkit::ports::free_port;
use testkit::tools::{find, skipped};
use testkit::{Dialog, Program};

use crate::server::Server;

const MESSAGE: &str = "From: a@example.org\nTo: u@example.com\nSubject: hello\nMessage-Id: <1@example.org>\n\
                       Date: Sun, 22 Nov 2026 12:00:00 +0000\n\nhello\n";

/// A whole message in a session; the reply to its end.
pub fn send(dialog: &mut Dialog, content: &str) -> String {
    assert_eq!(dialog.command("RSET").expect("a reply"), "250 2.0.0 Ok");
    assert_eq!(dialog.command("MAIL FROM:<a@example.org>").expect("a reply"), "250 2.1.0 Ok");
    assert_eq!(dialog.command("RCPT TO:<u@example.com>").expect("a reply"), "250 2.1.5 Ok");
    assert!(dialog.command("DATA").expect("a reply").starts_with("354 "));
    dialog.send(content.replace('\n', "\r\n").as_bytes()).expect("it reads");
    dialog.command(".").expect("a reply")
}

/// The client is somebody else from now on.
pub fn become_stranger(dialog: &mut Dialog) {
    let reply = dialog.command("XCLIENT ADDR=203.0.113.7 NAME=mx.example.org").expect("a reply");
    assert!(reply.starts_with("220 "), "{reply}");
    assert!(dialog.command("EHLO mx.example.org").expect("a reply").starts_with("250"));
}

/// opendkim with a key for two domains that it also checks with.
pub fn start_opendkim(dir: &std::path::Path) -> Option<(Program, u16)> {
    let (Some(opendkim), Some(openssl)) = (find("opendkim"), find("openssl")) else {
        skipped("signing and checking with opendkim", "package opendkim or openssl is missing");
        return None;
    };
    let (key, keys, config) = (dir.join("key.pem"), dir.join("keys"), dir.join("opendkim.conf"));
    let made = Command::new(&openssl).args(["genrsa", "-out"]).arg(&key).arg("2048").output().expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let public = Command::new(&openssl).args(["rsa", "-pubout", "-in"]).arg(&key).output().expect("openssl runs");
    let public = String::from_utf8_lossy(&public.stdout).into_owned();
    let public: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    let record = |domain: &str| format!("sel._domainkey.{domain} v=DKIM1; k=rsa; p={public}\n");
    fs::write(&keys, record("example.org") + &record("example.com")).expect("its keys");
    let port = free_port();
    let (key, keys) = (key.display(), keys.display());
    let text = format!(
        "Mode sv\nBackground no\nSyslog no\nDomain example.org,example.com\nSelector sel\nKeyFile {key}\nTestPublicKeys {keys}
Socket inet:{port}@127.0.0.1\nInternalHosts 127.0.0.1\nAlwaysAddARHeader yes\nOn-BadSignature reject\n"
    );
    fs::write(&config, text).expect("its configuration");
    let mut command = Command::new(opendkim);
    command.arg("-f").arg("-x").arg(&config).arg("-P").arg(dir.join("pid"));
    let mut program = Program::start(&mut command, &dir.join("output")).expect("opendkim starts");
    program.wait_listening(&[port], Duration::from_secs(60)).unwrap_or_else(|error| panic!("{error}"));
    Some((program, port))
}

#[test]
#[ignore = "run by cargo xtask test"]
fn opendkim_signs_and_verifies() {
    let dir = testkit::temp_dir().expect("a temporary directory");
    let Some((opendkim, port)) = start_opendkim(dir.path()) else { return };
    let server = Server::start(&format!(
        "smtpd_milters = inet:127.0.0.1:{port}\nmilter_default_action = tempfail\nmilter_command_timeout = 60s
smtpd_authorized_xclient_hosts = 127.0.0.1\n"
    ));
    let accepted = "250 2.0.0 Ok: queued as ";
    // a client of ours gets a signature
    let reply = send(&mut server.dialog(), MESSAGE);
    assert!(reply.starts_with(accepted), "{reply}\n{}\n{}", server.tail(), opendkim.output());
    let mail = server.wait_mail("u", 1).remove(0);
    let start = mail.find("DKIM-Signature: v=1; a=rsa-sha256;").unwrap_or_else(|| panic!("no signature: {mail}"));
    let signed = &mail[start..];
    assert!(signed.contains(" d=example.org; s=sel;"), "{signed}");
    assert!(signed.find("\nReceived: ").is_some_and(|at| at < signed.find("\n\n").unwrap_or(0)), "{signed}");
    // it holds when a stranger brings the message
    let mut stranger = server.dialog();
    become_stranger(&mut stranger);
    assert!(send(&mut stranger, signed).starts_with(accepted), "{}", server.tail());
    let mail = server.wait_mail("u", 2).join("\n--\n");
    let results = "Authentication-Results: mail.example.com;\n\tdkim=pass (2048-bit key";
    assert!(mail.contains(results), "{mail}");
    assert_eq!(mail.matches("DKIM-Signature: ").count(), 2, "{mail}");
    // without a signature
    assert!(send(&mut stranger, MESSAGE).starts_with(accepted), "{}", server.tail());
    let mail = server.wait_mail("u", 3).join("\n--\n");
    assert!(mail.contains("Authentication-Results: mail.example.com; dkim=none"), "{mail}");
    // and not when it was changed on the way
    let changed = signed.replace("\nhello\n", "\nhallo\n");
    let refused = send(&mut stranger, &changed);
    assert!(refused.starts_with("550 5.7.0 bad DKIM signature data"), "{refused}\n{}", server.tail());
    server.wait_log("milter-reject: END-OF-MESSAGE from mx.example.org[203.0.113.7]: 5.7.0 bad DKIM signature data");
    assert_eq!(server.maildir("u").len(), 3);
}

/// The text that every spam filter has to catch.
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// rspamd that scans in its proxy, knows no rules but the test texts, and needs no network.
fn start_rspamd(dir: &std::path::Path) -> Option<(Program, u16)> {
    let Some(rspamd) = find("rspamd") else {
        skipped("filtering with rspamd", "package rspamd is missing");
        return None;
    };
    let (port, root, config) = (free_port(), dir.display(), dir.join("rspamd.conf"));
    let text = format!(
        "options {{ filters = \"\"; local_addrs = []; enable_test_patterns = true; dns {{ nameserver = [\"127.0.0.1\"]; }}
  pidfile = \"{root}/pid\"; tempdir = \"{root}\"; control_socket = \"{root}/control\"; }}
logging {{ type = \"console\"; level = \"info\"; }}
worker \"rspamd_proxy\" {{ bind_socket = \"127.0.0.1:{port}\"; milter = yes; timeout = 60s; count = 1;
  upstream \"local\" {{ default = yes; self_scan = yes; }} }}
actions {{ reject = 15; add_header = 6; greylist = 5; }}
"
    );
    fs::write(&config, text).expect("its configuration");
    let mut command = Command::new(rspamd);
    command.args(["-f", "-i", "-c"]).arg(&config);
    let mut program = Program::start_group(&mut command, &dir.join("output")).expect("rspamd starts");
    program.wait_listening(&[port], Duration::from_secs(150)).unwrap_or_else(|error| panic!("{error}"));
    Some((program, port))
}

#[test]
#[ignore = "run by cargo xtask test"]
fn rspamd_refuses_spam_and_adds_headers() {
    let dir = testkit::temp_dir().expect("a temporary directory");
    let Some((rspamd, port)) = start_rspamd(dir.path()) else { return };
    let server = Server::start(&format!(
        "smtpd_milters = {{ inet:127.0.0.1:{port}, content_timeout=120s, command_timeout=60s }}
milter_default_action = tempfail\n"
    ));
    let mut dialog = server.dialog();
    let spam = send(&mut dialog, &format!("{MESSAGE}{GTUBE}\n"));
    assert!(spam.starts_with("554 5.7.1 "), "{spam}\n{}\n{}", server.tail(), rspamd.output());
    server.wait_log("milter-reject: END-OF-MESSAGE from localhost[127.0.0.1]: 5.7.1 ");
    let accepted = "250 2.0.0 Ok: queued as ";
    let ham = send(&mut dialog, MESSAGE);
    assert!(ham.starts_with(accepted), "{ham}\n{}\n{}", server.tail(), rspamd.output());
    let mail = server.wait_mail("u", 1).remove(0);
    assert!(!mail.contains("\nX-Spam: "), "{mail}");
    // what is only suspicious gets a header
    let tagged = send(&mut dialog, &format!("{MESSAGE}{}\n", GTUBE.replace("XJS", "YJS")));
    assert!(tagged.starts_with(accepted), "{tagged}\n{}\n{}", server.tail(), rspamd.output());
    let mail = server.wait_mail("u", 2);
    assert!(mail.iter().any(|text| text.contains("\nX-Spam: Yes\n")), "{mail:?}");
}

/// A Milter that does what these rules say at the end of each message.
fn scripted(rules: &str) -> (Milter, u16) {
    let port = free_port();
    let at = Address::Inet(([127, 0, 0, 1], port).into());
    (Milter::start(&at, MilterTraits::default(), rules).expect("a filter"), port)
}

#[test]
#[ignore = "run by cargo xtask test"]
fn large_messages_are_changed() {
    // in memory until now or after, in a file of the spool before or after
    let large: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    let headers = "i 0 X-Top|top ; m 1 Subject|changed ; m 1 X-Gone| ; h X-Last|last ; e <new@example.org> ; \
                   - <u@example.com> ; + <v@example.com>";
    let long_body = format!("b {} ; ", "x".repeat(60_000)).repeat(3);
    let begin = "X-Gone: gone\nSubject: one\n\n";
    for (edits, body, want) in [
        ("c".to_owned(), large.as_str(), large.clone()),
        ("b short\\r\\n ; c".to_owned(), large.as_str(), "short\n".to_owned()),
        (format!("{long_body} c"), "short\n", "x".repeat(180_000) + "\n"),
        (format!("{long_body} c"), large.as_str(), "x".repeat(180_000) + "\n"),
    ] {
        let (_milter, port) = scripted(&format!("EOM => {headers} ; {edits}"));
        let server = Server::start(&format!(
            "smtpd_milters = inet:127.0.0.1:{port}\nmilter_default_action = tempfail\nmessage_drop_headers =\n"
        ));
        let reply = send(&mut server.dialog(), &format!("{begin}{body}"));
        assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}\n{}", server.tail());
        let mail = server.wait_mail("v", 1).remove(0);
        let (header, got) = mail.split_once("\n\n").expect("a body");
        assert!(header.starts_with("Return-Path: <new@example.org>\n"), "{header}");
        let names: Vec<&str> = header
            .lines()
            .skip(3)
            .filter_map(|line| Some(line.split_once(": ")?.0))
            .filter(|n| !n.contains('\t'))
            .collect();
        assert_eq!(names.first(), Some(&"X-Top"), "{header}");
        assert!(header.contains("\nSubject: changed\n") && !header.contains("X-Gone"), "{header}");
        assert!(header.ends_with("\nX-Last: last"), "{header}");
        assert!(got == want, "{} bytes instead of {}: {:.200}", got.len(), want.len(), got);
        assert!(server.maildir("u").is_empty());
    }
}

/// A filter that answers each connection's negotiation well, and then says only this.
fn rude(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut packet = [0; 17];
                let negotiated = stream.read_exact(&mut packet);
                let offer = b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\0\0\0";
                if negotiated.is_ok() && stream.write_all(offer).is_ok() && stream.write_all(answer).is_ok() {
                    // An empty answer is silence, as long as the other side waits.
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest);
                }
            });
        }
    });
    port
}

#[test]
#[ignore = "run by cargo xtask test"]
fn rude_filters_hold_nobody() {
    for (answer, warning) in [
        (b"\xff\xff\xff\xff".as_slice(), "unreasonable packet length: 4294967295 > 1048576"),
        (b"\0\0\0\0", "bad packet length: 0"),
        (b"\0\0\0\x01?", "unexpected filter response (unknown filter reply) after event SMFIC_CONNECT"),
        (b"\0\0\0\x05hX\0y\0", "unexpected filter response SMFIR_ADDHEADER after event SMFIC_CONNECT"),
        (b"\0\0\0\x09y250 ok\0\0", "malformed reply: 250 ok"),
        (b"\0\0", "can't read SMFIC_CONNECT reply packet header: Connection timed out"),
        (b"", "can't read SMFIC_CONNECT reply packet header: Connection timed out"),
    ] {
        let port = rude(answer);
        let server = Server::start(&format!(
            "smtpd_milters = inet:127.0.0.1:{port}\nmilter_default_action = tempfail\nmilter_command_timeout = 1s\n"
        ));
        let begin = Instant::now();
        let mut dialog = server.dialog();
        let reply = dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
        assert!(reply.starts_with("451 4."), "{reply}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{warning}");
        server.wait_log(&format!("warning: milter inet:127.0.0.1:{port}: {warning}"));
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_filter_that_comes_back_needs_no_restart() {
    let port = free_port();
    let server = Server::start(&format!("smtpd_milters = inet:127.0.0.1:{port}\n"));
    let mut refused = Dialog::connect(server.port).expect("a connection");
    let greeting = "421 mail.example.com Service unavailable - try again later";
    assert_eq!(refused.reply().expect("a greeting"), greeting);
    server.wait_log(&format!("warning: connect to Milter service inet:127.0.0.1:{port}: Connection refused"));
    // it wants to be told of nothing but the end of the message, and has no objections
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("its port");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut packet = [0; 17];
            let _ = stream.read_exact(&mut packet);
            let _ = stream.write_all(b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x0f\xf3\xff\0\0\0\x01c");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    server.assert_works();
}
