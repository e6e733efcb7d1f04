//! Messages in memory and in files of the spool, changed to be smaller and larger.

use super::*;
use queue::{ContentSource, Envelope, Message, Recipient, SpoolOptions};
use std::path::Path;
use std::sync::Arc;

const HEADER: &str = "Received: ours\nSubject: one\n";

fn id() -> QueueId {
    QueueId::new(false, 1, 1)
}

fn spool() -> (tempfile::TempDir, Spool) {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(dir.path(), SpoolOptions::default()).unwrap();
    (dir, spool)
}

/// Content as a session leaves it: what is large is in a file.
fn content(spool: &Spool, text: &str) -> Content {
    if text.len() <= INLINE_LIMIT {
        return Content::Memory(text.as_bytes().into());
    }
    let mut writer = spool.large_writer(id()).unwrap();
    text.as_bytes().chunks(1000).for_each(|piece| writer.write(piece).unwrap());
    writer.seal().unwrap()
}

fn draft(spool: &Spool, text: &str) -> Draft {
    Draft::open(spool, id(), content(spool, text)).unwrap_or_else(|_| panic!("readable"))
}

fn text_of(content: &Content) -> String {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match read(content, &mut piece, text.len() as u64).unwrap() {
            0 => break String::from_utf8(text).unwrap(),
            length => text.extend_from_slice(&piece[..length]),
        }
    }
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("large")).map_or(0, |files| files.count())
}

fn lines(bytes: usize) -> String {
    (0..bytes / 10).map(|number| format!("{number:09}\n")).collect()
}

fn replace(draft: &mut Draft, body: &str) {
    let mut new = draft.begin_body(0);
    let wire = body.replace('\n', "\r\n");
    assert!(new.push(b"").unwrap());
    wire.as_bytes().chunks(65_535).for_each(|piece| assert!(new.push(piece).unwrap()));
    draft.set_body(new).unwrap();
}

fn composed(name: &str, value: &str) -> Vec<u8> {
    HeaderSection::compose(name.as_bytes(), value.as_bytes(), false).unwrap()
}

#[test]
fn any_size_becomes_any_other() {
    let sizes = [0, 500, INLINE_LIMIT - HEADER.len(), 2 * INLINE_LIMIT, 5 * INLINE_LIMIT];
    for before in sizes {
        for after in [None, Some(0), Some(10), Some(500), Some(3 * INLINE_LIMIT), Some(5 * INLINE_LIMIT)] {
            let (dir, spool) = spool();
            let old = lines(before);
            let separator = if old.is_empty() { "" } else { "\n" };
            let mut draft = draft(&spool, &format!("{HEADER}{separator}{old}"));
            draft.headers.insert(0, composed("X-Top", "top"));
            let subject = draft.headers.find(1, b"Subject").unwrap();
            draft.headers.replace(subject, Some(composed("Subject", "two\r\n\tlines")));
            draft.headers.insert(usize::MAX, composed("X-Last", "last"));
            let body = after.map_or(old, |size| {
                let body = lines(size);
                // one that another filter replaces again is of no account
                replace(&mut draft, "short-lived\n");
                replace(&mut draft, &lines(4 * INLINE_LIMIT));
                replace(&mut draft, &body);
                body
            });
            let separator = if body.is_empty() { "" } else { "\n" };
            let want = format!("X-Top: top\nReceived: ours\nSubject: two\n\tlines\nX-Last: last\n{separator}{body}");
            let content = draft.finish().unwrap_or_else(|error| panic!("{error}"));
            assert!(text_of(&content) == want, "{before} to {after:?}");
            let is_large = want.len() > INLINE_LIMIT;
            assert_eq!(matches!(content, Content::Large(_)), is_large, "{before} to {after:?}");
            assert_eq!(files(dir.path()), usize::from(is_large), "{before} to {after:?}");
            // and the spool takes it
            let mut envelope = Envelope::new(id(), 1, "a@example.org");
            envelope.recipients.push(Recipient::new("u@example.com"));
            spool.submit_and_wait(Message { envelope: Arc::new(envelope), content }).unwrap();
            drop(spool);
            let (spool, found) = Spool::open(dir.path(), SpoolOptions::default()).unwrap();
            assert_eq!(found.messages.len(), 1, "{before} to {after:?}");
            let stored = match spool.content(id()).unwrap() {
                ContentSource::Memory(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                ContentSource::File(mut file, _) => std::io::read_to_string(&mut file).unwrap(),
            };
            assert!(stored == want, "{before} to {after:?}: {} bytes", stored.len());
        }
    }
}

#[test]
fn what_nobody_changes_stays_where_it_is() {
    for size in [500, 3 * INLINE_LIMIT] {
        let (dir, spool) = spool();
        let text = format!("{HEADER}\n{}", lines(size));
        let mut draft = draft(&spool, &text);
        let unused = draft.begin_body(0);
        draft.set_body(unused).unwrap();
        let large = files(dir.path());
        let content = draft.finish().unwrap();
        assert!(text_of(&content) == text);
        assert_eq!(files(dir.path()), large);
    }
}

#[test]
fn what_is_refused_leaves_nothing() {
    let (dir, spool) = spool();
    let mut draft = draft(&spool, &format!("{HEADER}\n{}", lines(3 * INLINE_LIMIT)));
    replace(&mut draft, &lines(3 * INLINE_LIMIT));
    let mut unfinished = draft.begin_body(0);
    assert!(unfinished.push(&vec![b'x'; 2 * INLINE_LIMIT]).unwrap());
    assert_eq!(files(dir.path()), 3);
    drop(unfinished);
    drop(draft);
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn where_the_body_begins() {
    let long = format!("X-Long: {}\n", "x".repeat(3 * INLINE_LIMIT));
    for (text, headers, body) in [
        ("A: b\n\nbody\n", 1, "body\n"),
        ("A: b\n", 1, ""),
        ("A: b\n\n", 1, ""),
        ("\nbody\n", 0, "body\n"),
        ("no header\n", 0, "no header\n"),
        ("A: b\n\n\nafter an empty line\n", 1, "\nafter an empty line\n"),
        (&format!("{long} more\nB: c\n\nbody\n"), 2, "body\n"),
        ("", 0, ""),
    ] {
        let (_dir, spool) = spool();
        let draft = draft(&spool, text);
        let mut buffer = [0; 64];
        let length = draft.read_body(&mut buffer, 0).unwrap();
        let shown = &text[..text.len().min(40)];
        assert_eq!(draft.headers.len(), headers, "{shown:?}");
        assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), body, "{shown:?}");
        assert_eq!(draft.read_body(&mut buffer, body.len() as u64).unwrap(), 0, "{shown:?}");
    }
    let (_dir, spool) = spool();
    let endless = format!("X-Long: {}\n\nbody\n", "x".repeat(HEADERS_LIMIT + INLINE_LIMIT));
    let opened = Draft::open(&spool, id(), content(&spool, &endless));
    assert!(matches!(opened, Err(Unreadable::HeaderTooLong)));
}

#[test]
fn line_ends_of_new_bodies() {
    for (pieces, want) in [
        (&["a\r\nb\r\n"][..], "a\nb\n"),
        (&["a\r", "\nb\r", "\n"], "a\nb\n"),
        (&["a"], "a\n"),
        (&["a\r"], "a\r\n"),
        (&["a\r\rb\r\r\n"], "a\r\rb\r\n"),
        (&["a\nb\n"], "a\nb\n"),
        (&["", "\r\n", ""], "\n"),
        (&[""], ""),
    ] {
        let (_dir, spool) = spool();
        let mut draft = draft(&spool, &format!("{HEADER}\nold\n"));
        let mut body = draft.begin_body(0);
        pieces.iter().for_each(|piece| assert!(body.push(piece.as_bytes()).unwrap()));
        draft.set_body(body).unwrap();
        let separator = if want.is_empty() { "" } else { "\n" };
        assert_eq!(text_of(&draft.finish().unwrap()), format!("{HEADER}{separator}{want}"), "{pieces:?}");
    }
}

#[test]
fn new_bodies_have_a_limit() {
    let (_dir, spool) = spool();
    let mut draft = draft(&spool, HEADER);
    let mut body = draft.begin_body(5);
    assert!(body.push(b"abc").unwrap());
    assert!(body.push(b"de").unwrap());
    assert!(!body.push(b"f").unwrap());
}
