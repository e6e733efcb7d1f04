use super::*;
use crate::client::stub::{Act, Stub, hang_up, reply};

fn tcp(stub: &Stub, timeout: Duration) -> Tcp {
    let spec = format!("tcp:{}", stub.address);
    table(&TableSpec::parse(&spec).unwrap(), &OpenOptions::new("/"), timeout).unwrap()
}

/// The result, with the server's address as HOST.
fn get(stub: &Stub, key: &str) -> Result<Option<String>, String> {
    let found = tcp(stub, TIMEOUT).get(key).map(|value| value.map(|value| value.to_string()));
    found.map_err(|error| error.to_string().replace(&stub.address.to_string(), "HOST"))
}

#[test]
fn requests_are_encoded() {
    for (key, request) in [
        ("Key A%b\u{1}\u{e9}", "get Key%20A%25b%01%C3%A9\n"),
        ("user+x@Example.COM", "get user+x@Example.COM\n"),
        ("", "get \n"),
        ("a\nget b", "get a%0Aget%20b\n"),
    ] {
        let stub = Stub::start([reply("500 no\n")]);
        assert_eq!((get(&stub, key), stub.requests()), (Ok(None), vec![request.to_owned()]), "{key:?}");
    }
}

#[test]
fn replies() {
    let malformed = |text: &str| Err(format!("read TCP map reply from HOST: malformed reply: {text}"));
    let found = |text: &str| Ok(Some(text.to_owned()));
    for (text, result) in [
        ("200 va%20lue%25\n", found("va lue%")),
        ("500 not%20found\n", Ok(None)),
        ("400 bad%20thing\n", Err("table tcp:HOST: server error: bad thing".to_owned())),
        ("200 \n", found("")),
        ("200  two words\n", found(" two words")),
        ("200\tx\n", found("x")),
        ("200 a%00b\n", found("a")),
        ("200 a%0ab\n", found("a\nb")),
        ("200 v\r\n", found("v\r")),
        ("200\n", malformed("200")),
        ("200 a%zz\n", malformed("200 a%zz")),
        ("200 a%2\n", malformed("200 a%2")),
        ("200 a%+1\n", malformed("200 a%+1")),
        ("2000 v\n", malformed("2000 v")),
        ("hello\n", malformed("hello")),
        ("500\n", malformed("500")),
        ("500x y\n", malformed("500x y")),
        ("400 a%zz\n", malformed("400 a%zz")),
        ("\n", malformed("")),
        ("300 x\n", Err("read TCP map reply from HOST: bad status code: 300 x".to_owned())),
    ] {
        assert_eq!(get(&Stub::start([reply(text)]), "k"), result, "{text:?}");
    }
}

#[test]
fn replies_that_are_no_text() {
    let stub = Stub::start([Act::Reply(b"200 \xff\xfe\n".to_vec())]);
    let text = "tcp:HOST: key \"k\": non-UTF-8 value \"??\": malformed UTF-8 or invalid codepoint";
    assert_eq!(get(&stub, "k"), Err(text.to_owned()));
    let stub = Stub::start([Act::Reply(vec![0xff; 9].into_iter().chain(*b"\n").collect())]);
    assert_eq!(get(&stub, "k"), Err("read TCP map reply from HOST: malformed reply: ?????????".to_owned()));
}

#[test]
fn replies_have_a_limit() {
    let long = "x".repeat(4091);
    let too_long = Err("read TCP map reply from HOST: text longer than 4096".to_owned());
    assert_eq!(get(&Stub::start([reply(&format!("200 {long}\n"))]), "k"), Ok(Some(long.clone())));
    assert_eq!(get(&Stub::start([reply(&format!("200 {long}x\n"))]), "k"), too_long);
    assert_eq!(get(&Stub::start([Act::Endless(long.into_bytes())]), "k"), too_long);
}

#[test]
fn a_connection_that_breaks_is_replaced_once() {
    let stub = Stub::start([hang_up(), reply("200 second\n")]);
    assert_eq!(get(&stub, "k"), Ok(Some("second".to_owned())));
    let stub = Stub::start([Act::Last(b"200 half".to_vec())]);
    assert_eq!(get(&stub, "k"), Err("read TCP map reply from HOST: unexpected EOF".to_owned()));
    assert_eq!(stub.connections(), 2);
}

#[test]
fn connections_are_used_again() {
    let stub = Stub::start([reply("200 v\n")]);
    let table = tcp(&stub, TIMEOUT);
    for _ in 0..5 {
        assert_eq!(table.get("k"), Ok(Some("v".into())));
    }
    assert_eq!(stub.connections(), 1);
}

#[test]
fn a_server_comes_back() {
    let stub = Stub::start([reply("200 v\n")]);
    let table = tcp(&stub, TIMEOUT);
    assert_eq!(table.get("k"), Ok(Some("v".into())));
    let stub = stub.restart([reply("200 w\n")]);
    assert_eq!(table.get("k"), Ok(Some("w".into())), "the idle connection was dead");
    let address = stub.address;
    drop(stub);
    let error = table.get("k").unwrap_err().to_string();
    assert_eq!(error, format!("connect to TCP map {address}: Connection refused"));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let stub = Stub::start([Act::Silence]);
    let table = tcp(&stub, Duration::from_millis(30));
    let timed_out = format!("read TCP map reply from {}: Connection timed out", stub.address);
    assert_eq!(table.get("k").unwrap_err().to_string(), timed_out);
    assert_eq!(stub.connections(), 1);
}

#[test]
fn names() {
    for (spec, message) in [
        ("tcp:localhost", "bad table \"tcp:localhost\": the port is missing"),
        ("tcp:localhost:no-such-service", "host or service localhost:no-such-service not found"),
    ] {
        let errors = crate::open(spec, &OpenOptions::new("/")).err().unwrap();
        assert_eq!((errors[0].message.as_str(), errors[0].help.is_some()), (message, true));
    }
    let opened = crate::open("tcp:[::1]:25", &OpenOptions::new("/")).unwrap();
    assert!(opened.table.is_pattern() && opened.table.waits());
}
