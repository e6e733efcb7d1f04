use super::*;
use crate::client::stub::{Act, Stub, hang_up, reply};
use std::sync::Mutex;

const VALUE: &str = "VALUE k 0 5\r\nvalue\r\nEND\r\n";

struct Case {
    stub: Stub,
    table: Arc<dyn Table>,
    lines: Arc<Mutex<Vec<String>>>,
    _dir: tempfile::TempDir,
}

/// A table with these attributes and a server with this script.
fn case(attributes: &str, script: impl Into<Vec<Act>>) -> Case {
    let (stub, dir) = (Stub::start(script), tempfile::tempdir().unwrap());
    let text = format!("memcache = inet:{}\nmax_try = 1\n{attributes}\n", stub.address);
    std::fs::write(dir.path().join("m.cf"), text).unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let mut options = OpenOptions::new(dir.path());
    let log = Arc::clone(&lines);
    options.log = Some(Arc::new(move |line: &str| log.lock().unwrap().push(line.to_owned())));
    let table = crate::open("memcache:./m.cf", &options).unwrap().table;
    Case { stub, table, lines, _dir: dir }
}

impl Case {
    fn get(&self, key: &str) -> Result<Option<String>, String> {
        let found = self.table.get(key).map(|value| value.map(|value| value.to_string()));
        found.map_err(|error| error.to_string())
    }
}

#[test]
fn keys() {
    for (attributes, key, request) in [
        ("", "K", Some("get k\r\n")),
        ("", "\u{e9}", Some("get \u{e9}\r\n")),
        ("", "a b", None),
        ("", "a\tb", None),
        ("", "a\r\nflush_all", None),
        ("", "", None),
        ("key_format = x:%u:%d:%S:%1:%%", "user@a.b", Some("get x:user:a.b:user@a.b:b:%\r\n")),
        ("key_format = x:%u %d", "user@a.b", None),
        ("key_format = %d", "k", None),
        ("key_format =", "k", None),
        ("domain = yes.org", "u@no.org", None),
        ("domain = yes.org", "u@yes.org", Some("get u@yes.org\r\n")),
    ] {
        let case = case(attributes, [reply("END\r\n")]);
        assert_eq!(case.get(key), Ok(None), "{attributes} {key}");
        assert_eq!(case.stub.requests(), Vec::from_iter(request), "{attributes} {key}");
    }
}

#[test]
fn replies() {
    let found = |text: &str| Ok(Some(text.to_owned()));
    let unexpected = |text: &str| Err(format!("./m.cf: unexpected memcache server reply: {text}"));
    let cut = || Err("./m.cf: EOF receiving memcache server reply".to_owned());
    for (text, result) in [
        (VALUE, found("value")),
        ("END\r\n", Ok(None)),
        ("VALUE k 0 0\r\n\r\nEND\r\n", found("")),
        ("VALUE k 7 5 123\r\nvalue\r\nEND\r\n", found("value")),
        ("VALUE k 0 7\r\na\r\nb\0cd\r\nEND\r\n", found("a\r\nb")),
        ("VALUE other 0 5\r\nvalue\r\nEND\r\n", unexpected("VALUE other 0 5")),
        ("VALUE k 0\r\nEND\r\n", unexpected("VALUE k 0")),
        ("VALUE k 0 x\r\nvalue\r\nEND\r\n", unexpected("VALUE k 0 x")),
        ("VALUE k 0 -1\r\nEND\r\n", unexpected("VALUE k 0 -1")),
        ("VALUE k 0 99999999999999999999\r\n", unexpected("VALUE k 0 99999999999999999999")),
        ("VALUE k 0 10241\r\n", unexpected("VALUE k 0 10241")),
        ("VALUE k 0 4\r\nvalue\r\nEND\r\n", unexpected("e?")),
        ("VALUE k 0 5\r\nvalue\r\nVALUE k 0 5\r\n", unexpected("VALUE k 0 5")),
        ("ERROR\r\n", unexpected("ERROR")),
        ("SERVER_ERROR out of memory\r\n", unexpected("SERVER_ERROR out of memory")),
        ("VALUE k 0 5\r\nval", cut()),
        ("VALUE k 0 5\r\nvalue\r\n", cut()),
        ("VALUE k 0 5\nvalue\nEND\n", Err("database memcache:./m.cf: I/O error: unexpected EOF".to_owned())),
        ("", Err("database memcache:./m.cf: I/O error: unexpected EOF".to_owned())),
    ] {
        assert_eq!(case("", [Act::Last(text.into())]).get("k"), result, "{text:?}");
    }
    let text = "memcache:./m.cf: key \"k\": non-UTF-8 value \"??\": malformed UTF-8 or invalid codepoint";
    let binary = Act::Reply(b"VALUE k 0 2\r\n\xff\xfe\r\nEND\r\n".to_vec());
    assert_eq!(case("", [binary]).get("k"), Err(text.to_owned()));
}

#[test]
fn limits() {
    let too_long = "database memcache:./m.cf: I/O error: reply is too long";
    let unexpected = "./m.cf: unexpected memcache server reply: VALUE k 0 5";
    for (attributes, error) in [
        ("data_size_limit = 5", None),
        ("data_size_limit = 4", Some(unexpected)),
        ("line_size_limit = 12", None),
        ("line_size_limit = 11", Some(too_long)),
    ] {
        let found = case(attributes, [reply(VALUE)]).get("k");
        assert_eq!(found.err().as_deref(), error, "{attributes}");
    }
    assert_eq!(case("", [Act::Endless(b"x".repeat(500))]).get("k"), Err(too_long.to_owned()));
    let case = case("timeout = 1", [Act::Silence]);
    assert_eq!(case.get("k"), Err("database memcache:./m.cf: I/O error: Connection timed out".to_owned()));
}

#[test]
fn tries_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(dir.path());
    let failed = Err("database memcache:./m.cf: I/O error: unexpected EOF".to_owned());
    for (tries, result, connections) in [(2, failed, 2), (3, Ok(Some("value".into())), 3)] {
        let stub = Stub::start([hang_up(), hang_up(), reply(VALUE)]);
        let text = format!("memcache = inet:{}\nmax_try = {tries}\n", stub.address);
        std::fs::write(dir.path().join("m.cf"), text).unwrap();
        let spec = TableSpec::parse("memcache:./m.cf").unwrap();
        let Read { attributes, mut warnings, .. } = Attributes::read(&spec, &options).ok().unwrap();
        let table = build(&spec, &options, &attributes, &mut warnings).unwrap();
        // Without the pause of a second.
        let table = Memcache { pause: Duration::ZERO, ..table };
        assert_eq!(table.get("k").map_err(|error| error.to_string()), result);
        assert_eq!(stub.connections(), connections);
    }
}

#[test]
fn a_backup_fills_the_cache() {
    let case_with = |attributes: &str, script: &[Act]| case(attributes, script);
    let (none, stored) = (reply("END\r\n"), reply("STORED\r\n"));
    let from_backup = Ok(Some("fromB".to_owned()));

    let case = case_with("backup = inline:{k=fromB}", &[none.clone(), stored.clone()]);
    assert_eq!(case.get("K"), from_backup);
    assert_eq!(case.stub.requests(), ["get k\r\n", "set k 0 3600 5\r\nfromB\r\n"]);
    assert!(case.lines.lock().unwrap().is_empty());

    let attributes = "backup = inline:{k=fromB}\nflags = 5\nttl = 77\nkey_format = p:%s";
    let case = case_with(attributes, &[none.clone(), reply("NOT_STORED\r\n")]);
    assert_eq!(case.get("k"), from_backup);
    assert_eq!(case.stub.requests(), ["get p:k\r\n", "set p:k 5 77 5\r\nfromB\r\n"]);
    assert_eq!(*case.lines.lock().unwrap(), ["database memcache:./m.cf: update failed: NOT_STORED"]);

    let case = case_with("backup = inline:{k=fromB}", &[reply(VALUE)]);
    assert_eq!((case.get("k"), case.stub.requests().len()), (Ok(Some("value".to_owned())), 1));

    let case = case_with("backup = inline:{z=fromB}", std::slice::from_ref(&none));
    assert_eq!((case.get("k"), case.stub.requests().len()), (Ok(None), 1));

    let case = case_with("backup = fail:x", std::slice::from_ref(&none));
    assert_eq!(case.get("k"), Err("table fail:x: query error".to_owned()));

    let case = case_with("backup = inline:{k=fromB}\nkey_format = %d", &[none]);
    assert_eq!((case.get("k"), case.stub.requests().len()), (Ok(None), 0), "suppressed in both");

    let case = case_with("backup = inline:{k=fromB}\ndata_size_limit = 4", &[reply("END\r\n")]);
    assert_eq!((case.get("k"), case.stub.requests().len()), (from_backup, 1), "too large to be read again");
}

#[test]
fn a_backup_stands_in_for_a_dead_server() {
    let Case { stub, table, lines, _dir } = case("backup = inline:{k=fromB}", [reply("END\r\n")]);
    let address = stub.address;
    drop(stub);
    assert_eq!(table.get("k"), Ok(Some("fromB".into())));
    let refused = format!("connect to {address}: Connection refused");
    assert_eq!(*lines.lock().unwrap(), [refused.clone(), refused]);
}

#[test]
fn a_server_comes_back() {
    let Case { stub, table, _dir, .. } = case("", [reply(VALUE)]);
    assert_eq!(table.get("k"), Ok(Some("value".into())));
    let stub = stub.restart([reply("END\r\n")]);
    assert_eq!(table.get("k"), Ok(None), "the idle connection was dead");
    let address = stub.address;
    drop(stub);
    assert_eq!(table.get("k").unwrap_err().to_string(), format!("connect to {address}: Connection refused"));
}

#[test]
fn bad_attributes_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (text, message) in [
        ("memcache = foo", "./m.cf: need service transport:endpoint instead of \"foo\""),
        ("memcache =", "./m.cf: need service transport:endpoint instead of \"\""),
        ("memcache = foo:bar", "./m.cf: invalid transport name: foo in service: foo:bar"),
        ("retry_pause = 0", "./m.cf: invalid retry_pause parameter value 0 < 1"),
        ("max_try = 0", "./m.cf: invalid max_try parameter value 0 < 1"),
        ("data_size_limit = 0", "./m.cf: invalid data_size_limit parameter value 0 < 1"),
        ("timeout = 2s", "./m.cf: bad numerical configuration: timeout = 2s"),
        ("key_format = %q", "./m.cf: Invalid query template: %q"),
        ("backup = nothing", "open dictionary: expecting \"type:name\" form instead of \"nothing\""),
    ] {
        std::fs::write(dir.path().join("m.cf"), text).unwrap();
        let errors = crate::open("memcache:./m.cf", &OpenOptions::new(dir.path())).err().unwrap();
        assert_eq!(errors[0].message, message);
        assert!(errors[0].help.is_some(), "{text}");
    }
    std::fs::write(dir.path().join("m.cf"), "backup = memcache:./m.cf").unwrap();
    let errors = crate::open("memcache:./m.cf", &OpenOptions::new(dir.path())).err().unwrap();
    assert!(errors[0].message.ends_with("is nested too deeply"), "{}", errors[0].message);
}
