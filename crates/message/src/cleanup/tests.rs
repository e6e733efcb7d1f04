//! Whole messages, with the texts that Postfix writes for them.

mod actions;
mod garbage;

use super::*;
use crate::lookup::{LookupFailed, MapTable, Maps, NoTables};
use crate::testing::context;
use policy::TableId;
use std::sync::Arc;

/// Rules as in a regexp table: the first prefix (or, after a `*`, substring) that fits decides.
pub(crate) struct Rules(pub Vec<(u32, &'static str, &'static str)>);

impl Lookup for Rules {
    fn find(&mut self, table: TableId, key: &str) -> Result<Option<Arc<str>>, LookupFailed> {
        if key.contains("lookup fails") {
            return Err(LookupFailed("".into()));
        }
        let fits = |pattern: &str| match pattern.strip_prefix('*') {
            Some(part) => key.contains(part),
            None => key.starts_with(pattern),
        };
        let found = self.0.iter().find(|(id, pattern, _)| TableId(*id) == table && fits(pattern));
        Ok(found.map(|(_, _, value)| value.replace("$1", key.split_once(": ").map_or("", |(_, v)| v)).into()))
    }
}

fn maps(title: &str, id: u32) -> Maps {
    Maps { title: title.into(), tables: vec![MapTable { id: TableId(id), pattern: true }] }
}

/// Tables 1 to 4: header, MIME header, nested header and body checks.
fn checked() -> CleanupConfig {
    CleanupConfig {
        header_checks: maps("header_checks", 1),
        mime_header_checks: maps("mime_header_checks", 2),
        nested_header_checks: maps("nested_header_checks", 3),
        body_checks: maps("body_checks", 4),
        ..plain()
    }
}

fn plain() -> CleanupConfig {
    CleanupConfig { myhostname: "mail.example.com".into(), ..CleanupConfig::default() }
}

struct Run {
    out: Vec<u8>,
    finished: Finished,
}

impl Run {
    fn log(&self) -> Vec<&str> {
        self.finished.log.iter().map(|line| line.text.as_str()).collect()
    }
}

fn run_with(config: CleanupConfig, context: MessageContext, tables: &mut dyn Lookup, chunks: &[&[u8]]) -> Run {
    let mut cleanup = Cleanup::new(Arc::new(config), context);
    let mut out = Vec::new();
    for chunk in chunks {
        cleanup.feed(chunk, tables, &mut out);
    }
    let finished = cleanup.finish(tables, &mut out);
    Run { out, finished }
}

fn run(config: CleanupConfig, rules: &[(u32, &'static str, &'static str)], text: &str) -> Run {
    run_with(config, context(), &mut Rules(rules.to_vec()), &[text.as_bytes()])
}

const WHERE: &str = "from client.example.net[192.0.2.10]; from=<s@example.org> to=<u@example.com>";
const PEER: &str = "proto=ESMTP helo=<client.example.net>";

const REMOVED: &str = "QID: removed (canceled)";

/// `WHERE` and `PEER` filled in.
fn lines(templates: &[&str]) -> Vec<String> {
    templates.iter().map(|line| line.replace("@@", &format!("{WHERE} {PEER}")).replace("@M", WHERE)).collect()
}

#[test]
fn headers_and_body_pass_untouched() {
    for (text, want) in [
        ("Subject: test\n\nbody\n", "Subject: test\n\nbody\n"),
        ("To: A <u@x>,\n\to@y\nX:   y  \n\nFrom me\n. dot\n", "To: A <u@x>,\n\to@y\nX:   y  \n\nFrom me\n. dot\n"),
        ("Return-Path: <x@y>\nbcc: hidden\n folded\nContent-Length: 1\nX: y\n\nb\n", "X: y\n\nb\n"),
        ("Subject : spaced\nBcc\t: hidden\nEmpty:\n: nonames\n", "Subject: spaced\nEmpty:\n\n: nonames\n"),
        ("no headers at all\n\nsecond\n", "\nno headers at all\n\nsecond\n"),
        ("\nFrom: x\n\nbody\n", "\nFrom: x\n\nbody\n"),
        ("X: y\n", "X: y\n"),
        ("", ""),
        ("X: y\n\nno final newline", "X: y\n\nno final newline\n"),
        ("X: header without newline", "X: header without newline\n"),
    ] {
        let run = run(plain(), &[], text);
        assert_eq!(String::from_utf8_lossy(&run.out), want, "{text}");
        assert_eq!(run.log(), ["QID: message-id=<>"]);
        assert_eq!(run.finished.verdict, Verdict::Accept);
    }
}

#[test]
fn prepended_headers_and_received_come_first_and_count() {
    let context = MessageContext {
        prepended: vec!["X-Added: yes".into()],
        received: Some("Received: from a\n\tby b; date\n".into()),
        ..context()
    };
    let rules = &mut Rules(vec![(1, "Received:", "INFO"), (1, "X-Added", "INFO seen")]);
    let run = run_with(checked(), context, rules, &[b"Message-ID:   <a@b>\n  folded\n\nx\n"]);
    assert_eq!(
        String::from_utf8_lossy(&run.out),
        "X-Added: yes\nReceived: from a\n\tby b; date\nMessage-ID:   <a@b>\n  folded\n\nx\n"
    );
    let want = [
        "QID: info: header X-Added: yes @@: seen",
        "QID: info: header Received: from a??by b; date @@",
        "QID: message-id=<a@b>?  folded",
    ];
    assert_eq!(run.log(), lines(&want));
}

#[test]
fn too_many_hops() {
    let text = "Received: a\nReceived: b\nReceived: c\nSubject: loop\n\nx\n";
    for (limit, refused) in [(3, true), (4, false)] {
        let run = run(CleanupConfig { hopcount_limit: limit, ..plain() }, &[], text);
        if refused {
            assert_eq!(run.finished.verdict, Verdict::Refuse("554 5.4.0 Error: too many hops".into()));
            assert_eq!(run.log(), ["warning: QID: message rejected: hopcount exceeded", REMOVED]);
        } else {
            assert_eq!(run.finished.verdict, Verdict::Accept);
        }
    }
}

#[test]
fn failing_tables_refuse_temporarily() {
    let run = run(checked(), &[], "Subject: lookup fails\n\nx\n");
    assert_eq!(run.finished.verdict, Verdict::Refuse("451 4.3.0 Error: queue file write error".into()));
    let want = "warning: QID: header_checks map lookup problem -- message not accepted, try again later";
    assert_eq!(run.log(), [want, REMOVED]);
}

#[test]
fn body_checks_see_the_beginning_of_each_segment() {
    let rules = [
        (4, "info", "INFO"),
        (4, "replace", "REPLACE replaced body line"),
        (4, "ignore", "IGNORE"),
        (4, "prepend", "PREPEND prepended body"),
        (4, "strip", "STRIP s"),
    ];
    let text = "A: b\n\ninfo 1\nreplace this\nignore this\nprepend this\nstrip this\n\ninfo after empty\ninfo 2 and more \
                than sixty bytes of body data\n";
    let run = run(CleanupConfig { body_checks_size_limit: 60, ..checked() }, &rules, text);
    let want = "A: b\n\ninfo 1\nreplaced body line\nprepended body\nprepend this\n\ninfo after empty\ninfo 2 and more \
                than sixty bytes of body data\n";
    assert_eq!(String::from_utf8_lossy(&run.out), want);
    let want = [
        "QID: message-id=<>",
        "QID: info: body info 1 @@",
        "QID: replace: body replace this @@: replaced body line",
        "QID: prepend: body prepend this @@: prepended body",
        "QID: strip: body strip this @@: s",
        "QID: info: body info after empty @@",
    ];
    assert_eq!(run.log(), lines(&want));
}

#[test]
fn mime_parts_have_headers_and_segments_of_their_own() {
    let rules = [
        (1, "X-", "INFO primary"),
        (2, "X-", "INFO part"),
        (3, "X-", "INFO nested"),
        (4, "--", "INFO boundary"),
        (4, "info", "INFO"),
    ];
    let text = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"a\"\n\npreamble info\n--a\n\
                Content-Type: text/plain\nX-Warn: in part\n\ninfo in part one\ninfo 2 and more than sixty bytes of body \
                data\ninfo 2 and more than sixty bytes of body data\n--a\nX-Warn: in part two\nno header\ninfo in part \
                two\n--a\nContent-Type: message/rfc822\n\nSubject: nested\nX-Warn: nested\nContent-Type: \
                multipart/alternative; boundary=b\n\n--b\nX-Warn: innermost\n\ninfo innermost\n--b--\nepilogue info\n\
                --a--\ninfo epilogue\n--a\ninfo after\n";
    let run = run(CleanupConfig { body_checks_size_limit: 60, ..checked() }, &rules, text);
    let want = [
        "QID: message-id=<>",
        "QID: info: body --a @@: boundary",
        "QID: info: header X-Warn: in part @@: part",
        "QID: info: body info in part one @@",
        "QID: info: body info 2 and more than sixty bytes of body data @@",
        "QID: info: header X-Warn: in part two @@: part",
        "QID: info: body info in part two @@",
        "QID: info: body --a @@: boundary",
        "QID: info: header X-Warn: nested @@: nested",
        "QID: info: body --b @@: boundary",
        "QID: info: header X-Warn: innermost @@: part",
        "QID: info: body info innermost @@",
        "QID: info: body --b-- @@: boundary",
        "QID: info: body --a-- @@: boundary",
        "QID: info: body info epilogue @@",
        "QID: info: body --a @@: boundary",
        "QID: info: body info after @@",
    ];
    assert_eq!(run.log(), lines(&want));
    assert_eq!(String::from_utf8_lossy(&run.out), text);
    let opaque = CleanupConfig { disable_mime_input_processing: true, ..checked() };
    let run = run_with(opaque, context(), &mut Rules(rules.to_vec()), &[text.as_bytes()]);
    assert!(!run.log().iter().any(|line| line.contains("X-Warn")));
}

#[test]
fn broken_mime_rules_are_logged_and_refused() {
    let strict = CleanupConfig {
        strict_7bit_headers: true,
        strict_8bitmime_body: true,
        strict_mime_encoding_domain: true,
        ..plain()
    };
    let header = "improper use of 8-bit data in message header";
    let body = "improper use of 8-bit data in message body";
    let domain = "invalid message/* or multipart/* encoding domain";
    for (text, rule, excerpt) in [
        ("Subject: café\n\nx\n", header, "Subject: café"),
        ("Subject: body\n\ncafé\n", body, "café"),
        ("Content-Transfer-Encoding: 8bit\n\ncafé\n", "", ""),
        ("Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nA: 1\n\ncafé\n", body, "café"),
        ("Content-Type: multipart/mixed; boundary=a\nContent-Transfer-Encoding: 8bit\n\népilogue\n", body, "épilogue"),
        ("Content-Transfer-Encoding: x-unknown\n\ncafé\n", body, "café"),
        ("Content-Type: multipart/mixed; boundary=x\nContent-Transfer-Encoding: base64\n\nx\n", domain, "base64"),
        ("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nx\n", domain, "base64"),
        ("Content-Type: message/partial\nContent-Transfer-Encoding: base64\n\nx\n", "", ""),
    ] {
        let run = run(strict.clone(), &[], text);
        if rule.is_empty() {
            assert_eq!(run.finished.verdict, Verdict::Accept, "{text}");
            continue;
        }
        assert_eq!(run.finished.verdict, Verdict::Refuse(format!("550 5.6.0 {rule}")), "{text}");
        let want = lines(&[&format!("QID: reject: mime-error {rule}: {excerpt} @M")]);
        assert!(run.log().contains(&want[0].as_str()), "{:?}", run.log());
    }
}

#[test]
fn nesting_is_limited_when_somebody_looks() {
    let text: String =
        "abcdef".chars().map(|c| format!("Content-Type: multipart/mixed; boundary=\"{c}\"\n\n--{c}\n")).collect();
    for (config, refused) in [(checked(), true), (plain(), false)] {
        let run = run(CleanupConfig { mime_nesting_limit: 3, ..config }, &[], &text);
        let reply = "550 5.6.0 MIME nesting exceeds safety limit";
        assert_eq!(run.finished.verdict == Verdict::Refuse(reply.into()), refused);
        assert_eq!(String::from_utf8_lossy(&run.out), text);
    }
}

#[test]
fn headers_that_do_not_end_with_an_empty_line() {
    let text = "A: 1\nno header\n";
    for (action, want) in [
        (crate::EndOfHeaderAction::FixQuietly, "A: 1\n\nno header\n"),
        (
            crate::EndOfHeaderAction::AddHeader,
            "A: 1\nMIME-Error: message header was not terminated by empty line\n\nno header\n",
        ),
        (crate::EndOfHeaderAction::Reject, ""),
    ] {
        let run = run(CleanupConfig { non_empty_end_of_header_action: action, ..plain() }, &[], text);
        if want.is_empty() {
            let reply = "550 5.6.0 primary header was terminated with non-empty line";
            assert_eq!(run.finished.verdict, Verdict::Refuse(reply.into()));
        } else {
            assert_eq!(String::from_utf8_lossy(&run.out), want);
        }
    }
}

#[test]
fn characters_are_stripped_or_refused() {
    let config = CleanupConfig { message_strip_characters: vec![1], message_reject_characters: vec![2], ..plain() };
    let stripped = run(config.clone(), &[], "Subject: a\x01b\n\nfoo\x01bar\n");
    assert_eq!(String::from_utf8_lossy(&stripped.out), "Subject: ab\n\nfoobar\n");
    let refused = run(config, &[], "Subject: ab\n\nfoo\x02bar\nX\n");
    assert_eq!(refused.finished.verdict, Verdict::Refuse("550 5.7.1 disallowed character".into()));
    let want = ["QID: message-id=<>", "QID: reject: content foo?bar @@: 5.7.1 disallowed character", REMOVED];
    assert_eq!(refused.log(), lines(&want));
}

#[test]
fn long_headers_are_cut() {
    let digits = |n: usize| "0123456789".repeat(n / 10);
    for (header, want) in [
        (format!("X-A: {}\n continued\n more", digits(590)), format!("X-A: {}", digits(590))),
        (format!("X-B: {}\n c1", digits(600)), format!("X-B: {}", &digits(600)[..595])),
        (format!("X-C: {}\n {}", digits(100), digits(600)), format!("X-C: {}\n {}", digits(100), &digits(600)[..493])),
        (format!("X-D: {}", digits(3000)), format!("X-D: {}", &digits(600)[..595])),
    ] {
        let config = CleanupConfig { header_size_limit: 600, line_length_limit: 512, ..plain() };
        let run = run(config, &[], &format!("{header}\nX-E: d\n\nx\n"));
        assert_eq!(String::from_utf8_lossy(&run.out), format!("{want}\nX-E: d\n\nx\n"));
    }
}

#[test]
fn missing_headers_are_added_for_local_clients() {
    let date = "Sun, 22 Nov 2026 12:25:28 +0000 (UTC)";
    let id = "<20261122122528.QID@mail.example.com>";
    let local = |sender: &str| MessageContext { rewrite: RewriteContext::Local, sender: sender.into(), ..context() };
    let undisclosed = CleanupConfig { undisclosed_recipients_header: "To: undisclosed-recipients:;".into(), ..plain() };
    for (config, context, text, want, log) in [
        (
            plain(),
            local("r6@example.org"),
            "Subject: a\n\nx\n",
            format!("Subject: a\nMessage-Id: {id}\nDate: {date}\nFrom: r6@example.org\n\nx\n"),
            vec![format!("QID: message-id={id}")],
        ),
        (
            plain(),
            local(""),
            "Subject: a\nno header\n",
            format!("Subject: a\nMessage-Id: {id}\nDate: {date}\nFrom: MAILER-DAEMON\n\nno header\n"),
            vec![format!("QID: message-id={id}")],
        ),
        (
            plain(),
            local("a b@example.org"),
            "Resent-To: abc@x\nMessage-Id: <foo@bar> \n",
            format!(
                "Resent-To: abc@x\nMessage-Id: <foo@bar> \nResent-Message-Id: {id}\nResent-Date: {date}\nResent-From: \
                 \"a b\"@example.org\n"
            ),
            vec!["QID: message-id=<foo@bar> ".into(), format!("QID: resent-message-id={id}")],
        ),
        (
            undisclosed.clone(),
            local("r@x"),
            "Resent-From: a@x\nDate: x\nMessage-Id: <a>\nResent-Date: x\nResent-Message-Id: <b>\n\n",
            "Resent-From: a@x\nDate: x\nMessage-Id: <a>\nResent-Date: x\nResent-Message-Id: <b>\nTo: \
             undisclosed-recipients:;\n\n"
                .into(),
            vec!["QID: message-id=<a>".into(), "QID: resent-message-id=<b>".into()],
        ),
        (
            CleanupConfig { always_add_missing_headers: true, enable_long_queue_ids: true, ..undisclosed },
            MessageContext { rewrite: RewriteContext::Remote, ..local("r@x") },
            "Cc: a\nFrom: b\n\n",
            format!("Cc: a\nFrom: b\nMessage-Id: <QID@mail.example.com>\nDate: {date}\n\n"),
            vec!["QID: message-id=<QID@mail.example.com>".into()],
        ),
    ] {
        let run = run_with(config, context, &mut NoTables, &[text.as_bytes()]);
        assert_eq!(String::from_utf8_lossy(&run.out), want);
        assert_eq!(run.log(), log);
    }
}

#[test]
fn a_refused_envelope_drops_the_content() {
    let reply = "451 4.6.0 Alias expansion error";
    let run = run_with(
        plain(),
        MessageContext { refusal: Some(reply.into()), ..context() },
        &mut NoTables,
        &[b"Subject: a\n\nx\n"],
    );
    assert_eq!((run.out.as_slice(), run.log()), (&b""[..], vec![REMOVED]));
    assert_eq!(run.finished.verdict, Verdict::Refuse(reply.into()));
}
