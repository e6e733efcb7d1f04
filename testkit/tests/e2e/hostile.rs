//! Clients that misbehave: the server stays up, keeps its memory, and serves the others.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use testkit::{Dialog, wait_until};

use crate::server::Server;

#[test]
#[ignore = "run by cargo xtask test"]
fn abrupt_close_in_each_state() {
    let server = Server::start("");
    let steps = [
        "EHLO client.example.net",
        "MAIL FROM:<a@example.org>",
        "RCPT TO:<user@example.com>",
        "DATA",
        "Subject: cut off\r\n\r\nhalf a mess",
    ];
    for depth in 0..=steps.len() {
        for reset in [false, true] {
            let mut dialog = Dialog::connect(server.port).expect("a connection");
            dialog.reply().expect("a greeting");
            for step in &steps[..depth] {
                dialog.send(format!("{step}\r\n").as_bytes()).expect("sent");
                if step.starts_with(|c: char| c.is_ascii_uppercase())
                    && !step.starts_with("Subject")
                    && !(reset && *step == steps[depth - 1])
                {
                    dialog.reply().expect("a reply");
                }
            }
            // closing with a reply unread makes the kernel send a reset
            let _ = if reset { Ok(()) } else { dialog.stream().shutdown(Shutdown::Write) };
        }
    }
    for state in ["EHLO", "MAIL", "RCPT", "DATA"] {
        server.wait_log(&format!("lost connection after {state}"));
    }
    server.assert_works();
    assert_eq!(server.maildir("user"), Vec::<String>::new());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn slow_loris() {
    let server = Server::start(
        "smtpd_timeout = 3s\nsmtpd_per_request_deadline = yes\nsmtpd_client_connection_count_limit = 0\n",
    );
    let begin = Instant::now();
    let mut slow: Vec<_> = (0..50).map(|_| Dialog::greeted(server.port).expect("a session")).collect();
    let mut quickest = Duration::MAX;
    while begin.elapsed() < Duration::from_secs(6) {
        for dialog in &mut slow {
            let _ = dialog.send(b"N");
        }
        let start = Instant::now();
        let reply = server.dialog().command("NOOP").expect("a reply");
        assert_eq!(reply, "250 2.0.0 Ok");
        quickest = quickest.min(start.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(quickest < Duration::from_secs(1), "another session took {quickest:?}");
    for dialog in &mut slow {
        let said = dialog.reply().unwrap_or_default();
        // the reply may be lost when the server closed while bytes were still coming
        assert!(said.is_empty() || said == "421 4.4.2 mail.example.com Error: timeout exceeded", "{said}");
        assert!(
            dialog.rest().is_ok_and(|r| r.is_empty()) || dialog.send(b"x").is_err(),
            "a slow session is still open"
        );
    }
    server.wait_log("timeout after EHLO from");
    server.assert_works();
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_hundred_thousand_recipients() {
    let server = Server::start("smtpd_error_sleep_time = 0\n");
    let mut dialog = server.dialog();
    dialog.command("MAIL FROM:<a@example.org>").expect("a reply");
    let before = server.resident_kib();
    let mut writer = dialog.stream().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        for n in 0..100_000 {
            if writer.write_all(format!("RCPT TO:<user{n}@example.com>\r\n").as_bytes()).is_err() {
                return;
            }
        }
    });
    let (mut taken, mut refused, mut last) = (0, 0, String::new());
    while let Ok(reply) = dialog.reply() {
        match reply.get(..3) {
            Some("250") => taken += 1,
            Some("452") => {
                assert_eq!(reply, "452 4.5.3 Error: too many recipients");
                refused += 1;
            }
            Some(_) => last = reply,
            None => break,
        }
    }
    sender.join().expect("no panic");
    assert_eq!(taken, 1000, "smtpd_recipient_limit; then {refused} times 452 and {last:?}");
    assert!(refused >= 1000, "smtpd_recipient_overshoot_limit: {refused} times 452");
    assert!(last.is_empty() || last == "421 4.7.0 mail.example.com Error: too many errors", "{last}");
    let after = server.resident_kib();
    assert!(after < before + 64 * 1024, "{before} KiB became {after} KiB");
    server.assert_works();
}

/// Sends a message made of `chunk` again and again, `total` octets in all; the reply to its end.
fn endless(server: &Server, chunk: &[u8], total: usize) -> String {
    let mut dialog = server.dialog();
    dialog.begin("a@example.org", "user@example.com").expect("DATA");
    let mut sent = 0;
    while sent < total && dialog.send(chunk).is_ok() {
        sent += chunk.len();
    }
    // a server that has had enough may close
    let _ = dialog.send(b"\r\n.\r\n");
    dialog.reply().unwrap_or_default()
}

#[test]
#[ignore = "run by cargo xtask test"]
fn endless_header_and_endless_line() {
    let server = Server::start("message_size_limit = 2000000\n");
    server.assert_works();
    let before = server.resident_kib();
    let header = b"X-Header: and so on and so on and so on and so on\r\n".repeat(1000);
    let line = b"x".repeat(50_000);
    for chunk in [&header, &line] {
        let reply = endless(&server, chunk, 40_000_000);
        assert_eq!(reply, "552 5.3.4 Error: message file too big");
    }
    let after = server.resident_kib();
    assert!(after < before + 32 * 1024, "{before} KiB became {after} KiB");
    // a command without end
    let mut dialog = server.dialog();
    let flooded = (0..200).all(|_| dialog.send(&line).is_ok());
    let reply = if flooded { dialog.command("").unwrap_or_default() } else { String::new() };
    assert!(reply.is_empty() || reply.starts_with('5'), "{reply}");
    let after = server.resident_kib();
    assert!(after < before + 32 * 1024, "{before} KiB became {after} KiB");
    server.assert_works();
    assert_eq!(server.maildir("user"), Vec::<String>::new());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn nuls() {
    let server = Server::start("");
    let mut dialog = server.dialog();
    for command in ["MAIL FROM:<a\0b@example.org>\0", "\0\0\0\0", "RCPT\0 TO:<user@example.com>"] {
        let reply = dialog.command(command).expect("a reply");
        assert!(reply.starts_with('5'), "{command:?}: {reply}");
    }
    dialog.begin("a@example.org", "user@example.com").expect("DATA");
    dialog.send(b"Subject: nuls\r\n\r\nbefore\0after\r\n\0\r\n.\r\n").expect("sent");
    let reply = dialog.reply().expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok"), "{reply}");
    let mail = server.wait_mail("user", 1);
    assert!(mail[0].ends_with("\n\nbefore\0after\n\0\n"), "{:?}", mail[0]);
    server.assert_works();
}

#[test]
#[ignore = "run by cargo xtask test"]
fn smuggling() {
    let server = Server::start("");
    let ends = ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r\n\0.\r\n", "\r\n.\0\r\n"];
    for end in ends {
        let mut dialog = server.dialog();
        dialog.begin("a@example.org", "outer@example.com").expect("DATA");
        let inner = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<inner@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nhi\r\n.\r\n";
        dialog.send(format!("Subject: outer\r\n\r\ntext{end}{inner}").as_bytes()).expect("sent");
        let reply = dialog.reply().expect("a reply");
        assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{end:?}: {reply}");
        assert_eq!(
            dialog.command("QUIT").expect("a reply"),
            "221 2.0.0 Bye",
            "{end:?}: more than one message was seen"
        );
    }
    let mail = server.wait_mail("outer", ends.len());
    assert!(mail.iter().all(|m| m.contains("smuggled")), "{mail:?}");
    assert_eq!(server.maildir("inner"), Vec::<String>::new());
}

#[test]
#[ignore = "run by cargo xtask test"]
fn a_client_that_never_reads() {
    let server =
        Server::start("smtpd_timeout = 3s\nsmtpd_error_sleep_time = 0\nsmtpd_junk_command_limit = 100000000\n");
    let before = server.resident_kib();
    let mut dialog = server.dialog();
    let noops = b"NOOP\r\n".repeat(1000);
    dialog.stream().set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let stuck = (0..20_000).any(|_| dialog.send(&noops).is_err());
    assert!(stuck, "the server read 120 MB of commands whose replies nobody takes");
    let after = server.resident_kib();
    assert!(after < before + 32 * 1024, "{before} KiB became {after} KiB");
    server.assert_works();
    // it is let go in the end
    let gone = wait_until(Duration::from_secs(15), || server.log().contains("NOOP from"));
    assert!(gone, "{}", server.tail());
    let _ = dialog.stream().set_read_timeout(Some(Duration::from_secs(5)));
    let mut chunk = vec![0; 1 << 20];
    let mut stream = dialog.stream();
    while stream.read(&mut chunk).is_ok_and(|n| n > 0) {}
}
