//! Messages signed by Debian's dkimpy (tests/dkim, with the keys' records), and what becomes of them when they change.

use super::{Collected, Intake};
use policy::{DkimResult, DkimVerdict, DnsAnswer, DnsRecord, DnsStatus};

const KEYS: &str = include_str!("../../tests/dkim/keys");

macro_rules! mail {
    ($name:literal) => {
        include_str!(concat!("../../tests/dkim/", $name, ".eml"))
    };
}

const NOW: u64 = 1_795_000_000;

fn collect(text: &str) -> Collected {
    let mut intake = Intake::new();
    intake.feed(text.as_bytes());
    let whole = intake.finish();
    for size in [1, 7, 64] {
        let mut intake = Intake::new();
        text.as_bytes().chunks(size).for_each(|piece| intake.feed(piece));
        let pieces = intake.finish();
        assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "in pieces of {size}");
    }
    whole
}

fn record(text: &str) -> DnsAnswer {
    DnsAnswer::found(vec![DnsRecord::Txt(text.into())], Vec::new())
}

fn key(name: &str) -> DnsAnswer {
    let text = KEYS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    text.map_or_else(|| DnsAnswer::failed(DnsStatus::NotFound, ""), record)
}

fn verdicts(text: &str) -> Vec<DkimVerdict> {
    let verify = |signature: &super::Signature| {
        let answer = signature.key_name().map(|name| key(&name));
        signature.verify(answer.as_ref(), NOW)
    };
    collect(text).signatures.iter().map(verify).collect()
}

/// Results with their reasons.
fn told(text: &str) -> Vec<String> {
    let told = |it: &DkimVerdict| format!("{} {}", it.result.word(), it.reason).trim_end().to_owned();
    verdicts(text).iter().map(told).collect()
}

#[test]
fn signatures_of_dkimpy_are_true() {
    for (name, mail) in [
        ("relaxed-relaxed", mail!("relaxed-relaxed")),
        ("simple-simple", mail!("simple-simple")),
        ("relaxed-simple", mail!("relaxed-simple")),
        ("simple-relaxed-ed25519", mail!("simple-relaxed-ed25519")),
        ("length", mail!("length")),
        ("empty-body", mail!("empty-body")),
        ("empty-body-relaxed", mail!("empty-body-relaxed")),
    ] {
        assert_eq!(told(mail), ["pass"], "{name}");
    }
    assert_eq!(told(mail!("two")), ["pass", "pass"]);
    let [rsa, ed] = &verdicts(mail!("two"))[..] else { panic!("two signatures") };
    assert_eq!((&*rsa.domain, &*rsa.selector, &*rsa.algorithm), ("bank.example", "rsa", "rsa-sha256"));
    assert_eq!((&*ed.domain, &*ed.selector, &*ed.algorithm), ("bank.example", "ed", "ed25519-sha256"));
    assert!(rsa.signature.len() == 8 && rsa.signature != ed.signature);
}

#[test]
fn what_relaxed_forms_leave_out_may_change() {
    let mail = mail!("relaxed-relaxed");
    for (from, to) in [
        ("Hello  \t world ", "Hello world"),
        ("\nSubject: two   words\n and", "\nSUBJECT:two words and"),
        ("\n \t \n\n\n", "\n"),
        ("\nReceived: ", "\nX-More: 1\nReceived: "),
    ] {
        assert!(mail.contains(from), "{from}");
        assert_eq!(told(&mail.replacen(from, to, 1)), ["pass"], "{from:?}");
    }
    let simple = mail!("simple-simple");
    assert_eq!(told(&simple.replacen("\n\n\n", "\n", 1)), ["pass"]);
    assert_eq!(told(&simple.replacen("Hello  \t world ", "Hello world", 1)), ["fail the body hash did not verify"]);
    assert_eq!(told(&simple.replacen("Subject: two", "subject: two", 1)), ["fail the signature did not verify"]);
}

#[test]
fn changed_messages_are_no_longer_signed() {
    let mail = mail!("relaxed-relaxed");
    for (from, to, expected) in [
        ("Hello", "Hallo", "fail the body hash did not verify"),
        ("ann@Bank", "bob@Bank", "fail the signature did not verify"),
        // h= has From once more than there was
        ("\nFrom: ", "\nFrom: a@evil.example\nFrom: ", "fail the signature did not verify"),
        ("X-Twice: one\nX-Twice:  two", "X-Twice: two\nX-Twice: one", "fail the signature did not verify"),
        (" s=rsa;", " s=gone;", "permerror there is no key"),
        (" s=rsa;", " s=ed;", "fail the key is of another type"),
        (" s=rsa;", " s=r a;", "permerror s= is no selector"),
        ("v=1;", "v=2;", "permerror the signature is of another version"),
        ("v=1;", "v=1; v=1;", "permerror the signature makes no sense"),
        ("v=1;", "v=1; x=9;", "permerror x= is before t="),
        ("v=1;", "v=1; l=3;", "fail the body hash did not verify"),
        ("c=relaxed/relaxed", "c=other", "permerror c= is no canonicalization"),
        (" d=bank.example", " d=bank..example", "permerror d= is no domain"),
        ("i=@bank.example", "i=@evil.example", "permerror i= is not in d="),
        ("a=rsa-sha256", "a=rsa-md5", "permerror a= is no algorithm"),
        (" h=", " h=to; z=", "permerror From is not signed"),
    ] {
        assert!(mail.contains(from), "{from:?}");
        assert_eq!(told(&mail.replacen(from, to, 1)), [expected], "{from:?} {to:?}");
    }
    let expiring = collect(&mail.replacen("v=1;", "v=1; x=9999999999;", 1));
    let reason = |now| expiring.signatures[0].verify(Some(&key("rsa._domainkey.bank.example")), now).reason;
    assert_eq!(reason(9_999_999_999), "the signature did not verify");
    assert_eq!(reason(10_000_000_000), "the signature has expired");
    assert_eq!(told(mail!("sha1")), ["permerror rsa-sha1 proves nothing (RFC 8301)"]);
    assert_eq!(told(mail!("tiny")), ["fail the signature did not verify"]);
    let longer = mail!("length").to_owned() + "more\n";
    assert_eq!(told(&longer), ["policy l= leaves a part of the body out"]);
}

#[test]
fn keys_decide() {
    let collected = collect(mail!("relaxed-relaxed"));
    let signature = &collected.signatures[0];
    assert_eq!(signature.key_name().as_deref(), Some("rsa._domainkey.bank.example"));
    let DnsRecord::Txt(good) = &key("rsa._domainkey.bank.example").records[0] else { panic!("a text") };
    let p = good.split_once("p=").unwrap().1;
    for (text, result, reason) in [
        (good.to_string(), DkimResult::Pass, ""),
        (format!("k=rsa; t=y:s; s=email; h=sha1:sha256; p={p};"), DkimResult::Pass, ""),
        (format!("v=DKIM2; p={p}"), DkimResult::PermError, "the key record is of another version"),
        (format!("k=rsa; v=DKIM1; p={p}"), DkimResult::PermError, "the key record is of another version"),
        (format!("k=dsa; p={p}"), DkimResult::PermError, "the key is of an unknown type"),
        (format!("h=sha1; p={p}"), DkimResult::PermError, "the key is not for sha256"),
        (format!("s=xmpp; p={p}"), DkimResult::PermError, "the key is not for mail"),
        ("v=DKIM1; p=".into(), DkimResult::PermError, "the key was revoked"),
        ("v=DKIM1".into(), DkimResult::PermError, "there is no key in the key record"),
        ("p=AAAA".into(), DkimResult::PermError, "the key makes no sense"),
        ("hello".into(), DkimResult::PermError, "the key record makes no sense"),
    ] {
        let verdict = signature.verify(Some(&record(&text)), NOW);
        assert_eq!((verdict.result, &*verdict.reason), (result, reason), "{text}");
    }
    let two = DnsAnswer::found(vec![DnsRecord::Txt("p=".into()), DnsRecord::Txt(good.clone())], Vec::new());
    assert_eq!(signature.verify(Some(&two), NOW).result, DkimResult::Pass);
    for status in [DnsStatus::Retry, DnsStatus::Fail, DnsStatus::Invalid] {
        assert_eq!(signature.verify(Some(&DnsAnswer::failed(status, "")), NOW).result, DkimResult::TempError);
    }
    assert_eq!(signature.verify(None, NOW).result, DkimResult::TempError);
}

#[test]
fn authors_are_found() {
    let many: String = (0..5).map(|n| format!("a@d{n}.example,\n ")).collect();
    for (header, authors, problem) in [
        ("From: \"x@evil.example\" <a@Bank.Example>\n", &["bank.example"][..], None),
        (
            "from : a@b.example, c@B.example,\n d@e.example\n\nFrom: no@body.example\n",
            &["b.example", "e.example"],
            None,
        ),
        ("To: a@b.example\n", &[], Some("there is no From header")),
        ("From: a@b.example\nFrom: a@b.example\n", &[], Some("there is more than one From header")),
        ("From: nobody\n", &[], Some("an address in From has no domain")),
        ("From: a@b.example\nno header\nFrom: a@b.example\n", &["b.example"], None),
        ("From:\n", &[], Some("there is no address in From")),
        (&format!("From: {many}x@y.example\n"), &[], Some("there are too many authors in From")),
        (&format!("X: {}\nFrom: a@b.example\n", "x".repeat(300_000)), &[], Some("the header is too long")),
    ] {
        let found = collect(header);
        assert_eq!(
            (&found.authors[..], found.author_problem),
            (&authors.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()[..], problem)
        );
    }
}

#[test]
fn there_are_five_signatures_at_most() {
    let mail = mail!("relaxed-relaxed");
    let signature = &mail[..mail.find("Received:").unwrap()];
    assert_eq!(collect(&(signature.repeat(9) + mail)).signatures.len(), 5);
    assert_eq!(told(&(signature.repeat(2) + mail)), ["pass"; 3]);
}

/// Whatever somebody sends: no panic.
#[test]
fn nothing_that_is_sent_does_harm() {
    let mut seed = 11_u64;
    let mut dice = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for mail in [mail!("two"), mail!("simple-simple"), mail!("length")] {
        for _ in 0..300 {
            let mut bytes = mail.as_bytes().to_vec();
            for _ in 0..=dice(3) {
                let at = dice(bytes.len());
                match dice(4) {
                    0 => bytes[at] = b";=:\n \t@\xff\0b"[dice(10)],
                    1 => drop(bytes.drain(at..(at + dice(200)).min(bytes.len()))),
                    2 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, b"\n;=\r ,<\""[dice(8)]),
                }
            }
            let mut intake = Intake::new();
            bytes.chunks(1 + dice(50)).for_each(|piece| intake.feed(piece));
            for signature in intake.finish().signatures {
                let answer = signature.key_name().map(|name| key(&name));
                signature.verify(answer.as_ref(), NOW);
            }
        }
    }
}
