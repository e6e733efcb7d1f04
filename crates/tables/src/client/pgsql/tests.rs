use super::*;
use crate::open;
use std::path::Path;

#[test]
fn quotes() {
    for (text, standard, old) in
        [("a@b", "a@b", "a@b"), ("o'k", "o''k", "o''k"), ("\\' or 1=1 --", "\\'' or 1=1 --", "\\\\'' or 1=1 --")]
    {
        assert_eq!((quote(text, true).as_str(), quote(text, false).as_str()), (standard, old), "{text}");
    }
}

fn errors(dir: &Path, text: &str) -> String {
    std::fs::write(dir.join("t.cf"), text).unwrap();
    let errors = open("pgsql:./t.cf", &OpenOptions::new(dir)).err().expect("refused");
    assert!(errors[0].help.is_some() && errors[0].span.is_some(), "{errors:?}");
    errors[0].message.clone()
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (text, message) in [
        ("query=x", "bad string length 0 < 1: dbname ="),
        ("dbname=d", "bad string length 0 < 1: table ="),
        ("dbname=d\nquery=x\nencoding=LATIN1", "unsupported encoding: LATIN1"),
        ("dbname=d\nquery=x\nhosts=h:port", "bad server in hosts: h:port"),
        ("dbname=d\nquery=x\nretry_interval=0", "invalid retry_interval parameter value 0 < 1"),
        (
            "query=x\nhosts=postgresql://u:secret@h/d?sslmode=maybe",
            "bad server in hosts: postgresql://u@h/d: unknown sslmode maybe",
        ),
        (
            "query=x\nhosts=postgresql://u:secret@h/d?secret=1",
            "bad server in hosts: postgresql://u@h/d: not understood, or with an option other than sslmode, \
             sslrootcert, sslcert, sslkey",
        ),
        (
            "query=x\nhosts=postgresql://u@h/d?sslmode=verify-full&sslrootcert=/none",
            "open /none: No such file or directory",
        ),
    ] {
        assert_eq!(errors(dir.path(), text), format!("./t.cf: {message}"), "{text}");
    }
}

#[test]
fn names_unknown_attributes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.cf"), "dbname=d\nquery=x\nhost=h\n").unwrap();
    let opened = open("pgsql:./t.cf", &OpenOptions::new(dir.path())).unwrap();
    assert_eq!(opened.warnings[0].message, "./t.cf: unknown attribute: host -- ignored");
}
