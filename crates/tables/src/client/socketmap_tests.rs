use super::*;
use crate::client::stub::{Act, Stub, hang_up, reply};
use std::sync::Mutex;

fn socketmap(stub: &Stub, options: &OpenOptions, timeout: Duration) -> Socketmap {
    let spec = format!("socketmap:inet:{}:name", stub.address);
    table(&TableSpec::parse(&spec).unwrap(), options, timeout).unwrap()
}

/// The result, with the table's specification as MAP.
fn get_with(stub: &Stub, options: &OpenOptions, key: &str) -> Result<Option<String>, String> {
    let table = socketmap(stub, options, TIMEOUT);
    let found = table.get(key).map(|value| value.map(|value| value.to_string()));
    found.map_err(|error| error.to_string().replace(&*table.spec, "MAP"))
}

fn get(stub: &Stub, key: &str) -> Result<Option<String>, String> {
    get_with(stub, &OpenOptions::new("/"), key)
}

/// Options with this in main.cf, and what is logged.
fn with(name: &'static str, value: &'static str) -> (OpenOptions, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let mut options = OpenOptions::new("/");
    options.parameter = Some(Arc::new(move |wanted: &str| (wanted == name).then(|| value.to_owned())));
    let log = Arc::clone(&lines);
    options.log = Some(Arc::new(move |line: &str| log.lock().unwrap().push(line.to_owned())));
    (options, lines)
}

fn netstring_of(text: &str) -> Act {
    reply(&format!("{}:{text},", text.len()))
}

#[test]
fn requests() {
    let stub = Stub::start([netstring_of("NOTFOUND ")]);
    assert_eq!(get(&stub, "Key A%b\u{1}\u{e9}"), Ok(None));
    assert_eq!(stub.requests(), ["15:name Key A%b\u{1}\u{e9},"]);
}

#[test]
fn replies() {
    let error = |text: &str| Err(format!("MAP socketmap server {text}"));
    let found = |text: &str| Ok(Some(text.to_owned()));
    for (text, result) in [
        ("OK value x", found("value x")),
        ("OK ", found("")),
        ("OK  x", found(" x")),
        ("OK a\0b", found("a")),
        ("OK", Ok(None)),
        ("NOTFOUND ", Ok(None)),
        ("NOTFOUND", Ok(None)),
        ("NOTFOUND x", Ok(None)),
        ("TEMP reason here", error("temporary error: reason here")),
        ("TEMP ", error("temporary error")),
        ("TEMP", error("temporary error")),
        ("TIMEOUT slow", error("timeout error: slow")),
        ("PERM bad\n", error("permanent error: bad?")),
        ("ok x", error("unknown error: x")),
        ("OK\tx", error("unknown error")),
        ("", error("unknown error")),
        (" ", error("unknown error")),
    ] {
        assert_eq!(get(&Stub::start([netstring_of(text)]), "k"), result, "{text:?}");
    }
    let stub = Stub::start([Act::Reply(b"5:OK \xff\xfe,".to_vec())]);
    let text = "MAP: key \"k\": non-UTF-8 value \"??\": malformed UTF-8 or invalid codepoint";
    assert_eq!(get(&stub, "k"), Err(text.to_owned()));
}

#[test]
fn replies_that_are_no_netstrings() {
    let error = |text: &str| Err(format!("table MAP lookup error: {text}"));
    let format = || error("input format error");
    for (text, result) in [
        ("abc", format()),
        ("5:OK v;", format()),
        ("3:OK v,", format()),
        ("-1:x,", format()),
        ("+4:OK v,", format()),
        ("007:OK val,", format()),
        (":OK,", format()),
        (" 4:OK v,", format()),
        ("99999999:OK", error("input exceeds size limit")),
        ("99999999999999999999999999999999999:OK", error("input exceeds size limit")),
        ("9:OK v,", error("unexpected disconnect")),
        ("9", error("unexpected disconnect")),
        ("", error("unexpected disconnect")),
        ("4:OK v,extra", Ok(Some("v".to_owned()))),
    ] {
        assert_eq!(get(&Stub::start([Act::Last(text.as_bytes().to_vec())]), "k"), result, "{text:?}");
    }
    assert_eq!(get(&Stub::start([Act::Endless(b"1".to_vec())]), "k"), error("input exceeds size limit"));
}

#[test]
fn a_reply_has_a_limit() {
    for (length, fits) in [(99_997, true), (99_998, false)] {
        let stub = Stub::start([netstring_of(&format!("OK {}", "x".repeat(length)))]);
        assert_eq!(get(&stub, "k").is_ok(), fits, "{length}");
    }
    let (options, _) = with("socketmap_max_reply_size", "5");
    assert!(get_with(&Stub::start([netstring_of("OK ab")]), &options, "k").is_ok());
    assert!(get_with(&Stub::start([netstring_of("OK abc")]), &options, "k").is_err());
}

#[test]
fn a_key_has_a_limit() {
    let (options, lines) = with("socketmap_max_query_size", "3");
    let stub = Stub::start([netstring_of("OK v")]);
    assert_eq!(get_with(&stub, &options, "key"), Ok(Some("v".to_owned())));
    assert_eq!(get_with(&stub, &options, "keys"), Ok(None));
    assert_eq!(stub.requests().len(), 1);
    let text = format!("table socketmap:inet:{}:name: key of 4 bytes exceeds socketmap_max_query_size", stub.address);
    assert_eq!(*lines.lock().unwrap(), [text]);
    let stub = Stub::start([netstring_of("OK v")]);
    assert_eq!(get(&stub, &"k".repeat(10_000)), Ok(Some("v".to_owned())));
    assert_eq!(get(&stub, &"k".repeat(10_001)), Ok(None));
}

#[test]
fn bad_limits_are_errors() {
    for value in ["0", "-1", "10k", ""] {
        let (options, _) = with("socketmap_max_reply_size", value);
        let errors = crate::open("socketmap:inet:localhost:1:n", &options).err().unwrap();
        assert_eq!(errors[0].message, format!("bad numerical configuration: socketmap_max_reply_size = {value}"));
    }
}

#[test]
fn a_server_comes_back() {
    let stub = Stub::start([hang_up(), netstring_of("OK v")]);
    let (options, lines) = with("", "");
    let table = socketmap(&stub, &options, TIMEOUT);
    assert_eq!(table.get("k"), Ok(Some("v".into())));
    let stub = stub.restart([netstring_of("OK w")]);
    assert_eq!(table.get("k"), Ok(Some("w".into())), "the idle connection was dead");
    let address = stub.address;
    drop(stub);
    let error = table.get("k").unwrap_err().to_string();
    assert_eq!(error, format!("table socketmap:inet:{address}:name lookup error: Connection refused"));
    assert_eq!(*lines.lock().unwrap(), [format!("connect to {address}: Connection refused")]);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let stub = Stub::start([Act::Silence]);
    let table = socketmap(&stub, &OpenOptions::new("/"), Duration::from_millis(30));
    let timed_out = format!("table {} lookup error: time limit exceeded", table.spec);
    assert_eq!(table.get("k").unwrap_err().to_string(), timed_out);
    assert_eq!(stub.connections(), 1);
}

#[test]
fn names() {
    for (spec, message) in [
        ("socketmap:x", "socketmap requires server:socketmap argument"),
        ("socketmap:unix:x", "need service transport:endpoint instead of \"unix\""),
        ("socketmap:foo:a:b", "invalid transport name: foo in service: foo:a"),
        ("socketmap:inet:a:b", "host or service a not found"),
    ] {
        let errors = crate::open(spec, &OpenOptions::new("/")).err().unwrap();
        assert_eq!((errors[0].message.as_str(), errors[0].help.is_some()), (message, true), "{spec}");
    }
}

#[test]
fn unix_sockets_are_below_the_directory() {
    let error = crate::open("socketmap:unix:private/none:n", &OpenOptions::new("/nonexistent")).unwrap().table.get("k");
    let text = "table socketmap:unix:private/none:n lookup error: No such file or directory";
    assert_eq!(error.unwrap_err().to_string(), text);
}
