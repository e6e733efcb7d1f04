//! How long the usual message takes: `cargo run --release -p postern-message --example intake`.

#![allow(clippy::disallowed_methods)]

use message::cleanup::{Cleanup, MessageContext, RewriteContext};
use message::received::{ReceivedFacts, received_header};
use message::{CleanupConfig, NoTables, Timestamp};
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: u32 = 200_000;

fn main() {
    let config = Arc::new(CleanupConfig::default());
    let mut content = b"Received: from a.example (a.example [192.0.2.1])\n\tby b.example (Postfix) with ESMTPS id X\n\tfor \
        <u@example.com>; Sun, 22 Nov 2026 12:00:00 +0000 (UTC)\nDate: Sun, 22 Nov 2026 12:00:00 +0000\nFrom: A <a@example.org>\n\
        To: <u@example.com>\nSubject: the usual\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\nContent-Type: text/plain\n\n"
        .to_vec();
    while content.len() < 2048 {
        content.extend_from_slice(b"A line of text as people write them, more or less of this length.\n");
    }
    let time = Timestamp::utc(1_795_350_328);
    let mut out = Vec::with_capacity(8192);
    let start = Instant::now();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        out.clear();
        let received = received_header(&ReceivedFacts {
            helo: Some("client.example.net"),
            client_name: "client.example.net",
            client_address: "192.0.2.10",
            protocol: "ESMTP",
            smtputf8: false,
            encrypted: false,
            authenticated: false,
            tls: None,
            sasl_username: None,
            my_hostname: "mail.example.com",
            mail_name: "Postfix",
            queue_id: Some("4cPx7K2Qz1zQ"),
            recipient: Some("u@example.com"),
            time: &time,
            hide_client_session: false,
        });
        let context = MessageContext {
            queue_id: "4cPx7K2Qz1zQ".into(),
            now: time.clone(),
            origin: "client.example.net[192.0.2.10]".into(),
            sender: "a@example.org".into(),
            last_recipient: Some("u@example.com".into()),
            protocol: Some("ESMTP".into()),
            helo: Some("client.example.net".into()),
            rewrite: RewriteContext::Remote,
            prepended: Vec::new(),
            received: Some(received),
            checks: true,
            mappings: true,
            effects: Vec::new(),
            refusal: None,
        };
        let mut cleanup = Cleanup::new(config.clone(), context);
        cleanup.feed(&content, &mut NoTables, &mut out);
        bytes += cleanup.finish(&mut NoTables, &mut out).log.len() + out.len();
    }
    let each = start.elapsed() / ROUNDS;
    println!("{each:?} a message of {} bytes ({bytes} in all)", content.len());
}
