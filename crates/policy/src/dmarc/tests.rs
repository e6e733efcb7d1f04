use super::*;
use crate::authentication::DkimVerdict;
use crate::question::{DnsAnswer, DnsRecord};
use std::collections::HashMap;
use std::sync::Arc;

const ZONE: &[(&str, &str)] = &[
    ("bank.example", "v=DMARC1; p=reject; sp=quarantine"),
    ("strict.example", "v=DMARC1; p=reject; adkim=s; aspf=s"),
    ("half.example", "v=DMARC1; p=reject; pct=50"),
    ("try.example", "v=DMARC1; p=quarantine; t=y"),
    ("gone.example", "v=DMARC1; p=none; np=reject"),
    ("plain.example", "v=DMARC1; p=none"),
    ("co.example", "v=DMARC1; p=reject; psd=y"),
    ("own.bank.example", "v=DMARC1; p=none; psd=n"),
    ("down.example", "SERVFAIL"),
];

fn answer(rtype: RecordType, name: &str) -> Arc<DnsAnswer> {
    let missing = |why: &str| DnsAnswer::failed(DnsStatus::NotFound, why);
    let known = name.strip_prefix("_dmarc.").and_then(|of| ZONE.iter().find(|(domain, _)| *domain == of));
    Arc::new(match (rtype, known) {
        (RecordType::Txt, Some((_, "SERVFAIL"))) => DnsAnswer::failed(DnsStatus::Retry, ""),
        (RecordType::Txt, Some((_, text))) => DnsAnswer::found(vec![DnsRecord::Txt((*text).into())], Vec::new()),
        (RecordType::A, _) if name == "there.gone.example" => {
            missing("Host found but no data record of requested type")
        }
        _ => missing("Host not found"),
    })
}

fn message(author: &str, signers: &[(&str, DkimResult)]) -> MessageFacts {
    let verdict = |(domain, result): &(&str, DkimResult)| DkimVerdict {
        result: *result,
        domain: (*domain).to_owned(),
        ..DkimVerdict::default()
    };
    let authors = author.split(' ').map(str::to_owned).collect();
    MessageFacts { authors, author_problem: None, dkim: signers.iter().map(verdict).collect() }
}

fn spf(domain: &str, result: SpfResult) -> SpfVerdict {
    SpfVerdict { result, domain: domain.into(), reason: String::new(), explanation: None }
}

fn checked(message: &MessageFacts, spf: Option<&SpfVerdict>, sample: u8) -> DmarcVerdict {
    let at_once = check(message, spf, sample, &mut |rtype, name| Ok(answer(rtype, name))).unwrap();
    let mut known = HashMap::new();
    for _ in 0..20 {
        let mut missing = Vec::new();
        let slow = check(message, spf, sample, &mut |rtype, name| {
            known.get(&(rtype, name.to_owned())).cloned().ok_or_else(|| {
                missing.push((rtype, name.to_owned()));
                Suspend
            })
        });
        if let Ok(verdict) = slow {
            assert_eq!(verdict, at_once);
            return verdict;
        }
        known.extend(missing.into_iter().map(|(rtype, name)| ((rtype, name.clone()), answer(rtype, &name))));
    }
    panic!("no end");
}

/// `result policy`.
fn told(verdict: &DmarcVerdict) -> String {
    format!("{} {}", verdict.result.word(), verdict.policy.word())
}

#[test]
fn a_domain_that_belongs_to_the_author_must_pass() {
    use DkimResult::{Fail, Pass, TempError};
    for (author, signer, sender, expected) in [
        ("bank.example", Some(("bank.example", Pass)), None, "pass none"),
        ("Bank.example", Some(("mail.bank.example", Pass)), None, "pass none"),
        ("news.bank.example", Some(("mail.bank.example", Pass)), None, "pass none"),
        ("bank.example", Some(("bank.example", Fail)), None, "fail reject"),
        ("bank.example", Some(("evil.example", Pass)), None, "fail reject"),
        ("bank.example", Some(("notbank.example", Pass)), None, "fail reject"),
        ("bank.example", None, None, "fail reject"),
        ("news.bank.example", None, None, "fail quarantine"),
        ("bank.example", None, Some(("bounce.bank.example", SpfResult::Pass)), "pass none"),
        ("bank.example", None, Some(("bank.example", SpfResult::SoftFail)), "fail reject"),
        ("bank.example", None, Some(("bank.example", SpfResult::TempError)), "temperror none"),
        ("bank.example", Some(("bank.example", TempError)), None, "temperror none"),
        // what isn't the author's changes nothing
        ("bank.example", Some(("evil.example", TempError)), None, "fail reject"),
        ("bank.example", Some(("bank.example", Pass)), Some(("bank.example", SpfResult::TempError)), "pass none"),
        ("strict.example", Some(("mail.strict.example", Pass)), None, "fail reject"),
        ("strict.example", Some(("strict.example", Pass)), None, "pass none"),
        ("strict.example", None, Some(("mail.strict.example", SpfResult::Pass)), "fail reject"),
        ("nothing.example", Some(("evil.example", Pass)), None, "none none"),
        ("plain.example", None, None, "fail none"),
        ("down.example", Some(("down.example", Pass)), None, "temperror none"),
        ("a.down.example", None, None, "temperror none"),
        // below a public suffix each has its own
        ("a.co.example", Some(("b.co.example", Pass)), None, "fail reject"),
        ("x.a.co.example", Some(("y.a.co.example", Pass)), None, "pass none"),
        // a part of its own
        ("own.bank.example", Some(("bank.example", Pass)), None, "fail none"),
        ("bank.example", Some(("own.bank.example", Pass)), None, "fail reject"),
        ("there.gone.example", None, None, "fail none"),
        ("no.gone.example", None, None, "fail reject"),
        ("a..example", None, None, "permerror none"),
        ("[192.0.2.1]", None, None, "permerror none"),
    ] {
        let signers: Vec<_> = signer.into_iter().collect();
        let spf = sender.map(|(domain, result)| spf(domain, result));
        let verdict = checked(&message(author, &signers), spf.as_ref(), 0);
        assert_eq!(told(&verdict), expected, "{author} {signer:?} {sender:?}");
    }
}

#[test]
fn policies_may_be_for_a_part_only() {
    for (author, sample, expected) in [
        ("half.example", 49, "fail reject"),
        ("half.example", 50, "fail quarantine"),
        ("bank.example", 99, "fail reject"),
        ("try.example", 0, "fail none"),
    ] {
        assert_eq!(told(&checked(&message(author, &[]), None, sample)), expected, "{author} {sample}");
    }
}

#[test]
fn of_several_authors_the_worst_counts() {
    let signed = [("evil.example", DkimResult::Pass), ("plain.example", DkimResult::Pass)];
    for (authors, domain, expected) in [
        ("plain.example bank.example", "bank.example", "fail reject"),
        ("bank.example plain.example", "bank.example", "fail reject"),
        ("nothing.example plain.example", "nothing.example", "none none"),
        ("plain.example news.bank.example", "news.bank.example", "fail quarantine"),
    ] {
        let verdict = checked(&message(authors, &signed), None, 0);
        assert_eq!((told(&verdict).as_str(), &*verdict.domain), (expected, domain), "{authors}");
    }
    let problem = MessageFacts { author_problem: Some("there is no From header".into()), ..MessageFacts::default() };
    assert_eq!(checked(&problem, None, 0).reason, "there is no From header");
}
