//! Delivery from end to end: a real spool, servers on ports the system picks, and the log.

mod changes;
mod probes;
mod reports;

use super::super::{Expanded, Found, LogLine, Pending, Resolver, Router, start};
use super::*;
use crate::internal_mail::{Cleaned, MailClass, OwnMail};
use config::{HostFacts, MainCf, MasterCf, Parameters};
use policy::{TableId, TableRegistry};
use queue::{Envelope, QueueIdSource, Recipient, Spool, SpoolOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::sync::mpsc as std_mpsc;

/// Resolves by the recipient's domain, as a test wants it.
struct Routes(Vec<(&'static str, String)>);

impl Router for Routes {
    fn route<'a>(&'a self, _: &'a str, recipient: &'a str) -> Pending<'a, Result<Route, Temporary>> {
        let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
        let route = self.0.iter().find(|(name, _)| *name == domain).map(|(_, value)| {
            let (transport, nexthop) = value.split_once(':').unwrap();
            Route {
                transport: transport.into(),
                nexthop: nexthop.into(),
                recipient: recipient.into(),
                is_local: domain == "h.example",
            }
        });
        Box::pin(async { route.ok_or_else(|| Temporary("no table".into())) })
    }

    fn rewrite(&self, address: &str) -> String {
        if address.contains('@') { address.to_owned() } else { format!("{address}@example.com") }
    }

    fn expand<'a>(&'a self, _: QueueId, recipient: &'a str) -> Pending<'a, Result<Expanded, Temporary>> {
        let recipients = vec![Recipient::new(self.rewrite(recipient))];
        Box::pin(async { Ok(Expanded { recipients, log: Vec::new() }) })
    }

    fn inspect(&self, _: MailClass, mail: OwnMail) -> Option<Pending<'_, Result<Cleaned, Temporary>>> {
        let found = match mail.to.rsplit_once('@') {
            Some((_, "refused.example")) => Err(Temporary("5.7.1 no".into())),
            Some((_, "gone.example")) => Ok(Cleaned::Discarded),
            _ => return None,
        };
        Some(Box::pin(async { found }))
    }

    fn lookup<'a>(&'a self, _: TableId, _: &'a str) -> Pending<'a, Result<Option<String>, Temporary>> {
        Box::pin(async { Ok(None) })
    }
}

struct NoDns;

impl Resolver for NoDns {
    fn mx<'a>(&'a self, domain: &'a str) -> Pending<'a, Found<(u16, String)>> {
        let found = match domain {
            "null.example" => Found::Records(vec![(0, String::new())]),
            _ => Found::None("none".into()),
        };
        Box::pin(async { found })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Pending<'a, Found<IpAddr>> {
        let reason =
            format!("Host or domain name not found. Name service error for name={host} type=A: Host not found");
        Box::pin(async { Found::None(reason) })
    }
}

/// An SMTP server: replies by the start of a line; tells what it was sent.
fn server(replies: &'static [(&'static str, &'static str)]) -> (u16, std_mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std_mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, tell) = (stream.unwrap(), tell.clone());
            std::thread::spawn(move || {
                let reply = |word: &str, default: &'static str| {
                    replies.iter().find(|(start, _)| word.starts_with(start)).map_or(default, |(_, reply)| reply)
                };
                let _ = write!(stream, "{}\r\n", reply("CONNECT", "220 sink ESMTP"));
                let mut content = false;
                for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                    let Ok(line) = line else { return };
                    let _ = tell.send(line.clone());
                    let answer = match line.as_str() {
                        "." if content => {
                            content = false;
                            reply("EOM", "250 2.0.0 Ok: queued as SINK")
                        }
                        _ if content => continue,
                        l if l.starts_with("EHLO") => reply(l, "250-sink\r\n250 PIPELINING"),
                        "DATA" => {
                            content = true;
                            reply("DATA", "354 go")
                        }
                        l => reply(l, "250 2.0.0 Ok"),
                    };
                    if write!(stream, "{answer}\r\n").is_err() || line == "QUIT" {
                        return;
                    }
                }
            });
        }
    });
    (port, told)
}

const MASTER: &str = "\
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
relay unix - - n - - smtp
  -o syslog_name=postfix/$service_name
soft unix - - n - - smtp
  -o soft_bounce=yes
local unix - n n - - local
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
";

struct Lab {
    handle: super::super::DeliverHandle,
    spool: Spool,
    log: std_mpsc::Receiver<String>,
    probed: std_mpsc::Receiver<(String, policy::Verification)>,
    dir: tempfile::TempDir,
    ids: Arc<QueueIdSource>,
}

impl Lab {
    fn new(routes: Vec<(&'static str, String)>, main_cf: &str) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(&dir.path().join("spool"), SpoolOptions::default()).unwrap();
        Lab::with(routes, main_cf, dir, spool)
    }

    fn with(routes: Vec<(&'static str, String)>, main_cf: &str, dir: tempfile::TempDir, spool: Spool) -> Lab {
        let base = format!(
            "myhostname = mail.example.com\nmyorigin = example.com\nmail_spool_directory = {}/\n\
             minimal_backoff_time = 1h\nmaximal_backoff_time = 1h\n{main_cf}",
            dir.path().join("Maildir").display()
        );
        let (main, _) = MainCf::parse("main.cf", &base);
        let (master, _) = MasterCf::parse("master.cf", MASTER);
        let parameters = Parameters::new(Arc::new(main), HostFacts::default());
        let mut problems = Vec::new();
        let config = DeliverConfig::compile(&parameters, &master, &mut TableRegistry::new(), &mut problems);
        assert_eq!(problems.len(), 0);
        let (tell, log) = std_mpsc::channel();
        let (tell_probed, probed) = std_mpsc::channel();
        let line: LogLine = {
            let tell = std::sync::Mutex::new(tell);
            Arc::new(move |tag: &str, text: String| drop(tell.lock().unwrap().send(format!("{tag}: {text}"))))
        };
        let ids = Arc::new(QueueIdSource::new(0));
        let surroundings = Surroundings {
            spool: spool.clone(),
            ids: ids.clone(),
            router: Arc::new(Routes(routes)),
            resolver: Arc::new(NoDns),
            log: line,
            probed: {
                let tell = std::sync::Mutex::new(tell_probed);
                Arc::new(move |address: &str, found| drop(tell.lock().unwrap().send((address.to_owned(), found))))
            },
        };
        Lab { handle: start(config, surroundings).unwrap(), spool, log, probed, dir, ids }
    }

    fn message(&self, sender: &str, recipients: &[&str]) -> Message {
        let mut envelope = Envelope::new(self.ids.next(false, now()), now(), sender);
        envelope.recipients = recipients.iter().map(|r| Recipient::new(*r)).collect();
        envelope.size = 20;
        let content = Content::Memory(b"Subject: test\n\nbody\n".as_slice().into());
        Message { envelope: Arc::new(envelope), content }
    }

    fn send(&self, sender: &str, recipients: &[&str]) -> QueueId {
        let message = self.message(sender, recipients);
        self.spool.submit_and_wait(message.clone()).unwrap();
        let id = message.envelope.queue_id;
        self.handle.enqueue(message);
        id
    }

    /// Log lines up to one that ends like this, with queue ids and delays made the same.
    fn until(&self, end: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let wait = std::time::Duration::from_secs(20);
            let line = self.log.recv_timeout(wait).unwrap_or_else(|_| panic!("no {end:?} in {lines:#?}"));
            let ends = line.ends_with(end);
            lines.push(plain(&line));
            if ends {
                return lines;
            }
        }
    }
}

fn plain(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let name = word.split('=').next().unwrap_or("");
        match name {
            "delay" | "delays" if word.contains('=') => format!("{name}=D,"),
            _ if word.len() > 5
                && word.trim_end_matches(':').bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)) =>
            {
                if word.ends_with(':') {
                    "QID:".into()
                } else {
                    "QID".into()
                }
            }
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn mail_is_sent_on_and_removed() {
    let (port, told) = server(&[]);
    let lab = Lab::new(vec![("a.example", format!("relay:[127.0.0.1]:{port}"))], "");
    lab.send("s@example.org", &["x@a.example", "y@a.example"]);
    let relay = format!("127.0.0.1[127.0.0.1]:{port}");
    let sent = "delay=D, delays=D, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as SINK)";
    assert_eq!(
        lab.until(": removed"),
        [
            "postfix/qmgr: QID: from=<s@example.org>, size=20, nrcpt=2 (queue active)".to_owned(),
            format!("postfix/relay/smtp: QID: to=<x@a.example>, relay={relay}, {sent}"),
            format!("postfix/relay/smtp: QID: to=<y@a.example>, relay={relay}, {sent}"),
            "postfix/qmgr: QID: removed".to_owned(),
        ]
    );
    assert!(lab.spool.is_empty());
    assert!(lab.handle.drain(std::time::Duration::from_secs(5)));
    let seen: Vec<String> = told.try_iter().collect();
    let want = [
        "EHLO mail.example.com",
        "MAIL FROM:<s@example.org>",
        "RCPT TO:<x@a.example>",
        "RCPT TO:<y@a.example>",
        "DATA",
        "Subject: test",
        "",
        "body",
        ".",
    ];
    assert_eq!(seen[..9], want);
}

#[test]
fn what_bounces_comes_back_and_what_waits_stays() {
    let (port, _told) = server(&[("RCPT TO:<bad", "550 5.1.1 no such user"), ("RCPT TO:<later", "450 4.2.1 later")]);
    let hop = format!("smtp:[127.0.0.1]:{port}");
    let lab = Lab::new(vec![("a.example", hop), ("back.example", "discard:gone".into())], "");
    let id = lab.send("s@back.example", &["bad@a.example", "good@a.example", "later@a.example"]);
    let lines = lab.until(": removed");
    let relay = format!("127.0.0.1[127.0.0.1]:{port}");
    let line = |to: &str, rest: &str| {
        format!("postfix/smtp: QID: to=<{to}@a.example>, relay={relay}, delay=D, delays=D, {rest}")
    };
    let said = |reply: &str| format!("(host 127.0.0.1[127.0.0.1] said: {reply} (in reply to RCPT TO command))");
    assert_eq!(
        lines,
        [
            "postfix/qmgr: QID: from=<s@back.example>, size=20, nrcpt=3 (queue active)".to_owned(),
            line("bad", &format!("dsn=5.1.1, status=bounced {}", said("550 5.1.1 no such user"))),
            line("good", "dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as SINK)"),
            line("later", &format!("dsn=4.2.1, status=deferred {}", said("450 4.2.1 later"))),
            lines[4].clone(),
            "postfix/bounce: QID: sender non-delivery notification: QID".to_owned(),
            lines[6].clone(),
            "postfix/discard: QID: to=<s@back.example>, relay=none, delay=D, delays=D, dsn=2.0.0, status=sent (gone)"
                .to_owned(),
            "postfix/qmgr: QID: removed".to_owned(),
        ]
    );
    assert!(lines[4].starts_with("postfix/cleanup: QID: message-id=<"), "{}", lines[4]);
    assert!(lines[6].starts_with("postfix/qmgr: QID: from=<>, size="), "{}", lines[6]);
    lab.handle.drain(std::time::Duration::from_secs(5));
    assert_eq!(lab.spool.queue_ids(), [id]);
    let left = lab.spool.message(id).unwrap();
    let states: Vec<RecipientState> = left.envelope.recipients.iter().map(|r| r.state).collect();
    assert_eq!(states, [RecipientState::Done, RecipientState::Done, RecipientState::Pending]);
    assert_eq!(left.envelope.recipients[2].attempts, 1);
}

#[test]
fn a_dead_destination_is_left_alone_and_flushed() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lab = Lab::new(vec![("a.example", format!("smtp:[127.0.0.1]:{port}"))], "");
    let refused = format!("connect to 127.0.0.1[127.0.0.1]:{port}: Connection refused");
    lab.send("s@example.org", &["x@a.example"]);
    let lines = lab.until("Connection refused)");
    assert_eq!(lines[1], format!("postfix/smtp: {refused}"));
    let deferred = "relay=none, delay=D, delays=D, dsn=4.4.1, status=deferred";
    assert_eq!(lines[2], format!("postfix/smtp: QID: to=<x@a.example>, {deferred} ({refused})"));
    lab.send("s@example.org", &["y@a.example"]);
    let lines = lab.until("Connection refused)");
    let suspended = format!("delivery temporarily suspended: {refused}");
    assert_eq!(lines[1], format!("postfix/error: QID: to=<y@a.example>, {deferred} ({suspended})"));
    lab.handle.flush();
    lab.until(&format!("({refused})"));
}

#[test]
fn mail_too_old_is_given_up() {
    let lab =
        Lab::new(vec![("t.example", "retry:4.3.2 try later".into()), ("back.example", "discard:gone".into())], "");
    let mut message = lab.message("s@back.example", &["x@t.example"]);
    Arc::make_mut(&mut message.envelope).arrival -= 6 * 86_400 * SECOND;
    lab.spool.submit_and_wait(message.clone()).unwrap();
    lab.handle.enqueue(message);
    let lines = lab.until(": removed");
    assert!(lines[1].ends_with("dsn=4.3.2, status=deferred (try later)"), "{}", lines[1]);
    assert_eq!(lines[2], "postfix/qmgr: QID: from=<s@back.example>, status=expired, returned to sender");
    assert_eq!(lines[4], "postfix/bounce: QID: sender non-delivery notification: QID");
}

#[test]
fn a_bounce_that_cannot_be_delivered_ends_there() {
    let lab = Lab::new(vec![("e.example", "error:5.1.2 this domain is gone".into())], "");
    lab.send("", &["x@e.example"]);
    let lines = lab.until(": removed");
    let gone = "relay=none, delay=D, delays=D, dsn=5.1.2, status=bounced (this domain is gone)";
    assert_eq!(lines[1], format!("postfix/error: QID: to=<x@e.example>, {gone}"));
    assert_eq!(lines.len(), 3);
}

#[test]
fn unknown_ways_defer() {
    let lab = Lab::new(vec![("p.example", "uucp:x".into())], "");
    lab.send("s@example.org", &["x@p.example"]);
    lab.until("status=deferred (mail transport unavailable)");
    lab.send("s@example.org", &["x@unrouted.example"]);
    lab.until("status=deferred (address resolver failure)");
}

#[test]
fn local_mail_lands_in_a_maildir() {
    let lab = Lab::new(vec![("h.example", "local:h.example".into())], "recipient_delimiter = +\n");
    lab.send("s@example.org", &["User+x@h.example"]);
    let lines = lab.until(": removed");
    let sent = "relay=local, delay=D, delays=D, dsn=2.0.0, status=sent (delivered to maildir)";
    assert_eq!(lines[1], format!("postfix/local: QID: to=<User+x@h.example>, {sent}"));
    let new = lab.dir.path().join("Maildir/user/new");
    assert_eq!(std::fs::read_dir(new).unwrap().count(), 1);
}

#[test]
fn one_connection_serves_what_waits() {
    let (port, told) = server(&[]);
    let main_cf = "initial_destination_concurrency = 1\ndefault_destination_concurrency_limit = 1\n";
    let lab = Lab::new(vec![("a.example", format!("smtp:[127.0.0.1]:{port}"))], main_cf);
    let messages: Vec<Message> = (0..20).map(|_| lab.message("s@example.org", &["x@a.example"])).collect();
    for message in &messages {
        lab.spool.submit_and_wait(message.clone()).unwrap();
    }
    for message in messages {
        lab.handle.enqueue(message);
    }
    let mut lines = Vec::new();
    while lines.iter().filter(|l: &&String| l.ends_with(": removed")).count() < 20 {
        lines.extend(lab.until(": removed"));
    }
    assert!(lines.iter().any(|l| l.contains(", conn_use=2, ")), "{lines:#?}");
    assert!(lab.handle.drain(std::time::Duration::from_secs(5)));
    let greetings = told.try_iter().filter(|l| l.starts_with("EHLO")).count();
    assert!(greetings < 10, "{greetings} connections for 20 messages");
}

#[test]
fn what_the_last_run_left_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let path: &Path = &dir.path().join("spool");
    let (spool, _) = Spool::open(path, SpoolOptions::default()).unwrap();
    let mut envelope = Envelope::new("ABCDEF".parse().unwrap(), now(), "s@back.example");
    let mut recipient = Recipient::new("x@a.example");
    recipient.state = RecipientState::Failed;
    recipient.status = Some(Box::new(Outcome::bounced("5.1.1", "no", "none").delivery_status()));
    envelope.recipients = vec![recipient];
    let content = Content::Memory(b"Subject: test\n\nbody\n".as_slice().into());
    spool.submit_and_wait(Message { envelope: Arc::new(envelope), content }).unwrap();
    drop(spool);
    let (spool, recovery) = Spool::open(path, SpoolOptions::default()).unwrap();
    let lab = Lab::with(vec![("back.example", "discard:gone".into())], "", dir, spool);
    for message in recovery.messages {
        lab.handle.enqueue(message);
    }
    let lines = lab.until(": removed");
    assert_eq!(lines[2], "postfix/bounce: QID: sender non-delivery notification: QID");
}

#[test]
fn a_refused_recipient_does_not_take_others_with_it() {
    let (port, _told) = server(&[("RCPT TO:<bad", "550 5.1.1 no"), ("RCPT TO:<later", "450 4.2.1 later")]);
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let main_cf = format!("smtp_fallback_relay = [127.0.0.1]:{dead}\n");
    let lab = Lab::new(vec![("a.example", format!("smtp:[127.0.0.1]:{port}"))], &main_cf);
    lab.send("", &["later@a.example", "bad@a.example"]);
    let lines = lab.until("no (in reply to RCPT TO command))");
    let said = "host 127.0.0.1[127.0.0.1] said: 450 4.2.1 later (in reply to RCPT TO command)";
    assert!(lines.contains(&format!("postfix/smtp: QID: {said}")), "{lines:#?}");
    let refused = format!("connect to 127.0.0.1[127.0.0.1]:{dead}: Connection refused");
    let deferred = "relay=none, delay=D, delays=D, dsn=4.4.1, status=deferred";
    assert!(lines.contains(&format!("postfix/smtp: QID: to=<later@a.example>, {deferred} ({refused})")), "{lines:#?}");
}

#[test]
fn soft_bounce_of_a_delivery_service() {
    let (port, _told) = server(&[("RCPT TO:<bad", "550 5.1.1 no such user")]);
    let lab = Lab::new(vec![("a.example", format!("soft:[127.0.0.1]:{port}"))], "");
    lab.send("s@back.example", &["bad@a.example"]);
    let lines = lab.until("(in reply to RCPT TO command))");
    assert!(lines[1].contains("dsn=5.1.1, status=SOFTBOUNCE (host"), "{lines:#?}");
}

#[test]
fn replies_to_our_reports_are_discarded() {
    let lab = Lab::new(vec![("h.example", "local:h.example".into())], "");
    lab.send("", &["Double-Bounce@h.example"]);
    let lines = lab.until(": removed");
    let sent =
        "relay=none, delay=D, delays=D, dsn=2.0.0, status=sent (undeliverable postmaster notification discarded)";
    assert_eq!(lines[1], format!("postfix/qmgr: QID: to=<Double-Bounce@h.example>, {sent}"));
    lab.send("", &["double-bounce+x@h.example"]);
    let lines = lab.until(": removed");
    assert!(lines[1].ends_with("status=sent (delivered to maildir)"), "{lines:#?}");
}
