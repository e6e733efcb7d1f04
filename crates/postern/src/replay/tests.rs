use super::Replayer;
use crate::daemon::site::{self, Source};
use crate::record::{Ask, Bound, Record, StoredAnswer};
use std::sync::Arc;

const MAIN_CF: &str = "\
compatibility_level = 3.12
myhostname = mail.example.com
mydestination = example.com
inet_interfaces = 127.0.0.1
local_recipient_maps =
smtpd_relay_restrictions = reject_unauth_destination
";

fn replayer(settings: &str) -> (tempfile::TempDir, Replayer) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("main.cf"), format!("{MAIN_CF}{settings}")).unwrap();
    std::fs::write(directory.path().join("master.cf"), "smtp inet n - n - - smtpd\n").unwrap();
    let (site, problems) = site::load(&Source::new(Some(directory.path())));
    let site = site.unwrap_or_else(|| panic!("{problems:?}"));
    let replayer = Replayer::new(Arc::new(site)).unwrap();
    (directory, replayer)
}

/// An accepted recipient of the session and transaction.
fn record(stage: &str, session: u64, transaction: u32, recipient: &str) -> Record<Bound> {
    let mut reader = super::LogReader::default();
    let line = format!(
        "Nov 22 12:00:00 mx postfix/smtpd[7]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 554 no; from=<a@b.example> \
         to=<{recipient}> proto=ESMTP helo=<x>"
    );
    let record = reader.line(&line).unwrap();
    Record { stage: stage.into(), session, transaction, reply: None, ..record }
}

fn replies(replayer: &mut Replayer, records: &[Record<Bound>]) -> Vec<Option<String>> {
    records.iter().map(|record| replayer.decide(record).reply).collect()
}

/// With refusals at once, what an earlier command would have come to is told at the recipient.
#[test]
fn earlier_moments_are_made_up_for() {
    let records = [record("RCPT", 1, 1, "u@example.com"), record("RCPT", 1, 1, "v@example.com")];
    for (list, expected) in [
        (
            "client_restrictions = reject_unknown_client_hostname",
            "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]",
        ),
        (
            "helo_restrictions = reject_non_fqdn_helo_hostname",
            "504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname",
        ),
        (
            "sender_restrictions = check_sender_access inline:{ {b.example = REJECT} }",
            "554 5.7.1 <a@b.example>: Sender address rejected: Access denied",
        ),
    ] {
        for delay in ["yes", "no"] {
            let (_directory, mut replayer) = replayer(&format!("smtpd_{list}\nsmtpd_delay_reject = {delay}\n"));
            let expected = Some(expected.to_owned());
            assert_eq!(replies(&mut replayer, &records), [expected.clone(), expected], "{list}, {delay}");
        }
    }
    let (_directory, mut replayer) = replayer("smtpd_delay_reject = no\n");
    assert_eq!(replies(&mut replayer, &records), [None, None]);
}

/// A refused greeting leaves the one before it in force: that is not judged again.
#[test]
fn a_refused_greeting_changes_nothing() {
    let (_directory, mut replayer) = replayer(
        "smtpd_helo_restrictions = reject_unknown_helo_hostname\nsmtpd_delay_reject = no\nunknown_hostname_reject_code = 550\n",
    );
    let helo = |name: &str, reply: Option<&str>, asked| Record {
        helo: Some(name.to_owned()),
        sender: None,
        recipient: None,
        reply: reply.map(ToOwned::to_owned),
        asked,
        ..record("EHLO", 1, 0, "")
    };
    let known = Ask::Dns(0, "x.example".into(), StoredAnswer::Addresses(vec![[192, 0, 2, 1].into()]));
    assert_eq!(replayer.decide(&helo("x.example", None, vec![known])).reply, None);
    let refused = "550 5.7.1 <y.example>: Helo command rejected: Host not found";
    assert_eq!(replayer.decide(&helo("y.example", Some(refused), Vec::new())).reply.as_deref(), Some(refused));
    let recipient = Record { helo: Some("x.example".to_owned()), ..record("RCPT", 1, 1, "u@example.com") };
    assert_eq!(replayer.decide(&recipient).reply, None);
}

/// A sender is looked up once in a transaction: what is left behind is left behind again.
#[test]
fn what_is_left_behind_counts() {
    let (_directory, mut replayer) = replayer(
        "smtpd_recipient_restrictions = reject_unlisted_sender\nrelay_domains = b.example\n\
         relay_recipient_maps = inline:{x@b.example=x}\nsmtpd_delay_reject = no\n",
    );
    let refused =
        Some("550 5.1.0 <a@b.example>: Sender address rejected: User unknown in relay recipient table".to_owned());
    let one = |transaction| {
        [record("RCPT", 1, transaction, "u@example.com"), record("RCPT", 1, transaction, "v@example.com")]
    };
    assert_eq!(replies(&mut replayer, &one(1)), [refused.clone(), None]);
    assert_eq!(replies(&mut replayer, &one(2)), [refused, None], "the next transaction");
}

/// A service says one thing after the other; ETRN has its domain; another client begins anew.
#[test]
fn answers_come_in_turn() {
    let (_directory, mut replayer) = replayer(
        "smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:1, check_policy_service inet:127.0.0.1:1\n\
         smtpd_etrn_restrictions = check_etrn_access inline:{ {d.example = REJECT} }\n",
    );
    let says = |action: &str| Ask::Policy("inet:127.0.0.1:1".into(), Ok(action.to_owned()));
    let with = |asked| Record { asked, ..record("RCPT", 1, 1, "u@example.com") };
    assert_eq!(
        replayer.decide(&with(vec![says("dunno"), says("reject no")])).reply.as_deref().map(|r| &r[..9]),
        Some("554 5.7.1")
    );
    assert_eq!(replayer.decide(&with(vec![says("dunno"), says("dunno")])).reply, None);
    assert_eq!(replayer.decide(&with(Vec::new())).gaps, ["policy service inet:127.0.0.1:1"; 2]);
    let etrn = Record { sender: None, ..record("ETRN", 1, 0, "d.example") };
    let reply = replayer.decide(&etrn).reply;
    assert_eq!(reply.as_deref(), Some("554 5.7.1 <d.example>: Etrn command rejected: Access denied"));
}
