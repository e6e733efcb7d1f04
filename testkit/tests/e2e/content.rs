//! Messages come out as they went in, however they are sent and kept.

use std::fs;
use std::time::Duration;

use testkit::{Dialog, wait_until};

use crate::server::Server;

const HEADER: &str = "From: a@example.org\r\nSubject: all of it\r\nMessage-Id: <1@example.org>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\n";

/// A message of about `size` octets: all octets but CR, LF and NUL, lines of all lengths, dots where they matter.
fn message(size: usize) -> Vec<u8> {
    let mut text = HEADER.as_bytes().to_vec();
    let mut state = 1u32;
    while text.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match state >> 24 {
            0..40 => text.extend(b"."),
            40..60 => text.extend(b".."),
            _ => {}
        }
        for _ in 0..(state >> 8) % 900 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let octet = (state >> 16) as u8;
            text.push(if matches!(octet, 0 | b'\r' | b'\n') { b'x' } else { octet });
        }
        text.extend(b"\r\n");
    }
    text
}

/// With LF as line end, as in a Maildir.
fn unix(message: &[u8]) -> Vec<u8> {
    message.iter().copied().filter(|&octet| octet != b'\r').collect()
}

/// With the dots that DATA needs.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 64);
    for line in message.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend(line);
    }
    out
}

/// The octets of the one message of a user.
fn delivered(server: &Server, user: &str) -> Vec<u8> {
    server.wait_mail(user, 1);
    let new = server.dir.path().join("mail").join(user).join("new");
    let file = fs::read_dir(new).expect("a Maildir").flatten().next().expect("a message");
    fs::read(file.path()).expect("a message")
}

/// The message ends the file, and nothing but headers of ours comes before.
fn assert_same(file: &[u8], message: &[u8]) {
    let want = unix(message);
    assert!(file.len() >= want.len(), "{} octets of {}", file.len(), want.len());
    let (ours, theirs) = file.split_at(file.len() - want.len());
    assert!(theirs == want, "the message was changed");
    let ours = String::from_utf8_lossy(ours);
    let known = ["Return-Path: ", "X-Original-To: ", "Delivered-To: ", "Received: ", "\t"];
    assert!(ours.lines().all(|line| known.iter().any(|k| line.starts_with(k))), "{ours}");
}

fn begin(dialog: &mut Dialog, parameters: &str, to: &[&str]) {
    let mail = format!("MAIL FROM:<a@example.org>{parameters}");
    assert_eq!(dialog.command(&mail).expect("a reply"), "250 2.1.0 Ok");
    for to in to {
        assert_eq!(dialog.command(&format!("RCPT TO:<{to}>")).expect("a reply"), "250 2.1.5 Ok");
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn large_by_data() {
    let server = Server::start("");
    let sink = server.sink("");
    let message = message(5_000_000);
    let mut dialog = server.dialog();
    begin(&mut dialog, " BODY=8BITMIME", &["user@example.com", "user@relay.example"]);
    assert!(dialog.command("DATA").expect("a reply").starts_with("354 "));
    dialog.send(&stuffed(&message)).expect("sent");
    let reply = dialog.command(".").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    assert_same(&delivered(&server, "user"), &message);
    assert!(wait_until(Duration::from_secs(30), || sink.messages().len() == 1), "{}", server.tail());
    assert_same(&unix(&sink.messages()[0].content), &message);
}

#[test]
#[ignore = "run by cargo xtask test"]
fn chunks() {
    let server = Server::start("");
    for (user, size, chunk) in [("small", 3_000, 7), ("middle", 100_000, 4_099), ("large", 5_000_000, 700_001)] {
        let message = message(size);
        let mut dialog = server.dialog();
        begin(&mut dialog, " BODY=8BITMIME", &[&format!("{user}@example.com")]);
        // ends of chunks fall between CR and LF, and before dots
        for part in message.chunks(chunk) {
            dialog.send(format!("BDAT {}\r\n", part.len()).as_bytes()).expect("sent");
            dialog.send(part).expect("sent");
            let reply = dialog.reply().expect("a reply");
            assert_eq!(reply, format!("250 2.0.0 Ok: {} bytes", part.len()));
        }
        let reply = dialog.command("BDAT 0 LAST").expect("a reply");
        assert!(reply.starts_with(&format!("250 2.0.0 Ok: {} bytes queued as ", message.len())), "{reply}");
        assert_same(&delivered(&server, user), &message);
    }
}

#[test]
#[ignore = "run by cargo xtask test"]
fn beyond_ascii() {
    let server = Server::start("");
    let mut dialog = Dialog::connect(server.port).expect("a connection");
    dialog.reply().expect("a greeting");
    let keywords = dialog.command("EHLO client.example.net").expect("a reply");
    assert!(keywords.lines().any(|l| l.ends_with("SMTPUTF8")), "{keywords}");
    let sender = "jörg@straße.example";
    // strict_smtputf8 = no: an address beyond ASCII needs no declaration
    assert_eq!(dialog.command(&format!("MAIL FROM:<{sender}>")).expect("a reply"), "250 2.1.0 Ok");
    assert_eq!(dialog.command("RSET").expect("a reply"), "250 2.0.0 Ok");
    assert_eq!(dialog.command(&format!("MAIL FROM:<{sender}> SMTPUTF8")).expect("a reply"), "250 2.1.0 Ok");
    assert_eq!(dialog.command("RCPT TO:<žofie@example.com>").expect("a reply"), "250 2.1.5 Ok");
    assert!(dialog.command("DATA").expect("a reply").starts_with("354 "));
    let header = HEADER
        .replace("a@example.org\r\nSubject: all", &format!("{sender}\r\nTo: žofie@example.com\r\nSubject: Grüße,"));
    let message = header + "привет\r\n";
    dialog.send(message.as_bytes()).expect("sent");
    let reply = dialog.command(".").expect("a reply");
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    let file = delivered(&server, "žofie");
    assert_same(&file, message.as_bytes());
    let text = String::from_utf8(file).expect("UTF-8");
    assert!(text.starts_with(&format!("Return-Path: <{sender}>\n")), "{text}");
    assert!(text.contains("with UTF8SMTP id "), "{text}");
    server.wait_log(&format!("from=<{sender}>, size="));
}
