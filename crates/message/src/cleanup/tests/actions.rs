//! The actions of header_checks(5).

use super::*;

/// Header, action, reply, log lines, what the header becomes.
type ActionCase = (&'static str, &'static str, Option<&'static str>, &'static [&'static str], &'static str);

const ACTIONS: [ActionCase; 29] = [
    (
        "Subject: a",
        "REJECT",
        Some("550 5.7.1 message content rejected"),
        &["QID: reject: header Subject: a @@: 5.7.1 message content rejected"],
        "",
    ),
    ("Subject: a", "reject bad", Some("550 5.7.1 bad"), &["QID: reject: header Subject: a @@: 5.7.1 bad"], ""),
    ("Subject: a", "REJECT 5.7.99 bad", Some("550 5.7.99 bad"), &["QID: reject: header Subject: a @@: 5.7.99 bad"], ""),
    (
        "Subject: a",
        "REJECT 4.7.9 try again",
        Some("451 4.7.9 try again"),
        &["QID: reject: header Subject: a @@: 4.7.9 try again"],
        "",
    ),
    (
        "Subject: a",
        "REJECT 2.7.9 odd class",
        Some("451 4.7.9 odd class"),
        &[
            "warning: bad DSN action in 2.7.9 odd class -- need 4.x.x or 5.x.x",
            "QID: reject: header Subject: a @@: 4.7.9 odd class",
        ],
        "",
    ),
    (
        "Subject: a",
        "REJECT 5.7 short",
        Some("550 5.7.1 5.7 short"),
        &["QID: reject: header Subject: a @@: 5.7.1 5.7 short"],
        "",
    ),
    ("Subject: a", "DISCARD no thanks", None, &["QID: discard: header Subject: a @@: no thanks"], ""),
    ("Subject: a", "DISCARD", None, &["QID: discard: header Subject: a @@"], ""),
    ("Subject: a", "HOLD wait", None, &["QID: hold: header Subject: a @@: wait"], "Subject: a\n"),
    ("Subject: a", "WARN look", None, &["QID: warning: header Subject: a @@: look"], "Subject: a\n"),
    ("Subject: a", "INFO", None, &["QID: info: header Subject: a @@"], "Subject: a\n"),
    ("Subject: a", "PASS let go", None, &["QID: pass: header Subject: a @@: let go"], "Subject: a\n"),
    ("Subject: a", "DUNNO", None, &[], "Subject: a\n"),
    ("Subject: a", "OK", None, &[], "Subject: a\n"),
    ("Subject: a", "IGNORE some text", None, &[], ""),
    ("Subject: a", "STRIP it", None, &["QID: strip: header Subject: a @@: it"], ""),
    (
        "Subject: two\n\tlines",
        "PREPEND X-Before: $1",
        None,
        &["QID: prepend: header Subject: two??lines @@: X-Before: two??lines"],
        "X-Before: two\n\tlines\nSubject: two\n\tlines\n",
    ),
    (
        "Subject: a",
        "PREPEND no header",
        None,
        &["warning: bad PREPEND header text \"no header\" in header_checks map -- need \"headername: headervalue\""],
        "Subject: a\n",
    ),
    ("Subject: a", "PREPEND", None, &["warning: PREPEND action without text in header_checks map"], "Subject: a\n"),
    ("Subject: a", "REPLACE X-New: <$1>", None, &["QID: replace: header Subject: a @@: X-New: <a>"], "X-New: <a>\n"),
    ("Subject: a", "REPLACE Bcc: x", None, &["QID: replace: header Subject: a @@: Bcc: x"], ""),
    (
        "Subject: a",
        "REPLACE foo bar",
        None,
        &["warning: bad REPLACE header text \"foo bar\" in header_checks map -- need \"headername: headervalue\""],
        "Subject: a\n",
    ),
    ("Subject: a", "REPLACE", None, &["warning: REPLACE action without text in header_checks map"], "Subject: a\n"),
    (
        "Subject: a",
        "FILTER foo",
        None,
        &["warning: bad FILTER command foo in header_checks -- need transport:destination"],
        "Subject: a\n",
    ),
    ("Subject: a", "FILTER", None, &["warning: missing FILTER command argument in header_checks map"], "Subject: a\n"),
    (
        "Subject: a",
        "REDIRECT foo",
        None,
        &["warning: bad REDIRECT target \"foo\" in header_checks map -- need user@domain"],
        "Subject: a\n",
    ),
    (
        "Subject: a",
        "BCC foo",
        None,
        &["warning: bad BCC address \"foo\" in header_checks map -- need user@domain"],
        "Subject: a\n",
    ),
    (
        "Subject: a",
        "FROBNICATE it",
        None,
        &["warning: unknown command in header_checks map: FROBNICATE it"],
        "Subject: a\n",
    ),
    (
        "Subject: a",
        "550 go away",
        None,
        &["warning: unknown command in header_checks map: 550 go away"],
        "Subject: a\n",
    ),
];

#[test]
fn every_action_does_and_logs_what_postfix_does() {
    for (header, action, reply, log, becomes) in ACTIONS {
        let run = run(checked(), &[(1, "Subject: ", action)], &format!("{header}\n\nx\n"));
        let want = match reply {
            Some(reply) => Verdict::Refuse(reply.into()),
            None => Verdict::Accept,
        };
        assert_eq!(run.finished.verdict, want, "{action}");
        let stopped = reply.is_some() || run.finished.effects.discard;
        let mut log = lines(log);
        if !stopped {
            log.push("QID: message-id=<>".into());
            assert_eq!(String::from_utf8_lossy(&run.out), format!("{becomes}\nx\n"), "{action}");
        }
        if stopped {
            let why = if reply.is_some() { "canceled" } else { "discarded" };
            log.push(format!("QID: removed ({why})"));
        }
        assert_eq!(run.log(), log, "{action}");
    }
}

#[test]
fn effects_are_collected() {
    let rules = [
        (1, "X-Hold", "HOLD first"),
        (1, "X-Filter", "FILTER smtp:$1"),
        (1, "X-Bcc", "BCC $1"),
        (1, "X-Redirect", "REDIRECT other@example.com"),
        (1, "X-Warn", "WARN"),
    ];
    let text = "X-Hold: a\nX-Hold: b\nX-Filter: a\nX-Filter: [b]:25\nX-Bcc: c@d\nX-Bcc: e@f\nX-Bcc: c@d\n\
                Content-Transfer-Encoding: 8bit\nX-Redirect: a\nX-Warn: not seen\n\nx\n";
    let run = run(checked(), &rules, text);
    let want = Effects {
        hold: true,
        discard: false,
        filter: Some("smtp:[b]:25".into()),
        redirect: Some("other@example.com".into()),
        bcc: vec!["c@d".into(), "e@f".into(), "c@d".into()],
        skip_milters: true,
        eight_bit: true,
        utf8_header: false,
    };
    assert_eq!(run.finished.effects, want);
    assert_eq!(run.log().iter().filter(|line| line.contains(": hold: ")).count(), 1);
    assert!(!run.log().iter().any(|line| line.contains("X-Warn")));
}

#[test]
fn access_actions_carry_over() {
    let effects = vec![policy::Effect::Hold, policy::Effect::Filter("smtp:x".into())];
    let run = run_with(
        checked(),
        MessageContext { effects, ..context() },
        &mut Rules(vec![(1, "Subject", "HOLD again")]),
        &[b"Subject: a\n\n"],
    );
    assert_eq!(run.log(), ["QID: message-id=<>"]);
    assert!(run.finished.effects.hold);
    assert_eq!(run.finished.effects.filter.as_deref(), Some("smtp:x"));
    let redirected = MessageContext { effects: vec![policy::Effect::Redirect("a@b".into())], ..context() };
    let run = run_with(checked(), redirected, &mut Rules(vec![(1, "Subject", "REJECT")]), &[b"Subject: a\n\n"]);
    assert_eq!(run.finished.verdict, Verdict::Accept);
}
