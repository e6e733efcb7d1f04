use super::*;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Both ends of a stream.
fn pair() -> (Stream, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    (Stream { socket: Socket::from(OwnedFd::from(here)), ahead: Vec::new() }, there)
}

#[test]
fn endpoints() {
    let directory = Path::new("/var/spool/postfix");
    let inet = |host: &str, port| Ok(Endpoint::Inet { host: host.to_owned(), port });
    let unix = |path: &str| Ok(Endpoint::Unix(PathBuf::from(path)));
    for (text, endpoint) in [
        ("inet:localhost:11211", inet("localhost", 11211)),
        ("inet:[2001:db8::3]:25", inet("2001:db8::3", 25)),
        ("inet::25", inet("localhost", 25)),
        ("inet:25", inet("localhost", 25)),
        ("unix:/run/x", unix("/run/x")),
        ("unix:private/x", unix("/var/spool/postfix/private/x")),
        ("inet:a:no-such-service", Err("host or service a:no-such-service not found".to_owned())),
        ("foo:bar", Err("invalid transport name: foo in service: foo:bar".to_owned())),
        ("foo", Err("need service transport:endpoint instead of \"foo\"".to_owned())),
        ("unix:", Err("need service transport:endpoint instead of \"unix:\"".to_owned())),
        ("", Err("need service transport:endpoint instead of \"\"".to_owned())),
    ] {
        assert_eq!(Endpoint::parse(text, directory), endpoint, "{text}");
    }
}

#[test]
fn takes_lines_and_bytes() {
    let (mut stream, mut server) = pair();
    server.write_all(b"one\r\ntw").unwrap();
    assert_eq!(stream.take_until(b"\r\n", 3, soon()).unwrap(), b"one");
    server.write_all(b"o\r\n12345rest").unwrap();
    assert_eq!(stream.take_until(b"\r\n", 3, soon()).unwrap(), b"two");
    assert_eq!(stream.take(5, soon()).unwrap(), b"12345");
    drop(server);
    assert_eq!(stream.take(4, soon()).unwrap(), b"rest");
    assert!(matches!(stream.take(1, soon()), Err(Trouble::Closed)));
}

#[test]
fn lines_have_a_limit() {
    for (text, fits) in [("123\r\n", true), ("1234\r\n", false), ("12345", false), ("123\r", true)] {
        let (mut stream, mut server) = pair();
        server.write_all(text.as_bytes()).unwrap();
        drop(server);
        let taken = stream.take_until(b"\r\n", 3, soon());
        assert_eq!(!matches!(taken, Err(Trouble::TooLong)), fits, "{text:?} {taken:?}");
    }
}

#[test]
fn a_line_without_an_end_is_cut_off() {
    let (mut stream, mut server) = pair();
    let writer = std::thread::spawn(move || while server.write_all(&[b'x'; 1000]).is_ok() {});
    assert!(matches!(stream.take_until(b"\n", 10_000, soon()), Err(Trouble::TooLong)));
    assert!(stream.ahead.len() < 20_000);
    drop(stream);
    writer.join().unwrap();
}

#[test]
fn everything_ends_at_the_deadline() {
    let (mut stream, mut server) = pair();
    let soon = || Instant::now() + Duration::from_millis(20);
    assert!(stream.take(1, soon()).unwrap_err().is_timeout());
    // Some bytes don't prolong it.
    server.write_all(b"abc").unwrap();
    assert!(stream.take(4, soon()).unwrap_err().is_timeout());
    // More than the system takes for somebody who doesn't read.
    let trouble = stream.send(&vec![0; 16 << 20], soon()).unwrap_err();
    assert!(trouble.is_timeout());
    assert_eq!(trouble.text(), "Connection timed out");
    assert!(stream.take(4, Instant::now()).unwrap_err().is_timeout());
}

#[test]
fn a_server_that_does_not_accept_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    Socket::from(OwnedFd::from(listener.try_clone().unwrap())).listen(0).unwrap();
    let endpoint = Endpoint::Unix(path);
    let mut waiting = Vec::new();
    let error = loop {
        match Stream::connect(&endpoint, Instant::now() + Duration::from_millis(50)) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
        assert!(waiting.len() < 100);
    };
    assert_eq!(io_text(&error), "Connection timed out");
    drop(listener);
}

#[test]
fn knows_what_is_stale() {
    let (mut stream, mut server) = pair();
    assert!(!stream.is_stale());
    server.write_all(b"x").unwrap();
    assert!(stream.is_stale(), "it speaks out of turn");
    stream.take(1, soon()).unwrap();
    assert!(!stream.is_stale());
    stream.ahead.push(b'y');
    assert!(stream.is_stale(), "something was left");
    stream.ahead.clear();
    drop(server);
    assert!(stream.is_stale(), "it has hung up");
}

#[test]
fn errors_of_names() {
    // Too long for a query.
    let endpoint = Endpoint::Inet { host: "x".repeat(300), port: 1 };
    let error = Stream::connect(&endpoint, soon()).err().unwrap();
    assert!(!error.to_string().contains("failed to lookup"), "{error}");
}
