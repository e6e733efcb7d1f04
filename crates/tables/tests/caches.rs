//! `memcache:` tables against a real memcached, side by side with Postfix's own, and `redis:` tables against a real Redis.

mod served;

use served::{compare, crowd, get, outage, table, timed};
use std::cell::RefCell;
use std::time::Duration;
use testkit::database::Cache;

/// Commands that store these in memcached.
fn store(cache: &Cache, pairs: &[(&str, &str)]) {
    let command = |(key, value): &(&str, &str)| format!("set {key} 7 0 {}\r\n{value}\r\n", value.len());
    let commands: String = pairs.iter().map(command).collect();
    assert_eq!(cache.exchange(&commands).matches("STORED\r\n").count(), pairs.len());
}

#[test]
fn memcached_is_asked_as_by_postfix() {
    let Some(cache) = Cache::memcached("memcache tables") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let long = "x".repeat(10_240);
    store(&cache, &[("k", "value"), ("p:u:d.org", "dom"), ("two", "a b, c"), ("empty", ""), ("a@b.c", "at")]);
    store(&cache, &[("long", &long), ("longer", &format!("{long}x")), ("\u{e9}", "accent"), ("B", "capital")]);
    // 250 bytes at most are a key there.
    let (longest, too_long) = ("l".repeat(250), "l".repeat(251));
    store(&cache, &[(&longest, "longest")]);
    let place = format!("memcache = inet:127.0.0.1:{}\nretry_pause = 1", cache.port);
    compare(
        dir.path(),
        "memcache",
        &place,
        &[
            ("", &[("k", Ok(Some("value"))), ("K", Ok(Some("value"))), ("none", Ok(None)), ("B", Ok(None))]),
            (
                "",
                &[
                    ("two", Ok(Some("a b, c"))),
                    ("a b", Ok(None)),
                    ("\u{e9}", Ok(Some("accent"))),
                    ("a@b.c", Ok(Some("at"))),
                ],
            ),
            ("", &[("long", Ok(Some(long.as_str()))), (longest.as_str(), Ok(Some("longest")))]),
            ("max_try = 1", &[("longer", Err("unexpected memcache server reply: VALUE longer 7 10241"))]),
            ("", &[(too_long.as_str(), Err("unexpected memcache server reply: CLIENT_ERROR"))]),
            ("data_size_limit = 4", &[("k", Err("unexpected memcache server reply: VALUE k 7 5"))]),
            ("key_format = p:%u:%d", &[("u@d.org", Ok(Some("dom"))), ("k", Ok(None)), ("@d.org", Ok(None))]),
            ("domain = b.c", &[("a@b.c", Ok(Some("at"))), ("k", Ok(None))]),
            ("backup = inline:{z=behind}", &[("k", Ok(Some("value"))), ("z", Ok(Some("behind"))), ("y", Ok(None))]),
        ],
    );
    assert!(cache.exchange("get z\r\n").contains("behind"), "kept");
}

#[test]
fn memcached_goes_and_comes_back() {
    let Some(cache) = Cache::memcached("memcache tables of a server that fails") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    store(&cache, &[("k", "value")]);
    let opened = table(dir.path(), "memcache", &format!("memcache = inet:127.0.0.1:{}", cache.port));
    let (table, port) = (&*opened.table, cache.port);
    crowd(table, port, "k", "value");
    let cache = RefCell::new(cache);
    let start_again = || {
        cache.borrow_mut().start_again();
        store(&cache.borrow(), &[("k", "value")]);
    };
    outage(table, ("k", "value"), || cache.borrow_mut().kill(), start_again);
    silence(table, &cache.borrow());
}

/// A server that says nothing costs each look-up its time limit at most, and those that follow nothing.
fn silence(table: &dyn tables::Table, cache: &Cache) {
    cache.freeze(true);
    let (found, took) = timed(|| get(table, "k"));
    assert!(found.is_err() && took < Duration::from_secs(10), "{found:?} after {took:?}");
    let (found, took) = timed(|| get(table, "k"));
    assert!(found.is_err() && took < Duration::from_secs(1), "{found:?} after {took:?}");
    cache.freeze(false);
    let right = Ok(Some("value".to_owned()));
    assert!(testkit::wait_until(Duration::from_secs(20), || get(table, "k") == right), "{:?}", get(table, "k"));
}

/// Commands for Redis, after the login.
#[cfg(feature = "redis")]
fn tell(cache: &Cache, commands: &str) -> String {
    cache.exchange(&format!("auth secret\r\n{commands}"))
}

#[cfg(feature = "redis")]
#[test]
fn redis_is_asked() {
    let Some(cache) = Cache::redis("redis tables") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let told = tell(
        &cache,
        "set k value\r\nset \"a b\" blank\r\nhset access ann@example.org REJECT\r\nselect 2\r\nset k other\r\nlpush list x\r\n\
         acl setuser reader on >pass ~* +get +select\r\n",
    );
    assert!(!told.contains('-'), "{told}");
    let place = format!("host = 127.0.0.1\nport = {}", cache.port);
    let socket = format!("unix = {}\npassword = secret", cache.socket().display());
    for (attributes, key, expected) in [
        ("password = secret", "k", Ok(Some("value"))),
        ("password = secret", "K", Ok(Some("value"))),
        ("password = secret", "A B", Ok(Some("blank"))),
        ("password = secret", "none", Ok(None)),
        ("password = secret\nresult_format = <%s>", "k", Ok(Some("<value>"))),
        ("password = secret\ncommand = hget access", "ann@example.org", Ok(Some("REJECT"))),
        ("password = secret\ncommand = hget access", "bob@example.org", Ok(None)),
        ("password = secret\ncommand = hget access\nkey_format = %u@example.org", "ann@x", Ok(Some("REJECT"))),
        ("password = secret\ndb = 2", "k", Ok(Some("other"))),
        ("user = reader\npassword = pass\ndb = 2", "k", Ok(Some("other"))),
        ("password = secret\ndb = 2", "list", Err("WRONGTYPE Operation against a key holding the wrong kind of value")),
        ("user = reader\npassword = pass\ncommand = hget access", "k", Err("NOPERM this user has no permissions")),
        ("", "k", Err("NOAUTH Authentication required.")),
        ("password = wrong", "k", Err("WRONGPASS invalid username-password pair")),
        ("password = secret\ndb = 99", "k", Err("choice of db at 127.0.0.1:")),
    ] {
        let opened = table(dir.path(), "redis", &format!("{place}\n{attributes}\n"));
        match (get(&*opened.table, key), expected) {
            (Ok(found), Ok(wanted)) => assert_eq!(found.as_deref(), wanted, "{attributes} {key}"),
            (Err(text), Err(part)) => {
                assert!(text.contains(part) && !text.contains("wrong\n"), "{attributes} {key}: {text}")
            }
            (found, _) => panic!("{attributes} {key}: {found:?}"),
        }
    }
    let opened = table(dir.path(), "redis", &socket);
    assert_eq!(get(&*opened.table, "k"), Ok(Some("value".to_owned())), "over the socket");
}

#[cfg(feature = "redis")]
#[test]
fn redis_goes_and_comes_back() {
    let Some(cache) = Cache::redis("redis tables of a server that fails") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    tell(&cache, "set k value\r\n");
    let text = format!("host = 127.0.0.1\nport = {}\npassword = secret\n", cache.port);
    let opened = table(dir.path(), "redis", &text);
    let (table, port) = (&*opened.table, cache.port);
    crowd(table, port, "k", "value");
    let cache = RefCell::new(cache);
    let start_again = || {
        cache.borrow_mut().start_again();
        tell(&cache.borrow(), "set k value\r\n");
    };
    outage(table, ("k", "value"), || cache.borrow_mut().kill(), start_again);
    silence(table, &cache.borrow());
}
