//! Whatever tables, DNS and policy services answer, in any order: nothing panics, and nobody relays without a permit that
//! somebody has written.

use crate::restriction::Argument;
use crate::testing::{Config, facts};
use crate::verification::{AddressStatus, Verification};
use crate::{
    Answer, Ask, DnsAnswer, DnsRecord, DnsStatus, Evaluation, Facts, Ledger, PeerName, PeerStatus, Plan, PolicyState,
    Question, Suspend, TableRegistry, World, restrictions, speculate,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use smtp::server::Moment;

/// Permits whose own business it is to open the relay.
const WRITTEN_PERMITS: [&str; 4] = ["permit", "permit_mx_backup", "check_spf_access", "check_dmarc_access"];

/// Recipients that are none of ours.
const ELSEWHERE: [&str; 9] = [
    "u@other.example",
    "u%other.example@example.com",
    "other.example!u@example.com",
    "u@other.example@example.com",
    "u%other.example",
    "u@[192.0.2.200]",
    "u@sub.OTHER.example.",
    "postmaster@other.example",
    "\"u@example.com\"@other.example",
];

fn config(cases: u32, seed: u64) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

/// A restriction with an argument that fits, or with none.
fn restriction(only_safe: bool) -> impl Strategy<Value = String> {
    // Permits are what matters here.
    let times = |name: &str| if name.starts_with("permit") { 8 } else { 1 };
    let names: Vec<_> = restrictions()
        .filter(|entry| !(only_safe && WRITTEN_PERMITS.contains(&entry.name)))
        .flat_map(|entry| std::iter::repeat_n(entry, times(entry.name)))
        .collect();
    let argument = (select(names), 0..4_usize).prop_map(|(entry, which)| match entry.argument {
        Argument::None | Argument::Restriction => entry.name.to_owned(),
        Argument::Table | Argument::CertificateTable => {
            format!("{} {}", entry.name, ["hash:/a", "pcre:/b", "cidr:/c", "static:DUNNO"][which])
        }
        Argument::Domain => {
            format!("{} {}", entry.name, ["l1.example", "l2.example=127.0.0.[2..9]", "l3.example", "l1.example"][which])
        }
        Argument::PolicyService => format!("{} unix:private/policy", entry.name),
        Argument::Seconds => format!("{} {which}", entry.name),
    });
    let prefix = select(vec!["", "", "", "warn_if_reject ", "disconnect_if_reject ", "no_error_count "]);
    let plain = (prefix, argument).prop_map(|(prefix, argument)| format!("{prefix}{argument}"));
    prop_oneof![8 => plain, 1 => Just("class_one".to_owned()), 1 => Just("hash:/a".to_owned())]
}

fn list(only_safe: bool) -> impl Strategy<Value = String> {
    prop::collection::vec(restriction(only_safe), 0..5).prop_map(|items| items.join(", "))
}

/// Text that is no permit, however it is read.
fn no_permit(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let permits = ["ok", "relay", "permit", "discard"].iter().any(|word| lower.contains(word));
    let separators = text.chars().all(|c| c == ',' || c.is_whitespace() || c.is_ascii_digit());
    !permits && !separators
}

/// A table's value, or a policy service's action.
fn value() -> impl Strategy<Value = String> {
    let actions = vec![
        "REJECT",
        "REJECT 5.1.1 no",
        "DEFER x",
        "DUNNO",
        "DEFER_IF_PERMIT",
        "DEFER_IF_REJECT later",
        "WARN w",
        "INFO",
        "HOLD",
        "FILTER smtp:x",
        "FILTER",
        "PREPEND X: y",
        "PREPEND",
        "REDIRECT a@b",
        "BCC a@b",
        "450 4.7.1 x",
        "521",
        "reject_unauth_destination",
        "class_one",
        "warn_if_reject",
        "warn_if_reject reject",
        "nonsense",
        "{ reject",
        "reject_rbl_client l1.example",
        "sleep 1",
        "defer_if_reject, reject",
        "check_sender_access hash:/a",
        "600 x",
        "reject_unverified_recipient",
        "reject_unknown_sender_domain, reject_unlisted_recipient",
        "4.7.1",
        "}{",
        "error:5.1.1 x",
        "smtp:[192.0.2.9]:25",
        "u@example.com",
        "a, b, c",
        "example.com",
    ];
    prop_oneof![3 => select(actions).prop_map(str::to_owned), 1 => any::<String>(), 1 => "[A-Za-z0-9 ,:{}$=.]{0,30}"]
}

fn garbage() -> impl Strategy<Value = String> {
    value().prop_filter("a written permit", |text| no_permit(text))
}

fn record() -> impl Strategy<Value = DnsRecord> {
    let name = select(vec!["", "mail.example.com", "mx.other.example", "192.0.2.9", "..", "ä.example", "127.0.0.1"]);
    let address = select(vec!["127.0.0.1", "127.0.0.2", "192.0.2.9", "::1", "2001:db8::1"]);
    prop_oneof![
        address.prop_map(|it| DnsRecord::Address(it.parse().unwrap())),
        (any::<u16>(), name.clone()).prop_map(|(preference, host)| DnsRecord::Mx(preference, host.into())),
        name.prop_map(|host| DnsRecord::Name(host.into())),
        any::<String>().prop_map(|text| DnsRecord::Txt(text.into())),
    ]
}

fn dns() -> impl Strategy<Value = Answer> {
    let status = select(vec![
        DnsStatus::Ok,
        DnsStatus::Ok,
        DnsStatus::Policy,
        DnsStatus::Retry,
        DnsStatus::Invalid,
        DnsStatus::Fail,
        DnsStatus::NullMx,
        DnsStatus::NotFound,
    ]);
    (status, prop::collection::vec(record(), 0..4)).prop_map(|(status, records)| {
        let ttls = vec![300; records.len() / 2];
        Answer::Dns(DnsAnswer { status, reason: "why not".into(), ..DnsAnswer::found(records, ttls) }.into())
    })
}

fn names() -> impl Strategy<Value = Answer> {
    let name = select(vec!["unknown", "example.com", "mail.example.com", "other.example", "..", ""]);
    let status = select(vec![PeerStatus::Ok, PeerStatus::Temporary, PeerStatus::Permanent, PeerStatus::Forged]);
    (name.clone(), name, status.clone(), status).prop_map(|(name, reverse, name_status, reverse_status)| {
        Answer::PeerName(PeerName { name: name.into(), reverse: reverse.into(), name_status, reverse_status })
    })
}

/// An answer to any question; some don't fit theirs.
fn answers(text: BoxedStrategy<String>) -> impl Strategy<Value = Vec<Answer>> {
    let found = |text: String| Answer::Table(Ok(Some(text.into())));
    let answer = prop_oneof![
        3 => Just(Answer::Table(Ok(None))),
        3 => text.clone().prop_map(found),
        1 => text.clone().prop_map(|why| Answer::Table(Err(why.into()))),
        3 => dns(),
        1 => names(),
        1 => Just(Answer::Done),
        2 => text.clone().prop_map(|action| Answer::PolicyService(Ok(action.into()))),
        1 => text.clone().prop_map(|why| Answer::PolicyService(Err(why.into()))),
        1 => text.prop_map(|why| Answer::Verify(Verification::new(AddressStatus::Undeliverable, why))),
        1 => Just(Answer::Verify(Verification::in_progress())),
    ];
    prop::collection::vec(answer, 1..40)
}

/// Answers in a row, by kind of question; every third one has to be waited for.
struct Garbled<'a> {
    answers: &'a [Answer],
    next: usize,
}

impl Garbled<'_> {
    fn take(&mut self, question: &Question) -> Answer {
        let fits = |answer: &&Answer| {
            matches!(
                (question, answer),
                (Question::Table { .. }, Answer::Table(_))
                    | (Question::Dns { .. }, Answer::Dns(_))
                    | (Question::PeerName(_), Answer::PeerName(_))
                    | (Question::Sleep { .. }, Answer::Done)
                    | (Question::PolicyService { .. }, Answer::PolicyService(_))
                    | (Question::Verify { .. }, Answer::Verify(_))
            )
        };
        self.next += 1;
        let from = self.next % self.answers.len();
        let rest = self.answers[from..].iter().chain(&self.answers[..from]);
        // One in eight doesn't fit.
        if self.next.is_multiple_of(8) {
            return self.answers[from].clone();
        }
        rest.into_iter().find(fits).unwrap_or(&self.answers[from]).clone()
    }
}

impl World for Garbled<'_> {
    fn answer(&mut self, question: &Question) -> Option<Answer> {
        if self.next % 3 == 2 {
            self.next += 1;
            return None;
        }
        Some(self.take(question))
    }
}

/// A session up to RCPT TO, DATA and its end; `true` if the recipient was accepted.
fn accepts(plan: &Plan, facts: &Facts, answers: &[Answer]) -> bool {
    let mut world = Garbled { answers, next: 0 };
    let mut ledger = Ledger::default();
    let mut state = PolicyState::new();
    let mut accepted = false;
    for (moment, stage) in [
        (Moment::Connect, "CONNECT"),
        (Moment::Helo, "EHLO"),
        (Moment::Mail, "MAIL"),
        (Moment::Rcpt, "RCPT"),
        (Moment::Vrfy, "VRFY"),
        (Moment::Etrn, "ETRN"),
        (Moment::Data, "DATA"),
        (Moment::EndOfData, "END-OF-MESSAGE"),
    ] {
        speculate(plan, moment, facts, &state, &mut ledger, &mut world);
        ledger.take_pending();
        let mut evaluation = Evaluation::start(moment, stage);
        let decision = loop {
            let mut ask = Ask { ledger: &mut ledger, world: &mut world };
            match evaluation.run(plan, facts, &mut state, &mut ask) {
                Ok(decision) => break decision,
                Err(Suspend) => {
                    let pending = ledger.take_pending();
                    assert!(!pending.is_empty(), "waits for nothing");
                    for question in pending {
                        let answer = world.take(&question);
                        ledger.put(question, answer);
                    }
                }
            }
        };
        if moment == Moment::Rcpt {
            accepted |= decision.rejection.is_none() && !decision.hang_up;
        }
    }
    accepted
}

const LISTS: [&str; 8] = [
    "smtpd_client_restrictions",
    "smtpd_helo_restrictions",
    "smtpd_sender_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_data_restrictions",
    "smtpd_end_of_data_restrictions",
    "smtpd_etrn_restrictions",
    "smtpd_relay_restrictions",
];

/// Maps that are asked on the way to a decision.
const MAPS: &[(&str, &str)] = &[
    ("rbl_reply_maps", "hash:/rbl"),
    ("smtpd_dns_reply_filter", "pcre:/filter"),
    ("virtual_alias_maps", "hash:/valias"),
    ("canonical_maps", "hash:/canonical"),
    ("transport_maps", "hash:/transport"),
    ("relocated_maps", "hash:/relocated"),
    ("local_recipient_maps", "hash:/local"),
    ("relay_recipient_maps", "hash:/relay"),
    ("sender_dependent_default_transport_maps", "hash:/sdt"),
    ("smtpd_sender_login_maps", "hash:/login"),
    ("smtpd_log_access_permit_actions", "hash:/log"),
    ("smtpd_restriction_classes", "class_one"),
    ("relay_domains", "relay.example"),
    ("permit_mx_backup_networks", "hash:/backup"),
    ("recipient_delimiter", "+-"),
];

fn compile(values: &[(&str, &str)]) -> (Plan, bool) {
    let (plan, problems) = Plan::compile(&Config::new(values), &mut TableRegistry::new());
    (plan, problems.iter().all(|problem| !problem.is_error()))
}

proptest! {
    #![proptest_config(config(600, 20_261_122))]

    #[test]
    fn nobody_relays_without_a_written_permit(
        lists in prop::collection::vec(prop_oneof![3 => Just(String::new()), 1 => list(false)], 7),
        relay in list(true),
        class in list(true),
        closer in select(vec!["reject_unauth_destination", "defer_unauth_destination"]),
        flags in prop::collection::vec(any::<bool>(), 6),
        recipient in select(ELSEWHERE.to_vec()),
        sender in select(vec!["", "a@example.org", "a@example.com", "x@[192.0.2.1]"]),
        answers in answers(garbage().boxed()),
    ) {
        let relay = if relay.is_empty() { closer.to_owned() } else { format!("{relay}, {closer}") };
        let yes = |flag: bool| if flag { "yes" } else { "no" };
        let mut values = MAPS.to_vec();
        values.extend(LISTS.iter().zip(&lists).map(|(name, list)| (*name, list.as_str())));
        values.extend([
            ("smtpd_relay_restrictions", relay.as_str()),
            ("class_one", if class.is_empty() { "reject_unauth_pipelining" } else { class.as_str() }),
            ("smtpd_delay_reject", yes(flags[0])),
            ("smtpd_relay_before_recipient_restrictions", yes(flags[1])),
            ("smtpd_sasl_auth_enable", yes(flags[2])),
            ("soft_bounce", yes(flags[3])),
            ("smtpd_reject_unlisted_recipient", yes(flags[4])),
            ("smtputf8_enable", yes(flags[5])),
        ]);
        let (plan, good) = compile(&values);
        prop_assume!(good);
        let mut facts = facts();
        facts.client.name = None;
        facts.sender = Some(sender.into());
        facts.recipient = Some(recipient.into());
        facts.etrn_domain = Some("other.example".into());
        prop_assert!(!accepts(&plan, &facts, &answers), "{recipient} was accepted: {values:?}");
    }
}

proptest! {
    #![proptest_config(config(400, 20_261_123))]

    #[test]
    fn no_text_and_no_answer_makes_it_panic(
        texts in prop::collection::vec(prop_oneof![2 => any::<String>(), 3 => list(false), 3 => "[a-z_ :,{}\\[\\]=.0-9!/$-]{0,60}"], 12),
        address in prop_oneof![any::<String>(), "[a-z@%!.\"\\[\\]:<>+ -]{0,20}"],
        helo in any::<String>(),
        smtputf8 in any::<bool>(),
        answers in answers(value().boxed()),
    ) {
        let mut values = MAPS.to_vec();
        values.extend(LISTS.iter().zip(&texts).map(|(name, text)| (*name, text.as_str())));
        values.extend([
            ("class_one", texts[8].as_str()),
            ("mynetworks", texts[9].as_str()),
            ("default_rbl_reply", texts[10].as_str()),
            ("smtpd_expansion_filter", texts[11].as_str()),
        ]);
        let (plan, _) = compile(&values);
        let mut facts = facts();
        facts.client.name = None;
        facts.helo = Some(helo);
        facts.smtputf8 = smtputf8;
        for (sender, recipient) in [(address.as_str(), "u@example.com"), ("a@example.org", address.as_str())] {
            facts.sender = Some(sender.to_owned());
            facts.recipient = Some(recipient.to_owned());
            accepts(&plan, &facts, &answers);
        }
    }
}
