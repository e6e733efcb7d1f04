//! Headers of local and remote clients, with the layout that Postfix gives them.

use super::*;
use crate::date::Timestamp;
use crate::testing::{Entries, Values};
use policy::TableRegistry;

const ENTRIES: [(u32, &str, &str); 8] = [
    (0, "a@example.org", "b@example.org"),
    (0, "b@example.org", "c@example.org"),
    (0, "x@example.com", "z@example.com"),
    (0, "many@example.com", "m1@example.com, m2@example.com"),
    (0, "only@example.com", "bare2"),
    (0, "bare", "full@other.example"),
    (0, "two@example.com", "\"x y\"@example.com"),
    (0, "down@example.com", "!"),
];

fn run(rewrite: RewriteContext, mappings: bool, more: &[(&str, &str)], header: &[u8]) -> (Vec<u8>, Finished) {
    let fixed = [
        ("canonical_maps", "inline:{canonical}"),
        ("recipient_delimiter", "+"),
        ("masquerade_domains", "!keep.masq.example masq.example"),
        ("masquerade_exceptions", "root"),
    ];
    let mut tables = TableRegistry::new();
    tables.intern("inline:{canonical}", None);
    let values: Vec<_> = more.iter().chain(&fixed).copied().collect();
    let config = Arc::new(CleanupConfig::compile(&Values(&values), &mut tables));
    let context = MessageContext {
        queue_id: "QID".into(),
        now: Timestamp::utc(0),
        origin: "localhost[127.0.0.1]".into(),
        sender: String::new(),
        last_recipient: None,
        protocol: None,
        helo: None,
        rewrite,
        prepended: Vec::new(),
        received: None,
        checks: true,
        mappings,
        effects: Vec::new(),
        refusal: None,
    };
    let mut cleanup = Cleanup::new(config, context);
    let mut out = Vec::new();
    cleanup.feed(header, &mut Entries(&ENTRIES), &mut out);
    // What is missing is added at the end of the header: not of interest here.
    cleanup.feed(b"\nMessage-Id: <x>\nDate: x\nFrom:\n", &mut Entries(&ENTRIES), &mut out);
    let finished = cleanup.finish(&mut Entries(&ENTRIES), &mut out);
    let end = out.windows(12).position(|w| w == b"Message-Id: ").unwrap_or(out.len());
    out.truncate(end);
    (out, finished)
}

fn local(header: &str) -> String {
    let (out, _) = run(RewriteContext::Local, true, &[], header.as_bytes());
    String::from_utf8_lossy(&out).trim_end_matches('\n').to_owned()
}

#[test]
fn local_headers_are_rewritten_and_laid_out() {
    for (header, want) in [
        ("From: Me <a@example.org>", "From: Me <c@example.org>"),
        ("Sender: already@fully.qualified", "Sender: already@fully.qualified"),
        ("X-Foo: a@example.org", "X-Foo: a@example.org"),
        ("Errors-To:   root", "Errors-To: root@example.com"),
        ("errors-to:   root", "errors-to: root@example.com"),
        ("Return-Receipt-To: (only comment)", "Return-Receipt-To: (only comment)"),
        ("To: undisclosed-recipients:;", "To: undisclosed-recipients:;"),
        ("Cc: a@b, undisclosed", "Cc: a@b, undisclosed@example.com"),
        ("Cc: many+ext@example.com, <u@h>", "Cc: m1+ext@example.com, <u@h>"),
        ("To: x@y,\n z@w", "To: x@y,\n z@w"),
        ("To: root@host.masq.example, u@keep.masq.example", "To: root@host.masq.example, u@keep.masq.example"),
        (
            "To: \"X Y\" <x@example.com>, plain, \"quoted name\" <u@host.masq.example>, foo@bar.baz (trailing comment)",
            "To: \"X Y\" <z@example.com>, plain@example.com,\n\t\"quoted name\" <u@masq.example>, foo@bar.baz (trailing \
             comment)",
        ),
    ] {
        assert_eq!(local(header), want, "{header}");
    }
}

#[test]
fn remote_headers_stay_unless_a_domain_is_set() {
    let header = "From: me\nTo: you@host, you@h.dom, x!y, only@example.com (c), Bare <bare>, two@example.com\n";
    let (out, _) = run(RewriteContext::Remote, true, &[], header.as_bytes());
    assert_eq!(String::from_utf8_lossy(&out).trim_end_matches('\n'), header.trim_end());
    let domain = ("remote_header_rewrite_domain", "domain.invalid");
    let (out, _) = run(RewriteContext::Remote, true, &[domain, ("append_dot_mydomain", "yes")], header.as_bytes());
    let want = "From: me@domain.invalid\nTo: you@host.domain.invalid, you@h.dom, y@x.domain.invalid,\n\t\
                bare2@example.com (c), Bare <bare@domain.invalid>, \"x y\"@example.com\n";
    assert_eq!(String::from_utf8_lossy(&out), want);
}

#[test]
fn mappings_can_be_off() {
    let (out, _) = run(RewriteContext::Local, false, &[], b"From: a@example.org\nTo: u\n");
    assert_eq!(String::from_utf8_lossy(&out), "From: a@example.org\nTo: u@example.com\n");
}

#[test]
fn headers_in_other_character_sets_survive() {
    let (out, _) = run(RewriteContext::Local, true, &[], b"To: caf\xe9 <root>, \xff@x\n");
    assert_eq!(out, b"To: caf\xe9 <root@example.com>, \xff@x\n");
    let (out, _) = run(RewriteContext::Local, true, &[], "To: café <root>\n".as_bytes());
    assert_eq!(String::from_utf8_lossy(&out), "To: café <root@example.com>\n");
}

#[test]
fn tables_that_fail_refuse_and_odd_ones_are_reported() {
    let (_, finished) = run(RewriteContext::Local, true, &[], b"To: down@example.com\n");
    assert_eq!(finished.verdict, Verdict::Refuse(WRITE_ERROR.into()));
    let later = "message not accepted, try again later";
    let want = format!("warning: QID: canonical_maps map lookup problem for down@example.com -- {later}");
    assert_eq!(finished.log[0].text, want);
    let (_, finished) = run(RewriteContext::Local, true, &[], b"To: many@example.com\n");
    assert_eq!(finished.log[0].text, "warning: QID: multi-valued canonical_maps entry for many@example.com");
    assert_eq!(finished.verdict, Verdict::Accept);
}
