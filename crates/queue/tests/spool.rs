//! The spool's promise, put to the test: what was acknowledged survives, what was finished stays away, and what was
//! refused leaves no trace.

use queue::{
    Content, ContentSource, DeliveryStatus, Envelope, Fault, FaultHook, FileOperation, INLINE_LIMIT, Message, QueueId,
    Recipient, RecipientState, RecipientUpdate, Recovery, Spool, SpoolError, SpoolOptions,
};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

fn options() -> SpoolOptions {
    SpoolOptions { segment_size: 1 << 20, spares: 0, ..SpoolOptions::default() }
}

fn id(n: u32) -> QueueId {
    QueueId::new(false, i64::from(n), n)
}

fn envelope(n: u32) -> Envelope {
    let mut envelope = Envelope::new(id(n), i64::from(n), format!("s{n}@example.org"));
    envelope.recipients = vec![Recipient::new("a@example.com"), Recipient::new("b@example.com")];
    envelope
}

fn text(n: u32, len: usize) -> Arc<[u8]> {
    format!("Subject: {n}\n\n").bytes().chain((0..len).map(|i| b'a' + (i % 26) as u8)).collect()
}

fn message(n: u32, len: usize) -> Message {
    Message { envelope: Arc::new(envelope(n)), content: Content::Memory(text(n, len)) }
}

fn open(dir: &Path) -> (Spool, Recovery) {
    Spool::open(dir, options()).unwrap()
}

fn ids(recovery: &Recovery) -> Vec<QueueId> {
    recovery.messages.iter().map(|m| m.envelope.queue_id).collect()
}

fn content(spool: &Spool, n: u32) -> Vec<u8> {
    match spool.content(id(n)).unwrap() {
        ContentSource::Memory(bytes) => bytes.to_vec(),
        ContentSource::File(mut file, len) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, len);
            bytes
        }
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir.join("journal"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "seg"))
        .collect();
    found.sort();
    found
}

/// What a crash leaves: the files as they are, without the process having a say.
fn snapshot(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for sub in ["journal", "large"] {
        fs::create_dir(copy.path().join(sub)).unwrap();
        for entry in fs::read_dir(dir.join(sub)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(sub).join(entry.file_name())).unwrap();
        }
    }
    copy
}

#[test]
fn what_was_acknowledged_survives_with_all_its_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, found) = open(dir.path());
    assert!(found.messages.is_empty());
    for n in 1..=5 {
        spool.submit_and_wait(message(n, 100)).unwrap();
    }
    let status = Some(Box::new(DeliveryStatus {
        dsn: "4.4.1".into(),
        reason: "connect to mx[192.0.2.1]:25: Connection refused".into(),
        ..DeliveryStatus::default()
    }));
    let change = RecipientUpdate { index: 1, state: RecipientState::Pending, attempts: 2, next_attempt: 99, status };
    spool.update(id(2), vec![change.clone()]).unwrap();
    spool.set_hold(id(3), true).unwrap();
    spool.finish(id(4)).unwrap();
    assert!(matches!(spool.finish(id(4)), Err(SpoolError::UnknownId(_))));
    drop(spool);

    let (spool, found) = open(dir.path());
    assert_eq!(ids(&found), [1, 2, 3, 5].map(id));
    assert_eq!(found.problems, Vec::<String>::new());
    let mut want = envelope(2);
    (want.recipients[1].attempts, want.recipients[1].next_attempt) = (2, 99);
    want.recipients[1].status = change.status;
    assert_eq!(*found.messages[1].envelope, want);
    assert!(found.messages[2].envelope.hold);
    for n in [1, 2, 3, 5] {
        assert_eq!(content(&spool, n), *text(n, 100));
    }
}

#[test]
fn a_second_instance_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let error = Spool::open(dir.path(), options()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), format!("spool {} is in use by another process", dir.path().display()));
    drop(spool);
    open(dir.path());
}

#[test]
fn an_unwritable_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Spool::open(&file.join("spool"), options()), Err(SpoolError::Io { .. })));
    let fault: FaultHook = Arc::new(|operation, _| {
        (operation == FileOperation::Create).then_some(Fault::Error(ErrorKind::PermissionDenied))
    });
    let refused = Spool::open(dir.path(), SpoolOptions { fault: Some(fault), ..options() }).map(|_| ()).unwrap_err();
    assert!(refused.to_string().starts_with("create "), "{refused}");
}

/// Three messages, the segment they stand in, and where it is used up to.
fn three() -> (tempfile::TempDir, PathBuf, Vec<u8>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    for n in 1..=3 {
        spool.submit_and_wait(message(n, 30)).unwrap();
    }
    drop(spool);
    let path = segments(dir.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    (dir, path, bytes, used)
}

#[test]
fn a_journal_cut_at_any_byte_keeps_what_is_whole() {
    let (dir, path, bytes, used) = three();
    let mut kept = Vec::new();
    for cut in 0..=used {
        for rest in [0, 0xa5] {
            for other in segments(dir.path()) {
                fs::remove_file(other).unwrap();
            }
            let mut torn = bytes[..cut].to_vec();
            torn.resize(used + 64, rest);
            fs::write(&path, &torn).unwrap();
            let (spool, found) = open(dir.path());
            assert_eq!(found.problems, Vec::<String>::new(), "a torn tail is nothing to report");
            for m in &found.messages {
                let n = m.envelope.arrival as u32;
                assert_eq!(*m.envelope, envelope(n));
                assert_eq!(content(&spool, n), *text(n, 30));
            }
            kept.push(found.messages.len());
        }
    }
    assert!(kept.is_sorted(), "a longer journal never holds less");
    assert_eq!((kept[0], kept.last()), (0, Some(&3)));
}

#[test]
fn damage_in_the_middle_costs_only_what_it_hits() {
    let (dir, path, bytes, used) = three();
    for at in 0..used {
        for other in segments(dir.path()) {
            fs::remove_file(other).unwrap();
        }
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        fs::write(&path, &damaged).unwrap();
        let (_, found) = open(dir.path());
        assert!(found.messages.len() >= 2, "byte {at}");
        let reported = found.problems.len();
        let hit = 3 - found.messages.len();
        assert!(reported <= hit, "byte {at}: {:?}", found.problems);
        if hit == 1 && found.messages.iter().any(|m| m.envelope.queue_id == id(3)) {
            assert!(found.problems[0].contains("damaged bytes at offset"), "{:?}", found.problems);
        }
    }
}

#[test]
fn no_content_passes_for_a_record() {
    let (dir, _, bytes, used) = three();
    drop(dir);
    // Content that is a journal of another life, behind a damaged record.
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let forged = Content::Memory(Arc::from(&bytes[..used]));
    spool.submit_and_wait(Message { envelope: Arc::new(envelope(7)), content: forged }).unwrap();
    drop(spool);
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[30] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(open(dir.path()).1.messages.len(), 0);
}

/// A hook that fails as told, and is quiet otherwise.
#[derive(Clone, Default)]
struct Failing(Arc<Mutex<Option<(FileOperation, Fault)>>>);

impl Failing {
    fn hook(&self) -> FaultHook {
        let own = self.clone();
        Arc::new(move |operation, _| {
            let wanted = *own.0.lock().unwrap();
            let same = |w: FileOperation| std::mem::discriminant(&w) == std::mem::discriminant(&operation);
            wanted.filter(|(w, _)| same(*w)).map(|(_, fault)| fault)
        })
    }

    fn set(&self, fault: Option<(FileOperation, Fault)>) {
        *self.0.lock().unwrap() = fault;
    }
}

#[test]
fn a_refused_message_leaves_no_trace_and_the_journal_goes_on() {
    let full = Fault::Error(ErrorKind::StorageFull);
    let mut cases = vec![(FileOperation::Sync, Fault::Error(ErrorKind::Other)), (FileOperation::Write(0), full)];
    cases.extend((0..600).step_by(7).map(|keep| (FileOperation::Write(0), Fault::ShortWrite(keep))));
    for (operation, fault) in cases {
        let dir = tempfile::tempdir().unwrap();
        let failing = Failing::default();
        let options = SpoolOptions { fault: Some(failing.hook()), ..options() };
        let (spool, _) = Spool::open(dir.path(), options).unwrap();
        spool.submit_and_wait(message(1, 100)).unwrap();
        failing.set(Some((operation, fault)));
        let error = spool.submit_and_wait(message(2, 100)).unwrap_err();
        if operation != FileOperation::Sync {
            assert!(matches!(error, SpoolError::NoSpace), "{error}");
        }
        assert!(spool.message(id(2)).is_none());
        spool.finish(id(1)).unwrap();
        failing.set(None);
        spool.submit_and_wait(message(3, 100)).unwrap();
        spool.submit_and_wait(message(2, 50)).unwrap();
        spool.finish(id(2)).unwrap();
        spool.sync().unwrap();
        let crashed = snapshot(dir.path());
        let (_, found) = open(crashed.path());
        assert_eq!(ids(&found), [id(3)], "{operation:?} {fault:?}");
    }
}

#[test]
fn a_full_disk_still_lets_mail_leave() {
    let dir = tempfile::tempdir().unwrap();
    let failing = Failing::default();
    let options = SpoolOptions { segment_size: 200_000, fault: Some(failing.hook()), ..options() };
    let (spool, _) = Spool::open(dir.path(), options).unwrap();
    failing.set(Some((FileOperation::Create, Fault::Error(ErrorKind::StorageFull))));
    let mut stored = 0;
    while spool.submit_and_wait(message(stored + 1, 5000)).is_ok() {
        stored += 1;
    }
    assert!(stored > 20, "{stored}");
    for n in 1..=stored {
        spool.finish(id(n)).unwrap();
    }
    spool.sync().unwrap();
    let crashed = snapshot(dir.path());
    assert_eq!(open(crashed.path()).1.messages.len(), 0);
    assert!(matches!(spool.submit_and_wait(message(900, 5000)), Err(SpoolError::NoSpace)));
    failing.set(None);
    spool.submit_and_wait(message(901, 5000)).unwrap();
    assert_eq!(spool.queue_ids(), [id(901)]);
}

#[test]
fn only_what_was_synced_counts() {
    // Power fails after the last sync that was reported: what was written since is gone.
    let dir = tempfile::tempdir().unwrap();
    let synced = Arc::new(Mutex::new(0u64));
    let written = Arc::new(Mutex::new(0u64));
    let fault: FaultHook = {
        let (synced, written) = (synced.clone(), written.clone());
        Arc::new(move |operation, path: &Path| {
            if path.extension().is_some_and(|e| e == "seg") {
                match operation {
                    FileOperation::Write(n) => *written.lock().unwrap() += n as u64,
                    FileOperation::Sync => *synced.lock().unwrap() = *written.lock().unwrap(),
                    _ => {}
                }
            }
            None
        })
    };
    let (spool, _) = Spool::open(dir.path(), SpoolOptions { fault: Some(fault), ..options() }).unwrap();
    for n in 1..=20 {
        spool.submit_and_wait(message(n, 200)).unwrap();
        if n % 3 == 0 {
            spool.finish(id(n - 1)).unwrap();
        }
        let crashed = snapshot(dir.path());
        let path = segments(crashed.path()).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        bytes[*synced.lock().unwrap() as usize..].fill(0);
        fs::write(&path, bytes).unwrap();
        let found = ids(&open(crashed.path()).1);
        for kept in spool.queue_ids() {
            assert!(found.contains(&kept), "after {n}: {kept} is lost");
        }
    }
}

#[test]
fn a_lasting_message_does_not_pin_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let small = SpoolOptions { segment_size: 64 * 1024, ..options() };
    let (spool, _) = Spool::open(dir.path(), small.clone()).unwrap();
    for n in [1, 2, 3] {
        spool.submit_and_wait(message(n, 700)).unwrap();
    }
    let change = RecipientUpdate { index: 0, state: RecipientState::Done, attempts: 1, next_attempt: 0, status: None };
    spool.update(id(2), vec![change]).unwrap();
    let mut most = 0;
    for n in 10..400 {
        spool.submit_and_wait(message(n, 3000)).unwrap();
        spool.finish(id(n)).unwrap();
        most = most.max(segments(dir.path()).len());
        if n % 50 == 0 {
            let crashed = snapshot(dir.path());
            let (copy, found) = Spool::open(crashed.path(), small.clone()).unwrap();
            let kept: Vec<QueueId> = ids(&found).into_iter().filter(|i| *i <= id(3)).collect();
            assert_eq!(kept.len(), 3, "after {n}");
            assert!(found.messages.len() <= 4, "only the last one's end may be missing");
            assert_eq!(content(&copy, 1), *text(1, 700));
        }
    }
    assert!(most < 8, "{most} segments at once");
    spool.finish(id(1)).unwrap();
    drop(spool);
    let (spool, found) = Spool::open(dir.path(), small).unwrap();
    assert_eq!(ids(&found), [id(2), id(3)]);
    assert_eq!(found.messages[0].envelope.recipients[0].state, RecipientState::Done);
    assert_eq!(content(&spool, 3), *text(3, 700));
}

#[test]
fn large_content_gets_a_head_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    for (number, length, head) in [(1, 300_000, 700), (2, 65_536, 1), (3, 10, 70_000), (4, 200_000, 0)] {
        let (big, head) = (text(number, length), text(9, head));
        let mut writer = spool.large_writer(id(number)).unwrap();
        writer.write(&big).unwrap();
        writer.prepend(&head).unwrap();
        writer.write(b"tail").unwrap();
        assert_eq!(writer.len(), (head.len() + big.len() + 4) as u64);
        let stored = Message { envelope: Arc::new(envelope(number)), content: writer.seal().unwrap() };
        spool.submit_and_wait(stored).unwrap();
        assert!(content(&spool, number) == [&head[..], &big, b"tail"].concat(), "{number}");
    }
}

#[test]
fn large_content_has_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let big = text(1, 300_000);
    assert!(matches!(spool.submit_and_wait(message(1, INLINE_LIMIT)), Err(SpoolError::TooLarge)));
    let mut writer = spool.large_writer(id(1)).unwrap();
    for piece in big.chunks(1000) {
        writer.write(piece).unwrap();
    }
    let stored = Message { envelope: Arc::new(envelope(1)), content: writer.seal().unwrap() };
    spool.submit_and_wait(stored).unwrap();
    let path = dir.path().join("large").join(id(1).as_str());
    assert_eq!(content(&spool, 1), *big);

    let mut dropped = spool.large_writer(id(2)).unwrap();
    dropped.write(b"half of it").unwrap();
    let crashed = snapshot(dir.path());
    drop(dropped);
    assert_eq!(fs::read_dir(dir.path().join("large")).unwrap().count(), 1);
    let (copy, found) = open(crashed.path());
    assert_eq!(ids(&found), [id(1)]);
    assert_eq!(content(&copy, 1), *big);
    assert_eq!(fs::read_dir(crashed.path().join("large")).unwrap().count(), 1, "no file without its message");

    drop(spool);
    assert!(path.exists());
    let (spool, found) = open(dir.path());
    drop(found);
    spool.finish(id(1)).unwrap();
    spool.sync().unwrap();
    assert!(!path.exists());
}

#[test]
fn an_id_in_use_is_refused_and_free_again_later() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    spool.submit_and_wait(message(1, 10)).unwrap();
    assert!(matches!(spool.submit_and_wait(message(1, 20)), Err(SpoolError::DuplicateId(_))));
    assert_eq!(content(&spool, 1), *text(1, 10));
    spool.finish(id(1)).unwrap();
    spool.submit_and_wait(message(1, 20)).unwrap();
    drop(spool);
    let (spool, found) = open(dir.path());
    assert_eq!(found.messages.len(), 1);
    assert_eq!(content(&spool, 1), *text(1, 20));
}

#[test]
fn what_waits_is_synced_once() {
    let dir = tempfile::tempdir().unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(AtomicBool::new(true));
    let (entered, wait) = mpsc::channel();
    let fault: FaultHook = {
        let (syncs, gate) = (syncs.clone(), gate.clone());
        Arc::new(move |operation, path: &Path| {
            if operation == FileOperation::Sync && path.extension().is_some_and(|e| e == "seg") {
                syncs.fetch_add(1, Ordering::SeqCst);
                let _ = entered.send(());
                while gate.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            }
            None
        })
    };
    let (spool, _) = Spool::open(dir.path(), SpoolOptions { fault: Some(fault), ..options() }).unwrap();
    let (sender, done) = mpsc::channel();
    for n in 1..=100 {
        let sender = sender.clone();
        spool.submit(message(n, 500), Box::new(move |result| sender.send((n, result.is_ok())).unwrap()));
        if n == 1 {
            wait.recv().unwrap();
        }
    }
    assert!(done.try_recv().is_err(), "nothing is acknowledged before the sync");
    gate.store(false, Ordering::SeqCst);
    let told: Vec<(u32, bool)> = done.iter().take(100).collect();
    assert_eq!(told, (1..=100).map(|n| (n, true)).collect::<Vec<_>>());
    assert_eq!(syncs.load(Ordering::SeqCst), 2);
}

#[test]
fn segments_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let with_spares = SpoolOptions { segment_size: 64 * 1024, spares: 1, ..options() };
    let (spool, _) = Spool::open(dir.path(), with_spares.clone()).unwrap();
    for n in 0..300 {
        spool.submit_and_wait(message(n, 3000)).unwrap();
        spool.finish(id(n)).unwrap();
    }
    spool.submit_and_wait(message(1000, 3000)).unwrap();
    let files = fs::read_dir(dir.path().join("journal")).unwrap().count();
    assert!(files <= 6, "{files} files");
    drop(spool);
    let (_, found) = Spool::open(dir.path(), with_spares).unwrap();
    assert_eq!(ids(&found), [id(1000)]);
    assert_eq!(found.problems, Vec::<String>::new());
}
