//! Envelopes, with the results that Postfix has for them.

use super::*;
use crate::testing::{Entries, Values};
use policy::TableRegistry;

/// Number every map parameter's table by its position here.
const MAPS: [(&str, &str); 6] = [
    ("canonical_maps", "inline:{canonical}"),
    ("sender_canonical_maps", "inline:{sender}"),
    ("recipient_canonical_maps", "inline:{recipient}"),
    ("virtual_alias_maps", "inline:{virtual}"),
    ("sender_bcc_maps", "inline:{sbcc}"),
    ("recipient_bcc_maps", "inline:{rbcc}"),
];
const CANONICAL: u32 = 0;
const SENDER: u32 = 1;
const RECIPIENT: u32 = 2;
const VIRTUAL: u32 = 3;
const SENDER_BCC: u32 = 4;
const RECIPIENT_BCC: u32 = 5;

fn config(more: &[(&str, &str)]) -> CleanupConfig {
    let mut tables = TableRegistry::new();
    for (_, spec) in MAPS {
        tables.intern(spec, None);
    }
    let values: Vec<_> = more.iter().chain(&MAPS).chain(&[("recipient_delimiter", "+")]).copied().collect();
    CleanupConfig::compile(&Values(&values), &mut tables)
}

fn recipient(address: &str) -> InRecipient {
    InRecipient { address: address.into(), ..InRecipient::default() }
}

struct Case<'a> {
    config: CleanupConfig,
    entries: &'a [(u32, &'a str, &'a str)],
    sender: &'a str,
    recipients: &'a [&'a str],
    mappings: bool,
    is_ours: bool,
    effects: Effects,
}

impl<'a> Case<'a> {
    fn new(entries: &'a [(u32, &'a str, &'a str)], sender: &'a str, recipients: &'a [&'a str]) -> Self {
        let (mappings, is_ours) = (true, false);
        Self { config: config(&[]), entries, sender, recipients, mappings, is_ours, effects: Effects::default() }
    }

    fn run(&self) -> Expansion {
        let recipients: Vec<_> = self.recipients.iter().map(|address| recipient(address)).collect();
        let envelope = Envelope {
            queue_id: "QID",
            sender: self.sender,
            recipients: &recipients,
            bcc: &[],
            mappings: self.mappings,
            is_ours: self.is_ours,
        };
        let mut tables = Entries(self.entries);
        let mut expansion = expand(&self.config, &envelope, &mut tables);
        expansion.complete(&self.config, &envelope, &self.effects, &mut tables);
        expansion
    }

    /// Recipients as `address` or `address<original`.
    fn recipients(&self) -> Vec<String> {
        let show = |r: &OutRecipient| match r.address == r.orig_to {
            true => r.address.clone(),
            false => format!("{}<{}", r.address, r.orig_to),
        };
        self.run().recipients.iter().map(show).collect()
    }
}

#[test]
fn senders_are_rewritten_and_mapped() {
    let entries = [
        (CANONICAL, "a@example.org", "b@example.org"),
        (CANONICAL, "b@example.org", "c@example.org"),
        (CANONICAL, "self@example.com", "Self@example.com"),
        (SENDER, "s@example.com", "a@example.org"),
        (RECIPIENT, "r@example.com", "no@example.com"),
        (CANONICAL, "@dom.example", "@dom2.example"),
    ];
    for (sender, want) in [
        ("", ""),
        ("user", "user@example.com"),
        ("a@example.org", "c@example.org"),
        ("self+foo@example.com", "Self+foo@example.com"),
        ("s@example.com", "c@example.org"),
        ("r@example.com", "r@example.com"),
        ("u+x@dom.example", "u+x@dom2.example"),
        ("u@host.masq.example", "u@masq.example"),
        ("Root@host.masq.example", "Root@host.masq.example"),
        ("u@keep.masq.example", "u@keep.masq.example"),
        ("u@a.keep.masq.example", "u@a.keep.masq.example"),
        ("u@xmasq.example", "u@xmasq.example"),
    ] {
        let masquerade = [("masquerade_domains", "!keep.masq.example masq.example"), ("masquerade_exceptions", "root")];
        let case = Case { config: config(&masquerade), ..Case::new(&entries, sender, &["u@host.masq.example"]) };
        assert_eq!(case.run().sender, want, "{sender}");
        assert_eq!(case.recipients(), ["u@host.masq.example"]);
    }
}

#[test]
fn recipients_are_mapped_and_expanded() {
    let entries = [
        (CANONICAL, "x@example.com", "y@example.com"),
        (CANONICAL, "y@example.com", "z@example.com"),
        (RECIPIENT, "rc@example.com", "alice@example.com"),
        (SENDER, "sc@example.com", "no@example.com"),
        (VIRTUAL, "v1@example.com", "v2@example.com"),
        (VIRTUAL, "v2@example.com", "v3@example.com, V2@example.com"),
        (VIRTUAL, "@cat.example", "@example.com"),
        (VIRTUAL, "ext@example.com", "target@other.example"),
        (VIRTUAL, "v@example.com", "v2x, v3+foo@example.com"),
        (VIRTUAL, "multi@example.com", "m1@example.com, m2@example.com \"quoted m4\"@example.com <m5@example.com>"),
        (VIRTUAL, "dd@example.com", "same@example.com"),
        (VIRTUAL, "de@example.com", "same@example.com"),
        (VIRTUAL, "q q@example.com", "unquoted@example.com"),
        (VIRTUAL, "\"r r\"@example.com", "quoted@example.com"),
    ];
    for (recipients, want) in [
        (&["x@example.com"][..], &["z@example.com<x@example.com"][..]),
        (&["rc@example.com", "sc@example.com"], &["alice@example.com<rc@example.com", "sc@example.com"]),
        (&["v1@example.com"], &["v3@example.com<v1@example.com", "V2@example.com<v1@example.com"]),
        (&["foo+bar@cat.example"], &["foo+bar@example.com<foo+bar@cat.example"]),
        (&["ext+one@example.com"], &["target+one@other.example<ext+one@example.com"]),
        (
            &["v+ext@example.com"],
            &["v2x+ext@example.com<v+ext@example.com", "v3+foo+ext@example.com<v+ext@example.com"],
        ),
        (&["multi@example.com"], &["m1@example.com<multi@example.com", "m5@example.com<multi@example.com"]),
        (&["dup@x", "Dup@x", "dup@x"], &["dup@x"]),
        (
            &["dd@example.com", "de@example.com"],
            &["same@example.com<dd@example.com", "same@example.com<de@example.com"],
        ),
        (&["postmaster", "user@[127.0.0.1]"], &["postmaster@example.com<postmaster", "user@[127.0.0.1]"]),
        (&["q q@example.com"], &["q q@example.com"]),
        (&["r r@example.com"], &["quoted@example.com<r r@example.com"]),
        (&[""], &["MAILER-DAEMON@example.com<"]),
    ] {
        let case = Case::new(&entries, "s@example.org", recipients);
        assert_eq!(case.recipients(), want, "{recipients:?}");
        assert_eq!(case.run().log, []);
    }
}

#[test]
fn copies_are_added() {
    let entries = [
        (SENDER_BCC, "s1@example.org", "sbcc@example.com"),
        (RECIPIENT_BCC, "r1@example.com", "rbcc@example.com"),
        (RECIPIENT_BCC, "@example.com", "catch@example.com"),
        (CANONICAL, "sbcc@example.com", "sbccanon@example.com"),
        (VIRTUAL, "sbccanon@example.com", "sbccvirt@example.com"),
        (VIRTUAL, "always@example.com", "always2@example.com"),
    ];
    let effects = Effects { bcc: vec!["hb1@example.com".into(), "hb1@example.com".into()], ..Effects::default() };
    let case = Case {
        config: config(&[("always_bcc", "always")]),
        effects,
        ..Case::new(&entries, "s1+foo@example.org", &["r1+bar@example.com", "r2@example.com"])
    };
    let copy = "sbccvirt@example.com<sbccanon@example.com";
    let always = "always2@example.com<always@example.com";
    let want = [
        copy,
        "r1+bar@example.com",
        "rbcc@example.com",
        "r2@example.com",
        "catch@example.com",
        always,
        "hb1@example.com",
    ];
    assert_eq!(case.recipients(), want);
    let result = case.run();
    let never: Vec<bool> = result.recipients.iter().map(|r| r.notify == Notify::NEVER).collect();
    assert_eq!(never, [true, false, true, false, true, true, true]);
    assert_eq!(result.last_recipient.as_deref(), Some("r2@example.com"));
    let ours =
        Case { is_ours: true, config: config(&[("always_bcc", "always")]), effects: case.effects.clone(), ..case };
    assert_eq!(ours.recipients(), ["r1+bar@example.com", "r2@example.com", "hb1@example.com"]);
    let case = Case { is_ours: false, ..ours };
    let plain = Case { mappings: false, ..Case { config: config(&[("always_bcc", "always")]), ..case } };
    assert_eq!(plain.recipients(), ["r1+bar@example.com", "r2@example.com", "hb1@example.com"]);
}

#[test]
fn a_bcc_action_adds_a_recipient_of_its_own() {
    let entries = [(RECIPIENT_BCC, "copy@example.com", "catch@example.com")];
    let recipients = [recipient("r1@example.com")];
    let bcc = ["copy@example.com".to_owned()];
    let envelope =
        Envelope { queue_id: "QID", sender: "s@x", recipients: &recipients, bcc: &bcc, mappings: true, is_ours: false };
    let result = expand(&config(&[]), &envelope, &mut Entries(&entries));
    let addresses: Vec<&str> = result.recipients.iter().map(|r| r.address.as_str()).collect();
    assert_eq!(addresses, ["r1@example.com", "copy@example.com", "catch@example.com"]);
    assert_eq!(result.last_recipient.as_deref(), Some("r1@example.com"));
    assert_eq!(result.recipients[1].notify, Notify::NEVER);
}

#[test]
fn redirection_replaces_all_recipients() {
    let effects = Effects { redirect: Some("rr@example.com".into()), ..Effects::default() };
    let entries = [(VIRTUAL, "rr@example.com", "rrv@example.com")];
    let case = Case {
        config: config(&[("always_bcc", "always")]),
        effects,
        ..Case::new(&entries, "s@x", &["r1@example.com", "other@example.com"])
    };
    assert_eq!(case.recipients(), ["rr@example.com<always@example.com"]);
}

#[test]
fn notify_success_ends_at_an_alias() {
    let entries = [(VIRTUAL, "list@example.com", "a@example.com, b@example.com")];
    for (notify, want) in [("SUCCESS", "NEVER"), ("SUCCESS,FAILURE", "FAILURE"), ("DELAY", "DELAY")] {
        let [notify, want] = [notify, want].map(|text| Notify::parse(text).unwrap());
        let recipients = [InRecipient { address: "list@example.com".into(), notify, orcpt: "rfc822;foo@bar".into() }];
        let envelope = Envelope {
            queue_id: "QID",
            sender: "s@x",
            recipients: &recipients,
            bcc: &[],
            mappings: true,
            is_ours: false,
        };
        let result = expand(&config(&[]), &envelope, &mut Entries(&entries));
        assert!(result.recipients.iter().all(|r| r.notify == want && r.orcpt == "rfc822;foo@bar"));
        assert_eq!(result.alias_expanded.len(), usize::from(notify.contains(Notify::SUCCESS)));
    }
}

#[test]
fn maps_that_make_no_sense_are_reported() {
    let later = "-- message not accepted, try again later";
    let loops = [
        (VIRTUAL, "loop1@example.com", "loop2@example.com"),
        (VIRTUAL, "loop2@example.com", "loop1@example.com"),
        (VIRTUAL, "grow@example.com", "grow2@example.com, x@example.com"),
        (VIRTUAL, "grow2@example.com", "grow3@example.com, grow@example.com"),
        (VIRTUAL, "long@example.com", "01234567890123456789012345678901234567890123456789@example.com"),
        (VIRTUAL, "down@example.com", "!"),
        (CANONICAL, "cdown@example.com", "!"),
        (CANONICAL, "a@example.com", "b@example.com"),
        (CANONICAL, "b@example.com", "a@example.com"),
        (CANONICAL, "many@example.com", "m1@example.com, m2@example.com"),
        (RECIPIENT_BCC, "bdown@example.com", "!"),
    ];
    let alias = Some("451 4.6.0 Alias expansion error");
    let write = Some("451 4.3.0 Error: queue file write error");
    for (address, refusal, line) in [
        (
            "loop1@example.com",
            alias,
            format!("unreasonable virtual_alias_maps map nesting for loop1@example.com {later}"),
        ),
        (
            "grow@example.com",
            alias,
            format!("unreasonable virtual_alias_maps map expansion size for grow@example.com {later}"),
        ),
        (
            "long@example.com",
            alias,
            format!("unreasonable virtual_alias_maps result {}@example.com... {later}", "0123456789".repeat(5)),
        ),
        ("down@example.com", write, format!("virtual_alias_maps map lookup problem for down@example.com {later}")),
        ("cdown@example.com", write, format!("canonical_maps map lookup problem for cdown@example.com {later}")),
        ("bdown@example.com", write, format!("recipient_bcc_maps map lookup problem {later}")),
        ("a@example.com", None, format!("unreasonable canonical_maps map nesting for a@example.com {later}")),
        ("many@example.com", None, "multi-valued canonical_maps entry for many@example.com".into()),
    ] {
        let limits = [
            ("virtual_alias_recursion_limit", "20"),
            ("virtual_alias_expansion_limit", "10"),
            ("virtual_alias_address_length_limit", "40"),
        ];
        let recipients = [address, "after@example.com"];
        let case = Case { config: config(&limits), ..Case::new(&loops, "s@example.org", &recipients) };
        let result = case.run();
        assert_eq!(result.refusal.as_deref(), refusal, "{address}");
        assert_eq!(result.log, [LogLine::warning(format!("QID: {line}"))]);
    }
}

#[test]
fn without_rules_addresses_stay() {
    let case = Case { config: CleanupConfig::default(), ..Case::new(&[], "s", &["a", "b", "a"]) };
    assert_eq!((case.run().sender.as_str(), case.recipients().len()), ("s", 2));
}
