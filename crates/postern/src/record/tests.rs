use super::segment::{self, Segment};
use super::stored::{Record, Step, Unbound};
use super::{Ask, Code, Reader, StoredAnswer};
use std::time::Duration;

fn record(number: u64) -> Record<Unbound> {
    Record {
        code: Code::next(1_790_000_000 + number),
        at: 1_790_000_000_000 + number,
        session: number,
        transaction: 1,
        service: 0,
        stage: 1,
        address: Some([192, 0, 2, 10].into()),
        port: 40_000,
        name: "client.example.net".into(),
        reverse: None,
        statuses: (0, 0),
        helo: Some("client.example.net".into()),
        esmtp: true,
        sender: Some("ann@customer.example".into()),
        recipient: Some("info@example.com".into()),
        recipients: 0,
        size: 0,
        queue_id: None,
        login: None,
        tls: None,
        certificate: None,
        smtputf8: false,
        pipelining: false,
        reply: Some("554 5.7.1 <info@example.com>: Recipient address rejected: Access denied".into()),
        steps: (0..12).map(|n| Step { what: 3 + n, depth: 0, outcome: 0, detail: None }).collect(),
        asked: vec![
            Ask::Dns(0, "10.2.0.192.zen.dnsbl.example".into(), StoredAnswer::Missing(false)),
            Ask::Dns(0, "10.2.0.192.bl.dnsbl.example".into(), StoredAnswer::Missing(false)),
            Ask::Table(40, "info@example.com".into(), Ok(Some("REJECT".into()))),
        ],
    }
}

/// A file with some decisions, and what was written.
fn write(directory: &std::path::Path, numbers: std::ops::Range<u64>) -> Vec<Record<Unbound>> {
    let mut segment = Segment::begin(directory, 0).unwrap();
    let mut buffer = Vec::new();
    let records: Vec<_> = numbers.map(record).collect();
    for record in &records {
        let mut room = Vec::new();
        let bytes = segment::encode(record, &mut room);
        let fresh: Vec<_> = [(1, "RCPT".to_owned())].into_iter().filter(|(n, _)| segment.is_new(*n)).collect();
        segment::frame(&fresh, bytes, &mut buffer);
    }
    segment.write(&buffer).unwrap();
    records
}

#[test]
fn what_is_written_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let written: Vec<_> = write(directory.path(), 0..5).into_iter().chain(write(directory.path(), 5..9)).collect();
    let read: Vec<_> =
        Reader::open(directory.path()).unwrap().map(|record| (record.session, record.stage.to_string())).collect();
    assert_eq!(read, written.iter().map(|record| (record.session, "RCPT".to_owned())).collect::<Vec<_>>());
}

/// The promise of 400 bytes a decision: this one has twelve steps and three answers.
#[test]
fn a_decision_takes_little_room() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 0..100);
    let size = std::fs::metadata(&segment::files(directory.path()).unwrap()[0]).unwrap().len();
    assert!(size / 100 <= 400, "{} bytes a decision", size / 100);
}

#[test]
fn a_file_that_was_cut_or_damaged_ends_there() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), 0..3);
    let path = segment::files(directory.path()).unwrap().remove(0);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let sessions: Vec<_> = Reader::open(directory.path()).unwrap().map(|record| record.session).collect();
        assert_eq!(sessions, (0..sessions.len() as u64).collect::<Vec<_>>(), "cut at {length}");
        assert!(sessions.len() < 3);
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        let sessions: Vec<_> = Reader::open(directory.path()).unwrap().map(|record| record.session).collect();
        assert_eq!(sessions, (0..sessions.len() as u64).collect::<Vec<_>>(), "damaged at {at}");
        assert!(sessions.len() < 3);
    }
}

#[test]
fn old_files_go_and_the_newest_stays() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..4 {
        write(directory.path(), number * 10..number * 10 + 10);
    }
    let files = segment::files(directory.path()).unwrap();
    let size = std::fs::metadata(&files[0]).unwrap().len();
    segment::prune(directory.path(), size * 5 / 2, Duration::from_secs(3600)).unwrap();
    assert_eq!(segment::files(directory.path()).unwrap(), files[2..]);
    segment::prune(directory.path(), 1, Duration::ZERO).unwrap();
    assert_eq!(segment::files(directory.path()).unwrap(), files[3..]);
}
