//! Changes to header and envelope, as the queue gets them.

use super::*;
use crate::cleanup::{Effects, MessageContext};
use crate::recipients::expand;
use crate::testing::{self, Entries, Values};
use policy::TableRegistry;

const VIRTUAL: u32 = 0;
const HEADER: &str = "Received: ours\nSubject: one\nX-Two: a\nX-Two: b\n";

fn context() -> MessageContext {
    MessageContext { sender: "a@example.org".into(), helo: None, ..testing::context() }
}

/// What became of a message for u@example.com and alias@example.com (which is one@ and two@).
struct Changed {
    header: String,
    sender: String,
    recipients: Vec<String>,
    options: SenderOptions,
    log: Vec<String>,
}

fn changed(edits: Vec<Edit>) -> Changed {
    let mut tables = TableRegistry::new();
    tables.intern("inline:{virtual}", None);
    let values = [("virtual_alias_maps", "inline:{virtual}")];
    let config = CleanupConfig::compile(&Values(&values), &mut tables);
    let mut lookup = Entries(&[
        (VIRTUAL, "alias@example.com", "one@example.com, two@example.com"),
        (VIRTUAL, "more@example.com", "three@example.com"),
    ]);
    let taken: Vec<_> = ["u@example.com", "alias@example.com"]
        .map(|address| InRecipient { address: address.into(), ..InRecipient::default() })
        .into();
    let envelope = Envelope {
        queue_id: "QID",
        sender: "a@example.org",
        recipients: &taken,
        bcc: &[],
        mappings: true,
        is_ours: false,
    };
    let mut expansion = expand(&config, &envelope, &mut lookup);
    let mut headers = HeaderSection::parse(HEADER.as_bytes());
    let mut checks = MilterHeaderChecks::new(std::sync::Arc::new(config.clone()), context(), Effects::default());
    let mut options = SenderOptions::default();
    Message {
        config: &config,
        envelope: &envelope,
        expansion: &mut expansion,
        headers: &mut headers,
        checks: &mut checks,
        options: &mut options,
        has_leading_space: false,
    }
    .apply(edits, &mut lookup);
    let mut header = Vec::new();
    headers.write(&mut header);
    let shown =
        |to: &crate::recipients::OutRecipient| format!("{}|{}|{:?}|{}", to.address, to.orig_to, to.notify, to.orcpt);
    Changed {
        header: String::from_utf8(header).unwrap(),
        sender: expansion.sender.clone(),
        recipients: expansion.recipients.iter().map(shown).collect(),
        options,
        log: checks.take_log().into_iter().map(|line| line.text).collect(),
    }
}

fn addresses(edits: Vec<Edit>) -> Vec<String> {
    changed(edits).recipients.iter().map(|shown| shown.split('|').next().unwrap_or_default().to_owned()).collect()
}

fn sender(address: &str, arguments: &str) -> Edit {
    Edit::ChangeSender { address: address.into(), arguments: arguments.into() }
}

fn add(address: &str, arguments: &str) -> Edit {
    Edit::AddRecipient { address: address.into(), arguments: arguments.into() }
}

fn delete(address: &str) -> Edit {
    Edit::DeleteRecipient(address.into())
}

#[test]
fn senders() {
    let options = |ret, envid: Option<&str>| SenderOptions { ret, envid: envid.map(str::to_owned) };
    let bad = |word: &str| vec![format!("warning: Ignoring bad ESMTP parameter \"{word}\" in SMFI_CHGFROM request")];
    for (address, arguments, want, options, log) in [
        ("<b@example.net>", "", "b@example.net", options(None, None), vec![]),
        ("b@example.net", "RET=HDRS ENVID=x+2Dy", "b@example.net", options(Some(Ret::Headers), Some("x-y")), vec![]),
        ("<>", "ret=full", "", options(Some(Ret::Full), None), vec![]),
        ("<\"b c\"@example.net>", "SIZE=1", "b c@example.net", options(None, None), bad("SIZE=1")),
        ("<b>", "RET=NONE", "b@example.com", options(None, None), bad("RET=NONE")),
    ] {
        let got = changed(vec![sender(address, arguments)]);
        assert_eq!((got.sender.as_str(), &got.options), (want, &options), "{address} {arguments}");
        assert_eq!(got.log, log, "{address} {arguments}");
    }
    // the last one counts, and keeps what the first one asked for
    let got = changed(vec![sender("<b@example.net>", "RET=HDRS"), sender("<c@example.net>", "ENVID=e")]);
    assert_eq!((got.sender.as_str(), got.options), ("c@example.net", options(Some(Ret::Headers), Some("e"))));
}

#[test]
fn recipients_come_and_go() {
    const U: &str = "u@example.com";
    const ONE: &str = "one@example.com";
    const TWO: &str = "two@example.com";
    for (edits, want) in [
        (vec![], vec![U, ONE, TWO]),
        (vec![add("<v@example.com>", "")], vec![U, ONE, TWO, "v@example.com"]),
        (vec![add("v", "")], vec![U, ONE, TWO, "v@example.com"]),
        // who is there already doesn't come twice, and whom an alias stands for comes in his place
        (vec![add("<u@example.com>", ""), add("U@example.com", "")], vec![U, ONE, TWO]),
        (vec![add("<more@example.com>", "")], vec![U, ONE, TWO, "three@example.com"]),
        // what an alias stands for goes with the alias, not by itself
        (vec![delete("<alias@example.com>")], vec![U]),
        (vec![delete("<one@example.com>")], vec![U, ONE, TWO]),
        (vec![delete("<U@EXAMPLE.com>"), delete("<alias@example.com>")], vec![]),
        (vec![delete(U), add(U, "")], vec![ONE, TWO, U]),
        (vec![add("v@example.com", ""), delete("<v@example.com>")], vec![U, ONE, TWO]),
        (vec![delete("<nobody@example.com>"), delete("")], vec![U, ONE, TWO]),
    ] {
        let shown = format!("{edits:?}");
        assert_eq!(addresses(edits), want, "{shown}");
    }
    let got = changed(vec![
        add("<v@example.com>", "NOTIFY=FAILURE,DELAY ORCPT=rfc822;x+2By@example.net FOO"),
        add("<w@example.com>", "NOTIFY=MAYBE"),
        add("<>", ""),
    ]);
    let notify = Notify::parse("FAILURE,DELAY").unwrap();
    assert_eq!(got.recipients[3], format!("v@example.com|v@example.com|{notify:?}|rfc822;x+y@example.net"));
    let ignored = "warning: QID: ignoring ESMTP argument from Milter or header/body_checks";
    assert_eq!(
        got.log,
        [
            format!("{ignored}: \"FOO\""),
            format!("{ignored}: \"NOTIFY=MAYBE\""),
            "warning: QID: ignoring attempt from Milter to add null recipient".to_owned()
        ]
    );
}

#[test]
fn headers_come_and_go() {
    let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    let insert = |index, name: &str, value: &str| {
        let (name, value) = pair(name, value);
        Edit::InsertHeader { index, name, value }
    };
    let change = |index, name: &str, value: &str| {
        let (name, value) = pair(name, value);
        Edit::ChangeHeader { index, name, value }
    };
    let append = |name: &str, value: &str| {
        let (name, value) = pair(name, value);
        Edit::AddHeader { name, value }
    };
    for (edits, want) in [
        (vec![insert(0, "X", "1")], "X: 1\nReceived: ours\nSubject: one\nX-Two: a\nX-Two: b\n"),
        (
            vec![insert(1, "X", "1"), insert(1, "Y", "2")],
            "Received: ours\nY: 2\nX: 1\nSubject: one\nX-Two: a\nX-Two: b\n",
        ),
        (
            vec![insert(99, "X", "1"), append("Y", "2")],
            "Received: ours\nSubject: one\nX-Two: a\nX-Two: b\nX: 1\nY: 2\n",
        ),
        (vec![change(2, "x-two", "c")], "Received: ours\nSubject: one\nX-Two: a\nx-two: c\n"),
        (vec![change(1, "X-Two", ""), change(1, "X-Two", "")], "Received: ours\nSubject: one\n"),
        // there is no third one: it is added; ours isn't theirs
        (vec![change(3, "X-Two", "c")], "Received: ours\nSubject: one\nX-Two: a\nX-Two: b\nX-Two: c\n"),
        (
            vec![change(1, "Received", ""), change(0, "Subject", "two\n\tlines")],
            "Received: ours\nSubject: two\n\tlines\nX-Two: a\nX-Two: b\n",
        ),
        (vec![append("X", "a"), change(1, "X", "b"), change(1, "X", "")], HEADER),
    ] {
        let shown = format!("{edits:?}");
        assert_eq!(changed(edits).header, want, "{shown}");
    }
    let got = changed(vec![append("Bad Name", "x")]);
    assert_eq!(got.header, HEADER);
    assert_eq!(got.log, ["warning: QID: ignoring header from Milter with bad name: \"Bad Name\""]);
}
