use super::*;
use crate::client::stub::{Act, Stub, hang_up, reply};

const VALUE: &str = "$5\r\nvalue\r\n";

struct Case {
    stub: Stub,
    table: Arc<dyn Table>,
    _dir: tempfile::TempDir,
}

/// A table with these attributes and a server with this script.
fn case(attributes: &str, script: impl Into<Vec<Act>>) -> Case {
    let (stub, dir) = (Stub::start(script), tempfile::tempdir().unwrap());
    let text = format!("host = 127.0.0.1\nport = {}\n{attributes}\n", stub.address.port());
    std::fs::write(dir.path().join("r.cf"), text).unwrap();
    let opened = crate::open("redis:./r.cf", &OpenOptions::new(dir.path())).unwrap();
    assert!(opened.warnings.is_empty());
    Case { stub, table: opened.table, _dir: dir }
}

impl Case {
    /// The result; errors without what stands before each.
    fn get(&self, key: &str) -> Result<Option<String>, String> {
        let found = self.table.get(key).map(|value| value.map(|value| value.to_string()));
        found.map_err(|error| error.to_string().trim_start_matches("dict_redis_lookup: ./r.cf: ").to_owned())
    }
}

#[test]
fn requests() {
    for (attributes, key, request) in [
        ("", "K", Some("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")),
        ("", "a b\r\n\u{e9}", Some("*2\r\n$3\r\nGET\r\n$7\r\na b\r\n\u{e9}\r\n")),
        ("command = get\nkey_format = x:%u:%d", "u@d.org", Some("*2\r\n$3\r\nGET\r\n$9\r\nx:u:d.org\r\n")),
        ("command = hget senders", "k", Some("*3\r\n$4\r\nHGET\r\n$7\r\nsenders\r\n$1\r\nk\r\n")),
        ("key_format = %d", "k", None),
        ("", "", None),
        ("domain = yes.org", "u@no.org", None),
    ] {
        let case = case(attributes, [reply("$-1\r\n")]);
        assert_eq!(case.get(key), Ok(None), "{attributes} {key}");
        assert_eq!(case.stub.requests(), Vec::from_iter(request), "{attributes} {key}");
    }
}

#[test]
fn logs_in() {
    let case = case("user = u\npassword = p w\ndb = 3", [reply("+OK\r\n"), reply("+OK\r\n"), reply(VALUE)]);
    for _ in 0..2 {
        assert_eq!(case.get("k"), Ok(Some("value".to_owned())));
    }
    let get = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    let auth = "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\np w\r\n";
    assert_eq!(case.stub.requests(), [auth, "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n", get, get]);
}

#[test]
fn a_refused_log_in_is_told_without_the_password() {
    let case = case("password = secret", [reply("-WRONGPASS invalid password\r\n")]);
    let place = case.stub.address;
    assert_eq!(case.get("k"), Err(format!("login at {place}: WRONGPASS invalid password")));
}

#[test]
fn replies() {
    let found = |text: &str| Ok(Some(text.to_owned()));
    let unexpected = |text: &str| Err(format!("unexpected reply: {text}"));
    let cut = || Err("unexpected EOF".to_owned());
    for (text, result) in [
        (VALUE, found("value")),
        ("$-1\r\n", Ok(None)),
        ("$0\r\n\r\n", Ok(None)),
        ("$4\r\na\r\nb\r\n", found("a\r\nb")),
        ("+simple\r\n", found("simple")),
        (":42\r\n", found("42")),
        ("-ERR bad\r\n", Err("ERR bad".to_owned())),
        ("-\r\n", Err(String::new())),
        ("$4\r\nvalue\r\n", unexpected("$4")),
        ("$-2\r\n", unexpected("$-2")),
        ("$+5\r\nvalue\r\n", unexpected("$+5")),
        ("$1048577\r\n", unexpected("$1048577")),
        ("$99999999999999999999\r\n", unexpected("$99999999999999999999")),
        ("$\r\n", unexpected("$")),
        ("*9999999999\r\n", unexpected("*9999999999")),
        ("HTTP/1.1 400 Bad Request\r\n", unexpected("HTTP/1.1 400 Bad Request")),
        ("\r\n", unexpected("")),
        ("$5\r\nval", cut()),
        ("$5\nvalue\n", cut()),
        ("", cut()),
    ] {
        assert_eq!(case("", [Act::Last(text.into())]).get("k"), result, "{text:?}");
    }
    let text = "redis:./r.cf: key \"k\": non-UTF-8 value \"??\": malformed UTF-8 or invalid codepoint";
    assert_eq!(case("", [Act::Reply(b"$2\r\n\xff\xfe\r\n".to_vec())]).get("k"), Err(text.to_owned()));
    assert_eq!(case("", [Act::Endless(b"x".repeat(500))]).get("k"), Err("reply is too long".to_owned()));
    assert_eq!(case("timeout = 1", [Act::Silence]).get("k"), Err("Connection timed out".to_owned()));
}

#[test]
fn results_are_formatted() {
    assert_eq!(case("result_format = <%s|%S>", [reply(VALUE)]).get("K"), Ok(Some("<value|k>".to_owned())));
    assert_eq!(case("result_format = %d", [reply(VALUE)]).get("k"), Ok(None));
}

#[test]
fn a_server_comes_back() {
    let Case { stub, table, _dir } = case("", [reply(VALUE), hang_up(), reply("-LOADING busy\r\n"), reply(VALUE)]);
    assert_eq!(table.get("k"), Ok(Some("value".into())));
    assert_eq!(table.get("k").unwrap_err().to_string(), "dict_redis_lookup: ./r.cf: LOADING busy", "a new connection");
    assert_eq!(table.get("k"), Ok(Some("value".into())));
    assert_eq!(stub.connections(), 2);
    let stub = stub.restart([reply("$-1\r\n")]);
    assert_eq!(table.get("k"), Ok(None), "the idle connection was dead");
    let text = format!("dict_redis_lookup: ./r.cf: connect to {}: Connection refused", stub.address);
    drop(stub);
    assert_eq!(table.get("k").unwrap_err().to_string(), text);
}

#[test]
fn bad_attributes_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (text, message) in [
        ("host = a\nunix = /b", "./r.cf: both host and unix are set"),
        ("port = 0", "./r.cf: invalid port parameter value 0 < 1"),
        ("port = 99999", "./r.cf: bad numerical configuration: port = 99999"),
        ("db = x", "./r.cf: bad numerical configuration: db = x"),
        ("timeout = 0", "./r.cf: invalid timeout parameter value 0 < 1"),
        ("user = u", "./r.cf: bad string length 0 < 1: password ="),
        ("command = del", "./r.cf: bad command: del"),
        ("command = hget", "./r.cf: bad command: hget"),
        ("key_format = %q", "./r.cf: Invalid query template: %q"),
    ] {
        std::fs::write(dir.path().join("r.cf"), text).unwrap();
        let errors = crate::open("redis:./r.cf", &OpenOptions::new(dir.path())).err().unwrap();
        assert_eq!(errors[0].message, message);
        assert!(errors[0].help.is_some(), "{text}");
    }
    std::fs::write(dir.path().join("r.cf"), "hots = a").unwrap();
    let opened = crate::open("redis:./r.cf", &OpenOptions::new(dir.path())).unwrap();
    assert_eq!(opened.warnings[0].message, "./r.cf: unknown attribute: hots -- ignored");
}
