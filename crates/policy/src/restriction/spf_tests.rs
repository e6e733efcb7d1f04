use crate::testing::{Bench, Script, log};
use crate::{Ledger, Question, speculate};
use smtp::server::Moment;

fn script() -> Script {
    Script::default()
        .dns("good.example", &["TXT v=spf1 ip4:192.0.2.10 -all"])
        .dns("bad.example", &["TXT v=spf1 exp=why.bad.example -all"])
        .dns("why.bad.example", &["TXT %{i} isn't ours, %{s}"])
        .dns("mute.example", &["TXT other", "TXT v=spf1 -all"])
        .dns("soft.example", &["TXT v=spf1 ~all"])
        .dns("unsure.example", &["TXT v=spf1 ?all"])
        .dns("down.example", &["TXT SERVFAIL"])
        .dns("broken.example", &["TXT v=spf1 ipv4:192.0.2.10 -all"])
        .dns("under.example", &["TXT v=spf1 include:_spf.under.example -all"])
        .dns("_spf.under.example", &["TXT v=spf1 mx:lists.example a:%{l}.users.example -all"])
        .dns("lists.example", &["MX 10 mx1.example", "MX 20 mx2.example"])
        .dns("mx1.example", &["A 192.0.2.98"])
        .dns("mx2.example", &["A 192.0.2.99"])
        .dns("odd!name.users.example", &["A 192.0.2.10"])
        .dns("client.example.net", &["TXT v=spf1 -all"])
}

fn bench(list: &str, sender: &str) -> Bench {
    let values = [("smtpd_recipient_restrictions", list), ("postern_spf_permerror_action", "dunno")];
    Bench::new(&values, script()).sender(sender)
}

#[test]
fn clients_that_a_domain_disowns_are_refused() {
    for (sender, expected) in [
        ("a@good.example", "250"),
        (
            "a@bad.example",
            "550 5.7.23 <a@bad.example>: Sender address rejected: SPF fail: 192.0.2.10 may not send for bad.example; \
             bad.example explains: 192.0.2.10 isn't ours, a@bad.example",
        ),
        (
            "a@mute.example",
            "550 5.7.23 <a@mute.example>: Sender address rejected: SPF fail: 192.0.2.10 may not send for mute.example",
        ),
        ("a@soft.example", "250"),
        ("a@unsure.example", "250"),
        ("a@nothing.example", "250"),
        ("a@broken.example", "250"),
        ("a", "250"),
        ("a@[192.0.2.9]", "250"),
        (
            "a@down.example",
            "451 4.7.24 <a@down.example>: Sender address rejected: SPF temperror: the DNS has no answer now for TXT \
             down.example",
        ),
        // names with characters that no host name has
        ("odd!name@under.example", "250"),
        (
            "b@under.example",
            "550 5.7.23 <b@under.example>: Sender address rejected: SPF fail: 192.0.2.10 may not send for under.example",
        ),
        (
            "",
            "550 5.7.23 <client.example.net>: Helo command rejected: SPF fail: 192.0.2.10 may not send for \
             client.example.net",
        ),
    ] {
        assert_eq!(bench("reject_spf_fail", sender).reply(), expected, "{sender}");
    }
}

#[test]
fn what_comes_before_decides() {
    for (list, trusted) in [
        ("permit_mynetworks, reject_spf_fail", true),
        ("permit_sasl_authenticated, reject_spf_fail", true),
        ("reject_spf_fail, permit_mynetworks, permit_sasl_authenticated", false),
    ] {
        let values = [("smtpd_recipient_restrictions", list), ("smtpd_sasl_auth_enable", "yes")];
        let mut known = Bench::new(&values, script()).sender("a@bad.example").client("127.0.0.1");
        known.facts.sasl = Some(crate::Sasl::default());
        assert_eq!(known.reply().starts_with("250"), trusted, "{list}");
    }
    let mut early = bench("reject_spf_fail", "a@bad.example");
    early.facts.client.address = None;
    assert_eq!(early.reply(), "250");
}

#[test]
fn errors_are_answered_as_the_parameters_say() {
    let reply = |name: &str, value: &str, sender: &str, list: &str| {
        let values = [("smtpd_recipient_restrictions", list), (name, value)];
        Bench::new(&values, script()).sender(sender).reply()
    };
    let broken = |code: &str| {
        format!(
            "{code}.7.24 <a@broken.example>: Sender address rejected: SPF permerror: broken.example: bad term \
             ipv4:192.0.2.10"
        )
    };
    let action = |value| reply("postern_spf_permerror_action", value, "a@broken.example", "reject_spf_fail");
    assert_eq!(action("reject"), broken("550 5"));
    assert_eq!(action("defer"), broken("451 4"));
    // a temporary error waits for what the list has else to say
    let list = "reject_spf_fail, reject";
    let denied = "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied";
    assert_eq!(reply("postern_spf_tempfail_action", "defer_if_permit", "a@down.example", list), denied);
    assert!(reply("postern_spf_tempfail_action", "defer", "a@down.example", list).starts_with("451 4.7.24 "));
}

#[test]
fn results_are_looked_up_with_their_domains() {
    let table = |entries: &[(&str, &str)]| {
        entries.iter().fold(script(), |script, (key, value)| script.entry("hash:/spf", key, value))
    };
    let refused = |sender: &str| format!("554 5.7.1 <{sender}>: Sender address rejected: ");
    let list = "check_spf_access hash:/spf, reject";
    let denied = "554 5.7.1 <u@example.com>: Recipient address rejected: Access denied";
    for (sender, entries, expected) in [
        ("a@soft.example", &[("softfail", "REJECT not you")][..], refused("a@soft.example") + "not you"),
        (
            "a@soft.example",
            &[("softfail:example", "REJECT parent"), ("softfail", "DUNNO")],
            refused("a@soft.example") + "parent",
        ),
        ("a@good.example", &[("pass:good.example", "OK")], "250".into()),
        ("a@good.example", &[("pass:other.example", "OK")], denied.into()),
        ("a@good.example", &[("pass", "OK"), ("pass:good.example", "DUNNO")], denied.into()),
        (
            "a@nothing.example",
            &[("none", "450 4.7.1 later")],
            "450 4.7.1 <a@nothing.example>: Sender address rejected: later".into(),
        ),
        // anybody can have these
        ("a@nothing.example", &[("none", "OK")], "451 4.3.5 Server configuration error".into()),
        ("a@down.example", &[("temperror", "OK")], "451 4.3.5 Server configuration error".into()),
        ("a@down.example", &[("temperror", "DUNNO")], denied.into()),
        ("a@broken.example", &[("permerror", "REJECT")], refused("a@broken.example") + "Access denied"),
    ] {
        let mut bench = Bench::new(&[("smtpd_recipient_restrictions", list)], table(entries)).sender(sender);
        assert_eq!(bench.reply(), expected, "{sender} {entries:?}");
    }
    let list = [("smtpd_recipient_restrictions", "check_spf_access hash:/spf")];
    let reply = Bench::new(&list, table(&[("fail", "REJECT")])).sender("a@down.example").reply();
    assert!(reply.starts_with("451 4.7.24 "), "{reply}");
    let mut open = Bench::new(&list, table(&[("none", "OK")])).sender("a@nothing.example");
    assert_eq!(log(&open.rcpt())[0], "warning: restriction check_spf_access returns OK for nothing.example");
}

#[test]
fn patterns_see_the_result_with_its_domain() {
    let script =
        script().entry("pcre:/spf", "softfail:soft.example", "REJECT whole").entry("pcre:/spf", "softfail", "HOLD");
    let list = [("smtpd_recipient_restrictions", "check_spf_access pcre:/spf")];
    let reply = Bench::new(&list, script).sender("a@soft.example").reply();
    assert_eq!(reply, "554 5.7.1 <a@soft.example>: Sender address rejected: whole");
}

#[test]
fn the_policy_is_asked_for_ahead() {
    let bench = bench("reject_spf_fail", "a@Good.example");
    let mut ledger = Ledger::default();
    speculate(&bench.plan, Moment::Mail, &bench.facts, &bench.state, &mut ledger, &mut Script::silent());
    let asked = |question: &Question| matches!(question, Question::Dns { name, .. } if **name == *"good.example");
    assert!(ledger.pending().iter().any(asked), "{:?}", ledger.pending());
}
