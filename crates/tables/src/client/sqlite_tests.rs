use super::*;
use crate::open;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;

fn database(dir: &Path) {
    let connection = Connection::open(dir.join("q.db")).unwrap();
    connection.execute_batch("create table a(k text, v)").unwrap();
    for (key, value) in [
        ("k1", "v1"),
        ("u@d.com", "x"),
        ("two", "a"),
        ("two", "b"),
        ("o'k", "quote"),
        ("empty", ""),
        ("u", "local"),
        ("d.com", "dom"),
        ("com", "tld"),
        ("addr", "p@q.r"),
    ] {
        connection.execute("insert into a values(?,?)", (key, value)).unwrap();
    }
    connection.execute_batch("insert into a values('null', null); insert into a values('num', 5)").unwrap();
}

/// `query` lines, key, value (or the text of the error after the file's name).
type Case = (&'static str, &'static str, Result<Option<&'static str>, &'static str>);

const CASES: [Case; 29] = [
    ("query=select v from a where k='%s'", "k1", Ok(Some("v1"))),
    ("query=select v from a where k='%s'", "K1", Ok(Some("v1"))),
    ("query=select v from a where k='%s'", "two", Ok(Some("a,b"))),
    ("query=select v from a where k='%s'", "o'k", Ok(Some("quote"))),
    ("query=select v from a where k='%s'", "' or 1 or '", Ok(None)),
    ("query=select v from a where k='%s'", "null", Ok(None)),
    ("query=select v from a where k='%s'", "empty", Ok(None)),
    ("query=select v from a where k='%s'", "num", Ok(Some("5"))),
    ("query=select v from a where k='%u'", "u@d.com", Ok(Some("local"))),
    ("query=select v from a where k='%u'", "two@", Ok(Some("a,b"))),
    ("query=select v from a where k='%u'", "@d.com", Ok(None)),
    ("query=select v from a where k='%d'", "u@d.com", Ok(Some("dom"))),
    ("query=select v from a where k='%d'", "@d.com", Ok(Some("dom"))),
    ("query=select v from a where k='%d'", "d.com", Ok(None)),
    ("query=select v from a where k='%1'", "u@x.y.com", Ok(Some("tld"))),
    ("query=select v from a where k='%2'", "u@com", Ok(None)),
    ("query=select v,k from a where k='%s'\nresult_format=<%s|%S>", "two", Ok(Some("<a|two>,<b|two>"))),
    ("query=select v from a where k='%s'\nresult_format=%u at %d", "addr", Ok(Some("p at q.r"))),
    ("query=select v from a where k='%s'\nresult_format=%d", "k1", Ok(None)),
    ("query=select v from a where k='%s'\nexpansion_limit=2", "two", Ok(Some("a,b"))),
    ("query=select v from a where k='%s'\nexpansion_limit=1", "two", Err("Expansion limit exceeded for key 'two'")),
    ("query=select v from a where k='%s'\ndomain=D.com, x.y", "u@D.com", Ok(Some("x"))),
    ("query=select v from a where k='%s'\ndomain=d.com, x.y", "k1", Ok(None)),
    ("query=select v from a where k='%s'\ndomain=inline:{d.com=x}", "u@d.com", Ok(Some("x"))),
    ("table=a\nselect_field=v\nwhere_field=k\nadditional_conditions= and v<>'a'", "two", Ok(Some("b"))),
    (
        "query=select v\n  from a # no comment here\n  where k='%s'",
        "k1",
        Err("SQL prepare failed: unrecognized token: \"#\""),
    ),
    ("query=select bad from a", "k1", Err("SQL prepare failed: no such column: bad")),
    ("query=insert into a values('z','z')", "k1", Err("SQL step failed: attempt to write a readonly database")),
    ("query=select v from a where k='%s'\nquery=select 'last'", "k1", Ok(Some("last"))),
];

#[test]
fn looks_up() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path());
    for (query, key, result) in CASES {
        std::fs::write(dir.path().join("q.cf"), format!("dbpath=q.db\n{query}\n")).unwrap();
        let opened = open("sqlite:./q.cf", &OpenOptions::new(dir.path())).unwrap();
        let found = opened.table.get(key).map_err(|error| error.to_string());
        let result = result.map(|v| v.map(Arc::from)).map_err(|e| format!("dict_sqlite_lookup: ./q.cf: {e}"));
        assert_eq!(found, result, "{query} {key}");
    }
}

#[test]
fn bad_attributes_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path());
    for (text, message) in [
        ("query=x", "./q.cf: bad string length 0 < 1: dbpath ="),
        ("dbpath=q.db", "./q.cf: bad string length 0 < 1: table ="),
        ("dbpath=q.db\nquery=a '%q'", "./q.cf: Invalid query template: a '%q'"),
        ("dbpath=q.db\nquery=x\nexpansion_limit=many", "./q.cf: bad numerical configuration: expansion_limit = many"),
        ("dbpath=none.db\nquery=x", "./q.cf: SQLite open failed: none.db: "),
    ] {
        std::fs::write(dir.path().join("q.cf"), text).unwrap();
        let errors = open("sqlite:./q.cf", &OpenOptions::new(dir.path())).err().unwrap();
        assert!(errors[0].message.starts_with(message), "{}", errors[0].message);
        assert!(errors[0].help.is_some());
    }
}

#[test]
fn attributes_from_main_cf() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path());
    let mut options = OpenOptions::new(dir.path());
    options.parameter = Some(Arc::new(|name: &str| match name {
        "mine_dbpath" => Some("q.db".to_owned()),
        "mine_query" => Some("select v from a where k='%s'".to_owned()),
        _ => None,
    }));
    let opened = open("sqlite:mine", &options).unwrap();
    assert_eq!(opened.table.get("k1"), Ok(Some("v1".into())));
    assert_eq!(open("sqlite:other", &options).err().unwrap()[0].message, "other: bad string length 0 < 1: dbpath =");
}

fn plain(dir: &Path, query: &str) -> Arc<dyn crate::Table> {
    std::fs::write(dir.join("q.cf"), format!("dbpath=q.db\nquery={query}\n")).unwrap();
    open("sqlite:./q.cf", &OpenOptions::new(dir)).unwrap().table
}

#[test]
fn what_is_written_is_seen_also_in_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path());
    let table = plain(dir.path(), "select v from a where k='%s'");
    let connection = Connection::open(dir.path().join("q.db")).unwrap();
    connection.execute_batch("update a set v='v2' where k='k1'").unwrap();
    assert_eq!(table.get("k1"), Ok(Some("v2".into())));
    std::fs::rename(dir.path().join("q.db"), dir.path().join("old.db")).unwrap();
    let text = "SQLite open failed: q.db: Error code 14: unable to open database file";
    assert_eq!(table.get("k1").unwrap_err().to_string(), text);
    database(dir.path());
    assert_eq!(table.get("k1"), Ok(Some("v1".into())), "the new one");
}

#[test]
fn threads_look_up_at_once() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path());
    let table = plain(dir.path(), "select v from a where k='%s'");
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..50).for_each(|_| assert_eq!(table.get("two"), Ok(Some("a,b".into())))));
        }
    });
}

#[test]
fn a_query_without_an_end_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path());
    let mut database = <Database as pool::Connection>::connect(
        &File { path: dir.path().join("q.db"), name: "q.db".to_owned() },
        Instant::now(),
    )
    .unwrap();
    database.limit(Instant::now() + Duration::from_millis(20)).unwrap();
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
    let error = database.connection.query_row(endless, [], |row| row.get::<_, i64>(0)).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::OperationInterrupted));
}

#[test]
fn a_database_that_another_process_writes_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    database(dir.path());
    let file = File { path: dir.path().join("q.db"), name: "q.db".to_owned() };
    let mut reader = <Database as pool::Connection>::connect(&file, Instant::now()).unwrap();
    let writer = Connection::open(dir.path().join("q.db")).unwrap();
    writer.execute_batch("begin exclusive").unwrap();
    reader.limit(Instant::now() + Duration::from_millis(20)).unwrap();
    let count =
        |reader: &Database| reader.connection.query_row("select count(*) from a", [], |row| row.get::<_, i64>(0));
    assert_eq!(count(&reader).unwrap_err().sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    writer.execute_batch("commit").unwrap();
    assert_eq!(count(&reader), Ok(12));
}
