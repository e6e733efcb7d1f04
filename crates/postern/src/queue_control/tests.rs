//! Requests, listings, and what is done to a spool that nobody delivers from. With delivery: deliver/runner/tests/changes.

use super::*;
use crate::clock;
use crate::sasl::takeover::{Deed as LoginDeed, HeldLogin, Takeover, TakeoverLimits};
use ::queue::{Content, Envelope, Message, QueueIdSource, Recipient, Spool, SpoolOptions};
use config::{HostFacts, MainCf, Parameters};
use std::sync::Arc;

#[test]
fn requests_come_through_as_they_are() {
    let id = "4CB7D3FC43".parse().ok();
    for (request, line) in [
        (Request::List, "list"),
        (Request::Flush, "flush"),
        (Request::Commit, "commit"),
        (Request::Do(Deed::Delete, id, Queues::ALL), "delete 4CB7D3FC43 15"),
        (Request::Do(Deed::Release, None, Queues::of(&[Queue::Hold])), "release * 8"),
        (Request::Do(Deed::Hold, None, Queues::of(&[])), "hold * 0"),
        (Request::Do(Deed::Requeue, id, Queues::ALL), "requeue 4CB7D3FC43 15"),
        (Request::Do(Deed::Try, id, Queues::ALL), "try 4CB7D3FC43 15"),
        (Request::Logins, "logins"),
        (Request::ReleaseLogin("jo doe".into(), None), "release-login - jo doe"),
        (Request::ReleaseLogin("jo".into(), "2001:db8::1".parse().ok()), "release-login 2001:db8::1 jo"),
    ] {
        assert_eq!(request.to_string(), line);
        assert_eq!(line.parse(), Ok(request));
    }
    for bad in [
        "release-login jo",
        "release-login 192.0.2 jo",
        "",
        "delete",
        "delete ALL",
        "delete a/b 15",
        "delete A1 16",
        "delete A1 15 x",
        "DELETE A1 15",
    ] {
        assert_eq!(bad.parse::<Request>(), Err(format!("unknown request: {bad}")));
    }
}

fn listed(queue: &str, id: &str, size: u64, recipients: &[(&str, Option<&str>)]) -> Listed {
    let recipients = recipients.iter().map(|(address, reason)| listing::ListedRecipient {
        address: (*address).to_owned(),
        delay_reason: reason.map(str::to_owned),
    });
    Listed {
        queue_name: queue.to_owned(),
        queue_id: id.to_owned(),
        arrival_time: 1_795_395_743,
        message_size: size,
        forced_expire: false,
        sender: "held@example.org".to_owned(),
        recipients: recipients.collect(),
    }
}

#[test]
fn listings_are_those_of_postfix() {
    let date = |_: i64| "Mon Nov 23 01:02:23".to_owned();
    let refused = Some("connect to 127.0.0.1[127.0.0.1]:9: Connection refused");
    let mail = [
        listed(
            "deferred",
            "D0EDB994AB0",
            548,
            &[("n@example.net", None), ("u1@example.net", refused), ("u2@example.net", refused)],
        ),
        listed("hold", "D171D994AC2", 551, &[("x\u{1b}@example.net", None)]),
    ];
    let want = "\
-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------
D0EDB994AB0     548 Mon Nov 23 01:02:23  held@example.org
                       (connect to 127.0.0.1[127.0.0.1]:9: Connection refused)
                                         u1@example.net
                                         u2@example.net
                                         n@example.net

D171D994AC2!     551 Mon Nov 23 01:02:23  held@example.org
                                         x?@example.net

-- 1 Kbytes in 2 Requests.
";
    assert_eq!(pretty(&mail, false, date), want);
    let want = "\
----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
4jXnqW5pt3z1SjF6*      570 Mon Nov 23 01:02:23 held@example.org
                                               u@example.net

-- 0 Kbytes in 1 Request.
";
    let mail = [listed("active", "4jXnqW5pt3z1SjF6", 570, &[("u@example.net", None)])];
    assert_eq!(pretty(&mail, true, date), want);
    assert_eq!(pretty(&[], true, date), "Mail queue is empty\n");
    let want = r#"{"queue_name": "hold", "queue_id": "D1", "arrival_time": 1795395743, "message_size": 5, "forced_expire": false, "sender": "held@example.org", "recipients": [{"address": "u@example.net"}, {"address": "v@example.net", "delay_reason": "x"}]}"#;
    let mail = listed("hold", "D1", 5, &[("u@example.net", None), ("v@example.net", Some("x"))]);
    assert_eq!(json(&mail).unwrap(), want);
    assert_eq!(serde_json::from_str::<Listed>(want).unwrap(), mail);
}

struct Shelf {
    steward: Steward,
    dir: tempfile::TempDir,
}

impl Shelf {
    fn open(dir: tempfile::TempDir) -> Self {
        let (spool, _) = Spool::open(&dir.path().join("spool"), SpoolOptions::default()).unwrap();
        let main = MainCf::parse("main.cf", "content_filter = smtp:[127.0.0.1]:10025\n").0;
        let parameters = Parameters::new(Arc::new(main), HostFacts::default());
        let steward = Steward {
            spool,
            ids: Arc::new(QueueIdSource::new(0)),
            delivery: None,
            logins: None,
            parameters: Box::new(move || parameters.clone()),
            log: None,
        };
        Self { steward, dir }
    }

    fn store(&self, id: &str, hold: bool, size: usize) {
        let id = id.parse().unwrap();
        let mut envelope = Envelope::new(id, 1_000_000, "a@example.org");
        envelope.recipients = vec![Recipient::new("u@example.net"), Recipient::new("v@example.net")];
        (envelope.hold, envelope.size) = (hold, size as u64);
        let content = match size > ::queue::INLINE_LIMIT {
            true => {
                let mut writer = self.steward.spool.large_writer(id).unwrap();
                writer.write(&vec![b'x'; size]).unwrap();
                writer.seal().unwrap()
            }
            false => Content::Memory(vec![b'x'; size].into()),
        };
        self.steward.spool.submit_and_wait(Message { envelope: Arc::new(envelope), content }).unwrap();
    }

    fn ask(&self, line: &str) -> Result<String, String> {
        let mut told = Vec::new();
        let mut tell = |text: &str| {
            told.push(text.to_owned());
            Ok(())
        };
        self.steward.perform(line.parse()?, &mut tell)?;
        Ok(told.join(" "))
    }

    /// Ids with the queues they are in.
    fn list(&self) -> String {
        let mut told = Vec::new();
        let mut tell = |text: &str| {
            let message: Listed = serde_json::from_str(text).unwrap();
            told.push(format!("{} {}", message.queue_id, message.queue_name));
            Ok(())
        };
        self.steward.perform(Request::List, &mut tell).unwrap();
        told.join(", ")
    }
}

#[test]
fn a_spool_that_nobody_delivers_from() {
    let shelf = Shelf::open(tempfile::tempdir().unwrap());
    for (id, hold) in [("A1", false), ("B2", true), ("C3", true)] {
        shelf.store(id, hold, 10);
    }
    assert_eq!(shelf.list(), "A1 deferred, B2 hold, C3 hold");
    for (line, answer) in [
        ("release A1 15", ""),
        ("release XX 15", ""),
        ("release * 4", ""),
        ("release B2 15", "done B2"),
        ("hold * 15", "done A1 done B2"),
        ("delete * 4", ""),
        ("delete A1 8", "done A1"),
        ("commit", ""),
    ] {
        assert_eq!(shelf.ask(line).as_deref(), Ok(answer), "{line}");
    }
    for line in ["flush", "try B2 15", "logins", "release-login - jo"] {
        assert_eq!(shelf.ask(line), Err("mail system is down".to_owned()), "{line}");
    }
    let Shelf { steward, dir } = shelf;
    drop(steward);
    let shelf = Shelf::open(dir);
    assert_eq!(shelf.list(), "B2 hold, C3 hold");
}

#[test]
fn what_is_requeued_is_new_but_for_its_content() {
    let shelf = Shelf::open(tempfile::tempdir().unwrap());
    for (id, size) in [("A1", 10), ("B2", ::queue::INLINE_LIMIT + 7)] {
        shelf.store(id, true, size);
        assert_eq!(shelf.ask(&format!("requeue {id} 15")), Ok(format!("done {id}")));
        let spool = &shelf.steward.spool;
        let new = spool.queue_ids()[0];
        let message = spool.message(new).unwrap();
        assert!(message.envelope.arrival > 1_000_000_000 && !message.envelope.hold);
        assert_eq!(message.envelope.content_filter.as_deref(), Some("smtp:[127.0.0.1]:10025"));
        assert_eq!(message.envelope.recipients.len(), 2);
        let length = match spool.content(new).unwrap() {
            ::queue::ContentSource::Memory(bytes) => bytes.len() as u64,
            ::queue::ContentSource::File(file, _) => file.metadata().unwrap().len(),
        };
        assert_eq!((spool.len(), length), (1, size as u64));
        assert_eq!(shelf.ask("delete * 15"), Ok(format!("done {new}")));
    }
}

#[test]
fn logins_are_released() {
    let mut shelf = Shelf::open(tempfile::tempdir().unwrap());
    let takeover = Arc::new(Takeover::default());
    let limits = TakeoverLimits { unit: 60_000, refused: 1, hold: 600_000, ..TakeoverLimits::default() };
    let now = clock::now_ms();
    takeover.note("jo doe", LoginDeed::Refused, limits, now);
    takeover.hold("jo doe", "a sign", limits, now);
    let failures = Arc::default();
    shelf.steward.logins = Some(Logins { takeover: Arc::clone(&takeover), failures });
    let listed = shelf.ask("logins").unwrap();
    let held: HeldLogin = serde_json::from_str(&listed).unwrap();
    assert_eq!((held.login.as_str(), held.sign.as_str()), ("jo doe", "a sign"));
    assert!((1..=600).contains(&held.seconds), "{listed}");
    for (line, answer) in [
        ("release-login - jo", ""),
        ("release-login 192.0.2.1 Jo Doe", "its mail is not held any more"),
        ("release-login - jo doe", ""),
        ("logins", ""),
    ] {
        assert_eq!(shelf.ask(line).as_deref(), Ok(answer), "{line}");
    }
}

#[test]
fn the_socket_is_for_its_owner_and_answers_nonsense() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::fs::PermissionsExt;
    let shelf = Shelf::open(tempfile::tempdir().unwrap());
    shelf.store("A1", true, 10);
    let spool = shelf.dir.path().join("spool");
    // what a server that died has left is in nobody's way
    drop(Control::bind(&spool).unwrap());
    let control = Control::bind(&spool).unwrap();
    assert_eq!(control.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    control.serve(shelf.steward).unwrap();
    let stream = std::os::unix::net::UnixStream::connect(spool.join(NAME)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    for (request, answer) in [
        ("who are you", vec!["error unknown request: who are you"]),
        ("release A1 15", vec!["done A1", "end"]),
        ("commit", vec!["end"]),
        ("flush", vec!["error mail system is down"]),
    ] {
        writeln!(&stream, "{request}").unwrap();
        let got: Vec<String> = lines.by_ref().take(answer.len()).collect();
        assert_eq!(got, answer, "{request}");
    }
}
