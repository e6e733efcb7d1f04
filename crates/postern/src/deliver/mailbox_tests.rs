use super::*;
use queue::{Envelope, Message};
use std::sync::Arc;

fn settings(directory: &Path, maildir: bool) -> LocalSettings {
    LocalSettings {
        mail_spool_directory: directory.to_owned(),
        spool_is_maildir: maildir,
        home_mailbox: String::new(),
        recipient_delimiter: "+".into(),
        myhostname: "mail.example.com".into(),
        size_limit: 0,
    }
}

#[test]
fn no_address_leads_out_of_its_directory() {
    let settings = settings(Path::new("/spool"), true);
    let user = |user: &str| match local_mailbox(&settings, user) {
        Some(Mailbox::Maildir(path)) => path.display().to_string(),
        Some(Mailbox::File(_)) => panic!("{user}: a file"),
        None => "none".into(),
    };
    for (name, want) in [
        ("user", "/spool/user"),
        ("User+ext", "/spool/user"),
        ("+x", "/spool/+x"),
        ("owner-a+b", "/spool/owner-a+b"),
        ("a b", "/spool/a b"),
        ("..", "none"),
        (".", "none"),
        ("../x", "none"),
        ("a/b", "none"),
        ("", "none"),
        (".hidden", "none"),
        ("a\0b", "none"),
        ("a\nb", "none"),
    ] {
        assert_eq!(user(name), want, "{name:?}");
    }
    for (path, want) in [
        ("virt/u/", Some("/base/virt/u")),
        ("/abs", Some("/base/abs")),
        ("../u", None),
        ("a/../../u", None),
        ("", None),
        ("/", None),
        ("a\nb", None),
    ] {
        assert_eq!(below(Path::new("/base"), path).as_deref(), want.map(Path::new), "{path:?}");
    }
}

fn delivery(content: &[u8]) -> Delivery {
    let mut envelope = Envelope::new("8323399E0DF".parse().unwrap(), 0, "s@example.org");
    let mut recipient = Recipient::new("u@example.com");
    recipient.orig_to = Some("alias@example.com".into());
    envelope.recipients = vec![recipient.clone()];
    let message = Message { envelope: Arc::new(envelope), content: Content::Memory(content.into()) };
    let transport = super::super::config::Transport {
        tag: String::new(),
        concurrency_limit: 0,
        recipient_limit: 1,
        soft_bounce: false,
        agent: super::super::config::Agent::Discard,
    };
    let request = Request {
        is_probe: false,
        id: message.envelope.queue_id,
        message,
        transport: Arc::new(transport),
        nexthop: String::new(),
        destination: "local:u".into(),
        recipients: vec![(0, "u@example.com".into())],
        active: 0,
    };
    Delivery { request, recipient, relay: "local", myhostname: "mail.example.com".into(), size_limit: 0 }
}

fn store(delivery: &Delivery, mailbox: &Mailbox) -> (Outcome, Option<String>) {
    let Content::Memory(bytes) = delivery.request.message.content.clone() else { panic!("not in memory") };
    write(delivery, mailbox, ContentSource::Memory(bytes))
}

const CONTENT: &[u8] = b"Subject: x\n\nFrom here\n>From there\n>>From afar\nFromage\nend";

#[test]
fn a_maildir_is_made_and_filled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("user");
    let (outcome, warning) = store(&delivery(CONTENT), &Mailbox::Maildir(path.clone()));
    assert_eq!((outcome.reason.as_str(), warning), ("delivered to maildir", None));
    let files: Vec<_> = fs::read_dir(path.join("new")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(fs::read_dir(path.join("tmp")).unwrap().count(), 0);
    let want = [
        b"Return-Path: <s@example.org>\nX-Original-To: alias@example.com\nDelivered-To: u@example.com\n".as_slice(),
        CONTENT,
    ]
    .concat();
    assert_eq!(fs::read(&files[0]).unwrap(), want);
}

#[test]
fn a_mailbox_file_is_appended_to_in_mbox_form() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("user");
    let mut first = delivery(CONTENT);
    let mailbox = Mailbox::File(path.clone());
    assert_eq!(store(&first, &mailbox).0.reason, "delivered to mailbox");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("From s@example.org  "), "{text}");
    assert!(text.ends_with("\n\n>From here\n>>From there\n>>>From afar\nFromage\nend\n\n"), "{text}");
    assert!(!dir.path().join("user.lock").exists());
    let length = text.len() as u64;
    first.size_limit = length;
    Arc::make_mut(&mut first.request.message.envelope).size = 1;
    let (outcome, _) = store(&first, &mailbox);
    assert_eq!(outcome.dsn, "5.2.2");
    assert_eq!(fs::metadata(&path).unwrap().len(), length);
    std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
    let (outcome, _) = store(&first, &Mailbox::File(dir.path().join("link")));
    assert_eq!(outcome.dsn, "4.2.0");
}

#[test]
fn mail_that_was_here_before_is_a_loop() {
    let dir = tempfile::tempdir().unwrap();
    let looped = delivery(b"delivered-to:  U@example.com\nSubject: x\n\nbody\n");
    let (outcome, _) = store(&looped, &Mailbox::Maildir(dir.path().join("u")));
    assert_eq!((outcome.dsn.as_str(), outcome.reason.as_str()), ("5.4.6", "mail forwarding loop for u@example.com"));
    let fine = delivery(b"Subject: x\n\nDelivered-To: u@example.com\n");
    assert_eq!(store(&fine, &Mailbox::Maildir(dir.path().join("u"))).0.dsn, "2.0.0");
}

#[test]
fn an_unwritable_maildir_defers() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let (outcome, warning) = store(&delivery(b"x\n"), &Mailbox::Maildir(file));
    assert_eq!((outcome.dsn.as_str(), outcome.status), ("4.2.0", super::super::outcome::Status::Deferred));
    assert!(outcome.reason.ends_with(": Not a directory"), "{}", outcome.reason);
    assert!(warning.is_some());
}
